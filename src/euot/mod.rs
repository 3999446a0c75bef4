//! The method: simulation-free entropic unbalanced optimal transport (Choi and Choi, arXiv 2410.02656), in the form
//! of a dual step for the value function and a marginal-matching step for the generator.

pub mod conditional;
pub mod divergence;
pub(crate) mod gaussian_bridge;
pub mod generator_step;
pub mod networks;
pub mod value_step;

use crate::device::{Bridge, Mat};

/// One block of rows of a batch, normalised. Rows of the same source sample follow each other.
#[derive(Clone, Copy, Debug)]
pub struct Batch<N> {
    /// \[x0, z\]: source samples, each repeated for its rows, and latents where there are any.
    pub input: Mat,
    /// For the value step: room for \[x1, 1\] (rows x (d + 1)), and after it target samples as \[y, 1\] (as many).
    pub ends: Option<Mat>,
    /// Endpoint and bridge noise.
    pub noise: N,
    /// Bridge times (rows x 1).
    pub time: Mat,
}

impl<N: Copy> Batch<N> {
    /// The bridges from these source samples, of `dimension` components, to what the generator gave for them.
    fn bridge(&self, dimension: usize, raw: Mat) -> Bridge<N> {
        Bridge { x0: self.input.columns(0, dimension), raw, noise: self.noise, time: self.time }
    }
}

#[cfg(test)]
mod case;
#[cfg(test)]
mod checks;
#[cfg(test)]
mod fixtures;
