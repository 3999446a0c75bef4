// The dual's potential gap, V(1, x1) - Psi*(V(1, y)), the gradient of minus it, and what tells of a collapse.
//
// V(1, x) = v + known(x), with the known part of axes.cuh. v holds 2 rows numbers, v_stride apart, and ends 2 rows
// samples of d: the generated rows, then the target rows. Writes
//   delta[r] = -scale,  delta[rows + r] = scale Psi*'(V(1, y))        (delta_stride apart)
// and the sums of V(1, x1), Psi*(V(1, y)), known(x1), Psi*'(V(1, y)), its square, V(1, y), |x1 - x1'|^2 and |y - y'|^2
// over each block's rows to generated, conjugate, action, density_ratio, ratio_squares, target, generated_distances and
// target_distances [gridDim.x]; optimiser.cu adds those in their order. Psi* of divergence.cuh, once a row, beside a
// network's forward and reverse pass. tau is multiplied by what tau_schedule.cuh says at step number
// *counter. The pair of row r, marked with a prime, is row r + components, where that is one
// of the rows and the source sample of row r, number r / components + odd, is even.
//
// Launch: one-dimensional, any number of blocks of whole warps; a warp takes one pair of rows after another. 16 + 8 d
// bytes a pair, beside the axes and the rows of pairs of source samples, which are read from the caches.
#include "axes.cuh"
#include "divergence.cuh"
#include "tau_schedule.cuh"

// This lane's part of |a - b|^2, in double as on the CPU.
__device__ inline double distance_in_lane(const float* a, const float* b, u32 d) {
    double sum = 0.0;
    for (u32 j = threadIdx.x % WARP; j < d; j += WARP) {
        const double apart = a[j] - b[j];
        sum += apart * apart;
    }
    return sum;
}

extern "C" __global__ void __launch_bounds__(256)
dual_terms(const float* v, u32 v_stride, u32 rows, const float* ends, u32 ends_stride, u32 d, const float* axes,
           double level, u32 divergence, double tau, double log_start, u64 tau_steps, const u64* counter, double scale,
           u32 components, u32 odd, float* delta, u32 delta_stride, double* generated, double* conjugate,
           double* action, double* density_ratio, double* ratio_squares, double* target, double* generated_distances,
           double* target_distances) {
    const Axes of = axes_of(axes, d);
    tau *= tau_factor(log_start, tau_steps, counter);
    double sums[6] = {0.0, 0.0, 0.0, 0.0, 0.0, 0.0};
    each_row_of_warp(rows, [&](u64 row, bool writes) {
        const float* const x1 = ends + row * ends_stride;
        const float* const y = ends + (rows + row) * ends_stride;
        const double here = known_at(of, x1, d, level);
        const double there = known_at(of, y, d, level);
        if (writes) {
            const double v1 = v[(rows + row) * v_stride] + there;
            double value, slope;
            conjugate_of(divergence, tau, v1, value, slope);
            sums[0] += v[row * v_stride] + here;
            sums[1] += value;
            sums[2] += here;
            sums[3] += slope;
            sums[4] += slope * slope;
            sums[5] += v1;
            delta[row * delta_stride] = (float)-scale;
            delta[(rows + row) * delta_stride] = (float)(scale * slope);
        }
    });
    double* const to[6] = {generated, conjugate, action, density_ratio, ratio_squares, target};
#pragma unroll
    for (u32 i = 0; i < 6; ++i) {
        double sum = block_sum(sums[i]);
        if (threadIdx.x == 0) {
            to[i][blockIdx.x] = sum;
        }
    }
    // By itself, as both together take more registers than there are.
    double distances[2] = {0.0, 0.0};
    each_row_of_warp(rows, [&](u64 row, bool) {
        u32 within;
        if ((divide(row, components, within) + odd) % 2 == 0 && row + components < rows) {
            const u64 other = (u64)components * ends_stride;
            const float* const x1 = ends + row * ends_stride;
            const float* const y = ends + (rows + row) * ends_stride;
            distances[0] += distance_in_lane(x1, x1 + other, d);
            distances[1] += distance_in_lane(y, y + other, d);
        }
    });
    distances[0] = block_sum(distances[0]);
    distances[1] = block_sum(distances[1]);
    if (threadIdx.x == 0) {
        generated_distances[blockIdx.x] = distances[0];
        target_distances[blockIdx.x] = distances[1];
    }
}
