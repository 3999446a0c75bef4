//! The normalised problem and the networks of a training, fixed from its start.

use super::config::{SigmaUnits, TrainerConfig};
use crate::data::Normalisation;
use crate::device::Head;
use crate::error::{Error, Result};
use crate::euot::divergence::Conjugate;
use crate::euot::networks::{MAX_DIMENSION, networks};
use crate::nn::adam::Adam;
use crate::nn::mlp::Mlp;

/// The normalised problem and the networks, fixed for a training.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub dimension: usize,
    pub latent: usize,
    /// Source samples in a batch.
    pub sources: usize,
    /// K.
    pub latents: usize,
    pub head: Head,
    pub conjugate: Conjugate,
    pub value: Mlp,
    pub generator: Mlp,
    pub adam: Adam,
    /// Largest gradient norm; 0 for none.
    pub clip: f64,
    pub seed: u64,
}

/// The plan that a configuration and the data's scale give.
///
/// # Errors
/// Samples with too many components.
pub(super) fn plan(config: &TrainerConfig, dimension: usize, normalisation: &Normalisation) -> Result<Plan> {
    if dimension > MAX_DIMENSION {
        return Err(Error::invalid(format!(
            "source.samples has samples of {dimension} components, but at most {MAX_DIMENSION} are allowed"
        )));
    }
    let (length, cost) = match config.sigma_units {
        SigmaUnits::Data => (normalisation.scale, normalisation.scale.powi(2)),
        SigmaUnits::Relative => (1.0, 1.0),
    };
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
        head: Head { sigma: config.sigma / length, deterministic: config.deterministic },
        conjugate: Conjugate { divergence: config.divergence, tau: config.tau / cost },
        value,
        generator,
        adam: Adam { beta1: config.adam_beta1 as f32, beta2: config.adam_beta2 as f32, epsilon: 1e-8 },
        clip: config.gradient_clip,
        seed: config.seed,
    })
}
