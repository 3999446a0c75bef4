//! Inference: the trained model, its file, and sessions that call it.

mod cpu_pieces;
#[cfg(feature = "cuda")]
mod cuda_pieces;
mod export;
mod fault;
mod lut;
#[expect(clippy::module_inception, reason = "the file of `Model`")]
mod model;
mod pieces;
mod place;
mod results;
mod session;
mod staging;
mod weights;

pub use lut::{Conversion, Lut};
pub(crate) use model::{Description, checked_dimension};
pub use model::{Model, ModelInfo};
pub use pieces::DeviceRows;
pub use session::{Session, SessionConfig};
