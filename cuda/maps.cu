// Linear maps of pictures without weights (src/device/maps.rs): copies from one place of a row to another, and sums.
//
//   map_copy   to = factor x, or to += factor x where add is not 0, for `run` neighbours at each of n0 x n1 x n2 x n3
//              places of a row: i0 x0 + .. + i3 x3 in x, i0 t0 + .. + i3 t3 in to. Places in `to` differ.
//   map_quads  the same with the sum of four numbers of x: at each place and at those x4, x5 and x4 + x5 behind it.
//   map_bilinear   to (height x width) = a picture x of half the sides, interpolated along each: a pixel is 3/4 of the one
//              that it lies in and 1/4 of that one's neighbour on its side, in place of which an edge has itself; with
//              `reverse` the transpose, from a picture x of twice the sides. += with add
//   map_sums   to [rows][channels] = the sum over a picture's pixels, or += with add
// to overlaps no other matrix. Numbers of `to` that are no place's are left alone.
//
// Launch: map_copy, map_quads: one-dimensional, any number of blocks; a thread takes one part of a run after another,
// four numbers each where the run, all strides and addresses allow it, else one. Reads and writes 4 bytes a number, 8
// where `to` changes; five divisions of Divisor a part. map_bilinear: one-dimensional, any number of blocks; a thread takes
// one part of a pixel after another, four channels each where channels, strides and addresses allow it, and reads 4 pixels
// for it, 16 with `reverse`. map_sums: as modulate_gradient (channels.cu).
#include "divisor.cuh"
#include "pixels.cuh"

// The places of a map, and the distances of them in x and to along each axis.
struct Places {
    u32 n[4], run;
    u32 x[4], to[4];

    __device__ bool whole() const {
        u32 all = run;
#pragma unroll
        for (u32 i = 0; i < 4; ++i) {
            all |= n[i] > 1 ? x[i] | to[i] : 0;
        }
        return all % 4 == 0;
    }
};

// Calls body(row, place in x, place in to) for the first of every V numbers.
template <u32 V, class Body>
__device__ inline void each_place(u32 rows, const Places& places, const Body& body) {
    const Divisor run = divisor(places.run / V);
    const Divisor by[3] = {divisor(places.n[1]), divisor(places.n[2]), divisor(places.n[3])};
    const u32 parts = run.by * places.n[0] * places.n[1] * places.n[2] * places.n[3];
    const u64 total = (u64)rows * parts, step = (u64)gridDim.x * blockDim.x;
    for (u64 index = (u64)blockIdx.x * blockDim.x + threadIdx.x; index < total; index += step) {
        u32 part, at, i[4];
        const u32 row = (u32)divide(index, parts, part);
        i[0] = by[0].divide(by[1].divide(by[2].divide(run.divide(part, at), i[3]), i[2]), i[1]);
        u32 from = V * at, to = V * at;
#pragma unroll
        for (u32 axis = 0; axis < 4; ++axis) {
            from += i[axis] * places.x[axis];
            to += i[axis] * places.to[axis];
        }
        body(row, from, to);
    }
}

template <u32 V>
__device__ inline Lanes<V> added(const Lanes<V>& a, const Lanes<V>& b) {
    Lanes<V> sum;
#pragma unroll
    for (u32 i = 0; i < V; ++i) {
        sum.x[i] = a.x[i] + b.x[i];
    }
    return sum;
}

template <u32 V>
__device__ inline void put_scaled(float* to, Lanes<V> x, float factor, u32 add) {
#pragma unroll
    for (u32 i = 0; i < V; ++i) {
        x.x[i] *= factor;
    }
    put(to, add != 0 ? added(take<V>(to), x) : x);
}

template <u32 V>
__device__ inline void copy_places(const float* x, u32 x_stride, float* to, u32 to_stride, u32 rows,
                                   const Places& places, float factor, u32 add) {
    each_place<V>(rows, places, [=](u32 row, u32 from_at, u32 to_at) {
        put_scaled(row_of(to, to_stride, row) + to_at, take<V>(row_of(x, x_stride, row) + from_at), factor, add);
    });
}

extern "C" __global__ void __launch_bounds__(256, 4)
map_copy(const float* x, u32 x_stride, float* to, u32 to_stride, u32 rows, u32 n0, u32 n1, u32 n2, u32 n3, u32 run,
         u32 x0, u32 x1, u32 x2, u32 x3, u32 t0, u32 t1, u32 t2, u32 t3, float factor, u32 add) {
    const Places places = {{n0, n1, n2, n3}, run, {x0, x1, x2, x3}, {t0, t1, t2, t3}};
    if (places.whole() && vectorised(x, x_stride) && vectorised(to, to_stride)) {
        copy_places<4>(x, x_stride, to, to_stride, rows, places, factor, add);
    } else {
        copy_places<1>(x, x_stride, to, to_stride, rows, places, factor, add);
    }
}

template <u32 V>
__device__ inline void add_quads(const float* x, u32 x_stride, float* to, u32 to_stride, u32 rows,
                                 const Places& places, u32 x4, u32 x5, float factor, u32 add) {
    each_place<V>(rows, places, [=](u32 row, u32 from_at, u32 to_at) {
        const float* from = row_of(x, x_stride, row) + from_at;
        const Lanes<V> first = added(take<V>(from), take<V>(from + x5));
        const Lanes<V> second = added(take<V>(from + x4), take<V>(from + x4 + x5));
        put_scaled(row_of(to, to_stride, row) + to_at, added(first, second), factor, add);
    });
}

