// What a step draws beside normals: bridge times, and which samples enter the batch.
//
// batch_times: out[r] = low + (high - low) u, u in (0, 1] the Weyl sequence start + (r / repeat) 2^32 / phi with a
// random start (word 0 of the stream TIME); equal to src/train/cpu_engine.rs to the bit. One thread a row, 4 bytes.
//
// batch_indices: out[n] for n < count: the sample of a set of `samples` that words 2n and 2n + 1 of the sequence draw:
// evenly, or by weight through Walker's alias table (thresholds and aliases [samples], both null without weights).
// Integers only. One thread a Philox block, that is two indices.
//
// batch_gather: out[r][0..d] = samples[indices[r / repeat]], or samples[r / repeat] where indices is null (rows that
// the host has drawn); where append is not 0, out[r][d] = value. Reads and writes 4 bytes an element, 16 at a time where
// d and both strides are multiples of four and both matrices lie on 16 bytes.
//
// Launch, all: one-dimensional, any number of blocks.
#include "philox.cuh"

extern "C" __global__ void __launch_bounds__(256)
batch_times(float* out, u32 rows, u32 repeat, float low, float high, u64 seed, const u64* counter, u64 number) {
    const u32 start = philox_block(sequence_of(seed, counter, number, STREAM_TIME), 0).x;
    const float range = __fadd_rn(high, -low);
    const u64 step = (u64)gridDim.x * blockDim.x;
    for (u64 row = (u64)blockIdx.x * blockDim.x + threadIdx.x; row < rows; row += step) {
        u32 word = start + 0x9E3779B9u * ((u32)row / repeat);
        out[row] = __fadd_rn(low, __fmul_rn(range, unit(word)));
    }
}

__device__ inline u32 draw_index(u32 word, u32 accept, u32 samples, const u32* thresholds, const u32* aliases) {
    u32 column = __umulhi(word, samples);
    return thresholds == nullptr || accept < thresholds[column] ? column : aliases[column];
}

extern "C" __global__ void __launch_bounds__(256)
batch_indices(u32* out, u32 count, u32 samples, const u32* thresholds, const u32* aliases, u64 seed,
              const u64* counter, u64 number, u32 stream) {
    const Sequence sequence = sequence_of(seed, counter, number, stream);
    const u64 step = (u64)gridDim.x * blockDim.x;
    for (u64 block = (u64)blockIdx.x * blockDim.x + threadIdx.x; 2 * block < count; block += step) {
        uint4 word = philox_block(sequence, block);
        out[2 * block] = draw_index(word.x, word.y, samples, thresholds, aliases);
        if (2 * block + 1 < count) {
            out[2 * block + 1] = draw_index(word.z, word.w, samples, thresholds, aliases);
        }
    }
}

extern "C" __global__ void __launch_bounds__(256)
batch_gather(const float* samples, u32 samples_stride, const u32* indices, u32 repeat, float* out, u32 out_stride,
             u32 rows, u32 d, u32 append, float value) {
    const bool whole = d % 4 == 0 && vectorised(samples, samples_stride) && vectorised(out, out_stride);
    const u32 width = whole ? 4 : 1, parts = d / width;
    const u64 total = (u64)rows * parts, step = (u64)gridDim.x * blockDim.x;
    for (u64 index = (u64)blockIdx.x * blockDim.x + threadIdx.x; index < total; index += step) {
        u32 part;
        const u32 row = (u32)divide(index, parts, part);
        const u32 drawn = indices != nullptr ? indices[row / repeat] : row / repeat;
        const float* from = row_of(samples, samples_stride, drawn);
        float* to = row_of(out, out_stride, row);
        if (whole) {
            store4(to + 4 * part, load4(from + 4 * part));
        } else {
            to[part] = from[part];
        }
        if (append != 0 && part + 1 == parts) {
            to[d] = value;
        }
    }
}
