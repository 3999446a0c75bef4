//! Draws the rows of one half of a training step. Every number of a batch is a function of the seed, the number of the
//! step, the half and its place in the batch. So it is the same wherever it is drawn, and with any other rows.

use super::mat::Squares;
use super::method::{Batch, Method, StepNumber};
use super::training::Half;
use crate::formulas::Clock;
use crate::rng::{Sequence, Stream, unit};
use std::ops::Range;

/// 2^32 divided by the golden ratio: multiples of it modulo 2^32 are equidistributed (Weyl).
const GOLDEN: u32 = 0x9E37_79B9;

/// Returns the random sequence of a stream from which one half of a step draws.
pub(crate) fn sequence(seed: u64, half: Half, step: u64, stream: Stream) -> Sequence {
    Sequence::new(seed, number(half, step), stream)
}

/// Returns the number of the sequences from which one half of a step draws.
pub(crate) fn number(half: Half, step: u64) -> u64 {
    2 * step + half as u64
}

/// The form of the rows of one half of a step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchSpec {
    /// Seed of all random numbers.
    pub seed: u64,
    /// The half, which has random sequences of its own in every step.
    pub half: Half,
    /// Numbers of a sample.
    pub dimension: usize,
    /// Squares that the device takes along with what the value function and the generator see, as
    /// [`Layers::squares_seen`](super::Layers::squares_seen) tells them.
    pub squares: [Squares; 2],
    /// Number of rows of each source sample, which follow each other.
    pub components: usize,
    /// Numbers of a row's latent.
    pub latent: usize,
    /// Times of the clock.
    pub times: Times,
    pub clock: Clock,
    /// Whether a target sample is drawn for each row.
    pub targets: bool,
    /// Whether a uniform number is drawn for each source sample, which selects its rows' components.
    pub uniforms: bool,
}

/// Bridge times: an equidistributed sequence with a random start. Each time is uniform. Together they cover the
/// interval more evenly than independent times, which lowers the gradient's variance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// Ends of the interval.
    pub low: f64,
    pub high: f64,
    /// Number of consecutive rows that share a time.
    pub repeat: usize,
    /// Whether every second time is `high`, and only the others are spread over the interval.
    pub half_at_end: bool,
}

impl Times {
    /// Returns the time of a row of the batch, with the first word of the half's stream of times.
    pub fn at(&self, start: u32, row: u64) -> f32 {
        let (low, span) = (self.low as f32, (self.high - self.low) as f32);
        let index = row / self.repeat as u64;
        if self.half_at_end && index % 2 == 1 {
            return self.high as f32;
        }
        let place = if self.half_at_end { index / 2 } else { index };
        low + span * unit(start.wrapping_add(GOLDEN.wrapping_mul(place as u32)))
    }
}

/// A range of the batch's source samples, drawn. `batch` lacks what a device draws later.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sources<N> {
    /// Number of the first row in the whole batch.
    pub first_row: usize,
    pub batch: Batch<N>,
}

/// A device that draws batches.
pub(crate) trait Draw: Method {
    /// Both sides' samples, and the step that draws from them.
    type Samples<'a>: Copy;

    /// Returns the step that draws from these samples.
    fn step_of(samples: Self::Samples<'_>) -> StepNumber;

    /// Draws the inputs of these source samples of the batch (numbered from 0) and what selects their components.
    fn draw_sources(
        &mut self,
        spec: &BatchSpec,
        samples: Self::Samples<'_>,
        sources: Range<usize>,
    ) -> Sources<Self::Noise>;

    /// Returns rows of `sources` (numbered from its first), with the noise, the times and the target samples that they
    /// have beside their inputs.
    fn draw_rows(
        &mut self,
        spec: &BatchSpec,
        samples: Self::Samples<'_>,
        sources: &Sources<Self::Noise>,
        rows: Range<usize>,
    ) -> Batch<Self::Noise>;
}
