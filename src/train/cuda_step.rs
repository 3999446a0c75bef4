//! One training step as work on a GPU: queued the same way to be measured and to be captured.

use super::cuda_network::CudaNetwork;
use super::cuda_report::{COUNTER, FAULT, OUTCOMES, REPORT, RING, number_of};
use super::cuda_side::CudaSide;
use super::engine::{Half, NetworkState};
use super::plan::Plan;
use crate::data::DataSource;
use crate::device::cuda::block::{CudaBlock, CudaNoise, MOST_BLOCKS, THREADS};
use crate::device::cuda::gpu::Gpu;
use crate::device::cuda::gradient::{CudaGradient, CudaNet};
use crate::device::cuda::kernels::{Argument, Kernel, arguments_of};
use crate::device::cuda::memory::DeviceBuffer;
use crate::device::cuda::sums::{CudaSums, TERMS};
use crate::device::{Batch, Mat, Workspace};
use crate::error::{Error, Result};
use crate::euot::conditional::Conditional;
use crate::euot::generator_step::{Begun, GeneratorStep, TIME_MAX_DETERMINISTIC, TIME_MIN};
use crate::euot::value_step::{TIME_MAX, ValueStep};
use std::ops::Range;
use std::sync::Arc;

/// Floats of workspace that a block of rows may take, unless one source sample takes more: a gigabyte.
const MOST_FLOATS: usize = 1 << 28;
/// Rows of a block at most: bounds the grids.
const MOST_ROWS: usize = 1 << 20;
/// Pieces that a batch is carried in at most: each is captured for itself.
const MOST_PIECES: usize = 256;
/// Partial sums of a gradient's square at most.
const MOST_SQUARES: usize = 256;
/// Numbers of 8 bytes of an update's plan: four sums, and four of 4 bytes.
const PLANNED: usize = 6;
/// A whole step.
pub(super) const BOTH: [Half; 2] = [Half::Value, Half::Generator];
/// More partial sums than there can be: while it is found out how many there are.
const MEASURED_CAPACITY: usize = 1 << 40;

/// All that a step reads and writes beside its workspace.
pub(super) struct CudaStep {
    plan: Plan,
    pub value: CudaNetwork,
    pub generator: CudaNetwork,
    /// Of the known part of V(1, .).
    slope: DeviceBuffer<f32>,
    pub source: CudaSide,
    pub target: CudaSide,
    pub report: DeviceBuffer<u64>,
    /// Partial sums of the loss terms, and of the gradient's square.
    terms: DeviceBuffer<f64>,
    /// Partial sums that there is room for, of each term.
    capacity: usize,
    squares: DeviceBuffer<f64>,
    /// Partial sums of how large an updated state is.
    sizes: DeviceBuffer<f64>,
    /// What an update is made with: a few numbers.
    planned: DeviceBuffer<u64>,
    /// Source samples of a block of rows.
    cut: usize,
    /// Both halves have workspaces of their own as far as they do not depend on each other.
    overlaps: bool,
    /// Bytes that a step's workspace and the loss terms may take.
    allowed: u64,
}

