// The work of inference around the networks: rows into the units of networks and back, and means over latents. Units
// are those of units.cuh, so that where the networks' outputs have the CPU's bits, all results but the ratio have them
// too. `units` has the three numbers of AxisUnits for each axis. Row j of `rotation` and column j of `turned`, both
// d x d, are axis j; both are null where the axes are the components of a sample.
//
//   rows_import      out[r][j] = (x[r][j] - shift[j]) / scale
//   rows_seen        out[r repeat + k][j] = what networks see at time t of ((x[r] - shift) along axis j) / scale, for
//                    k < repeat; column d = value where append is not 0
//   rows_back        out[r] = sum over the axes j, in their order, in float, of (x[r][j] unit_j) axis j
//   rows_export      out = x scale + shift[j]; a null shift is zero
//   rows_drift       out[r][j] = the drift at x[r][j], which networks see at time t, over the unit of axis j, with the
//                    network's derivatives g and one unit of V in `cost` of them
//   ratio_export     ratio[r] = Psi*'(v[r v_stride] + known(x[r])), known of axes.cuh
//   mean_accumulate  sum[r][j] = sum over k < latents, in their order, in float, of raw[r latents + k][j]; on top of
//                    what is there where start is 0
//   mean_add         x = x + sum / latents
//
// Matrices are rows x d. Launch: one-dimensional, any number of blocks of up to 256 threads; a thread takes one element
// after another (a warp one row in ratio_export, a block a tile where a rotation is given: rotation.cuh), neighbours in
// a row one after another. Reads and writes 4 bytes an element of every matrix named. rows_import does a division in
// double, rows_seen and rows_drift three and about 8 other operations, the others two; a rotation d products and sums,
// in double on the way in, and reads its numbers from the caches.
#include "axes.cuh"
#include "divergence.cuh"
#include "rotation.cuh"
#include "units.cuh"

extern "C" __global__ void __launch_bounds__(256)
rows_import(const float* x, u32 x_stride, u32 rows, u32 d, const double* shift, double scale, float* out,
            u32 out_stride) {
    each_element(rows, d, [=](u64 row, u32 col) {
        const double value = row_of(x, x_stride, (u32)row)[col];
        row_of(out, out_stride, (u32)row)[col] = (float)normalised(value, shift[col], scale);
    });
}

// Room for two blocks: by itself ptxas holds to 64 registers on some architectures and spills.
extern "C" __global__ void __launch_bounds__(256, 2)
rows_seen(const float* x, u32 x_stride, u32 rows, u32 repeat, u32 d, const double* shift, double scale,
          const float* turned, const double* units, double time, float* out, u32 out_stride, u32 append, float value) {
    const auto shifted = [=](u64 row, u32 col) {
        return __dadd_rn((double)row_of(x, x_stride, (u32)row)[col], -shift[col]);
    };
    const auto write = [=](u64 row, u32 col, double place) {
        float* to = out + row * repeat * out_stride;
        const float seen = units_seen(units_of(units, col), __ddiv_rn(place, scale), time);
        for (u32 k = 0; k < repeat; ++k, to += out_stride) {
            to[col] = seen;
            if (append != 0 && col + 1 == d) {
                to[d] = value;
            }
        }
    };
    if (turned != nullptr) {
        each_turned<LaneSums>(rows, d, turned, shifted, write);
    } else {
        each_element(rows, d, [&](u64 row, u32 col) { write(row, col, shifted(row, col)); });
    }
}

extern "C" __global__ void __launch_bounds__(256)
rows_back(const float* x, u32 x_stride, u32 rows, u32 d, const float* rotation, const double* units, float* out,
          u32 out_stride) {
    const auto part = [=](u64 row, u32 col) {
        return __fmul_rn(row_of(x, x_stride, (u32)row)[col], (float)units_of(units, col).unit);
    };
    const auto write = [=](u64 row, u32 col, float place) { row_of(out, out_stride, (u32)row)[col] = place; };
    if (rotation != nullptr) {
        each_turned<OrderedSum>(rows, d, rotation, part, write);
    } else {
        each_element(rows, d, [&](u64 row, u32 col) { write(row, col, part(row, col)); });
    }
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
rows_drift(const float* g, u32 g_stride, const float* x, u32 x_stride, u32 rows, u32 d, const double* units,
           double time, double cost, float* out, u32 out_stride) {
    each_element(rows, d, [=](u64 row, u32 col) {
        const u32 r = (u32)row;
        const float seen = row_of(x, x_stride, r)[col], slope = row_of(g, g_stride, r)[col];
        row_of(out, out_stride, r)[col] = units_drift(units_of(units, col), seen, slope, time, cost);
    });
}

extern "C" __global__ void __launch_bounds__(256)
ratio_export(const float* v, u32 v_stride, const float* x, u32 x_stride, u32 rows, u32 d, const float* axes,
             double level, u32 divergence, double tau, float* ratio) {
    const Axes of = axes_of(axes, d);
    each_row_of_warp(rows, [=](u64 row, bool writes) {
        const double known = known_at(of, x + row * x_stride, d, level);
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
mean_add(float* x, u32 x_stride, const float* sum, u32 sum_stride, u32 rows, u32 d, float latents) {
    each_element(rows, d, [=](u64 row, u32 col) {
        float* to = row_of(x, x_stride, (u32)row) + col;
        *to = __fadd_rn(*to, __fdiv_rn(row_of(sum, sum_stride, (u32)row)[col], latents));
    });
}
