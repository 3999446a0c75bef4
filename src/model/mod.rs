//! Inference: the trained model, its file, and sessions that call it.

mod cpu_pieces;
mod cuda_pieces;
mod fault;
#[expect(clippy::module_inception, reason = "the file of `Model`")]
mod model;
mod pieces;
mod place;
mod results;
mod session;
mod staging;

pub(crate) use model::{Description, checked_dimension};
pub use model::{Model, ModelInfo};
pub use pieces::DeviceRows;
pub use session::{Session, SessionConfig};
