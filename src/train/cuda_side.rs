//! One side's samples on a GPU.

use super::side::Side;
use crate::data::DataSource;
use crate::device::Mat;
use crate::device::cuda::block::{CudaBlock, CudaNoise};
use crate::device::cuda::gpu::Gpu;
use crate::device::cuda::kernels::{Kernel, arguments_of};
use crate::device::cuda::memory::DeviceBuffer;
use crate::error::Result;
use crate::rng::Stream;
use std::sync::Arc;

/// All samples of a set, drawn from on the GPU; or room for a batch that the host draws.
pub(super) struct CudaSide {
    samples: DeviceBuffer<f32>,
    count: usize,
    dimension: usize,
    /// Thresholds and aliases, where samples have weights.
    table: Option<[DeviceBuffer<u32>; 2]>,
    drawn_by_host: bool,
    stream: Stream,
}

/// Which samples a batch consists of: an address of indices, 0 where the samples are the batch.
#[derive(Clone, Copy)]
pub(super) struct Indices(u64);

impl CudaSide {
    /// Copies a set, or makes room for batches of `rows` samples. The context is current; so it is for every method.
    pub fn new(gpu: &Arc<Gpu>, data: &DataSource, rows: usize, stream: Stream, name: &str) -> Result<Self> {
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
        Ok(Self { samples, count, dimension, table, drawn_by_host: matches!(data, DataSource::Sampler(_)), stream })
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

    /// Queues the draw of `count` samples of a batch; `by` says which.
    pub fn draw(&self, block: &mut CudaBlock, by: &CudaNoise, count: usize) -> Indices {
        if self.drawn_by_host {
            return Indices(0);
        }
        // Integers take the room of floats.
        let indices = block.scratch_address(count);
        let [thresholds, aliases] = match &self.table {
            Some(table) => table.each_ref().map(DeviceBuffer::address),
            None => [0, 0],
        };
        let arguments = arguments_of![
            indices,
            count as u32,
            self.count as u32,
            thresholds,
            aliases,
            by.seed,
            by.counter,
            by.number,
            self.stream as u32,
        ];
        block.launch_over(Kernel::BatchIndices, count.div_ceil(2) as u64, arguments);
        Indices(indices)
    }

    /// Queues the copy of a batch's samples from number `first` on into the rows of `to`, each `repeat` times; with
    /// `value` the column behind them is set to it.
    pub fn gather(
        &self,
        block: &mut CudaBlock,
        Indices(indices): Indices,
        first: usize,
        repeat: usize,
        to: Mat,
        value: Option<f32>,
    ) {
        let d = self.dimension;
        let (samples, indices) = if indices == 0 {
            (self.samples.at(first * d), 0)
        } else {
            (self.samples.address(), indices + (first * size_of::<u32>()) as u64)
        };
        let (out, stride) = block.place(to);
        let arguments = arguments_of![
            samples,
            d as u32,
            indices,
            repeat as u32,
            out,
            stride,
            to.rows as u32,
            d as u32,
            u32::from(value.is_some()),
            value.unwrap_or(0.0),
        ];
        let each = if d.is_multiple_of(4) { 4 } else { 1 };
        block.launch_over(Kernel::BatchGather, (to.rows * d / each) as u64, arguments);
    }
}
