//! AVX-512 and AVX2 + FMA forms of the vector operations.

use super::simd::{EXP_MAX, EXP_MIN, EXP_SERIES, Kernel, LN2_HIGH, LN2_LOW, Simd};
use std::arch::x86_64::*;

/// # Safety
/// The processor has AVX-512 F.
#[target_feature(enable = "avx512f,avx2,fma")]
pub(super) unsafe fn run_avx512<K: Kernel<f32>>(kernel: K) -> K::Output {
    // SAFETY: the caller's promise.
    unsafe { kernel.run::<Avx512>() }
}

/// # Safety
/// The processor has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn run_avx2<K: Kernel<f32>>(kernel: K) -> K::Output {
    // SAFETY: the caller's promise.
    unsafe { kernel.run::<Avx2>() }
}

/// Sixteen f32.
#[derive(Clone, Copy)]
pub struct Avx512;

/// Eight f32.
#[derive(Clone, Copy)]
pub struct Avx2;

macro_rules! operations {
    ($($name:ident ($($arg:ident),+) = $intrinsic:ident;)+) => {$(
        #[inline(always)]
        unsafe fn $name($($arg: Self::V),+) -> Self::V {
            // SAFETY: the processor has the feature, by the trait's contract.
            unsafe { $intrinsic($($arg),+) }
        }
    )+};
}

/// The part of e^x that both widths share, once x = n ln 2 + r is known.
macro_rules! exp_polynomial {
    ($S:ty, $r:expr) => {{
        let r = $r;
        let mut p = <$S>::splat(EXP_SERIES[0]);
        let mut i = 1;
        while i < EXP_SERIES.len() {
            p = <$S>::fma(p, r, <$S>::splat(EXP_SERIES[i]));
            i += 1;
        }
        p
    }};
}

impl Simd for Avx512 {
    type T = f32;
    type V = __m512;
    const LANES: usize = 16;
    const TILE_ROWS: usize = 8;
    operations! {
        add(a, b) = _mm512_add_ps;
        sub(a, b) = _mm512_sub_ps;
        mul(a, b) = _mm512_mul_ps;
        div(a, b) = _mm512_div_ps;
        sqrt(a) = _mm512_sqrt_ps;
        max(a, b) = _mm512_max_ps;
        min(a, b) = _mm512_min_ps;
        fma(a, b, c) = _mm512_fmadd_ps;
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> __m512 {
        // SAFETY: the trait's contract, here and below.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: __m512) {
        unsafe { _mm512_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn exp(a: __m512) -> __m512 {
        unsafe {
            // The second operand is what a NaN gives: it must come through.
            let x = _mm512_min_ps(Self::splat(EXP_MAX), _mm512_max_ps(Self::splat(EXP_MIN), a));
            let n = _mm512_roundscale_ps::<0x08>(_mm512_mul_ps(x, Self::splat(std::f32::consts::LOG2_E)));
            let r = _mm512_fnmadd_ps(n, Self::splat(LN2_HIGH), x);
            let r = _mm512_fnmadd_ps(n, Self::splat(LN2_LOW), r);
            _mm512_scalef_ps(exp_polynomial!(Self, r), n)
        }
    }
    #[inline(always)]
    unsafe fn within(a: __m512, low: __m512, high: __m512, then: __m512) -> __m512 {
        unsafe {
            let above = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(low, a);
            _mm512_maskz_mov_ps(_mm512_mask_cmp_ps_mask::<_CMP_LT_OQ>(above, a, high), then)
        }
    }
    #[inline(always)]
    unsafe fn sum(a: __m512) -> f32 {
        unsafe { _mm512_reduce_add_ps(a) }
    }
}

impl Simd for Avx2 {
    type T = f32;
    type V = __m256;
    const LANES: usize = 8;
    const TILE_ROWS: usize = 6;
    operations! {
        add(a, b) = _mm256_add_ps;
        sub(a, b) = _mm256_sub_ps;
        mul(a, b) = _mm256_mul_ps;
        div(a, b) = _mm256_div_ps;
        sqrt(a) = _mm256_sqrt_ps;
        max(a, b) = _mm256_max_ps;
        min(a, b) = _mm256_min_ps;
        fma(a, b, c) = _mm256_fmadd_ps;
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> __m256 {
        // SAFETY: the trait's contract, here and below.
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m256 {
        unsafe { _mm256_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: __m256) {
        unsafe { _mm256_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn exp(a: __m256) -> __m256 {
        unsafe {
            let x = _mm256_min_ps(Self::splat(EXP_MAX), _mm256_max_ps(Self::splat(EXP_MIN), a));
            let n = _mm256_round_ps::<0x08>(_mm256_mul_ps(x, Self::splat(std::f32::consts::LOG2_E)));
            let r = _mm256_fnmadd_ps(n, Self::splat(LN2_HIGH), x);
            let r = _mm256_fnmadd_ps(n, Self::splat(LN2_LOW), r);
            let bits = _mm256_slli_epi32::<23>(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)));
            _mm256_mul_ps(exp_polynomial!(Self, r), _mm256_castsi256_ps(bits))
        }
    }
    #[inline(always)]
    unsafe fn within(a: __m256, low: __m256, high: __m256, then: __m256) -> __m256 {
        unsafe {
            let inside = _mm256_and_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(low, a), _mm256_cmp_ps::<_CMP_LT_OQ>(a, high));
            _mm256_and_ps(inside, then)
        }
    }
    #[inline(always)]
    unsafe fn sum(a: __m256) -> f32 {
        unsafe {
            let half = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
            _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)))
        }
    }
}
