//! Takes rows into a GPU's workspace and results out of it.

use super::block::{CudaBlock, CudaNoise};
use super::gpu::Gpu;
use super::kernels::{
    BridgeTrajectory, ComponentsMean, ComponentsMeanTurned, Kernel, MeanAccumulate, MeanAdd, RatioExport, RowsBack,
    RowsDrift, RowsExport, RowsSeen,
};
use super::memory::DeviceBuffer;
use super::peaks::check_turned;
use crate::data::Rotation;
use crate::device::Mat;
use crate::device::rows::{Constants, PathSteps, RowSeed, Rows};
use crate::error::Result;
use crate::formulas::units::{AXIS_UNITS, AxisUnits};
use crate::formulas::{Axes, Conjugate};
use crate::memory;
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

/// The units of the axes of a problem and what turns samples to these, in device memory.
pub(super) struct CudaUnits {
    /// [`AXIS_UNITS`] numbers of each axis.
    units: DeviceBuffer<f64>,
    /// The rotation by columns; None where the axes are the components of a sample.
    turned: Option<DeviceBuffer<f32>>,
}

impl CudaUnits {
    /// Copies rotation and units to the GPU, whose context is current. `what` names them in errors.
    pub fn new(gpu: &Arc<Gpu>, rotation: Option<&Rotation>, units: &[AxisUnits], what: &str) -> Result<Self> {
        let mut numbers = memory::with_room(what, AXIS_UNITS * units.len())?;
        numbers.extend(units.iter().flat_map(|axis| [axis.contraction, axis.pull, axis.unit]));
        let by_columns = |rotation: &Rotation| {
            let d = units.len();
            let mut columns = memory::filled(what, d * d, 0f32)?;
            for (j, axis) in rotation.numbers().chunks_exact(d).enumerate() {
                axis.iter().enumerate().for_each(|(i, &x)| columns[i * d + j] = x);
            }
            DeviceBuffer::of(gpu, &columns, what)
        };
        Ok(Self { units: DeviceBuffer::of(gpu, &numbers, what)?, turned: rotation.map(by_columns).transpose()? })
    }

    /// Returns the address of the units.
    pub fn address(&self) -> u64 {
        self.units.address()
    }

    /// Returns the address of the rotation, one axis a column, or 0 for none.
    pub fn turned(&self) -> u64 {
        self.turned.as_ref().map_or(0, DeviceBuffer::address)
    }
}

/// [`Constants`] and the problem's [`Axes`] in device memory.
pub(crate) struct CudaConstants {
    shift: DeviceBuffer<f64>,
    scale: f64,
    cost: f64,
    units: CudaUnits,
    /// The rotation, one axis a row; None as in `units`.
    rotation: Option<DeviceBuffer<f32>>,
    /// The axes' numbers, which `axes` has the address of.
    _numbers: DeviceBuffer<f32>,
    axes: Axes<u64>,
}

impl CudaConstants {
    /// Copies the constants to the GPU, whose context is current.
    pub fn new(gpu: &Arc<Gpu>, constants: &Constants, axes: &Axes<Vec<f32>>) -> Result<Self> {
        const WHAT: &str = "the axes of the samples";
        let Constants { shift, scale, rotation, units, cost } = constants;
        let shift = DeviceBuffer::of(gpu, shift, "the shift of the samples")?;
        let units = CudaUnits::new(gpu, rotation.as_ref(), units, WHAT)?;
        let rotation = match rotation {
            Some(rotation) => Some(DeviceBuffer::of(gpu, rotation.numbers(), WHAT)?),
            None => None,
        };
        let numbers = DeviceBuffer::of(gpu, &axes.numbers, "the constants of a sample's axes")?;
        let axes = axes.at(numbers.address());
        Ok(Self { shift, scale: *scale, cost: *cost, units, rotation, _numbers: numbers, axes })
    }

