// Samples of the reciprocal bridge, with their noise drawn in the kernel.
//
// bridge_sample: for every row r of a batch and axis j, with m = raw[r][j], s = std(raw[r][d + j]) (s = 0 and no second
// half of raw where deterministic), xi and eta standard normals (element (first_row + r) d + j of the streams ENDPOINT
// and BRIDGE), sigma of the axis (axes.cuh) and t its time at time[r] (clock.cuh):
//   x1    = x0 + m + s xi
//   x_t   = (1 - t) x0 + t x1 + sigma sqrt(t (1 - t)) eta
//   drift = m + (s^2 - sigma^2) / (t s^2 + sigma^2 (1 - t)) (x_t - x0 - t m)     the mean of b_t given x0, m, s and x_t
// Each of x1, xt and drift may be null and is then not computed; time [rows][3] is read for xt and drift only. Where
// append is not 0, column d of x1 is set to 1 and that of xt to the time of the clock: the value function's inputs
// [x, t]. The squares of the first x1_squares or xt_squares coordinates follow in the columns from d + 1 on
// (squares.cuh, at these times).
//
// Launch: one-dimensional, any number of blocks; a thread takes four consecutive elements of the rows x d matrix (one
// Philox block a stream) after another. Reads x0, raw (4 + 8 bytes an element) and, from the caches, the axes; writes 4
// bytes an element and output; about 115 operations an element with both streams, three divisions and a root among
// them. Where d and all strides are multiples of four and all matrices lie
// on 16 bytes, every access is of 16 bytes.
//
// bridge_trajectory: paths from x0 [rows][d] to x1 [rows][d], normalised, through ascending times, in one launch:
//   x_i = x_(i-1) + along[i] (x1 - x_(i-1)) + spread[i] eta_i,     path[r][i][j] = scale x_i + shift[j],
//   along[i] = (t_i - t_(i-1)) / (1 - t_(i-1)), spread[i] = sigma sqrt((t_i - t_(i-1)) (1 - t_i) / (1 - t_(i-1))),
// t_(-1) = 0, and along = 1, spread = 0 where t_i = 1: then x_i is x1 exactly. eta_i is element
// ((first_row + r) times + i) d + j of the stream BRIDGE.
//
// Launch: one-dimensional, any number of blocks; a thread carries four coordinates of a row through all times (one
// where d is not a multiple of four or path does not lie on 16 bytes). Writes 4 bytes an element and time; x0 and x1
// are read once.
#include "axes.cuh"
#include "clock.cuh"
#include "head.cuh"
#include "philox.cuh"
#include "squares.cuh"
#include "units.cuh"

struct BridgePoint {
    float x1, xt, drift;
};

// Along an axis of this rate and sigma, at these odds against arrival; x1 alone where the others are not wanted.
// Nothing contracted: up to the exponential function of s, the bits of a CPU without fused multiply-adds.
__device__ inline BridgePoint bridge_point(bool timed, float against, float rate, float sigma, float x0, float mean,
                                           float std, float xi, float eta) {
    const float spread = __fmul_rn(std, xi), x1 = __fadd_rn(__fadd_rn(x0, mean), spread);
    if (!timed) {
        return {x1, 0.0f, 0.0f};
    }
    const AxisTime at = axis_time(against, rate);
    const float middle = __fadd_rn(__fmul_rn(at.rest, x0), __fmul_rn(at.time, x1));
    const float noise = __fmul_rn(sigma, __fsqrt_rn(__fmul_rn(at.time, at.rest)));
    const float brown = __fmul_rn(noise, eta), own = __fmul_rn(std, std), free = __fmul_rn(sigma, sigma);
    const float variance = __fadd_rn(__fmul_rn(at.time, own), __fmul_rn(at.rest, free));
    const float pull = __fdiv_rn(__fadd_rn(own, -free), variance);
    const float away = __fadd_rn(__fmul_rn(at.time, spread), brown);
    return {x1, __fadd_rn(middle, brown), __fadd_rn(mean, __fmul_rn(pull, away))};
}

