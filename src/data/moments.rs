//! Mean and central second moment of each component of one side.

use super::tensor::rows_of_block;
use crate::error::Result;
use crate::memory;
use crate::numbers::Numbers;

/// The least variance that counts: a millionth of the samples' common scale, squared. What varies less is one point.
pub(crate) const LEAST_VARIANCE: f64 = 1e-12;

/// Moments of one side in units of a normalisation.
#[derive(Clone, Debug)]
pub(crate) struct Spread {
    /// One number for each component.
    pub mean: Numbers,
    /// One number for each component.
    pub variances: Numbers,
}

impl Spread {
    /// Returns moments with the same variance in every component.
    #[cfg(test)]
    pub fn even(mean: Vec<f64>, variance: f64) -> Self {
        Self { variances: vec![variance; mean.len()].into(), mean: mean.into() }
    }

    /// Returns the variance, averaged over the components.
    pub fn variance(&self) -> f64 {
        self.variances.iter().sum::<f64>() / self.variances.len() as f64
    }

    /// Returns the mean square of each component.
    pub fn squares(&self) -> impl ExactSizeIterator<Item = f64> {
        self.mean.iter().zip(self.variances.iter()).map(|(mean, variance)| mean * mean + variance)
    }

    /// Returns the mean square of (x - centre), averaged over the components.
    pub fn square_about(&self, centre: &[f64]) -> f64 {
        let away: f64 = self.mean.iter().zip(centre).map(|(mean, centre)| (mean - centre).powi(2)).sum();
        self.variance() + away / self.mean.len() as f64
    }

    /// Returns the moments of (x - centre) / scale.
    pub fn normalised(&self, centre: &[f64], scale: f64) -> Result<Self> {
        let mean = self.mean.iter().zip(centre).map(|(mean, centre)| (mean - centre) / scale);
        let variances = self.variances.iter().map(|variance| variance / (scale * scale));
        Ok(Self { mean: Numbers::collect(mean)?, variances: Numbers::collect(variances)? })
    }
}

/// What the weights of a block of rows decide about how it enters the moments. Kernels read it (cuda/samples.cu).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct RowBlock {
    /// The row that is subtracted from all others before they are summed, so that constant data has a spread of exactly
    /// 0. It is the heaviest row: a far-off row of little weight would cost the digits of all others.
    pub origin: u64,
    /// Weight of all its rows together. A block of weight 0 takes no part.
    pub weight: f64,
    /// Its share of the weight of all rows up to its end.
    pub share: f64,
    /// That share of the weight of all rows before the block.
    pub pull: f64,
}

impl RowBlock {
    /// Describes a block of `rows` rows behind others that weigh `before`. `origin` counts from its first row.
    fn behind(before: f64, rows: usize, weights: Option<&[f64]>) -> Self {
        let weight_of = |row: usize| weights.map_or(1.0, |weights| weights[row]);
        let weight: f64 = (0..rows).map(weight_of).sum();
        let origin = (0..rows).fold(0, |best, row| if weight_of(row) > weight_of(best) { row } else { best });
        let share = weight / (before + weight);
        Self { origin: origin as u64, weight, share, pull: before * share }
    }
}

/// All blocks of an array, for a device that gathers its moments.
pub struct RowBlocks {
    /// Number of rows in a block. The last block may have fewer.
    pub rows: usize,
    /// The blocks in their order. Origins count from the array's first row.
    pub list: Vec<RowBlock>,
    /// Weight of all rows.
    pub weight: f64,
}

impl RowBlocks {
    /// Describes the blocks into which [`TensorView`](super::TensorView) cuts `count` samples of `dimension` numbers
    /// each.
    pub(super) fn new(count: usize, dimension: usize, weights: Option<&[f64]>) -> Result<Self> {
        let rows = rows_of_block(count, dimension);
        let mut list = memory::with_room("the samples' moments", count.div_ceil(rows))?;
        let mut weight = 0.0;
        for first in (0..count).step_by(rows) {
            let end = count.min(first + rows);
            let mut block = RowBlock::behind(weight, end - first, weights.map(|weights| &weights[first..end]));
            block.origin += first as u64;
            weight += block.weight;
            list.push(block);
        }
        Ok(Self { rows, list, weight })
    }
}

