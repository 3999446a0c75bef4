// The part of V that peaks have, and their plan at source samples: src/formulas/peaks.rs.
//
// The numbers of the peaks lie behind those of the axes (axes.cuh): of each axis `width` precisions p, as many centres,
// tilts h and log(s / sigma), where width is the number of peaks up to a multiple of 16; then width log w, and width
// log w with the sum over axes of log(s / sigma). There are 1 to 32 peaks.
//
// With z = x_j - centre and the noise n = sigma_j^2 (1 - t_j) that is left of axis j at time[row] (clock.cuh; time is
// rows x 3; time_stride may be 0, and without time (null) all noise is gone), c_j = 1 + p n and
//   l_k = log w_k - 1/2 sum over j of log c_j + (p z^2 - 2 h z - n h^2) / c_j,
//   peaks_add   v -= noise log sum over k of exp l_k, and the first d numbers of g's row get
//               g_j += noise sum over k of (softmax of l)_k (p z - h) / c_j. v (rows x 1) and g may be null.
//   peaks_plan  outputs of a source sample are [raw_1, .., raw_K, logits], raw_i of d means less x0 and d logarithms
//               of standard deviations. Component i gets the plan of peak k = i modulo the peaks, with n = sigma_j^2:
//               mean_j -= n (p z - h) / c_j, log-std_j += log(s / sigma), and logit_i += l_k of x0, less the logarithm
//               of how many components have this peak.
//
// Launch: one-dimensional, any number of blocks. In peaks_add a warp takes one row after another, or two where there
// are up to 16 peaks, and a lane has a peak. Reads 4 bytes an element of x, and reads and writes 4 of g; for each peak
// and axis about 13 operations, a division, a logarithm and two exchanges among them, on three numbers from the caches,
// and with g about 14 more, a division and seven exchanges among them. In peaks_plan 1 to 32 lanes take a component,
// neighbouring lanes neighbouring axes. Reads and writes 8 bytes for each axis of a component, with about 16
// operations, two divisions among them, on six numbers from the caches.
#include "axes.cuh"
#include "clock.cuh"
#include "peaks.cuh"

// One row of peaks_add for each W lanes of a warp, all of which call it with the same d. They write where `writes`.
template <u32 W>
__device__ inline void peaks_of_row(const Axes& axes, const Peaks& peaks, u32 count, float noise, float against,
                                    const float* x, float* v, float* g, bool writes) {
    const u32 d = peaks.d, lane = threadIdx.x % W, base = threadIdx.x % WARP - lane;
    // The state along this lane's axis of W, and the noise that is left there: each axis is looked at by one lane.
    float place = 0.0f, left = 0.0f;
    const auto look_at = [&](u32 first) {
        if (first + lane < d) {
            const float sigma = axes.sigma(first + lane);
            place = x[first + lane];
            left = sigma * sigma * axis_time(against, axes.rate(first + lane)).rest;
        }
    };
    float exponent = 0.0f;
    for (u32 first = 0; first < d; first += W) {
        const u32 here = d - first < W ? d - first : W;
        look_at(first);
#pragma unroll 1
        for (u32 i = 0; i < here; ++i) {
            const float at = __shfl_sync(ALL_LANES, place, base + i), rest = __shfl_sync(ALL_LANES, left, base + i);
            const AlongPeak of = peaks.along(first + i, lane, at, rest);
            exponent += of.square / of.factor + logf(of.factor);
        }
    }
    exponent = peaks.whole(PEAK_WEIGHT, lane) - 0.5f * exponent;
    // Lanes behind the last peak have none, whatever the state.
    const float top = lanes_max<W>(lane < count ? exponent : -infinity());
    const float share = lane < count ? expf(exponent - top) : 0.0f;
    const float total = lanes_sum<W>(share);
    if (v != nullptr && writes && lane == 0) {
        *v -= noise * (top + logf(total));
    }
    if (g == nullptr) {
        return;
    }
    const float part = share * (noise / total);
    for (u32 first = 0; first < d; first += W) {
        look_at(first);
        const u32 here = d - first < W ? d - first : W;
        float own = 0.0f;
#pragma unroll 1
        for (u32 i = 0; i < here; ++i) {
            const float at = __shfl_sync(ALL_LANES, place, base + i), rest = __shfl_sync(ALL_LANES, left, base + i);
            const AlongPeak of = peaks.along(first + i, lane, at, rest);
            const float sum = lanes_sum<W>(part * (of.slope / of.factor));
            own = i == lane ? sum : own;
        }
        if (writes && first + lane < d) {
            g[first + lane] += own;
        }
    }
}

