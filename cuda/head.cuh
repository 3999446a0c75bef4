// The generator's Gaussian head and the estimates of its mixture's density, as src/formulas/head.rs has them.
#pragma once

#include "device.cuh"

// log s of the generator's head: raw + offset, held in [low, high]. `inside` tells whether the gradient passes.
// Written so that a NaN stays one.
struct Head {
    float offset, low, high;
    u32 deterministic;
};

__device__ inline float head_std(const Head& head, float raw, bool& inside) {
    float log_std = raw + head.offset;
    inside = log_std > head.low && log_std < head.high;
    return expf(log_std < head.low ? head.low : log_std > head.high ? head.high : log_std);
}

// Components of a group's first half, 0 where it is not split.
__device__ inline u32 half_of(const Head& head, bool weighted, u32 components) {
    return head.deterministic != 0 || weighted ? 0 : components / 2;
}

// Factors of the two estimates of log p by all components and by the `part` of the sample's own half.
__device__ inline void extrapolation(u32 components, u32 part, float& by_all, float& by_own) {
    const float rest = (float)(components - part);
    by_all = rest > 0.0f ? (float)components / rest : 1.0f;
    by_own = rest > 0.0f ? (float)part / rest : 0.0f;
}
