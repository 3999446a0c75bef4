//! Turns the samples that the host handed over into what a trainer owns.

mod bytes;

use super::augmentation::Changes;
use super::description::Data;
use super::moments::{Moments, Spread};
use super::normalisation::{Normalisation, SeenUnits};
use super::per_axis::MAX_RANK;
use super::refusals::beyond_range;
use super::resident::{self, Resident};
use super::sampler::{self, Sampler};
use super::sketch::{Shapes, Sketch};
use super::source::{ArraySource, DataSource, ResidentSource, SamplerSource, SetSize};
use super::tensor::TensorView;
use super::weights::read_weights;
use crate::error::{Error, Result};
use crate::memory;
use crate::numbers::MAX_DIMENSION;

/// Samples that a new trainer draws from a sampler to measure the normalisation.
pub const STATISTICS_ROWS: usize = 4096;

/// The largest number of products that it may take to turn an array of samples to other axes, and the largest dimension
/// of a sampler's samples that are turned batch by batch.
const MOST_TURNED: u64 = 1 << 36;
const MOST_TURNED_SAMPLER: usize = 64;
/// The largest count of numbers that a sampler is asked for in one call while the normalisation is measured.
const STATISTICS_BATCH: usize = 1 << 20;

/// Both sides as the host handed them over, of one sample shape and with sound weights.
pub struct Sides<'a, 'b> {
    source: CheckedSide<'a>,
    target: CheckedSide<'b>,
}

impl<'a, 'b> Sides<'a, 'b> {
    /// Checks both sides. Errors name the side and the argument: sample shapes that differ, bad weights.
    pub fn check(source: Data<'a>, target: Data<'b>) -> Result<Self> {
        // First of all: weights are read into memory.
        Self::check_limits(&source, &target)?;
        Ok(Self { source: CheckedSide::check("source", source)?, target: CheckedSide::check("target", target)? })
    }

    /// Checks both sides without reading a sample or a weight.
    pub fn check_limits(source: &Data<'_>, target: &Data<'_>) -> Result<()> {
        check_limits("source", source)?;
        check_limits("target", target)?;
        check_sample_shapes(source.sample_shape(), target.sample_shape())
    }

    /// Shape of one sample.
    pub fn sample_shape(&self) -> &[usize] {
        &self.source.sample_shape
    }

    /// Returns the sizes of source and target where they are finite sets; `None` for a sampler.
    pub(crate) fn sizes(&self) -> [Option<SetSize>; 2] {
        [self.source.size(), self.target.size()]
    }

    /// Returns the pixels of a channel where pictures of either side are drawn mirrored or moved.
    fn pixels_of_channel(&self) -> Option<usize> {
        self.source.changes.or(self.target.changes).map(|changes| changes.pixels())
    }

    /// Measures the normalisation that both sides have in common. Draws [`STATISTICS_ROWS`] samples from each sampler,
    /// the source first. `length` is a length of the problem, for sides that are one and the same point. With `many`, many
    /// samples of both sides are kept.
    ///
    /// Errors name the side and the argument: a value that is not finite, data outside the 32-bit range, a sampler that
    /// fails.
    pub(crate) fn measure(&mut self, length: Option<f64>, many: bool) -> Result<Measured> {
        let (source, [of_source, many_of_source]) = self.source.moments(many)?;
        let (target, [of_target, many_of_target]) = self.target.moments(many)?;
        let (units, one_point) = Normalisation::from_moments(&source, &target, length, self.pixels_of_channel())?;
        let [source, target] = [&source, &target].map(|side| side.normalised(&units.shift, units.scale));
        let spreads = [source?, target?];
        let shapes = match [of_source, of_target] {
            [Some(source), Some(target)] if !one_point => Some(Shapes {
                covariances: [
                    source.covariance(&units.shift, units.scale, &spreads[0], false)?,
                    target.covariance(&units.shift, units.scale, &spreads[1], false)?,
                ],
                fitted: target.covariance(&units.shift, units.scale, &spreads[1], true)?,
                target: target.split(&units.shift, units.scale)?,
                turnable: self.source.is_turnable() && self.target.is_turnable(),
                chance: source.chance().max(target.chance()),
                heaviest: [source.heaviest()?, target.heaviest()?],
                picked: target,
                many: many_of_source.zip(many_of_target).map(|(source, target)| [source, target]),
            }),
            _ => None,
        };
        Ok(Measured { units, spreads, shapes, one_point })
    }

    /// Makes what a trainer needs, each side in units of its own: arrays are copied, and samplers are moved in. The
    /// normalisations must have the components of a sample. Errors are those of [`Self::measure`].
    pub fn prepare(self, [source, target]: [SeenUnits; 2]) -> Result<(DataSource, DataSource)> {
        source.normalised.check(self.source.dimension())?;
        target.normalised.check(self.target.dimension())?;
        Ok((self.source.finish(source)?, self.target.finish(target)?))
    }
}

