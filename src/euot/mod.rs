//! The method: simulation-free entropic unbalanced optimal transport (Choi and Choi, arXiv 2410.02656), in the form
//! of a dual step for the value function and a marginal-matching step for the generator.

pub mod divergence;
pub mod generator_step;
pub mod networks;
pub mod value_step;

use crate::device::{Device, Mat};
use crate::nn::mlp::Mlp;

/// One block of rows of a batch, normalised. Rows of the same source sample follow each other.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// Source samples, each repeated for its latents (rows x d).
    pub x0: Mat,
    /// Target samples (rows x d); the generator step does not read it.
    pub y: Mat,
    /// Latents (rows x latent dimension).
    pub z: Mat,
    /// Endpoint noise xi (rows x d).
    pub xi: Mat,
    /// Bridge noise eta (rows x d).
    pub eta: Mat,
    /// Bridge times (rows x 1).
    pub time: Mat,
}

/// \[x0, z\].
pub(crate) fn generator_input<D: Device>(device: &mut D, batch: &Batch) -> Mat {
    let (d, latent) = (batch.x0.cols, batch.z.cols);
    let input = device.scratch(batch.x0.rows, d + latent);
    device.copy(batch.x0, input.columns(0, d));
    device.copy(batch.z, input.columns(d, d + latent));
    input
}

/// The generator's raw outputs for a batch, nothing kept.
pub(crate) fn generator_raw<D: Device>(mlp: &Mlp, device: &mut D, net: &D::Net, batch: &Batch) -> Mat {
    let input = generator_input(device, batch);
    mlp.forward(device, net, input)
}

#[cfg(test)]
mod checks;
#[cfg(test)]
mod fixtures;
