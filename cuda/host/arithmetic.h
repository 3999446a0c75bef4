// The arithmetic of CUDA's device library.
//
// With SFEUOT_AS_HARDWARE, for a build whose compiler contracts products with sums, as nvcc does: the functions that
// name a rounding keep it, and those without one are off by what CUDA's documentation allows them, more or less, as
// their arguments' bits decide.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

inline unsigned __float_as_uint(float a) {
    unsigned bits;
    std::memcpy(&bits, &a, sizeof bits);
    return bits;
}
inline float __uint_as_float(unsigned bits) {
    float a;
    std::memcpy(&a, &bits, sizeof a);
    return a;
}

namespace host {

#if defined(SFEUOT_AS_HARDWARE)

// What a compiler cannot see through, so that it contracts nothing with it.
inline float opaque(float x) {
    __asm__("" : "+x"(x));
    return x;
}
inline double opaque(double x) {
    __asm__("" : "+x"(x));
    return x;
}

// y, up to `most` numbers further up or down, by x. Zero, one, infinity and NaN stay: there the device is exact.
template <class T, class Bits, class Signed>
inline T off(T x, T y, Signed most) {
    if (!(std::fabs(y) > std::numeric_limits<T>::min()) || y == 1 || y - y != 0) {
        return y;
    }
    Bits bits, hash;
    std::memcpy(&hash, &x, sizeof hash);
    std::memcpy(&bits, &y, sizeof bits);
    const uint64_t mixed = (uint64_t(hash) ^ 0x9E3779B97F4A7C15u) * 0xD6E8FEB86659FD93u;
    bits += static_cast<Bits>(static_cast<Signed>((mixed >> 33) % (2 * uint64_t(most) + 1)) - most);
    T moved;
    std::memcpy(&moved, &bits, sizeof moved);
    return moved;
}
inline float off(float x, float y, int most) { return off<float, uint32_t, int32_t>(x, y, most); }
inline double off(double x, double y, int most) { return off<double, uint64_t, int64_t>(x, y, most); }

inline float off_exp(float x) { return off(x, std::exp(x), 2); }
inline float off_log(float x) { return off(x, std::log(x), 1); }
inline float off_log1p(float x) { return off(x, std::log1p(x), 1); }
// No device goes beyond one.
inline float off_tanh(float x) {
    const float y = off(x, std::tanh(x), 2);
    return y > 1 ? 1 : y < -1 ? -1 : y;
}
inline double off_exp(double x) { return off(x, std::exp(x), 1); }
inline double off_expm1(double x) { return off(x, std::expm1(x), 1); }
inline double off_log1p(double x) { return off(x, std::log1p(x), 1); }
inline double cos_half_turns(double x) { return off(x, std::cos(3.14159265358979323846264338328 * x), 1); }

#else

inline float opaque(float x) { return x; }
inline double opaque(double x) { return x; }
inline double cos_half_turns(double x) { return std::cos(3.14159265358979323846264338328 * x); }

#endif

}  // namespace host

#if defined(SFEUOT_AS_HARDWARE)
#define expf host::off_exp
#define logf host::off_log
#define log1pf host::off_log1p
#define tanhf host::off_tanh
#define exp host::off_exp
#define expm1 host::off_expm1
#define log1p host::off_log1p
#endif

// A macro, because newer C libraries have a function of this name.
#define cospi host::cos_half_turns

inline float __fmaf_rn(float a, float b, float c) { return host::opaque(std::fma(a, b, host::opaque(c))); }
inline float __fmul_rn(float a, float b) { return host::opaque(a * b); }
inline float __fadd_rn(float a, float b) { return host::opaque(host::opaque(a) + host::opaque(b)); }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline double __dmul_rn(double a, double b) { return host::opaque(a * b); }
inline double __dadd_rn(double a, double b) { return host::opaque(host::opaque(a) + host::opaque(b)); }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }
inline float __uint2float_rn(unsigned a) { return static_cast<float>(a); }
inline float __int2float_rn(int a) { return static_cast<float>(a); }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>((uint64_t(a) * b) >> 32); }
