//! Training steps on a GPU.
//!
//! A step is captured once as a CUDA graph and replayed: noise, samples, both losses with their gradients, and the
//! optimiser, which finds out by itself whether all is finite and where the rates stand. The host queues as many steps
//! as it is asked for and only then reads what they gave. Where samples come from the host, the two halves are graphs of
//! their own, and the host looks at each before it draws the next batch.

use super::cuda_network::CudaNetwork;
use super::cuda_side::CudaSide;
use super::engine::{Advance, Engine, Half, NetworkState, Outcome, StepOutcome};
use super::plan::Plan;
use super::side::Sides;
use crate::data::DataSource;
use crate::device::cuda::block::{
    ACTION, CONJUGATE, CudaBlock, CudaGradient, CudaNoise, CudaSums, DENSITY_RATIO, GENERATED, GENERATOR,
};
use crate::device::cuda::gpu::Gpu;
use crate::device::cuda::graph::Graph;
use crate::device::cuda::kernels::{Argument, Kernel, arguments_of};
use crate::device::cuda::memory::DeviceBuffer;
use crate::device::{Device, Sums};
use crate::error::{Error, Result};
use crate::euot::Batch;
use crate::euot::generator_step::{GeneratorStep, TIME_MAX_DETERMINISTIC, TIME_MIN};
use crate::euot::value_step::{TIME_MAX, ValueStep};
use std::sync::Arc;

/// Steps whose outcomes are kept on the device, and so the most that run before the host looks.
const RING: usize = 32;
/// Terms of a loss at most.
const TERMS: usize = 4;
/// Numbers of an outcome: the terms, the gradient's norm, and the factor it was clipped by.
const OUTCOME: usize = 6;
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

/// Where the report has what, in numbers of 8 bytes: the step counter, the fault (half and term, step, value), and the
/// outcomes of the last steps of each half.
const COUNTER: usize = 0;
const FAULT: usize = 1;
const OUTCOMES: [usize; 2] = [4, 4 + RING * OUTCOME];
const REPORT: usize = 4 + 2 * RING * OUTCOME;

/// See the module.
pub(crate) struct CudaEngine {
    gpu: Arc<Gpu>,
    /// The whole step, or its two halves where the host draws. Dropped before the memory that they use.
    graphs: Vec<Graph>,
    shared: Shared,
    /// What the device's counter stands at.
    counter: u64,
    /// The last step went well, and both networks have what came before it.
    can_take_back: bool,
    /// What the device holds could not be read or undone, so that nothing may go on from it.
    lost: bool,
    /// Held for the graphs.
    _workspace: DeviceBuffer<f32>,
}

/// All that a step reads and writes beside its workspace.
struct Shared {
    plan: Plan,
    value: CudaNetwork,
    generator: CudaNetwork,
    source: CudaSide,
    target: CudaSide,
    report: DeviceBuffer<u64>,
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

impl CudaEngine {
    /// Takes up a training at `networks`, the value function's and the generator's state, step `counter`.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] when the device, or what the host allows of it, is too small; [`Error::Device`].
    pub fn new(
        gpu: &Arc<Gpu>,
        plan: Plan,
        networks: &[NetworkState; 2],
        sides: &[&DataSource; 2],
        counter: u64,
    ) -> Result<Self> {
        let _entered = gpu.enter()?;
        let rows = plan.sources * plan.latents;
        let before = gpu.account().used();
        let mut report = DeviceBuffer::zeroed(gpu, REPORT, "the steps' outcomes")?;
        report.store(COUNTER, &[counter])?;
        let mut shared = Shared {
            value: CudaNetwork::new(gpu, &plan.value.layout, &networks[0], "value function")?,
            generator: CudaNetwork::new(gpu, &plan.generator.layout, &networks[1], "generator")?,
            source: CudaSide::new(gpu, sides[0], plan.sources, "source")?,
            target: CudaSide::new(gpu, sides[1], rows, "target")?,
            report,
            terms: DeviceBuffer::new(gpu, 0, "the loss terms")?,
            capacity: MEASURED_CAPACITY,
            squares: DeviceBuffer::new(gpu, MOST_SQUARES, "the gradient's norm")?,
            decision: DeviceBuffer::zeroed(gpu, 4, "the optimiser's decision")?,
            cut: plan.sources.min((MOST_ROWS / plan.latents).max(1)),
            plan,
        };
        // Another cut has other sums, so it goes by the limit and by what this training takes, not by what else is there.
        let taken = gpu.account().used().saturating_sub(before);
        let room = shared.fit(gpu, gpu.account().limit().saturating_sub(taken))?;
        let workspace = DeviceBuffer::<f32>::new(
            gpu,
            room,
            "the workspace of a training step (batch_sources, latents_per_source and hidden_width make it large)",
        )?;
        // Products of cublasLt share a workspace, so they come one after another.
        let branched = [&shared.value, &shared.generator].into_iter().all(|network| network.net(gpu).fused);
        let capture = |halves: &[Half]| {
            Graph::capture(gpu, |stream, branches| {
                let mut block = CudaBlock::new(gpu, stream, workspace.address(), room);
                if branched {
                    block = block.branching(branches);
                }
                for &half in halves {
                    shared.half(&mut block, half);
                }
                block.finish()
            })
        };
        let graphs = if shared.source.drawn_by_host() || shared.target.drawn_by_host() {
            vec![capture(&[Half::Value])?, capture(&[Half::Generator])?]
        } else {
            vec![capture(&[Half::Value, Half::Generator])?]
        };
        Ok(Self {
            gpu: Arc::clone(gpu),
            shared,
            graphs,
            counter,
            can_take_back: false,
            lost: false,
            _workspace: workspace,
        })
    }

