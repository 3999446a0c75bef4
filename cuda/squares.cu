// The squares that a network sees beside its inputs (squares.cuh), for inputs whose writer has not written them. They
// are the squares of the first n of cols inputs. t is input n, or 0 where there is none. centre has the n numbers of
// start and then those of change (0 where input n is a latent).
//
//   squares_forward   out = [x, s]
//   squares_reverse   out = g_x + s' g_s, of g = [g_x, g_s]
//   squares_tangent   out = [w, s' w]
//
// x and w are rows x cols, [x, s], g and [w, s' w] rows x (cols + n). Launch: one-dimensional, any number of blocks; a
// thread takes one input after another, neighbours in a row one after another. Reads and writes 4 bytes an element of
// every matrix named, beside a root and a division: little beside the product of the first layer, which reads what is
// written here.
#include "squares.cuh"

extern "C" __global__ void __launch_bounds__(256)
squares_forward(const float* x, u32 x_stride, u32 rows, u32 cols, u32 n, const float* centre, float* out,
                u32 out_stride) {
    each_element(rows, cols, [=](u64 row, u32 col) {
        const float* from = row_of(x, x_stride, (u32)row);
        float* to = row_of(out, out_stride, (u32)row);
        const float value = from[col];
        to[col] = value;
        if (col < n) {
            const float time = n < cols ? from[n] : 0.0f;
            to[cols + col] = square_of({n, centre}, col, value, time);
        }
    });
}

extern "C" __global__ void __launch_bounds__(256)
squares_reverse(const float* x, u32 x_stride, const float* g, u32 g_stride, u32 rows, u32 cols, u32 n, float* out,
                u32 out_stride) {
    each_element(rows, cols, [=](u64 row, u32 col) {
        const float* by = row_of(g, g_stride, (u32)row);
        float sum = by[col];
        if (col < n) {
            sum += squares_slope(row_of(x, x_stride, (u32)row)[col]) * by[cols + col];
        }
        row_of(out, out_stride, (u32)row)[col] = sum;
    });
}

extern "C" __global__ void __launch_bounds__(256)
squares_tangent(const float* x, u32 x_stride, const float* w, u32 w_stride, u32 rows, u32 cols, u32 n, float* out,
                u32 out_stride) {
    each_element(rows, cols, [=](u64 row, u32 col) {
        const float along = row_of(w, w_stride, (u32)row)[col];
        float* to = row_of(out, out_stride, (u32)row);
        to[col] = along;
        if (col < n) {
            to[cols + col] = squares_slope(row_of(x, x_stride, (u32)row)[col]) * along;
        }
    });
}
