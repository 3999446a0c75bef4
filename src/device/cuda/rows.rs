//! Rows in and out of a GPU's workspace.

use super::block::{CudaBlock, CudaNoise};
use super::gpu::Gpu;
use super::kernels::{Kernel, arguments_of};
use super::memory::DeviceBuffer;
use crate::device::Mat;
use crate::device::rows::{Constants, DriftFactors, PathSteps, RowSeed, Rows, Units};
use crate::error::Result;
use crate::formulas::{Conjugate, Quadratic};
use crate::rng::Stream;
use std::sync::Arc;

/// Rows in device memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CudaRows {
    /// Device address of the first number.
    pub address: u64,
    /// Numbers from one row to the next.
    pub stride: usize,
}

/// [`Constants`] in device memory.
pub(crate) struct CudaConstants {
    shift: DeviceBuffer<f64>,
    scale: f64,
    pull: DeviceBuffer<f64>,
    quadratic: Quadratic<DeviceBuffer<f32>>,
}

impl CudaConstants {
    /// Copies them to the GPU, whose context is current.
    pub fn new(gpu: &Arc<Gpu>, constants: &Constants) -> Result<Self> {
        let shift = DeviceBuffer::of(gpu, &constants.shift, "the shift of the samples")?;
        let pull = DeviceBuffer::of(gpu, &constants.pull, "the pull of the bridge")?;
        let Quadratic { curvature, ref slope, level } = constants.quadratic;
        let quadratic = Quadratic { curvature, slope: DeviceBuffer::of(gpu, slope, "the slope of V")?, level };
        Ok(Self { shift, scale: constants.scale, pull, quadratic })
    }

    fn dimension(&self) -> usize {
        self.shift.len()
    }
}

impl RowSeed {
    fn noise(self) -> CudaNoise {
        CudaNoise { seed: self.seed, counter: 0, number: 0, first_row: self.first_row }
    }
}

impl Rows for CudaBlock {
    type Given<'a> = CudaRows;
    type Out<'a> = CudaRows;
    type Constants = CudaConstants;

    fn bring(&mut self, numbers: &[f32], per_row: usize) -> CudaRows {
        CudaRows { address: self.upload(numbers), stride: per_row }
    }

    fn import(
        &mut self,
        constants: &CudaConstants,
        from: CudaRows,
        repeat: usize,
        units: Units,
        to: Mat,
        value: Option<f32>,
    ) {
        let d = constants.dimension();
        let (out, stride) = self.place(to);
        let arguments = arguments_of![
            from.address,
            from.stride as u32,
            (to.rows / repeat) as u32,
            repeat as u32,
            d as u32,
            constants.shift.address(),
            constants.scale,
            constants.pull.address(),
            units.pull,
            units.scale,
            out,
            stride,
            u32::from(value.is_some()),
            value.unwrap_or(0.0),
        ];
        self.launch_over(Kernel::RowsImport, (to.rows * d) as u64, arguments);
    }

    fn row_normals(&mut self, seed: RowSeed, stream: Stream, to: Mat) {
        self.normals(&seed.noise(), stream, seed.first_element(to.cols), to);
    }

    /// Drawn where it is used.
    fn endpoint_noise(&mut self, seed: RowSeed, _: usize, _: usize, _: bool) -> CudaNoise {
        seed.noise()
    }

    fn export(&mut self, constants: &CudaConstants, x: Mat, to: CudaRows) {
        let (at, stride) = self.place(x);
        let arguments = arguments_of![
            at,
            stride,
            x.rows as u32,
            constants.dimension() as u32,
            constants.shift.address(),
            constants.scale,
            to.address,
            to.stride as u32,
        ];
        self.launch_over(Kernel::RowsExport, (x.rows * x.cols) as u64, arguments);
    }

    fn add_components_mean(&mut self, outputs: Mat, raw: usize, to: Mat) {
        let ((at, stride), (out, out_stride)) = (self.place(outputs), self.place(to));
        let arguments = arguments_of![
            at,
            stride,
            to.rows as u32,
            outputs.components(raw) as u32,
            raw as u32,
            to.cols as u32,
            out,
            out_stride,
        ];
        // A warp a row.
        self.launch_over(Kernel::ComponentsMean, 32 * to.rows as u64, arguments);
    }

    fn accumulate(&mut self, raw: Mat, sum: Mat, start: bool) {
        let count = raw.rows / sum.rows;
        let ((raw, raw_stride), (out, out_stride)) = (self.place(raw), self.place(sum));
        let arguments = arguments_of![
            raw,
            raw_stride,
            sum.rows as u32,
            count as u32,
            sum.cols as u32,
            out,
            out_stride,
            u32::from(start),
        ];
        self.launch_over(Kernel::MeanAccumulate, (sum.rows * sum.cols) as u64, arguments);
    }

    fn export_mean(&mut self, constants: &CudaConstants, x0: Mat, sum: Mat, count: usize, to: CudaRows) {
        let ((x, x_stride), (sums, sums_stride)) = (self.place(x0), self.place(sum));
        let arguments = arguments_of![
            x,
            x_stride,
            sums,
            sums_stride,
            x0.rows as u32,
            x0.cols as u32,
            count as f32,
            constants.shift.address(),
            constants.scale,
            to.address,
            to.stride as u32,
        ];
        self.launch_over(Kernel::MeanExport, (x0.rows * x0.cols) as u64, arguments);
    }

    fn export_paths(
        &mut self,
        constants: &CudaConstants,
        x0: Mat,
        x1: Mat,
        steps: &PathSteps<CudaRows>,
        seed: RowSeed,
        to: CudaRows,
    ) {
        let ((start, start_stride), (end, end_stride)) = (self.place(x0), self.place(x1));
        let number = 0u64;
        let arguments = arguments_of![
            start,
            start_stride,
            end,
            end_stride,
            x0.rows as u32,
            x0.cols as u32,
            steps.along.address,
            steps.spread.address,
            steps.count as u32,
            to.address,
            seed.seed,
            number,
            seed.first_row,
            constants.scale,
            constants.shift.address(),
        ];
        self.launch_over(Kernel::BridgeTrajectory, (x0.rows * x0.cols) as u64, arguments);
    }

    fn export_drift(
        &mut self,
        constants: &CudaConstants,
        gradient: Mat,
        states: CudaRows,
        factors: &DriftFactors,
        to: CudaRows,
    ) {
        let (rows, d) = (gradient.rows, constants.dimension());
        let (g, stride) = self.place(gradient);
        let arguments = arguments_of![
            g,
            stride,
            states.address,
            states.stride as u32,
            rows as u32,
            d as u32,
            factors.gradient,
            factors.away,
            constants.shift.address(),
            factors.pull,
            constants.pull.address(),
            to.address,
            to.stride as u32,
        ];
        self.launch_over(Kernel::DriftExport, (rows * d) as u64, arguments);
    }

    fn export_ratio(&mut self, constants: &CudaConstants, conjugate: &Conjugate, states: Mat, v: Mat, to: CudaRows) {
        let rows = v.rows;
        let ((v, stride), (states, states_stride)) = (self.place(v), self.place(states));
        let CudaConstants { quadratic, .. } = constants;
        let arguments = arguments_of![
            v,
            stride,
            states,
            states_stride,
            rows as u32,
            constants.dimension() as u32,
            quadratic.curvature,
            quadratic.slope.address(),
            quadratic.level,
            conjugate.divergence as u32,
            conjugate.tau,
            to.address,
        ];
        // A warp a row.
        self.launch_over(Kernel::RatioExport, 32 * rows as u64, arguments);
    }
}
