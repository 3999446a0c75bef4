// Matrix products, in 32 bits and on tensor cores, with all operations around them. They are for networks of widths up
// to a few hundred, whose steps spend more time on launches than on arithmetic, and for systems without cublasLt. W is
// dense: n columns in those of x, k in those of delta.
//
//   product_affine                     out = x W + b                                            x [m][k], W [k][n]
//   product_linear                     out = x W
//   product_few                        out = x W + b, without b where it is null, for n <= 4 and many k
//   product_silu, _tanh, _softplus     a = x W + b;  h = f(a), slope = f'(a), curve = f''(a)
//   product_tangent                    a' = x W;  out = slope a',  curve *= a'
//   product_transposed                 out = delta W^T                                      delta [m][k], W [n][k]
//   product_transposed_add             out += delta W^T
//   product_backward                   p = delta W^T;  out = slope p,  curve *= p
//   product_adjoint                    out = slope (delta W^T) + curve
//   product_gradient                   lines[split] = sum over its `chunk` rows of [x, 1]^T delta + x2^T delta2
// slope and curve of an activation may be null (curve is not written without slope), and so may be curve of
// product_backward and product_tangent, and x2 with delta2. Results are m x n and overlap no operand, except curve,
// which changes in place. x [rows][inputs] and delta [rows][outputs]; a split's result is (inputs + 1) x outputs,
// dense, at lines + split pitch: W's and b's gradients as they follow one another in the flat parameter vector. Its
// last row are delta's column sums where bias is not 0, and zeros otherwise. optimiser.cu adds the lines.
//
// A product adds over k in an order that its tile alone fixes; 16 bytes are taken at a time from whatever operand allows
// it, W included, whose address need be a multiple of 4 only. The name alone, and product_few, round nothing to fewer
// bits; _tf32 rounds x, delta and W to 11 bits where they are multiplied, _bf16 to 8 (tensor_tile.cuh). All else has 32
// bits, delta's column sums too. Those two need compute capability 8.0 and fail on what is older.
//
// In 32 bits every product has two tiles (scalar_tile.cuh): the name alone is Narrow (SIDE 32, 256 threads), _wide is
// Wide (SIDE 64, 128 threads). 1024 x 128 are 128 blocks of Narrow, about one for each multiprocessor of a large GPU,
// and 32 of Wide; but Wide reads every operand half as often from L2 and does twice the arithmetic for a word of shared
// memory, which Narrow waits for as much as for arithmetic. So Wide is for results of two of its blocks a multiprocessor
// or more. A result narrower than its tile (n = 1) takes the operations of a whole one: 32 for a word of x, which for
// many rows are still about as quick as reading it. On tensor cores the two are NarrowTensor, whose shape is Narrow's,
// and WideTensor (128 x 64, 256 threads), for results of about one of its blocks a multiprocessor.
//
// Launch: block (THREADS), grid (ceil(m / ROWS) ceil(n / COLS)), columns' tiles first, so that blocks that run together
// share rows of x. product_gradient: grid (ceil(inputs / ROWS) ceil(outputs / COLS), ceil(rows / chunk)), chunk best a
// multiple of 32, and pitch of 4.
// product_few: block (256), grid (m). A block takes a row, its threads neighbouring k; they add in 32 bits, and their sums
// are added in 64. A tile of so few columns would be one block for 32 rows, however many k it has to go through. x is read
// once and W once a row, from L2; m n k FFMA.
//
// Operations of the others: m n k FFMA, or as many multiply-adds of tensor cores (1024 to an instruction in TF32, 2048
// in BF16), rounded up to whole tiles; operands are read ceil(n / COLS) and ceil(m / ROWS) times, all but the first time
// from L2; results and what stands beside them once, 4 bytes an element, 8 for curve where it changes.
#include "activation.cuh"
#include "scalar_tile.cuh"
#include "tensor_tile.cuh"

