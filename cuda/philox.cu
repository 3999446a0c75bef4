// Uniform and normal numbers into a matrix.
//
// Element (r, c) of out [rows][cols] is element first + r cols + c of the sequence (seed, step, stream), so any cut of
// a batch into launches draws the same numbers, which are those of src/rng.rs to the bit.
//
// Launch: one-dimensional, any number of blocks; a thread draws one Philox block (four elements) after another.
// Writes 4 bytes an element and reads nothing; about 40 operations an element for normals, 17 for uniforms. Where
// first, cols and stride are multiples of four and out lies on 16 bytes, a thread's four elements are one store.
#include "philox.cuh"

struct DrawUniform {
    __device__ static float4 draw(const Sequence& sequence, u64 block) {
        uint4 word = philox_block(sequence, block);
        return make_float4(unit(word.x), unit(word.y), unit(word.z), unit(word.w));
    }
};

struct DrawNormal {
    __device__ static float4 draw(const Sequence& sequence, u64 block) { return normals4(sequence, block); }
};

template <class Draw>
__device__ inline void draw_matrix(float* out, u32 rows, u32 cols, u32 stride, const Sequence& sequence, u64 first) {
    u64 total = (u64)rows * cols;
    if (total == 0) {
        return;
    }
    bool whole = first % 4 == 0 && cols % 4 == 0 && vectorised(out, stride);
    u64 begin = first / 4, end = (first + total - 1) / 4 + 1;
    u64 step = (u64)gridDim.x * blockDim.x;
    for (u64 block = begin + (u64)blockIdx.x * blockDim.x + threadIdx.x; block < end; block += step) {
        float4 x = Draw::draw(sequence, block);
        u32 col;
        if (whole) {
            u64 row = divide(4 * block - first, cols, col);
            store4(row_of(out, stride, (u32)row) + col, x);
            continue;
        }
        float part[4] = {x.x, x.y, x.z, x.w};
        // The first block may start before the matrix, the last end after it.
        u32 from = 4 * block < first ? (u32)(first - 4 * block) : 0;
        u64 row = divide(4 * block + from - first, cols, col);
#pragma unroll
        for (u32 i = 0; i < 4; ++i) {
            if (i >= from && row < rows) {
                row_of(out, stride, (u32)row)[col] = part[i];
                if (++col == cols) {
                    col = 0;
                    ++row;
                }
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(256)
philox_uniforms(float* out, u32 rows, u32 cols, u32 stride, u64 seed, const u64* counter, u64 number, u32 stream,
                u64 first) {
    draw_matrix<DrawUniform>(out, rows, cols, stride, sequence_of(seed, counter, number, stream), first);
}

extern "C" __global__ void __launch_bounds__(256)
philox_normals(float* out, u32 rows, u32 cols, u32 stride, u64 seed, const u64* counter, u64 number, u32 stream,
               u64 first) {
    draw_matrix<DrawNormal>(out, rows, cols, stride, sequence_of(seed, counter, number, stream), first);
}
