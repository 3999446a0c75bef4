// The generator's loss for one point m for each source sample, in closed form (atoms in src/device/method.rs): raw is m
// less the source sample, g the gradient of V at the bridge's state in its first d columns, v [rows] V there. Along each
// axis t is its own time of the row's clock (clock.cuh).
//
//   atoms_terms   losses[block] = the sum over its elements of noise / sigma_j^2 t_j / 2 raw_j^2, and of v for its rows
//                 delta = scale t_j (g_j + noise / sigma_j^2 raw_j)
//
// Launch: one-dimensional, any number of blocks, which fixes the order of the sums; a thread takes four numbers after
// another where d, strides and addresses allow it, else one, adds up to four terms in 32 bits and all others in 64. Reads
// 8 bytes a number and writes 4, beside two divisions and about 15 operations.
#include "axes.cuh"
#include "clock.cuh"

template <u32 V>
__device__ inline float atoms_of(const Axes& axes, float noise, const Tick& tick, const float* raw, const float* g,
                                 float* delta, u32 col, float scale) {
    const Lanes<V> sigma = axes.of<V>(AXIS_SIGMA, col), rate = axes.of<V>(AXIS_RATE, col);
    Lanes<V> own = take<V>(raw + col), by = take<V>(g + col);
    float sum = 0.0f;
#pragma unroll
    for (u32 i = 0; i < V; ++i) {
        const float time = axis_time(tick.against, rate.x[i]).time;
        const float pull = noise / (sigma.x[i] * sigma.x[i]) * own.x[i];
        sum += 0.5f * time * pull * own.x[i];
        by.x[i] = scale * time * (by.x[i] + pull);
    }
    put(delta + col, by);
    return sum;
}

extern "C" __global__ void __launch_bounds__(256)
atoms_terms(const float* axes, float noise, const float* time, u32 time_stride, const float* raw, u32 raw_stride,
            const float* v, u32 v_stride, const float* g, u32 g_stride, u32 rows, u32 d, float scale, float* delta,
            u32 delta_stride, double* losses) {
    const Axes of = axes_of(axes, d);
    const bool whole = d % 4 == 0 && vectorised(raw, raw_stride) && vectorised(g, g_stride) &&
                       vectorised(delta, delta_stride) && vectorised(axes, 0);
    double sum = 0.0;
    each_element(rows, whole ? d / 4 : d, [&](u64 index, u32 part) {
        const u32 row = (u32)index;
        const Tick tick = tick_of(row_of(time, time_stride, row));
        const float *raws = row_of(raw, raw_stride, row), *gs = row_of(g, g_stride, row);
        float* deltas = row_of(delta, delta_stride, row);
        if (part == 0) {
            sum += *row_of(v, v_stride, row);
        }
        sum += whole ? atoms_of<4>(of, noise, tick, raws, gs, deltas, 4 * part, scale)
                     : atoms_of<1>(of, noise, tick, raws, gs, deltas, part, scale);
    });
    sum = block_sum(sum);
    if (threadIdx.x == 0) {
        losses[blockIdx.x] = sum;
    }
}
