// The nonlinearities of the hidden layers with their first two derivatives: F::at gives f(a), f'(a) and f''(a), about
// 20 operations with the exponential function. src/formulas/activation.rs lists them.
#pragma once

#include "device.cuh"

struct Silu {
    // f = a s, f' = s + f (1 - s), f'' = s (1 - s) (2 + a (1 - 2 s)), with s the logistic function.
    __device__ static void at(float a, float& f, float& slope, float& curve) {
        float s = 1.0f / (1.0f + expf(-a)), rest = 1.0f - s;
        f = a * s;
        slope = f * rest + s;
        curve = s * rest * (a * (rest - s) + 2.0f);
    }
};

struct Tanh {
    __device__ static void at(float a, float& f, float& slope, float& curve) {
        f = tanhf(a);
        slope = 1.0f - f * f;
        curve = -2.0f * f * slope;
    }
};

struct Softplus {
    // f = max(a, 0) + log(1 + e^-|a|); written so that a NaN stays one.
    __device__ static void at(float a, float& f, float& slope, float& curve) {
        slope = 1.0f / (1.0f + expf(-a));
        f = (a < 0.0f ? 0.0f : a) + log1pf(expf(-fabsf(a)));
        curve = slope * (1.0f - slope);
    }
};
