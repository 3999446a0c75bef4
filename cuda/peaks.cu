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
// Where peaks have axes of their own (turned.cuh) the same, with x_j, the noise n, means and deviations of component i
// along the axes of its peak:
//   peaks_add_turned    g gets noise sum over k of (softmax of l)_k T_k u_k, u_kj = (p z - h) / c_j.
//   peaks_plan_turned   as peaks_plan.
//
// Launch: one-dimensional, any number of blocks. In peaks_add a warp takes one row after another, or two where there
// are up to 16 peaks, and a lane has a peak. Reads 4 bytes an element of x, and reads and writes 4 of g; for each peak
// and axis about 13 operations, a division, a logarithm and two exchanges among them, on three numbers from the caches,
// and with g about 14 more, a division and seven exchanges among them. In peaks_plan 1 to 32 lanes take a component,
// neighbouring lanes neighbouring axes. Reads and writes 8 bytes for each axis of a component, with about 16
// operations, two divisions among them, on six numbers from the caches.
//
// The turned kernels take up to 256 threads, and 16 rows a block of so many at a time, two a warp: all of them with one
// peak after another in peaks_add_turned, and with one peak in peaks_plan_turned, whose matrix the block has in shared
// memory (16 KiB and 8 of rows). For each row and peak 2 d^2 operations, and as many again with g, on half as many
// numbers from shared memory; d^2 numbers from the caches for 16 rows; and what the other kernels do along an axis.
#include "axes.cuh"
#include "clock.cuh"
#include "turned.cuh"

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

// -1/2 of the sum over a peak's own axes of log c_j + (p z^2 - 2 h z - n h^2) / c_j for this warp's rows, the same in
// every lane, and u_j; the peak's matrix is staged, and the rows lie in lines.
template <u32 R, u32 H>
__device__ inline void at_turned_peak(const OwnAxes& turned, u32 peak, const float* matrix, const float4* lines,
                                      const float (&noise)[R], float (&exponents)[R], float (&slopes)[R][H]) {
    along_staged<R, H>(matrix, turned.d, lines, slopes);
    float sums[R], factors[R];
#pragma unroll
    for (u32 r = 0; r < R; ++r) {
        sums[r] = 0.0f;
        factors[r] = 1.0f;
    }
#pragma unroll
    for (u32 h = 0; h < H; ++h) {
        const u32 j = threadIdx.x % WARP + WARP * h;
        const float precision = turned.at(PEAK_PRECISION, j, peak), centre = turned.at(PEAK_CENTRE, j, peak);
        const float tilt = turned.at(PEAK_TILT, j, peak);
#pragma unroll
        for (u32 r = 0; r < R; ++r) {
            const AlongPeak by = along_peak(precision, centre, tilt, slopes[r][h], noise[r]);
            sums[r] += by.square / by.factor;
            // A factor is from 1e-2 to 1e4.
            factors[r] *= by.factor;
            slopes[r][h] = by.slope / by.factor;
        }
    }
#pragma unroll
    for (u32 r = 0; r < R; ++r) {
        exponents[r] = -0.5f * lanes_sum<WARP>(sums[r] + logf(factors[r]));
    }
}

// Takes this warp's numbers of a row, zeros behind the last one.
template <u32 H>
__device__ inline void take_row(const float* row, u32 d, float (&x)[H]) {
#pragma unroll
    for (u32 h = 0; h < H; ++h) {
        const u32 j = threadIdx.x % WARP + WARP * h;
        x[h] = j < d ? row[j] : 0.0f;
    }
}

