//! How the generator's raw outputs become Gaussians, and how their mixture's density is estimated.

#[cfg(test)]
use super::scalar::Scalar;

/// The rule by which the generator's raw outputs become the mean and the standard deviation of a Gaussian: along axis j
/// these are x0_j + raw_j and s_j, with log s_j = raw_(d + j) + log(sigma_j / 2) held in a range
/// ([`LOG_STD_RANGE`]).
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// Whether there is no standard deviation, so that the generator is a function of (x0, z).
    pub deterministic: bool,
}

impl Head {
    /// Returns the number of raw outputs of a component in d dimensions.
    pub fn raw(&self, d: usize) -> usize {
        if self.deterministic { d } else { 2 * d }
    }
}

/// The range of log s, unless an output of 0 is so near to an end that it needs more room: so much below and above it.
pub const LOG_STD_RANGE: [f64; 2] = [-6.0, 3.0];
pub const LOG_STD_ROOM: [f64; 2] = [4.0, 1.0];

/// Returns the range of log s along an axis whose output 0 means this log s.
#[cfg(test)]
pub fn log_std_range<T: Scalar>(offset: T) -> (T, T) {
    let ([low, high], [below, above]) = (LOG_STD_RANGE, LOG_STD_ROOM);
    ((offset - T::of(below)).min(T::of(low)), (offset + T::of(above)).max(T::of(high)))
}

/// Returns how many components the first half of a group has, or 0 where the group is not split: a single component has
/// no halves, a deterministic generator needs the gradient of the loss as it stands, and a mixture of weighted
/// components is exact.
pub fn half_of(head: &Head, weighted: bool, components: usize) -> usize {
    if head.deterministic || weighted { 0 } else { components / 2 }
}

/// Returns the factors a and b for which a log p_K - b log p_n is an estimate without bias to first order. log p_K is
/// the estimate by all K = `components`, and log p_n the one by the n = `part` components of the sample's own half. The
/// bias of an estimate is proportional to one over its number of components, so the two cancel.
pub fn extrapolation(components: usize, part: usize) -> (f64, f64) {
    if part == components {
        return (1.0, 0.0);
    }
    let rest = (components - part) as f64;
    (components as f64 / rest, part as f64 / rest)
}
