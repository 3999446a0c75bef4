// The clock of a problem whose axes have times of their own: src/formulas/clock.rs. A row of times has three columns:
// the time s of the clock, the odds against arrival, and the speed of the odds for it over their square.
//
// Each operation is rounded on its own. Times along an axis have the CPU's bits; so has what a row carries, but where
// expm1 of the two differs in its last bit, which a rounding to float seldom shows.
#pragma once

#include "device.cuh"

constexpr u32 TICK = 3;
// How often times go through m.
constexpr u32 CLOCK_STAGES = 2;

struct Tick {
    float time, against, pace;
};

__device__ inline Tick tick_of(const float* row) { return {row[0], row[1], row[2]}; }

// What rows at time s from 0 to 1 carry. log_range is 0 where all axes have one time, and ease is 1 where the clock does not
// slow down.
__device__ inline Tick clock_at(double log_range, double ease, float time) {
    // The root of the least number.
    const double s = time > 0x1p-63f ? time : 0x1p-63f;
    double u = s, rest = __dadd_rn(1.0, -s), speed = 1.0;
    if (ease < 1.0) {
        for (u32 stage = 0; stage < CLOCK_STAGES; stage++) {
            const double bent = __dmul_rn(__dadd_rn(1.0, -ease), rest);
            speed = __dmul_rn(speed, __dadd_rn(ease, __dmul_rn(2.0, bent)));
            u = __dmul_rn(u, __dadd_rn(1.0, bent));
            rest = __dmul_rn(rest, __dadd_rn(ease, bent));
        }
    }
    if (log_range == 0.0) {
        const double pace = __ddiv_rn(1.0, __dmul_rn(u, u));
        return {time, (float)__ddiv_rn(rest, u), (float)__dmul_rn(pace, speed)};
    }
    const double come = expm1(__dmul_rn(log_range, u)), left = -expm1(__dmul_rn(log_range, -rest));
    const double against = __ddiv_rn(left, come);
    const double both = __dadd_rn(__dmul_rn(__dadd_rn(1.0, come), against), __dadd_rn(1.0, -left));
    const double pace = __dmul_rn(__ddiv_rn(log_range, come), both);
    return {time, (float)against, (float)__dmul_rn(pace, speed)};
}

// The time t of an axis of this rate, and 1 - t.
struct AxisTime {
    float time, rest;
};

__device__ inline AxisTime axis_time(float against, float rate) {
    const float all = __fadd_rn(rate, against);
    return {__fdiv_rn(rate, all), __fdiv_rn(against, all)};
}

// dt / ds.
__device__ inline float axis_speed(const Tick& tick, float rate) {
    const float all = __fadd_rn(rate, tick.against);
    return __fmul_rn(__fdiv_rn(rate, all), __fdiv_rn(tick.pace, all));
}
