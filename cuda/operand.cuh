// Operands of products (product.cuh): which number an element of a tile's part is, as rows of a matrix have it.
#pragma once

#include "device.cuh"

// Four neighbours of which `left` are there.
__device__ inline float4 quad(const float* from, u32 left, bool whole) {
    if (whole && left >= 4) {
        return load4(from);
    }
    float4 x = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (left > 0) {
        x.x = from[0];
    }
    if (left > 1) {
        x.y = from[1];
    }
    if (left > 2) {
        x.z = from[2];
    }
    if (left > 3) {
        x.w = from[3];
    }
    return x;
}

// The tile's part of an operand. e counts A's rows or B's columns within the tile: element (e, k) is at
// from[e stride + k] where ALONG, else at from[k stride + e]. Elements beyond extent or depth count as zero.
//
// conv.cuh has operands that lie elsewhere. A thread always stages the same e and, at a time, one k where ALONG, and one
// e otherwise. What of an address depends on e alone is computed once (`fixed`), and what depends on k when k moves on.
template <bool ALONG_>
struct Operand {
    static constexpr bool ALONG = ALONG_;
    using Fixed = u32;
    using Moving = u32;
    const float* from;
    u32 stride, extent, depth;
    bool whole;

    __device__ u32 fixed(u32 e) const { return e; }
    __device__ u32 moving(u32 k) const { return k; }

    // Element (e, k) and the next three, along k where ALONG, else along e.
    __device__ float4 at(u32 e, u32 k) const {
        const u32 row = ALONG ? e : k, col = ALONG ? k : e;
        const u32 rows = ALONG ? extent : depth, cols = ALONG ? depth : extent;
        const u32 left = row < rows && col < cols ? cols - col : 0;
        return quad(row_of(from, stride, row) + col, left, whole);
    }
};

// From e = first on, of `extent` altogether; first is a multiple of four.
template <bool ALONG>
__device__ inline Operand<ALONG> operand(const float* from, u32 stride, u32 first, u32 extent, u32 depth) {
    const float* start = ALONG ? row_of(from, stride, first) : from + first;
    return {start, stride, extent - first, depth, vectorised(from, stride)};
}
