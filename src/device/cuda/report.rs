//! What the device tells of the steps that it made, without being asked in between.

use super::sums::{ACTION, CONJUGATE, DENSITY_RATIO, GENERATED, GENERATOR, TERMS};
use crate::device::Sums;
use crate::device::training::{Half, Outcome};

/// Steps whose outcomes are kept on the device, and so the most that run before the host looks.
pub(crate) const RING: usize = 32;
/// Numbers of an outcome: the terms, the gradient's norm, and the factor it was clipped by.
pub(super) const OUTCOME: usize = 6;

/// Where the report has what, in numbers of 8 bytes: the step counter, the fault (half and term, step, value), and the
/// outcomes of the last steps of each half.
pub(super) const COUNTER: usize = 0;
pub(super) const FAULT: usize = 1;
pub(super) const OUTCOMES: [usize; 2] = [4, 4 + RING * OUTCOME];
pub(super) const REPORT: usize = 4 + 2 * RING * OUTCOME;

/// What the device told.
pub(crate) struct Report {
    pub counter: u64,
    /// What stopped the updates, for good until it is taken back.
    pub fault: Option<Fault>,
    numbers: Vec<u64>,
}

/// Why a half was the last.
#[derive(Clone, Copy)]
pub(crate) struct Fault {
    pub half: Half,
    /// Its network was updated, to numbers of which this is the largest; otherwise its loss or its gradient had
    /// forbidden it.
    pub updated: Option<f64>,
}

impl Report {
    /// From the numbers of a whole report.
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

    /// What a half of one of the last steps gave.
    pub fn outcome(&self, half: Half, step: u64) -> Outcome {
        let place = OUTCOMES[half as usize] + step as usize % RING * OUTCOME;
        let number = |index: usize| f64::from_bits(self.numbers[place + index]);
        let sums = match half {
            Half::Value => Sums {
                generated: number(GENERATED),
                conjugate: number(CONJUGATE),
                action: number(ACTION),
                density_ratio: number(DENSITY_RATIO),
                ..Sums::default()
            },
            Half::Generator => Sums { generator: number(GENERATOR), ..Sums::default() },
        };
        Outcome { sums, gradient_norm: number(TERMS) }
    }
}

/// The term of a fault that is an updated state.
const NEW_STATE: u32 = 5;

/// A fault that is none: keeps the optimiser from updating.
pub(super) const NO_UPDATE: u32 = u32::MAX;

/// How the kernels call a half; 0 is no fault.
pub(super) fn number_of(half: Half) -> u32 {
    half as u32 + 1
}
