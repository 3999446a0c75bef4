// What the kernels know of CUDA, for a compiler of C++: they run on the host, in tests where there is no GPU.
//
// Blocks run in an order that a seed shuffles, now and then two of them at the same time. The threads of a block are
// fibres: each runs until it meets a barrier, a warp's exchange or its end, then the next one goes on, in an order that
// is shuffled anew at every turn; some warps fall behind the others for a while. A kernel that lacks a barrier
// therefore gives different results for different seeds, and the strict build (watch.h) ends its launch. Shared memory
// is filled with NaN before every block, lies between canaries, and is counted. Barriers that not all threads of a
// block (or a warp) reach are found, as nothing can go on; so are threads that wait in different ones. Blocks do not
// wait for each other: no kernel here may, and one that tries runs on until it is ended or has no operations to do it
// with. One launch at a time: the caller holds a lock.
#pragma once

#include <cstddef>
#include <cstdint>

#include "arithmetic.h"

#define __global__
#define __device__
// The table has them (kernels.cpp).
#define __launch_bounds__(...)

struct uint3 {
    unsigned x, y, z;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

// Within one library: calls and numbers need no way around through its tables.
namespace host __attribute__((visibility("hidden"))) {

struct Place {
    uint3 thread, block;
};

// The place of the thread that runs.
extern Place place;
extern uint3 block_extent, grid_extent;

struct SharedMemory;

// An array of shared memory, known by where it is declared: one for each block that may run at the same time.
struct SharedArray {
    SharedMemory* of[2] = {};
};

void* shared(SharedArray& array, size_t size, const char* name);

// A call is known by where it stands: threads must not wait for each other in different ones. So the compiler may not
// make two of one; GCC is told by its options.
#if defined(__clang__)
#define SFEUOT_ONCE __attribute__((noduplicate))
#else
#define SFEUOT_ONCE
#endif

SFEUOT_ONCE void barrier();

// What lane `from` of those in `mask` holds.
SFEUOT_ONCE uint64_t exchange(unsigned mask, uint64_t x, unsigned from);

SFEUOT_ONCE void meet_warp(unsigned mask);

template <class T>
inline T exchanged(unsigned mask, T x, unsigned from) {
    static_assert(sizeof(T) <= sizeof(uint64_t), "a warp exchanges up to 8 bytes");
    uint64_t bits = 0;
    __builtin_memcpy(&bits, &x, sizeof(T));
    bits = exchange(mask, bits, from);
    __builtin_memcpy(&x, &bits, sizeof(T));
    return x;
}

inline unsigned lane() {
    const uint3 &at = place.thread, &of = block_extent;
    return (at.x + of.x * (at.y + of.y * at.z)) % 32;
}

}  // namespace host

#define threadIdx (host::place.thread)
#define blockIdx (host::place.block)
#define blockDim (host::block_extent)
#define gridDim (host::grid_extent)

#define SHARED(type, name, count)          \
    static host::SharedArray name##_array; \
    type* const name = static_cast<type*>(host::shared(name##_array, sizeof(type) * (count), #name))

inline void __syncthreads() { host::barrier(); }
inline void __syncwarp(unsigned mask = 0xFFFFFFFF) { host::meet_warp(mask); }

template <class T>
inline T __shfl_xor_sync(unsigned mask, T x, unsigned hop) {
    return host::exchanged(mask, x, host::lane() ^ hop);
}
template <class T>
inline T __shfl_sync(unsigned mask, T x, unsigned lane) {
    return host::exchanged(mask, x, lane);
}
// The own number where no lane is that far below or above.
template <class T>
inline T __shfl_up_sync(unsigned mask, T x, unsigned hop) {
    return host::exchanged(mask, x, host::lane() < hop ? host::lane() : host::lane() - hop);
}
template <class T>
inline T __shfl_down_sync(unsigned mask, T x, unsigned hop) {
    return host::exchanged(mask, x, host::lane() + hop > 31 ? host::lane() : host::lane() + hop);
}

#include "mma.h"
