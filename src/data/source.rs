//! What a trainer owns of one side: normalised rows, or a sampler.

use super::normalisation::Normalisation;
use super::sampler::{self, Sampler};
use super::weights::{AliasTable, uniform_index};
use crate::error::{Error, Result};

/// One side of the problem in normalised units, as [`Sides`](super::Sides) makes it.
pub enum DataSource {
    /// A finite set of samples.
    Array(ArraySource),
    /// Fresh samples on demand.
    Sampler(SamplerSource),
}

impl DataSource {
    /// Numbers in one sample.
    pub fn dimension(&self) -> usize {
        match self {
            Self::Array(array) => array.dimension,
            Self::Sampler(sampler) => sampler.normalisation.dimension(),
        }
    }

    /// A hash of the normalised samples, their order and their weights, the same on every machine: a checkpoint keeps
    /// it to refuse other data on resuming. `None` for a sampler, whose samples cannot be told apart.
    pub fn fingerprint(&self) -> Option<u64> {
        match self {
            Self::Array(array) => Some(array.fingerprint),
            Self::Sampler(_) => None,
        }
    }
}

/// How large a finite set of samples is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SetSize {
    /// Number of samples.
    pub count: usize,
    /// Whether they have weights.
    pub weighted: bool,
}

impl SetSize {
    /// Bytes that [`ArraySource`] takes for samples of `dimension` numbers.
    pub fn bytes(&self, dimension: usize) -> usize {
        let weight = if self.weighted { AliasTable::SAMPLE_BYTES } else { 0 };
        self.count.saturating_mul(dimension.saturating_mul(size_of::<f32>()).saturating_add(weight))
    }
}

/// A copy of a side's samples, normalised, and the way to draw from them by weight. Nothing here allocates.
pub struct ArraySource {
    rows: Vec<f32>,
    count: usize,
    dimension: usize,
    table: Option<AliasTable>,
    fingerprint: u64,
}

impl ArraySource {
    /// Takes whole rows, 1 to `u32::MAX` of them, and as many weights if any.
    pub(super) fn new(rows: Vec<f32>, dimension: usize, weights: Option<&[f64]>) -> Result<Self> {
        let count = rows.len() / dimension;
        Ok(Self {
            fingerprint: fingerprint(&rows, dimension, weights),
            rows,
            count,
            dimension,
            table: weights.map(AliasTable::new).transpose()?,
        })
    }

    /// Number of samples, and whether they have weights.
    pub(crate) fn size(&self) -> SetSize {
        SetSize { count: self.count, weighted: self.table.is_some() }
    }

    /// All samples, count x dimension, row-major, normalised.
    pub fn rows(&self) -> &[f32] {
        &self.rows
    }

    /// One sample, normalised.
    ///
    /// # Panics
    /// If there is no such sample.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.rows[index * self.dimension..][..self.dimension]
    }

    /// The table behind [`ArraySource::draw`]; `None` when all samples weigh the same.
    pub fn alias_table(&self) -> Option<&AliasTable> {
        self.table.as_ref()
    }

    /// The sample that two independent, evenly distributed 32-bit numbers select, with probability proportional to
    /// its weight. Without weights only the first number matters.
    pub fn draw(&self, column: u32, accept: u32) -> u32 {
        match &self.table {
            Some(table) => table.draw(column, accept),
            None => uniform_index(column, self.count),
        }
    }
}

/// A side whose samples a host draws on demand.
pub struct SamplerSource {
    sampler: Box<dyn Sampler>,
    normalisation: Normalisation,
}

impl SamplerSource {
    pub(super) fn new(sampler: Box<dyn Sampler>, normalisation: Normalisation) -> Self {
        Self { sampler, normalisation }
    }

    /// Draws `rows` fresh samples into `out`, rows x dimension, normalised. `side` ("source" or "target") names the
    /// sampler in errors: its own failure, or a value that is missing, not finite or too far out for 32 bits.
    /// After an error the content of `out` is unspecified.
    ///
    /// # Panics
    /// If `out` has another size.
    pub fn fill(&mut self, rows: usize, out: &mut [f32], side: &str) -> Result<()> {
        let dimension = self.normalisation.dimension();
        assert_eq!(out.len(), rows * dimension, "out has another size than the rows asked for");
        sampler::draw(&mut *self.sampler, out, dimension, side)?;
        self.normalisation.apply_in_place(out);
        match out.iter().position(|value| !value.is_finite()) {
            None => Ok(()),
            Some(at) => Err(Error::invalid(format!(
                "the {side} sampler gave a value at row {}, component {} that is beyond the 32-bit range once divided by the \
                 samples' scale {:e}; samples must lie nearer to those that the scale was measured on",
                at / dimension,
                at % dimension,
                self.normalisation.scale
            ))),
        }
    }
}

/// FNV-1a over 64-bit words instead of bytes, with the high half folded down so that every bit reaches every other.
fn fingerprint(rows: &[f32], dimension: usize, weights: Option<&[f64]>) -> u64 {
    let mut hash = 0xCBF2_9CE4_8422_2325u64;
    let mut mix = |word: u64| {
        hash = (hash ^ word).wrapping_mul(0x0000_0100_0000_01B3);
        hash ^= hash >> 32;
    };
    mix(dimension as u64);
    mix(rows.len() as u64);
    rows.iter().for_each(|row| mix(row.to_bits().into()));
    mix(weights.is_some().into());
    weights.unwrap_or_default().iter().for_each(|weight| mix(weight.to_bits()));
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_fingerprint_notices_every_change(
            rows in prop::collection::vec(-2.0f32..2.0, 12), at in 0usize..12, other in -2.0f32..2.0, swap in 1usize..12,
        ) {
            let print = |rows: &[f32], dimension, weights: Option<&[f64]>| {
                ArraySource::new(rows.to_vec(), dimension, weights).unwrap().fingerprint
            };
            let original = print(&rows, 3, None);
            prop_assert_eq!(original, print(&rows, 3, None));
            prop_assert_ne!(original, print(&rows, 4, None));
            prop_assert_ne!(original, print(&rows[..9], 3, None));
            let weighted = print(&rows, 3, Some(&[1.0; 4]));
            prop_assert_ne!(original, weighted);
            prop_assert_ne!(weighted, print(&rows, 3, Some(&[1.0, 1.0, 0.5, 1.0])));
            let mut changed = rows.clone();
            changed[at] = other;
            prop_assert_eq!(changed == rows, print(&changed, 3, None) == original);
            let mut swapped = rows.clone();
            swapped.swap(0, swap);
            prop_assert_eq!(swapped == rows, print(&swapped, 3, None) == original);
        }
    }
}
