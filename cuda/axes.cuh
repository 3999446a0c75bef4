// The constants of a problem along each axis of a sample, and the known part of V(1, .): src/formulas/axes.rs.
//
// `numbers` holds five parts of `stride` floats each: sigma, log(sigma / 2), rate, curvature and slope of every axis.
// Behind them lie the numbers of peaks (peaks.cu), where there are any.
#pragma once

#include "device.cuh"

enum AxisPart : u32 { AXIS_SIGMA = 0, AXIS_LOG_STD = 1, AXIS_RATE = 2, AXIS_CURVATURE = 3, AXIS_SLOPE = 4 };
constexpr u32 AXIS_PARTS = 5;

struct Axes {
    const float* numbers;
    u32 stride;

    __device__ float at(AxisPart part, u32 j) const { return numbers[part * stride + j]; }
    __device__ float sigma(u32 j) const { return at(AXIS_SIGMA, j); }
    __device__ float log_std(u32 j) const { return at(AXIS_LOG_STD, j); }
    __device__ float rate(u32 j) const { return at(AXIS_RATE, j); }
    __device__ float curvature(u32 j) const { return at(AXIS_CURVATURE, j); }
    __device__ float slope(u32 j) const { return at(AXIS_SLOPE, j); }

    // Of V neighbouring axes, where `numbers` lies on 16 bytes and j is a multiple of V.
    template <u32 V>
    __device__ Lanes<V> of(AxisPart part, u32 j) const {
        return take<V>(numbers + part * stride + j);
    }
};

__device__ inline Axes axes_of(const float* numbers, u32 d) { return {numbers, (d + 15) / 16 * 16}; }

// level + sum over j of x_j (curvature_j / 2 x_j + slope_j), in double as there. A warp takes a row, its lanes
// neighbouring axes. The same in every lane; all lanes of the warp call it for the same row.
__device__ inline double known_at(const Axes& axes, const float* x, u32 d, double level) {
    double sum = 0.0;
    for (u32 j = threadIdx.x % WARP; j < d; j += WARP) {
        const double at = x[j];
        sum += at * (0.5 * axes.curvature(j) * at + axes.slope(j));
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
