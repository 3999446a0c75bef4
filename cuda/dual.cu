// The dual's potential gap, V(1, x1) - Psi*(V(1, y)), and the gradient of minus it.
//
// v holds 2 rows numbers, v_stride apart: V at the generated rows, then V at the target rows. Writes
//   delta[r] = -scale,  delta[rows + r] = scale Psi*'(v[rows + r])        (delta_stride apart)
// and the sums of V(1, x1), Psi*(V(1, y)) and Psi*'(V(1, y)) over each block's rows to generated, conjugate and
// density_ratio [gridDim.x]; optimiser.cu adds those in their order. Psi* of divergence.cuh, once a row, beside a network's
// forward and reverse pass.
//
// Launch: one-dimensional, any number of blocks; a thread takes one pair of rows after another. 16 bytes a pair.
#include "divergence.cuh"

extern "C" __global__ void __launch_bounds__(256)
dual_terms(const float* v, u32 v_stride, u32 rows, u32 divergence, double tau, double scale, float* delta,
           u32 delta_stride, double* generated, double* conjugate, double* density_ratio) {
    double sums[3] = {0.0, 0.0, 0.0};
    const u64 step = (u64)gridDim.x * blockDim.x;
    for (u64 row = (u64)blockIdx.x * blockDim.x + threadIdx.x; row < rows; row += step) {
        double value, slope;
        conjugate_of(divergence, tau, v[(rows + row) * v_stride], value, slope);
        sums[0] += v[row * v_stride];
        sums[1] += value;
        sums[2] += slope;
        delta[row * delta_stride] = (float)-scale;
        delta[(rows + row) * delta_stride] = (float)(scale * slope);
    }
    double* const to[3] = {generated, conjugate, density_ratio};
#pragma unroll
    for (u32 i = 0; i < 3; ++i) {
        double sum = block_sum(sums[i]);
        if (threadIdx.x == 0) {
            to[i][blockIdx.x] = sum;
        }
    }
}
