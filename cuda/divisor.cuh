// Division by a number that many elements share: two multiplications, where a division takes about twenty operations.
#pragma once

#include "device.cuh"

struct Divisor {
    u32 by, inverse;

    // n / by and the remainder. What the product gives is the quotient or one less, for every n: inverse lies at most 1
    // below 2^32 / by.
    __device__ u32 divide(u32 n, u32& rest) const {
        const u32 quotient = __umulhi(n, inverse);
        rest = n - quotient * by;
        const bool one_less = rest >= by;
        rest -= one_less ? by : 0;
        return quotient + (one_less ? 1 : 0);
    }
};

__device__ inline Divisor divisor(u32 by) { return {by, 0xffffffffu / by}; }
