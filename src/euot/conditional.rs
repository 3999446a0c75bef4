//! The generator's law of x1 given x0: a mixture of K Gaussians, whose components are either the network's own outputs,
//! each with a probability, or those of K latents z, drawn and all equally likely.
//!
//! The network's own: outputs of a source sample are \[raw_1, .., raw_K, logits\], raw_k of 2 d numbers as the head
//! reads them and K logits, whose softmax are the probabilities. p(x1 | x0) is known then, not estimated, and the
//! derivative of a loss by a probability is a sum over components. With latents the family is larger, but p is an
//! average over those drawn, and what mass a mode gets is a matter of where in z the network turns from one mode to the
//! next.

use crate::device::{Layers, Mat, Method, Weighted};
use crate::nn::network::{Network, Tape};

/// Components of either kind at most.
const MOST: usize = 4096;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conditional {
    /// K.
    pub components: usize,
    /// Components of z; 0 where the network gives all K components itself.
    pub latent: usize,
}

impl Conditional {
    /// What is wrong with it, if anything, as a sentence about a configuration's names.
    ///
    /// # Errors
    /// Sizes out of range; a generator without latents and without a standard deviation.
    pub fn check(&self, deterministic: bool) -> Result<(), String> {
        let Self { components, latent } = *self;
        if !(1..=MOST).contains(&components) {
            return Err(format!("components is {components}, but must be from 1 to {MOST}"));
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

    /// Whether the network gives all components of a source sample, with their probabilities.
    pub fn has_own_components(&self) -> bool {
        self.latent == 0
    }

    /// Outputs of the network, of which one component takes `raw`; None for more than can be counted.
    pub fn outputs(&self, raw: usize) -> Option<usize> {
        if self.has_own_components() { self.components.checked_mul(raw.checked_add(1)?) } else { Some(raw) }
    }

    /// What the network sees of inputs with `each` rows a source sample: every row, or one of each source sample's.
    fn seen(&self, input: Mat, each: usize) -> Mat {
        if self.has_own_components() { input.every(each) } else { input }
    }

    /// Raw outputs for each row of `input` (rows x `raw`), of a component drawn by its probability; `each` consecutive
    /// rows share a source sample.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn draw<D: Layers + Method>(
        &self,
        device: &mut D,
        generator: &Network,
        net: &D::Net,
        input: Mat,
        each: usize,
        noise: &D::Noise,
        raw: usize,
    ) -> Mat {
        let outputs = generator.forward(device, net, self.seen(input, each));
        if !self.has_own_components() {
            return outputs;
        }
        let to = device.scratch(input.rows, raw);
        device.choose(outputs, Some(noise), to, None);
        to
    }

    /// All components of each source sample, one a row, kept for the reverse pass.
    pub(super) fn record<D: Layers + Method>(
        &self,
        device: &mut D,
        generator: &Network,
        net: &D::Net,
        input: Mat,
        raw: usize,
    ) -> Recorded {
        let tape = generator.record(device, net, self.seen(input, self.components));
        let rows = input.rows;
        let delta = device.scratch(rows, raw);
        if !self.has_own_components() {
            return Recorded { components: Components { raw: tape.output, delta, weighted: None }, tape };
        }
        let weighted = Weighted { log: device.scratch(rows, 1), loss: device.scratch(rows, 1) };
        let to = device.scratch(rows, raw);
        device.choose(tape.output, None, to, Some(weighted.log));
        Recorded { components: Components { raw: to, delta, weighted: Some(weighted) }, tape }
    }
}

/// Components, one a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Components {
    /// rows x what the head reads.
    pub raw: Mat,
    /// Where the gradient by them goes, of the same shape.
    pub delta: Mat,
    pub weighted: Option<Weighted>,
}

impl Components {
    /// Those of rows `from..to`.
    pub fn rows(&self, from: usize, to: usize) -> Self {
        Self {
            raw: self.raw.rows(from, to),
            delta: self.delta.rows(from, to),
            weighted: self.weighted.map(|weighted| weighted.rows(from, to)),
        }
    }
}

/// The components of source samples, and how they came about.
pub(crate) struct Recorded {
    pub components: Components,
    tape: Tape,
}

impl Recorded {
    /// Adds the gradient of the generator's parameters, given that by the rows' raw outputs.
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
