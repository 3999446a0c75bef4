// The known part of V(1, .), a quadratic: level + sum over j of x_j (curvature / 2 x_j + slope_j), as `Quadratic` of
// src/formulas/quadratic.rs has it, in double as there. A warp takes a row, its lanes neighbouring components.
#pragma once

#include "device.cuh"

// The same in every lane. All lanes of the warp call it for the same row.
__device__ inline double quadratic_at(const float* x, u32 d, double curvature, const float* slope, double level) {
    const double half = 0.5 * curvature;
    double sum = 0.0;
    for (u32 j = threadIdx.x % WARP; j < d; j += WARP) {
        const double at = x[j];
        sum += at * (half * at + slope[j]);
    }
    return level + lanes_sum<WARP>(sum);
}

// Calls body(row, writes) for this warp's rows: `writes` in one lane of it.
template <class Body>
__device__ inline void each_row_of_warp(u64 rows, const Body& body) {
    const u64 step = (u64)gridDim.x * (blockDim.x / WARP);
    for (u64 row = ((u64)blockIdx.x * blockDim.x + threadIdx.x) / WARP; row < rows; row += step) {
        body(row, threadIdx.x % WARP == 0);
    }
}
