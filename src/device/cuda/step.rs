//! One training step as work on a GPU. The same code queues it to measure its memory and to capture it.

use super::batch::StepSamples;
use super::block::CudaBlock;
use super::gpu::Gpu;
use super::gradient::{CudaGradient, CudaNet};
use super::memory::DeviceBuffer;
use super::optimiser::CudaOptimiser;
use super::samples::SideSamples;
use super::sums::CudaSums;
use crate::data::SampleSet;
use crate::device::Workspace;
use crate::device::half_work::{HalfInputs, HalfTotals, HalfWork, SourceBlocks, block_of_pairs};
use crate::device::training::{Half, NetworkState};
use crate::error::{Error, Result};
use crate::formulas::Axes;
use cudarc::driver::sys::CUstream;
use std::ops::Range;
use std::sync::Arc;

/// The largest workspace of a piece of the batch, in floats: a gigabyte. One source sample may take more.
const MOST_FLOATS: usize = 1 << 28;
/// The largest number of rows of a piece, which bounds the grids.
const MOST_ROWS: usize = 1 << 20;
/// The largest number of pieces of a batch. Each piece is captured separately.
const MOST_PIECES: usize = 256;

/// The name of the workspace in errors.
const WORKSPACE: &str = "the workspace of a training step (batch_sources, components and hidden_width make it large)";

/// The parts of a step.
pub(crate) struct StepParts<W> {
    /// The work of each half.
    pub work: W,
    pub optimiser: CudaOptimiser,
    /// The constants of the problem along the axes of a sample.
    pub axes: Axes<Vec<f32>>,
    /// Samples of source and target.
    pub samples: [SideSamples; 2],
    /// Number of source samples of a batch, and of rows for each (`components`).
    pub sources: usize,
    pub components: usize,
}

/// A step with all memory that it reads and writes.
pub(crate) struct CudaStep<W> {
    parts: StepParts<W>,
    /// Makes the block that walks through the step to find out what it takes.
    walker: fn(&Arc<Gpu>) -> CudaBlock,
    /// The numbers of the axes.
    axis_numbers: DeviceBuffer<f32>,
    /// Number of source samples that are computed at once. The whole batch is one shard, whose gradient is the sum over
    /// its pieces.
    piece: usize,
    /// Whether the independent parts of the two halves have workspaces of their own.
    overlaps: bool,
    /// For each half and size of a piece, the number of rows of each contribution to the half's gradient.
    contributions: Vec<(Half, usize, Vec<usize>)>,
    /// Number of partial sums of each loss term.
    sums: usize,
    workspace: DeviceBuffer<f32>,
}

/// The gradient of a half before the sum of its last lines.
struct Lines {
    last: CudaGradient,
    /// Whether the sum of these lines is added to a sum of others.
    accumulate: bool,
    sums: CudaSums,
}

impl<W: HalfWork<CudaBlock>> CudaStep<W> {
    /// Measures the memory that a step needs. Nothing is allocated before [`Self::allocate`], except what products
    /// need. The context is current.
    pub fn planned(gpu: &Arc<Gpu>, parts: StepParts<W>) -> Result<Self> {
        Self::fitted(gpu, parts, CudaBlock::measuring)
    }

