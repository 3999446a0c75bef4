// A side's samples, measured and normalised where they lie in device memory. All results have the bits of src/data on
// the host: every operation is rounded on its own, and every sum runs in the host's order.
//
// The samples are rows of d elements. Element `col` of row `row` lies `row between_rows + c` elements behind `data`,
// where c is components[col], or col between_components where `components` is null; distances are two's complement.
// Its value is element scale + offset. `dtype` is the number of a DType: 0 float, 1 double, 2 binary16, 3 bfloat16,
// 4 byte.
//
//   samples_means      means[b][j] = origin + (sum over block b's rows of w (x - origin)) / the block's weight
//   samples_spreads    goes on with mean[j] and spread[j] through all rows: adds w (x - means[b][j])^2 row by row, and
//                      joins the block's mean behind its last row
//   samples_normalise  out[row][j] = what networks see at time t of ((x[row] - shift) along axis j) / length, by units
//                      of three numbers an axis (units.cuh). Column j of `turned`, which is d x d, is axis j; null
//                      where the axes are the components of a sample
//   samples_pick       out[r][j] = x[p][j], in double, where p is one of the `every` rows from (first + r) every on; it is
//                      drawn as src/data/picks.rs draws it
//
// Both moments take `rows` rows from row number `first` on, in blocks of `block_rows` rows, the last of which may be
// shorter. `blocks` (src/data/moments.rs, `RowBlock`) and `weights` begin at these rows; without weights each row
// weighs 1. Block `start`, counted from the first of these, is the first of all with a weight: its mean is copied.
//
// not_finite and beyond have a number for each warp of the launch. A warp lowers its own to the least row d + col of
// its elements whose value is not finite, or finite with a result that is not.
//
// Launch: one-dimensional. samples_means (a thread takes one component of a block after another), samples_normalise and
// samples_pick (one element after another, tiles as rotation.cuh says where there is a rotation): any number of blocks
// of up to 256 threads. samples_spreads: a block for each SPREAD_COLUMNS components, in
// which all threads make the terms of some rows and then one thread a component adds them: the host's order leaves no
// more to share out. samples_normalise reads an element (d / 32 times with a rotation), writes 4 bytes and does three
// divisions and about 8 other operations in double, and with a rotation 2 d more; the moments read each element twice
// and do 12 operations in double.
#include "philox.cuh"
#include "rotation.cuh"
#include "units.cuh"

constexpr u32 SPREAD_COLUMNS = 32, SPREAD_TERMS = 4096;

struct RowBlock {
    u64 origin;
    double weight, share, pull;
};

// binary16 and bfloat16 by their bits.
__device__ inline double widened_half(unsigned short bits) {
    const u32 exponent = (bits >> 10) & 31u, mantissa = bits & 1023u;
    const u32 sign = (u32)(bits & 0x8000u) << 16;
    if (exponent == 31) {
        return (double)__uint_as_float(sign | 0x7f800000u | mantissa << 13);
    }
    // mantissa 2^-24 below the least normal number; exact.
    const double units = (double)(exponent == 0 ? mantissa : mantissa + 1024u);
    const u32 power = (exponent == 0 ? 1u : exponent) + 102u;
    return __dmul_rn(units, (double)__uint_as_float(sign | power << 23));
}

__device__ inline double widened_bfloat(unsigned short bits) { return (double)__uint_as_float((u32)bits << 16); }

struct Samples {
    const void* data;
    u32 dtype;
    u64 between_rows, between_components;
    const u64* components;
    double scale, offset;

    __device__ double element(u64 index) const {
        const long long at = (long long)index;
        switch (dtype) {
            case 0:
                return (double)static_cast<const float*>(data)[at];
            case 1:
                return static_cast<const double*>(data)[at];
            case 2:
                return widened_half(static_cast<const unsigned short*>(data)[at]);
            case 3:
                return widened_bfloat(static_cast<const unsigned short*>(data)[at]);
            default:
                return (double)static_cast<const unsigned char*>(data)[at];
        }
    }

    __device__ double value(u64 row, u32 col) const {
        const u64 column = components == nullptr ? col * between_components : components[col];
        return __dadd_rn(__dmul_rn(element(row * between_rows + column), scale), offset);
    }
};

#define SAMPLES_PARAMETERS                                                                                         \
    const void *data, u32 dtype, u64 between_rows, u64 between_components, const u64 *components, double scale,    \
        double offset

#define PIECE_PARAMETERS                                                                                           \
    u64 first, u32 rows, u32 d, u32 block_rows, const RowBlock *blocks, const double *weights, double *means

// Neither infinite nor NaN.
__device__ inline bool bounded(double x) { return __dadd_rn(x, -x) == 0.0; }

__device__ inline bool bounded(float x) { return __fadd_rn(x, -x) == 0.0f; }

__device__ inline u64 smaller(u64 a, u64 b) { return a < b ? a : b; }

// Every thread of the block must call it.
__device__ inline void keep_least(u64* least, u64 x) {
#pragma unroll
    for (u32 hop = WARP / 2; hop > 0; hop /= 2) {
        x = smaller(x, __shfl_xor_sync(ALL_LANES, x, hop));
    }
    if (threadIdx.x % WARP == 0) {
        u64* own = least + (blockIdx.x * blockDim.x + threadIdx.x) / WARP;
        *own = smaller(*own, x);
    }
}

