//! The bridge and the losses on a GPU, for numbers in its memory. A call returns when its work is done.

use super::config::DeviceNumbers;
use crate::device::cuda::block::CudaBlock;
use crate::device::cuda::gpu::Gpu;
use crate::device::cuda::memory::DeviceBuffer;
use crate::device::cuda::rows::CudaRows;
use crate::device::cuda::sums::{CudaSums, TERMS, sums_of};
use crate::device::cuda::workspace::CudaWorkspace;
use crate::device::exchange::BatchSeed;
use crate::device::training::Half;
use crate::device::{Mat, Sums, Workspace};
use crate::error::Result;
use crate::euot::objective::{Objective, PointsTo, SourceRows, StateRows, ValueRows, ValueTo};
use crate::formulas::{Axes, Tick};
use crate::memory;
use std::ops::Range;
use std::sync::Arc;

/// The largest number of rows computed at a time.
const MOST_ROWS: usize = 1 << 18;
/// The largest workspace of a piece, in floats: 256 megabytes. A single source sample may take more.
const MOST_FLOATS: usize = 1 << 26;
/// The largest number of partial sums that a kernel leaves where it does not leave one for each tile of a group.
const LEAST_PARTIALS: usize = 256;
/// The least number of components of a tile.
const TILE: usize = 64;

/// Numbers of one tick.
const TICK: usize = Tick::<f32>::NUMBERS;

impl DeviceNumbers {
    /// Returns the rows from number `from` on, of `per_row` numbers each.
    fn rows(self, from: usize, per_row: usize) -> CudaRows {
        CudaRows { address: self.address + (from * per_row * size_of::<f32>()) as u64, stride: per_row }
    }
}

/// The GPU's workspace and the constants of the problem in its memory.
pub(super) struct GpuProblem {
    objective: Objective,
    _numbers: DeviceBuffer<f32>,
    axes: Axes<u64>,
    queue: Queue,
}

/// A workspace in which one piece of a call's rows is computed after the other.
struct Queue {
    workspace: CudaWorkspace,
    /// Partial sums of a piece on the host.
    partials: Vec<f32>,
}

/// How the rows of a call are cut.
struct Cut {
    half: Half,
    /// Number of source samples or rows.
    count: usize,
    /// The largest number of them in a piece.
    most: usize,
    /// The number of partial sums that each of them may leave.
    partials: usize,
}

impl Queue {
    /// Queues `work` for piece after piece, waits for it, and returns the sums.
    fn run(&mut self, cut: &Cut, work: impl Fn(&mut CudaBlock, Range<usize>, &mut CudaSums)) -> Result<Sums> {
        let gpu = Arc::clone(self.workspace.gpu());
        let _entered = gpu.enter()?;
        let capacity = |pieces: usize| LEAST_PARTIALS.max(pieces * cut.partials);
        let begun = |block: &mut CudaBlock, piece: Range<usize>| {
            let capacity = capacity(piece.len());
            // Two floats have the room of a double.
            let room = block.scratch(2 * TERMS * capacity, 1);
            let mut sums = CudaSums { address: block.address(room), capacity, counts: [0; TERMS] };
            work(block, piece, &mut sums);
            (room, sums)
        };
        let piece = self.workspace.fit(cut.count.min(cut.most.max(1)), MOST_FLOATS, |block, piece| {
            begun(block, 0..piece);
        })?;
        // Before work is queued: a refusal leaves nothing behind that reads the host's times.
        memory::grow(&mut self.partials, "sums of a loss", 2 * TERMS * capacity(piece), 0.0)?;
        let mut total = Sums::default();
        for from in (0..cut.count).step_by(piece) {
            let mut block = self.workspace.block();
            let (room, sums) = begun(&mut block, from..cut.count.min(from + piece));
            let done = block.finish().and_then(|()| self.add(cut.half, room, &sums, &mut total));
            // The host's times are read when the stream comes to them: not after the call.
            done.inspect_err(|_| drop(gpu.synchronise()))?;
        }
        Ok(total)
    }

    /// Waits for the partial sums of a piece and adds them.
    fn add(&mut self, half: Half, room: Mat, sums: &CudaSums, total: &mut Sums) -> Result<()> {
        let held = &mut self.partials[..room.rows];
        self.workspace.download(room, 0, held)?;
        let term = |number: usize| -> f64 {
            let from = number * sums.capacity;
            let pairs = held[2 * from..2 * (from + sums.counts[number])].chunks_exact(2);
            pairs.map(|pair| f64::from_bits(u64::from(pair[0].to_bits()) | u64::from(pair[1].to_bits()) << 32)).sum()
        };
        total.add(&sums_of(half, term));
        Ok(())
    }
}

