// What a warp's tensor cores multiply: words of one number rounded to 11 bits (TF32) or of two rounded to 8 (BF16), and
// the product of a warp, 16 rows by 8 columns, over 8 words of k. Products of rounded numbers are exact, and sums have 32
// bits.
//
// Lane 4 g + t has, of A's words [row][k] and B's [k][column], counting within the product,
//
//   A   (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4)        B   (t, g), (t + 4, g)
//
// and of the sums [row][column] (g, 2 t), (g, 2 t + 1), (g + 8, 2 t), (g + 8, 2 t + 1). The lower half of a word of BF16 is
// the smaller k.
#pragma once

#include "device.cuh"

// Whether the code that is compiled here is for tensor cores that know both. No host launches it on others. A host that
// asks for products in 32 bits alone leaves it out when it compiles the kernels itself, as it takes most of the time.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800 && !defined(SFEUOT_NO_TENSOR_CORES)
#define SFEUOT_NO_TENSOR_CORES
#endif
#ifdef SFEUOT_NO_TENSOR_CORES
constexpr bool TENSOR_CORES = false;
#else
constexpr bool TENSOR_CORES = true;
#endif

#if !defined(SFEUOT_HOST) && !defined(SFEUOT_NO_TENSOR_CORES)

// To the nearest, ties away from zero; a NaN stays one.
__device__ inline u32 word_of_tf32(float x) {
    u32 word;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(word) : "f"(x));
    return word;
}

// To the nearest, ties to even; a NaN stays one.
__device__ inline u32 word_of_bf16(float low, float high) {
    u32 word;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
    return word;
}

// All lanes of the warp come together; sum += A B.
__device__ inline void mma_tf32(float (&sum)[4], const u32 (&a)[4], const u32 (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ inline void mma_bf16(float (&sum)[4], const u32 (&a)[4], const u32 (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#elif defined(SFEUOT_NO_TENSOR_CORES)

__device__ inline u32 word_of_tf32(float) { return 0; }
__device__ inline u32 word_of_bf16(float, float) { return 0; }
__device__ inline void mma_tf32(float (&)[4], const u32 (&)[4], const u32 (&)[2]) {}
__device__ inline void mma_bf16(float (&)[4], const u32 (&)[4], const u32 (&)[2]) {}

#endif

// The two as tiles use them: PACK numbers of neighbouring k are one word.
struct Tf32 {
    static constexpr u32 PACK = 1;

    // The words of four numbers along k.
    static __device__ void along(const float4& x, u32 (&words)[4]) {
        words[0] = word_of_tf32(x.x);
        words[1] = word_of_tf32(x.y);
        words[2] = word_of_tf32(x.z);
        words[3] = word_of_tf32(x.w);
    }

    // The words of four neighbours across k, each with those of the next k.
    static __device__ void across(const float4 (&x)[1], u32 (&words)[4]) { along(x[0], words); }

    static __device__ void multiply(float (&sum)[4], const u32 (&a)[4], const u32 (&b)[2]) { mma_tf32(sum, a, b); }
};

struct Bf16 {
    static constexpr u32 PACK = 2;

    static __device__ void along(const float4& x, u32 (&words)[2]) {
        words[0] = word_of_bf16(x.x, x.y);
        words[1] = word_of_bf16(x.z, x.w);
    }

    static __device__ void across(const float4 (&x)[2], u32 (&words)[4]) {
        words[0] = word_of_bf16(x[0].x, x[1].x);
        words[1] = word_of_bf16(x[0].y, x[1].y);
        words[2] = word_of_bf16(x[0].z, x[1].z);
        words[3] = word_of_bf16(x[0].w, x[1].w);
    }

    static __device__ void multiply(float (&sum)[4], const u32 (&a)[4], const u32 (&b)[2]) { mma_bf16(sum, a, b); }
};
