//! Makes a step half by half. Either both halves are made or neither, even when something stops the step between them.

use super::engine::{Advance, Cancelled, Engine, StepOutcome, overflow};
use super::side::Samplers;
use crate::device::Sums;
use crate::device::training::{Half, HalfOutcome, NetworkState};
use crate::error::{Error, Result};

/// Why a half was not made.
pub(super) enum Stop {
    /// A sampler or the device failed before anything was updated.
    Failed(Error),
    /// The call was cancelled before anything was updated.
    Cancelled,
    /// A loss or a gradient that is not finite forbade the update.
    NotFinite(HalfOutcome),
    /// The update gave the network a number that is not finite.
    Overflow(f64),
}

/// Whole steps that a device made without being looked at in between.
pub(super) struct WholeSteps {
    /// Number of steps made.
    pub made: u64,
    /// Outcomes of the last step, and of the one before it.
    pub outcomes: [Option<StepOutcome>; 2],
    /// Sums of their value halves.
    pub value_sums: Sums,
    /// What stopped the step after them, if anything.
    pub stop: Option<(Half, Stop)>,
    /// The error for which no more steps were queued, if any.
    pub end: Result<()>,
}

/// Half steps on a device, and the networks there.
pub(super) trait HalfSteps: Send {
    /// Prepares for steps from this number on.
    fn begin(&mut self, _first: u64) -> Result<()> {
        Ok(())
    }

    /// Makes `steps` steps at once. Returns `None` where each half has to be waited for.
    fn whole_steps(&mut self, _first: u64, _steps: u64, _cancelled: Cancelled<'_>) -> Option<Result<WholeSteps>> {
        None
    }

    /// Makes one half of step `step` (from 0): the gradients of all shards, their sum, and the update. Batches of
    /// samplers have been drawn. A device may leave `cancelled` aside and make the half to its end; see
    /// [`Self::take_back`] for what one that gives [`Stop::Cancelled`] must do.
    fn half_step(
        &mut self,
        half: Half,
        step: u64,
        samplers: &Samplers,
        cancelled: Cancelled<'_>,
    ) -> std::result::Result<HalfOutcome, Stop>;

    /// Takes back the last update of these halves' networks, and lets training go on.
    ///
    /// A device whose [`Self::half_step`] looks at `cancelled` keeps what it takes back of the value half after a
    /// cancelled generator half: the next step begins with a second call for the value half, which has to make that
    /// update again. A device that never gives [`Stop::Cancelled`] gets no second call.
    fn take_back(&mut self, halves: &[Half]) -> Result<()>;

    /// As [`Engine::most_steps`].
    fn most_steps(&self) -> u64;

    /// As [`Engine::state`].
    fn state(&mut self) -> Result<[NetworkState; 2]>;

    /// As [`Engine::device_bytes`].
    fn device_bytes(&self) -> u64;
}

/// A training on a device.
pub(super) struct Steps<D> {
    device: D,
    samplers: Samplers,
    /// Whether the last step went well and both networks still have the state before it.
    can_take_back: bool,
    /// Outcome of the next step's value half, where that was made but taken back because a cancellation came before the
    /// generator half.
    half_made: Option<HalfOutcome>,
}

impl<D: HalfSteps> Steps<D> {
    /// Makes steps on this device with these samplers.
    pub fn new(device: D, samplers: Samplers) -> Self {
        Self { device, samplers, can_take_back: false, half_made: None }
    }

    fn run(&mut self, first: u64, steps: u64, cancelled: Cancelled<'_>, advance: &mut Advance) -> Result<()> {
        self.device.begin(first)?;
        if let Some(made) = self.device.whole_steps(first, steps, cancelled) {
            let WholeSteps { made, outcomes, value_sums, stop, end } = made?;
            (advance.made, advance.outcomes, advance.value_sums) = (made, outcomes, value_sums);
            self.can_take_back |= made > 0;
            if let Some((half, stop)) = stop {
                self.stopped(half, first + made, stop, advance)?;
            }
            return end;
        }
        for step in first..first + steps {
            if cancelled() {
                return Err(Error::Cancelled { step });
            }
            self.step(step, cancelled, advance)?;
        }
        Ok(())
    }

    /// Makes both halves, or neither.
    fn step(&mut self, step: u64, cancelled: Cancelled<'_>, advance: &mut Advance) -> Result<()> {
        let value = match self.half_made.take() {
            Some(value) => {
                self.device.take_back(&[Half::Value])?;
                value
            }
            None => match self.half(Half::Value, step, cancelled) {
                Ok(value) => value,
                Err(stop) => return self.stopped(Half::Value, step, stop, advance),
            },
        };
        // What came before the last step is overwritten.
        self.can_take_back = false;
        match self.half(Half::Generator, step, cancelled) {
            Ok(generator) => {
                self.can_take_back = true;
                advance.count(StepOutcome { value, generator });
                Ok(())
            }
            Err(stop) => {
                self.half_made = matches!(stop, Stop::Cancelled).then_some(value);
                self.stopped(Half::Generator, step, stop, advance)
            }
        }
    }

    /// Draws samples for a half and makes it. Samples of a cancelled half are kept for the next call.
    fn half(&mut self, half: Half, step: u64, cancelled: Cancelled<'_>) -> std::result::Result<HalfOutcome, Stop> {
        self.samplers.draw(half).map_err(Stop::Failed)?;
        let made = self.device.half_step(half, step, &self.samplers, cancelled);
        if matches!(made, Err(Stop::Cancelled)) {
            self.samplers.hold(half);
        }
        made
    }

    /// Takes back the changes of a step that was stopped in this half.
    fn stopped(&mut self, half: Half, step: u64, stop: Stop, advance: &mut Advance) -> Result<()> {
        let halves: &[Half] = match (half, &stop) {
            (Half::Value, Stop::NotFinite(_)) => {
                // These weights came out of a step with a finite loss and gradient, but give none themselves.
                advance.taken_back = self.can_take_back;
                if self.can_take_back { &Half::BOTH } else { &[] }
            }
            (Half::Value, Stop::Overflow(_)) => &[Half::Value],
            (Half::Generator, Stop::Overflow(_)) => &Half::BOTH,
            // A failure costs the value half.
            (Half::Generator, _) => &[Half::Value],
            (Half::Value, Stop::Failed(_) | Stop::Cancelled) => return stop.end(half, step),
        };
        self.can_take_back = false;
        self.device.take_back(halves)?;
        stop.end(half, step)
    }
}

impl Stop {
    /// Returns the result of a call that ends with it.
    fn end(self, half: Half, step: u64) -> Result<()> {
        match self {
            Self::Failed(error) => Err(error),
            Self::Cancelled => Err(Error::Cancelled { step }),
            Self::NotFinite(outcome) => outcome.check(half, step),
            Self::Overflow(value) => Err(overflow(half, step, value)),
        }
    }
}

impl<D: HalfSteps> Engine for Steps<D> {
    fn advance(&mut self, first: u64, steps: u64, cancelled: Cancelled<'_>) -> Advance {
        let mut advance = Advance::new();
        advance.end = self.run(first, steps, cancelled, &mut advance);
        advance
    }

    fn most_steps(&self) -> u64 {
        self.device.most_steps()
    }

    fn state(&mut self) -> Result<[NetworkState; 2]> {
        self.device.state()
    }

    fn device_bytes(&self) -> u64 {
        self.device.device_bytes()
    }
}
