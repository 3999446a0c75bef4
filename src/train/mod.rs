//! Training: the configuration, the engine that carries a step out on a device, and the trainer a host drives.

mod checkpoint;
mod config;
mod cpu_engine;
mod engine;
mod metrics;
mod trainer;

pub use config::{SigmaUnits, TrainerConfig};
pub use metrics::Metrics;
pub use trainer::{CancelToken, Control, Trainer};

pub(crate) use engine::networks;
pub(crate) use trainer::MAX_DIMENSION;
