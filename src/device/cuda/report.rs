//! The record that the device keeps of the steps that it made, until the host reads it.

use super::sums::{TERMS, sums_of};
use crate::device::training::{Half, HalfOutcome};

/// Number of steps whose outcomes the device keeps, and so the largest number that runs before the host reads them.
pub(crate) const RING: usize = 32;
/// Numbers of an outcome: the terms, the gradient's norm, and the factor it was clipped by.
pub(super) const OUTCOME: usize = TERMS + 2;

/// Places in the report, in numbers of 8 bytes: the step counter, the fault (half and term, step, value), and the
/// outcomes of the last steps of each half.
pub(super) const COUNTER: usize = 0;
pub(super) const FAULT: usize = 1;
pub(super) const OUTCOMES: [usize; 2] = [4, 4 + RING * OUTCOME];
pub(super) const REPORT: usize = 4 + 2 * RING * OUTCOME;

/// The record as the host reads it.
pub(crate) struct Report {
    pub counter: u64,
    /// The fault that stopped the updates, if any. It stops them until it is taken back.
    pub fault: Option<Fault>,
    numbers: Vec<u64>,
}

/// The reason for which no half was made after this one.
#[derive(Clone, Copy)]
pub(crate) struct Fault {
    pub half: Half,
    /// The largest number of the new state, where the network was updated. `None` where the loss or the gradient
    /// forbade the update.
    pub updated: Option<f64>,
}

impl Report {
    /// Reads a report from its numbers.
    pub fn of(numbers: Vec<u64>) -> Self {
        let [what, _, value] = [0, 1, 2].map(|place| numbers[FAULT + place]);
        let half = match what as u32 {
            0 => None,
            half if half == number_of(Half::Value) => Some(Half::Value),
            _ => Some(Half::Generator),
        };
        let updated = ((what >> 32) as u32 == NEW_STATE).then(|| f64::from_bits(value));
        let fault = half.map(|half| Fault { half, updated });
        Self { counter: numbers[COUNTER], fault, numbers }
    }

    /// Returns the outcome of a half in one of the last steps.
    pub fn outcome(&self, half: Half, step: u64) -> HalfOutcome {
        let place = OUTCOMES[half as usize] + step as usize % RING * OUTCOME;
        let number = |index: usize| f64::from_bits(self.numbers[place + index]);
        let sums = sums_of(half, number);
        HalfOutcome { sums, gradient_norm: number(TERMS) }
    }
}

/// The number that stands for the updated state in place of a fault's term.
const NEW_STATE: u32 = TERMS as u32 + 1;

/// A mark in place of a fault that keeps the optimiser from updating.
pub(super) const NO_UPDATE: u32 = u32::MAX;

/// Returns the number of a half in kernels. It is not 0, which means no fault.
pub(super) fn number_of(half: Half) -> u32 {
    half as u32 + 1
}
