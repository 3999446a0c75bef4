// What every kernel shares: integer names, vector access, and reductions in a fixed order.
//
// The sources compile under nvcc, under NVRTC (no header of the system is included), and as C++ on the host
// (host/host.h), where the tests run them. Conventions of all kernels:
//   * matrices are row-major with an explicit stride, in elements, between rows; columns [cols, stride) are not
//     touched;
//   * blocks have a multiple of 32 threads; no kernel depends on how many blocks run at once;
//   * every sum has an order that the launch geometry alone fixes, so equal launches give equal bits;
//   * a kernel that takes 16 bytes at a time decides so from strides and addresses, and otherwise takes single
//     elements.
#pragma once

#ifdef SFEUOT_HOST
#include "host/host.h"
#else
// Shared memory of a block; a pointer where the host emulates it, so sizeof(name) has no meaning.
#define SHARED(type, name, count) __shared__ type name[count]
#endif

using u32 = unsigned int;
using u64 = unsigned long long;

constexpr u32 WARP = 32;
constexpr u32 ALL_LANES = 0xffffffffu;

// NVRTC has no macros for them.
__device__ inline float infinity() { return __uint_as_float(0x7f800000u); }
__device__ inline float not_a_number() { return __uint_as_float(0x7fc00000u); }

// Whether rows at these strides can be read as float4: a null pointer always can.
__device__ inline bool vectorised(const void* pointer, u32 stride) {
    return pointer == nullptr || (((u64)pointer & 15u) == 0 && (stride & 3u) == 0);
}

__device__ inline float4 load4(const float* from) { return *reinterpret_cast<const float4*>(from); }

__device__ inline void store4(float* to, float4 x) { *reinterpret_cast<float4*>(to) = x; }

__device__ inline void store2(float* to, float2 x) { *reinterpret_cast<float2*>(to) = x; }

// One float, or four that are read and written as 16 bytes.
template <u32 V>
struct Lanes {
    float x[V];
};

template <u32 V>
__device__ inline Lanes<V> take(const float* from) {
    Lanes<V> lanes;
    if (V == 4) {
        float4 v = load4(from);
        lanes.x[0] = v.x;
        lanes.x[1 % V] = v.y;
        lanes.x[2 % V] = v.z;
        lanes.x[3 % V] = v.w;
    } else {
        lanes.x[0] = *from;
    }
    return lanes;
}

template <u32 V>
__device__ inline void put(float* to, const Lanes<V>& lanes) {
    if (V == 4) {
        store4(to, make_float4(lanes.x[0], lanes.x[1 % V], lanes.x[2 % V], lanes.x[3 % V]));
    } else {
        *to = lanes.x[0];
    }
}

// Start of a row.
__device__ inline const float* row_of(const float* matrix, u32 stride, u32 row) { return matrix + (u64)row * stride; }
__device__ inline float* row_of(float* matrix, u32 stride, u32 row) { return matrix + (u64)row * stride; }

// n / d and the remainder; 64-bit division is many times slower, and rarely needed.
__device__ inline u64 divide(u64 n, u32 d, u32& rest) {
    if ((n >> 32) == 0) {
        u32 q = (u32)n / d;
        rest = (u32)n - q * d;
        return q;
    }
    u64 q = n / d;
    rest = (u32)(n - q * d);
    return q;
}

// The larger; a NaN on either side comes through.
__device__ inline float larger(float a, float b) { return (a > b || a != a) ? a : b; }

// Sum over a group of `lanes` neighbouring lanes (a power of two up to 32), in every one of them the same bits: a
// butterfly adds the same two numbers on both sides.
template <u32 lanes, class T>
__device__ inline T lanes_sum(T x) {
#pragma unroll
    for (u32 hop = lanes / 2; hop > 0; hop /= 2) {
        x += __shfl_xor_sync(ALL_LANES, x, hop);
    }
    return x;
}

template <u32 lanes>
__device__ inline float lanes_max(float x) {
#pragma unroll
    for (u32 hop = lanes / 2; hop > 0; hop /= 2) {
        x = larger(x, __shfl_xor_sync(ALL_LANES, x, hop));
    }
    return x;
}

// Calls body(row, col) for this thread's elements of a rows x d matrix.
template <class Body>
__device__ inline void each_element(u64 rows, u32 d, const Body& body) {
    const u64 total = rows * d, step = (u64)gridDim.x * blockDim.x;
    for (u64 index = (u64)blockIdx.x * blockDim.x + threadIdx.x; index < total; index += step) {
        u32 col;
        const u64 row = divide(index, d, col);
        body(row, col);
    }
}

// Sum over the block, valid in thread 0; one-dimensional blocks of up to 1024 threads, all of which must call it.
__device__ inline double block_sum(double x) {
    SHARED(double, by_warp, WARP);
    x = lanes_sum<WARP>(x);
    // Whoever read the last call's numbers is done with them.
    __syncthreads();
    if (threadIdx.x % WARP == 0) {
        by_warp[threadIdx.x / WARP] = x;
    }
    __syncthreads();
    double sum = 0.0;
    if (threadIdx.x < WARP) {
        sum = threadIdx.x < blockDim.x / WARP ? by_warp[threadIdx.x] : 0.0;
        sum = lanes_sum<WARP>(sum);
    }
    return sum;
}
