//! Entropic unbalanced optimal transport, trained from samples and called as a one-step generator.

pub mod error;

pub use error::{Error, Result};