// A matrix beside the product.
template <class E>
struct Beside {
    E* from;
    u32 stride;

    __device__ E* at(u32 row, u32 col) const { return row_of(from, stride, row) + col; }
    __device__ bool whole() const { return vectorised(from, stride); }
};
using Input = Beside<const float>;
using Result = Beside<float>;

struct Plain {
    Result out;

    __device__ bool whole() const { return out.whole(); }

    template <u32 V>
    __device__ void apply(u32 row, u32 col, const Lanes<V>& p) const {
        put(out.at(row, col), p);
    }
};

struct Added {
    Result out;

    __device__ bool whole() const { return out.whole(); }

    template <u32 V>
    __device__ void apply(u32 row, u32 col, const Lanes<V>& p) const {
        Lanes<V> sum = take<V>(out.at(row, col));
#pragma unroll
        for (u32 i = 0; i < V; ++i) {
            sum.x[i] += p.x[i];
        }
        put(out.at(row, col), sum);
    }
};

struct Affine {
    const float* bias;
    Result out;

    __device__ bool whole() const { return vectorised(bias, 0) && out.whole(); }

    template <u32 V>
    __device__ void apply(u32 row, u32 col, const Lanes<V>& p) const {
        Lanes<V> a = take<V>(bias + col);
#pragma unroll
        for (u32 i = 0; i < V; ++i) {
            a.x[i] += p.x[i];
        }
        put(out.at(row, col), a);
    }
};

template <class F>
struct Activated {
    const float* bias;
    Result h, slope, curve;

    __device__ bool whole() const { return vectorised(bias, 0) && h.whole() && slope.whole() && curve.whole(); }

    template <u32 V>
    __device__ void apply(u32 row, u32 col, const Lanes<V>& p) const {
        Lanes<V> b = take<V>(bias + col), f, first, second;
#pragma unroll
        for (u32 i = 0; i < V; ++i) {
            F::at(p.x[i] + b.x[i], f.x[i], first.x[i], second.x[i]);
        }
        put(h.at(row, col), f);
        if (slope.from != nullptr) {
            put(slope.at(row, col), first);
            if (curve.from != nullptr) {
                put(curve.at(row, col), second);
            }
        }
    }
};

struct Scaled {
    Input slope;
    Result out, curve;

    __device__ bool whole() const { return slope.whole() && out.whole() && curve.whole(); }

    template <u32 V>
    __device__ void apply(u32 row, u32 col, const Lanes<V>& p) const {
        Lanes<V> x = take<V>(slope.at(row, col));
#pragma unroll
        for (u32 i = 0; i < V; ++i) {
            x.x[i] *= p.x[i];
        }
        put(out.at(row, col), x);
        if (curve.from != nullptr) {
            Lanes<V> c = take<V>(curve.at(row, col));
#pragma unroll
            for (u32 i = 0; i < V; ++i) {
                c.x[i] *= p.x[i];
            }
            put(curve.at(row, col), c);
        }
    }
};

struct Adjoined {
    Input slope, curve;
    Result out;

    __device__ bool whole() const { return slope.whole() && curve.whole() && out.whole(); }

    template <u32 V>
    __device__ void apply(u32 row, u32 col, const Lanes<V>& p) const {
        Lanes<V> x = take<V>(slope.at(row, col)), c = take<V>(curve.at(row, col));
#pragma unroll
        for (u32 i = 0; i < V; ++i) {
            x.x[i] = x.x[i] * p.x[i] + c.x[i];
        }
        put(out.at(row, col), x);
    }
};