extern "C" __global__ void __launch_bounds__(256, 4)
map_quads(const float* x, u32 x_stride, float* to, u32 to_stride, u32 rows, u32 n0, u32 n1, u32 n2, u32 n3, u32 run,
          u32 x0, u32 x1, u32 x2, u32 x3, u32 t0, u32 t1, u32 t2, u32 t3, u32 x4, u32 x5, float factor, u32 add) {
    const Places places = {{n0, n1, n2, n3}, run, {x0, x1, x2, x3}, {t0, t1, t2, t3}};
    if (places.whole() && (x4 | x5) % 4 == 0 && vectorised(x, x_stride) && vectorised(to, to_stride)) {
        add_quads<4>(x, x_stride, to, to_stride, rows, places, x4, x5, factor, add);
    } else {
        add_quads<1>(x, x_stride, to, to_stride, rows, places, x4, x5, factor, add);
    }
}

// The places along a side of `from` pixels that the pixel `at` of the other picture is made of, and their weights. A
// place beyond an edge is that of the edge.
template <bool reverse>
struct Taps {
    static constexpr u32 COUNT = reverse ? 4 : 2;
    u32 place[COUNT];

    __device__ Taps(u32 at, u32 from) {
#pragma unroll
        for (u32 tap = 0; tap < COUNT; ++tap) {
            // One more than the place, so that none is below zero.
            const u32 behind = reverse ? 2 * at + tap : at / 2 + (tap == 0 ? 1 : at % 2 * 2);
            const u32 inside = behind == 0 ? 0 : behind - 1;
            place[tap] = inside < from ? inside : from - 1;
        }
    }

    __device__ static float weight(u32 tap) { return (reverse ? tap == 1 || tap == 2 : tap == 0) ? 0.75f : 0.25f; }
};

template <u32 V, bool reverse>
__device__ inline void interpolate(const float* x, u32 x_stride, float* to, u32 to_stride, u32 rows, u32 height,
                                   u32 width, u32 channels, u32 add) {
    const Divisor part = divisor(channels / V), line = divisor(width);
    const u32 from_height = reverse ? 2 * height : height / 2, from_width = reverse ? 2 * width : width / 2;
    each_element(rows, height * width * part.by, [=](u64 index, u32 at) {
        const u32 row = (u32)index;
        u32 channel, column;
        const u32 y = line.divide(part.divide(at, channel), column);
        const Taps<reverse> along(y, from_height), across(column, from_width);
        const float* from = row_of(x, x_stride, row) + V * channel;
        Lanes<V> sum = {};
#pragma unroll
        for (u32 i = 0; i < Taps<reverse>::COUNT; ++i) {
#pragma unroll
            for (u32 j = 0; j < Taps<reverse>::COUNT; ++j) {
                const float weight = Taps<reverse>::weight(i) * Taps<reverse>::weight(j);
                const Lanes<V> more = take<V>(from + (along.place[i] * from_width + across.place[j]) * channels);
#pragma unroll
                for (u32 k = 0; k < V; ++k) {
                    sum.x[k] += weight * more.x[k];
                }
            }
        }
        put_scaled(row_of(to, to_stride, row) + V * at, sum, 1.0f, add);
    });
}

extern "C" __global__ void __launch_bounds__(256, 4)
map_bilinear(const float* x, u32 x_stride, float* to, u32 to_stride, u32 rows, u32 height, u32 width, u32 channels,
             u32 reverse, u32 add) {
    const bool whole = channels % 4 == 0 && vectorised(x, x_stride) && vectorised(to, to_stride);
    if (whole && reverse != 0) {
        interpolate<4, true>(x, x_stride, to, to_stride, rows, height, width, channels, add);
    } else if (whole) {
        interpolate<4, false>(x, x_stride, to, to_stride, rows, height, width, channels, add);
    } else if (reverse != 0) {
        interpolate<1, true>(x, x_stride, to, to_stride, rows, height, width, channels, add);
    } else {
        interpolate<1, false>(x, x_stride, to, to_stride, rows, height, width, channels, add);
    }
}

template <u32 V>
__device__ inline void sum_pixels(const float* x, u32 x_stride, u32 pixels, u32 channels, u32 groups, float* to,
                                  u32 to_stride, u32 add) {
    each_part(channels / V, groups, [=](u32 row, u32 part, bool inside) {
        const float* from = row_of(x, x_stride, row) + V * part;
        Lanes<V> sum = {};
        for (u32 pixel = threadIdx.y; inside && pixel < pixels; pixel += blockDim.y) {
            sum = added(sum, take<V>(from + pixel * channels));
        }
        sum = sum_over_y<V>(sum);
        if (inside && threadIdx.y == 0) {
            put_scaled(row_of(to, to_stride, row) + V * part, sum, 1.0f, add);
        }
    });
}

extern "C" __global__ void __launch_bounds__(256, 4)
map_sums(const float* x, u32 x_stride, u32 pixels, u32 channels, u32 groups, float* to, u32 to_stride, u32 add) {
    if (channels % 4 == 0 && vectorised(x, x_stride) && vectorised(to, to_stride)) {
        sum_pixels<4>(x, x_stride, pixels, channels, groups, to, to_stride, add);
    } else {
        sum_pixels<1>(x, x_stride, pixels, channels, groups, to, to_stride, add);
    }
}
