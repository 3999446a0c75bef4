// tau over a training, as src/formulas/tau_schedule.rs has it.
#pragma once

#include "device.cuh"

// tau at step number *counter, as a multiple of what it comes to. The number is not read where `steps` is 0.
__device__ inline double tau_factor(double log_start, u64 steps, const u64* counter) {
    const u64 step = steps == 0 ? 0 : *counter;
    return step >= steps ? 1.0 : exp(log_start * (1.0 - (double)step / (double)steps));
}