    /// Queues whole steps.
    fn queue_steps(&mut self, steps: u64, cancelled: &dyn Fn() -> bool) -> Result<bool> {
        for _ in 0..steps {
            if cancelled() {
                return Ok(true);
            }
            self.graphs[0].launch()?;
        }
        Ok(false)
    }

    /// One step, half by half, each with a batch that the host draws. What fails in the second half undoes the first.
    ///
    /// Samplers run with the host's context current, as they may use the GPU and make another one current.
    fn step_with_host(&mut self, sides: &mut Sides) -> Result<Report> {
        let gpu = Arc::clone(&self.gpu);
        let (source, target) = (sides.source.draw()?, sides.target.draw()?);
        let entered = gpu.enter()?;
        self.shared.source.upload(source)?;
        self.shared.target.upload(target)?;
        self.graphs[0].launch()?;
        let report = self.read()?;
        if report.fault.is_some() {
            return Ok(report);
        }
        drop(entered);
        let drawn = sides.source.draw();
        let _entered = gpu.enter().inspect_err(|_| self.lost = true)?;
        let queued = drawn.and_then(|batch| self.shared.source.upload(batch)).and_then(|()| self.graphs[1].launch());
        if let Err(error) = queued {
            self.can_take_back = false;
            self.take_back(&[Half::Value])?;
            return Err(error);
        }
        self.read()
    }

    /// Waits, and reads what the steps gave. The context is current.
    fn read(&mut self) -> Result<Report> {
        let mut numbers = vec![0u64; REPORT];
        self.shared.report.download(0, &mut numbers).inspect_err(|_| self.lost = true)?;
        Ok(Report::of(numbers))
    }

    /// Undoes the last update of these halves, and lets training go on after a fault.
    fn take_back(&mut self, halves: &[Half]) -> Result<()> {
        self.undo(halves).inspect_err(|_| self.lost = true)
    }

    fn undo(&mut self, halves: &[Half]) -> Result<()> {
        let gpu = Arc::clone(&self.gpu);
        let _entered = gpu.enter()?;
        let mut block = CudaBlock::new(&gpu, gpu.stream(), 0, 0);
        for half in halves {
            self.shared.network(*half).take_back(&mut block);
        }
        block.finish()?;
        self.shared.report.store(FAULT, &[0; 3])
    }

    fn check_lost(&self) -> Result<()> {
        if self.lost {
            return Err(Error::Device(
                "the GPU failed while an earlier call read or undid a training step, so what the trainer holds is not known; release it, and load its last checkpoint on a new context".into(),
            ));
        }
        Ok(())
    }

    fn set_counter(&mut self, step: u64) -> Result<()> {
        if self.counter != step {
            self.shared.report.store(COUNTER, &[step])?;
            self.counter = step;
        }
        Ok(())
    }

    /// What the report says of the steps since `first`.
    fn account(&mut self, first: u64, report: &Report, advance: &mut Advance) -> Result<()> {
        self.counter = report.counter;
        for step in first.max(report.counter.saturating_sub(2))..report.counter {
            advance.count(StepOutcome {
                value: report.outcome(Half::Value, step),
                generator: report.outcome(Half::Generator, step),
            });
        }
        advance.made = report.counter - first;
        self.can_take_back |= advance.made > 0;
        let Some(fault) = report.fault else {
            return Ok(());
        };
        let can_take_back = std::mem::take(&mut self.can_take_back);
        match fault {
            Half::Value if can_take_back => {
                advance.taken_back = true;
                self.take_back(&[Half::Value, Half::Generator])?;
            }
            // Nothing before it to go back to.
            Half::Value => self.take_back(&[])?,
            Half::Generator => self.take_back(&[Half::Value])?,
        }
        report.outcome(fault, report.counter).check(fault, report.counter)
    }

    fn run(
        &mut self,
        first: u64,
        steps: u64,
        sides: &mut Sides,
        cancelled: &dyn Fn() -> bool,
        advance: &mut Advance,
    ) -> Result<()> {
        self.check_lost()?;
        let gpu = Arc::clone(&self.gpu);
        let entered = gpu.enter()?;
        self.set_counter(first)?;
        if self.graphs.len() == 1 {
            // Where a step cannot be queued, those before it are made all the same.
            let queued = self.queue_steps(steps, cancelled);
            let report = self.read()?;
            self.account(first, &report, advance)?;
            return if queued? { Err(Error::Cancelled { step: self.counter }) } else { Ok(()) };
        }
        drop(entered);
        for step in first..first + steps {
            if cancelled() {
                return Err(Error::Cancelled { step });
            }
            let report = self.step_with_host(sides)?;
            self.account(first, &report, advance)?;
        }
        Ok(())
    }
}

impl Engine for CudaEngine {
    fn advance(&mut self, first: u64, steps: u64, sides: &mut Sides, cancelled: &dyn Fn() -> bool) -> Advance {
        let mut advance = Advance::new();
        advance.end = self.run(first, steps, sides, cancelled, &mut advance);
        advance
    }

