// The dual's potential gap, V(1, x1) - Psi*(V(1, y)), and the gradient of minus it.
//
// V(1, x) = v + known(x), with the known part of axes.cuh. v holds 2 rows numbers, v_stride apart, and ends 2 rows
// samples of d: the generated rows, then the target rows. Writes
//   delta[r] = -scale,  delta[rows + r] = scale Psi*'(V(1, y))        (delta_stride apart)
// and the sums of V(1, x1), Psi*(V(1, y)), Psi*'(V(1, y)) and known(x1) over each block's rows to generated, conjugate,
// density_ratio and action [gridDim.x]; optimiser.cu adds those in their order. Psi* of divergence.cuh, once a row,
// beside a network's forward and reverse pass.
//
// Launch: one-dimensional, any number of blocks of whole warps; a warp takes one pair of rows after another. 16 + 8 d
// bytes a pair, beside the axes, which are read from the caches.
#include "axes.cuh"
#include "divergence.cuh"

extern "C" __global__ void __launch_bounds__(256)
dual_terms(const float* v, u32 v_stride, u32 rows, const float* ends, u32 ends_stride, u32 d, const float* axes,
           double level, u32 divergence, double tau, double scale, float* delta, u32 delta_stride, double* generated,
           double* conjugate, double* density_ratio, double* action) {
    const Axes of = axes_of(axes, d);
    double sums[4] = {0.0, 0.0, 0.0, 0.0};
    each_row_of_warp(rows, [&](u64 row, bool writes) {
        const double here = known_at(of, ends + row * ends_stride, d, level);
        const double there = known_at(of, ends + (rows + row) * ends_stride, d, level);
        if (writes) {
            double value, slope;
            conjugate_of(divergence, tau, v[(rows + row) * v_stride] + there, value, slope);
            sums[0] += v[row * v_stride] + here;
            sums[1] += value;
            sums[2] += slope;
            sums[3] += here;
            delta[row * delta_stride] = (float)-scale;
            delta[(rows + row) * delta_stride] = (float)(scale * slope);
        }
    });
    double* const to[4] = {generated, conjugate, density_ratio, action};
#pragma unroll
    for (u32 i = 0; i < 4; ++i) {
        double sum = block_sum(sums[i]);
        if (threadIdx.x == 0) {
            to[i][blockIdx.x] = sum;
        }
    }
}
