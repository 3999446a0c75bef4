//! Inference: the frozen model, sessions that call it, and its file.

mod cpu_rows;
mod cpu_session;
mod cuda_kit;
mod cuda_session;
mod drift;
mod frozen;
mod results;
mod session;

pub(crate) use frozen::{Description, checked_dimension};
pub use frozen::{Model, ModelInfo};
pub use session::{DeviceRows, Session};