    /// Refuses a step that the GPU's memory, or what the host allows of it, has no room for. Nothing at all is allocated. The
    /// context is current.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn check_room(gpu: &Arc<Gpu>, parts: StepParts<W>) -> Result<()> {
        let mut step = Self::fitted(gpu, parts, CudaBlock::foretelling)?;
        let shared = if step.branches(gpu) { 0 } else { gpu.library.bytes_to_take() };
        let room = gpu.check_room(step.bytes(), shared);
        if room.is_err() && std::mem::take(&mut step.overlaps) {
            // As `allocate` does it.
            step.fit(gpu)?;
            return gpu.check_room(step.bytes(), shared);
        }
        room
    }

    fn fitted(gpu: &Arc<Gpu>, parts: StepParts<W>, walker: fn(&Arc<Gpu>) -> CudaBlock) -> Result<Self> {
        let StepParts { sources, components, .. } = parts;
        let mut step = Self {
            walker,
            axis_numbers: DeviceBuffer::planned(gpu, parts.axes.numbers.len()),
            piece: block_of_pairs(MOST_ROWS / components, sources),
            overlaps: false,
            contributions: Vec::new(),
            sums: 0,
            workspace: DeviceBuffer::planned(gpu, 0),
            parts,
        };
        step.overlaps = step.branches(gpu) && !step.drawn_by_host() && step.piece == sources;
        step.fit(gpu)?;
        Ok(step)
    }

    /// Allocates the memory, and begins or resumes a training at step `counter` with these sets. The context is current
    /// here and in every other method.
    pub fn allocate(
        &mut self,
        gpu: &Arc<Gpu>,
        networks: &[NetworkState; 2],
        sets: [Option<SampleSet>; 2],
        counter: u64,
    ) -> Result<()> {
        self.parts.optimiser.allocate(networks, counter)?;
        self.axis_numbers.allocate_with(&self.parts.axes.numbers, "the constants of a sample's axes")?;
        for (samples, set) in self.parts.samples.iter_mut().zip(sets) {
            samples.allocate(set.as_ref())?;
        }
        self.parts.optimiser.allocate_sums()?;
        let allocated = self.workspace.allocate(WORKSPACE);
        if matches!(allocated, Err(Error::OutOfMemory(_))) && std::mem::take(&mut self.overlaps) {
            // A step whose halves come one after the other takes less, and has the same bits.
            self.fit(gpu)?;
            self.parts.optimiser.allocate_sums()?;
            return self.workspace.allocate(WORKSPACE);
        }
        allocated
    }

    /// Returns the bytes of device memory that it will take or has taken.
    pub fn bytes(&self) -> u64 {
        self.fixed_bytes() + CudaOptimiser::bytes_of_sums(self.sums) + self.workspace.bytes()
    }

    /// Returns the bytes without the workspace and the loss terms.
    fn fixed_bytes(&self) -> u64 {
        let samples: u64 = self.parts.samples.iter().map(SideSamples::bytes).sum();
        self.parts.optimiser.bytes() + self.axis_numbers.bytes() + samples
    }

    /// Returns whether each batch waits for the host.
    pub fn drawn_by_host(&self) -> bool {
        self.parts.samples.iter().any(SideSamples::drawn_by_host)
    }

    /// Returns the optimiser, which has both networks and the record of the steps.
    pub fn optimiser(&mut self) -> &mut CudaOptimiser {
        &mut self.parts.optimiser
    }

    /// Returns whether a captured step may branch. Products of cublasLt share a workspace, so they come one after
    /// another.
    pub fn branches(&self, gpu: &Gpu) -> bool {
        Half::BOTH.iter().all(|&half| self.parts.optimiser.network(half).net(gpu).fused)
    }

    /// Copies batches that the host drew.
    pub fn upload(&mut self, source: Option<&[f32]>, target: Option<&[f32]>) -> Result<()> {
        for (samples, batch) in self.parts.samples.iter_mut().zip([source, target]) {
            batch.map_or(Ok(()), |batch| samples.upload(batch))?;
        }
        Ok(())
    }

    /// Plans the workspace of a step. Where it does not fit into the allowed memory, it puts the halves one after the
    /// other, and then cuts the batch into pieces.
    fn fit(&mut self, gpu: &Arc<Gpu>) -> Result<()> {
        // Other pieces have other sums, so it goes by the limit and by what this training takes, not by what else is
        // there.
        let allowed = gpu.account().limit().saturating_sub(self.fixed_bytes());
        loop {
            self.parts.optimiser.plan_sums(gpu, None);
            self.count_contributions(gpu)?;
            let mut block = self.prepare((self.walker)(gpu));
            let sums = self.queue(&mut block, &Half::BOTH);
            block.finish()?;
            let room = block.most();
            let left = allowed.saturating_sub(CudaOptimiser::bytes_of_sums(sums));
            let most = MOST_FLOATS.min((left / size_of::<f32>() as u64) as usize);
            if self.parts.sources.div_ceil(self.piece) > MOST_PIECES {
                return Err(Error::OutOfMemory(format!(
                    "a batch of {} x {} rows has to be carried in more than {MOST_PIECES} pieces to fit into what memory_limit ({} bytes) leaves beside the {} bytes of samples and networks; lower batch_sources, components or hidden_width, or raise memory_limit",
                    self.parts.sources,
                    self.parts.components,
                    gpu.account().limit(),
                    self.fixed_bytes()
                )));
            }
            if room <= most || (self.piece == 1 && !self.overlaps) {
                self.parts.optimiser.plan_sums(gpu, Some(sums));
                self.sums = sums;
                self.workspace = DeviceBuffer::planned(gpu, room);
                return Ok(());
            }
            if !std::mem::take(&mut self.overlaps) {
                self.piece = block_of_pairs(self.piece.div_ceil(2), self.parts.sources);
            }
        }
    }

    /// Counts the contributions of a piece to a gradient, by a run that launches nothing.
    fn count_contributions(&mut self, gpu: &Arc<Gpu>) -> Result<()> {
        let (piece, sources) = (self.piece, self.parts.sources);
        self.contributions.clear();
        for (half, size) in Half::BOTH.into_iter().flat_map(|half| [(half, piece), (half, sources % piece)]) {
            if size > 0 {
                let mut block = self.prepare((self.walker)(gpu));
                let (nets, axes) = (self.nets(gpu), self.axes());
                let mut gradient = CudaGradient::counting(&nets[half as usize]);
                let totals = HalfTotals { gradient: &mut gradient, sums: &mut self.parts.optimiser.sums() };
                self.carry(&mut block, half, &self.inputs(&nets, &axes), 0..size, totals);
                block.finish()?;
                self.contributions.push((half, size, gradient.contributions()));
            }
        }
        Ok(())
    }

    /// Returns a block that launches on `stream`, in the workspace.
    pub fn block(&self, gpu: &Arc<Gpu>, stream: CUstream) -> CudaBlock {
        self.prepare(CudaBlock::new(gpu, stream, self.workspace.address(), self.workspace.len()))
    }

    /// Puts into a fresh workspace the matrices that every step reads.
    fn prepare(&self, block: CudaBlock) -> CudaBlock {
        block.with_ones(self.piece * self.parts.components)
    }

    fn nets(&self, gpu: &Gpu) -> [CudaNet; 2] {
        Half::BOTH.map(|half| self.parts.optimiser.network(half).net(gpu))
    }

    /// Queues halves of a step in a prepared workspace. Returns the largest number of partial sums of a loss term.
    ///
    /// The part of the generator's half that needs no value function runs beside the value function's half, where there
    /// is memory for it and the work may branch.
    pub fn queue(&self, block: &mut CudaBlock, halves: &[Half]) -> usize {
        let nets = self.nets(&block.gpu());
        let axes = self.axes();
        let inputs = self.inputs(&nets, &axes);
        let begun = (self.overlaps && halves == Half::BOTH)
            .then(|| block.aside(|block| self.parts.work.begin(block, &inputs, 0..self.parts.sources)));
        let start = block.mark();
        let mut most = 0;
        for &half in halves {
            let begun = begun.as_ref().filter(|_| half == Half::Generator);
            let lines = self.gradient(block, half, &inputs, 0..self.parts.sources, start, begun);
            let squares = self.reduce(block, half, &lines);
            self.parts.optimiser.update(block, half, squares);
            most = most.max(lines.sums.counts.into_iter().max().unwrap_or(0));
        }
        block.join();
        most
    }

    /// Queues the gradient and the loss of source samples of the batch, piece after piece, each with the workspace from
    /// `start` on. `begun` is given where the first part for all of them is queued already.
    fn gradient(
        &self,
        block: &mut CudaBlock,
        half: Half,
        inputs: &HalfInputs<'_, CudaBlock>,
        sources: Range<usize>,
        start: usize,
        begun: Option<&W::Begun>,
    ) -> Lines {
        let mut sums = self.parts.optimiser.sums();
        let mut last: Option<CudaGradient> = None;
        let mut accumulate = false;
        for from in sources.clone().step_by(self.piece) {
            if let Some(lines) = last.take() {
                self.parts.optimiser.add(block, half, &lines, accumulate, &sums);
                accumulate = true;
            }
            let piece = from..sources.end.min(from + self.piece);
            block.reset(start);
            let contributions = self.contributions(half, piece.len());
            let gradient = last.insert(CudaGradient::new(block, inputs.nets[half as usize], contributions));
            let totals = HalfTotals { gradient, sums: &mut sums };
            match begun {
                Some(begun) => self.parts.work.end(block, inputs, begun, totals),
                None => self.carry(block, half, inputs, piece, totals),
            }
        }
        Lines { last: last.expect("a batch has a source sample"), accumulate, sums }
    }

    /// Queues the sum of a half's gradient, with its norm and the plan of the update. Returns how many partial sums the
    /// norm has.
    fn reduce(&self, block: &mut CudaBlock, half: Half, lines: &Lines) -> u32 {
        self.parts.optimiser.reduce(block, half, &lines.last, lines.accumulate, &lines.sums)
    }

    /// Queues the gradient and the loss of a piece.
    fn carry(
        &self,
        block: &mut CudaBlock,
        half: Half,
        inputs: &HalfInputs<'_, CudaBlock>,
        sources: Range<usize>,
        totals: HalfTotals<'_, CudaBlock>,
    ) {
        let blocks = SourceBlocks { block: sources.len(), sources, cancelled: &|| false };
        self.parts.work.carry(block, half, inputs, &blocks, totals);
    }

    /// Returns the number of rows of each contribution to a half's gradient by a piece of `size` source samples.
    fn contributions(&self, half: Half, size: usize) -> &[usize] {
        let counted = self.contributions.iter().find(|counted| (counted.0, counted.1) == (half, size));
        &counted.expect("every size of a piece was counted").2
    }

    /// Returns the axes as kernels take them.
    fn axes(&self) -> Axes<u64> {
        self.parts.axes.at(self.axis_numbers.address())
    }

    fn inputs<'a>(&'a self, nets: &'a [CudaNet; 2], axes: &'a Axes<u64>) -> HalfInputs<'a, CudaBlock> {
        let [source, target] = &self.parts.samples;
        let samples = StepSamples { source, target, counter: self.parts.optimiser.counter() };
        HalfInputs { nets: nets.each_ref(), axes, samples }
    }
}
