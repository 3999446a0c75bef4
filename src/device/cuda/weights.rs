//! Weights on a GPU that do not change.

use super::gpu::Gpu;
use super::gradient::CudaNet;
use super::memory::DeviceBuffer;
use crate::device::Squares;
use crate::device::layout::Layout;
use crate::error::Result;
use crate::formulas::squares::Centre;
use std::sync::Arc;

/// A network with its memory.
pub(crate) struct CudaWeights {
    net: CudaNet,
    /// The memory that `net` points at.
    _weights: DeviceBuffer<f32>,
    _centre: DeviceBuffer<f32>,
}

impl CudaWeights {
    /// Copies a flat parameter vector and the squares' centre to the GPU, whose context is current. `name` is the
    /// network's in errors.
    pub fn new(gpu: &Arc<Gpu>, layout: &Layout, centre: &Centre, weights: &[f32], name: &str) -> Result<Self> {
        let weights = DeviceBuffer::of(gpu, weights, &format!("the weights of the {name}"))?;
        let numbers = DeviceBuffer::of(gpu, &centre.numbers()?, &format!("the squares' centre of the {name}"))?;
        let squares = Squares { count: centre.count(), centre: numbers.address() };
        let net = CudaNet::new(gpu, weights.address(), squares, &layout.layers);
        Ok(Self { net, _weights: weights, _centre: numbers })
    }

    /// Returns the network as the passes take it.
    pub fn net(&self) -> &CudaNet {
        &self.net
    }
}