impl CudaStep {
    /// Copies a training at step `counter` to the device; with it the workspace that a step takes. The context is current.
    pub fn new(
        gpu: &Arc<Gpu>,
        plan: Plan,
        networks: &[NetworkState; 2],
        sides: &[&DataSource; 2],
        counter: u64,
    ) -> Result<(Self, DeviceBuffer<f32>)> {
        let rows = plan.sources * plan.conditional.components;
        // Samples that were normalised on the device are there already.
        let samples = sides.iter().map(|side| side.device_bytes()).sum();
        let before = gpu.account().used().saturating_sub(samples);
        let mut report = DeviceBuffer::zeroed(gpu, REPORT, "the steps' outcomes")?;
        report.store(COUNTER, &[counter])?;
        let mut step = Self {
            value: CudaNetwork::new(gpu, &plan.value, &networks[0], "value function")?,
            generator: CudaNetwork::new(gpu, &plan.generator, &networks[1], "generator")?,
            slope: DeviceBuffer::of(gpu, &plan.bridge.quadratic::<f32>()?.slope, "the slope of V")?,
            source: CudaSide::new(gpu, sides[0], plan.sources, "source")?,
            target: CudaSide::new(gpu, sides[1], rows, "target")?,
            report,
            terms: DeviceBuffer::new(gpu, 0, "the loss terms")?,
            capacity: MEASURED_CAPACITY,
            squares: DeviceBuffer::new(gpu, MOST_SQUARES, "the gradient's norm")?,
            sizes: DeviceBuffer::new(gpu, MOST_BLOCKS as usize, "the optimiser's check")?,
            planned: DeviceBuffer::zeroed(gpu, PLANNED, "the optimiser's plan")?,
            cut: plan.sources.min((MOST_ROWS / plan.conditional.components).max(1)),
            overlaps: false,
            allowed: 0,
            plan,
        };
        step.overlaps = step.branches(gpu) && !step.drawn_by_host() && step.cut == step.plan.sources;
        // Another cut has other sums, so it goes by the limit and by what this training takes, not by what else is there.
        let taken = gpu.account().used().saturating_sub(before);
        // What the terms have now they give back.
        step.allowed = gpu.account().limit().saturating_sub(taken).saturating_add(step.terms.bytes());
        let workspace = step.workspace(gpu)?;
        Ok((step, workspace))
    }

    /// The workspace of a step. Where the device has no memory for it, that of a step whose halves come one after the other,
    /// which has the same bits.
    fn workspace(&mut self, gpu: &Arc<Gpu>) -> Result<DeviceBuffer<f32>> {
        let what = "the workspace of a training step (batch_sources, components and hidden_width make it large)";
        let workspace = DeviceBuffer::new(gpu, self.fit(gpu)?, what);
        if matches!(workspace, Err(Error::OutOfMemory(_))) && std::mem::take(&mut self.overlaps) {
            return DeviceBuffer::new(gpu, self.fit(gpu)?, what);
        }
        workspace
    }

    pub fn network(&self, half: Half) -> &CudaNetwork {
        match half {
            Half::Value => &self.value,
            Half::Generator => &self.generator,
        }
    }

    /// Whether each batch waits for the host.
    pub fn drawn_by_host(&self) -> bool {
        self.source.drawn_by_host() || self.target.drawn_by_host()
    }

    /// Whether a captured step may branch: products of cublasLt share a workspace, so they come one after another.
    pub fn branches(&self, gpu: &Gpu) -> bool {
        [&self.value, &self.generator].into_iter().all(|network| network.net(gpu).fused)
    }

    /// Floats of workspace that a step takes; puts the halves one after the other, and then cuts the batch into blocks of rows,
    /// until they fit into what is allowed.
    fn fit(&mut self, gpu: &Arc<Gpu>) -> Result<usize> {
        self.capacity = MEASURED_CAPACITY;
        loop {
            let mut block = self.prepare(CudaBlock::measuring(gpu));
            let terms = TERMS * self.queue(&mut block, &BOTH);
            block.finish()?;
            let room = block.most();
            let left = self.allowed.saturating_sub((terms * size_of::<f64>()) as u64);
            let most = MOST_FLOATS.min((left / size_of::<f32>() as u64) as usize);
            if self.plan.sources.div_ceil(self.cut) > MOST_PIECES {
                return Err(Error::OutOfMemory(format!(
                    "a batch of {} x {} rows of this size has to be carried in more than {MOST_PIECES} pieces to fit into the GPU's memory; lower batch_sources, components or hidden_width, or raise memory_limit",
                    self.plan.sources, self.plan.conditional.components
                )));
            }
            if room <= most || (self.cut == 1 && !self.overlaps) {
                self.capacity = terms / TERMS;
                self.terms = DeviceBuffer::new(gpu, terms, "the loss terms")?;
                return Ok(room);
            }
            if !std::mem::take(&mut self.overlaps) {
                self.cut = self.cut.div_ceil(2);
            }
        }
    }

    /// Keeps in a fresh workspace what every step reads.
    pub fn prepare(&self, block: CudaBlock) -> CudaBlock {
        block.with_ones(self.cut * self.plan.conditional.components)
    }