// Room for four blocks: by itself ptxas holds to 40 registers and spills one.
extern "C" __global__ void __launch_bounds__(256, 4)
bridge_sample(const float* x0, u32 x0_stride, const float* raw, u32 raw_stride, const float* time, u32 time_stride,
              u32 rows, u32 d, const float* axes, u32 deterministic, u64 seed, const u64* counter, u64 number,
              u64 first_row, float* x1, u32 x1_stride, u32 x1_squares, float* xt, u32 xt_stride, u32 xt_squares,
              const float* centre, float* drift, u32 drift_stride, u32 append) {
    u64 total = (u64)rows * d;
    if (total == 0) {
        return;
    }
    const Axes by = axes_of(axes, d);
    const Sequence endpoint = sequence_of(seed, counter, number, STREAM_ENDPOINT);
    const Sequence bridge = sequence_of(seed, counter, number, STREAM_BRIDGE);
    const bool timed = xt != nullptr || drift != nullptr;
    const bool whole = d % 4 == 0 && vectorised(x0, x0_stride) && vectorised(raw, raw_stride) &&
                       vectorised(x1, x1_stride) && vectorised(xt, xt_stride) && vectorised(drift, drift_stride) &&
                       vectorised(axes, 0);
    const u64 first = first_row * d;
    const u64 begin = first / 4, count = (first % 4 + total - 1) / 4 + 1;
    const u64 step = (u64)gridDim.x * blockDim.x;
    for (u64 index = (u64)blockIdx.x * blockDim.x + threadIdx.x; index < count; index += step) {
        const float4 none = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        const u64 block = begin + index;
        const float4 ends = deterministic != 0 ? none : normals4(endpoint, block);
        const float4 noise = timed ? normals4(bridge, block) : none;
        const float xi4[4] = {ends.x, ends.y, ends.z, ends.w}, eta4[4] = {noise.x, noise.y, noise.z, noise.w};
        u32 from = index == 0 ? (u32)(first % 4) : 0;
        u32 col;
        u32 row = (u32)divide(4 * index + from - first % 4, d, col);
        Tick tick = {0.0f, 0.0f, 0.0f};
        if (whole) {
            Lanes<4> sigma = {}, rate = {}, log_std = {};
            if (timed) {
                tick = tick_of(row_of(time, time_stride, row));
                sigma = by.of<4>(AXIS_SIGMA, col);
                rate = by.of<4>(AXIS_RATE, col);
            }
            if (deterministic == 0) {
                log_std = by.of<4>(AXIS_LOG_STD, col);
            }
            const float4 a = load4(row_of(x0, x0_stride, row) + col), m = load4(row_of(raw, raw_stride, row) + col);
            const float4 l = deterministic != 0 ? none : load4(row_of(raw, raw_stride, row) + d + col);
            const float a4[4] = {a.x, a.y, a.z, a.w}, m4[4] = {m.x, m.y, m.z, m.w}, l4[4] = {l.x, l.y, l.z, l.w};
            BridgePoint p[4];
#pragma unroll
            for (u32 i = 0; i < 4; ++i) {
                bool inside;
                float std = deterministic != 0 ? 0.0f : head_std(log_std.x[i], l4[i], inside);
                p[i] = bridge_point(timed, tick.against, rate.x[i], sigma.x[i], a4[i], m4[i], std, xi4[i], eta4[i]);
            }
            if (x1 != nullptr) {
                const Lanes<4> x = {{p[0].x1, p[1].x1, p[2].x1, p[3].x1}};
                float* to = row_of(x1, x1_stride, row);
                put(to + col, x);
                put_squares({x1_squares, centre}, to + d + 1, col, x, 1.0f);
            }
            if (xt != nullptr) {
                const Lanes<4> x = {{p[0].xt, p[1].xt, p[2].xt, p[3].xt}};
                float* to = row_of(xt, xt_stride, row);
                put(to + col, x);
                put_squares({xt_squares, centre}, to + d + 1, col, x, tick.time);
            }
            if (drift != nullptr) {
                store4(row_of(drift, drift_stride, row) + col,
                       make_float4(p[0].drift, p[1].drift, p[2].drift, p[3].drift));
            }
            if (append != 0 && col + 4 == d) {
                if (x1 != nullptr) {
                    row_of(x1, x1_stride, row)[d] = 1.0f;
                }
                if (xt != nullptr) {
                    row_of(xt, xt_stride, row)[d] = tick.time;
                }
            }
            continue;
        }
        bool fresh = true;
#pragma unroll
        for (u32 i = 0; i < 4; ++i) {
            if (i < from || row >= rows) {
                continue;
            }
            if (fresh && timed) {
                tick = tick_of(row_of(time, time_stride, row));
            }
            fresh = false;
            const float* line = row_of(raw, raw_stride, row);
            bool inside;
            float std = deterministic != 0 ? 0.0f : head_std(by.log_std(col), line[d + col], inside);
            BridgePoint p = bridge_point(timed, tick.against, by.rate(col), by.sigma(col),
                                         row_of(x0, x0_stride, row)[col], line[col], std, xi4[i], eta4[i]);
            bool last = col + 1 == d;
            if (x1 != nullptr) {
                float* to = row_of(x1, x1_stride, row);
                to[col] = p.x1;
                put_squares({x1_squares, centre}, to + d + 1, col, Lanes<1>{{p.x1}}, 1.0f);
                if (last && append != 0) {
                    to[d] = 1.0f;
                }
            }
            if (xt != nullptr) {
                float* to = row_of(xt, xt_stride, row);
                to[col] = p.xt;
                put_squares({xt_squares, centre}, to + d + 1, col, Lanes<1>{{p.xt}}, tick.time);
                if (last && append != 0) {
                    to[d] = tick.time;
                }
            }
            if (drift != nullptr) {
                row_of(drift, drift_stride, row)[col] = p.drift;
            }
            ++col;
            if (last) {
                col = 0;
                ++row;
                fresh = true;
            }
        }
    }
}

