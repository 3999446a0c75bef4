//! Activations with their first and second derivatives, on vectors.

use super::simd::Simd;
use crate::formulas::{Activation, Scalar};
use num_traits::{Float, One, Zero};

/// Returns f(a), f'(a), f''(a). The compiler leaves out those that a caller does not use.
#[inline(always)]
pub(super) unsafe fn activate<S: Simd>(kind: Activation, a: S::V) -> [S::V; 3] {
    unsafe {
        let one = S::splat(S::T::one());
        let two = S::splat(S::T::of(2.0));
        let zero = S::splat(S::T::zero());
        match kind {
            // f = a s, f' = s + f (1 - s), f'' = s (1 - s) (2 + a (1 - 2 s)), with s the logistic function.
            Activation::Silu => {
                let s = logistic::<S>(a);
                let rest = S::sub(one, s);
                let f = S::mul(a, s);
                let slope = S::fma(f, rest, s);
                let curve = S::mul(S::mul(s, rest), S::fma(a, S::sub(rest, s), two));
                [f, slope, curve]
            }
            // f' = 1 - f^2, f'' = -2 f f'.
            Activation::Tanh => {
                let f = S::sub(S::mul(two, logistic::<S>(S::add(a, a))), one);
                let slope = S::sub(one, S::mul(f, f));
                [f, slope, S::mul(S::mul(S::sub(zero, two), f), slope)]
            }
            // f = log(1 + e^a) = max(a, 0) + log(1 + e^-|a|), f' = s, f'' = s (1 - s).
            Activation::Softplus => {
                let magnitude = S::max(a, S::sub(zero, a));
                let tail = S::map(S::exp(S::sub(zero, magnitude)), |x| x.ln_1p());
                let s = logistic::<S>(a);
                [S::add(S::max(zero, a), tail), s, S::mul(s, S::sub(one, s))]
            }
        }
    }
}

#[inline(always)]
unsafe fn logistic<S: Simd>(a: S::V) -> S::V {
    unsafe {
        let one = S::splat(S::T::one());
        S::div(one, S::add(one, S::exp(S::sub(S::splat(S::T::zero()), a))))
    }
}