    /// Queues halves of a step in a prepared workspace; returns how many partial sums a half's terms have at most.
    ///
    /// What the generator's half needs no value function for goes beside the value function's half, where there is memory for
    /// it and the work may branch.
    pub fn queue(&self, block: &mut CudaBlock, halves: &[Half]) -> usize {
        let nets = self.nets(block);
        let begun = (self.overlaps && halves == BOTH).then(|| {
            block.aside(|block| {
                let batch = self.batch(block, Half::Generator, 0, self.plan.sources);
                let begun = self.generator_step().begin(block, &nets[0], &nets[1], &batch);
                (batch, begun)
            })
        });
        let start = block.mark();
        let counts = halves.iter().map(|half| match half {
            Half::Value => self.value_half(block, &nets, start),
            Half::Generator => self.generator_half(block, &nets, start, begun.as_ref()),
        });
        let most = counts.max().unwrap_or(0);
        block.join();
        most
    }

    fn nets(&self, block: &CudaBlock) -> [CudaNet; 2] {
        let gpu = block.gpu();
        [self.value.net(&gpu), self.generator.net(&gpu)]
    }

    fn value_half(&self, block: &mut CudaBlock, nets: &[CudaNet; 2], start: usize) -> usize {
        let plan = &self.plan;
        let step = ValueStep {
            value: &plan.value,
            generator: &plan.generator,
            conditional: plan.conditional,
            head: plan.head,
            conjugate: plan.conjugate,
            quadratic: &plan.bridge.quadratic_of(self.slope.address()),
            scale: self.scale(),
        };
        self.half(block, Half::Value, nets, start, |block, pieces, gradient, sums| {
            let batch = self.batch(block, Half::Value, pieces.start, pieces.end);
            step.run(block, &nets[0], &nets[1], &batch, gradient, sums);
        })
    }

    /// `begun` are all rows, where their first part is queued already.
    fn generator_half(
        &self,
        block: &mut CudaBlock,
        nets: &[CudaNet; 2],
        start: usize,
        begun: Option<&(Batch<CudaNoise>, Begun)>,
    ) -> usize {
        let step = self.generator_step();
        self.half(block, Half::Generator, nets, start, |block, pieces, gradient, sums| match begun {
            Some((batch, begun)) => step.end(block, &nets[0], &nets[1], batch, begun, gradient, sums),
            None => {
                let batch = self.batch(block, Half::Generator, pieces.start, pieces.end);
                step.run(block, &nets[0], &nets[1], &batch, gradient, sums);
            }
        })
    }

