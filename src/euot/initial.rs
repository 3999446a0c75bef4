//! Both networks at the start of a training: the plan between Gaussians, nearly. V' is little. The generator's components
//! lie apart by less than the noise, the same for every source sample, and together they have the noise's variance.
//!
//! They must not begin alike: from components that are all the noise itself, a training finds no way apart where the
//! noise is wider than what the target's clusters lie apart.

use super::conditional::Conditional;
use crate::error::Result;
use crate::formulas::axes::Part;
use crate::formulas::{Axes, Head};
use crate::memory;
use crate::rng::{Sequence, Stream};

/// Factor of the initial weights of the value function's output, and its bias.
pub(crate) const VALUE: (f32, f32) = (0.1, 0.0);
/// The part of the noise's variance that lies between components.
const BETWEEN: f32 = 0.1;
/// Factors of the initial weights of a generator's outputs: means, in units of the noise along their axis, log-standard
/// deviations and logits.
const MEAN: f32 = 0.1;
const LOG_STD: f32 = 0.1;
const LOGIT: f32 = 0.5;
/// The factor of all weights of a generator with latents, whose components differ by these alone.
const LATENT: f32 = 0.5;

/// The generator's output layer.
pub(crate) struct Outputs<'a> {
    head: Head,
    conditional: Conditional,
    sigma: &'a [f32],
    dimension: usize,
    /// Means of the components, in units of the noise: K x d.
    means: Vec<f32>,
}

impl<'a> Outputs<'a> {
    /// Draws where the components begin.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub fn new(
        conditional: Conditional,
        head: Head,
        dimension: usize,
        axes: &'a Axes<Vec<f32>>,
        seed: u64,
    ) -> Result<Self> {
        let components = if conditional.has_own_components() { conditional.components } else { 0 };
        let mut means = memory::filled("the generator's weights", components * dimension, 0f32)?;
        Sequence::new(seed, 2 << 8, Stream::Init).normals(0, &mut means);
        for j in 0..dimension {
            let of = |means: &[f32], f: fn(f32) -> f32| -> f32 {
                means.iter().skip(j).step_by(dimension).map(|&x| f(x)).sum::<f32>() / components as f32
            };
            let centre = of(&means, |x| x);
            means.iter_mut().skip(j).step_by(dimension).for_each(|x| *x -= centre);
            let square = of(&means, |x| x * x);
            // One component alone has nothing between.
            let factor = if square > 1e-6 { (BETWEEN / square).sqrt() } else { 0.0 };
            means.iter_mut().skip(j).step_by(dimension).for_each(|x| *x *= factor);
        }
        Ok(Self { head, conditional, sigma: axes.part(Part::Sigma), dimension, means })
    }

    /// Returns the factor of the initial weights of an output, and its bias.
    pub fn of(&self, output: usize) -> (f32, f32) {
        if !self.conditional.has_own_components() {
            return (LATENT, 0.0);
        }
        let raw = self.head.raw(self.dimension);
        let (component, number) = (output / raw, output % raw);
        if output >= self.conditional.components * raw {
            return (LOGIT, 0.0);
        }
        if number < self.dimension {
            let sigma = self.sigma[number];
            return (MEAN * sigma, sigma * self.means[component * self.dimension + number]);
        }
        let between = if self.conditional.components > 1 { BETWEEN } else { 0.0 };
        // An output of 0 is half of the noise.
        (LOG_STD, std::f32::consts::LN_2 + 0.5 * (1.0 - between).ln())
    }
}
