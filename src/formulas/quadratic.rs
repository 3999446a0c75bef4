//! The known part of the value function at t = 1.

/// A quadratic function of a sample: level + sum over j of x_j (curvature / 2 x_j + slope_j). `S` is the form in which
/// a device keeps the d numbers of the slope.
#[derive(Clone, Debug)]
pub struct Quadratic<S> {
    /// Second derivative along every component.
    pub curvature: f64,
    /// The value for x = 0.
    pub slope: S,
    /// The value for x = 0.
    pub level: f64,
}
