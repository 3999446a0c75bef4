//! Vectors of the processor: the few operations that the kernels need, for AVX-512, AVX2 + FMA, NEON, and plain arrays
//! that any compiler target turns into whatever vectors it has. The array form also serves f64, in which the gradient
//! checks run the same kernels.

use crate::formulas::Scalar;

/// An element type of which the processor has vectors.
pub trait Real: Scalar {
    /// Returns the number of elements in a vector of `isa`.
    fn lanes(isa: Isa) -> usize;
    /// Runs a kernel with the vectors of `isa`.
    ///
    /// # Safety
    /// What the kernel demands of its pointers.
    unsafe fn dispatch<K: Kernel<Self>>(isa: Isa, kernel: K) -> K::Output;
    /// Returns e^x, accurate to about two units in the last place, branch-free in f32.
    fn exp_lane(self) -> Self;
    /// Returns the logarithm of a normal positive number, as accurate and branch-free in f32, where it is NaN of one
    /// that is not finite.
    fn ln_lane(self) -> Self;
}

/// A computation written once over vectors; `run` and all it calls must be `#[inline(always)]`, so that the code is
/// compiled with the features of the vector type.
pub trait Kernel<T> {
    /// What the kernel returns.
    type Output;
    /// # Safety
    /// The processor has the features of `S`, and the kernel's pointers are valid.
    unsafe fn run<S: Simd<T = T>>(self) -> Self::Output;
}

/// The instruction sets among which the library chooses at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "each processor has some of them")]
pub enum Isa {
    /// AVX-512 F.
    Avx512,
    /// AVX2 and FMA.
    Avx2,
    /// NEON of 64-bit ARM.
    Neon,
    /// What the compiler's target guarantees.
    Portable,
}

impl Isa {
    /// Returns those of this processor, the best one first.
    pub fn available() -> &'static [Self] {
        #[cfg(target_arch = "x86_64")]
        {
            use std::is_x86_feature_detected as has;
            if has!("avx2") && has!("fma") {
                const ALL: [Isa; 3] = [Isa::Avx512, Isa::Avx2, Isa::Portable];
                return if has!("avx512f") { &ALL } else { &ALL[1..] };
            }
        }
        #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
        return &[Self::Neon, Self::Portable];
        #[allow(unreachable_code)]
        &[Self::Portable]
    }

    /// Returns the best one of this processor.
    pub fn detect() -> Self {
        Self::available()[0]
    }

    /// Returns its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "AVX-512",
            Self::Avx2 => "AVX2",
            Self::Neon => "NEON",
            Self::Portable => "portable vectors",
        }
    }
}

/// The largest number of lanes of a vector.
pub(super) const MOST_LANES: usize = 16;

/// One vector type. Loads and stores need no alignment.
///
/// # Safety
/// Every method requires a processor with the type's features; loads and stores require `LANES` valid elements.
pub trait Simd: Copy + 'static {
    /// Element.
    type T: Real;
    /// Register.
    type V: Copy;
    /// Elements in a register.
    const LANES: usize;
    /// Number of rows of a product's register tile.
    const TILE_ROWS: usize;
    unsafe fn splat(x: Self::T) -> Self::V;
    unsafe fn load(p: *const Self::T) -> Self::V;
    unsafe fn store(p: *mut Self::T, v: Self::V);
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sqrt(a: Self::V) -> Self::V;
    /// The larger of a and b, or b where either is NaN.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// The smaller of a and b, or b where either is NaN.
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    /// a * b + c.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    unsafe fn exp(a: Self::V) -> Self::V;
    /// See [`Real::ln_lane`], which compilers make vectors of.
    #[inline(always)]
    unsafe fn ln(a: Self::V) -> Self::V {
        // SAFETY: the caller's.
        unsafe { Self::map(a, Self::T::ln_lane) }
    }
    /// `then` in lanes where low < a < high, 0 in others.
    unsafe fn within(a: Self::V, low: Self::V, high: Self::V, then: Self::V) -> Self::V;
    /// Sum of the lanes, in a fixed order.
    unsafe fn sum(a: Self::V) -> Self::T;
    /// Applies a function to each lane, where there is no vector form.
    #[inline(always)]
    unsafe fn map(a: Self::V, f: impl Fn(Self::T) -> Self::T) -> Self::V {
        let mut lanes = [<Self::T as num_traits::Zero>::zero(); MOST_LANES];
        // SAFETY: there is room for the lanes of any vector.
        unsafe {
            Self::store(lanes.as_mut_ptr(), a);
            lanes[..Self::LANES].iter_mut().for_each(|lane| *lane = f(*lane));
            Self::load(lanes.as_ptr())
        }
    }
}

