//! Entropic unbalanced optimal transport, trained from samples and called as a one-step generator.

pub mod device;
pub mod error;
pub mod euot;
pub mod nn;
pub mod rng;

pub use error::{Error, Result};
