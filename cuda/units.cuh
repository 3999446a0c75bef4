// Numbers of samples between data units, normalised units and those that networks see: src/formulas/units.rs. Each
// operation is rounded on its own, in double, so all functions give the CPU's bits.
#pragma once

#include "device.cuh"

// A number in data units in normalised units.
__device__ inline double normalised(double value, double shift, double scale) {
    return __ddiv_rn(__dadd_rn(value, -shift), scale);
}

// A number in normalised units in data units.
__device__ inline float in_data_units(float x, double shift, double scale) {
    return (float)__dadd_rn(__dmul_rn((double)x, scale), shift);
}

// The units along one axis.
constexpr u32 AXIS_UNITS = 3;

struct AxisUnits {
    double contraction, pull, unit;
};

__device__ inline AxisUnits units_of(const double* units, u32 j) {
    return {units[AXIS_UNITS * j], units[AXIS_UNITS * j + 1], units[AXIS_UNITS * j + 2]};
}

__device__ inline double units_divisor(const AxisUnits& axis, double time) {
    return __dadd_rn(__dadd_rn(1.0, -time), __dmul_rn(axis.contraction, time));
}

// A number in normalised units as networks see it at time t.
__device__ inline float units_seen(const AxisUnits& axis, double x, double time) {
    const double factor = __ddiv_rn(axis.contraction, __dmul_rn(units_divisor(axis, time), axis.unit));
    const double moved = __dadd_rn(x, __dmul_rn(__dadd_rn(1.0, -time), axis.pull));
    return (float)__dmul_rn(moved, factor);
}

// The drift over the axis's unit, at a number that networks see at time t, with the network's derivative.
__device__ inline float units_drift(const AxisUnits& axis, float seen, float slope, double time, double cost) {
    const double divisor = units_divisor(axis, time), length = __dmul_rn(divisor, axis.unit);
    const double away = __dmul_rn((double)seen, __ddiv_rn(length, axis.contraction));
    const double x = __dadd_rn(away, -__dmul_rn(__dadd_rn(1.0, -time), axis.pull));
    const double network = __dmul_rn(axis.contraction, __ddiv_rn((double)slope, __dmul_rn(cost, axis.unit)));
    const double known = __dadd_rn(__dmul_rn(__dadd_rn(1.0, -axis.contraction), x),
                                   -__dmul_rn(axis.contraction, axis.pull));
    return (float)__ddiv_rn(-__dadd_rn(known, network), length);
}
