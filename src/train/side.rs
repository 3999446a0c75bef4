//! One side's data as the trainer keeps it.

use crate::data::{ArraySource, DataSource};
use crate::error::Result;
use crate::memory;

/// One side's samples for a step.
#[derive(Clone, Copy)]
pub(crate) enum Side<'a> {
    /// Drawn by the engine.
    Array(&'a ArraySource),
    /// Drawn by the engine, which has them on its device.
    Resident,
    /// Drawn by the host: one normalised row a sample of the batch.
    Batch(&'a [f32]),
}

/// One side's data, with room for a batch where the host draws it.
pub(crate) struct SideBuffer {
    pub data: DataSource,
    name: &'static str,
    rows: usize,
    batch: Vec<f32>,
    /// The batch was drawn for what has not been done yet.
    held: bool,
}

impl SideBuffer {
    pub fn new(data: DataSource, name: &'static str, rows: usize) -> Result<Self> {
        let batch = match &data {
            DataSource::Array(_) | DataSource::Resident(_) => Vec::new(),
            DataSource::Sampler(_) => {
                let numbers = rows.saturating_mul(data.dimension());
                memory::filled(&format!("a batch of the {name} sampler"), numbers, 0f32)?
            }
        };
        Ok(Self { data, name, rows, batch, held: false })
    }

    /// Samples for one half step; a sampler is called, unless its last batch is held.
    pub fn draw(&mut self) -> Result<Side<'_>> {
        match &mut self.data {
            DataSource::Array(array) => Ok(Side::Array(array)),
            DataSource::Resident(_) => Ok(Side::Resident),
            DataSource::Sampler(sampler) => {
                if !std::mem::take(&mut self.held) {
                    sampler.fill(self.rows, &mut self.batch, self.name)?;
                }
                Ok(Side::Batch(&self.batch))
            }
        }
    }

    /// Keeps what was drawn last for the next draw. What an array gives depends on the step alone.
    pub fn hold(&mut self) {
        self.held = true;
    }
}

/// Both sides of a problem.
pub(crate) struct Sides {
    pub source: SideBuffer,
    pub target: SideBuffer,
}
