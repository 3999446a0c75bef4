// The squares that a network sees beside its inputs, as src/formulas/squares.rs says:
//   s(t, x) = sqrt(2) x^2 / (1 + r) - (start + t change),   s' = sqrt(2) x / r,   r = sqrt(1 + x^2 / 9).
// Kernels that write what a network sees write its squares too, behind it; those that take a gradient [g_x, g_s] by it
// add s' g_s. A root and a division a number.
#pragma once

#include "device.cuh"

__device__ inline float squares_bend(float x) {
    const float part = x * (1.0f / 3.0f);
    return sqrtf(1.0f + part * part);
}

__device__ inline float squares_slope(float x) { return 1.41421356f * (x / squares_bend(x)); }

// The squares of the first `count` inputs; centre has as many numbers start and then change. None where count is 0.
struct Squares {
    u32 count;
    const float* centre;
};

__device__ inline float square_of(const Squares& squares, u32 col, float x, float time) {
    const float square = 1.41421356f * (x * (x / (1.0f + squares_bend(x))));
    return square - (squares.centre[col] + time * squares.centre[squares.count + col]);
}

// The squares of neighbours from column `col` on, into a row whose squares begin at `to`.
template <u32 V>
__device__ inline void put_squares(const Squares& squares, float* to, u32 col, const Lanes<V>& x, float time) {
#pragma unroll
    for (u32 i = 0; i < V; ++i) {
        if (col + i < squares.count) {
            to[col + i] = square_of(squares, col + i, x.x[i], time);
        }
    }
}
