// Philox 4x32-10 (Salmon, Moraes, Dror, Shaw, SC 2011), word for word and bit for bit as src/rng.rs.
//
// Every float operation is named with its rounding, so that no compiler contracts, reorders or approximates it; the
// only multiply-adds are those that the definition has. About 60 integer operations a block of four words and 45 float
// operations a pair of normals.
#pragma once

#include "device.cuh"

enum Stream : u32 {
    STREAM_INIT = 0,
    STREAM_SOURCE_INDEX = 1,
    STREAM_TARGET_INDEX = 2,
    STREAM_LATENT = 3,
    STREAM_ENDPOINT = 4,
    STREAM_BRIDGE = 5,
    STREAM_TIME = 6,
    STREAM_COMPONENT = 7,
    STREAM_SOURCE_CHANGE = 8,
    STREAM_TARGET_CHANGE = 9,
};

struct Sequence {
    u32 key0, key1, step0, step1;
};

// The sequence of `stream` under `seed` at step `number`, or, where a counter in device memory is given (a captured
// graph is replayed with the same arguments), at step 2 * counter + number.
__device__ inline Sequence sequence_of(u64 seed, const u64* counter, u64 number, u32 stream) {
    u64 step = counter != nullptr ? 2 * *counter + number : number;
    return {(u32)seed, (u32)(seed >> 32), (u32)step, ((u32)(step >> 32) & 0x00ffffffu) | stream << 24};
}

// The four words of block `block`: elements 4 block .. 4 block + 3.
__device__ inline uint4 philox_block(const Sequence& sequence, u64 block) {
    u32 w0 = (u32)block, w1 = (u32)(block >> 32), w2 = sequence.step0, w3 = sequence.step1;
    u32 key0 = sequence.key0, key1 = sequence.key1;
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        u32 high0 = __umulhi(0xD2511F53u, w0), low0 = 0xD2511F53u * w0;
        u32 high1 = __umulhi(0xCD9E8D57u, w2), low1 = 0xCD9E8D57u * w2;
        w0 = high1 ^ w1 ^ key0;
        w1 = low1;
        w2 = high0 ^ w3 ^ key1;
        w3 = low0;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return make_uint4(w0, w1, w2, w3);
}

// A word as a number in (0, 1].
__device__ inline float unit(u32 word) { return __fmaf_rn(__uint2float_rn(word), 0x1p-32f, 0x1p-33f); }

// ln x for x in (0, 1].
__device__ inline float ln_unit(float x) {
    u32 bits = __float_as_uint(x);
    int k = (int)(bits - 0x3f3504f3u) >> 23;
    float m = __uint_as_float(bits - ((u32)k << 23));
    float s = __fdiv_rn(__fadd_rn(m, -1.0f), __fadd_rn(m, 1.0f));
    float s2 = __fmul_rn(s, s);
    float p = __fmaf_rn(s2, 2.0f / 9.0f, 2.0f / 7.0f);
    p = __fmaf_rn(s2, p, 2.0f / 5.0f);
    p = __fmaf_rn(s2, p, 2.0f / 3.0f);
    p = __fmaf_rn(__fmul_rn(s2, s), p, __fmul_rn(2.0f, s));
    return __fmaf_rn(__int2float_rn(k), 0.693147180559945309417232121458f, p);
}

// sin(pi x) and cos(pi x) for x in [-1, 1].
__device__ inline void sincos_half_turns(float x, float& sine, float& cosine) {
    // Adding 1.5 * 2^23 rounds to the nearest integer, ties to even.
    constexpr float ROUND = 12582912.0f;
    float quadrant = __fadd_rn(__fmaf_rn(x, 2.0f, ROUND), -ROUND);
    float r = __fmul_rn(__fmaf_rn(quadrant, -0.5f, x), 3.14159265358979323846264338328f);
    float r2 = __fmul_rn(r, r);
    float s = __fmaf_rn(r2, 1.0f / 362880.0f, -1.0f / 5040.0f);
    s = __fmaf_rn(r2, s, 1.0f / 120.0f);
    s = __fmaf_rn(r2, s, -1.0f / 6.0f);
    s = __fmaf_rn(__fmul_rn(r2, r), s, r);
    float c = __fmaf_rn(r2, 1.0f / 40320.0f, -1.0f / 720.0f);
    c = __fmaf_rn(r2, c, 1.0f / 24.0f);
    c = __fmaf_rn(r2, c, -0.5f);
    c = __fmaf_rn(r2, c, 1.0f);
    int q = (int)quadrant;
    bool swap = (q & 1) != 0;
    u32 sine_sign = ((u32)q & 2u) << 30, cosine_sign = ((u32)(q + 1) & 2u) << 30;
    sine = __uint_as_float(__float_as_uint(swap ? c : s) ^ sine_sign);
    cosine = __uint_as_float(__float_as_uint(swap ? s : c) ^ cosine_sign);
}

// Two independent standard normals from two words (Box and Muller, 1958).
__device__ inline float2 box_muller(u32 a, u32 b) {
    float radius = __fsqrt_rn(__fmul_rn(-2.0f, ln_unit(unit(a))));
    float sine, cosine;
    sincos_half_turns(__fmul_rn(__int2float_rn((int)b), 0x1p-31f), sine, cosine);
    return make_float2(__fmul_rn(radius, cosine), __fmul_rn(radius, sine));
}

// Standard normals, elements 4 block .. 4 block + 3.
__device__ inline float4 normals4(const Sequence& sequence, u64 block) {
    uint4 word = philox_block(sequence, block);
    float2 first = box_muller(word.x, word.y), second = box_muller(word.z, word.w);
    return make_float4(first.x, first.y, second.x, second.y);
}

struct DrawUniform {
    __device__ static float4 draw(const Sequence& sequence, u64 block) {
        uint4 word = philox_block(sequence, block);
        return make_float4(unit(word.x), unit(word.y), unit(word.z), unit(word.w));
    }
};

struct DrawNormal {
    __device__ static float4 draw(const Sequence& sequence, u64 block) { return normals4(sequence, block); }
};

// A matrix [rows][cols] of what `Draw` draws: element (r, c) is element first + r cols + c of the sequence. A thread
// along x draws one Philox block (four elements) after another.
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