/// Arrays of eight, for every target and both precisions.
#[derive(Clone, Copy)]
pub struct Portable<T>(std::marker::PhantomData<T>);

macro_rules! lanes {
    (|$i:ident| $e:expr) => {{ std::array::from_fn(|$i| $e) }};
}

impl<T: Real> Simd for Portable<T> {
    type T = T;
    type V = [T; 8];
    const LANES: usize = 8;
    const TILE_ROWS: usize = 4;
    #[inline(always)]
    unsafe fn splat(x: T) -> [T; 8] {
        [x; 8]
    }
    #[inline(always)]
    unsafe fn load(p: *const T) -> [T; 8] {
        // SAFETY: eight valid elements, by contract.
        unsafe { p.cast::<[T; 8]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(p: *mut T, v: [T; 8]) {
        // SAFETY: as above.
        unsafe { p.cast::<[T; 8]>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn add(a: [T; 8], b: [T; 8]) -> [T; 8] {
        lanes!(|i| a[i] + b[i])
    }
    #[inline(always)]
    unsafe fn sub(a: [T; 8], b: [T; 8]) -> [T; 8] {
        lanes!(|i| a[i] - b[i])
    }
    #[inline(always)]
    unsafe fn mul(a: [T; 8], b: [T; 8]) -> [T; 8] {
        lanes!(|i| a[i] * b[i])
    }
    #[inline(always)]
    unsafe fn div(a: [T; 8], b: [T; 8]) -> [T; 8] {
        lanes!(|i| a[i] / b[i])
    }
    #[inline(always)]
    unsafe fn sqrt(a: [T; 8]) -> [T; 8] {
        lanes!(|i| a[i].sqrt())
    }
    #[inline(always)]
    unsafe fn max(a: [T; 8], b: [T; 8]) -> [T; 8] {
        lanes!(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn min(a: [T; 8], b: [T; 8]) -> [T; 8] {
        lanes!(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn fma(a: [T; 8], b: [T; 8], c: [T; 8]) -> [T; 8] {
        if cfg!(any(target_arch = "aarch64", target_feature = "fma")) {
            lanes!(|i| a[i].mul_add(b[i], c[i]))
        } else {
            // Two roundings: without hardware for one, a true fused operation would be a library call.
            lanes!(|i| a[i] * b[i] + c[i])
        }
    }
    #[inline(always)]
    unsafe fn exp(a: [T; 8]) -> [T; 8] {
        lanes!(|i| a[i].exp_lane())
    }
    #[inline(always)]
    unsafe fn within(a: [T; 8], low: [T; 8], high: [T; 8], then: [T; 8]) -> [T; 8] {
        lanes!(|i| if low[i] < a[i] && a[i] < high[i] { then[i] } else { T::zero() })
    }
    #[inline(always)]
    unsafe fn sum(a: [T; 8]) -> T {
        ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]))
    }
}

impl Real for f64 {
    fn lanes(_: Isa) -> usize {
        Portable::<f64>::LANES
    }
    unsafe fn dispatch<K: Kernel<Self>>(_: Isa, kernel: K) -> K::Output {
        // SAFETY: arrays need no feature; the pointers are the kernel's contract.
        unsafe { kernel.run::<Portable<f64>>() }
    }
    #[inline(always)]
    fn exp_lane(self) -> Self {
        self.exp()
    }
    #[inline(always)]
    fn ln_lane(self) -> Self {
        self.ln()
    }
}

impl Real for f32 {
    fn lanes(isa: Isa) -> usize {
        match isa {
            Isa::Avx512 => 16,
            Isa::Avx2 | Isa::Neon | Isa::Portable => 8,
        }
    }
    unsafe fn dispatch<K: Kernel<Self>>(isa: Isa, kernel: K) -> K::Output {
        // SAFETY: an `Isa` other than Portable is made by detection alone; the pointers are the kernel's contract.
        unsafe {
            match isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => super::simd_x86::run_avx512(kernel),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => super::simd_x86::run_avx2(kernel),
                #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
                Isa::Neon => kernel.run::<super::simd_neon::Neon>(),
                _ => kernel.run::<Portable<f32>>(),
            }
        }
    }
    #[inline(always)]
    fn exp_lane(self) -> Self {
        // Adding 1.5 * 2^23 rounds to the nearest integer without a library call.
        const ROUND: f32 = 12_582_912.0;
        let x = self.clamp(EXP_MIN, EXP_MAX);
        let n = (x * std::f32::consts::LOG2_E + ROUND) - ROUND;
        let r = (x - n * LN2_HIGH) - n * LN2_LOW;
        let mut p = EXP_SERIES[0];
        for c in &EXP_SERIES[1..] {
            p = p * r + c;
        }
        p * f32::from_bits(((n as i32 + 127) << 23) as u32)
    }
    #[inline(always)]
    fn ln_lane(self) -> Self {
        // x = 2^n (1 + f) with 1 + f from the root of 1/2 to that of 2, and ln(1 + f) = 2 artanh(f / (2 + f)).
        let bits = self.to_bits() as i32;
        let n = bits.wrapping_sub(std::f32::consts::FRAC_1_SQRT_2.to_bits() as i32) >> 23;
        let f = f32::from_bits(bits.wrapping_sub(n << 23) as u32) - 1.0;
        let s = f / (2.0 + f);
        let square = s * s;
        let mut p = LN_SERIES[0];
        for c in &LN_SERIES[1..] {
            p = p * square + c;
        }
        let n = n as f32;
        n * LN2_HIGH + (n * LN2_LOW + (s * square * p + 2.0 * s)) + self * 0.0
    }
}

/// Below, e^x underflows into subnormals; above, it overflows.
pub(super) const EXP_MIN: f32 = -87.0;
pub(super) const EXP_MAX: f32 = 88.0;
/// ln 2 in two parts; n * LN2_HIGH is exact for the n that occur.
pub(super) const LN2_HIGH: f32 = 355.0 / 512.0;
pub(super) const LN2_LOW: f32 = -2.121_944_4e-4;
/// Taylor series of e^r for |r| <= ln(2)/2, highest power first: its truncation is 1e-8 relative.
pub(super) const EXP_SERIES: [f32; 8] = [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];
/// (2 artanh(s) - 2 s) / s^3 by powers of s^2, highest first: |s| <= 0.172, and the truncation is 2e-9 of
/// the logarithm.
const LN_SERIES: [f32; 4] = [2.0 / 9.0, 2.0 / 7.0, 2.0 / 5.0, 2.0 / 3.0];

#[cfg(test)]
mod tests {
    use super::*;

    /// The operations that choose between values, at values on both sides of the others, on them, and NaN.
    struct Choices;

    impl Kernel<f32> for Choices {
        type Output = Vec<[f32; 3]>;
        #[inline(always)]
        unsafe fn run<S: Simd<T = f32>>(self) -> Vec<[f32; 3]> {
            let mut lanes = [[0f32; 16]; 3];
            // SAFETY: the trait's contract, and no vector has more lanes.
            let choose = |x: f32| unsafe {
                let (low, x, high) = (S::splat(-1.0), S::splat(x), S::splat(2.0));
                S::store(lanes[0].as_mut_ptr(), S::max(low, x));
                S::store(lanes[1].as_mut_ptr(), S::min(high, x));
                S::store(lanes[2].as_mut_ptr(), S::within(x, low, high, S::splat(7.0)));
                assert!(lanes.iter().all(|lanes| lanes[..S::LANES].iter().all(|x| x.to_bits() == lanes[0].to_bits())));
                lanes.map(|lanes| lanes[0])
            };
            [-3.0, -1.0, 0.5, 2.0, 5.0, f32::NAN].map(choose).to_vec()
        }
    }

    #[test]
    fn logarithms_are_accurate_to_two_units() {
        let numbers =
            (0..2_000_000).map(|i| f32::from_bits(f32::MIN_POSITIVE.to_bits() + 1061 * i)).filter(|x| x.is_finite());
        for x in numbers.chain([1.0, 1.0 - f32::EPSILON, 1.0 + f32::EPSILON, 2.0, 0.5, f32::MAX]) {
            let (found, expected) = (x.ln_lane(), f64::from(x).ln());
            let unit = f64::from(f32::EPSILON) * expected.abs();
            assert!((f64::from(found) - expected).abs() <= 2.0 * unit, "ln {x:e}: {found:e} is not {expected:e}");
        }
        assert!(f32::NAN.ln_lane().is_nan() && f32::INFINITY.ln_lane().is_nan());
    }

    #[test]
    fn a_nan_comes_through_and_bounds_are_outside() {
        for &isa in Isa::available() {
            // SAFETY: the processor has the set.
            let found = unsafe { f32::dispatch(isa, Choices) };
            let expected = [[-1.0, -3.0, 0.0], [-1.0, -1.0, 0.0], [0.5, 0.5, 7.0], [2.0, 2.0, 0.0], [5.0, 2.0, 0.0]];
            assert_eq!(found[..5], expected, "{isa:?}");
            assert!(found[5][0].is_nan() && found[5][1].is_nan() && found[5][2] == 0.0, "{isa:?}: {:?}", found[5]);
        }
    }
}
