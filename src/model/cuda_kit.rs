//! A model on a GPU: its networks there, and rows on their way into the units that these see and back.

use super::frozen::{Inner, Nets};
use crate::device::cuda::block::{CudaBlock, CudaNoise};
use crate::device::cuda::gpu::Gpu;
use crate::device::cuda::gradient::CudaNet;
use crate::device::cuda::kernels::{Kernel, arguments_of};
use crate::device::cuda::memory::DeviceBuffer;
use crate::device::{Bridge, Mat, Method, Points, Workspace};
use crate::error::Result;
use crate::euot::gaussian_bridge::GaussianBridge;
use crate::nn::network::Network;
use crate::rng::Stream;
use std::sync::Arc;

/// Both networks of a model on a GPU.
pub(super) struct CudaNets {
    pub gpu: Arc<Gpu>,
    nets: [CudaNet; 2],
    /// What `nets` points at.
    _weights: [DeviceBuffer<f32>; 2],
    _centres: [DeviceBuffer<f32>; 2],
    /// Of the normalisation, d numbers; so the next two, of the bridge and of the known part of V(1, .).
    pub shift: DeviceBuffer<f64>,
    pub pull: DeviceBuffer<f64>,
    pub slope: DeviceBuffer<f32>,
}

impl CudaNets {
    /// Copies the value function's and the generator's weights to the GPU.
    pub fn new(
        gpu: &Arc<Gpu>,
        mlps: [&Network; 2],
        weights: [&[f32]; 2],
        shift: &[f64],
        bridge: &GaussianBridge,
    ) -> Result<Self> {
        let _entered = gpu.enter()?;
        let weights = [
            DeviceBuffer::of(gpu, weights[0], "the weights of the value function")?,
            DeviceBuffer::of(gpu, weights[1], "the weights of the generator")?,
        ];
        let shift = DeviceBuffer::of(gpu, shift, "the shift of the samples")?;
        let pull = DeviceBuffer::of(gpu, &bridge.pull, "the pull of the bridge")?;
        let slope = DeviceBuffer::of(gpu, &bridge.quadratic::<f32>()?.slope, "the slope of V")?;
        let centres = [
            DeviceBuffer::of(gpu, &mlps[0].centre.numbers()?, "the squares' centre of the value function")?,
            DeviceBuffer::of(gpu, &mlps[1].centre.numbers()?, "the squares' centre of the generator")?,
        ];
        let net = |index: usize| {
            CudaNet::new(gpu, weights[index].address(), centres[index].address(), &mlps[index].layout.layers)
        };
        let nets = [net(0), net(1)];
        Ok(Self { gpu: Arc::clone(gpu), nets, _weights: weights, _centres: centres, shift, pull, slope })
    }

    pub fn value(&self) -> &CudaNet {
        &self.nets[0]
    }

    pub fn generator(&self) -> &CudaNet {
        &self.nets[1]
    }
}

/// A model and its networks on the device.
pub(super) struct Kit<'a> {
    pub model: &'a Inner,
    pub nets: &'a CudaNets,
}

impl<'a> Kit<'a> {
    pub fn of(model: &'a Inner) -> Self {
        match &model.nets {
            Nets::Cuda(nets) => Self { model, nets },
            Nets::Cpu { .. } => unreachable!("a session of a GPU has a model there"),
        }
    }

    /// Rows as they are seen into the first columns of `to`, each `repeat` times, from an address of rows in data units;
    /// with `value` the column behind them is set to it.
    #[allow(clippy::too_many_arguments)]
    pub fn import(
        &self,
        block: &mut CudaBlock,
        from: (u64, usize),
        rows: usize,
        repeat: usize,
        Seen { weight, scale }: Seen,
        to: Mat,
        value: Option<f32>,
    ) {
        let d = self.model.info.dimension;
        let (out, stride) = block.place(to);
        let arguments = arguments_of![
            from.0,
            from.1 as u32,
            rows as u32,
            repeat as u32,
            d as u32,
            self.nets.shift.address(),
            self.model.normalisation.scale,
            self.nets.pull.address(),
            weight,
            scale,
            out,
            stride,
            u32::from(value.is_some()),
            value.unwrap_or(0.0),
        ];
        block.launch_over(Kernel::RowsImport, (rows * repeat * d) as u64, arguments);
    }