extern "C" __global__ void __launch_bounds__(256)
samples_means(SAMPLES_PARAMETERS, PIECE_PARAMETERS, u64* not_finite) {
    const Samples from = {data, dtype, between_rows, between_components, components, scale, offset};
    u64 found = ~(u64)0;
    each_element((rows + block_rows - 1) / block_rows, d, [&](u64 b, u32 col) {
        const RowBlock block = blocks[b];
        const u32 begin = (u32)b * block_rows, end = rows - begin > block_rows ? begin + block_rows : rows;
        const double origin = from.value(block.origin, col);
        double sum = 0.0;
#pragma unroll 4
        for (u32 row = begin; row < end; ++row) {
            const double x = from.value(first + row, col), weight = weights == nullptr ? 1.0 : weights[row];
            sum = __dadd_rn(sum, __dmul_rn(weight, __dadd_rn(x, -origin)));
            if (!bounded(x)) {
                found = smaller(found, (first + row) * d + col);
            }
        }
        means[b * d + col] = __dadd_rn(origin, __ddiv_rn(sum, block.weight));
    });
    keep_least(not_finite, found);
}

extern "C" __global__ void __launch_bounds__(256)
samples_spreads(SAMPLES_PARAMETERS, PIECE_PARAMETERS, u32 start, double* mean, double* spread) {
    SHARED(double, terms, SPREAD_TERMS);
    const Samples from = {data, dtype, between_rows, between_components, components, scale, offset};
    const u32 begin = blockIdx.x * SPREAD_COLUMNS, columns = d - begin < SPREAD_COLUMNS ? d - begin : SPREAD_COLUMNS;
    const u32 tile = SPREAD_TERMS / columns;
    const bool adds = threadIdx.x < columns;
    const u32 own = begin + threadIdx.x;
    double joined = adds ? mean[own] : 0.0, sum = adds ? spread[own] : 0.0;
    for (u32 tile_begin = 0; tile_begin < rows; tile_begin += tile) {
        const u32 tile_end = rows - tile_begin > tile ? tile_begin + tile : rows;
        for (u32 at = threadIdx.x; at < (tile_end - tile_begin) * columns; at += blockDim.x) {
            const u32 row = tile_begin + at / columns, col = begin + at % columns, b = row / block_rows;
            double term = 0.0;
            if (blocks[b].weight != 0.0) {
                const double weight = weights == nullptr ? 1.0 : weights[row];
                const double away = __dadd_rn(from.value(first + row, col), -means[(u64)b * d + col]);
                term = __dmul_rn(__dmul_rn(weight, away), away);
            }
            terms[at] = term;
        }
        __syncthreads();
        if (adds) {
            u32 row = tile_begin;
            for (u32 b = row / block_rows; row < tile_end; ++b) {
                const u32 block_begin = b * block_rows;
                const u32 block_end = rows - block_begin > block_rows ? block_begin + block_rows : rows;
                const u32 end = block_end < tile_end ? block_end : tile_end;
#pragma unroll 8
                for (; row < end; ++row) {
                    sum = __dadd_rn(sum, terms[(row - tile_begin) * columns + threadIdx.x]);
                }
                const RowBlock block = blocks[b];
                if (row < block_end || block.weight == 0.0) {
                    continue;
                }
                const double of_block = means[(u64)b * d + own];
                if (b == start) {
                    joined = of_block;
                } else {
                    const double step = __dadd_rn(of_block, -joined);
                    joined = __dadd_rn(joined, __dmul_rn(step, block.share));
                    sum = __dadd_rn(sum, __dmul_rn(__dmul_rn(step, step), block.pull));
                }
            }
        }
        __syncthreads();
    }
    if (adds) {
        mean[own] = joined;
        spread[own] = sum;
    }
}

// Room for two blocks: by itself ptxas holds to 64 registers on some architectures and spills.
extern "C" __global__ void __launch_bounds__(256, 2)
samples_normalise(SAMPLES_PARAMETERS, u32 rows, u32 d, const double* shift, double length, const float* turned,
                  const double* units, double time, float* out, u64* not_finite, u64* beyond) {
    const Samples from = {data, dtype, between_rows, between_components, components, scale, offset};
    u64 wrong = ~(u64)0, far = ~(u64)0;
    const auto shifted = [&](u64 row, u32 col) { return __dadd_rn(from.value(row, col), -shift[col]); };
    const auto write = [&](u64 row, u32 col, double place) {
        const bool is_far = bounded(from.value(row, col));
        const float y = units_seen(units_of(units, col), __ddiv_rn(place, length), time);
        out[row * d + col] = y;
        const u64 at = bounded(y) ? ~(u64)0 : row * d + col;
        far = is_far ? smaller(far, at) : far;
        wrong = is_far ? wrong : smaller(wrong, at);
    };
    if (turned != nullptr) {
        each_turned<LaneSums>(rows, d, turned, shifted, write);
    } else {
        each_element(rows, d, [&](u64 row, u32 col) { write(row, col, shifted(row, col)); });
    }
    keep_least(not_finite, wrong);
    keep_least(beyond, far);
}

extern "C" __global__ void __launch_bounds__(256)
samples_pick(SAMPLES_PARAMETERS, u64 every, u64 first, u32 rows, u32 d, double* out) {
    const Samples from = {data, dtype, between_rows, between_components, components, scale, offset};
    const Sequence sequence = sequence_of(0, nullptr, 2, STREAM_INIT);
    each_element(rows, d, [&](u64 row, u32 col) {
        const u64 stretch = first + row, drawn = every > 1 ? philox_block(sequence, stretch).x % every : 0;
        out[row * d + col] = from.value(stretch * every + drawn, col);
    });
}
