// Operands of products that lie in pictures (product.cuh): a row of a matrix is a picture, a pixel's channels lie beside
// each other, pixels by rows of the picture, nothing between them; the matrix's stride lies between the pictures.
//
// A product's elements are numbered by pixel (of the picture that the operand is multiplied to, pictures one after
// another) and place: channel of the picture that is read from, and tap before it. Quads go along the channels: 16 bytes
// where channels, stride and address allow it, else four single elements, which may belong to two taps.
#pragma once

#include "divisor.cuh"
#include "product.cuh"

// A convolution, as layout.rs says it: out(y, x) sums in(step y + i - side / 2, step x + j - side / 2) W_ij. `places`,
// `picture` and `line` are the inverses of divisors (divisor.cuh): of the channels that the product reads, and of the
// pixels of a picture and of a line by which it counts.
struct Convolution {
    u32 height, width, channels, outputs, side, step, places, picture, line;

    __device__ u32 to_height() const { return (height - 1) / step + 1; }
    __device__ u32 to_width() const { return (width - 1) / step + 1; }
    __device__ u32 pixels() const { return height * width; }
    __device__ u32 to_pixels() const { return to_height() * to_width(); }
    __device__ u32 taps() const { return side * side; }
};

// What the taps see from each pixel: in REVERSE, of the pixels that a convolution gave, those whose taps saw this pixel;
// zero where there is none. Lines and columns before an edge wrap around to beyond the other.
template <bool REVERSE, bool ALONG_>
struct Seen {
    static constexpr bool ALONG = ALONG_;
    static constexpr u32 NOWHERE = 1u << 30;
    const float* from;
    u32 stride, height, width;
    Divisor channels, of_picture, of_line;
    u32 side, step, first, pixels, places;
    bool whole;

    // A pixel's picture, and the line and column that its first tap sees.
    struct Pixel {
        const float* picture;
        u32 line, column;
    };

    // A place: its tap's distance in lines and columns, and its channel.
    struct Tap {
        u32 place, line, column, channel;
    };

    __device__ Pixel pixel(u32 number) const {
        u32 within, column;
        const float* picture = row_of(from, stride, of_picture.divide(number, within));
        u32 line = of_line.divide(within, column);
        line = REVERSE ? line + side / 2 : step * line - side / 2;
        column = REVERSE ? column + side / 2 : step * column - side / 2;
        return {picture, number < pixels ? line : NOWHERE, column};
    }

    __device__ Tap tap(u32 place) const {
        u32 channel;
        const u32 tap = channels.divide(place, channel), i = side == 1 ? 0 : tap * 11 >> 5, j = tap - 3 * i;
        const u32 line = place < places ? (REVERSE ? 0 - i : i) : NOWHERE;
        return {place, line, REVERSE ? 0 - j : j, channel};
    }

    // Whether the tap sees a pixel, and where its channel lies in the picture.
    __device__ bool sees(const Pixel& pixel, const Tap& tap, u32& at) const {
        u32 y = pixel.line + tap.line, x = pixel.column + tap.column;
        bool inside = true;
        if (REVERSE && step == 2) {
            inside = ((y | x) & 1) == 0;
            y >>= 1;
            x >>= 1;
        }
        at = (y * width + x) * channels.by + tap.channel;
        return inside && y < height && x < width;
    }

    __device__ float4 quad_of(const Pixel& pixel, const Tap& tap) const {
        float4 x = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        u32 at;
        if (whole) {
            if (sees(pixel, tap, at)) {
                x = load4(pixel.picture + at);
            }
            return x;
        }
        if (sees(pixel, tap, at)) {
            x.x = pixel.picture[at];
        }
        if (sees(pixel, this->tap(tap.place + 1), at)) {
            x.y = pixel.picture[at];
        }
        if (sees(pixel, this->tap(tap.place + 2), at)) {
            x.z = pixel.picture[at];
        }
        if (sees(pixel, this->tap(tap.place + 3), at)) {
            x.w = pixel.picture[at];
        }
        return x;
    }
};

// Pixels are e, and places k.
template <bool REVERSE>
struct SeenAlong : Seen<REVERSE, true> {
    using Fixed = typename Seen<REVERSE, true>::Pixel;
    using Moving = typename Seen<REVERSE, true>::Tap;

