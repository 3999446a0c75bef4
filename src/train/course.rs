//! Calls that train: what they aim at, and how they get there a few steps at a time. Whoever drives one may do something else
//! with the trainer in between.

use super::cancel::Running;
use super::metrics::Metrics;
use super::stopwatch::Stopwatch;
use super::trainer::Trainer;
use crate::error::{Error, Result};
use crate::float_mode;
use std::time::Duration;

/// The answer of a progress function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Go on.
    Continue,
    /// Stop; the run returns [`Error::Cancelled`].
    Stop,
}

/// What a call aims at.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    /// So many steps, told of after `every` of them (0: never) and after the last.
    Steps { steps: u64, every: u64 },
    /// About so much time: at least one step, and none that is expected to end past it. One step where there is no clock.
    Time(Duration),
}

/// What comes next in a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Next {
    /// More steps.
    Steps,
    /// Telling the host, then more steps or the end.
    Tell,
    /// Nothing.
    End,
}

/// A call that trains.
pub(crate) struct Course {
    goal: Goal,
    clock: Stopwatch,
    /// Number of steps before it.
    first: u64,
    /// The largest number of steps that are made next.
    most: u64,
}

impl Course {
    /// Begins a call. The caller has begun the trainer's cancel token.
    pub(crate) fn begin(trainer: &mut Trainer, goal: Goal) -> Self {
        trainer.begin_call();
        let most = match goal {
            Goal::Steps { steps, .. } => steps,
            Goal::Time(_) => 1,
        };
        Self { goal, clock: Stopwatch::start(), first: trainer.metrics().step, most }
    }

    /// Returns how many steps the call has made.
    pub(crate) fn made(&self, trainer: &Trainer) -> u64 {
        trainer.metrics().step - self.first
    }

    /// Makes the next steps, as many as the engine makes at once.
    ///
    /// # Errors
    /// As [`Trainer::step`].
    pub(crate) fn go_on(&mut self, trainer: &mut Trainer) -> Result<Next> {
        if self.most == 0 {
            return Ok(Next::End);
        }
        let before = self.clock.elapsed();
        let done = self.made(trainer);
        let until_told = match self.goal {
            Goal::Steps { every, .. } if every > 0 => every - done % every,
            _ => u64::MAX,
        };
        let made = trainer.advance(self.most.min(until_told))?;
        let after = self.clock.elapsed();
        let done = self.made(trainer);
        trainer.tell_speed(self.clock.rate(done));
        match self.goal {
            Goal::Steps { steps, every } => {
                self.most = steps - done;
                if every > 0 && (done.is_multiple_of(every) || done == steps) {
                    return Ok(Next::Tell);
                }
            }
            Goal::Time(duration) => {
                self.most = before.zip(after).map_or(0, |(before, after)| {
                    let one = (after - before).as_secs_f64() / made as f64;
                    (duration.saturating_sub(after).as_secs_f64() / one.max(1e-9)) as u64
                });
            }
        }
        Ok(if self.most == 0 { Next::End } else { Next::Steps })
    }
}

impl Trainer {
    /// Trains for `steps` steps.
    ///
    /// # Errors
    /// [`Error::Diverged`] when a loss, a gradient or a new weight is not finite, [`Error::Callback`] when a sampler
    /// fails, [`Error::Cancelled`]. Steps already made stay made, and none is ever half made; only a divergence takes
    /// back the step whose weights first gave a loss or gradient that is not finite.
    pub fn step(&mut self, steps: u64) -> Result<Metrics> {
        self.run(steps, 0, &mut |_| Control::Continue)
    }

    /// Trains for `steps` steps and calls `progress` after every `every` of them (0: never) and after the last.
    ///
    /// # Errors
    /// As [`Self::step`]; [`Error::Cancelled`] too when `progress` asks to stop.
    pub fn run(&mut self, steps: u64, every: u64, progress: &mut dyn FnMut(&Metrics) -> Control) -> Result<Metrics> {
        self.call(Goal::Steps { steps, every }, progress).map(|_| self.metrics())
    }

    /// Trains until about `duration` has passed: at least one step, and none that is expected to end past it. Where
    /// there is no clock it makes one. Returns the number of steps made.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn run_for(&mut self, duration: Duration) -> Result<(u64, Metrics)> {
        let made = self.call(Goal::Time(duration), &mut |_| Control::Continue)?;
        Ok((made, self.metrics()))
    }

    /// Makes a call that can be cancelled from its beginning to its end, and returns how many steps it made.
    fn call(&mut self, goal: Goal, progress: &mut dyn FnMut(&Metrics) -> Control) -> Result<u64> {
        let _inside = float_mode::enter();
        let token = self.cancel_token();
        let running = token.begin();
        let result = self.follow(goal, progress);
        let cancelled = running.is_some_and(Running::end);
        if cancelled && result.is_ok() { Err(Error::Cancelled { step: self.metrics().step }) } else { result }
    }

    fn follow(&mut self, goal: Goal, progress: &mut dyn FnMut(&Metrics) -> Control) -> Result<u64> {
        let mut course = Course::begin(self, goal);
        loop {
            match course.go_on(self)? {
                Next::Steps => {}
                Next::Tell => {
                    let metrics = self.metrics();
                    if float_mode::as_host(|| progress(&metrics)) == Control::Stop {
                        return Err(Error::Cancelled { step: metrics.step });
                    }
                }
                Next::End => return Ok(course.made(self)),
            }
        }
    }
}
