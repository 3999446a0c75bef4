// The generator's loss and its gradient where peaks have axes of their own: src/device/cpu/turned_mixture.rs.
//
// As in mixture.cu with log_weight, but mean and deviations of component k of a group lie along the axes T of peak k
// modulo the peaks (turned.cuh), and all axes have one noise and time. With z = x_i - x0 of sample i, its places
// y_k = T' z along the axes of component k, m = t raw[k][j], s = std(raw[k][d + j]), c = t^2 s^2 + sigma^2 t (1 - t)
// and r = sigma^2 t
//   l_ik  = log_weight_k - 1/2 sum_j [ (y_kj - m_kj)^2 / c_kj + log(c_kj / r) ],
//   log p_i = log(mean over all k of exp l_ik),      shares a_ik = exp l_ik / sum over k of exp l_ik,
//   loss of row i = V_i + noise (log p_i - log w_i), log w_i = -1/2 |z|^2 / r,
//   gx_i  = g_i + noise (z / r - sum over k of a_ik T_k [(y_k - m_k) / c_k]),     u = T' gx_i along the row's own axes,
//   delta[i][j]     = scale w_i t u_j
//   delta[i][d + j] = scale w_i t^2 s^2 (y - m) / c u_j of the row's own component, 0 where log s is held at an end
//                     of its range.
//
// turned_variances   1 / c of every row to inverses [rows][d], and sum_j log(c / r) - 2 log_weight to logs [rows].
//                    Launch: one-dimensional, any number of blocks; a warp takes one row after another. Reads 4 bytes
//                    an element and writes as many; an exponential, a logarithm and two divisions each.
// turned_mixture     the loss to row_losses, their sum over the block's rows, each w_i times, to losses[block]
//                    (double), and delta. Launch: one-dimensional, any number of blocks of 256 threads. A block takes
//                    16 rows after others, two a warp, and has the matrix of one peak after another in shared memory
//                    (16 KiB, and 8 of rows). Shares are added up as they come, under the largest l so far, so nothing
//                    of size K x K is kept anywhere. For each row and peak 4 d^2 operations, on half as many numbers
//                    from shared memory, and d^2 numbers from the caches for 16 rows; for each row and component 8 d
//                    operations on two d numbers from the caches, two exponentials and five exchanges.
#include "clock.cuh"
#include "head.cuh"
#include "squares.cuh"
#include "turned.cuh"

extern "C" __global__ void __launch_bounds__(TURNED_THREADS)
turned_variances(const float* raw, u32 raw_stride, const float* time, u32 time_stride, u32 rows, u32 d,
                 const float* axes, const float* log_weight, float* inverses, float* logs) {
    const Axes by = axes_of(axes, d);
    each_row_of_warp(rows, [=](u64 row, bool writes) {
        const float against = tick_of(row_of(time, time_stride, (u32)row)).against;
        const float* const line = row_of(raw, raw_stride, (u32)row);
        float sum = 0.0f;
        for (u32 j = threadIdx.x % WARP; j < d; j += WARP) {
            const AxisTime at = axis_time(against, by.rate(j));
            const float sigma = by.sigma(j), reference = __fmul_rn(__fmul_rn(sigma, sigma), at.time);
            bool inside;
            const float reach = __fmul_rn(at.time, head_std(by.log_std(j), line[d + j], inside));
            const float variance = __fadd_rn(__fmul_rn(reach, reach), __fmul_rn(reference, at.rest));
            inverses[row * d + j] = __fdiv_rn(1.0f, variance);
            sum += logf(variance * __fdiv_rn(1.0f, reference));
        }
        sum = lanes_sum<WARP>(sum);
        if (writes) {
            logs[row] = __fmaf_rn(-2.0f, log_weight[row], sum);
        }
    });
}

// The matrices, one row for each component of every group.
struct TurnedRows {
    const float *x0, *raw, *xt, *v, *g, *log_weight, *inverses, *logs;
    float *row_losses, *delta;
    u32 x0_stride, raw_stride, xt_stride, v_stride, g_stride, delta_stride;
    u32 rows, squares, components, peaks;
    float noise, scale;
};

