//! One training step as work on a GPU: queued the same way to be measured and to be captured.

use super::cuda_network::CudaNetwork;
use super::cuda_report::{COUNTER, FAULT, OUTCOMES, REPORT, RING, number_of};
use super::cuda_side::CudaSide;
use super::engine::{Half, NetworkState};
use super::plan::Plan;
use crate::data::DataSource;
use crate::device::Device;
use crate::device::cuda::block::{CudaBlock, CudaNoise};
use crate::device::cuda::gpu::Gpu;
use crate::device::cuda::gradient::CudaGradient;
use crate::device::cuda::kernels::{Argument, Kernel, arguments_of};
use crate::device::cuda::memory::DeviceBuffer;
use crate::device::cuda::sums::{CudaSums, TERMS};
use crate::error::{Error, Result};
use crate::euot::Batch;
use crate::euot::conditional::Conditional;
use crate::euot::generator_step::{GeneratorStep, TIME_MAX_DETERMINISTIC, TIME_MIN};
use crate::euot::value_step::{TIME_MAX, ValueStep};
use std::sync::Arc;

/// Floats of workspace that a block of rows may take, unless one source sample takes more: a gigabyte.
const MOST_FLOATS: usize = 1 << 28;
/// Rows of a block at most: bounds the grids.
const MOST_ROWS: usize = 1 << 20;
/// Pieces that a batch is carried in at most: each is captured for itself.
const MOST_PIECES: usize = 256;
/// Partial sums of a gradient's square at most.
const MOST_SQUARES: usize = 256;
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
    /// What the optimiser decided: a few numbers.
    decision: DeviceBuffer<u64>,
    /// Source samples of a block of rows.
    cut: usize,
}

