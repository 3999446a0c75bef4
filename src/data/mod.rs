//! Samples of the two sides as the host hands them over, and what a trainer makes of them.
//!
//! A host describes each side with [`Data`]: a strided array of samples with optional weights, in its memory or in that
//! of a device, or a sampler that draws fresh batches. [`Sides`] checks both, measures one common [`Normalisation`] and
//! makes a [`DataSource`] of each, which hands out batches of normalised rows without allocating.

mod array_layout;
#[cfg(feature = "ndarray")]
mod arrays;
mod augmentation;
mod cluster_starts;
mod clusters;
mod description;
mod doubling;
mod dtype;
mod fingerprint;
mod footprint;
mod moments;
mod normalisation;
mod per_axis;
mod picks;
mod prepare;
mod refusals;
mod resident;
mod rotation;
mod sampler;
mod sketch;
mod source;
mod split;
mod tensor;
mod tensor_mut;
mod weights;

pub(crate) use array_layout::{ArrayLayout, Components, sample_shape};
pub use augmentation::Augmentation;
pub(crate) use augmentation::Changes;
pub(crate) use clusters::Clusters;
pub use description::Data;
pub(crate) use doubling::{Doubled, Doubling};
pub use dtype::DType;
pub use fingerprint::Fingerprint;
pub(crate) use footprint::Footprint;
pub(crate) use moments::{LEAST_VARIANCE, Spread};
pub use moments::{RowBlock, RowBlocks};
pub use normalisation::{Normalisation, SeenUnits};
pub use per_axis::MAX_RANK;
pub(crate) use per_axis::PerAxis;
pub use picks::Picks;
pub(crate) use prepare::Measured;
pub use prepare::{STATISTICS_ROWS, Sides};
pub(crate) use prepare::{check_sample_shape, check_sample_shapes, check_samples};
pub use resident::{Gathered, Normalised, Resident, ResidentRows};
pub use rotation::Rotation;
pub use sampler::Sampler;
pub(crate) use sketch::{MOST_AXES, Shapes, Sketch};
pub(crate) use source::SetSize;
pub use source::{ArraySource, DataSource, SampleSet, SamplerSource};
pub(crate) use split::Split;
pub use tensor::TensorView;
pub use tensor_mut::TensorViewMut;
pub(crate) use weights::check_weights;