// The block's tile of x W, or of x W^T where TURNED, and its epilogue.
template <class T, bool TURNED, class E>
__device__ inline void product(const float* x, u32 x_stride, const float* w, u32 m, u32 n, u32 k, const E& epilogue) {
    u32 top, left;
    corner<T>(n, top, left);
    const typename T::Place place = T::place();
    const Operand<true> a = operand<true>(x, x_stride, top, m, k);
    const Operand<TURNED> b = operand<TURNED>(w, TURNED ? k : n, left, n, k);
    typename T::Sums sum = {};
    NoColumnSums none;
    accumulate<T>(place, a, b, k, sum, none);
    finish<T>(place, sum, m - top, n - left, n % 4 == 0 && epilogue.whole(),
              Placed<E>{epilogue, top, left});
}

// One or two pairs of matrices, from the row `first` of a split on.
struct Pairs {
    const Input &x, &delta, &x2, &delta2;
    u64 first;
    u32 inputs, outputs, depth;

    __device__ Operand<false> a(u32 pair, u32 top) const {
        const Input& from = pair == 0 ? x : x2;
        return operand<false>(from.from + first * from.stride, from.stride, top, inputs, depth);
    }
    __device__ Operand<false> b(u32 pair, u32 left) const {
        const Input& from = pair == 0 ? delta : delta2;
        return operand<false>(from.from + first * from.stride, from.stride, left, outputs, depth);
    }
};

template <class T>
__device__ inline void split_of(const Input& x, const Input& delta, const Input& x2, const Input& delta2, u32 rows,
                                u32 inputs, u32 outputs, u32 bias, u32 chunk, float* lines, u64 pitch) {
    const u64 from = (u64)blockIdx.y * chunk;
    const u32 depth = from >= rows ? 0 : rows - from < chunk ? (u32)(rows - from) : chunk;
    const Pairs pairs = {x, delta, x2, delta2, from, inputs, outputs, depth};
    gradient_of<T>(pairs, x2.from != nullptr ? 2 : 1, inputs, outputs, bias, lines + blockIdx.y * pitch,
                   outputs % 4 == 0 && pitch % 4 == 0 && vectorised(lines, 0));
}