impl CudaStep {
    /// Copies a training at step `counter` to the device; with it the floats of workspace that a step takes. The context is
    /// current.
    pub fn new(
        gpu: &Arc<Gpu>,
        plan: Plan,
        networks: &[NetworkState; 2],
        sides: &[&DataSource; 2],
        counter: u64,
    ) -> Result<(Self, usize)> {
        let rows = plan.sources * plan.conditional.components;
        let before = gpu.account().used();
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
            decision: DeviceBuffer::zeroed(gpu, 4, "the optimiser's decision")?,
            cut: plan.sources.min((MOST_ROWS / plan.conditional.components).max(1)),
            plan,
        };
        // Another cut has other sums, so it goes by the limit and by what this training takes, not by what else is there.
        let taken = gpu.account().used().saturating_sub(before);
        let room = step.fit(gpu, gpu.account().limit().saturating_sub(taken))?;
        Ok((step, room))
    }

    pub fn network(&self, half: Half) -> &CudaNetwork {
        match half {
            Half::Value => &self.value,
            Half::Generator => &self.generator,
        }
    }

    /// Floats of workspace that a step takes; cuts the batch into blocks of rows until they fit into what is allowed, in
    /// bytes.
    fn fit(&mut self, gpu: &Arc<Gpu>, allowed: u64) -> Result<usize> {
        loop {
            let mut block = CudaBlock::measuring(gpu);
            let partials = [Half::Value, Half::Generator].map(|half| self.half(&mut block, half));
            block.finish()?;
            let room = block.most();
            let terms = TERMS * partials[0].max(partials[1]);
            // What the terms have now they give back.
            let left = allowed.saturating_add(self.terms.bytes()).saturating_sub((terms * size_of::<f64>()) as u64);
            let most = MOST_FLOATS.min((left / size_of::<f32>() as u64) as usize);
            if self.plan.sources.div_ceil(self.cut) > MOST_PIECES {
                return Err(Error::OutOfMemory(format!(
                    "a batch of {} x {} rows of this size has to be carried in more than {MOST_PIECES} pieces to fit into the GPU's memory; lower batch_sources, components or hidden_width, or raise memory_limit",
                    self.plan.sources, self.plan.conditional.components
                )));
            }
            if room <= most || self.cut == 1 {
                self.capacity = terms / TERMS;
                self.terms = DeviceBuffer::new(gpu, terms, "the loss terms")?;
                return Ok(room);
            }
            self.cut = self.cut.div_ceil(2);
        }
    }

    /// Queues one half of a step; returns how many partial sums its terms have at most.
    pub fn half(&self, block: &mut CudaBlock, half: Half) -> usize {
        let plan = &self.plan;
        let network = self.network(half);
        let gpu = block.gpu();
        let nets = [self.value.net(&gpu), self.generator.net(&gpu)];
        let quadratic = plan.bridge.quadratic_of(self.slope.address());
        let mut squares = 0;
        let mut sums = CudaSums { address: self.terms.address(), capacity: self.capacity, counts: [0; TERMS] };
        for from in (0..plan.sources).step_by(self.cut) {
            let to = plan.sources.min(from + self.cut);
            block.reset(0);
            let rows = (to - from) * plan.conditional.components;
            let contributions: &[usize] = match half {
                Half::Value => &[2 * rows, rows],
                Half::Generator if plan.conditional.own() => &[to - from],
                Half::Generator => &[rows],
            };
            let mut gradient = CudaGradient::new(block, &nets[half as usize], contributions);
            let batch = self.batch(block, half, from, to);
            let scale = 1.0 / (plan.sources * plan.conditional.components) as f64;
            match half {
                Half::Value => ValueStep {
                    value: &plan.value,
                    generator: &plan.generator,
                    conditional: plan.conditional,
                    head: plan.head,
                    conjugate: plan.conjugate,
                    quadratic: &quadratic,
                    scale,
                }
                .run(block, &nets[0], &nets[1], &batch, &mut gradient, &mut sums),
                Half::Generator => GeneratorStep {
                    value: &plan.value,
                    generator: &plan.generator,
                    conditional: plan.conditional,
                    head: plan.head,
                    scale,
                }
                .run(block, &nets[0], &nets[1], &batch, &mut gradient, &mut sums),
            }
            // The norm is that of the whole gradient, which the last block completes.
            let to_squares = if to == plan.sources { self.squares.address() } else { 0 };
            squares = gradient.reduce(block, network.gradient(), from > 0, to_squares);
        }
        self.optimise(block, half, squares, &sums);
        sums.counts.into_iter().max().unwrap_or(0)
    }

    /// Rows of source samples `from..to` of the batch.
    fn batch(&self, block: &mut CudaBlock, half: Half, from: usize, to: usize) -> Batch<CudaNoise> {
        let plan = &self.plan;
        let Plan { dimension: d, conditional: Conditional { components, latent }, .. } = *plan;
        let (first, rows) = (from * components, (to - from) * components);
        let input = block.scratch(rows, d + latent);
        let ends = (half == Half::Value).then(|| block.scratch(2 * rows, d + 1));
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
        let (targets, targets_stride) = ends.map_or((0, 0), |ends| block.place(ends.rows(rows, 2 * rows)));
        let rest: &[Argument] = arguments_of![
            from as u64,
            rows as u32,
            components as u32,
            d as u32,
            latent as u32,
            input_at,
            input_stride,
            targets,
            targets_stride,
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

    /// The end of a half step: norm, decision, update.
    fn optimise(&self, block: &mut CudaBlock, half: Half, squares: u32, sums: &CudaSums) {
        let (plan, network) = (&self.plan, self.network(half));
        let config = &plan.config;
        let (rate, checked, advances) = match half {
            Half::Value => (config.value_learning_rate, 3u32, 0u32),
            Half::Generator => (config.generator_learning_rate, 1, 1),
        };
        let counts = sums.counts.map(|count| count as u32);
        let arguments = arguments_of![
            self.terms.address(),
            sums.capacity as u32,
            counts[0],
            counts[1],
            counts[2],
            counts[3],
            checked,
            self.squares.address(),
            squares,
            number_of(half),
            self.report.at(COUNTER),
            advances,
            rate,
            config.gradient_clip,
            f64::from(plan.adam.beta1).ln(),
            f64::from(plan.adam.beta2).ln(),
            config.ema_decay,
            config.decay_steps,
            config.decay_floor,
            self.report.at(OUTCOMES[half as usize]),
            RING as u32,
            self.decision.address(),
            self.report.at(FAULT),
        ];
        block.launch(Kernel::OptimiserPrepare, [1, 1, 1], [256, 1, 1], arguments);
        network.update(block, &plan.adam, self.decision.address());
    }
}
