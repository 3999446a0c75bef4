// The generator's Gaussian head and the estimates of its mixture's density, as src/formulas/head.rs has them.
#pragma once

#include "device.cuh"

// The standard deviation of a component along an axis of which the raw output 0 means log s = `offset`. log s = raw +
// offset is held in a range around that, and `inside` tells whether the gradient passes. Written so that a NaN stays
// one.
__device__ inline float head_std(float offset, float raw, bool& inside) {
    const float log_std = raw + offset;
    const float low = offset - 4.0f < -6.0f ? offset - 4.0f : -6.0f;
    const float high = offset + 1.0f > 3.0f ? offset + 1.0f : 3.0f;
    inside = log_std > low && log_std < high;
    return expf(log_std < low ? low : log_std > high ? high : log_std);
}

// Components of a group's first half, 0 where it is not split.
__device__ inline u32 half_of(u32 deterministic, bool weighted, u32 components) {
    return deterministic != 0 || weighted ? 0 : components / 2;
}

// Factors of the two estimates of log p by all components and by the `part` of the sample's own half.
__device__ inline void extrapolation(u32 components, u32 part, float& by_all, float& by_own) {
    const float rest = (float)(components - part);
    by_all = rest > 0.0f ? (float)components / rest : 1.0f;
    by_own = rest > 0.0f ? (float)part / rest : 0.0f;
}
