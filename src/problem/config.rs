//! The description of a problem without networks.

use crate::error::{Error, Result};
use crate::euot::conditional::Conditional;
use crate::euot::objective::Objective;
use crate::formulas::{Conjugate, Divergence, Head};
use crate::numbers::MAX_DIMENSION;
use std::ops::RangeInclusive;

/// The ranges of the scale, of sigma as a multiple of it, and of tau as a multiple of its square.
const SCALE_RANGE: RangeInclusive<f64> = 1e-15..=1e15;
const SIGMA_RANGE: RangeInclusive<f64> = 1e-6..=1e3;
const TAU_RANGE: RangeInclusive<f64> = 1e-90..=1e90;
/// The largest number of components of a source sample.
const MOST_COMPONENTS: usize = 4096;
/// The largest count of numbers that a source sample has in all its components.
const MOST_NUMBERS: u64 = 1 << 24;

/// How to make a [`Problem`](super::Problem).
#[derive(Clone, Debug)]
pub(crate) struct ProblemConfig {
    /// How the generated distribution may differ from the target.
    pub divergence: Divergence,
    /// Noise of the coupling, as a multiple of `scale`.
    pub sigma: f64,
    /// Price of unmatched mass, as a multiple of the square of `scale`.
    pub tau: f64,
    /// A length in data units about which samples differ. It bounds the deviations of components.
    pub scale: f64,
    /// Numbers of a sample.
    pub dimension: usize,
    /// Rows of a source sample.
    pub components: usize,
    /// Whether these are the components of latents, equally likely, rather than of a mixture with logits.
    pub latents: bool,
    /// Whether components are points, without deviations.
    pub deterministic: bool,
}

impl ProblemConfig {
    /// Checks the numbers.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`], a sentence that begins with the field.
    pub(super) fn objective(&self) -> Result<Objective> {
        let Self { divergence, sigma, tau, scale, dimension, components, latents, deterministic } = *self;
        let refuse = |name: &str, value: f64, range: &RangeInclusive<f64>, unit: &str| {
            let (low, high) = (range.start(), range.end());
            Err(Error::invalid(format!("{name} is {value:e}{unit}, but must be from {low:e} to {high:e}")))
        };
        if !(1..=MAX_DIMENSION).contains(&dimension) {
            return Err(Error::invalid(format!("dimension is {dimension}, but must be from 1 to {MAX_DIMENSION}")));
        }
        if !SCALE_RANGE.contains(&scale) {
            return refuse("scale", scale, &SCALE_RANGE, "");
        }
        if !SIGMA_RANGE.contains(&sigma) {
            return refuse("sigma", sigma, &SIGMA_RANGE, " times scale");
        }
        if !TAU_RANGE.contains(&tau) {
            return refuse("tau", tau, &TAU_RANGE, " times the square of scale");
        }
        if !(1..=MOST_COMPONENTS).contains(&components) {
            return Err(Error::invalid(format!("components is {components}, but must be from 1 to {MOST_COMPONENTS}")));
        }
        if deterministic && !latents {
            return Err(Error::invalid(
                "latents is 0, but must be 1 where deterministic is 1: components that are points have no randomness but their latents",
            ));
        }
        let head = Head { deterministic };
        // Before the sizes are multiplied in words of the system.
        let outputs = components as u64 * (head.raw(dimension) as u64 + u64::from(!latents));
        if outputs > MOST_NUMBERS {
            return Err(Error::invalid(format!(
                "components is {components}, with which a source sample of {dimension} numbers has {outputs} outputs of the generator, but it may have {MOST_NUMBERS}"
            )));
        }
        Ok(Objective {
            dimension,
            conditional: Conditional { components, latent: latents.into() },
            head,
            conjugate: Conjugate { divergence, tau },
            scale,
        })
    }
}

/// 32-bit floats without gaps in the memory of a GPU.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeviceNumbers {
    /// Device address of the first one.
    pub address: u64,
}
