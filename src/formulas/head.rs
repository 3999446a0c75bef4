//! How the generator's raw outputs become Gaussians, and how their mixture's density is estimated.

/// Gaussian head of the generator: how raw outputs become a mean and a standard deviation.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// Noise of the problem, normalised.
    pub sigma: f64,
    /// No standard deviation: the generator is a function of (x0, z).
    pub deterministic: bool,
}

impl Head {
    /// Raw outputs of a component in d dimensions.
    pub fn raw(&self, d: usize) -> usize {
        Self::numbers(d, self.deterministic)
    }

    /// [`Self::raw`] of a head that has no sigma yet.
    pub fn numbers(d: usize, deterministic: bool) -> usize {
        if deterministic { d } else { 2 * d }
    }

    /// log(0.5 sigma): the standard deviation an untrained network gives.
    pub fn log_std_offset(&self) -> f64 {
        (0.5 * self.sigma).ln()
    }

    /// Range of log s. Both ends leave room around an untrained network's value however small or large sigma is.
    pub fn log_std_range(&self) -> (f64, f64) {
        ((self.log_std_offset() - 4.0).min(-6.0), (self.log_std_offset() + 1.0).max(3.0))
    }
}

/// Components of a group's first half; 0 where the group is not split: a single component has no halves, a
/// deterministic generator needs the gradient of the loss as it stands, and of weighted components none is missing.
pub fn half_of(head: &Head, weighted: bool, components: usize) -> usize {
    if head.deterministic || weighted { 0 } else { components / 2 }
}

/// Factors of the two estimates of log p by all `components` and by the `part` of the sample's own half, the first
/// less the second: the bias of each is as one over its number, so that of the difference cancels.
pub fn extrapolation(components: usize, part: usize) -> (f64, f64) {
    if part == components {
        return (1.0, 0.0);
    }
    let rest = (components - part) as f64;
    (components as f64 / rest, part as f64 / rest)
}
