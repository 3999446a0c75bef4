// Convolutions of pictures, in 32 bits and on tensor cores: products whose operands are gathered from the pictures as
// they are staged (conv.cuh), so that nothing is written but results. A row of a matrix is a picture of height x width
// pixels with its channels beside each other. The convolution of layout.rs has side x side taps (1 or 3 a side), its
// centre at every `step` pixels (1 or 2), zeros beyond the edges, and gives pictures of ceil(height / step) x ceil(width
// / step) pixels with `outputs` channels. Weights are [tap][channels][outputs], dense.
//
//   conv_forward    out = the convolution of x, + bias for each channel where it is not null
//   conv_reverse    out = its transpose of delta; out += it where add is not 0
//   conv_gradient   lines[split] = the gradient of the weights over its `chunk` pictures: x and delta, + x2 and delta2
//                   where they are not null. Behind the weights go delta's sums for each channel where bias is not 0, and
//                   zeros otherwise. Lines lie as those of product_gradient do (product.cu).
// Results overlap no operand. A sum goes over taps, then channels, in an order that the tile alone fixes; in
// conv_gradient over pixels, then pictures.
//
// Every product has three tiles (scalar_tile.cuh, tensor_tile.cuh): the name alone is Narrow, _tall is Tall, for results
// of up to 32 columns where Wide would be half empty, and _wide is Wide. Before that _tf32 and _bf16 say that tensor
// cores multiply, numbers rounded to 11 or 8 bits; sums, biases and delta's sums have 32 bits. Those need compute
// capability 8.0, and fail on what is older. With m x n x k: conv_forward has m = rows x pixels that it gives, n =
// outputs, k = taps x channels; conv_reverse m = rows x pixels that it gives, n = channels, k = taps x outputs;
// conv_gradient m = taps x channels, n = outputs, k = pictures of a split x pixels. Launch: block (THREADS), grid
// (ceil(m / ROWS) ceil(n / COLS)), and for conv_gradient (.., ceil(rows / chunk)); more splits are zeros.
//
// `places`, `picture` and `line` are 2^32 - 1 divided by: channels of the pictures that the product reads (the outputs in
// conv_reverse); pixels of a picture, and of a line, by which m counts (in conv_gradient k).
//
// Operations: m n k FFMA, or multiply-adds of tensor cores, rounded up to whole tiles. A thread stages a quad of
// pictures with about 10 integer operations and a place in them with 15: for 512 FFMA in Wide that is 2 quads and 1
// place (conv_gradient: 4 and 4), for 256 in Tall 2 and 1 (3 and 3), for 128 in Narrow 1 and 1 (2 and 2); on tensor
// cores for 512 multiply-adds in WideTensor 2 and 1 (3 and 3), and in the others as in 32 bits. A picture is read once
// for each tap and each tile of columns, all but the first time from caches: neighbouring tiles of rows run together.
// With a step of 2 the transpose multiplies three zeros for each number.
#include "conv.cuh"
#include "scalar_tile.cuh"
#include "tensor_tile.cuh"

// Adds to what is there, or a bias, or neither.
struct Convolved {
    Pictures out;
    const float* bias;
    bool add;

    __device__ bool whole() const { return out.whole() && vectorised(bias, 0); }

    template <u32 V>
    __device__ void apply(u32 row, u32 col, const Lanes<V>& p) const {
        float* to = out.at(row, col);
        Lanes<V> sum = p;
        if (add || bias != nullptr) {
            const Lanes<V> more = take<V>(add ? to : bias + col);
#pragma unroll
            for (u32 i = 0; i < V; ++i) {
                sum.x[i] += more.x[i];
            }
        }
        put(to, sum);
    }
};

template <class T>
__device__ inline void convolve(const float* x, u32 x_stride, const float* w, const float* bias, float* out,
                                u32 out_stride, u32 rows, const Convolution& conv) {
    const u32 m = rows * conv.to_pixels(), n = conv.outputs, k = conv.taps() * conv.channels;
    u32 top, left;
    corner<T>(n, top, left);
    const typename T::Place place = T::place();
    typename T::Sums sum = {};
    NoColumnSums none;
    accumulate<T>(place, taken<SeenAlong<false>>(x, x_stride, conv, rows, top), operand<false>(w, n, left, n, k), k, sum,
                  none);
    const Convolved epilogue = {{out, out_stride, {conv.to_pixels(), conv.picture}, n}, bias, false};
    finish<T>(place, sum, m - top, n - left, epilogue.whole(), Placed<Convolved>{epilogue, top, left});
}

