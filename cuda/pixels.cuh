// Sums over the pixels of pictures, a row of a matrix each: threads along x take neighbouring channels, four each where
// the kernel takes quads; threads along y take the pixels in turn, and their sums are added in their order.
#pragma once

#include "device.cuh"

// Launch: block (x, y), x y <= 256 a multiple of 32; one-dimensional grid of `groups` blocks for each row, which share
// its channels. Calls body(row, part, inside) for the `parts` of its channels; all threads come to every call, `inside`
// says whether the thread has a part.
template <class Body>
__device__ inline void each_part(u32 parts, u32 groups, const Body& body) {
    const u32 row = blockIdx.x / groups;
    for (u32 left = blockIdx.x % groups * blockDim.x; left < parts; left += groups * blockDim.x) {
        body(row, left + threadIdx.x, left + threadIdx.x < parts);
    }
}

// The sum over y, valid where y is 0; all threads call it.
template <u32 V>
__device__ inline Lanes<V> sum_over_y(Lanes<V> sum) {
    SHARED(float4, tile, 256);
    float* memory = reinterpret_cast<float*>(tile);
    const u32 x = blockDim.x;
    // Whoever read the last call's numbers is done with them.
    __syncthreads();
    put(memory + (threadIdx.y * x + threadIdx.x) * V, sum);
    __syncthreads();
    if (threadIdx.y == 0) {
        for (u32 y = 1; y < blockDim.y; ++y) {
            const Lanes<V> more = take<V>(memory + (y * x + threadIdx.x) * V);
#pragma unroll
            for (u32 i = 0; i < V; ++i) {
                sum.x[i] += more.x[i];
            }
        }
    }
    return sum;
}