    __device__ Fixed fixed(u32 e) const { return this->pixel(this->first + e); }
    __device__ Moving moving(u32 k) const { return this->tap(k); }
    __device__ float4 at(const Fixed& pixel, const Moving& tap) const { return this->quad_of(pixel, tap); }
};

// Places are e, and pixels k.
struct SeenAcross : Seen<false, false> {
    using Fixed = Tap;
    using Moving = Pixel;

    __device__ Fixed fixed(u32 e) const { return tap(first + e); }
    __device__ Moving moving(u32 k) const { return pixel(k); }
    __device__ float4 at(const Fixed& tap, const Moving& pixel) const { return quad_of(pixel, tap); }
};

// What a convolution of `pictures` pictures reads.
template <class S>
__device__ inline S taken(const float* x, u32 stride, const Convolution& conv, u32 pictures,
                                           u32 first) {
    return {{x,
            stride,
            conv.height,
            conv.width,
            {conv.channels, conv.places},
            {conv.to_pixels(), conv.picture},
            {conv.to_width(), conv.line},
            conv.side,
            conv.step,
            first,
            pictures * conv.to_pixels(),
            conv.taps() * conv.channels,
            conv.channels % 4 == 0 && vectorised(x, stride)}};
}

// What its transpose reads.
__device__ inline SeenAlong<true> given(const float* delta, u32 stride, const Convolution& conv, u32 pictures,
                                         u32 first) {
    return {{delta,
            stride,
            conv.to_height(),
            conv.to_width(),
            {conv.outputs, conv.places},
            {conv.pixels(), conv.picture},
            {conv.width, conv.line},
            conv.side,
            conv.step,
            first,
            pictures * conv.pixels(),
            conv.taps() * conv.outputs,
            conv.outputs % 4 == 0 && vectorised(delta, stride)}};
}

// The weights of a transpose: e counts the channels that it gives, k the taps and then the channels that it reads.
struct Turned {
    static constexpr bool ALONG = true;
    const float* from;
    Divisor outputs;
    u32 channels, first, places;
    bool whole;

    // Where the weights of a channel begin, beyond all where there is none; and a place, with where it lies for channel 0.
    using Fixed = u32;
    struct Moving {
        u32 place, at;
    };
    static constexpr u32 NOWHERE = 0xffffffffu;

    __device__ Fixed fixed(u32 e) const { return first + e < channels ? (first + e) * outputs.by : NOWHERE; }

    __device__ Moving moving(u32 k) const {
        u32 output;
        const u32 tap = outputs.divide(k, output);
        return {k, tap * channels * outputs.by + output};
    }

    __device__ float4 at(u32 channel, const Moving& of) const {
        float four[4] = {};
        if (channel == NOWHERE) {
            return make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        }
        if (whole) {
            return of.place < places ? load4(from + (channel + of.at)) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        }
#pragma unroll
        for (u32 i = 0; i < 4; ++i) {
            if (of.place + i < places) {
                four[i] = from[channel + moving(of.place + i).at];
            }
        }
        return make_float4(four[0], four[1], four[2], four[3]);
    }
};

// Pictures as they are: e counts channels, k pixels.
struct Stacked {
    static constexpr bool ALONG = false;
    const float* from;
    u32 stride;
    Divisor of_picture;
    u32 channels, first, pixels;
    bool whole;

    // How many channels there are from this one on; and where a pixel's lie.
    using Fixed = u32;
    struct Moving {
        const float* pixel;
        bool inside;
    };

    __device__ Fixed fixed(u32 e) const { return first + e < channels ? channels - first - e : 0; }

    __device__ Moving moving(u32 k) const {
        u32 within;
        const float* picture = row_of(from, stride, of_picture.divide(k, within));
        return {picture + (within + 1) * channels, k < pixels};
    }

    __device__ float4 at(u32 left, const Moving& of) const { return quad(of.pixel - left, of.inside ? left : 0, whole); }
};

// Where results go: a product's rows count pixels.
struct Pictures {
    float* out;
    u32 stride;
    Divisor of_picture;
    u32 channels;

    __device__ bool whole() const { return channels % 4 == 0 && vectorised(out, stride); }

    __device__ float* at(u32 pixel, u32 channel) const {
        u32 within;
        float* picture = row_of(out, stride, of_picture.divide(pixel, within));
        return picture + (within * channels + channel);
    }
};
