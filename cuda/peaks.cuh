// The numbers of a value function's peaks, and a peak along an axis: src/formulas/peaks.rs.
#pragma once
#include "axes.cuh"

// The width of the peaks' numbers is a multiple of it.
constexpr u32 PEAK_LANES = 16;
constexpr u32 PEAK_PARTS = 4;

enum PeakPart : u32 { PEAK_PRECISION = 0, PEAK_CENTRE = 1, PEAK_TILT = 2, PEAK_LOG_STD = 3 };
enum PeakWhole : u32 { PEAK_WEIGHT = 0, PEAK_WEIGHT_AT_START = 1 };
constexpr u32 PEAK_WHOLES = 2;

// 1 + p n, p z - h, and p z^2 - 2 h z - n h^2 of a peak along an axis.
struct AlongPeak {
    float factor, slope, square;
};

__device__ inline AlongPeak along_peak(float precision, float centre, float tilt, float x, float noise) {
    const float away = x - centre, slope = precision * away - tilt;
    return {1.0f + precision * noise, slope, slope * away - tilt * (away + noise * tilt)};
}

struct Peaks {
    const float* numbers;
    u32 width, d;

    __device__ float at(PeakPart part, u32 j, u32 peak) const {
        return numbers[(PEAK_PARTS * j + part) * width + peak];
    }

    __device__ float whole(PeakWhole part, u32 peak) const { return numbers[(PEAK_PARTS * d + part) * width + peak]; }

    __device__ AlongPeak along(u32 j, u32 peak, float x, float noise) const {
        return along_peak(at(PEAK_PRECISION, j, peak), at(PEAK_CENTRE, j, peak), at(PEAK_TILT, j, peak), x, noise);
    }
};

__device__ inline Peaks peaks_of(const Axes& axes, u32 d, u32 peaks) {
    return {axes.numbers + AXIS_PARTS * axes.stride, (peaks + PEAK_LANES - 1) / PEAK_LANES * PEAK_LANES, d};
}
