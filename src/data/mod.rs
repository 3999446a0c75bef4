//! Samples of the two sides as the host hands them over, and what a trainer makes of them.
//!
//! A host describes each side with [`Data`]: a strided array of samples with optional weights, or a sampler that
//! draws fresh batches. [`Sides`] checks both, measures one common [`Normalisation`] and makes a [`DataSource`] of each, which
//! hands out batches of normalised rows without allocating.

mod description;
mod dtype;
mod moments;
mod normalisation;
mod prepare;
mod sampler;
mod source;
mod tensor;
mod weights;

pub use description::Data;
pub use dtype::DType;
pub(crate) use moments::Spread;
pub use normalisation::Normalisation;
pub use prepare::{STATISTICS_ROWS, Sides};
pub(crate) use prepare::{check_sample_shape, check_sample_shapes, check_samples};
pub use sampler::Sampler;
pub(crate) use source::SetSize;
pub use source::{ArraySource, DataSource, SamplerSource};
pub(crate) use tensor::sample_shape;
pub use tensor::{MAX_RANK, TensorView};
pub(crate) use weights::check_weights;
