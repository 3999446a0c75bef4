// Adam, one parameter at a time, as src/formulas/adam.rs has it.
#pragma once

#include "device.cuh"

// 1 - beta^step, by which the moments of update number `step` (from 1) are too small.
__device__ inline double adam_correction(u64 step, double log_beta) { return -expm1((double)step * log_beta); }

struct Adam {
    float beta1, beta2, epsilon, rate, clip, second_correction, averaging;
};

// `size` grows to that of the largest number written; one that is not finite makes it so too.
__device__ inline void adam(const Adam& by, float gradient, float& weight, float& first, float& second, float& average,
                            float& size) {
    float g = gradient * by.clip;
    first = by.beta1 * first + (1.0f - by.beta1) * g;
    second = by.beta2 * second + (1.0f - by.beta2) * (g * g);
    weight -= by.rate * first / (sqrtf(second * by.second_correction) + by.epsilon);
    average = by.averaging * average + (1.0f - by.averaging) * weight;
    size = larger(size, larger(larger(fabsf(weight), fabsf(average)), larger(fabsf(first), second)));
}
