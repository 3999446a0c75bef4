// The work of inference around the networks: rows into normalised units and back, and means over latents. Units are
// those of units.cuh, so that where the networks' outputs have the CPU's bits, all results but the ratio have them too.
// Networks see x' = (x - (shift - scale weight pull)) / seen (src/euot/gaussian_bridge.rs).
//
//   rows_import      out[r repeat + k][j] = x'[r][j] for k < repeat; column d = value where append is not 0
//   rows_export      out = x scale + shift[j]; a null shift is zero
//   drift_export     out = gradient g + (away (x - shift[j]) + along pull[j]), x in data units, in double
//   ratio_export     ratio[r] = Psi*'(v[r v_stride] + known(x[r])), known of quadratic.cuh, x normalised
//   mean_accumulate  sum[r][j] = sum over k < latents, in their order, in float, of raw[r latents + k][j]; on top of
//                    what is there where start is 0
//   mean_export      out = (x + sum / latents) scale + shift[j], x normalised
//
// Matrices are rows x d. Launch: one-dimensional, any number of blocks; a thread takes one element after another (a
// warp one row in ratio_export), neighbours in a row one after another. Reads and writes 4 bytes an element of every
// matrix named; rows_import does a division in double, the others two operations.
#include "divergence.cuh"
#include "quadratic.cuh"
#include "units.cuh"

extern "C" __global__ void __launch_bounds__(256)
rows_import(const float* x, u32 x_stride, u32 rows, u32 repeat, u32 d, const double* shift, double scale,
            const double* pull, double weight, double seen, float* out, u32 out_stride, u32 append, float value) {
    each_element((u64)rows * repeat, d, [=](u64 row, u32 col) {
        u32 copy;
        const u32 from = (u32)divide(row, repeat, copy);
        float* to = out + row * out_stride;
        const double by = __dmul_rn(scale, __dmul_rn(weight, pull[col]));
        to[col] = normalised((double)row_of(x, x_stride, from)[col], __dadd_rn(shift[col], -by), seen);
        if (append != 0 && col + 1 == d) {
            to[d] = value;
        }
    });
}

extern "C" __global__ void __launch_bounds__(256)
rows_export(const float* x, u32 x_stride, u32 rows, u32 d, const double* shift, double scale, float* out,
            u32 out_stride) {
    each_element(rows, d, [=](u64 row, u32 col) {
        const double by = shift != nullptr ? shift[col] : 0.0;
        row_of(out, out_stride, (u32)row)[col] = in_data_units(row_of(x, x_stride, (u32)row)[col], by, scale);
    });
}

extern "C" __global__ void __launch_bounds__(256)
drift_export(const float* g, u32 g_stride, const float* x, u32 x_stride, u32 rows, u32 d, double gradient, double away,
             const double* shift, double along, const double* pull, float* out, u32 out_stride) {
    each_element(rows, d, [=](u64 row, u32 col) {
        const double from = __dadd_rn((double)row_of(x, x_stride, (u32)row)[col], -shift[col]);
        const double known = __dadd_rn(__dmul_rn(away, from), __dmul_rn(along, pull[col]));
        const double network = __dmul_rn(gradient, (double)row_of(g, g_stride, (u32)row)[col]);
        row_of(out, out_stride, (u32)row)[col] = (float)__dadd_rn(network, known);
    });
}

extern "C" __global__ void __launch_bounds__(256)
ratio_export(const float* v, u32 v_stride, const float* x, u32 x_stride, u32 rows, u32 d, double curvature,
             const float* slope_of, double level, u32 divergence, double tau, float* ratio) {
    each_row_of_warp(rows, [=](u64 row, bool writes) {
        const double known = quadratic_at(x + row * x_stride, d, curvature, slope_of, level);
        if (writes) {
            double value, slope;
            conjugate_of(divergence, tau, v[row * v_stride] + known, value, slope);
            ratio[row] = (float)slope;
        }
    });
}

extern "C" __global__ void __launch_bounds__(256)
mean_accumulate(const float* raw, u32 raw_stride, u32 rows, u32 latents, u32 d, float* sum, u32 sum_stride, u32 start) {
    each_element(rows, d, [=](u64 row, u32 col) {
        const float* from = raw + row * latents * raw_stride + col;
        float* to = row_of(sum, sum_stride, (u32)row) + col;
        float total = start != 0 ? 0.0f : *to;
#pragma unroll 8
        for (u32 k = 0; k < latents; ++k) {
            total += from[(u64)k * raw_stride];
        }
        *to = total;
    });
}

extern "C" __global__ void __launch_bounds__(256)
mean_export(const float* x, u32 x_stride, const float* sum, u32 sum_stride, u32 rows, u32 d, float latents,
            const double* shift, double scale, float* out, u32 out_stride) {
    each_element(rows, d, [=](u64 row, u32 col) {
        const u32 r = (u32)row;
        const float mean = __fdiv_rn(row_of(sum, sum_stride, r)[col], latents);
        const float moved = __fadd_rn(row_of(x, x_stride, r)[col], mean);
        row_of(out, out_stride, r)[col] = in_data_units(moved, shift[col], scale);
    });
}
