//! Training: the configuration, the engine that carries a step out on a device, and the trainer a host drives.

mod advice;
mod batch;
mod cancel;
mod checkpoint;
mod config;
mod course;
mod cpu;
mod devices;
mod engine;
#[cfg(feature = "cuda")]
mod gpu;
mod halves;
mod host_memory;
mod log;
mod metrics;
mod plan;
mod shards;
mod side;
mod stopwatch;
mod trainer;
mod watch;

pub use cancel::CancelToken;
pub use config::{SigmaUnits, TrainerConfig};
pub use course::Control;
pub(crate) use course::{Course, Goal, Next};
pub use metrics::Metrics;
pub use trainer::Trainer;
