//! Entropic unbalanced optimal transport, trained from samples and called as a one-step generator.

pub mod abi;
pub mod data;
pub mod error;
mod stub;

pub use error::{Error, Result};
pub use stub::*;
