// The known part of V(1, .), a quadratic: level + sum over j of x_j (curvature / 2 x_j + slope_j), as `Quadratic` of
// src/device has it. One thread a row: small beside the networks that follow.
#pragma once

#include "device.cuh"

__device__ inline float quadratic_at(const float* x, u32 d, float curvature, const float* slope, float level) {
    const float half = 0.5f * curvature;
    float sum = level;
    for (u32 j = 0; j < d; ++j) {
        sum += x[j] * (half * x[j] + slope[j]);
    }
    return sum;
}
