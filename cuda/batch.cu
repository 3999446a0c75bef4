// The rows of a half step, as src/device/cpu/batch.rs draws them, to the bit (the odds of times as clock.cuh says):
// samples of both sides, latents and bridge times of `rows` rows, the first of which are those of source sample number
// first_source of the batch (`each` rows a source).
//
//   input [rows][d + latent]   [x0, z]: the source sample of each row, and standard normals, element
//                              (first_source each + r) latent + c of the stream LATENT
//   ends [rows][d + 1]         [y, 1]: target samples, number first_source each + r of the batch each
// and behind either the squares of the first input_squares or ends_squares of d numbers (squares.cuh), at t = 0 and 1
//   time [rows][3]             the clock at low + (high - low) u (clock.cuh), u in (0, 1] the Weyl sequence start +
//                              n 2^32 / phi with a random start (word 0 of the stream TIME), n = (first_source each +
//                              r) / repeat. With half_at_end n / 2 takes the place of n, and an odd n has the time high.
// Sample number n of a side is the one that words 2 n and 2 n + 1 of its stream select among `samples`: evenly, or by
// weight through Walker's alias table (thresholds and aliases [samples], both null without weights). Where samples is
// 0, the host has drawn, and number n is row n. Where flip or crop is not 0, pictures of height x width pixels are
// changed as src/data/augmentation.rs says, by block n of a stream of their own.
//
// Launch: grid (any, 4), or (any, 3) where ends is not wanted; threads along x share each of the four parts. A row's
// index is drawn by each of its threads anew, about 60 integer operations: a launch more would take longer. Reads and
// writes 4 bytes an element, 16 at a time where d, strides and addresses allow it and pictures stay as they are; else
// another 60 operations and two divisions an element. Latents cost what philox.cu says,
// and a time about 40 operations and two exponential functions in double.
#include "clock.cuh"
#include "philox.cuh"
#include "squares.cuh"

// One side: its rows lie d floats apart.
struct Side {
    const float* rows;
    u32 samples;
    const u32 *thresholds, *aliases;
    u32 flip, crop;
};

// Pixels of a channel.
struct Pixels {
    u32 height, width;
};

__device__ inline u64 drawn(const Side& side, const Sequence& sequence, u64 number) {
    if (side.samples == 0) {
        return number;
    }
    const uint4 words = philox_block(sequence, number / 2);
    const u32 word = number % 2 == 0 ? words.x : words.z, accept = number % 2 == 0 ? words.y : words.w;
    const u32 column = __umulhi(word, side.samples);
    return side.thresholds == nullptr || accept < side.thresholds[column] ? column : side.aliases[column];
}

// The place of at + distance among `side` pixels, with a distance from -crop to crop.
__device__ inline u32 moved(u32 at, u32 word, u32 crop, u32 side) {
    const int to = (int)at + (int)__umulhi(word, 2 * crop + 1) - (int)crop;
    return to < 0 ? 0 : to < (int)side ? (u32)to : side - 1;
}

// The column of a sample from which column `column` of the changed one is taken.
__device__ inline u32 changed(const Side& side, const Pixels& pixels, uint4 words, u32 column) {
    u32 x, y;
    const u32 line = (u32)divide(column, pixels.width, x), channel = (u32)divide(line, pixels.height, y);
    x = side.flip != 0 && words.x >> 31 == 1 ? pixels.width - 1 - x : x;
    return (channel * pixels.height + moved(y, words.z, side.crop, pixels.height)) * pixels.width +
           moved(x, words.y, side.crop, pixels.width);
}

