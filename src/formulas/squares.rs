//! The squares that networks see beside their inputs:
//!
//! s(t, x) = q(x) - c(t),  q(x) = sqrt(2) x^2 / (1 + r),  dq/dx = sqrt(2) x / r,  r = sqrt(1 + x^2 / 9),
//!
//! near 0 about (x^2 - E x^2) / sqrt(2), of spread 1 where x has it. Far out s goes on like |x|, so that a sample there
//! is no outlier among squares. c(t) takes the mean away, which otherwise moves all d of them together. For the
//! value function it goes evenly from the source's to the target's in t, as the mean of x^2 does where noise alone
//! carries one to the other and all axes have one time; x^2 - sigma^2 t then solves the equation of V to first order (a heat polynomial).
//!
//! Potentials and drifts of Gaussians and of mixtures are made of squares. A layer's units have to approximate each of
//! them, along one direction each. Without squares, d numbers with different spreads need most of a training for that.

use super::scalar::Scalar;
use crate::error::Result;
use crate::memory;
use crate::numbers::Numbers;
use std::f64::consts::SQRT_2;

/// Where squares bend, in the units that networks see.
pub const REACH: f64 = 3.0;

/// Returns r.
#[inline(always)]
fn bend<T: Scalar>(x: T) -> T {
    let part = x * T::of(1.0 / REACH);
    (T::one() + part * part).sqrt()
}

/// Returns q.
#[inline(always)]
pub fn square<T: Scalar>(x: T) -> T {
    T::of(SQRT_2) * (x * (x / (T::one() + bend(x))))
}

/// Returns dq/dx.
#[inline(always)]
pub fn slope<T: Scalar>(x: T) -> T {
    T::of(SQRT_2) * (x / bend(x))
}

/// The centre c(t) = start + t change of each number that is squared. An empty one means that there are no squares.
#[derive(Clone, Debug, Default)]
pub struct Centre {
    /// Centre at t = 0.
    pub start: Numbers,
    /// Change from t = 0 to t = 1; 0 where the inputs have no time.
    pub change: Numbers,
}

impl Centre {
    /// Returns the centre for numbers x whose mean squares are `start` at t = 0 and `end` at t = 1. It takes q at the
    /// roots of these, which is a little above the mean of q.
    pub fn between(start: &[f64], end: &[f64]) -> Result<Self> {
        let at = |mean_square: &f64| square(mean_square.sqrt());
        Ok(Self {
            start: Numbers::collect(start.iter().map(at))?,
            change: Numbers::collect(start.iter().zip(end).map(|(a, b)| at(b) - at(a)))?,
        })
    }

    /// Returns how many numbers are squared.
    pub fn count(&self) -> usize {
        self.start.len()
    }

    /// Returns the numbers of start and then those of change, the order in which kernels take them.
    pub fn numbers<T: Scalar>(&self) -> Result<Vec<T>> {
        let mut numbers = memory::with_room("the squares' centre", 2 * self.count())?;
        numbers.extend(self.start.iter().chain(self.change.iter()).map(|&x| T::of(x)));
        Ok(numbers)
    }
}
