//! Entropic unbalanced optimal transport, trained from samples and called as a one-step generator.

pub mod data;
pub mod error;

pub use data::{DType, Data, Sampler, TensorView};
pub use error::{Error, Result};
/// 16-bit float types of [`TensorView::from_f16`] and [`TensorView::from_bf16`].
pub use half;
