// Samples of the reciprocal bridge where peaks have axes of their own: src/device/cpu/turned_bridge.rs.
//
// bridge_turned: row r has a component with the number which[r], whose mean and deviations lie along the axes T of peak
// which[r] modulo the peaks (turned.cuh). With m = raw[r][j], s = std(raw[r][d + j]), xi and eta standard normals
// (element (first_row + r) d + j of the streams ENDPOINT and BRIDGE), sigma (axes.cuh) and t the time at time[r]
// (clock.cuh), all along the peak's axis j:
//   x1    = x0 + T (m + s xi)
//   x_t   = x0 + T (t (m + s xi) + sigma sqrt(t (1 - t)) eta)
//   drift = T (m + (s^2 - sigma^2) / (t s^2 + sigma^2 (1 - t)) (t s xi + sigma sqrt(t (1 - t)) eta))
// Outputs and squares are those of bridge_sample (bridge.cu) with append.
//
// Launch: one-dimensional, any number of blocks of up to 256 threads; a warp takes one row after another. Reads and
// writes as bridge_sample does, and d^2 numbers of the peak's matrix from the caches; 6 d^2 operations a row beside
// those of bridge_sample.
#include "clock.cuh"
#include "head.cuh"
#include "philox.cuh"
#include "squares.cuh"
#include "turned.cuh"

// Number `index` of the normals of which each lane has four.
__device__ inline float normal_of(const float4& own, u32 index) {
    const u32 lane = index / 4, part = index % 4;
    const float x = __shfl_sync(ALL_LANES, own.x, lane), y = __shfl_sync(ALL_LANES, own.y, lane);
    const float z = __shfl_sync(ALL_LANES, own.z, lane), w = __shfl_sync(ALL_LANES, own.w, lane);
    return part == 0 ? x : part == 1 ? y : part == 2 ? z : w;
}

// Places along the peak's axis less those of x0, of x1 and x_t, and of the drift.
struct TurnedPoint {
    float end, state, drift;
};

// Nothing contracted, as in bridge_point.
__device__ inline TurnedPoint turned_point(bool timed, float against, float rate, float sigma, float mean, float std,
                                           float xi, float eta) {
    const float reach = __fmul_rn(std, xi), away = __fadd_rn(mean, reach);
    if (!timed) {
        return {away, 0.0f, 0.0f};
    }
    const AxisTime at = axis_time(against, rate);
    const float noise = __fmul_rn(sigma, __fsqrt_rn(__fmul_rn(at.time, at.rest)));
    const float brown = __fmul_rn(noise, eta), own = __fmul_rn(std, std), free = __fmul_rn(sigma, sigma);
    const float variance = __fadd_rn(__fmul_rn(at.time, own), __fmul_rn(at.rest, free));
    const float pull = __fdiv_rn(__fadd_rn(own, -free), variance);
    const float moved = __fadd_rn(__fmul_rn(at.time, reach), brown);
    return {away, __fadd_rn(__fmul_rn(at.time, away), brown), __fadd_rn(mean, __fmul_rn(pull, moved))};
}

extern "C" __global__ void __launch_bounds__(TURNED_THREADS)
bridge_turned(const float* x0, u32 x0_stride, const float* raw, u32 raw_stride, const float* which, const float* time,
              u32 time_stride, u32 rows, u32 d, const float* axes, u32 peaks, u64 seed, const u64* counter, u64 number,
              u64 first_row, float* x1, u32 x1_stride, u32 x1_squares, float* xt, u32 xt_stride, u32 xt_squares,
              const float* centre, float* drift, u32 drift_stride) {
    constexpr u32 POINTS = 3;
    SHARED(float4, lines, TURNED_WARPS * POINTS * LINE_QUADS);
    const Axes by = axes_of(axes, d);
    const OwnAxes turned = own_axes_of(peaks_of(by, d, peaks), by);
    const Sequence endpoint = sequence_of(seed, counter, number, STREAM_ENDPOINT);
    const Sequence bridge = sequence_of(seed, counter, number, STREAM_BRIDGE);
    const bool timed = xt != nullptr || drift != nullptr;
    const u32 lane = threadIdx.x % WARP;
    float4* const own = lines + threadIdx.x / WARP * POINTS * LINE_QUADS;
    each_row_of_warp(rows, [=](u64 index, bool writes) {
        const u32 row = (u32)index;
        const u32 peak = (u32)which[row] % peaks;
        const Tick tick = timed ? tick_of(row_of(time, time_stride, row)) : Tick{1.0f, 0.0f, 0.0f};
        // The row's normals lie in up to 17 Philox blocks, of which each lane draws one.
        const u64 element = (first_row + index) * d;
        const float4 none = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        const float4 ends = normals4(endpoint, element / 4 + lane);
        const float4 noise = timed ? normals4(bridge, element / 4 + lane) : none;
        const float *const from = row_of(x0, x0_stride, row), *const line = row_of(raw, raw_stride, row);
        float places[POINTS][HALVES], x[POINTS][HALVES];
#pragma unroll
        for (u32 h = 0; h < HALVES; ++h) {
            const u32 j = lane + WARP * h, normal = (u32)(element % 4) + j;
            const float xi = normal_of(ends, normal), eta = normal_of(noise, normal);
            TurnedPoint point = {0.0f, 0.0f, 0.0f};
            if (j < d) {
                bool inside;
                const float std = head_std(by.log_std(j), line[d + j], inside);
                point = turned_point(timed, tick.against, by.rate(j), by.sigma(j), line[j], std, xi, eta);
            }
            places[0][h] = point.end;
            places[1][h] = point.state;
            places[2][h] = point.drift;
        }
        lay_down<POINTS, HALVES>(own, places);
        across_peak_axes<POINTS>(turned, peak, own, x);
#pragma unroll
        for (u32 h = 0; h < HALVES; ++h) {
            const u32 col = lane + WARP * h;
            if (col >= d) {
                continue;
            }
            if (x1 != nullptr) {
                float* const to = row_of(x1, x1_stride, row);
                const float end = __fadd_rn(from[col], x[0][h]);
                to[col] = end;
                put_squares({x1_squares, centre}, to + d + 1, col, Lanes<1>{{end}}, 1.0f);
            }
            if (xt != nullptr) {
                float* const to = row_of(xt, xt_stride, row);
                const float state = __fadd_rn(from[col], x[1][h]);
                to[col] = state;
                put_squares({xt_squares, centre}, to + d + 1, col, Lanes<1>{{state}}, tick.time);
            }
            if (drift != nullptr) {
                row_of(drift, drift_stride, row)[col] = x[2][h];
            }
        }
        if (writes && x1 != nullptr) {
            row_of(x1, x1_stride, row)[d] = 1.0f;
        }
        if (writes && xt != nullptr) {
            row_of(xt, xt_stride, row)[d] = tick.time;
        }
    });
}
