//! The two steps and what they stand on, checked in f64 and against fixtures.

pub(super) mod case;
mod fineness;
mod fixtures;
mod forms;
mod gradients;
mod objective;
mod own_peaks;
mod peaks;
pub(super) mod random;
mod start;