    /// Rows back to data units, to an address.
    pub fn export(&self, block: &mut CudaBlock, from: Mat, to: (u64, usize)) {
        let (x, stride) = block.place(from);
        let arguments = arguments_of![
            x,
            stride,
            from.rows as u32,
            self.model.info.dimension as u32,
            self.nets.shift.address(),
            self.model.normalisation.scale,
            to.0,
            to.1 as u32,
        ];
        block.launch_over(Kernel::RowsExport, (from.rows * from.cols) as u64, arguments);
    }

    /// A piece's rows, copied to the device: address and stride.
    pub fn rows(&self, block: &mut CudaBlock, rows: &[f32]) -> (u64, usize) {
        (block.upload(rows), self.model.info.dimension)
    }

    pub fn noise(seed: u64, first_row: u64) -> CudaNoise {
        CudaNoise { seed, counter: 0, number: 0, first_row }
    }

    /// How the generator sees source samples.
    pub fn source(&self) -> Seen {
        Seen { weight: 1.0, scale: self.model.source_units.scale }
    }

    /// Normalised rows.
    pub fn plain(&self) -> Seen {
        Seen { weight: 0.0, scale: self.model.normalisation.scale }
    }

    /// [x0', z]; `first` is the number of the first row of it.
    pub fn input(
        &self,
        block: &mut CudaBlock,
        from: (u64, usize),
        rows: usize,
        repeat: usize,
        seed: u64,
        first: u64,
    ) -> Mat {
        let (d, latent) = (self.model.info.dimension, self.model.info.latent_dimension);
        let input = block.scratch(rows * repeat, d + latent);
        self.import(block, from, rows, repeat, self.source(), input.columns(0, d), None);
        if latent > 0 {
            let z = input.columns(d, d + latent);
            block.normals(&Self::noise(seed, first), Stream::Latent, first.wrapping_mul(latent as u64), z);
        }
        input
    }

    /// Normalised x1 (rows x d).
    pub fn endpoints(&self, block: &mut CudaBlock, from: (u64, usize), rows: usize, seed: u64, first: u64) -> Mat {
        let d = self.model.info.dimension;
        let input = self.input(block, from, rows, 1, seed, first);
        let (noise, raw) = (Self::noise(seed, first), self.model.head.raw(d));
        let Inner { conditional, generator, .. } = self.model;
        let raw = conditional.draw(block, generator, self.nets.generator(), input, 1, &noise, raw);
        let x0 = input.columns(0, d);
        // Times are not read for endpoints.
        let bridge = Bridge { x0, raw, noise, time: x0 };
        let end = block.scratch(rows, d + 1);
        block.bridge(&self.model.head, &bridge, &Points { end: Some(end), ..Points::default() });
        end.columns(0, d)
    }

    /// The mean of normalised x1 (rows x d), where the network tells all components.
    pub fn exact_mean(&self, block: &mut CudaBlock, from: (u64, usize), rows: usize) -> Mat {
        let d = self.model.info.dimension;
        let x0 = block.scratch(rows, d);
        self.import(block, from, rows, 1, self.source(), x0, None);
        let outputs = self.model.generator.forward(block, self.nets.generator(), x0);
        let ((at, stride), (to, to_stride)) = (block.place(outputs), block.place(x0));
        let components = self.model.conditional.components as u32;
        let raw = self.model.head.raw(d) as u32;
        let arguments = arguments_of![at, stride, rows as u32, components, raw, d as u32, to, to_stride];
        // A warp a row.
        block.launch_over(Kernel::ComponentsMean, 32 * rows as u64, arguments);
        x0
    }

    /// [x', t'], from an address of rows in data units.
    pub fn states(&self, block: &mut CudaBlock, from: (u64, usize), rows: usize, seen: Seen, time: f64) -> Mat {
        let states = block.scratch(rows, self.model.info.dimension + 1);
        self.import(block, from, rows, 1, seen, states, Some(time as f32));
        states
    }
}

/// Units in which rows are seen: how much of the pull, and the scale.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    pub weight: f64,
    pub scale: f64,
}