/// What is measured on both sides.
pub(crate) struct Measured {
    /// The common normalisation.
    pub units: Normalisation,
    /// Moments of source and target in these units.
    pub spreads: [Spread; 2],
    /// What else is known of samples of few numbers.
    pub shapes: Option<Shapes>,
    /// Whether both sides are one and the same point to the resolution of 32-bit numbers.
    pub one_point: bool,
}

/// A side whose shape and weights are known to be sound.
struct CheckedSide<'a> {
    name: &'static str,
    sample_shape: Vec<usize>,
    changes: Option<Changes>,
    input: CheckedSamples<'a>,
}

enum CheckedSamples<'a> {
    Array { samples: TensorView<'a>, weights: Option<Vec<f64>> },
    Resident { samples: Box<dyn Resident + 'a>, weights: Option<Vec<f64>> },
    Sampler(Box<dyn Sampler>),
}

impl<'a> CheckedSide<'a> {
    fn check(name: &'static str, data: Data<'a>) -> Result<Self> {
        let sample_shape = data.sample_shape().to_vec();
        let changes = data.augmentation().of_samples(name, &sample_shape)?;
        let read = |weights: Option<TensorView<'_>>, count| {
            weights.map(|weights| read_weights(&weights, count, &format!("{name}.weights"))).transpose()
        };
        let input = match data {
            Data::Array { samples, weights, .. } => {
                let weights = read(weights, samples.count())?;
                CheckedSamples::Array { samples, weights }
            }
            Data::Resident { samples, weights, .. } => {
                let weights = read(weights, samples.shape()[0])?;
                CheckedSamples::Resident { samples, weights }
            }
            Data::Sampler { sampler, .. } => CheckedSamples::Sampler(sampler),
        };
        Ok(Self { name, sample_shape, changes, input })
    }

    fn dimension(&self) -> usize {
        self.sample_shape.iter().product()
    }

    fn size(&self) -> Option<SetSize> {
        match &self.input {
            CheckedSamples::Sampler(_) => None,
            CheckedSamples::Array { samples, weights } => {
                Some(SetSize { count: samples.count(), weighted: weights.is_some(), resident: false })
            }
            CheckedSamples::Resident { samples, weights } => {
                Some(SetSize { count: samples.shape()[0], weighted: weights.is_some(), resident: true })
            }
        }
    }

    /// Returns whether it is a matter of seconds to turn all samples to other axes, and of little beside a step to turn a
    /// batch of a sampler's.
    fn is_turnable(&self) -> bool {
        let dimension = self.dimension();
        match self.size() {
            Some(size) => (size.count as u64).saturating_mul((dimension * dimension) as u64) <= MOST_TURNED,
            None => dimension <= MOST_TURNED_SAMPLER,
        }
    }

    /// Gathers the side's moments, and a sketch of samples of few numbers; with `many`, one of many samples too.
    fn moments(&mut self, many: bool) -> Result<(Moments, [Option<Sketch>; 2])> {
        let dimension = self.dimension();
        let argument = format!("{}.samples", self.name);
        let count = self.size().map_or(STATISTICS_ROWS, |size| size.count);
        let few = Sketch::new(count, dimension)?;
        let many = if many && few.is_some() { Some(Sketch::of_many(count, dimension)?) } else { None };
        let mut sketches = [few, many];
        if let CheckedSamples::Resident { samples, weights } = &self.input {
            let moments = resident::moments(&**samples, &argument, weights.as_deref())?;
            sketches.iter_mut().flatten().try_for_each(|sketch| sketch.take(&**samples, weights.as_deref()))?;
            return Ok((moments, sketches));
        }
        let mut moments = Moments::new(dimension)?;
        let mut add = |first, block: &[f64], weights: Option<&[f64]>| {
            moments.add(block, weights);
            sketches.iter_mut().flatten().for_each(|sketch| sketch.add(first, block));
        };
        match &mut self.input {
            CheckedSamples::Resident { .. } => unreachable!("its device has measured it"),
            CheckedSamples::Array { samples, weights } => {
                samples.for_each_block(&argument, |first, block| {
                    let rows = block.len() / dimension;
                    add(first, block, weights.as_ref().map(|all| &all[first..first + rows]));
                    Ok(())
                })?;
                sketches.iter_mut().flatten().try_for_each(|sketch| sketch.weigh(weights.as_deref()))?;
            }
            CheckedSamples::Sampler(sampler) => {
                let rows = statistics_rows(dimension);
                let argument = format!("a batch of {}.sample_shape", self.name);
                let mut batch = memory::filled(&argument, rows * dimension, 0f32)?;
                let mut wide = memory::with_room(&argument, rows * dimension)?;
                for first in (0..STATISTICS_ROWS).step_by(rows) {
                    let batch = &mut batch[..rows.min(STATISTICS_ROWS - first) * dimension];
                    sampler::draw(&mut **sampler, batch, dimension, self.name)?;
                    wide.clear();
                    wide.extend(batch.iter().map(|&value| f64::from(value)));
                    add(first, &wide, None);
                }
            }
        }
        Ok((moments, sketches))
    }

    fn finish(self, units: SeenUnits) -> Result<DataSource> {
        let dimension = self.dimension();
        let argument = format!("{}.samples", self.name);
        let changes = self.changes;
        let (samples, weights) = match self.input {
            CheckedSamples::Sampler(sampler) => {
                return Ok(DataSource::Sampler(SamplerSource::new(sampler, units)?));
            }
            CheckedSamples::Resident { samples, weights } => {
                let rows = resident::normalised(&*samples, &argument, &units)?;
                return Ok(DataSource::Resident(ResidentSource::new(
                    rows,
                    samples.shape()[0],
                    dimension,
                    weights,
                    changes,
                )?));
            }
            CheckedSamples::Array { samples, weights } => (samples, weights),
        };
        let mut rows: Vec<f32> = memory::with_room(&argument, samples.count() * dimension)?;
        samples.for_each_block(&argument, |first, block| {
            let start = rows.len();
            rows.resize(start + block.len(), 0.0);
            units.apply(block, &mut rows[start..]);
            match rows[start..].iter().position(|value| !value.is_finite()) {
                None => Ok(()),
                Some(at) => {
                    let (row, axis) = (at / dimension, at % dimension);
                    let at = row * dimension + units.culprit(&block[row * dimension..][..dimension], axis);
                    let number = (first * dimension + at) as u64;
                    Err(beyond_range(argument.as_str(), block[at], number, dimension, units.normalised.scale))
                }
            }
        })?;
        Ok(DataSource::Array(ArraySource::new(rows, dimension, weights.as_deref(), changes)?))
    }
}

