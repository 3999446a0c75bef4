//! Takes rows into a GPU's workspace and results out of it.

use super::block::{CudaBlock, CudaNoise};
use super::gpu::Gpu;
use super::kernels::{
    BridgeTrajectory, ComponentsMean, DriftExport, MeanAccumulate, MeanExport, RatioExport, RowsExport, RowsImport,
};
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
    /// Distance from one row to the next, in numbers.
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
    /// Copies the constants to the GPU, whose context is current.
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
    type In<'a> = CudaRows;
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
        let arguments = RowsImport {
            x: from.address,
            x_stride: from.stride as u32,
            rows: (to.rows / repeat) as u32,
            repeat: repeat as u32,
            d: d as u32,
            shift: constants.shift.address(),
            scale: constants.scale,
            pull: constants.pull.address(),
            weight: units.pull,
            seen: units.scale,
            out,
            out_stride: stride,
            append: u32::from(value.is_some()),
            value: value.unwrap_or(0.0),
        };
        self.launch_over((to.rows * d) as u64, &arguments);
    }

    fn row_normals(&mut self, seed: RowSeed, stream: Stream, to: Mat) {
        self.normals(&seed.noise(), stream, seed.first_element(to.cols), to);
    }

    /// Returns the place of the noise; kernels draw it where they use it.
    fn endpoint_noise(&mut self, seed: RowSeed, _: usize, _: usize, _: bool) -> CudaNoise {
        seed.noise()
    }

    fn export(&mut self, constants: &CudaConstants, x: Mat, to: CudaRows) {
        let (at, stride) = self.place(x);
        let arguments = RowsExport {
            x: at,
            x_stride: stride,
            rows: x.rows as u32,
            d: constants.dimension() as u32,
            shift: constants.shift.address(),
            scale: constants.scale,
            out: to.address,
            out_stride: to.stride as u32,
        };
        self.launch_over((x.rows * x.cols) as u64, &arguments);
    }

    fn add_components_mean(&mut self, outputs: Mat, raw: usize, to: Mat) {
        let ((at, stride), (out, out_stride)) = (self.place(outputs), self.place(to));
        let arguments = ComponentsMean {
            outputs: at,
            outputs_stride: stride,
            sources: to.rows as u32,
            components: outputs.components(raw) as u32,
            raw: raw as u32,
            d: to.cols as u32,
            to: out,
            to_stride: out_stride,
        };
        // A warp a row.
        self.launch_over(32 * to.rows as u64, &arguments);
    }

    fn accumulate(&mut self, raw: Mat, sum: Mat, start: bool) {
        let count = raw.rows / sum.rows;
        let ((raw, raw_stride), (out, out_stride)) = (self.place(raw), self.place(sum));
        let arguments = MeanAccumulate {
            raw,
            raw_stride,
            rows: sum.rows as u32,
            latents: count as u32,
            d: sum.cols as u32,
            sum: out,
            sum_stride: out_stride,
            start: u32::from(start),
        };
        self.launch_over((sum.rows * sum.cols) as u64, &arguments);
    }

    fn export_mean(&mut self, constants: &CudaConstants, x0: Mat, sum: Mat, count: usize, to: CudaRows) {
        let ((x, x_stride), (sums, sums_stride)) = (self.place(x0), self.place(sum));
        let arguments = MeanExport {
            x,
            x_stride,
            sum: sums,
            sum_stride: sums_stride,
            rows: x0.rows as u32,
            d: x0.cols as u32,
            latents: count as f32,
            shift: constants.shift.address(),
            scale: constants.scale,
            out: to.address,
            out_stride: to.stride as u32,
        };
        self.launch_over((x0.rows * x0.cols) as u64, &arguments);
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
        let arguments = BridgeTrajectory {
            x0: start,
            x0_stride: start_stride,
            x1: end,
            x1_stride: end_stride,
            rows: x0.rows as u32,
            d: x0.cols as u32,
            along: steps.along.address,
            spread: steps.spread.address,
            times: steps.count as u32,
            path: to.address,
            seed: seed.seed,
            number: 0,
            first_row: seed.first_row,
            scale: constants.scale,
            shift: constants.shift.address(),
        };
        self.launch_over((x0.rows * x0.cols) as u64, &arguments);
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
        let arguments = DriftExport {
            g,
            g_stride: stride,
            x: states.address,
            x_stride: states.stride as u32,
            rows: rows as u32,
            d: d as u32,
            gradient: factors.gradient,
            away: factors.away,
            shift: constants.shift.address(),
            along: factors.pull,
            pull: constants.pull.address(),
            out: to.address,
            out_stride: to.stride as u32,
        };
        self.launch_over((rows * d) as u64, &arguments);
    }

    fn export_ratio(&mut self, constants: &CudaConstants, conjugate: &Conjugate, states: Mat, v: Mat, to: CudaRows) {
        let rows = v.rows;
        let ((v, stride), (states, states_stride)) = (self.place(v), self.place(states));
        let CudaConstants { quadratic, .. } = constants;
        let arguments = RatioExport {
            v,
            v_stride: stride,
            x: states,
            x_stride: states_stride,
            rows: rows as u32,
            d: constants.dimension() as u32,
            curvature: quadratic.curvature,
            slope_of: quadratic.slope.address(),
            level: quadratic.level,
            divergence: conjugate.divergence as u32,
            tau: conjugate.tau,
            ratio: to.address,
        };
        // A warp a row.
        self.launch_over(32 * rows as u64, &arguments);
    }
}