// The rows from `first` on, which are this warp's; beyond the last one it computes that one again and writes nothing.
template <u32 H>
__device__ inline void turned_peaks_of_rows(const Axes& axes, const Peaks& peaks, const OwnAxes& turned, u32 count,
                                            float epsilon, const float* time, u32 time_stride, const float* x,
                                            u32 x_stride, u64 first, u32 rows, float* v, u32 v_stride, float* g,
                                            u32 g_stride, float* matrix, float4* lines) {
    constexpr u32 R = TURNED_ROWS;
    const u32 d = turned.d, lane = threadIdx.x % WARP;
    const float variance = axes.sigma(0) * axes.sigma(0), rate = axes.rate(0);
    // A share of 0 at no peak so far.
    float left[R], top[R], total[R], sums[R][H], at[R][H];
#pragma unroll
    for (u32 r = 0; r < R; ++r) {
        const u32 row = first + r < rows ? (u32)first + r : rows - 1;
        const float against = time == nullptr ? 0.0f : tick_of(row_of(time, time_stride, row)).against;
        left[r] = variance * axis_time(against, rate).rest;
        take_row<H>(row_of(x, x_stride, row), d, at[r]);
        top[r] = -infinity();
        total[r] = 0.0f;
#pragma unroll
        for (u32 h = 0; h < H; ++h) {
            sums[r][h] = 0.0f;
        }
    }
    lay_down<R, H>(lines, at);
#pragma unroll 1
    for (u32 peak = 0; peak < count; ++peak) {
        stage_matrix<H>(turned, peak, matrix);
        float exponents[R], slopes[R][H];
        at_turned_peak<R, H>(turned, peak, matrix, lines, left, exponents, slopes);
        float shares[R];
        const float weight = peaks.whole(PEAK_WEIGHT, peak);
#pragma unroll
        for (u32 r = 0; r < R; ++r) {
            // What was added so far goes on under the larger top.
            const float exponent = weight + exponents[r], most = larger(top[r], exponent);
            const float before = expf(top[r] - most);
            shares[r] = expf(exponent - most);
            total[r] = total[r] * before + shares[r];
            top[r] = most;
#pragma unroll
            for (u32 h = 0; h < H; ++h) {
                sums[r][h] *= before;
            }
        }
        if (g == nullptr) {
            continue;
        }
        lay_down<R, H>(lines + R * LINE_QUADS, slopes);
        across_staged<R, H>(matrix, d, lines + R * LINE_QUADS, slopes);
#pragma unroll
        for (u32 r = 0; r < R; ++r) {
#pragma unroll
            for (u32 h = 0; h < H; ++h) {
                sums[r][h] += shares[r] * slopes[r][h];
            }
        }
    }
#pragma unroll
    for (u32 r = 0; r < R; ++r) {
        if (first + r >= rows) {
            continue;
        }
        const u32 row = (u32)first + r;
        if (v != nullptr && lane == 0) {
            *row_of(v, v_stride, row) -= epsilon * (top[r] + logf(total[r]));
        }
        if (g != nullptr) {
            const float part = epsilon / total[r];
#pragma unroll
            for (u32 h = 0; h < H; ++h) {
                const u32 i = lane + WARP * h;
                if (i < d) {
                    row_of(g, g_stride, row)[i] += part * sums[r][h];
                }
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(TURNED_THREADS)
peaks_add_turned(const float* axes, float noise, u32 peaks, const float* time, u32 time_stride, const float* x,
                 u32 x_stride, u32 rows, u32 d, float* v, u32 v_stride, float* g, u32 g_stride) {
    SHARED(float, matrix, TURNED_MATRIX);
    SHARED(float4, lines, TURNED_WARPS * 2 * TURNED_ROWS * LINE_QUADS);
    const Axes along = axes_of(axes, d);
    const Peaks of = peaks_of(along, d, peaks);
    const OwnAxes turned = own_axes_of(of, along);
    const u32 warp = threadIdx.x / WARP, together = blockDim.x / WARP * TURNED_ROWS;
    float4* const own = lines + warp * 2 * TURNED_ROWS * LINE_QUADS;
    for (u64 first = (u64)blockIdx.x * together; first < rows; first += (u64)gridDim.x * together) {
        const u64 from = first + warp * TURNED_ROWS;
        if (d <= WARP) {
            turned_peaks_of_rows<1>(along, of, turned, peaks, noise, time, time_stride, x, x_stride, from, rows, v,
                                    v_stride, g, g_stride, matrix, own);
        } else {
            turned_peaks_of_rows<HALVES>(along, of, turned, peaks, noise, time, time_stride, x, x_stride, from, rows,
                                         v, v_stride, g, g_stride, matrix, own);
        }
    }
}

// The components of one peak for this warp's source samples from `first` on.
template <u32 H>
__device__ inline void turned_plan_of_rows(const Axes& axes, const Peaks& peaks, const OwnAxes& turned, u32 count,
                                           u32 peak, const float* x0, u32 x0_stride, u64 first, u32 sources,
                                           u32 components, float* outputs, u32 outputs_stride, float* matrix,
                                           float4* lines) {
    constexpr u32 R = TURNED_ROWS;
    const u32 d = turned.d, lane = threadIdx.x % WARP;
    const float variance = axes.sigma(0) * axes.sigma(0);
    float noise[R], exponents[R], slopes[R][H];
#pragma unroll
    for (u32 r = 0; r < R; ++r) {
        take_row<H>(row_of(x0, x0_stride, first + r < sources ? (u32)first + r : sources - 1), d, slopes[r]);
        noise[r] = variance;
    }
    stage_matrix<H>(turned, peak, matrix);
    lay_down<R, H>(lines, slopes);
    at_turned_peak<R, H>(turned, peak, matrix, lines, noise, exponents, slopes);
    const float alike = (float)((components - peak + count - 1) / count);
    const float weight = peaks.whole(PEAK_WEIGHT, peak) - logf(alike);
#pragma unroll
    for (u32 r = 0; r < R; ++r) {
        if (first + r >= sources) {
            continue;
        }
        float* const out = row_of(outputs, outputs_stride, (u32)first + r);
        for (u32 component = peak; component < components; component += count) {
            float* const raw = out + (u64)component * 2 * d;
#pragma unroll
            for (u32 h = 0; h < H; ++h) {
                const u32 j = lane + WARP * h;
                if (j < d) {
                    raw[j] -= variance * slopes[r][h];
                    raw[d + j] += turned.at(PEAK_LOG_STD, j, peak);
                }
            }
            if (lane == 0) {
                out[(u64)components * 2 * d + component] += weight + exponents[r];
            }
        }
    }
}

// Room for two blocks: by itself ptxas holds to 64 registers on some architectures and spills one.
extern "C" __global__ void __launch_bounds__(TURNED_THREADS, 2)
peaks_plan_turned(const float* axes, u32 peaks, const float* x0, u32 x0_stride, u32 sources, u32 d, u32 components,
                  float* outputs, u32 outputs_stride) {
    SHARED(float, matrix, TURNED_MATRIX);
    SHARED(float4, lines, TURNED_WARPS * TURNED_ROWS * LINE_QUADS);
    const Axes along = axes_of(axes, d);
    const Peaks of = peaks_of(along, d, peaks);
    const OwnAxes turned = own_axes_of(of, along);
    const u32 warp = threadIdx.x / WARP, together = blockDim.x / WARP * TURNED_ROWS;
    float4* const own = lines + warp * TURNED_ROWS * LINE_QUADS;
    // Peaks without a component have no part in it.
    const u32 here = components < peaks ? components : peaks;
    const u64 total = ((u64)sources + together - 1) / together * here;
    for (u64 index = blockIdx.x; index < total; index += gridDim.x) {
        u32 peak;
        const u64 from = divide(index, here, peak) * together + warp * TURNED_ROWS;
        if (d <= WARP) {
            turned_plan_of_rows<1>(along, of, turned, peaks, peak, x0, x0_stride, from, sources, components, outputs,
                                   outputs_stride, matrix, own);
        } else {
            turned_plan_of_rows<HALVES>(along, of, turned, peaks, peak, x0, x0_stride, from, sources, components,
                                        outputs, outputs_stride, matrix, own);
        }
    }
}
