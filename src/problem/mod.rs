//! The bridge and the losses as calls, for hosts that train networks of their own.

mod config;
mod cpu;
mod gpu;
#[expect(clippy::module_inception, reason = "the file of `Problem`")]
mod problem;

pub(crate) use config::ProblemConfig;
pub(crate) use gpu::DeviceNumbers;
pub(crate) use problem::{Problem, ValueLoss, common_scale};
