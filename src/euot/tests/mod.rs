//! The two steps and what they stand on, checked in f64 and against fixtures.

pub(super) mod case;
mod fixtures;
mod gradients;
mod objective;
mod start;
