//! One side as a trainer owns it: normalised rows, or a sampler.

use super::augmentation::Changes;
use super::fingerprint::{DeviceSamples, Fingerprint, Hash};
use super::normalisation::SeenUnits;
use super::resident::ResidentRows;
use super::sampler::{self, Sampler};
use super::weights::{AliasTable, uniform_index};
use crate::error::{Error, Result};
use crate::memory;
use std::sync::Arc;

/// One side of the problem in normalised units, as [`Sides`](super::Sides) makes it.
pub enum DataSource {
    /// A finite set of samples.
    Array(ArraySource),
    /// A finite set of samples in device memory.
    Resident(ResidentSource),
    /// Fresh samples on demand.
    Sampler(SamplerSource),
}

impl DataSource {
    /// Numbers in one sample.
    pub fn dimension(&self) -> usize {
        match self {
            Self::Array(array) => array.dimension,
            Self::Resident(resident) => resident.dimension(),
            Self::Sampler(sampler) => sampler.units.units.len(),
        }
    }

    /// Returns the side's fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        match self {
            Self::Array(array) => Fingerprint::known(array.fingerprint),
            Self::Resident(resident) => resident.fingerprint(),
            Self::Sampler(_) => Fingerprint::of_sampler(),
        }
    }
}

/// A finite set of samples that batches are drawn from.
pub enum SampleSet {
    /// In host memory.
    Array(ArraySource),
    /// In device memory.
    Resident(ResidentSource),
}

impl SampleSet {
    /// Returns the set's size.
    pub(crate) fn size(&self) -> SetSize {
        match self {
            Self::Array(array) => array.size(),
            Self::Resident(resident) => resident.size(),
        }
    }

    /// Returns how pictures are changed whenever one is drawn; `None` where they stay as they are.
    #[cfg(feature = "cuda")]
    pub(crate) fn changes(&self) -> Option<Changes> {
        match self {
            Self::Array(array) => array.changes,
            Self::Resident(resident) => resident.changes,
        }
    }

    /// Returns the table to draw by; `None` when all samples weigh the same.
    pub fn alias_table(&self) -> Option<&AliasTable> {
        match self {
            Self::Array(array) => array.alias_table(),
            Self::Resident(resident) => resident.alias_table(),
        }
    }
}

/// The size of a finite set of samples.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SetSize {
    /// Number of samples.
    pub count: usize,
    /// Whether they have weights.
    pub weighted: bool,
    /// Whether they lie in device memory.
    pub resident: bool,
}

impl SetSize {
    /// Bytes of host memory that stay with the fingerprint of such a set until it is made.
    pub fn fingerprint_bytes(&self) -> usize {
        if self.resident && self.weighted { self.count.saturating_mul(size_of::<f64>()) } else { 0 }
    }

    /// Returns the bytes of host memory that a [`SampleSet`] takes for samples of `dimension` numbers.
    pub fn bytes(&self, dimension: usize) -> usize {
        let weight = if self.weighted { AliasTable::SAMPLE_BYTES } else { 0 };
        let numbers = if self.resident { 0 } else { dimension };
        self.count.saturating_mul(numbers.saturating_mul(size_of::<f32>()).saturating_add(weight))
    }
}

/// A copy of a side's samples, normalised, and the way to draw from them by weight. Nothing here allocates.
pub struct ArraySource {
    rows: Vec<f32>,
    count: usize,
    dimension: usize,
    table: Option<AliasTable>,
    changes: Option<Changes>,
    fingerprint: u64,
}

impl ArraySource {
    /// Takes whole rows, 1 to `u32::MAX` of them, and as many weights if any.
    pub(super) fn new(
        rows: Vec<f32>,
        dimension: usize,
        weights: Option<&[f64]>,
        changes: Option<Changes>,
    ) -> Result<Self> {
        let count = rows.len() / dimension;
        Ok(Self {
            fingerprint: Hash::of(&rows, dimension, weights, changes),
            rows,
            count,
            dimension,
            table: weights.map(AliasTable::new).transpose()?,
            changes,
        })
    }

    /// Returns the number of samples, and whether they have weights.
    pub(crate) fn size(&self) -> SetSize {
        SetSize { count: self.count, weighted: self.table.is_some(), resident: false }
    }

    /// Returns all samples: count x dimension, row-major, normalised.
    pub fn rows(&self) -> &[f32] {
        &self.rows
    }