impl GpuProblem {
    pub fn new(gpu: &Arc<Gpu>, objective: Objective, axes: &Axes<Vec<f32>>) -> Result<Self> {
        let _entered = gpu.enter()?;
        let numbers = DeviceBuffer::of(gpu, &axes.numbers, "the constants of a sample's axes")?;
        let workspace = CudaWorkspace::new(gpu, "the workspace of a problem");
        Ok(Self {
            objective,
            axes: axes.at(numbers.address()),
            _numbers: numbers,
            queue: Queue { workspace, partials: Vec::new() },
        })
    }

    /// Refuses numbers that are not memory of the GPU, or too few. `name` is the argument's.
    pub fn check(&self, name: &str, numbers: DeviceNumbers, count: usize) -> Result<()> {
        let gpu = self.queue.workspace.gpu();
        let _entered = gpu.enter()?;
        gpu.check_pointer(name, numbers.address, (count * size_of::<f32>()) as u64)
    }

    /// Draws the bridges of source samples.
    pub fn sample(
        &mut self,
        from: &SourceRows<DeviceNumbers>,
        ticks: &[f32],
        seed: BatchSeed,
        to: &PointsTo<DeviceNumbers>,
    ) -> Result<()> {
        let Self { objective, axes, queue, .. } = self;
        let (d, components) = (objective.dimension, objective.conditional.components);
        let each = if seed.half == Half::Value { components } else { 1 };
        let cut = Cut { half: seed.half, count: from.sources, most: MOST_ROWS / components, partials: 0 };
        queue.run(&cut, |block, sources, _| {
            let rows = |to: Option<DeviceNumbers>| to.map(|to| to.rows(sources.start * components, d));
            let to = PointsTo { end: rows(to.end), state: rows(to.state), drift: rows(to.drift) };
            let ticks = bring(block, &ticks[sources.start * each * TICK..sources.end * each * TICK]);
            objective.sample(block, axes, &part(objective, from, &sources), ticks, seed.skip(sources.start), to);
        })?;
        Ok(())
    }

    /// Computes the value function's loss.
    pub fn value(&mut self, from: &ValueRows<DeviceNumbers>, to: &ValueTo<DeviceNumbers>) -> Result<Sums> {
        let Self { objective, axes, queue, .. } = self;
        let (d, share) = (objective.dimension, 1.0 / from.rows as f64);
        let cut = Cut { half: Half::Value, count: from.rows, most: MOST_ROWS, partials: 0 };
        queue.run(&cut, |block, rows, sums| {
            let at = |numbers: DeviceNumbers, per_row| numbers.rows(rows.start, per_row);
            let from =
                ValueRows { v: from.v.map(|v| at(v, 1)), g: at(from.g, d), drift: at(from.drift, d), rows: rows.len() };
            let to = ValueTo { by_v: to.by_v.map(|by| at(by, 1)), direction: at(to.direction, d) };
            objective.value(block, axes, &from, share, to, sums);
        })
    }

    /// Computes the generator's loss.
    pub fn generator(
        &mut self,
        from: &SourceRows<DeviceNumbers>,
        ticks: &[f32],
        at: &StateRows<DeviceNumbers>,
        to: DeviceNumbers,
    ) -> Result<Sums> {
        let Self { objective, axes, queue, .. } = self;
        let (d, components) = (objective.dimension, objective.conditional.components);
        let share = 1.0 / (from.sources * components) as f64;
        let partials = components.div_ceil(TILE);
        let cut = Cut { half: Half::Generator, count: from.sources, most: MOST_ROWS / components, partials };
        queue.run(&cut, |block, sources, sums| {
            let rows = |numbers: DeviceNumbers, per_row| numbers.rows(sources.start * components, per_row);
            let at = StateRows { state: rows(at.state, d), v: rows(at.v, 1), g: rows(at.g, d) };
            let ticks = bring(block, &ticks[sources.start * TICK..sources.end * TICK]);
            let outputs = outputs_at(objective, to, sources.start);
            objective.generator(block, axes, &part(objective, from, &sources), ticks, &at, share, outputs, sums);
        })
    }
}

/// Copies ticks to the GPU. They stay as they are until the stream was waited for.
fn bring(block: &mut CudaBlock, ticks: &[f32]) -> CudaRows {
    CudaRows { address: block.upload(ticks), stride: TICK }
}

/// Returns the place of the generator's outputs from a source sample on.
fn outputs_at(objective: &Objective, outputs: DeviceNumbers, source: usize) -> CudaRows {
    let each = objective.output_rows();
    outputs.rows(source * each, objective.outputs() / each)
}

/// Returns the place of these source samples and their outputs.
fn part(objective: &Objective, from: &SourceRows<DeviceNumbers>, sources: &Range<usize>) -> SourceRows<CudaRows> {
    SourceRows {
        x0: from.x0.rows(sources.start, objective.dimension),
        outputs: outputs_at(objective, from.outputs, sources.start),
        sources: sources.len(),
    }
}
