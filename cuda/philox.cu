// Uniform and normal numbers into a matrix.
//
// Element (r, c) of out [rows][cols] is element first + r cols + c of the sequence (seed, step, stream), so any cut of
// a batch into launches draws the same numbers, which are those of src/rng.rs to the bit.
//
// Launch: one-dimensional, any number of blocks; a thread draws one Philox block (four elements) after another.
// Writes 4 bytes an element and reads nothing; about 40 operations an element for normals, 17 for uniforms. Where
// first, cols and stride are multiples of four and out lies on 16 bytes, a thread's four elements are one store.
#include "philox.cuh"

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
