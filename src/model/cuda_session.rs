//! Inference on a GPU. Host rows are copied there and back in pieces that fit; the call waits for them. Device rows are
//! worked on where they lie, in the order of the context's stream.

use super::cuda_kit::{Kit, Seen};
use super::drift::Drift;
use super::frozen::Inner;
use super::results::Results;
use super::session::{DeviceRows, Inference};
use crate::device::cuda::block::CudaBlock;
use crate::device::cuda::kernels::{Kernel, arguments_of};
use crate::device::cuda::memory::DeviceBuffer;
use crate::device::{Layers, Mat, Workspace};
use crate::error::Result;
use crate::memory;
use std::ops::Range;
use std::sync::Arc;

/// Rows carried at a time at most: enough to fill any GPU.
const MOST_ROWS: usize = 1 << 16;
/// Floats of workspace that a piece may take, unless a single row takes more: 256 megabytes.
const MOST_FLOATS: usize = 1 << 26;
/// Results that are copied to the host at a time, unless a single row has more: four megabytes.
const MOST_RESULTS: usize = 1 << 20;

/// A workspace on a GPU for one thread.
pub(super) struct CudaSession {
    model: Arc<Inner>,
    workspace: Option<DeviceBuffer<f32>>,
    /// Results on the host before they are delivered.
    results: Vec<f32>,
}

impl CudaSession {
    /// Takes memory with the first call.
    pub fn new(model: &Arc<Inner>) -> Self {
        Self { model: Arc::clone(model), workspace: None, results: Vec::new() }
    }

    /// Runs `work` on pieces of the rows and delivers what each gives, dense rows.
    fn each(
        &mut self,
        most_rows: usize,
        out: &mut Results<'_>,
        work: impl Fn(&Kit<'_>, &mut CudaBlock, Range<usize>) -> Mat,
    ) -> Result<()> {
        let (model, rows) = (Arc::clone(&self.model), out.rows());
        let kit = Kit::of(&model);
        let _entered = kit.nets.gpu.enter()?;
        let piece = self.fit(&kit, rows.min(most_rows), |block, piece| {
            work(&kit, block, 0..piece);
        })?;
        // Before work is queued: a refusal leaves nothing behind that reads the host's rows.
        memory::grow(&mut self.results, "results of a session", carried(piece, out.per_row()), 0.0)?;
        for from in (0..rows).step_by(piece) {
            let to = rows.min(from + piece);
            let mut block = self.block(&kit);
            let result = work(&kit, &mut block, from..to);
            let done = block.finish().and_then(|()| self.deliver(result.offset, to - from, out));
            // Rows in pinned memory are read when the stream comes to them: not after the call.
            done.inspect_err(|_| drop(kit.nets.gpu.synchronise()))?;
        }
        Ok(())
    }

    /// Copies rows to the host and delivers them.
    fn deliver(&mut self, mut offset: usize, rows: usize, out: &mut Results<'_>) -> Result<()> {
        let workspace = self.workspace.as_ref().expect("made by `fit`");
        let most = carried(rows, out.per_row());
        let end = offset + rows * out.per_row();
        while offset < end {
            let results = &mut self.results[..most.min(end - offset)];
            workspace.download(offset, results)?;
            out.deliver(results)?;
            offset += results.len();
        }
        Ok(())
    }

    /// The most rows up to `rows` whose workspace fits, with that workspace made.
    fn fit(&mut self, kit: &Kit<'_>, mut rows: usize, work: impl Fn(&mut CudaBlock, usize)) -> Result<usize> {
        let gpu = &kit.nets.gpu;
        loop {
            let mut block = CudaBlock::measuring(gpu);
            work(&mut block, rows);
            block.finish()?;
            let (room, present) = (block.most(), self.workspace.as_ref().map_or(0, DeviceBuffer::len));
            let left = (gpu.account().left() / size_of::<f32>() as u64) as usize;
            if room > MOST_FLOATS.min(left.saturating_add(present)) && rows > 1 {
                rows = rows.div_ceil(2);
                continue;
            }
            if room > present {
                self.workspace = None;
                self.workspace = Some(DeviceBuffer::new(gpu, room, "the workspace of a session")?);
            }
            return Ok(rows);
        }
    }

    fn block(&self, kit: &Kit<'_>) -> CudaBlock {
        let gpu = &kit.nets.gpu;
        let workspace = self.workspace.as_ref().expect("made by `fit`");
        CudaBlock::new(gpu, gpu.stream(), workspace.address(), workspace.len())
    }
}

/// Numbers of so many rows of results that are copied to the host at a time.
fn carried(rows: usize, per_row: usize) -> usize {
    rows.min((MOST_RESULTS / per_row).max(1)) * per_row
}

/// Dense rows of results.
fn dense(block: &mut CudaBlock, numbers: usize) -> Mat {
    block.scratch(numbers, 1)
}

impl Inference for CudaSession {
    fn generate(&mut self, source: &[f32], seed: u64, first_row: u64, generated: &mut Results<'_>) -> Result<()> {
        let d = self.model.info.dimension;
        self.each(MOST_ROWS, generated, |kit, block, range| {
            let from = kit.rows(block, &source[range.start * d..range.end * d]);
            let end = kit.endpoints(block, from, range.len(), seed, first_row.wrapping_add(range.start as u64));
            let out = dense(block, range.len() * d);
            kit.export(block, end, (block.address(out), d));
            out
        })
    }

