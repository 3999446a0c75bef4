//! One side's samples on a GPU.

use super::gpu::Gpu;
use super::memory::DeviceBuffer;
use crate::data::{Changes, ResidentRows, SampleSet, SetSize};
use crate::error::Result;
use std::sync::Arc;

/// All samples of a set, from which the GPU draws batches, or room for a batch that the host draws.
pub(crate) struct SideSamples {
    /// Name of the side in errors.
    name: &'static str,
    samples: DeviceBuffer<f32>,
    /// Samples that were normalised on the GPU. They take the place of `samples`, which is never allocated then.
    resident: Option<Arc<dyn ResidentRows>>,
    /// Number of samples of the set; 0 where the host draws.
    count: usize,
    /// Thresholds and aliases of the alias table, where samples have weights.
    table: Option<[DeviceBuffer<u32>; 2]>,
    /// How pictures are changed whenever one is drawn.
    changes: Option<Changes>,
}

impl SideSamples {
    /// Plans room for a set of this size, or without one for batches of `rows` samples that the host draws. Samples
    /// have `dimension` numbers, and `name` is the side's. Nothing is allocated before [`Self::allocate`].
    pub fn planned(gpu: &Arc<Gpu>, set: Option<SetSize>, rows: usize, dimension: usize, name: &'static str) -> Self {
        let weighted = set.filter(|set| set.weighted);
        Self {
            name,
            samples: DeviceBuffer::planned(gpu, set.map_or(rows, |set| set.count) * dimension),
            resident: None,
            count: set.map_or(0, |set| set.count),
            table: weighted.map(|set| [0; 2].map(|_| DeviceBuffer::planned(gpu, set.count))),
            changes: None,
        }
    }

    /// Allocates the memory and copies the planned set to it. Samples that lie in device memory already stay there. The
    /// context is current here and in every other method.
    pub fn allocate(&mut self, set: Option<&SampleSet>) -> Result<()> {
        let what = format!("the samples of the {}", self.name);
        let Some(set) = set else {
            return self.samples.allocate(&what);
        };
        if let (Some([thresholds, aliases]), Some(table)) = (&mut self.table, set.alias_table()) {
            thresholds.allocate_with(table.thresholds(), &what)?;
            aliases.allocate_with(table.aliases(), &what)?;
        }
        self.changes = set.changes();
        match set {
            SampleSet::Array(array) => self.samples.allocate_with(array.rows(), &what),
            SampleSet::Resident(resident) => {
                self.resident = Some(Arc::clone(resident.rows()));
                Ok(())
            }
        }
    }

    /// Returns the bytes of device memory.
    pub fn bytes(&self) -> u64 {
        let table: u64 = self.table.iter().flatten().map(DeviceBuffer::bytes).sum();
        self.samples.bytes() + table
    }

    /// Returns whether the host has to draw each batch.
    pub fn drawn_by_host(&self) -> bool {
        self.count == 0
    }

    /// Copies a batch that the host drew.
    pub fn upload(&mut self, batch: &[f32]) -> Result<()> {
        self.samples.upload(0, batch)
    }

    /// Returns how pictures are changed whenever one is drawn.
    pub(super) fn changes(&self) -> Option<Changes> {
        self.changes
    }

    /// Returns the arguments of the kernel that draws: address, number of samples (0 where they are the batch),
    /// thresholds and aliases.
    pub(super) fn arguments(&self) -> (u64, u32, u64, u64) {
        let [thresholds, aliases] = match &self.table {
            Some(table) => table.each_ref().map(DeviceBuffer::address),
            None => [0, 0],
        };
        let samples = self.resident.as_ref().map_or(self.samples.address(), |rows| rows.address());
        (samples, self.count as u32, thresholds, aliases)
    }
}
