//! One network in training on a GPU: its state, what came before the last update, and the gradient.

use super::engine::NetworkState;
use crate::device::cuda::block::{CudaBlock, blocks_over};
use crate::device::cuda::gpu::Gpu;
use crate::device::cuda::gradient::CudaNet;
use crate::device::cuda::kernels::{Kernel, arguments_of};
use crate::device::cuda::memory::DeviceBuffer;
use crate::device::layout::Layout;
use crate::error::{Error, Result};
use crate::formulas::adam::Adam;
use crate::memory;
use crate::nn::network::Network;
use std::sync::Arc;

/// Weights, average, first and second moment, in the order that the kernels have them.
const PARTS: usize = 4;
/// Each part begins on a multiple of as many floats.
const ALIGN: usize = 64;

/// See the module.
pub(super) struct CudaNetwork {
    len: usize,
    /// Floats between the parts.
    pitch: usize,
    state: DeviceBuffer<f32>,
    previous: DeviceBuffer<f32>,
    gradient: DeviceBuffer<f32>,
    layout: Layout,
    /// Of the squares.
    centre: DeviceBuffer<f32>,
}

impl CudaNetwork {
    /// Takes up a training. The context is current; so it is for every method.
    pub fn new(gpu: &Arc<Gpu>, mlp: &Network, state: &NetworkState, name: &str) -> Result<Self> {
        let layout = &mlp.layout;
        let len = layout.len();
        let pitch = len.next_multiple_of(ALIGN);
        let parts = [&state.weights, &state.average, &state.first_moment, &state.second_moment];
        let what = |part: &str| format!("the {part} of the {name}");
        let copy = |what| {
            let mut all = DeviceBuffer::zeroed(gpu, PARTS * pitch, what)?;
            for (index, part) in parts.into_iter().enumerate() {
                all.upload(index * pitch, part)?;
            }
            gpu.synchronise()?;
            Ok::<_, Error>(all)
        };
        Ok(Self {
            state: copy(&what("state"))?,
            previous: copy(&what("state before a step"))?,
            gradient: DeviceBuffer::zeroed(gpu, pitch, &what("gradient"))?,
            layout: layout.clone(),
            centre: DeviceBuffer::of(gpu, &mlp.centre.numbers()?, &what("squares' centre"))?,
            len,
            pitch,
        })
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