    fn generator_step(&self) -> GeneratorStep<'_> {
        let plan = &self.plan;
        GeneratorStep {
            value: &plan.value,
            generator: &plan.generator,
            conditional: plan.conditional,
            head: plan.head,
            scale: self.scale(),
        }
    }

    /// One over the rows of the whole batch.
    fn scale(&self) -> f64 {
        1.0 / (self.plan.sources * self.plan.conditional.components) as f64
    }

    /// One half of a step: `carry` queues the gradient and the loss of source samples of the batch, one piece after the other,
    /// each with the workspace from `start` on.
    fn half(
        &self,
        block: &mut CudaBlock,
        half: Half,
        nets: &[CudaNet; 2],
        start: usize,
        mut carry: impl FnMut(&mut CudaBlock, Range<usize>, &mut CudaGradient, &mut CudaSums),
    ) -> usize {
        let plan = &self.plan;
        let mut squares = 0;
        let mut sums = CudaSums { address: self.terms.address(), capacity: self.capacity, counts: [0; TERMS] };
        for from in (0..plan.sources).step_by(self.cut) {
            let to = plan.sources.min(from + self.cut);
            block.reset(start);
            let rows = (to - from) * plan.conditional.components;
            let contributions: &[usize] = match half {
                Half::Value => &[2 * rows, rows],
                Half::Generator if plan.conditional.own() => &[to - from],
                Half::Generator => &[rows],
            };
            let mut gradient = CudaGradient::new(block, &nets[half as usize], contributions);
            carry(block, from..to, &mut gradient, &mut sums);
            // The norm is that of the whole gradient, which the last block completes.
            let to_squares = if to == plan.sources { self.squares.address() } else { 0 };
            let update = self.update_plan(half, &sums);
            squares = gradient.reduce(block, self.network(half).gradient(), from > 0, to_squares, &update);
        }
        self.optimise(block, half, squares);
        sums.counts.into_iter().max().unwrap_or(0)
    }

    /// Rows of source samples `from..to` of the batch.
    fn batch(&self, block: &mut CudaBlock, half: Half, from: usize, to: usize) -> Batch<CudaNoise> {
        let plan = &self.plan;
        let Plan { dimension: d, conditional: Conditional { components, latent }, .. } = *plan;
        let (first, rows) = (from * components, (to - from) * components);
        let [value, generator] = self.nets(block);
        let input = plan.generator.inputs_of(block, &generator, rows);
        let ends = (half == Half::Value).then(|| plan.value.inputs_of(block, &value, 2 * rows));
        let time = block.scratch(rows, 1);
        let noise = CudaNoise {
            seed: plan.config.seed,
            counter: self.report.at(COUNTER),
            number: half as u64,
            first_row: first as u64,
        };
        let (low, high, repeat) = match half {
            Half::Value => (0.0, TIME_MAX, 1),
            Half::Generator if plan.head.deterministic => (TIME_MIN, TIME_MAX_DETERMINISTIC, components),
            Half::Generator => (TIME_MIN, 1.0, components),
        };
        let (input_at, input_stride) = block.place(input);
        let targets = ends.map_or(Mat::NONE, |ends| ends.rows(rows, 2 * rows));
        let (targets_at, targets_stride) = ends.map_or((0, 0), |_| block.place(targets));
        let rest: &[Argument] = arguments_of![
            from as u64,
            rows as u32,
            components as u32,
            d as u32,
            latent as u32,
            input_at,
            input_stride,
            input.squares.count as u32,
            input.squares.centre,
            targets_at,
            targets_stride,
            targets.squares.count as u32,
            targets.squares.centre,
            block.address(time),
            repeat as u32,
            low as f32,
            high as f32,
            noise.seed,
            noise.counter,
            noise.number,
        ];
        let arguments = [&self.source.arguments(), &self.target.arguments(), rest].concat();
        let parts = if ends.is_some() { 4 } else { 3 };
        block.launch_parts(Kernel::BatchDraw, (rows * d.max(latent.div_ceil(4))) as u64, parts, &arguments);
        Batch { input, ends, noise, time }
    }

    /// What plans the update of a half, as the kernel takes it, from the partial sums of the loss terms.
    fn update_plan(&self, half: Half, sums: &CudaSums) -> Vec<Argument> {
        let config = &self.plan.config;
        let rate = match half {
            Half::Value => config.value_learning_rate,
            Half::Generator => config.generator_learning_rate,
        };
        let counts = sums.counts.map(|count| count as u32);
        let adam = &self.plan.adam;
        let arguments: &[Argument] = arguments_of![
            self.terms.address(),
            sums.capacity as u32,
            counts[0],
            counts[1],
            counts[2],
            counts[3],
            checked(half),
            self.report.at(COUNTER),
            rate,
            f64::from(adam.beta1).ln(),
            f64::from(adam.beta2).ln(),
            config.ema_decay,
            config.decay_steps,
            config.decay_floor,
            self.report.at(FAULT),
            self.planned.address(),
        ];
        arguments.to_vec()
    }

    /// The end of a half step: the update, and beside what follows how it went.
    fn optimise(&self, block: &mut CudaBlock, half: Half, squares: u32) {
        let (plan, clip) = (self.planned.address(), self.plan.config.gradient_clip);
        let partials = (self.squares.address(), squares);
        let network = self.network(half);
        let sizes = network.update(block, &self.plan.adam, plan, partials, clip, self.sizes.address());
        let arguments = arguments_of![
            plan,
            partials.0,
            partials.1,
            clip,
            self.sizes.address(),
            sizes,
            number_of(half),
            checked(half),
            self.report.at(COUNTER),
            u32::from(half == Half::Generator),
            self.report.at(OUTCOMES[half as usize]),
            RING as u32,
            self.report.at(FAULT),
        ];
        block.aside(|block| block.launch(Kernel::OptimiserSettle, [1, 1, 1], [THREADS, 1, 1], arguments));
    }
}

/// Loss terms of a half that must be finite.
fn checked(half: Half) -> u32 {
    match half {
        Half::Value => 3,
        Half::Generator => 1,
    }
}
