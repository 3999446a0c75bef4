//! The seam between the trainer and a device: whole training steps on weights that live there.

use crate::device::Sums;
use crate::device::training::{Half, HalfOutcome, NetworkState};
use crate::error::{Error, Result};

/// The largest norm of a gradient that is accepted: the optimiser squares gradients in 32 bits.
const MAX_NORM: f64 = 1e18;

/// The losses and gradient norms of both halves of a step.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StepOutcome {
    pub value: HalfOutcome,
    pub generator: HalfOutcome,
}

/// The result of a call of [`Engine::advance`].
#[derive(Debug)]
pub(crate) struct Advance {
    /// Number of steps made.
    pub made: u64,
    /// Outcomes of the last step and of the one before it, as far as this call made them.
    pub outcomes: [Option<StepOutcome>; 2],
    /// Sums of the value halves of all steps made.
    pub value_sums: Sums,
    /// Whether the last step, of this call or an earlier one, was taken back after `made` was counted, because its
    /// weights were the first to give a loss that is not finite.
    pub taken_back: bool,
    /// The error that stopped the call early, if any.
    pub end: Result<()>,
}

impl Advance {
    /// Starts with no step made.
    pub fn new() -> Self {
        Self { made: 0, outcomes: [None; 2], value_sums: Sums::default(), taken_back: false, end: Ok(()) }
    }

    /// Counts a step.
    pub fn count(&mut self, outcome: StepOutcome) {
        self.made += 1;
        self.outcomes = [Some(outcome), self.outcomes[0]];
        self.value_sums.add(&outcome.value.sums);
    }
}

/// Returns whether the call was cancelled. It may be called on any thread, and a call that was cancelled stays so until
/// it has returned.
pub(crate) type Cancelled<'a> = &'a (dyn Fn() -> bool + Sync);

/// A training on a device, which has both networks and all samples. A step is made whole or not at all.
pub(crate) trait Engine: Send {
    /// Makes `steps` steps from step number `first` (from 0) on. It stops early when a sampler fails, when a loss, a
    /// gradient or a new weight is not finite, or when the call is cancelled. A step that a cancellation leaves unmade
    /// is made later with the samples that were drawn for it.
    fn advance(&mut self, first: u64, steps: u64, cancelled: Cancelled<'_>) -> Advance;
    /// Returns the largest number of steps to ask for at once. A host that wants to look in between waits for that
    /// many.
    fn most_steps(&self) -> u64;
    /// Returns the state of the value function and of the generator.
    ///
    /// # Errors
    /// The device does not answer.
    fn state(&mut self) -> Result<[NetworkState; 2]>;
    /// Returns the bytes that the training takes of a device's own memory, as measured before they were allocated; 0
    /// where the device's memory is the host's.
    fn device_bytes(&self) -> u64;
}

/// Returns the error that the update in step `step` (from 0) gave this network numbers that are not finite, `value`
/// among them.
pub(crate) fn overflow(half: Half, step: u64, value: f64) -> Error {
    let term = match half {
        Half::Value => "a new weight, average or moment of the value function",
        Half::Generator => "a new weight, average or moment of the generator",
    };
    Error::Diverged { step: step + 1, term, value }
}

impl HalfOutcome {
    /// Checks that every quantity is finite and small enough to be squared. The error names the first other one, in
    /// step `step` (from 0).
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