// Two kernels of one body for each arithmetic: `name` with narrow tiles, and `name`_wide with wide ones; with the tensor
// cores' arithmetic before that. Room for three blocks of either, since a fourth of Narrow would leave 64 registers, of
// which some architectures spill, and for two of WideTensor, which have as many threads as four of Wide.
#define KERNEL_OF_BOTH_TILES(name, parameters, ...)                                              \
    KERNEL_OF_TILE(name, Narrow, 3, parameters, __VA_ARGS__)                                     \
    KERNEL_OF_TILE(name##_wide, Wide, 3, parameters, __VA_ARGS__)                                \
    KERNEL_OF_TENSOR_TILE(name##_tf32, NarrowTensor<Tf32>, 3, parameters, __VA_ARGS__)           \
    KERNEL_OF_TENSOR_TILE(name##_tf32_wide, WideTensor<Tf32>, 2, parameters, __VA_ARGS__)        \
    KERNEL_OF_TENSOR_TILE(name##_bf16, NarrowTensor<Bf16>, 3, parameters, __VA_ARGS__)           \
    KERNEL_OF_TENSOR_TILE(name##_bf16_wide, WideTensor<Bf16>, 2, parameters, __VA_ARGS__)

KERNEL_OF_BOTH_TILES(
    product_affine,
    (const float* x, u32 x_stride, const float* w, const float* bias, float* out, u32 out_stride, u32 m, u32 n, u32 k),
    product<Tile, false>(x, x_stride, w, m, n, k, Affine{bias, {out, out_stride}}))

#define PRODUCT_ACTIVATED(name, F)                                                                               \
    KERNEL_OF_BOTH_TILES(                                                                                        \
        name,                                                                                                    \
        (const float* x, u32 x_stride, const float* w, const float* bias, float* h, u32 h_stride, float* slope,  \
         u32 slope_stride, float* curve, u32 curve_stride, u32 m, u32 n, u32 k),                                 \
        product<Tile, false>(x, x_stride, w, m, n, k,                                                            \
                             Activated<F>{bias, {h, h_stride}, {slope, slope_stride}, {curve, curve_stride}}))

PRODUCT_ACTIVATED(product_silu, Silu)
PRODUCT_ACTIVATED(product_tanh, Tanh)
PRODUCT_ACTIVATED(product_softplus, Softplus)

KERNEL_OF_BOTH_TILES(
    product_tangent,
    (const float* x, u32 x_stride, const float* w, const float* slope, u32 slope_stride, float* out, u32 out_stride,
     float* curve, u32 curve_stride, u32 m, u32 n, u32 k),
    product<Tile, false>(x, x_stride, w, m, n, k,
                         Scaled{{slope, slope_stride}, {out, out_stride}, {curve, curve_stride}}))

KERNEL_OF_BOTH_TILES(
    product_transposed,
    (const float* delta, u32 delta_stride, const float* w, float* out, u32 out_stride, u32 m, u32 n, u32 k),
    product<Tile, true>(delta, delta_stride, w, m, n, k, Plain{{out, out_stride}}))

KERNEL_OF_BOTH_TILES(
    product_transposed_add,
    (const float* delta, u32 delta_stride, const float* w, float* out, u32 out_stride, u32 m, u32 n, u32 k),
    product<Tile, true>(delta, delta_stride, w, m, n, k, Added{{out, out_stride}}))

KERNEL_OF_BOTH_TILES(
    product_linear, (const float* x, u32 x_stride, const float* w, float* out, u32 out_stride, u32 m, u32 n, u32 k),
    product<Tile, false>(x, x_stride, w, m, n, k, Plain{{out, out_stride}}))

extern "C" __global__ void __launch_bounds__(256)
product_few(const float* x, u32 x_stride, const float* w, const float* bias, float* out, u32 out_stride, u32 n, u32 k) {
    const float* row = row_of(x, x_stride, blockIdx.x);
    float sum[4] = {};
    for (u32 i = threadIdx.x; i < k; i += blockDim.x) {
        const float* from = w + (u64)i * n;
        const float own = row[i];
#pragma unroll
        for (u32 j = 0; j < 4; ++j) {
            if (j < n) {
                sum[j] += own * from[j];
            }
        }
    }
#pragma unroll
    for (u32 j = 0; j < 4; ++j) {
        if (j < n) {
            const double all = block_sum(sum[j]);
            if (threadIdx.x == 0) {
                row_of(out, out_stride, blockIdx.x)[j] = (float)(bias == nullptr ? all : all + bias[j]);
            }
        }
    }
}

KERNEL_OF_BOTH_TILES(
    product_backward,
    (const float* delta, u32 delta_stride, const float* w, const float* slope, u32 slope_stride, float* out,
     u32 out_stride, float* curve, u32 curve_stride, u32 m, u32 n, u32 k),
    product<Tile, true>(delta, delta_stride, w, m, n, k,
                        Scaled{{slope, slope_stride}, {out, out_stride}, {curve, curve_stride}}))

KERNEL_OF_BOTH_TILES(
    product_adjoint,
    (const float* delta, u32 delta_stride, const float* w, const float* slope, u32 slope_stride, const float* curve,
     u32 curve_stride, float* out, u32 out_stride, u32 m, u32 n, u32 k),
    product<Tile, true>(delta, delta_stride, w, m, n, k,
                        Adjoined{{slope, slope_stride}, {curve, curve_stride}, {out, out_stride}}))

KERNEL_OF_BOTH_TILES(
    product_gradient,
    (const float* x, u32 x_stride, const float* delta, u32 delta_stride, const float* x2, u32 x2_stride,
     const float* delta2, u32 delta2_stride, u32 rows, u32 inputs, u32 outputs, u32 bias, u32 chunk, float* lines,
     u64 pitch),
    split_of<Tile>({x, x_stride}, {delta, delta_stride}, {x2, x2_stride}, {delta2, delta2_stride}, rows, inputs,
                   outputs, bias, chunk, lines, pitch))