// Adds component `k` of one row's group to its sums: the share's exponential to `total`, and to `pull` as many times
// (y - m) / c. What was added so far, `sums` too, goes on under the larger top.
template <u32 H>
__device__ inline void add_component(const TurnedRows& of, u32 d, u64 k, float time, const float (&places)[H],
                                     float& top, float& total, float (&pull)[H], float (&sums)[H]) {
    const float *const raw = of.raw + k * of.raw_stride, *const inverses = of.inverses + k * d;
    float square = 0.0f, force[H] = {};
#pragma unroll
    for (u32 h = 0; h < H; ++h) {
        const u32 j = threadIdx.x % WARP + WARP * h;
        if (j < d) {
            const float away = places[h] - __fmul_rn(time, raw[j]);
            force[h] = away * inverses[j];
            square += away * force[h];
        }
    }
    const float log = -0.5f * (of.logs[k] + lanes_sum<WARP>(square));
    const float most = larger(top, log), before = expf(top - most), share = expf(log - most);
    top = most;
    total = total * before + share;
#pragma unroll
    for (u32 h = 0; h < H; ++h) {
        pull[h] = pull[h] * before + share * force[h];
        sums[h] *= before;
    }
}

// Writes the gradient by one row's outputs, given that by x_t in `line`, and its places along its own axes.
template <u32 H>
__device__ inline void turned_gradient(const TurnedRows& of, const Axes& axes, const OwnAxes& turned, u32 row, u32 peak,
                                       float time, const float4* line, const float (&places)[H]) {
    const u32 d = turned.d;
    const float* const raw = row_of(of.raw, of.raw_stride, row);
    float* const delta = row_of(of.delta, of.delta_stride, row);
    const float scale = of.scale * expf(of.log_weight[row]);
    float along[HALVES];
    along_peak_axes(turned, peak, line, along);
#pragma unroll
    for (u32 h = 0; h < H; ++h) {
        const u32 j = threadIdx.x % WARP + WARP * h;
        if (j < d) {
            bool inside;
            const float reach = __fmul_rn(time, head_std(axes.log_std(j), raw[d + j], inside));
            const float away = places[h] - __fmul_rn(time, raw[j]), by = scale * along[h];
            delta[j] = time * by;
            // d x_t / d log s, for x_t as its mean and a multiple of its deviation.
            delta[d + j] = inside ? by * (reach * reach) * (away * of.inverses[(u64)row * d + j]) : 0.0f;
        }
    }
}

// This warp's rows from `first` on; beyond the last one it computes that one again, which counts for nothing. Returns
// the sum of losses in its first lane.
template <u32 H>
__device__ inline double turned_group_rows(const TurnedRows& of, const Axes& axes, const OwnAxes& turned,
                                           const float* times, u32 time_stride, u64 first, float* matrix,
                                           float4* lines) {
    constexpr u32 R = TURNED_ROWS;
    const u32 d = turned.d, lane = threadIdx.x % WARP;
    float4* const others = lines + R * LINE_QUADS;
    u32 row[R], own[R];
    float time[R], inverse[R], top[R], total[R], away[R][H], sums[R][H], own_places[R][H];
#pragma unroll
    for (u32 r = 0; r < R; ++r) {
        row[r] = first + r < of.rows ? (u32)first + r : of.rows - 1;
        own[r] = row[r] % of.components;
        time[r] = axis_time(tick_of(row_of(times, time_stride, row[r] - own[r])).against, axes.rate(0)).time;
        inverse[r] = __fdiv_rn(1.0f, __fmul_rn(__fmul_rn(axes.sigma(0), axes.sigma(0)), time[r]));
        top[r] = -infinity();
        total[r] = 0.0f;
#pragma unroll
        for (u32 h = 0; h < H; ++h) {
            const u32 j = lane + WARP * h;
            const bool there = j < d;
            away[r][h] =
                there ? row_of(of.xt, of.xt_stride, row[r])[j] - row_of(of.x0, of.x0_stride, row[r])[j] : 0.0f;
            sums[r][h] = own_places[r][h] = 0.0f;
        }
    }
    lay_down<R, H>(lines, away);
#pragma unroll 1
    for (u32 peak = 0; peak < of.peaks && peak < of.components; ++peak) {
        stage_matrix<H>(turned, peak, matrix);
        float places[R][H], pull[R][H];
        along_staged<R, H>(matrix, d, lines, places);
#pragma unroll
        for (u32 r = 0; r < R; ++r) {
            const bool mine = own[r] % of.peaks == peak;
#pragma unroll
            for (u32 h = 0; h < H; ++h) {
                own_places[r][h] = mine ? places[r][h] : own_places[r][h];
                pull[r][h] = 0.0f;
            }
        }
#pragma unroll 1
        for (u32 k = peak; k < of.components; k += of.peaks) {
#pragma unroll
            for (u32 r = 0; r < R; ++r) {
                add_component<H>(of, d, (u64)(row[r] - own[r]) + k, time[r], places[r], top[r], total[r], pull[r],
                                 sums[r]);
            }
        }
        lay_down<R, H>(others, pull);
        across_staged<R, H>(matrix, d, others, pull);
#pragma unroll
        for (u32 r = 0; r < R; ++r) {
#pragma unroll
            for (u32 h = 0; h < H; ++h) {
                sums[r][h] += pull[r][h];
            }
        }
    }
    double loss = 0.0;
#pragma unroll
    for (u32 r = 0; r < R; ++r) {
        float square = 0.0f;
#pragma unroll
        for (u32 h = 0; h < H; ++h) {
            const u32 j = lane + WARP * h;
            square += away[r][h] * away[r][h];
            float gx = 0.0f;
            if (j < d) {
                const float* const by = row_of(of.g, of.g_stride, row[r]);
                gx = by[j] + of.noise * (away[r][h] * inverse[r] - sums[r][h] / total[r]);
                if (j < of.squares) {
                    gx += squares_slope(row_of(of.xt, of.xt_stride, row[r])[j]) * by[d + 1 + j];
                }
            }
            sums[r][h] = gx;
        }
        const float log_w = -0.5f * inverse[r] * lanes_sum<WARP>(square);
        const float log_p = top[r] + logf(total[r]) - logf((float)of.components);
        if (lane == 0 && first + r < of.rows) {
            const float own_loss = of.v[(u64)row[r] * of.v_stride] + of.noise * (log_p - log_w);
            of.row_losses[row[r]] = own_loss;
            loss += expf(of.log_weight[row[r]]) * own_loss;
        }
    }
    lay_down<R, H>(others, sums);
#pragma unroll
    for (u32 r = 0; r < R; ++r) {
        if (first + r < of.rows) {
            turned_gradient<H>(of, axes, turned, row[r], own[r] % of.peaks, time[r], others + r * LINE_QUADS,
                               own_places[r]);
        }
    }
    return loss;
}

