//! Both networks at the start of a training: the plan between Gaussians, nearly. V' is little. The generator's components
//! lie apart by less than the noise, the same for every source sample, and together they have the noise's variance.
//!
//! They must not begin alike: from components that are all the noise itself, a training finds no way apart where the
//! noise is wider than what the target's clusters lie apart.

use super::conditional::Conditional;
use crate::error::Result;
use crate::formulas::axes::Part;
use crate::formulas::{Axes, Head, peaks};
use crate::memory;
use crate::rng::{Sequence, Stream};

/// Factors of the initial weights of the value function's output, without peaks and with them.
const VALUE: f32 = 0.1;
const VALUE_BESIDE_PEAKS: f32 = 0.01;
/// The part of the noise's variance that lies between components.
const BETWEEN: f32 = 0.1;
/// Factors of the initial weights of a generator's outputs: means, in units of the noise along their axis, log-standard
/// deviations and logits.
const MEAN: f32 = 0.1;
const LOG_STD: f32 = 0.1;
const LOGIT: f32 = 0.5;
/// A factor of all of these where the plan of peaks is there, which is nearly right.
const LESS: f32 = 0.05;
/// The factor of all weights of a generator with latents, whose components differ by these alone.
const LATENT: f32 = 0.5;

/// Returns the factor of the initial weights of the value function's output, and its bias.
pub(crate) fn value<S>(axes: &Axes<S>) -> (f32, f32) {
    (if axes.peaks > 0 { VALUE_BESIDE_PEAKS } else { VALUE }, 0.0)
}

/// The generator's output layer.
pub(crate) struct Outputs<'a> {
    head: Head,
    conditional: Conditional,
    axes: &'a Axes<Vec<f32>>,
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
        Ok(Self { head, conditional, axes, dimension, means })
    }

    /// Returns the standard deviation that a component begins with along an axis: that of the noise, or of its peak's plan.
    fn spread(&self, component: usize, axis: usize) -> f32 {
        let sigma = self.axes.part(Part::Sigma)[axis];
        if self.axes.peaks == 0 {
            return sigma;
        }
        let width = peaks::width(self.axes.peaks);
        let logs = peaks::part(self.axes.peak_numbers(), width, axis, peaks::Part::LogStd);
        sigma * logs[component % self.axes.peaks].exp()
    }

    /// Returns whether a component begins apart from others, with which it would be alike.
    fn is_apart(&self, component: usize) -> bool {
        let peaks = self.axes.peaks;
        peaks == 0 || component >= peaks || component + peaks < self.conditional.components
    }

    /// Returns the factor of the initial weights of an output, and its bias.
    pub fn of(&self, output: usize) -> (f32, f32) {
        if !self.conditional.has_own_components() {
            return (LATENT, 0.0);
        }
        let raw = self.head.raw(self.dimension);
        let less = if self.axes.peaks > 0 { LESS } else { 1.0 };
        let (component, number) = (output / raw, output % raw);
        if output >= self.conditional.components * raw {
            return (less * LOGIT, 0.0);
        }
        if number < self.dimension {
            let sigma = self.spread(component, number);
            let apart = self.is_apart(component);
            return (
                less * MEAN * sigma,
                if apart { sigma * self.means[component * self.dimension + number] } else { 0.0 },
            );
        }
        let between = if self.conditional.components > 1 && self.is_apart(component) { BETWEEN } else { 0.0 };
        // An output of 0 is half of the noise.
        (less * LOG_STD, std::f32::consts::LN_2 + 0.5 * (1.0 - between).ln())
    }
}