template <u32 W>
__device__ inline void peaks_of_rows(const Axes& axes, const Peaks& peaks, u32 count, float noise, const float* time,
                                     u32 time_stride, const float* x, u32 x_stride, u32 rows, float* v, u32 v_stride,
                                     float* g, u32 g_stride) {
    constexpr u32 TOGETHER = WARP / W;
    each_row_of_warp(((u64)rows + TOGETHER - 1) / TOGETHER, [&](u64 index, bool) {
        const u64 own = index * TOGETHER + threadIdx.x % WARP / W;
        const u32 row = own < rows ? (u32)own : rows - 1;
        const float against = time == nullptr ? 0.0f : tick_of(row_of(time, time_stride, row)).against;
        peaks_of_row<W>(axes, peaks, count, noise, against, row_of(x, x_stride, row),
                        v == nullptr ? nullptr : row_of(v, v_stride, row),
                        g == nullptr ? nullptr : row_of(g, g_stride, row), own < rows);
    });
}

extern "C" __global__ void __launch_bounds__(256)
peaks_add(const float* axes, float noise, u32 peaks, const float* time, u32 time_stride, const float* x, u32 x_stride,
          u32 rows, u32 d, float* v, u32 v_stride, float* g, u32 g_stride) {
    const Axes along = axes_of(axes, d);
    const Peaks of = peaks_of(along, d, peaks);
    if (of.width == PEAK_LANES) {
        peaks_of_rows<PEAK_LANES>(along, of, peaks, noise, time, time_stride, x, x_stride, rows, v, v_stride, g,
                                  g_stride);
    } else {
        peaks_of_rows<WARP>(along, of, peaks, noise, time, time_stride, x, x_stride, rows, v, v_stride, g, g_stride);
    }
}

extern "C" __global__ void __launch_bounds__(256)
peaks_plan(const float* axes, u32 peaks, const float* x0, u32 x0_stride, u32 sources, u32 d, u32 components,
           float* outputs, u32 outputs_stride) {
    const Axes along = axes_of(axes, d);
    const Peaks of = peaks_of(along, d, peaks);
    // As many lanes as there are axes, up to a power of two.
    u32 lanes = 1;
    while (lanes < WARP && lanes < d) {
        lanes *= 2;
    }
    const u32 lane = threadIdx.x % lanes, together = WARP / lanes;
    const u64 total = (u64)sources * components;
    each_row_of_warp((total + together - 1) / together, [&](u64 index, bool) {
        const u64 own = index * together + threadIdx.x % WARP / lanes;
        u32 component;
        const u32 source = (u32)divide(own < total ? own : total - 1, components, component);
        const u32 peak = component % peaks;
        const float* const from = row_of(x0, x0_stride, source);
        float* const out = row_of(outputs, outputs_stride, source);
        float* const raw = out + (u64)component * 2 * d;
        float square = 0.0f;
        for (u32 j = lane; j < d; j += lanes) {
            const float sigma = along.sigma(j), noise = sigma * sigma;
            const AlongPeak by = of.along(j, peak, from[j], noise);
            square += by.square / by.factor;
            if (own < total) {
                raw[j] -= noise * (by.slope / by.factor);
                raw[d + j] += of.at(PEAK_LOG_STD, j, peak);
            }
        }
        for (u32 hop = lanes / 2; hop > 0; hop /= 2) {
            square += __shfl_xor_sync(ALL_LANES, square, hop);
        }
        if (own < total && lane == 0) {
            const float alike = (float)((components - peak + peaks - 1) / peaks);
            out[(u64)components * 2 * d + component] +=
                of.whole(PEAK_WEIGHT_AT_START, peak) - 0.5f * square - logf(alike);
        }
    });
}