    fn conditional_mean(
        &mut self,
        source: &[f32],
        latents: usize,
        seed: u64,
        first_row: u64,
        mean: &mut Results<'_>,
    ) -> Result<()> {
        let d = self.model.info.dimension;
        if self.model.conditional.own() {
            return self.each(MOST_ROWS, mean, |kit, block, range| {
                let from = kit.rows(block, &source[range.start * d..range.end * d]);
                let x1 = kit.exact_mean(block, from, range.len());
                let out = dense(block, range.len() * d);
                kit.export(block, x1, (block.address(out), d));
                out
            });
        }
        // Many rows with all their latents, or one row with some of its latents after others.
        let width = self.model.generator.layout.layers[0].outputs();
        let piece = latents.min(MOST_ROWS).min((MOST_FLOATS / (4 * width)).max(1));
        let most_rows = (MOST_ROWS / latents).max(1);
        self.each(most_rows, mean, |kit, block, range| {
            let rows = range.len();
            let from = kit.rows(block, &source[range.start * d..range.end * d]);
            let x0 = block.scratch(rows, d);
            kit.import(block, from, rows, 1, kit.source(), x0, None);
            let (sum, out) = (block.scratch(rows, d), dense(block, rows * d));
            let mark = block.mark();
            let first = first_row.wrapping_add(range.start as u64).wrapping_mul(latents as u64);
            for done in (0..latents).step_by(piece) {
                block.reset(mark);
                let count = piece.min(latents - done);
                let input = kit.input(block, from, rows, count, seed, first.wrapping_add(done as u64));
                let raw = kit.model.generator.forward(block, kit.nets.generator(), input);
                let ((raw, raw_stride), (sum, sum_stride)) = (block.place(raw), block.place(sum));
                let start = u32::from(done == 0);
                let arguments =
                    arguments_of![raw, raw_stride, rows as u32, count as u32, d as u32, sum, sum_stride, start];
                block.launch_over(Kernel::MeanAccumulate, (rows * d) as u64, arguments);
            }
            let ((x, x_stride), (sum, sum_stride)) = (block.place(x0), block.place(sum));
            let arguments = arguments_of![
                x,
                x_stride,
                sum,
                sum_stride,
                rows as u32,
                d as u32,
                latents as f32,
                kit.nets.shift.address(),
                kit.model.normalisation.scale,
                block.address(out),
                d as u32,
            ];
            block.launch_over(Kernel::MeanExport, (rows * d) as u64, arguments);
            out
        })
    }

    fn trajectory(
        &mut self,
        source: &[f32],
        times: &[f64],
        seed: u64,
        first_row: u64,
        path: &mut Results<'_>,
    ) -> Result<()> {
        let d = self.model.info.dimension;
        let line = times.len() * d;
        let (along, spread) = bridge_steps(times, self.model.sigma)?;
        self.each(MOST_ROWS, path, |kit, block, range| {
            let (rows, first) = (range.len(), first_row.wrapping_add(range.start as u64));
            let from = kit.rows(block, &source[range.start * d..range.end * d]);
            let (along, spread) = (block.upload(&along), block.upload(&spread));
            let x1 = kit.endpoints(block, from, rows, seed, first);
            let x0 = block.scratch(rows, d);
            kit.import(block, from, rows, 1, kit.plain(), x0, None);
            let out = dense(block, rows * line);
            let ((x0, x0_stride), (x1, x1_stride)) = (block.place(x0), block.place(x1));
            let arguments = arguments_of![
                x0,
                x0_stride,
                x1,
                x1_stride,
                rows as u32,
                d as u32,
                along,
                spread,
                times.len() as u32,
                block.address(out),
                seed,
                0u64,
                first,
                kit.model.normalisation.scale,
                kit.nets.shift.address(),
            ];
            block.launch_over(Kernel::BridgeTrajectory, (rows * d) as u64, arguments);
            out
        })
    }

