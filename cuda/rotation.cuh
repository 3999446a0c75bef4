// Rows times a d x d matrix, by which samples are turned to the axes of a problem and back (src/data/rotation.rs). Sums
// run in an order of their own kind, each operation rounded on its own, which gives the CPU's bits.
//
// A block takes tiles of 32 columns and two rows a warp: the rows' numbers are staged in shared memory, 32 at a time,
// and neighbouring threads read neighbouring numbers of the matrix. A number of it serves two rows in a thread and, out
// of the caches, all warps.
#pragma once

#include "device.cuh"

constexpr u32 TURN_WARPS = 8, TURN_EACH = 2, TURN_TERMS = 32;

// The sum of a place along an axis, in the eight lanes of `along` of src/formulas/units.rs: term number i goes to lane
// i % 8, and 0 beyond the last one changes nothing.
struct LaneSums {
    using Number = double;
    double lanes[8];

    __device__ void add(u32 term, float factor, double x) {
        double& lane = lanes[term % 8];
        lane = __dadd_rn(lane, __dmul_rn((double)factor, x));
    }

    __device__ double value() const {
        const double low = __dadd_rn(__dadd_rn(lanes[0], lanes[1]), __dadd_rn(lanes[2], lanes[3]));
        const double high = __dadd_rn(__dadd_rn(lanes[4], lanes[5]), __dadd_rn(lanes[6], lanes[7]));
        return __dadd_rn(low, high);
    }
};

// The sum over all axes in their order.
struct OrderedSum {
    using Number = float;
    float sum;

    __device__ void add(u32, float factor, float x) { sum = __fadd_rn(sum, __fmul_rn(x, factor)); }

    __device__ float value() const { return sum; }
};

// Calls write(row, col, sum over i of matrix[i][col] number(row, i)) for this thread's elements of a rows x d matrix.
// One-dimensional blocks of up to TURN_WARPS warps, all threads of which must call it.
template <class Sum, class Stage, class Write>
__device__ inline void each_turned(u64 rows, u32 d, const float* matrix, const Stage& number, const Write& write) {
    using Number = typename Sum::Number;
    SHARED(Number, staged, TURN_WARPS * TURN_EACH * TURN_TERMS);
    const u32 warps = blockDim.x / WARP, high = warps * TURN_EACH, across = (d + WARP - 1) / WARP;
    const u64 tiles = (rows + high - 1) / high * across;
    const u32 own = threadIdx.x / WARP * TURN_EACH;
    for (u64 tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        u32 part;
        const u64 first_row = divide(tile, across, part) * high;
        const u32 col = part * WARP + threadIdx.x % WARP;
        Sum sums[TURN_EACH] = {};
        for (u32 first = 0; first < d; first += TURN_TERMS) {
            // Whoever read the last numbers is done with them.
            __syncthreads();
            for (u32 i = threadIdx.x; i < high * TURN_TERMS; i += blockDim.x) {
                const u64 row = first_row + i / TURN_TERMS;
                const u32 term = first + i % TURN_TERMS;
                staged[i] = term < d && row < rows ? number(row, term) : (Number)0;
            }
            __syncthreads();
            const float* factors = matrix + (u64)first * d + col;
            const u32 terms = col < d ? d - first : 0;
#pragma unroll
            for (u32 i = 0; i < TURN_TERMS; ++i) {
                const float factor = i < terms ? factors[i * d] : 0.0f;
#pragma unroll
                for (u32 e = 0; e < TURN_EACH; ++e) {
                    sums[e].add(i, factor, staged[(own + e) * TURN_TERMS + i]);
                }
            }
        }
#pragma unroll
        for (u32 e = 0; e < TURN_EACH; ++e) {
            const u64 row = first_row + own + e;
            if (col < d && row < rows) {
                write(row, col, sums[e].value());
            }
        }
    }
}