    /// Returns the axes as kernels take them.
    pub fn axes(&self) -> &Axes<u64> {
        &self.axes
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

    fn import(&mut self, constants: &CudaConstants, from: CudaRows, to: Mat) {
        let d = constants.dimension();
        let (out, stride) = self.place(to);
        let arguments = RowsExport {
            x: from.address,
            x_stride: from.stride as u32,
            rows: to.rows as u32,
            d: d as u32,
            shift: constants.shift.address(),
            scale: constants.scale,
            out,
            out_stride: stride,
        };
        self.launch_over_as(Kernel::RowsImport, (to.rows * d) as u64, &arguments);
    }

    fn import_seen(
        &mut self,
        constants: &CudaConstants,
        from: CudaRows,
        repeat: usize,
        time: f64,
        to: Mat,
        value: Option<f32>,
    ) {
        let (rows, d) = (to.rows / repeat, constants.dimension());
        let (out, stride) = self.place(to);
        let arguments = RowsSeen {
            x: from.address,
            x_stride: from.stride as u32,
            rows: rows as u32,
            repeat: repeat as u32,
            d: d as u32,
            shift: constants.shift.address(),
            scale: constants.scale,
            turned: constants.units.turned(),
            units: constants.units.address(),
            time,
            out,
            out_stride: stride,
            append: u32::from(value.is_some()),
            value: value.unwrap_or(0.0),
        };
        self.launch_over((rows * d) as u64, &arguments);
    }

    fn turn_back(&mut self, constants: &CudaConstants, x: Mat, to: Mat) {
        let d = constants.dimension();
        let ((x_at, x_stride), (out, out_stride)) = (self.place(x), self.place(to));
        let arguments = RowsBack {
            x: x_at,
            x_stride,
            rows: x.rows as u32,
            d: d as u32,
            rotation: constants.rotation.as_ref().map_or(0, DeviceBuffer::address),
            units: constants.units.address(),
            out,
            out_stride,
        };
        self.launch_over((x.rows * d) as u64, &arguments);
    }

    fn row_normals(&mut self, seed: RowSeed, stream: Stream, to: Mat) {
        self.normals(&seed.noise(), stream, seed.first_element(to.cols), to);
    }

    /// Returns the place of the noise; kernels draw it where they use it.
    fn endpoint_noise(&mut self, seed: RowSeed, _: usize, _: usize, _: bool) -> CudaNoise {
        seed.noise()
    }

    fn export(&mut self, constants: &CudaConstants, x: Mat, direction: bool, to: CudaRows) {
        let (at, stride) = self.place(x);
        let arguments = RowsExport {
            x: at,
            x_stride: stride,
            rows: x.rows as u32,
            d: constants.dimension() as u32,
            shift: if direction { 0 } else { constants.shift.address() },
            scale: constants.scale,
            out: to.address,
            out_stride: to.stride as u32,
        };
        self.launch_over_as(Kernel::RowsExport, (x.rows * x.cols) as u64, &arguments);
    }

    fn add_components_mean(&mut self, outputs: Mat, raw: usize, axes: &Axes<u64>, to: Mat) {
        let ((at, stride), (out, out_stride)) = (self.place(outputs), self.place(to));
        if axes.turned {
            check_turned(axes);
            assert!(to.cols == axes.dimension);
            let arguments = ComponentsMeanTurned {
                outputs: at,
                outputs_stride: stride,
                sources: to.rows as u32,
                components: outputs.components(raw) as u32,
                raw: raw as u32,
                d: to.cols as u32,
                axes: axes.numbers,
                peaks: axes.peaks as u32,
                to: out,
                to_stride: out_stride,
            };
            // A warp a row.
            self.launch_over(32 * to.rows as u64, &arguments);
            return;
        }
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

    fn add_mean(&mut self, x0: Mat, sum: Mat, count: usize) {
        let ((x, x_stride), (sums, sum_stride)) = (self.place(x0), self.place(sum));
        let arguments = MeanAdd {
            x,
            x_stride,
            sum: sums,
            sum_stride,
            rows: x0.rows as u32,
            d: x0.cols as u32,
            latents: count as f32,
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

    fn drift(&mut self, constants: &CudaConstants, gradient: Mat, states: Mat, time: f64, to: Mat) {
        let ((g, g_stride), (x, x_stride)) = (self.place(gradient), self.place(states));
        let (out, out_stride) = self.place(to);
        let arguments = RowsDrift {
            g,
            g_stride,
            x,
            x_stride,
            rows: to.rows as u32,
            d: to.cols as u32,
            units: constants.units.address(),
            time,
            cost: constants.cost,
            out,
            out_stride,
        };
        self.launch_over((to.rows * to.cols) as u64, &arguments);
    }

    fn export_ratio(&mut self, axes: &Axes<u64>, conjugate: &Conjugate, states: Mat, v: Mat, to: CudaRows) {
        let (rows, d) = (v.rows, states.cols - 1);
        let ((v, v_stride), (x, x_stride)) = (self.place(v), self.place(states));
        let arguments = RatioExport {
            v,
            v_stride,
            x,
            x_stride,
            rows: rows as u32,
            d: d as u32,
            axes: axes.numbers,
            level: axes.level,
            divergence: conjugate.divergence as u32,
            tau: conjugate.tau,
            ratio: to.address,
        };
        // A warp a row.
        self.launch_over(32 * rows as u64, &arguments);
    }
}
