//! The loss terms of a half step, as partial sums on the device until the optimiser adds them.

use crate::device::Sums;
use crate::device::training::Half;

/// Partial sums of the loss terms: `capacity` doubles for each term.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CudaSums {
    pub address: u64,
    pub capacity: usize,
    /// Number of partial sums of each term so far.
    pub counts: [usize; TERMS],
}

/// The largest number of terms of a loss.
pub(crate) const TERMS: usize = 8;
/// The places of the terms: those of a value step, then that of a generator step. Terms from `DENSITY_RATIO` on all have
/// as many partial sums.
pub(crate) const GENERATED: usize = 0;
pub(crate) const CONJUGATE: usize = 1;
pub(crate) const ACTION: usize = 2;
pub(crate) const DENSITY_RATIO: usize = 3;
pub(crate) const RATIO_SQUARES: usize = 4;
pub(crate) const TARGET: usize = 5;
pub(crate) const DISTANCES: [usize; 2] = [6, 7];
pub(crate) const GENERATOR: usize = 0;

impl CudaSums {
    /// Takes room for `count` more partial sums of a term and returns its address.
    pub(super) fn take(&mut self, term: usize, count: usize) -> u64 {
        let place = term * self.capacity + self.counts[term];
        self.counts[term] += count;
        assert!(self.counts[term] <= self.capacity);
        self.address + (place * size_of::<f64>()) as u64
    }
}

/// Returns the sums of a half, given the sum of each term.
pub(crate) fn sums_of(half: Half, number: impl Fn(usize) -> f64) -> Sums {
    match half {
        Half::Value => Sums {
            generated: number(GENERATED),
            conjugate: number(CONJUGATE),
            action: number(ACTION),
            density_ratio: number(DENSITY_RATIO),
            ratio_squares: number(RATIO_SQUARES),
            target: number(TARGET),
            distances: DISTANCES.map(number),
            ..Sums::default()
        },
        Half::Generator => Sums { generator: number(GENERATOR), ..Sums::default() },
    }
}
