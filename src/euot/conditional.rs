//! The generator's law of x1 given x0: a mixture of K Gaussians. Either the network gives all K components with their
//! probabilities, or it gives one component for each of K random latents z, which are equally likely.
//!
//! Without latents, the outputs for a source sample are \[raw_1, .., raw_K, logits\]. raw_k has the 2 d numbers that
//! the head reads, and the softmax of the K logits are the probabilities. p(x1 | x0) is then known exactly, and the
//! derivative of a loss by a probability is a sum over components. With latents the family is larger, but p is an
//! estimate over the latents drawn. The mass of a mode then depends on where in z the network turns from one mode to
//! the next.

use crate::device::{Chosen, Layers, Mat, Method, Weighted, Workspace};
use crate::formulas::Axes;
use crate::nn::network::{Network, Tape};

/// The largest number of components of either kind.
const MOST: usize = 4096;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conditional {
    /// K.
    pub components: usize,
    /// Numbers of z; 0 where the network gives all K components itself.
    pub latent: usize,
}

impl Conditional {
    /// Checks the sizes; 0 components are those that are not chosen yet. An error is a sentence that uses the names of a configuration.
    ///
    /// # Errors
    /// Sizes out of range; a generator without latents and without a standard deviation.
    pub fn check(&self, deterministic: bool) -> Result<(), String> {
        let Self { components, latent } = *self;
        if components > MOST {
            return Err(format!("components is {components}, but must be at most {MOST}"));
        }
        if latent > MOST {
            return Err(format!("latent_dimension is {latent}, but must be from 0 to {MOST}"));
        }
        if deterministic && latent == 0 {
            return Err(format!(
                "latent_dimension is 0, but must be from 1 to {MOST} where deterministic is 1: such a generator has no randomness but its latents"
            ));
        }
        Ok(())
    }

    /// Returns whether the network gives all components of a source sample, with their probabilities.
    pub fn has_own_components(&self) -> bool {
        self.latent == 0
    }

    /// Returns how many components of a source sample the network gives, 0 where these are those of latents.
    pub fn own_components(&self) -> usize {
        if self.has_own_components() { self.components } else { 0 }
    }

    /// Returns how many outputs the network has when one component takes `raw` of them; None on overflow.
    pub fn outputs(&self, raw: usize) -> Option<usize> {
        if self.has_own_components() { self.components.checked_mul(raw.checked_add(1)?) } else { Some(raw) }
    }

    /// Returns the rows that the network sees of inputs with `each` rows for each source sample: every row, or one for
    /// each source sample.
    fn seen(&self, input: Mat, each: usize) -> Mat {
        if self.has_own_components() { input.every(each) } else { input }
    }

    /// Returns the raw outputs (rows x `raw`) of a component, and its number, that is drawn for each row of `input` by its probability.
    /// `each` consecutive rows share a source sample.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn draw<D: Layers + Method>(
        &self,
        device: &mut D,
        generator: &Network,
        net: &D::Net,
        input: Mat,
        each: usize,
        noise: &D::Noise,
        (raw, axes): (usize, &Axes<D::AxisNumbers>),
    ) -> Chosen {
        let outputs = self.outputs_at(device, generator, net, self.seen(input, each), axes);
        if !self.has_own_components() {
            return Chosen { raw: outputs, log: None, which: None };
        }
        let which = numbers(device, input.rows, axes);
        let to = Chosen { raw: device.scratch(input.rows, raw), log: None, which };
        device.choose(outputs, Some(noise), &to);
        to
    }

    /// Returns what the generator gives for each row of `input`, with the plan of the peaks.
    pub(crate) fn outputs_at<D: Layers + Method>(
        &self,
        device: &mut D,
        generator: &Network,
        net: &D::Net,
        input: Mat,
        axes: &Axes<D::AxisNumbers>,
    ) -> Mat {
        let outputs = generator.forward(device, net, input);
        if axes.peaks > 0 {
            device.peaks_plan(axes, input, outputs);
        }
        outputs
    }

    /// Computes all components of each source sample, one a row, and keeps them for the reverse pass.
    pub(super) fn record<D: Layers + Method>(
        &self,
        device: &mut D,
        generator: &Network,
        net: &D::Net,
        input: Mat,
        (raw, axes): (usize, &Axes<D::AxisNumbers>),
    ) -> RecordedComponents {
        let seen = self.seen(input, self.components);
        let tape = generator.record(device, net, seen);
        if axes.peaks > 0 {
            device.peaks_plan(axes, seen, tape.output);
        }
        let rows = input.rows;
        let delta = device.scratch(rows, raw);
        if !self.has_own_components() {
            let components = Components { raw: tape.output, delta, weighted: None, which: None };
            return RecordedComponents { components, tape };
        }
        let weighted = Weighted { log: device.scratch(rows, 1), loss: device.scratch(rows, 1) };
        let (to, which) = (device.scratch(rows, raw), numbers(device, rows, axes));
        device.choose(tape.output, None, &Chosen { raw: to, log: Some(weighted.log), which });
        RecordedComponents { components: Components { raw: to, delta, weighted: Some(weighted), which }, tape }
    }
}

/// Returns room for the numbers of rows' components, where these have axes of their own.
fn numbers<D: Workspace, S>(device: &mut D, rows: usize, axes: &Axes<S>) -> Option<Mat> {
    axes.turned.then(|| device.scratch(rows, 1))
}

/// Components, one a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Components {
    /// Raw outputs as the head reads them (rows x raw).
    pub raw: Mat,
    /// The gradient by `raw`, to be filled (same shape).
    pub delta: Mat,
    pub weighted: Option<Weighted>,
    /// Their numbers, where peaks have axes of their own (rows x 1).
    pub which: Option<Mat>,
}

impl Components {
    /// Returns the components of rows `from..to`.
    pub fn rows(&self, from: usize, to: usize) -> Self {
        Self {
            raw: self.raw.rows(from, to),
            delta: self.delta.rows(from, to),
            weighted: self.weighted.map(|weighted| weighted.rows(from, to)),
            which: self.which.map(|which| which.rows(from, to)),
        }
    }
}

/// The components of source samples, with the tape of the pass that gave them.
pub(crate) struct RecordedComponents {
    pub components: Components,
    tape: Tape,
}

impl RecordedComponents {
    /// Adds the gradient of the generator's parameters, given the gradient by the rows' raw outputs.
    pub fn backward<D: Layers + Method>(
        &self,
        device: &mut D,
        generator: &Network,
        net: &D::Net,
        scale: f64,
        gradient: &mut D::Gradient,
    ) {
        let delta = match self.components.weighted {
            None => self.components.delta,
            Some(weighted) => {
                let output = self.tape.output;
                let to = device.scratch(output.rows, output.cols);
                device.fold(output, self.components.delta, weighted.loss, scale, to);
                to
            }
        };
        generator.backward_parameters(device, net, &self.tape, delta, true, gradient);
    }
}
