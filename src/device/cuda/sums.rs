//! The loss terms of a half step, as partial sums on the device until the optimiser adds them.

/// Partial sums of the loss terms: `capacity` doubles for each of four terms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CudaSums {
    pub address: u64,
    pub capacity: usize,
    /// Number of partial sums of each term so far.
    pub counts: [usize; TERMS],
}

/// The largest number of terms of a loss.
pub(crate) const TERMS: usize = 4;
/// The places of the terms: those of a value step, then that of a generator step.
pub(crate) const GENERATED: usize = 0;
pub(crate) const CONJUGATE: usize = 1;
pub(crate) const ACTION: usize = 2;
pub(crate) const DENSITY_RATIO: usize = 3;
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
