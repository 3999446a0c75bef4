//! One network in training on a GPU: its state, what came before the last update, and the gradient.

use super::block::{CudaBlock, blocks_over};
use super::gpu::Gpu;
use super::gradient::CudaNet;
use super::kernels::{Kernel, arguments_of};
use super::memory::DeviceBuffer;
use crate::device::layout::Layout;
use crate::device::training::NetworkState;
use crate::error::{Error, Result};
use crate::formulas::adam::Adam;
use crate::formulas::squares::Centre;
use crate::memory;
use std::sync::Arc;

/// Weights, average, first and second moment, in the order that the kernels have them.
const PARTS: usize = NetworkState::PARTS;
/// Each part begins on a multiple of as many floats.
const ALIGN: usize = 64;

/// See the module.
pub(crate) struct CudaNetwork {
    len: usize,
    /// Floats between the parts.
    pitch: usize,
    state: DeviceBuffer<f32>,
    previous: DeviceBuffer<f32>,
    gradient: DeviceBuffer<f32>,
    layout: Layout,
    /// Of the squares; until it is copied, its numbers.
    centre: DeviceBuffer<f32>,
    numbers: Vec<f32>,
    gpu: Arc<Gpu>,
}

impl CudaNetwork {
    /// Of this layout, with squares counted from `centre`. Nothing is allocated before [`Self::allocate`].
    pub fn planned(gpu: &Arc<Gpu>, layout: &Layout, centre: &Centre, name: &str) -> Result<Self> {
        let len = layout.len();
        let pitch = len.next_multiple_of(ALIGN);
        let what = |part: &str| format!("the {part} of the {name}");
        let numbers = centre.numbers()?;
        Ok(Self {
            state: DeviceBuffer::planned(gpu, PARTS * pitch, &what("state")),
            previous: DeviceBuffer::planned(gpu, PARTS * pitch, &what("state before a step")),
            gradient: DeviceBuffer::planned(gpu, pitch, &what("gradient")),
            layout: layout.clone(),
            centre: DeviceBuffer::planned(gpu, numbers.len(), &what("squares' centre")),
            numbers,
            gpu: Arc::clone(gpu),
            len,
            pitch,
        })
    }

    /// Takes the memory, and takes up a training. The context is current; so it is for every method.
    pub fn allocate(&mut self, state: &NetworkState) -> Result<()> {
        for buffer in [&mut self.state, &mut self.previous] {
            buffer.allocate_zeroed()?;
            for (index, part) in state.parts().into_iter().enumerate() {
                buffer.upload(index * self.pitch, part)?;
            }
            self.gpu.synchronise()?;
        }
        self.gradient.allocate_zeroed()?;
        self.centre.allocate_with(&std::mem::take(&mut self.numbers))
    }

    /// Bytes of device memory.
    pub fn bytes(&self) -> u64 {
        self.state.bytes() + self.previous.bytes() + self.gradient.bytes() + self.centre.bytes()
    }

    /// The weights, as the passes read them.
    pub fn net(&self, gpu: &Gpu) -> CudaNet {
        CudaNet::new(gpu, self.part(0), self.centre.address(), &self.layout.layers)
    }

    /// Device address of the gradient.
    pub fn gradient(&self) -> u64 {
        self.gradient.address()
    }

    /// Queues the update that is planned at `plan`, from the gradient with these partial sums of its square; what was there
    /// before is kept. Leaves how large the new state is in as many partial sums as it returns.
    pub fn update(
        &self,
        block: &mut CudaBlock,
        adam: &Adam,
        plan: u64,
        squares: (u64, u32),
        clip: f64,
        sizes: u64,
    ) -> u32 {
        let [weights, average, first, second] = [0, 1, 2, 3].map(|part| self.part(part));
        let arguments = arguments_of![
            weights,
            self.gradient.address(),
            first,
            second,
            average,
            self.len as u64,
            adam.beta1,
            adam.beta2,
            adam.epsilon,
            self.previous.address(),
            self.pitch as u64,
            plan,
            squares.0,
            squares.1,
            clip,
            sizes,
        ];
        let threads = self.len.div_ceil(4) as u64;
        block.launch_over(Kernel::OptimiserUpdate, threads, arguments);
        blocks_over(threads)
    }

    /// Queues the last update's undoing; there is one to undo once after each.
    pub fn take_back(&self, block: &mut CudaBlock) {
        let [weights, average, first, second] = [0, 1, 2, 3].map(|part| self.part(part));
        let arguments = arguments_of![
            weights,
            average,
            first,
            second,
            self.len as u64,
            self.previous.address(),
            self.pitch as u64,
        ];
        block.launch_over(Kernel::OptimiserTakeBack, self.len.div_ceil(4) as u64, arguments);
    }

    /// The state after all work that is queued.
    pub fn state(&self) -> Result<NetworkState> {
        let part = |index: usize| {
            let mut values = memory::filled("a network's state", self.len, 0f32)?;
            self.state.download(index * self.pitch, &mut values)?;
            Ok::<_, Error>(values)
        };
        Ok(NetworkState { weights: part(0)?, average: part(1)?, first_moment: part(2)?, second_moment: part(3)? })
    }

    fn part(&self, index: usize) -> u64 {
        self.state.at(index * self.pitch)
    }
}
