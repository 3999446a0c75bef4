//! How the generator's raw outputs become Gaussians, and how their mixture's density is estimated.

/// The rule by which the generator's raw outputs become the mean and the standard deviation of a Gaussian.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// Noise of the problem, in normalised units.
    pub sigma: f64,
    /// Whether there is no standard deviation, so that the generator is a function of (x0, z).
    pub deterministic: bool,
}

impl Head {
    /// Returns the number of raw outputs of a component in d dimensions.
    pub fn raw(&self, d: usize) -> usize {
        Self::numbers(d, self.deterministic)
    }

    /// Returns [`Self::raw`] where sigma is not known yet.
    pub fn numbers(d: usize, deterministic: bool) -> usize {
        if deterministic { d } else { 2 * d }
    }

    /// Returns log(0.5 sigma), the logarithm of the standard deviation that an untrained network gives.
    pub fn log_std_offset(&self) -> f64 {
        (0.5 * self.sigma).ln()
    }

    /// Returns the range of log s. Both ends leave room around an untrained network's value for every sigma.
    pub fn log_std_range(&self) -> (f64, f64) {
        ((self.log_std_offset() - 4.0).min(-6.0), (self.log_std_offset() + 1.0).max(3.0))
    }
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
