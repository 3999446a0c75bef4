//! NEON form of the vector operations. Every 64-bit ARM processor has it.

use super::simd::{EXP_MAX, EXP_MIN, EXP_SERIES, LN2_HIGH, LN2_LOW, Simd};
use std::arch::aarch64::*;

/// Eight f32, in two registers: there are 32 of them, so that a product's tile is as large as that of AVX2.
#[derive(Clone, Copy)]
pub struct Neon;

/// The two registers, lower lanes first.
#[derive(Clone, Copy)]
pub struct Pair(float32x4_t, float32x4_t);

macro_rules! both {
    ($($name:ident ($($arg:ident),+) = $intrinsic:ident;)+) => {$(
        #[inline(always)]
        unsafe fn $name($($arg: Pair),+) -> Pair {
            // SAFETY: the target has NEON.
            unsafe { Pair($intrinsic($($arg.0),+), $intrinsic($($arg.1),+)) }
        }
    )+};
}

/// The larger of a and b, or b where either is NaN.
#[inline(always)]
unsafe fn larger(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    // SAFETY: the target has NEON, here and below.
    unsafe { vbslq_f32(vcgtq_f32(a, b), a, b) }
}

/// The smaller of a and b, or b where either is NaN.
#[inline(always)]
unsafe fn smaller(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    unsafe { vbslq_f32(vcltq_f32(a, b), a, b) }
}

#[inline(always)]
unsafe fn exp(a: float32x4_t) -> float32x4_t {
    unsafe {
        // The second operand is what a NaN gives: it must come through.
        let x = smaller(vdupq_n_f32(EXP_MAX), larger(vdupq_n_f32(EXP_MIN), a));
        let n = vrndnq_f32(vmulq_n_f32(x, std::f32::consts::LOG2_E));
        let r = vfmsq_f32(x, n, vdupq_n_f32(LN2_HIGH));
        let r = vfmsq_f32(r, n, vdupq_n_f32(LN2_LOW));
        let mut p = vdupq_n_f32(EXP_SERIES[0]);
        let mut i = 1;
        while i < EXP_SERIES.len() {
            p = vfmaq_f32(vdupq_n_f32(EXP_SERIES[i]), p, r);
            i += 1;
        }
        let bits = vshlq_n_s32::<23>(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)));
        vmulq_f32(p, vreinterpretq_f32_s32(bits))
    }
}

#[inline(always)]
unsafe fn within(a: float32x4_t, low: float32x4_t, high: float32x4_t, then: float32x4_t) -> float32x4_t {
    unsafe {
        let inside = vandq_u32(vcltq_f32(low, a), vcltq_f32(a, high));
        vreinterpretq_f32_u32(vandq_u32(inside, vreinterpretq_u32_f32(then)))
    }
}

impl Simd for Neon {
    type T = f32;
    type V = Pair;
    const LANES: usize = 8;
    const TILE_ROWS: usize = 6;
    both! {
        add(a, b) = vaddq_f32;
        sub(a, b) = vsubq_f32;
        mul(a, b) = vmulq_f32;
        div(a, b) = vdivq_f32;
        sqrt(a) = vsqrtq_f32;
        max(a, b) = larger;
        min(a, b) = smaller;
        exp(a) = exp;
        within(a, low, high, then) = within;
    }
    #[inline(always)]
    unsafe fn fma(a: Pair, b: Pair, c: Pair) -> Pair {
        unsafe { Pair(vfmaq_f32(c.0, a.0, b.0), vfmaq_f32(c.1, a.1, b.1)) }
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> Pair {
        unsafe { Pair(vdupq_n_f32(x), vdupq_n_f32(x)) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Pair {
        // SAFETY: eight valid elements, by contract.
        unsafe { Pair(vld1q_f32(p), vld1q_f32(p.add(4))) }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: Pair) {
        // SAFETY: as above.
        unsafe {
            vst1q_f32(p, v.0);
            vst1q_f32(p.add(4), v.1);
        }
    }
    #[inline(always)]
    unsafe fn sum(a: Pair) -> f32 {
        unsafe {
            let half = vaddq_f32(a.0, a.1);
            let pair = vadd_f32(vget_low_f32(half), vget_high_f32(half));
            vget_lane_f32::<0>(vpadd_f32(pair, pair))
        }
    }
}