/// Samples that a sampler is asked for in one call while it is measured.
fn statistics_rows(dimension: usize) -> usize {
    (STATISTICS_BATCH / dimension).clamp(1, STATISTICS_ROWS)
}

/// Refuses a side that is larger than the library's limits. Reads no sample and no weight.
fn check_limits(side: &str, data: &Data<'_>) -> Result<()> {
    match data {
        Data::Array { samples, .. } => check_samples(side, samples.count(), Some(samples.dimension())),
        Data::Resident { samples, .. } => {
            check_samples(side, samples.shape()[0], Some(data.sample_shape().iter().product()))
        }
        Data::Sampler { sample_shape, .. } => check_sample_shape(side, sample_shape),
    }
}

/// Refuses `count` samples of `dimension` numbers where that is more than the limits allow. A `dimension` of `None` is
/// one that overflows.
pub(crate) fn check_samples(side: &str, count: usize, dimension: Option<usize>) -> Result<()> {
    if u32::try_from(count).is_err() {
        return Err(Error::invalid(format!("{side}.samples holds {count} samples; at most {} are allowed", u32::MAX)));
    }
    match dimension {
        Some(dimension) if dimension <= MAX_DIMENSION => Ok(()),
        _ => Err(Error::invalid(format!(
            "{side}.samples has samples of {} numbers, but at most {MAX_DIMENSION} are allowed",
            dimension.map_or("more than 2^64".to_owned(), |dimension| dimension.to_string())
        ))),
    }
}

/// Refuses shapes of one source and one target sample that differ.
pub(crate) fn check_sample_shapes(source: &[usize], target: &[usize]) -> Result<()> {
    if source == target {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "one sample has shape {source:?} on the source side and {target:?} on the target side; both must be the same"
    )))
}

/// Refuses a shape that a sampler's samples cannot have.
pub(crate) fn check_sample_shape(side: &str, shape: &[usize]) -> Result<()> {
    if shape.is_empty() || shape.len() >= MAX_RANK {
        return Err(Error::invalid(format!(
            "{side}.sample_shape has {} axes; it must have 1 to {}",
            shape.len(),
            MAX_RANK - 1
        )));
    }
    if let Some(axis) = shape.iter().position(|&extent| extent == 0) {
        return Err(Error::invalid(format!("{side}.sample_shape[{axis}] is 0; every extent must be at least 1")));
    }
    let dimension = shape.iter().try_fold(1usize, |all, &n| all.checked_mul(n));
    if dimension.is_none_or(|dimension| dimension > MAX_DIMENSION) {
        return Err(Error::invalid(format!(
            "{side}.sample_shape is {shape:?}, but its product must be at most {MAX_DIMENSION}, the most numbers \
             that a sample may have"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