// `count` coordinates of one row through all times; lanes of the four normals of a Philox block beyond them are unused.
template <u32 count>
__device__ inline void trajectory_of(const float* start, const float* end, const float* along, const float* spread,
                                     u32 times, u32 d, u64 element, const Sequence& bridge, double scale,
                                     const double* shift, float* path) {
    float x[count], goal[count];
    double moved[count];
#pragma unroll
    for (u32 i = 0; i < count; ++i) {
        x[i] = start[i];
        goal[i] = end[i];
        moved[i] = shift[i];
    }
    for (u32 k = 0; k < times; ++k, element += d, path += d) {
        float part = along[k], width = spread[k];
        float4 normal = normals4(bridge, element / 4);
        float eta[4] = {normal.x, normal.y, normal.z, normal.w};
        if (count == 1) {
            u32 lane = (u32)(element % 4);
            eta[0] = lane == 0 ? normal.x : lane == 1 ? normal.y : lane == 2 ? normal.z : normal.w;
        }
        float out[4];
#pragma unroll
        for (u32 i = 0; i < count; ++i) {
            x[i] = part >= 1.0f ? goal[i] : x[i] + (part * (goal[i] - x[i]) + width * eta[i]);
            out[i] = in_data_units(x[i], moved[i], scale);
        }
        if (count == 4) {
            store4(path, make_float4(out[0], out[1], out[2], out[3]));
        } else {
            path[0] = out[0];
        }
    }
}

extern "C" __global__ void __launch_bounds__(256)
bridge_trajectory(const float* x0, u32 x0_stride, const float* x1, u32 x1_stride, u32 rows, u32 d, const float* along,
                  const float* spread, u32 times, float* path, u64 seed, u64 number, u64 first_row, double scale,
                  const double* shift) {
    const Sequence bridge = sequence_of(seed, nullptr, number, STREAM_BRIDGE);
    const u32 width = d % 4 == 0 && vectorised(path, 0) ? 4 : 1;
    const u64 total = (u64)rows * (d / width), step = (u64)gridDim.x * blockDim.x, line = (u64)times * d;
    for (u64 index = (u64)blockIdx.x * blockDim.x + threadIdx.x; index < total; index += step) {
        u32 place;
        const u32 row = (u32)divide(index, d / width, place);
        const u32 col = place * width;
        const float *start = row_of(x0, x0_stride, row) + col, *end = row_of(x1, x1_stride, row) + col;
        const u64 element = (first_row + row) * line + col;
        float* to = path + row * line + col;
        if (width == 4) {
            trajectory_of<4>(start, end, along, spread, times, d, element, bridge, scale, shift + col, to);
        } else {
            trajectory_of<1>(start, end, along, spread, times, d, element, bridge, scale, shift + col, to);
        }
    }
}
