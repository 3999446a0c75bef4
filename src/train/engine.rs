//! What a device does for a trainer: whole training steps on weights that live there.

use crate::device::training::{Half, NetworkState, Outcome};
use crate::error::{Error, Result};

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
    /// What the last step made gave and the one before it, as far as this call made them.
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

/// A training on a device, which has both networks and all samples. A step is made whole or not at all.
pub(crate) trait Engine: Send {
    /// Makes `steps` steps, the first of which has number `first` (from 0), or as many as can be made: until a sampler
    /// fails, a loss, a gradient or a new weight is not finite, or the call is cancelled. A step that a cancellation
    /// leaves unmade takes the samples that were drawn for it when it is made later.
    fn advance(&mut self, first: u64, steps: u64, cancelled: Cancelled<'_>) -> Advance;
    /// Steps to ask for at once at most: a host that wants to look in waits for as many.
    fn most_steps(&self) -> u64;
    /// The value function's and the generator's state.
    ///
    /// # Errors
    /// The device does not answer.
    fn state(&mut self) -> Result<[NetworkState; 2]>;
    /// Bytes that it takes of a device's own memory, as measured before they were allocated; 0 where the device's
    /// memory is the host's.
    fn device_bytes(&self) -> u64;
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
