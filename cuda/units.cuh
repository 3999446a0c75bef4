// Numbers of samples between data units and normalised units: src/formulas/units.rs. Each operation is rounded on its
// own, in double, so both functions give the CPU's bits.
#pragma once

#include "device.cuh"

// A number in data units as networks see it.
__device__ inline float normalised(double value, double shift, double scale) {
    return (float)__ddiv_rn(__dadd_rn(value, -shift), scale);
}

// A number that networks see in data units.
__device__ inline float in_data_units(float x, double shift, double scale) {
    return (float)__dadd_rn(__dmul_rn((double)x, scale), shift);
}
