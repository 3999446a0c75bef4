//! Samples in the memory of a device, which measures and normalises them where they lie.

use super::moments::{Moments, RowBlocks};
use super::normalisation::SeenUnits;
use super::picks::Picks;
use super::refusals::{beyond_range, not_finite};
use super::tensor::rows_of_block;
use crate::error::Result;
use crate::memory;
use std::sync::Arc;

/// One side's samples in device memory. Values are numbered row by row, and have the same bits that
/// [`TensorView`](super::TensorView) gives.
pub trait Resident {
    /// Returns the extents of all axes, the sample axis first.
    fn shape(&self) -> &[usize];

    /// Gathers the moments of all samples, with the bits of [`Moments::add`] over `blocks`.
    ///
    /// # Errors
    /// The device fails, or has no memory for what this takes.
    fn gather(&self, blocks: &RowBlocks, weights: Option<&[f64]>) -> Result<Gathered>;

    /// Copies all samples, normalised, to memory of their own, with the bits of [`SeenUnits::apply`].
    ///
    /// # Errors
    /// As [`Resident::gather`].
    fn normalise(&self, units: &SeenUnits) -> Result<Normalised>;

    /// Returns the values of the samples that are picked.
    ///
    /// # Errors
    /// As [`Resident::gather`].
    fn pick(&self, picks: Picks) -> Result<Vec<f64>>;

    /// Reads one value.
    ///
    /// # Errors
    /// The device fails.
    fn value(&self, number: u64) -> Result<f64>;
}

/// Moments that a device has gathered.
pub struct Gathered {
    /// The argument of [`Moments::gathered`] with this name.
    pub mean: Vec<f64>,
    /// The argument of [`Moments::gathered`] with this name.
    pub spread: Vec<f64>,
    /// Number of the first value that is not finite.
    pub not_finite: Option<u64>,
}

/// Samples that a device has normalised.
pub struct Normalised {
    /// All samples, row-major.
    pub rows: Arc<dyn ResidentRows>,
    /// Number of the first value that is not finite.
    pub not_finite: Option<u64>,
    /// Number of the first value that is finite in data units but not once it is normalised.
    pub beyond: Option<u64>,
}

/// Normalised samples in device memory, which is given back when this is dropped.
pub trait ResidentRows: Send + Sync {
    /// Returns the device address of the first number.
    fn address(&self) -> u64;

    /// Copies numbers from `first` on to the host.
    ///
    /// # Errors
    /// The device fails.
    fn read(&self, first: usize, out: &mut [f32]) -> Result<()>;
}

/// Returns the moments of all samples. A value that is not finite is an error that names `argument`, the sample and the
/// component.
pub(super) fn moments(samples: &dyn Resident, argument: &str, weights: Option<&[f64]>) -> Result<Moments> {
    let (count, dimension) = size(samples);
    let blocks = RowBlocks::new(count, dimension, weights)?;
    let Gathered { mean, spread, not_finite: first } = samples.gather(&blocks, weights)?;
    match first {
        Some(at) => Err(not_finite(argument, samples.value(at)?, at, dimension)),
        None => Ok(Moments::gathered(blocks.weight, mean, spread)),
    }
}

/// Returns the normalised samples. Errors name `argument`, as they do for samples in host memory.
pub(super) fn normalised(samples: &dyn Resident, argument: &str, units: &SeenUnits) -> Result<Arc<dyn ResidentRows>> {
    let (count, dimension) = size(samples);
    let Normalised { rows, not_finite: wrong, beyond } = samples.normalise(units)?;
    // The host looks for either in one block of rows after another, first for values that are not finite.
    let block = |at: u64| at / (rows_of_block(count, dimension) * dimension) as u64;
    match (wrong, beyond) {
        (None, None) => Ok(rows),
        (Some(at), far) if far.is_none_or(|far| block(at) <= block(far)) => {
            Err(not_finite(argument, samples.value(at)?, at, dimension))
        }
        (_, Some(at)) => {
            let (first, axis) = (at - at % dimension as u64, (at % dimension as u64) as usize);
            let sample = memory::made(argument, dimension, |i| samples.value(first + i as u64))?;
            let component = units.culprit(&sample, axis);
            let at = first + component as u64;
            Err(beyond_range(argument, sample[component], at, dimension, units.normalised.scale))
        }
        (Some(_), None) => unreachable!("it is the first of both"),
    }
}

fn size(samples: &dyn Resident) -> (usize, usize) {
    let shape = samples.shape();
    (shape[0], shape[1..].iter().product())
}