/// Weighted moments that are gathered block by block. There are two passes inside a block, and blocks are joined by
/// their means, so that a small spread around a large mean survives.
pub(super) struct Moments {
    weight: f64,
    mean: Vec<f64>,
    /// Sum of weight * (value - mean)^2.
    spread: Vec<f64>,
    block_mean: Vec<f64>,
}

impl Moments {
    /// Bytes of those of so many components.
    pub fn bytes(dimension: usize) -> usize {
        dimension.saturating_mul(3 * size_of::<f64>())
    }

    pub fn new(dimension: usize) -> Result<Self> {
        let zeros = || memory::filled("the samples' moments", dimension, 0.0);
        Ok(Self { weight: 0.0, mean: zeros()?, spread: zeros()?, block_mean: zeros()? })
    }

    /// Takes moments that a device has gathered from rows of this total weight: [`Moments::mean`], and for each
    /// component the sum of weight * (value - mean)^2.
    pub fn gathered(weight: f64, mean: Vec<f64>, spread: Vec<f64>) -> Self {
        Self { weight, mean, spread, block_mean: Vec::new() }
    }

    /// Adds rows x dimension values; without `weights` each row weighs 1.
    pub fn add(&mut self, rows: &[f64], weights: Option<&[f64]>) {
        let dimension = self.mean.len();
        let weight_of = |row: usize| weights.map_or(1.0, |weights| weights[row]);
        let block = RowBlock::behind(self.weight, rows.len() / dimension, weights);
        if block.weight == 0.0 {
            return;
        }
        let origin = &rows[block.origin as usize * dimension..][..dimension];
        self.block_mean.fill(0.0);
        for (k, row) in rows.chunks_exact(dimension).enumerate() {
            let weight = weight_of(k);
            for ((sum, value), origin) in self.block_mean.iter_mut().zip(row).zip(origin) {
                *sum += weight * (value - origin);
            }
        }
        for (mean, origin) in self.block_mean.iter_mut().zip(origin) {
            *mean = origin + *mean / block.weight;
        }
        for (k, row) in rows.chunks_exact(dimension).enumerate() {
            let weight = weight_of(k);
            for ((spread, value), mean) in self.spread.iter_mut().zip(row).zip(&self.block_mean) {
                // In this order a weight of 0 makes 0 even where the square would overflow.
                *spread += weight * (value - mean) * (value - mean);
            }
        }
        let first = self.weight == 0.0;
        self.weight += block.weight;
        if first {
            self.mean.copy_from_slice(&self.block_mean);
            return;
        }
        for ((mean, spread), block_mean) in self.mean.iter_mut().zip(&mut self.spread).zip(&self.block_mean) {
            let step = block_mean - *mean;
            *mean += step * block.share;
            *spread += step * step * block.pull;
        }
    }

    /// Returns the mean of each component.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// Returns the moments of (value - shift) / scale.
    pub fn normalised(&self, shift: &[f64], scale: f64) -> Result<Spread> {
        let mean = self.mean.iter().zip(shift).map(|(mean, shift)| (mean - shift) / scale);
        let deviations = self.spread.iter().map(|spread| (spread / self.weight).sqrt() / scale);
        Ok(Spread { mean: Numbers::collect(mean)?, variances: Numbers::collect(deviations.map(|x| x * x))? })
    }

    /// Returns the mean of (value - centre)^2 of one component.
    pub fn second_moment_about(&self, component: usize, centre: f64) -> f64 {
        let step = self.mean[component] - centre;
        self.spread[component] / self.weight + step * step
    }
}
