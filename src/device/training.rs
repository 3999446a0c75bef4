//! The data that a device and a training exchange: the state of a network in training, the rule of its updates, and the
//! outcome of one half of a step.

use super::method::Sums;
use crate::error::Result;
use crate::formulas::adam::Adam;
use crate::memory;

/// One half of a training step: the update of the value function, or that of the generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    Value = 0,
    Generator = 1,
}

impl Half {
    /// Both halves of a step, in the order in which they are made.
    pub const BOTH: [Self; 2] = [Self::Value, Self::Generator];
}

/// The outcome of one half of a step.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HalfOutcome {
    /// Loss terms, summed over all rows of the batch.
    pub sums: Sums,
    /// Norm of the gradient before clipping.
    pub gradient_norm: f64,
}

/// The rule by which both networks are updated from their gradients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UpdateRule {
    pub adam: Adam,
    /// Learning rates of the value function and of the generator before they decay.
    pub rates: [f64; 2],
    /// Number of steps over which the rates fall, with 0 for constant rates, and the fraction of the start at which
    /// they end.
    pub decay_steps: u64,
    pub decay_floor: f64,
    /// Decay of the weights' moving average.
    pub ema_decay: f64,
    /// Largest norm of a gradient; 0 for none.
    pub clip: f64,
}

/// The state of one network in training. Every part has the order of the flat parameter vector.
#[derive(Debug, PartialEq)]
pub(crate) struct NetworkState {
    pub weights: Vec<f32>,
    pub average: Vec<f32>,
    pub first_moment: Vec<f32>,
    pub second_moment: Vec<f32>,
}

/// The name of this memory in errors.
const STATE: &str = "a network's state in training";

impl NetworkState {
    /// Number of parts, each with one number for each parameter.
    pub const PARTS: usize = 4;

    /// Returns the state at the start of a training.
    pub fn new(weights: Vec<f32>) -> Result<Self> {
        let zeros = || memory::filled(STATE, weights.len(), 0f32);
        Ok(Self { average: memory::copied(STATE, &weights)?, first_moment: zeros()?, second_moment: zeros()?, weights })
    }

    /// Returns the bytes that the state of `parameters` parameters takes.
    pub fn bytes(parameters: usize) -> usize {
        parameters.saturating_mul(Self::PARTS * size_of::<f32>())
    }

    /// Returns a copy.
    pub fn copied(&self) -> Result<Self> {
        let copied = |values: &Vec<f32>| memory::copied(STATE, values);
        Ok(Self {
            weights: copied(&self.weights)?,
            average: copied(&self.average)?,
            first_moment: copied(&self.first_moment)?,
            second_moment: copied(&self.second_moment)?,
        })
    }

    /// Returns weights, average, first and second moment.
    pub fn parts(&self) -> [&[f32]; Self::PARTS] {
        [&self.weights, &self.average, &self.first_moment, &self.second_moment]
    }
}