    /// Returns one normalised sample.
    ///
    /// # Panics
    /// If there is no such sample.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.rows[index * self.dimension..][..self.dimension]
    }

    /// Returns how pictures are changed whenever one is drawn; `None` where they stay as they are.
    pub(crate) fn changes(&self) -> Option<&Changes> {
        self.changes.as_ref()
    }

    /// Returns the table behind [`ArraySource::draw`]; `None` when all samples weigh the same.
    pub fn alias_table(&self) -> Option<&AliasTable> {
        self.table.as_ref()
    }

    /// Returns the index of the sample that two independent, evenly distributed 32-bit numbers select, with probability
    /// proportional to its weight. Without weights only the first number matters.
    pub fn draw(&self, column: u32, accept: u32) -> u32 {
        match &self.table {
            Some(table) => table.draw(column, accept),
            None => uniform_index(column, self.count),
        }
    }
}

/// A side's normalised samples in device memory, and the way to draw from them by weight.
pub struct ResidentSource {
    rows: Arc<dyn ResidentRows>,
    count: usize,
    dimension: usize,
    weights: Option<Arc<Vec<f64>>>,
    table: Option<AliasTable>,
    changes: Option<Changes>,
}

impl ResidentSource {
    pub(super) fn new(
        rows: Arc<dyn ResidentRows>,
        count: usize,
        dimension: usize,
        weights: Option<Vec<f64>>,
        changes: Option<Changes>,
    ) -> Result<Self> {
        let table = weights.as_deref().map(AliasTable::new).transpose()?;
        Ok(Self { rows, count, dimension, weights: weights.map(Arc::new), table, changes })
    }

    /// Returns the number of samples, and whether they have weights.
    pub(crate) fn size(&self) -> SetSize {
        SetSize { count: self.count, weighted: self.table.is_some(), resident: true }
    }

    /// Numbers in one sample.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Returns all samples: count x dimension, row-major, normalised.
    pub fn rows(&self) -> &Arc<dyn ResidentRows> {
        &self.rows
    }

    /// Returns the table to draw by; `None` when all samples weigh the same.
    pub fn alias_table(&self) -> Option<&AliasTable> {
        self.table.as_ref()
    }

    fn fingerprint(&self) -> Fingerprint {
        let Self { rows, count, dimension, weights, changes, .. } = self;
        let (rows, weights) = (Arc::clone(rows), weights.clone());
        let (numbers, dimension, changes) = (count * dimension, *dimension, *changes);
        Fingerprint::on_device(DeviceSamples { rows, numbers, dimension, weights, changes })
    }
}

/// A side whose samples a host draws on demand.
pub struct SamplerSource {
    sampler: Box<dyn Sampler>,
    units: SeenUnits,
    /// Room for one sample.
    row: Vec<f64>,
}

impl SamplerSource {
    pub(super) fn new(sampler: Box<dyn Sampler>, units: SeenUnits) -> Result<Self> {
        let row = memory::filled("a sample of a sampler", units.units.len(), 0.0)?;
        Ok(Self { sampler, units, row })
    }

    /// Draws `rows` fresh samples into `out`, rows x dimension, normalised. `side` ("source" or "target") names the
    /// sampler in errors: its own failure, or a value that is missing, not finite or too far out for 32 bits.
    /// After an error the content of `out` is unspecified.
    ///
    /// # Panics
    /// If `out` has another size.
    pub fn fill(&mut self, rows: usize, out: &mut [f32], side: &str) -> Result<()> {
        let dimension = self.row.len();
        assert_eq!(out.len(), rows * dimension, "out has another size than the rows asked for");
        sampler::draw(&mut *self.sampler, out, dimension, side)?;
        for (number, row) in out.chunks_exact_mut(dimension).enumerate() {
            self.row.iter_mut().zip(row.iter()).for_each(|(wide, &x)| *wide = f64::from(x));
            self.units.apply(&self.row, row);
            if let Some(axis) = row.iter().position(|value| !value.is_finite()) {
                let component = self.units.culprit(&self.row, axis);
                return Err(Error::invalid(format!(
                    "the {side} sampler gave a value at row {number}, component {component} that is beyond the 32-bit range once divided by the \
                     samples' scale {:e}; samples must lie nearer to those that the scale was measured on",
                    self.units.normalised.scale
                )));
            }
        }
        Ok(())
    }
}