// Row r of out is sample number (first + r) / repeat, its squares begin at column `behind`; with append, column d is
// set to 1.
__device__ inline void draw_rows(const Side& side, const Pixels& pixels, const Sequence& sequence,
                                 const Sequence& change, u64 first, u32 repeat, float* out, u32 out_stride, u32 rows,
                                 u32 d, bool append, const Squares& squares, u32 behind) {
    const float time = append ? 1.0f : 0.0f;
    const bool changes = side.flip != 0 || side.crop != 0;
    const bool whole = !changes && d % 4 == 0 && vectorised(side.rows, 0) && vectorised(out, out_stride);
    const u32 width = whole ? 4 : 1, parts = d / width;
    const u64 total = (u64)rows * parts, step = (u64)gridDim.x * blockDim.x;
    for (u64 index = (u64)blockIdx.x * blockDim.x + threadIdx.x; index < total; index += step) {
        u32 part;
        const u32 row = (u32)divide(index, parts, part);
        u32 rest;
        const u64 number = divide(first + row, repeat, rest);
        const float* from = side.rows + drawn(side, sequence, number) * d;
        float* to = row_of(out, out_stride, row);
        if (whole) {
            const Lanes<4> x = take<4>(from + 4 * part);
            put(to + 4 * part, x);
            put_squares(squares, to + behind, 4 * part, x, time);
        } else {
            const u32 column = changes ? changed(side, pixels, philox_block(change, number), part) : part;
            const Lanes<1> x = take<1>(from + column);
            put(to + part, x);
            put_squares(squares, to + behind, part, x, time);
        }
        if (append && part + 1 == parts) {
            to[d] = 1.0f;
        }
    }
}

__device__ inline void draw_times(u32 start, u64 first, u32 repeat, bool half_at_end, float low, float high,
                                  double log_range, double ease, float* time, u32 time_stride, u32 rows) {
    const float range = __fadd_rn(high, -low);
    const u64 step = (u64)gridDim.x * blockDim.x;
    for (u64 row = (u64)blockIdx.x * blockDim.x + threadIdx.x; row < rows; row += step) {
        u32 rest;
        const u64 number = divide(first + row, repeat, rest);
        const u32 word = start + 0x9E3779B9u * (u32)(half_at_end ? number / 2 : number);
        const bool at_end = half_at_end && number % 2 == 1;
        const Tick tick = clock_at(log_range, ease, at_end ? high : __fadd_rn(low, __fmul_rn(range, unit(word))));
        float* to = row_of(time, time_stride, (u32)row);
        to[0] = tick.time;
        to[1] = tick.against;
        to[2] = tick.pace;
    }
}

// Room for four blocks: by itself ptxas holds to 40 registers on some architectures and spills.
extern "C" __global__ void __launch_bounds__(256, 4)
batch_draw(const float* source, u32 source_samples, const u32* source_thresholds, const u32* source_aliases,
           u32 source_flip, u32 source_crop, const float* target, u32 target_samples, const u32* target_thresholds,
           const u32* target_aliases, u32 target_flip, u32 target_crop, u32 height, u32 width, u64 first_source,
           u32 rows, u32 each, u32 d, u32 latent, float* input, u32 input_stride, u32 input_squares,
           const float* input_centre, float* ends, u32 ends_stride, u32 ends_squares, const float* ends_centre,
           float* time, u32 time_stride, u32 time_repeat, u32 half_at_end, float low, float high, double log_range,
           double ease, u64 seed, const u64* counter, u64 number) {
    const u64 first = first_source * each;
    switch (blockIdx.y) {
        case 0:
            draw_rows({source, source_samples, source_thresholds, source_aliases, source_flip, source_crop},
                      {height, width}, sequence_of(seed, counter, number, STREAM_SOURCE_INDEX),
                      sequence_of(seed, counter, number, STREAM_SOURCE_CHANGE), first, each, input, input_stride, rows,
                      d, false, {input_squares, input_centre}, d + latent);
            break;
        case 1:
            draw_matrix<DrawNormal>(input + d, rows, latent, input_stride,
                                    sequence_of(seed, counter, number, STREAM_LATENT), first * latent);
            break;
        case 2:
            draw_times(philox_block(sequence_of(seed, counter, number, STREAM_TIME), 0).x, first, time_repeat,
                       half_at_end != 0, low, high, log_range, ease, time, time_stride, rows);
            break;
        default:
            draw_rows({target, target_samples, target_thresholds, target_aliases, target_flip, target_crop},
                      {height, width}, sequence_of(seed, counter, number, STREAM_TARGET_INDEX),
                      sequence_of(seed, counter, number, STREAM_TARGET_CHANGE), first, 1, ends, ends_stride, rows, d,
                      true, {ends_squares, ends_centre}, d + 1);
    }
}
