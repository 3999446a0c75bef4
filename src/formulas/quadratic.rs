//! The known part of the value function at t = 1.

/// A quadratic function of a sample: level + sum over j of x_j (curvature / 2 x_j + slope_j). `S` is how a device keeps
/// the slope, d numbers.
#[derive(Clone, Debug)]
pub struct Quadratic<S> {
    /// Of every component alike.
    pub curvature: f64,
    /// At 0.
    pub slope: S,
    /// At 0.
    pub level: f64,
}