    fn drift(&mut self, time: f64, state: &[f32], drift: &mut Results<'_>) -> Result<()> {
        let d = self.model.info.dimension;
        let known = Drift::new(&self.model, time);
        self.each(MOST_ROWS, drift, |kit, block, range| {
            let rows = range.len();
            let from = kit.rows(block, &state[range.start * d..range.end * d]);
            let seen = Seen { weight: known.weight, scale: known.scale };
            let states = kit.states(block, from, rows, seen, known.time);
            let tape = kit.model.value.record(block, kit.nets.value(), states);
            let one = block.ones(rows);
            let mut g = kit.model.value.backward_input(block, kit.nets.value(), &tape, one);
            if g.squares.count > 0 {
                let whole = block.scratch(rows, states.cols);
                block.squares_reverse(states, g.with_squares(), whole);
                g = whole;
            }
            let out = dense(block, rows * d);
            let (g, stride) = block.place(g);
            let [gradient, away, along] = known.factors;
            let arguments = arguments_of![
                g,
                stride,
                from.0,
                from.1 as u32,
                rows as u32,
                d as u32,
                gradient,
                away,
                kit.nets.shift.address(),
                along,
                kit.nets.pull.address(),
                block.address(out),
                d as u32,
            ];
            block.launch_over(Kernel::DriftExport, (rows * d) as u64, arguments);
            out
        })
    }

    fn density_ratio(&mut self, target: &[f32], ratio: &mut Results<'_>) -> Result<()> {
        let d = self.model.info.dimension;
        self.each(MOST_ROWS, ratio, |kit, block, range| {
            let rows = range.len();
            let from = kit.rows(block, &target[range.start * d..range.end * d]);
            let states = kit.states(block, from, rows, kit.plain(), 1.0);
            let v = kit.model.value.forward(block, kit.nets.value(), states);
            let out = dense(block, rows);
            let ((v, stride), (states, states_stride)) = (block.place(v), block.place(states));
            let (conjugate, quadratic) = (&kit.model.conjugate, &kit.model.quadratic);
            let arguments = arguments_of![
                v,
                stride,
                states,
                states_stride,
                rows as u32,
                d as u32,
                quadratic.curvature,
                kit.nets.slope.address(),
                quadratic.level,
                conjugate.divergence as u32,
                conjugate.tau,
                block.address(out),
            ];
            // A warp a row.
            block.launch_over(Kernel::RatioExport, 32 * rows as u64, arguments);
            out
        })
    }

    fn generate_on_device(
        &mut self,
        source: DeviceRows,
        seed: u64,
        first_row: u64,
        generated: DeviceRows,
    ) -> Result<()> {
        let model = Arc::clone(&self.model);
        let kit = Kit::of(&model);
        let _entered = kit.nets.gpu.enter()?;
        let d = model.info.dimension;
        for (name, rows) in [("source", source), ("generated", generated)] {
            let numbers = (rows.rows - 1) * rows.stride + d;
            kit.nets.gpu.check_pointer(name, rows.address, (numbers * size_of::<f32>()) as u64)?;
        }
        let piece = self.fit(&kit, source.rows.min(MOST_ROWS), |block, piece| {
            kit.endpoints(block, (0, source.stride), piece, seed, first_row);
        })?;
        let at = |rows: DeviceRows, from: usize| {
            (rows.address + (from * rows.stride * size_of::<f32>()) as u64, rows.stride)
        };
        for from in (0..source.rows).step_by(piece) {
            let rows = piece.min(source.rows - from);
            let mut block = self.block(&kit);
            let first = first_row.wrapping_add(from as u64);
            let end = kit.endpoints(&mut block, at(source, from), rows, seed, first);
            kit.export(&mut block, end, at(generated, from));
            block.finish()?;
        }
        Ok(())
    }
}

/// For each of the ascending times, how far the bridge goes from where it is towards its end, and its noise there.
fn bridge_steps(times: &[f64], sigma: f64) -> Result<(Vec<f32>, Vec<f32>)> {
    const STEPS: &str = "the steps of a path";
    let mut along = memory::with_room(STEPS, times.len())?;
    let mut spread = memory::with_room(STEPS, times.len())?;
    let mut now = 0.0;
    for &t in times {
        let before = std::mem::replace(&mut now, t);
        let (passed, rest) = (t - before, 1.0 - before);
        let (share, noise) = if t >= 1.0 {
            (1.0, 0.0)
        } else {
            ((passed / rest) as f32, (sigma * (passed * (1.0 - t) / rest).sqrt()) as f32)
        };
        along.push(share);
        spread.push(noise);
    }
    Ok((along, spread))
}
