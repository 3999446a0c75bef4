//! What a device does for a trainer: whole training steps on weights that live there.

use crate::data::ArraySource;
use crate::device::Sums;

/// One side's samples for a step.
#[derive(Clone, Copy)]
pub(crate) enum Side<'a> {
    /// Drawn by the engine.
    Array(&'a ArraySource),
    /// Drawn by the host: one normalised row a sample of the batch.
    Batch(&'a [f32]),
}

/// Which of a step's two halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    Value,
    Generator,
}

/// One half of a step.
pub(crate) struct HalfStep<'a> {
    pub half: Half,
    /// Counted from 0.
    pub step: u64,
    pub rate: f64,
    /// The moving average's decay.
    pub averaging: f64,
    pub source: Side<'a>,
    pub target: Side<'a>,
}

/// What it gave.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    /// Over all rows of the batch.
    pub sums: Sums,
    /// Before clipping.
    pub gradient_norm: f64,
}

/// Everything of one network that a training carries along, in the order of the flat parameter vector.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NetworkState {
    pub weights: Vec<f32>,
    pub average: Vec<f32>,
    pub first_moment: Vec<f32>,
    pub second_moment: Vec<f32>,
}

impl NetworkState {
    /// The start of a training.
    pub fn new(weights: Vec<f32>) -> Self {
        let zeros = vec![0f32; weights.len()];
        Self { average: weights.clone(), first_moment: zeros.clone(), second_moment: zeros, weights }
    }
}

/// Norms beyond it are refused: the optimiser squares gradients in 32 bits.
const MAX_NORM: f64 = 1e18;

/// A training on a device.
pub(crate) trait Engine: Send {
    /// Carries out one half of a step. When its loss or gradient is not finite nothing changes, and the outcome says so.
    fn half_step(&mut self, step: &HalfStep<'_>) -> Outcome;
    /// Puts the network of this half back to where it was before its last update; one update can be taken back.
    fn revert(&mut self, half: Half);
    /// The value function's and the generator's state.
    fn state(&self) -> [NetworkState; 2];
}

impl Outcome {
    /// The first quantity that is not finite, or too large to be squared.
    pub fn fault(&self, half: Half) -> Option<(&'static str, f64)> {
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
