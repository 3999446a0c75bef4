//! What a device and a training tell each other: the state of a network that is trained, how its updates are made, and
//! what one half of a step gave.

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
    /// A whole step, in the order in which it is made.
    pub const BOTH: [Self; 2] = [Self::Value, Self::Generator];
}

/// What one half of a step gave.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    /// Over all rows of the batch.
    pub sums: Sums,
    /// Before clipping.
    pub gradient_norm: f64,
}

/// How both networks are updated from their gradients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UpdateRule {
    pub adam: Adam,
    /// Learning rates of the value function and of the generator before they decay.
    pub rates: [f64; 2],
    /// Steps over which the rates fall, and where they end as a fraction of the start. 0 steps: they stay.
    pub decay_steps: u64,
    pub decay_floor: f64,
    /// Decay of the weights' moving average.
    pub ema_decay: f64,
    /// Largest norm of a gradient; 0 for none.
    pub clip: f64,
}

/// Everything of one network that a training carries along, in the order of the flat parameter vector.
#[derive(Debug, PartialEq)]
pub(crate) struct NetworkState {
    pub weights: Vec<f32>,
    pub average: Vec<f32>,
    pub first_moment: Vec<f32>,
    pub second_moment: Vec<f32>,
}

/// What memory for it is asked for, as a refusal says.
const STATE: &str = "a network's state in training";

impl NetworkState {
    /// Vectors of as many numbers as the network has parameters.
    pub const PARTS: usize = 4;

    /// The start of a training.
    pub fn new(weights: Vec<f32>) -> Result<Self> {
        let zeros = || memory::filled(STATE, weights.len(), 0f32);
        Ok(Self { average: memory::copied(STATE, &weights)?, first_moment: zeros()?, second_moment: zeros()?, weights })
    }

    /// Bytes that the state of so many parameters takes.
    pub fn bytes(parameters: usize) -> usize {
        parameters.saturating_mul(Self::PARTS * size_of::<f32>())
    }

    /// Another one like it.
    pub fn copied(&self) -> Result<Self> {
        let copied = |values: &Vec<f32>| memory::copied(STATE, values);
        Ok(Self {
            weights: copied(&self.weights)?,
            average: copied(&self.average)?,
            first_moment: copied(&self.first_moment)?,
            second_moment: copied(&self.second_moment)?,
        })
    }

    /// Weights, average, first and second moment.
    pub fn parts(&self) -> [&[f32]; Self::PARTS] {
        [&self.weights, &self.average, &self.first_moment, &self.second_moment]
    }
}
