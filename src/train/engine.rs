//! What a device does for a trainer: whole training steps on weights that live there.

use super::side::Sides;
use crate::device::Sums;
use crate::error::{Error, Result};
use crate::memory;

/// Which of a step's two halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    Value = 0,
    Generator = 1,
}

/// What one half of a step gave.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    /// Over all rows of the batch.
    pub sums: Sums,
    /// Before clipping.
    pub gradient_norm: f64,
}

/// Everything of one network that a training carries along, in the order of the flat parameter vector.
#[derive(Debug, PartialEq)]
pub(crate) struct NetworkState {
    pub weights: Vec<f32>,
    pub average: Vec<f32>,
    pub first_moment: Vec<f32>,
    pub second_moment: Vec<f32>,
}

impl NetworkState {
    /// The start of a training.
    pub fn new(weights: Vec<f32>) -> Result<Self> {
        let zeros = || memory::filled(STATE, weights.len(), 0f32);
        Ok(Self { average: memory::copied(STATE, &weights)?, first_moment: zeros()?, second_moment: zeros()?, weights })
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
    pub fn parts(&self) -> [&[f32]; 4] {
        [&self.weights, &self.average, &self.first_moment, &self.second_moment]
    }
}

/// What memory for it is asked for, as a refusal says.
const STATE: &str = "a network's state in training";

/// Norms beyond it are refused: the optimiser squares gradients in 32 bits.
const MAX_NORM: f64 = 1e18;

/// What both halves of a step gave.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StepOutcome {
    pub value: Outcome,
    pub generator: Outcome,
}

/// How far a call of [`Engine::advance`] came.
#[derive(Debug)]
pub(crate) struct Advance {
    /// Steps made.
    pub made: u64,
    /// Of the last step made and the one before it, as far as this call made them.
    pub outcomes: [Option<StepOutcome>; 2],
    /// The last step, of this call or an earlier one, was taken back after `made` was counted: its weights were the
    /// first to give a loss that is not finite.
    pub taken_back: bool,
    /// Why it stopped early.
    pub end: Result<()>,
}

impl Advance {
    /// Nothing yet.
    pub fn new() -> Self {
        Self { made: 0, outcomes: [None; 2], taken_back: false, end: Ok(()) }
    }

    /// Counts a step.
    pub fn count(&mut self, outcome: StepOutcome) {
        self.made += 1;
        self.outcomes = [Some(outcome), self.outcomes[0]];
    }
}

/// Whether the call was cancelled. Asked on any thread; once it was, it stays so until the call has returned.
pub(crate) type Cancelled<'a> = &'a (dyn Fn() -> bool + Sync);

/// A training on a device. A step is made whole or not at all.
pub(crate) trait Engine: Send {
    /// Makes `steps` steps, the first of which has number `first` (from 0), or as many as can be made: until a sampler
    /// fails, a loss, a gradient or a new weight is not finite, or the call is cancelled. A step that a cancellation
    /// leaves unmade takes the samples that were drawn for it when it is made later.
    fn advance(&mut self, first: u64, steps: u64, sides: &mut Sides, cancelled: Cancelled<'_>) -> Advance;
    /// Steps to ask for at once at most: a host that wants to look in waits for as many.
    fn most_steps(&self) -> u64;
    /// The value function's and the generator's state.
    ///
    /// # Errors
    /// The device does not answer.
    fn state(&mut self) -> Result<[NetworkState; 2]>;
}

/// The error of step `step` (from 0), whose update gave this network numbers that are not finite, `value` among them.
pub(crate) fn overflow(half: Half, step: u64, value: f64) -> Error {
    let term = match half {
        Half::Value => "a new weight, average or moment of the value function",
        Half::Generator => "a new weight, average or moment of the generator",
    };
    Error::Diverged { step: step + 1, term, value }
}

impl Outcome {
    /// The first quantity that is not finite, or too large to be squared, as the error of step `step` (from 0).
    pub fn check(&self, half: Half, step: u64) -> Result<()> {
        match self.fault(half) {
            Some((term, value)) => Err(Error::Diverged { step: step + 1, term, value }),
            None => Ok(()),
        }
    }

    fn fault(&self, half: Half) -> Option<(&'static str, f64)> {
        let s = &self.sums;
        let sum = f64::MAX;
        let terms = match half {
            Half::Value => [
                ("the value function at generated samples, V(1, x1),", s.generated, sum),
                ("the conjugate Psi*(V(1, y)) at target samples", s.conjugate, sum),
                ("the action 1/2 |grad V|^2 + <grad V, b>", s.action, sum),
                ("the norm of the value function's gradient", self.gradient_norm, MAX_NORM),
            ],
            Half::Generator => [
                ("the generator's loss", s.generator, sum),
                ("the norm of the generator's gradient", self.gradient_norm, MAX_NORM),
                ("", 0.0, 0.0),
                ("", 0.0, 0.0),
            ],
        };
        let fault = terms.into_iter().find(|&(_, value, most)| value.is_nan() || value.abs() > most);
        fault.map(|(term, value, _)| (term, value))
    }
}
