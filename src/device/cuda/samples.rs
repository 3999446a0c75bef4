//! One side's samples on a GPU.

use super::gpu::Gpu;
use super::memory::DeviceBuffer;
use crate::data::{ResidentRows, SampleSet, SetSize};
use crate::error::Result;
use std::sync::Arc;

/// All samples of a set, which batches are drawn from on the GPU; or room for a batch that the host draws.
pub(crate) struct SideSamples {
    /// What a refusal calls the side.
    name: &'static str,
    samples: DeviceBuffer<f32>,
    /// Those that were normalised on the GPU, which take the place of `samples`: that is planned alone then.
    resident: Option<Arc<dyn ResidentRows>>,
    /// Samples of the set; 0 where the host draws.
    count: usize,
    /// Thresholds and aliases, where samples have weights.
    table: Option<[DeviceBuffer<u32>; 2]>,
}

impl SideSamples {
    /// Room for a set of this size; without one, for batches of `rows` samples that the host draws. Samples have
    /// `dimension` numbers, and `name` is the side's. Nothing is allocated before [`Self::allocate`].
    pub fn planned(gpu: &Arc<Gpu>, set: Option<SetSize>, rows: usize, dimension: usize, name: &'static str) -> Self {
        let weighted = set.filter(|set| set.weighted);
        Self {
            name,
            samples: DeviceBuffer::planned(gpu, set.map_or(rows, |set| set.count) * dimension),
            resident: None,
            count: set.map_or(0, |set| set.count),
            table: weighted.map(|set| [0; 2].map(|_| DeviceBuffer::planned(gpu, set.count))),
        }
    }

    /// Takes the memory, and copies the set that it was planned for; samples that lie in it already stay there. The
    /// context is current; so it is for every method.
    pub fn allocate(&mut self, set: Option<&SampleSet>) -> Result<()> {
        let what = format!("the samples of the {}", self.name);
        let Some(set) = set else {
            return self.samples.allocate(&what);
        };
        if let (Some([thresholds, aliases]), Some(table)) = (&mut self.table, set.alias_table()) {
            thresholds.allocate_with(table.thresholds(), &what)?;
            aliases.allocate_with(table.aliases(), &what)?;
        }
        match set {
            SampleSet::Array(array) => self.samples.allocate_with(array.rows(), &what),
            SampleSet::Resident(resident) => {
                self.resident = Some(Arc::clone(resident.rows()));
                Ok(())
            }
        }
    }

    /// Bytes of device memory.
    pub fn bytes(&self) -> u64 {
        let table: u64 = self.table.iter().flatten().map(DeviceBuffer::bytes).sum();
        self.samples.bytes() + table
    }

    /// Whether the host has to draw each batch.
    pub fn drawn_by_host(&self) -> bool {
        self.count == 0
    }

    /// Copies a batch that the host drew.
    pub fn upload(&mut self, batch: &[f32]) -> Result<()> {
        self.samples.upload(0, batch)
    }

    /// What the kernel takes that draws from it: address, number of samples (0 where they are the batch), thresholds
    /// and aliases.
    pub(super) fn arguments(&self) -> (u64, u32, u64, u64) {
        let [thresholds, aliases] = match &self.table {
            Some(table) => table.each_ref().map(DeviceBuffer::address),
            None => [0, 0],
        };
        let samples = self.resident.as_ref().map_or(self.samples.address(), |rows| rows.address());
        (samples, self.count as u32, thresholds, aliases)
    }
}
