//! Host memory that it takes to measure both sides and to make of them what a trainer owns.

use super::{CheckedSamples, CheckedSide, STATISTICS_ROWS, Sides, statistics_rows};
use crate::data::moments::{Moments, RowBlock};
use crate::data::sketch::Sketch;
use crate::data::tensor::rows_of_block;
use crate::data::weights::AliasTable;

impl Sides<'_, '_> {
    /// The most bytes that are taken at a time by [`Sides::measure`] and [`Sides::prepare`], the weights and what has been
    /// prepared so far included. A few numbers for each component of a sample are left out. With `many`, many samples of both
    /// sides are kept.
    pub(crate) fn bytes_while_made(&self, many: bool) -> usize {
        let (source, target, weights) = (&self.source, &self.target, self.weight_bytes());
        // Both sides' moments come to stand beside each other.
        let moments = sum([Moments::bytes(self.source.dimension()); 2]);
        let [of_source, of_target] = [source, target].map(|side| side.sketch_bytes(false));
        let many = sum([source, target].map(|side| if many { side.sketch_bytes(true) } else { 0 }));
        // Samples of the target as they are, along axes and along others, or twice as many in place of these two. The
        // source's are not needed any more then.
        let split = target.split_bytes();
        let measuring = source.measuring_bytes().max(target.measuring_bytes()).max(split);
        let choosing = sum([of_source, measuring]).max(split.saturating_mul(3));
        sum([weights, moments, many, of_target, choosing]).max(self.bytes_while_prepared())
    }

    /// The most bytes that are taken at a time by [`Sides::prepare`], as [`Sides::bytes_while_made`] says.
    pub(crate) fn bytes_while_prepared(&self) -> usize {
        let (source, target) = (&self.source, &self.target);
        let first = sum([self.weight_bytes(), source.preparing_bytes()]);
        let second = sum([target.weight_bytes(), source.prepared_bytes(), target.preparing_bytes()]);
        first.max(second)
    }

    /// Bytes of both sides' weights, which are there already.
    pub(crate) fn weight_bytes(&self) -> usize {
        sum([&self.source, &self.target].map(CheckedSide::weight_bytes))
    }
}

impl CheckedSide<'_> {
    fn weight_bytes(&self) -> usize {
        self.size().map_or(0, |set| if set.weighted { set.count.saturating_mul(size_of::<f64>()) } else { 0 })
    }

    /// What a block of rows takes while an array is read.
    fn block_bytes(&self) -> usize {
        match &self.input {
            CheckedSamples::Array { samples, .. } => {
                let rows = rows_of_block(samples.count(), samples.dimension());
                rows.saturating_mul(samples.dimension()).saturating_mul(size_of::<f64>())
            }
            CheckedSamples::Resident { .. } | CheckedSamples::Sampler(_) => 0,
        }
    }

    /// What is taken beside the moments while they are gathered.
    fn measuring_bytes(&self) -> usize {
        let dimension = self.dimension();
        match &self.input {
            CheckedSamples::Array { .. } => self.block_bytes(),
            CheckedSamples::Resident { samples, .. } => {
                let count = samples.shape()[0];
                count.div_ceil(rows_of_block(count, dimension)).saturating_mul(size_of::<RowBlock>())
            }
            CheckedSamples::Sampler(_) => {
                let numbers = statistics_rows(dimension).saturating_mul(dimension);
                numbers.saturating_mul(size_of::<f32>() + size_of::<f64>())
            }
        }
    }

    /// How many samples are measured.
    fn measured_rows(&self) -> usize {
        self.size().map_or(STATISTICS_ROWS, |size| size.count)
    }

    /// What the samples take that are picked to measure covariances, or with `many` those that peaks are fitted to.
    fn sketch_bytes(&self, many: bool) -> usize {
        Sketch::bytes(self.measured_rows(), self.dimension(), many)
    }

    /// What samples take by which clusters are told.
    fn split_bytes(&self) -> usize {
        Sketch::split_bytes(self.measured_rows(), self.dimension())
    }

    /// What is left when it is prepared.
    fn prepared_bytes(&self) -> usize {
        self.size().map_or(0, |set| set.bytes(self.dimension()))
    }

    /// What is taken beside the weights while it is prepared: the copy, and then a block of rows or what the table to draw by
    /// is made of.
    fn preparing_bytes(&self) -> usize {
        let table = self.size().filter(|set| set.weighted).map_or(0, |set| set.count);
        sum([self.prepared_bytes(), self.block_bytes().max(table.saturating_mul(AliasTable::MAKING_SAMPLE_BYTES))])
    }
}

/// The sum, or the largest number where that is not enough for it.
fn sum<const N: usize>(parts: [usize; N]) -> usize {
    parts.into_iter().fold(0, usize::saturating_add)
}
