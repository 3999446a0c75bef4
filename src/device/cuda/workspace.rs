//! Device memory for computations on rows, which grows to the size that they need.

use super::block::CudaBlock;
use super::gpu::Gpu;
use super::memory::DeviceBuffer;
use crate::device::Mat;
use crate::error::Result;
use std::sync::Arc;

/// A workspace that is kept from one computation to the next. The GPU's context is current in every call.
pub(crate) struct CudaWorkspace {
    gpu: Arc<Gpu>,
    /// Its name in errors.
    name: &'static str,
    memory: Option<DeviceBuffer<f32>>,
}

impl CudaWorkspace {
    /// Returns an empty workspace. It takes memory with the first computation.
    pub fn new(gpu: &Arc<Gpu>, name: &'static str) -> Self {
        Self { gpu: Arc::clone(gpu), name, memory: None }
    }

    /// The GPU.
    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    /// Makes room for the largest number of rows, from one up to `rows`, for which `work` fits into `most` floats and
    /// into what the memory limit leaves. One row may take more than `most`. Returns the number.
    pub fn fit(&mut self, mut rows: usize, most: usize, work: impl Fn(&mut CudaBlock, usize)) -> Result<usize> {
        loop {
            let mut block = CudaBlock::measuring(&self.gpu);
            work(&mut block, rows);
            block.finish()?;
            let (room, present) = (block.most(), self.memory.as_ref().map_or(0, DeviceBuffer::len));
            let left = (self.gpu.account().left() / size_of::<f32>() as u64) as usize;
            if room > most.min(left.saturating_add(present)) && rows > 1 {
                rows = rows.div_ceil(2);
                continue;
            }
            if room > present {
                self.memory = None;
                self.memory = Some(DeviceBuffer::new(&self.gpu, room, self.name)?);
            }
            return Ok(rows);
        }
    }

    fn memory(&self) -> &DeviceBuffer<f32> {
        self.memory.as_ref().expect("made by `fit`")
    }

    /// Returns the block on which a computation that was fitted runs.
    pub fn block(&self) -> CudaBlock {
        let memory = self.memory();
        CudaBlock::new(&self.gpu, self.gpu.stream(), memory.address(), memory.len())
    }

    /// Waits for the stream and reads numbers of a dense matrix of the last computation, from number `first` on.
    pub fn download(&self, dense: Mat, first: usize, numbers: &mut [f32]) -> Result<()> {
        self.memory().download(dense.offset + first, numbers)
    }
}
