//! The bridge and the losses as calls, for hosts that train networks of their own.

mod config;
mod cpu;
#[cfg(feature = "cuda")]
mod gpu;
#[cfg(not(feature = "cuda"))]
#[path = "no_gpu.rs"]
mod gpu;
#[expect(clippy::module_inception, reason = "the file of `Problem`")]
mod problem;

pub(crate) use config::{DeviceNumbers, ProblemConfig};
pub(crate) use problem::{Problem, ValueLoss, common_scale};
