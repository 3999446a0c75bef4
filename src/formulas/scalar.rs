//! Numbers that a formula is written over: f32 in production, f64 in gradient checks.

use num_traits::Float;

/// A real number of the formulas.
pub trait Scalar: Float + std::fmt::Debug + Default + Send + Sync + std::iter::Sum + 'static {
    /// Rounds from double precision.
    fn of(x: f64) -> Self;
    /// Widens to double precision.
    fn wide(self) -> f64;
}

impl Scalar for f64 {
    fn of(x: f64) -> Self {
        x
    }
    fn wide(self) -> f64 {
        self
    }
}

impl Scalar for f32 {
    #[inline(always)]
    fn of(x: f64) -> Self {
        x as f32
    }
    #[inline(always)]
    fn wide(self) -> f64 {
        f64::from(self)
    }
}