// Room for two blocks: by itself ptxas holds to 80 registers on some architectures and spills.
extern "C" __global__ void __launch_bounds__(TURNED_THREADS, 2)
turned_mixture(const float* x0, u32 x0_stride, const float* raw, u32 raw_stride, const float* time, u32 time_stride,
               const float* xt, u32 xt_stride, const float* v, u32 v_stride, const float* g, u32 g_stride, u32 squares,
               u32 components, u32 rows, u32 d, const float* axes, u32 peaks, float noise, float scale,
               const float* log_weight, const float* inverses, const float* logs, float* row_losses, float* delta,
               u32 delta_stride, double* losses) {
    SHARED(float, matrix, TURNED_MATRIX);
    SHARED(float4, lines, TURNED_WARPS * 2 * TURNED_ROWS * LINE_QUADS);
    const Axes by = axes_of(axes, d);
    const OwnAxes turned = own_axes_of(peaks_of(by, d, peaks), by);
    TurnedRows of;
    of.x0 = x0;
    of.raw = raw;
    of.xt = xt;
    of.v = v;
    of.g = g;
    of.log_weight = log_weight;
    of.inverses = inverses;
    of.logs = logs;
    of.row_losses = row_losses;
    of.delta = delta;
    of.x0_stride = x0_stride;
    of.raw_stride = raw_stride;
    of.xt_stride = xt_stride;
    of.v_stride = v_stride;
    of.g_stride = g_stride;
    of.delta_stride = delta_stride;
    of.rows = rows;
    of.squares = squares;
    of.components = components;
    of.peaks = peaks;
    of.noise = noise;
    of.scale = scale;
    const u32 warp = threadIdx.x / WARP, together = TURNED_WARPS * TURNED_ROWS;
    float4* const own = lines + warp * 2 * TURNED_ROWS * LINE_QUADS;
    double loss = 0.0;
    for (u64 first = (u64)blockIdx.x * together; first < rows; first += (u64)gridDim.x * together) {
        const u64 from = first + warp * TURNED_ROWS;
        loss += d <= WARP ? turned_group_rows<1>(of, by, turned, time, time_stride, from, matrix, own)
                          : turned_group_rows<HALVES>(of, by, turned, time, time_stride, from, matrix, own);
    }
    loss = block_sum(loss);
    if (threadIdx.x == 0) {
        losses[blockIdx.x] = loss;
    }
}
