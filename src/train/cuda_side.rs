//! One side's samples on a GPU.

use super::side::Side;
use crate::data::DataSource;
use crate::device::cuda::gpu::Gpu;
use crate::device::cuda::kernels::Argument;
use crate::device::cuda::memory::DeviceBuffer;
use crate::error::Result;
use std::sync::Arc;

/// All samples of a set, drawn from on the GPU; or room for a batch that the host draws.
pub(super) struct CudaSide {
    samples: DeviceBuffer<f32>,
    count: usize,
    /// Thresholds and aliases, where samples have weights.
    table: Option<[DeviceBuffer<u32>; 2]>,
    drawn_by_host: bool,
}

impl CudaSide {
    /// Copies a set, or makes room for batches of `rows` samples. The context is current; so it is for every method.
    pub fn new(gpu: &Arc<Gpu>, data: &DataSource, rows: usize, name: &str) -> Result<Self> {
        let what = format!("the samples of the {name}");
        let dimension = data.dimension();
        let (samples, count, table) = match data {
            DataSource::Array(array) => {
                let table = match array.alias_table() {
                    Some(table) => Some([
                        DeviceBuffer::of(gpu, table.thresholds(), &what)?,
                        DeviceBuffer::of(gpu, table.aliases(), &what)?,
                    ]),
                    None => None,
                };
                (DeviceBuffer::of(gpu, array.rows(), &what)?, array.count(), table)
            }
            DataSource::Sampler(_) => (DeviceBuffer::new(gpu, rows * dimension, &what)?, rows, None),
        };
        Ok(Self { samples, count, table, drawn_by_host: matches!(data, DataSource::Sampler(_)) })
    }

    /// Whether the host has to draw each batch.
    pub fn drawn_by_host(&self) -> bool {
        self.drawn_by_host
    }

    /// Copies a batch that the host drew.
    pub fn upload(&mut self, side: Side<'_>) -> Result<()> {
        match side {
            Side::Array(_) => Ok(()),
            Side::Batch(rows) => self.samples.upload(0, rows),
        }
    }

    /// As the kernel that draws from it takes it: address, number of samples (0 where they are the batch), thresholds and
    /// aliases.
    pub fn arguments(&self) -> [Argument; 4] {
        let [thresholds, aliases] = match &self.table {
            Some(table) => table.each_ref().map(DeviceBuffer::address),
            None => [0, 0],
        };
        let count = if self.drawn_by_host { 0 } else { self.count as u32 };
        [self.samples.address().into(), count.into(), thresholds.into(), aliases.into()]
    }
}