    fn most_steps(&self) -> u64 {
        RING as u64
    }

    fn state(&mut self) -> Result<[NetworkState; 2]> {
        self.check_lost()?;
        let _entered = self.gpu.enter()?;
        Ok([self.shared.value.state()?, self.shared.generator.state()?])
    }
}

/// What the device told.
struct Report {
    counter: u64,
    fault: Option<Half>,
    numbers: Vec<u64>,
}

impl Report {
    fn of(numbers: Vec<u64>) -> Self {
        let fault = match numbers[FAULT] as u32 {
            0 => None,
            half if half == number_of(Half::Value) => Some(Half::Value),
            _ => Some(Half::Generator),
        };
        Self { counter: numbers[COUNTER], fault, numbers }
    }

    /// Of one of the last steps.
    fn outcome(&self, half: Half, step: u64) -> Outcome {
        let place = OUTCOMES[half as usize] + step as usize % RING * OUTCOME;
        let number = |index: usize| f64::from_bits(self.numbers[place + index]);
        let sums = match half {
            Half::Value => Sums {
                generated: number(GENERATED),
                conjugate: number(CONJUGATE),
                action: number(ACTION),
                density_ratio: number(DENSITY_RATIO),
                ..Sums::default()
            },
            Half::Generator => Sums { generator: number(GENERATOR), ..Sums::default() },
        };
        Outcome { sums, gradient_norm: number(TERMS) }
    }
}

/// How the kernels call a half; 0 is no fault.
fn number_of(half: Half) -> u32 {
    half as u32 + 1
}

impl Shared {
    fn network(&self, half: Half) -> &CudaNetwork {
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
                    "a batch of {} x {} rows of this size has to be carried in more than {MOST_PIECES} pieces to fit into the GPU's memory; lower batch_sources, latents_per_source or hidden_width, or raise memory_limit",
                    self.plan.sources, self.plan.latents
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
    fn half(&self, block: &mut CudaBlock, half: Half) -> usize {
        let plan = &self.plan;
        let network = self.network(half);
        let gpu = block.gpu();
        let nets = [self.value.net(&gpu), self.generator.net(&gpu)];
        let mut squares = 0;
        let mut sums = CudaSums { address: self.terms.address(), capacity: self.capacity, counts: [0; TERMS] };
        for from in (0..plan.sources).step_by(self.cut) {
            let to = plan.sources.min(from + self.cut);
            block.reset(0);
            let rows = (to - from) * plan.latents;
            let contributions: &[usize] = match half {
                Half::Value => &[2 * rows, rows],
                Half::Generator => &[rows],
            };
            let mut gradient = CudaGradient::new(block, &nets[half as usize], contributions);
            let batch = self.batch(block, half, from, to);
            let scale = 1.0 / (plan.sources * plan.latents) as f64;
            match half {
                Half::Value => ValueStep {
                    value: &plan.value,
                    generator: &plan.generator,
                    head: plan.head,
                    conjugate: plan.conjugate,
                    scale,
                }
                .run(block, &nets[0], &nets[1], &batch, &mut gradient, &mut sums),
                Half::Generator => GeneratorStep {
                    value: &plan.value,
                    generator: &plan.generator,
                    head: plan.head,
                    latents: plan.latents,
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
        let Plan { dimension: d, latent, latents, .. } = *plan;
        let (first, rows) = (from * latents, (to - from) * latents);
        let input = block.scratch(rows, d + latent);
        let ends = (half == Half::Value).then(|| block.scratch(2 * rows, d + 1));
        let time = block.scratch(rows, 1);
        // Only the generator's gradient reads the noise again, and only where there is a standard deviation.
        let keeps = half == Half::Generator && !plan.head.deterministic;
        let noise = CudaNoise {
            seed: plan.config.seed,
            counter: self.report.at(COUNTER),
            number: half as u64,
            first_row: first as u64,
            xi: keeps.then(|| block.scratch(rows, d)),
        };
        let (low, high, repeat) = match half {
            Half::Value => (0.0, TIME_MAX, 1),
            Half::Generator if plan.head.deterministic => (TIME_MIN, TIME_MAX_DETERMINISTIC, latents),
            Half::Generator => (TIME_MIN, 1.0, latents),
        };
        let (input_at, input_stride) = block.place(input);
        let (targets, targets_stride) = ends.map_or((0, 0), |ends| block.place(ends.rows(rows, 2 * rows)));
        let rest: &[Argument] = arguments_of![
            from as u64,
            rows as u32,
            latents as u32,
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
