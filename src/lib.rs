//! Entropic unbalanced optimal transport, trained from samples and called as a one-step generator.

pub mod error;
#[allow(dead_code)]
mod file;

pub use error::{Error, Result};
