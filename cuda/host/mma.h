// What a warp's tensor cores compute (cuda/mma.cuh): words of rounded numbers, and products of 16 x 8 over 8 words of k.
#pragma once

#include "arithmetic.h"

namespace host __attribute__((visibility("hidden"))) {

// Ten bits of mantissa, ties away from zero.
inline unsigned tf32_of(float x) {
    const unsigned bits = __float_as_uint(x);
    return (bits & 0x7F800000) == 0x7F800000 ? bits : (bits + 0x1000) & ~0x1FFFu;
}

// Seven bits of mantissa, ties to even: the upper half of a number of 32 bits.
inline unsigned bf16_of(float x) {
    const unsigned bits = __float_as_uint(x);
    if (x != x) {
        return 0x7FFF;
    }
    return (bits & 0x7F800000) == 0x7F800000 ? bits >> 16 : (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
}

// sum += A B by all lanes of a warp, `pack` numbers a word.
SFEUOT_ONCE void mma(float (&sum)[4], const unsigned (&a)[4], const unsigned (&b)[2], unsigned pack);

}  // namespace host

inline unsigned word_of_tf32(float x) { return host::tf32_of(x); }
inline unsigned word_of_bf16(float low, float high) { return host::bf16_of(high) << 16 | host::bf16_of(low); }
inline void mma_tf32(float (&sum)[4], const unsigned (&a)[4], const unsigned (&b)[2]) { host::mma(sum, a, b, 1); }
inline void mma_bf16(float (&sum)[4], const unsigned (&a)[4], const unsigned (&b)[2]) { host::mma(sum, a, b, 2); }

inline void __trap() { __builtin_trap(); }
