//! Entropic unbalanced optimal transport, trained from samples and called as a one-step generator.

pub mod context;
pub mod data;
pub mod device;
pub mod error;
pub mod euot;
mod file;
pub mod model;
pub mod nn;
pub mod rng;
pub mod train;

pub use context::{Context, ContextConfig, DeviceKind, LogLevel, LogSink};
pub use data::{DType, Data, Sampler, TensorView};
pub use half;
pub use device::Activation;
pub use error::{Error, Result};
pub use euot::divergence::Divergence;
pub use model::{Model, ModelInfo, Session};
pub use train::{CancelToken, Control, Metrics, SigmaUnits, Trainer, TrainerConfig};
