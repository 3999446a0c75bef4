//! Training: the configuration, the engine that carries a step out on a device, and the trainer a host drives.

mod cancel;
mod checkpoint;
mod config;
mod cpu_engine;
pub(crate) mod cpu_network;
mod cuda_engine;
mod cuda_network;
mod cuda_report;
mod cuda_side;
mod cuda_step;
mod draw;
mod engine;
mod host_memory;
mod metrics;
mod plan;
mod side;
mod trainer;

pub use cancel::CancelToken;
pub use config::{SigmaUnits, TrainerConfig};
pub use metrics::Metrics;
pub use trainer::{Control, Trainer};
