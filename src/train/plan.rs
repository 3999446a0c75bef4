//! The normalised problem and the networks of a training, fixed from its start.

use super::config::{SigmaUnits, TrainerConfig};
use crate::data::{Normalisation, Spread};
use crate::device::Head;
use crate::error::{Error, Result};
use crate::euot::divergence::Conjugate;
use crate::euot::gaussian_bridge::GaussianBridge;
use crate::euot::networks::{MAX_DIMENSION, networks};
use crate::nn::adam::Adam;
use crate::nn::mlp::Mlp;

/// The problem that the networks see, and the networks, fixed for a training.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub dimension: usize,
    pub latent: usize,
    /// Source samples in a batch.
    pub sources: usize,
    /// K.
    pub latents: usize,
    /// What is known of the answer before training.
    pub bridge: GaussianBridge,
    /// With the noise of the problem that the networks see; so is the conjugate's tau.
    pub head: Head,
    pub conjugate: Conjugate,
    pub value: Mlp,
    pub generator: Mlp,
    pub adam: Adam,
    /// Rates, decays, clipping and seed.
    pub config: TrainerConfig,
}

/// sigma in normalised units: its square and the square's inverse stay far inside the 32-bit range.
const SIGMA_RANGE: std::ops::RangeInclusive<f64> = 1e-6..=1e3;

/// sigma and the conjugate of the normalised problem.
///
/// # Errors
/// sigma or tau out of range once the data's scale is known.
pub(super) fn problem(config: &TrainerConfig, normalisation: &Normalisation) -> Result<(f64, Conjugate)> {
    let (length, cost) = match config.sigma_units {
        SigmaUnits::Data => (normalisation.scale, normalisation.scale.powi(2)),
        SigmaUnits::Relative => (1.0, 1.0),
    };
    let sigma = config.sigma / length;
    if !SIGMA_RANGE.contains(&sigma) {
        return Err(Error::invalid(format!(
            "sigma is {} times the data's common scale {:e}, but must be from {:e} to {:e} times it",
            sigma,
            normalisation.scale,
            SIGMA_RANGE.start(),
            SIGMA_RANGE.end()
        )));
    }
    let tau = config.tau / cost;
    if !(tau.is_finite() && tau > 0.0) {
        return Err(Error::invalid(format!(
            "tau is {tau} times the square of the data's common scale {:e}, but must be a finite number above 0 there too",
            normalisation.scale
        )));
    }
    Ok((sigma, Conjugate { divergence: config.divergence, tau }))
}

/// The bridge between Gaussians with the samples' moments.
///
/// # Errors
/// As [`problem`].
pub(super) fn bridge(
    config: &TrainerConfig,
    normalisation: &Normalisation,
    [source, target]: &[Spread; 2],
) -> Result<GaussianBridge> {
    let (sigma, conjugate) = problem(config, normalisation)?;
    Ok(GaussianBridge::between(source, target, sigma, &conjugate))
}

/// The plan that a configuration, the data's scale and what is known of the answer give.
///
/// # Errors
/// As [`problem`]; samples with too many components.
pub(super) fn plan(config: &TrainerConfig, normalisation: &Normalisation, bridge: &GaussianBridge) -> Result<Plan> {
    let (sigma, conjugate) = problem(config, normalisation)?;
    let dimension = normalisation.dimension();
    if dimension > MAX_DIMENSION {
        return Err(Error::invalid(format!(
            "source.samples has samples of {dimension} components, but at most {MAX_DIMENSION} are allowed"
        )));
    }
    let (value, generator) = networks(
        dimension,
        config.latent_dimension,
        config.hidden_width,
        config.hidden_layers,
        config.deterministic,
        config.activation,
    );
    Ok(Plan {
        dimension,
        latent: config.latent_dimension,
        sources: config.batch_sources,
        latents: config.latents_per_source,
        head: Head { sigma: bridge.sigma(sigma), deterministic: config.deterministic },
        conjugate: bridge.conjugate(&conjugate),
        bridge: bridge.clone(),
        value,
        generator,
        adam: Adam { beta1: config.adam_beta1 as f32, beta2: config.adam_beta2 as f32, epsilon: 1e-8 },
        config: config.clone(),
    })
}
