// A scale and a shift for each channel of a picture, and the features of the time that they are made of. A row of a
// matrix is a picture of `pixels` x `channels`; e = [e_s, e_h] has two numbers for each channel.
//
//   modulate            to = (1 + e_s) x + e_h, without `shift` (1 + e_s) x; the latter += with add
//   modulate_gradient   to = [sum over pixels of x q + x2 q2, sum over pixels of shift]; += with add. x2 and q2 may be
//                       null, and so may shift: the second half is 0 then.
//   waves               to [rows][3] = [2 t - 1, sin(pi t / 2), cos(pi t / 2)] of t [rows] in [0, 1]
// to overlaps no other matrix.
//
// Launch: modulate, waves: one-dimensional, any number of blocks. modulate_gradient: block and grid of pixels.cuh. Four
// channels are taken at a time where channels, strides and addresses allow it. Reads and writes 4 bytes a number of
// every matrix named, 8 of one that changes; two operations for each.
#include "divisor.cuh"
#include "philox.cuh"
#include "pixels.cuh"

template <u32 V>
__device__ inline void modulate_rows(const float* x, u32 x_stride, const float* e, u32 e_stride, u32 shift, float* to,
                                     u32 to_stride, u32 rows, u32 pixels, u32 channels, u32 add) {
    const Divisor by = divisor(channels / V);
    each_element(rows, pixels * by.by, [=](u64 index, u32 part) {
        const u32 row = (u32)index;
        u32 channel;
        by.divide(part, channel);
        const float* of = row_of(e, e_stride, row) + V * channel;
        const Lanes<V> from = take<V>(row_of(x, x_stride, row) + V * part), scale = take<V>(of);
        float* at = row_of(to, to_stride, row) + V * part;
        Lanes<V> out = {};
        if (shift != 0) {
            out = take<V>(of + channels);
        } else if (add != 0) {
            out = take<V>(at);
        }
#pragma unroll
        for (u32 i = 0; i < V; ++i) {
            out.x[i] += from.x[i] + scale.x[i] * from.x[i];
        }
        put(at, out);
    });
}

extern "C" __global__ void __launch_bounds__(256, 4)
modulate(const float* x, u32 x_stride, const float* e, u32 e_stride, u32 shift, float* to, u32 to_stride, u32 rows,
         u32 pixels, u32 channels, u32 add) {
    if (channels % 4 == 0 && vectorised(x, x_stride) && vectorised(e, e_stride) && vectorised(to, to_stride)) {
        modulate_rows<4>(x, x_stride, e, e_stride, shift, to, to_stride, rows, pixels, channels, add);
    } else {
        modulate_rows<1>(x, x_stride, e, e_stride, shift, to, to_stride, rows, pixels, channels, add);
    }
}

// The sum over this thread's pixels of x q.
template <u32 V>
__device__ inline void add_products(Lanes<V>& sum, const float* x, const float* q, u32 pixels, u32 channels) {
    for (u32 pixel = threadIdx.y; pixel < pixels; pixel += blockDim.y) {
        const Lanes<V> a = take<V>(x + pixel * channels), b = take<V>(q + pixel * channels);
#pragma unroll
        for (u32 i = 0; i < V; ++i) {
            sum.x[i] += a.x[i] * b.x[i];
        }
    }
}

template <u32 V>
__device__ inline void add_pixels(Lanes<V>& sum, const float* x, u32 pixels, u32 channels) {
    for (u32 pixel = threadIdx.y; pixel < pixels; pixel += blockDim.y) {
        const Lanes<V> more = take<V>(x + pixel * channels);
#pragma unroll
        for (u32 i = 0; i < V; ++i) {
            sum.x[i] += more.x[i];
        }
    }
}

// A gradient by e, and the pictures that it sums.
struct Modulated {
    const float *x, *q, *x2, *q2, *shift;
    u32 x_stride, q_stride, x2_stride, q2_stride, shift_stride, pixels, channels, groups;
    float* to;
    u32 to_stride, add;

    template <u32 V>
    __device__ void sum() const {
        each_part(channels / V, groups, [this](u32 row, u32 part, bool inside) {
            Lanes<V> scale = {}, offset = {};
            const u32 at = V * part;
            if (inside) {
                add_products(scale, row_of(x, x_stride, row) + at, row_of(q, q_stride, row) + at, pixels, channels);
                if (x2 != nullptr) {
                    add_products(scale, row_of(x2, x2_stride, row) + at, row_of(q2, q2_stride, row) + at, pixels,
                                 channels);
                }
                if (shift != nullptr) {
                    add_pixels(offset, row_of(shift, shift_stride, row) + at, pixels, channels);
                }
            }
            scale = sum_over_y<V>(scale);
            offset = sum_over_y<V>(offset);
            if (inside && threadIdx.y == 0) {
                float* out = row_of(to, to_stride, row) + at;
                leave(out, scale);
                leave(out + channels, offset);
            }
        });
    }

    template <u32 V>
    __device__ void leave(float* out, Lanes<V> sum) const {
        if (add != 0) {
            const Lanes<V> before = take<V>(out);
#pragma unroll
            for (u32 i = 0; i < V; ++i) {
                sum.x[i] += before.x[i];
            }
        }
        put(out, sum);
    }
};

extern "C" __global__ void __launch_bounds__(256, 4)
modulate_gradient(const float* x, u32 x_stride, const float* q, u32 q_stride, const float* x2, u32 x2_stride,
                  const float* q2, u32 q2_stride, const float* shift, u32 shift_stride, u32 pixels, u32 channels,
                  u32 groups, float* to, u32 to_stride, u32 add) {
    const Modulated of = {x,        q,         x2,        q2,           shift,  x_stride, q_stride,
                          x2_stride, q2_stride, shift_stride, pixels, channels, groups,   to,
                          to_stride, add};
    const bool whole = channels % 4 == 0 && vectorised(x, x_stride) && vectorised(q, q_stride) &&
                       vectorised(x2, x2_stride) && vectorised(q2, q2_stride) && vectorised(shift, shift_stride) &&
                       vectorised(to, to_stride);
    if (whole) {
        of.sum<4>();
    } else {
        of.sum<1>();
    }
}

extern "C" __global__ void __launch_bounds__(256)
waves(const float* t, u32 t_stride, float* to, u32 to_stride, u32 rows) {
    each_element(rows, 1, [=](u64 row, u32) {
        const float time = *row_of(t, t_stride, (u32)row);
        float sine, cosine;
        sincos_half_turns(0.5f * time, sine, cosine);
        float* out = row_of(to, to_stride, (u32)row);
        out[0] = time + time - 1.0f;
        out[1] = sine;
        out[2] = cosine;
    });
}