template <class T>
__device__ inline void convolve_back(const float* delta, u32 delta_stride, const float* w, float* out, u32 out_stride,
                                     u32 rows, const Convolution& conv, u32 add) {
    const u32 m = rows * conv.pixels(), n = conv.channels, k = conv.taps() * conv.outputs;
    u32 top, left;
    corner<T>(n, top, left);
    const typename T::Place place = T::place();
    const Turned turned = {w, {conv.outputs, conv.places}, n, left, k, conv.outputs % 4 == 0 && vectorised(w, 0)};
    typename T::Sums sum = {};
    NoColumnSums none;
    accumulate<T>(place, given(delta, delta_stride, conv, rows, top), turned, k, sum, none);
    const Convolved epilogue = {{out, out_stride, {conv.pixels(), conv.picture}, n}, nullptr, add != 0};
    finish<T>(place, sum, m - top, n - left, epilogue.whole(), Placed<Convolved>{epilogue, top, left});
}

// One or two pairs of pictures and the gradients by what the convolution gives of them, from the picture `first` of a
// split on.
struct PicturePairs {
    const float *x, *delta, *x2, *delta2;
    u32 x_stride, delta_stride, x2_stride, delta2_stride;
    u64 first;
    u32 pictures, depth;
    const Convolution& conv;

    __device__ SeenAcross a(u32 pair, u32 top) const {
        const float* from = pair == 0 ? x : x2;
        const u32 stride = pair == 0 ? x_stride : x2_stride;
        return taken<SeenAcross>(from + first * stride, stride, conv, pictures, top);
    }
    __device__ Stacked b(u32 pair, u32 left) const {
        const u32 stride = pair == 0 ? delta_stride : delta2_stride;
        const float* from = (pair == 0 ? delta : delta2) + first * stride;
        const bool whole = conv.outputs % 4 == 0 && vectorised(from, stride);
        return {from, stride, {conv.to_pixels(), conv.picture}, conv.outputs, left, depth, whole};
    }
};

// Three kernels of one body for each arithmetic: `name` with narrow tiles, `name`_tall with tall ones and `name`_wide with
// wide ones; with the tensor cores' arithmetic before that. Room for as many blocks of each as leave registers enough.
#define KERNEL_OF_TILES(name, narrow, tall, parameters, ...)                                         \
    KERNEL_OF_TILE(name, Narrow, narrow, parameters, __VA_ARGS__)                                    \
    KERNEL_OF_TILE(name##_tall, Tall, tall, parameters, __VA_ARGS__)                                 \
    KERNEL_OF_TILE(name##_wide, Wide, 3, parameters, __VA_ARGS__)                                    \
    KERNEL_OF_TENSOR_TILE(name##_tf32, NarrowTensor<Tf32>, narrow, parameters, __VA_ARGS__)          \
    KERNEL_OF_TENSOR_TILE(name##_tf32_tall, TallTensor<Tf32>, tall, parameters, __VA_ARGS__)         \
    KERNEL_OF_TENSOR_TILE(name##_tf32_wide, WideTensor<Tf32>, 2, parameters, __VA_ARGS__)            \
    KERNEL_OF_TENSOR_TILE(name##_bf16, NarrowTensor<Bf16>, narrow, parameters, __VA_ARGS__)          \
    KERNEL_OF_TENSOR_TILE(name##_bf16_tall, TallTensor<Bf16>, tall, parameters, __VA_ARGS__)         \
    KERNEL_OF_TENSOR_TILE(name##_bf16_wide, WideTensor<Bf16>, 2, parameters, __VA_ARGS__)

#define CONV_PARAMETERS                                                                                                \
    u32 rows, u32 height, u32 width, u32 channels, u32 outputs, u32 side, u32 step, u32 places, u32 picture, u32 line
#define CONVOLUTION {height, width, channels, outputs, side, step, places, picture, line}

KERNEL_OF_TILES(
    conv_forward, 3, 4,
    (const float* x, u32 x_stride, const float* w, const float* bias, float* out, u32 out_stride, CONV_PARAMETERS),
    convolve<Tile>(x, x_stride, w, bias, out, out_stride, rows, CONVOLUTION))

KERNEL_OF_TILES(
    conv_reverse, 3, 4,
    (const float* delta, u32 delta_stride, const float* w, float* out, u32 out_stride, CONV_PARAMETERS, u32 add),
    convolve_back<Tile>(delta, delta_stride, w, out, out_stride, rows, CONVOLUTION, add))

KERNEL_OF_TILES(
    conv_gradient, 2, 3,
    (const float* x, u32 x_stride, const float* delta, u32 delta_stride, const float* x2, u32 x2_stride,
     const float* delta2, u32 delta2_stride, CONV_PARAMETERS, u32 bias, u32 chunk, float* lines, u64 pitch),
    const Convolution conv = CONVOLUTION;
    const u64 from = (u64)blockIdx.y * chunk;
    const u32 pictures = from >= rows ? 0 : rows - from < chunk ? (u32)(rows - from) : chunk;
    const PicturePairs pairs = {x, delta, x2, delta2, x_stride, delta_stride, x2_stride, delta2_stride,
                                from, pictures, pictures * conv.to_pixels(), conv};
    gradient_of<Tile>(pairs, x2 != nullptr ? 2 : 1, conv.taps() * channels, outputs, bias, lines + blockIdx.y * pitch,
                      outputs % 4 == 0 && pitch % 4 == 0 && vectorised(lines, 0)))
