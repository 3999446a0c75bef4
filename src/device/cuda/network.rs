//! One network in training on a GPU: its state, the state before the last update, and the gradient.

use super::block::{CudaBlock, blocks_over};
use super::gpu::Gpu;
use super::gradient::CudaNet;
use super::kernels::{OptimiserTakeBack, OptimiserUpdate};
use super::memory::DeviceBuffer;
use crate::device::Squares;
use crate::device::layout::Layout;
use crate::device::training::NetworkState;
use crate::error::{Error, Result};
use crate::formulas::adam::Adam;
use crate::formulas::squares::Centre;
use crate::memory;
use std::sync::Arc;

/// Number of parts of the state, which kernels take in this order: weights, average, first and second moment.
const PARTS: usize = NetworkState::PARTS;
/// The alignment of each part, in floats.
const ALIGN: usize = 64;

/// See the module.
pub(crate) struct CudaNetwork {
    name: &'static str,
    len: usize,
    /// Distance of the parts in floats.
    pitch: usize,
    state: DeviceBuffer<f32>,
    previous: DeviceBuffer<f32>,
    gradient: DeviceBuffer<f32>,
    layout: Layout,
    /// The squares' centre, two numbers a square, and these until they are copied.
    centre: DeviceBuffer<f32>,
    numbers: Vec<f32>,
    gpu: Arc<Gpu>,
}

impl CudaNetwork {
    /// Plans a network of this layout that sees squares from `centre`. `name` is its name in errors. Nothing is
    /// allocated before [`Self::allocate`].
    pub fn planned(gpu: &Arc<Gpu>, layout: &Layout, centre: &Centre, name: &'static str) -> Result<Self> {
        let len = layout.len();
        let pitch = len.next_multiple_of(ALIGN);
        let numbers = centre.numbers()?;
        Ok(Self {
            name,
            state: DeviceBuffer::planned(gpu, PARTS * pitch),
            previous: DeviceBuffer::planned(gpu, PARTS * pitch),
            gradient: DeviceBuffer::planned(gpu, pitch),
            layout: layout.clone(),
            centre: DeviceBuffer::planned(gpu, numbers.len()),
            numbers,
            gpu: Arc::clone(gpu),
            len,
            pitch,
        })
    }

    /// Allocates the memory and begins or resumes a training with `state`. The context is current here and in every
    /// other method.
    pub fn allocate(&mut self, state: &NetworkState) -> Result<()> {
        let what = |part: &str| format!("the {part} of the {}", self.name);
        for (buffer, part) in [(&mut self.state, "state"), (&mut self.previous, "state before a step")] {
            buffer.allocate_zeroed(&what(part))?;
            for (index, part) in state.parts().into_iter().enumerate() {
                buffer.upload(index * self.pitch, part)?;
            }
            self.gpu.synchronise()?;
        }
        self.gradient.allocate_zeroed(&what("gradient"))?;
        self.centre.allocate_with(&std::mem::take(&mut self.numbers), &what("squares' centre"))
    }

    /// Returns the bytes of device memory.
    pub fn bytes(&self) -> u64 {
        self.state.bytes() + self.previous.bytes() + self.gradient.bytes() + self.centre.bytes()
    }

    /// Returns the weights as the passes read them.
    pub fn net(&self, gpu: &Gpu) -> CudaNet {
        let squares = Squares { count: self.centre.len() / 2, centre: self.centre.address() };
        CudaNet::new(gpu, self.part(0), squares, &self.layout.layers)
    }

    /// Returns the device address of the gradient.
    pub fn gradient(&self) -> u64 {
        self.gradient.address()
    }

    /// Queues the update that is planned at `plan`, from the gradient with these partial sums of its square. The former
    /// state is kept. The kernel leaves the size of the new state as partial sums; returns their number.
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
        let arguments = OptimiserUpdate {
            weights,
            gradient: self.gradient.address(),
            first,
            second,
            average,
            n: self.len as u64,
            beta1: adam.beta1,
            beta2: adam.beta2,
            epsilon: adam.epsilon,
            previous: self.previous.address(),
            pitch: self.pitch as u64,
            plan,
            squares: squares.0,
            square_count: squares.1,
            clip,
            sizes,
        };
        let threads = self.len.div_ceil(4) as u64;
        block.launch_over(threads, &arguments);
        blocks_over(threads)
    }

    /// Queues the undoing of the last update. It may be called once after each update.
    pub fn take_back(&self, block: &mut CudaBlock) {
        let [weights, average, first, second] = [0, 1, 2, 3].map(|part| self.part(part));
        let arguments = OptimiserTakeBack {
            weights,
            average,
            first,
            second,
            n: self.len as u64,
            previous: self.previous.address(),
            pitch: self.pitch as u64,
        };
        block.launch_over(self.len.div_ceil(4) as u64, &arguments);
    }

    /// Returns the state after all work that is queued.
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
