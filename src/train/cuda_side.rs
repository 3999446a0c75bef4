//! One side's samples on a GPU.

use super::side::Side;
use crate::data::{DataSource, DeviceRows};
use crate::device::cuda::gpu::Gpu;
use crate::device::cuda::kernels::Argument;
use crate::device::cuda::memory::DeviceBuffer;
use crate::error::Result;
use std::sync::Arc;

/// All samples of a set, drawn from on the GPU; or room for a batch that the host draws.
pub(super) struct CudaSide {
    samples: Samples,
    count: usize,
    /// Thresholds and aliases, where samples have weights.
    table: Option<[DeviceBuffer<u32>; 2]>,
    drawn_by_host: bool,
}

enum Samples {
    Copied(DeviceBuffer<f32>),
    Resident(Arc<dyn DeviceRows>),
}

impl CudaSide {
    /// Copies a set, or makes room for batches of `rows` samples. The context is current; so it is for every method.
    pub fn new(gpu: &Arc<Gpu>, data: &DataSource, rows: usize, name: &str) -> Result<Self> {
        let what = format!("the samples of the {name}");
        let dimension = data.dimension();
        let (samples, count, table) = match data {
            DataSource::Array(array) => {
                (Samples::Copied(DeviceBuffer::of(gpu, array.rows(), &what)?), array.count(), array.alias_table())
            }
            DataSource::Resident(resident) => {
                (Samples::Resident(Arc::clone(resident.rows())), resident.count(), resident.alias_table())
            }
            DataSource::Sampler(_) => (Samples::Copied(DeviceBuffer::new(gpu, rows * dimension, &what)?), rows, None),
        };
        let table = match table {
            Some(table) => Some([
                DeviceBuffer::of(gpu, table.thresholds(), &what)?,
                DeviceBuffer::of(gpu, table.aliases(), &what)?,
            ]),
            None => None,
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
            Side::Array(_) | Side::Resident => Ok(()),
            Side::Batch(rows) => match &mut self.samples {
                Samples::Copied(samples) => samples.upload(0, rows),
                Samples::Resident(_) => unreachable!("the host draws from samplers alone"),
            },
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
        let samples = match &self.samples {
            Samples::Copied(samples) => samples.address(),
            Samples::Resident(rows) => rows.address(),
        };
        [samples.into(), count.into(), thresholds.into(), aliases.into()]
    }
}
