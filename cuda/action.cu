// The action term along the bridges and the direction of its gradient, in one pass.
//
// From g = grad V(t, x_t) and b = b_t, both rows x d, with the speed t' of each axis's time at time[row] (clock.cuh;
// time is rows x 3) and c = sigma^2 / noise of the axis (axes.cuh):
//   w = scale t' (c g + b),  action[block] = sum over the block's elements of t' g (c / 2 g + b).
// Without action (null) nobody wants the sum.
// Where append is not 0, column d of w is set to 0: the tangent has no component along time.
// The first n of d coordinates are seen squared too (squares.cuh; n may be 0, and x is not read then): g's rows then
// hold g_s in the columns from d + 1 on, of which s' g_s is added to g first, and w's get the tangent of the squares,
// s' w, there.
//
// Launch: one-dimensional, any number of blocks; a thread takes one element of the rows x d matrix after another, four
// where d and all strides are multiples of four and all matrices lie on 16 bytes. Reads 8 bytes, and the axes from the
// caches, writes 4 bytes and does 12 operations and a division an element; 16 and 8 bytes, a root and two divisions
// with its square. Terms are summed in float over four elements at most, then in double.
#include "axes.cuh"
#include "clock.cuh"
#include "squares.cuh"

// Elements col.. of a row; the first `n` columns have squares.
template <u32 V>
__device__ inline float action_of(const Axes& axes, float by_noise, const Tick& tick, const float* x, const float* g,
                                  const float* b, float* w, u32 d, u32 n, u32 col, float scale) {
    const Lanes<V> sigma = axes.of<V>(AXIS_SIGMA, col), rate = axes.of<V>(AXIS_RATE, col);
    Lanes<V> by = take<V>(g + col), along = take<V>(b + col), bend = {};
    if (n > 0) {
#pragma unroll
        for (u32 i = 0; i < V; ++i) {
            if (col + i < n) {
                bend.x[i] = squares_slope(x[col + i]);
                by.x[i] += bend.x[i] * g[d + 1 + col + i];
            }
        }
    }
    float sum = 0.0f;
#pragma unroll
    for (u32 i = 0; i < V; ++i) {
        const float speed = axis_speed(tick, rate.x[i]), share = sigma.x[i] * sigma.x[i] * by_noise * by.x[i];
        sum += speed * by.x[i] * (0.5f * share + along.x[i]);
        along.x[i] = scale * speed * (share + along.x[i]);
    }
    put(w + col, along);
#pragma unroll
    for (u32 i = 0; i < V; ++i) {
        if (col + i < n) {
            w[d + 1 + col + i] = bend.x[i] * along.x[i];
        }
    }
    return sum;
}

extern "C" __global__ void __launch_bounds__(256)
action_terms(const float* axes, float noise, const float* time, u32 time_stride, const float* x, u32 x_stride,
             const float* g, u32 g_stride, const float* b, u32 b_stride, float* w, u32 w_stride, u32 rows, u32 d, u32 n,
             float scale, u32 append, double* action) {
    const Axes of = axes_of(axes, d);
    const float by_noise = 1.0f / noise;
    const bool whole = d % 4 == 0 && vectorised(g, g_stride) && vectorised(b, b_stride) && vectorised(w, w_stride) &&
                       vectorised(axes, 0);
    const u32 parts = whole ? d / 4 : d;
    const u64 total = (u64)rows * parts, step = (u64)gridDim.x * blockDim.x;
    double sum = 0.0;
    for (u64 index = (u64)blockIdx.x * blockDim.x + threadIdx.x; index < total; index += step) {
        u32 part;
        const u32 row = (u32)divide(index, parts, part);
        const float *xs = row_of(x, x_stride, row), *gs = row_of(g, g_stride, row), *bs = row_of(b, b_stride, row);
        float* ws = row_of(w, w_stride, row);
        const Tick tick = tick_of(row_of(time, time_stride, row));
        sum += whole ? action_of<4>(of, by_noise, tick, xs, gs, bs, ws, d, n, 4 * part, scale)
                     : action_of<1>(of, by_noise, tick, xs, gs, bs, ws, d, n, part, scale);
        if (append != 0 && part + 1 == parts) {
            ws[d] = 0.0f;
        }
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0 && action != nullptr) {
        action[blockIdx.x] = sum;
    }
}
