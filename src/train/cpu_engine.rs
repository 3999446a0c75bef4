//! Training steps on the processor.
//!
//! A batch is cut into blocks of rows that fit a core's cache, and blocks into equal runs, the slots. A slot is a job
//! for any thread: it draws its rows' noise and samples, carries block after block through both networks and adds up a
//! gradient of its own. Gradients are then reduced in slot order. Cuts depend on the batch alone, so weights are
//! bitwise equal for any number of threads.

use super::engine::{Engine, Half, HalfStep, NetworkState, Outcome, Plan, Side};
use crate::context::Context;
use crate::device::cpu::CpuBlock;
use crate::device::cpu::disjoint::Disjoint;
use crate::device::cpu::net::{CpuGradient, CpuNet};
use crate::device::cpu::simd::{Isa, Kernel, Real, Simd};
use crate::device::{Device, Mat, Sums};
use crate::euot::Batch;
use crate::euot::generator_step::{self, GeneratorStep, TIME_MIN};
use crate::euot::value_step::{self, ValueStep};
use crate::nn::adam::Update;
use crate::nn::layout::Layer;
use crate::nn::layout::Layout;
use crate::rng::{Sequence, Stream};
use std::sync::{Mutex, PoisonError};

/// Rows of a block: the tape of a width-128 network then takes half a megabyte of cache.
const BLOCK_ROWS: usize = 64;
/// Blocks of a slot at least: a slot costs one gradient to clear and to reduce.
const SLOT_BLOCKS: usize = 2;
/// Slots at most: enough for any processor's cores.
const MAX_SLOTS: usize = 64;
/// Parameters that the gradients of all slots of a network hold together at most, unless one slot holds more: half a
/// gigabyte.
const MAX_GRADIENTS: usize = 1 << 27;
/// Parameters reduced by one job.
const CHUNK: usize = 4096;

struct Slot {
    gradient: CpuGradient<f32>,
    sums: Sums,
}

struct Worker {
    block: CpuBlock<f32>,
    noise: Vec<f32>,
}

struct Network {
    layers: Vec<Layer>,
    state: NetworkState,
    /// Before the last update.
    previous: NetworkState,
    net: CpuNet<f32>,
    slots: Vec<Slot>,
    gradient: Vec<f32>,
    /// Sums of squares of the gradient, by chunk.
    squares: Vec<f64>,
}

impl Network {
    fn new(isa: Isa, layout: &Layout, state: NetworkState, slots: usize) -> Self {
        let mut net = CpuNet::new(isa, layout, true);
        net.pack(&state.weights);
        let slot = |_| Slot { gradient: CpuGradient::new(layout), sums: Sums::default() };
        Self {
            layers: layout.layers.clone(),
            net,
            slots: (0..slots).map(slot).collect(),
            gradient: vec![0f32; layout.len()],
            squares: vec![0f64; layout.len().div_ceil(CHUNK)],
            previous: state.clone(),
            state,
        }
    }

    /// Sums the slots' gradients and losses.
    fn reduce(&mut self, context: &Context) -> Outcome {
        let slots = &self.slots;
        let len = self.gradient.len();
        let (gradient, squares) = (Disjoint::new(&mut self.gradient), Disjoint::new(&mut self.squares));
        context.pool().run(len.div_ceil(CHUNK), |chunk, _| {
            let (from, to) = (chunk * CHUNK, len.min((chunk + 1) * CHUNK));
            // SAFETY: chunks do not overlap, and each is one job's.
            let (total, squares) = unsafe { (gradient.part(from, to), squares.one(chunk)) };
            *squares = f32::dispatch(context.isa(), Reduce { total, slots, from });
        });
        let mut outcome = Outcome { gradient_norm: self.squares.iter().sum::<f64>().sqrt(), ..Outcome::default() };
        for slot in &self.slots {
            outcome.sums.add(&slot.sums);
        }
        outcome
    }

    /// One step of the optimiser and of the moving average, and the weights arranged anew for the products.
    fn update(&mut self, context: &Context, update: Update, averaging: f32) {
        // The update goes from one copy of the state to the other, so the one before it costs nothing to keep.
        std::mem::swap(&mut self.state, &mut self.previous);
        let layers = &self.layers;
        let (old, gradient) = (&self.previous, &self.gradient);
        let new = Parts::new(&mut self.state);
        let packed = Disjoint::new(&mut self.net.layers);
        context.pool().run(layers.len(), |l, _| {
            let (from, to) = (layers[l].offset, layers[l].end());
            // SAFETY: layers do not overlap, and each is one job's.
            let (mut new, packed) = unsafe { (new.part(from, to), packed.one(l)) };
            let NetworkState { weights, average, first_moment, second_moment } = old;
            let old = [weights, average, first_moment, second_moment].map(|values| &values[from..to]);
            let gradient = &gradient[from..to];
            let new_parts = new.each_mut().map(|values| &mut **values);
            f32::dispatch(context.isa(), Optimise { update, averaging, old, gradient, new: new_parts });
            packed.pack(new[0]);
        });
    }

    /// Takes the last update back; there is one to take back once after each.
    fn revert(&mut self) {
        std::mem::swap(&mut self.state, &mut self.previous);
        self.net.pack(&self.state.weights);
    }
}

/// A network's state, shared out to jobs by stretches of the parameter vector.
struct Parts<'a>([Disjoint<'a, f32>; 4]);

impl<'a> Parts<'a> {
    fn new(state: &'a mut NetworkState) -> Self {
        let NetworkState { weights, average, first_moment, second_moment } = state;
        Self([weights, average, first_moment, second_moment].map(|values| Disjoint::new(values)))
    }

    /// Weights, average, first and second moment.
    ///
    /// # Safety
    /// As [`Disjoint::part`]: stretches handed out at the same time must not overlap.
    #[allow(clippy::mut_from_ref)]
    unsafe fn part(&self, from: usize, to: usize) -> [&mut [f32]; 4] {
        // SAFETY: the caller's.
        self.0.each_ref().map(|values| unsafe { values.part(from, to) })
    }
}

struct Reduce<'a> {
    total: &'a mut [f32],
    slots: &'a [Slot],
    from: usize,
}

impl Kernel<f32> for Reduce<'_> {
    type Output = f64;
    #[inline(always)]
    unsafe fn run<S: Simd<T = f32>>(self) -> f64 {
        let (from, to) = (self.from, self.from + self.total.len());
        self.total.copy_from_slice(&self.slots[0].gradient.values[from..to]);
        for slot in &self.slots[1..] {
            for (sum, g) in self.total.iter_mut().zip(&slot.gradient.values[from..to]) {
                *sum += g;
            }
        }
        // Independent chains, so that the sum has vectors to run in.
        let mut squares = [0f64; 16];
        for part in self.total.chunks(16) {
            for (s, &g) in squares.iter_mut().zip(part) {
                *s += f64::from(g) * f64::from(g);
            }
        }
        squares.iter().sum()
    }
}

struct Optimise<'a> {
    update: Update,
    averaging: f32,
    old: [&'a [f32]; 4],
    gradient: &'a [f32],
    new: [&'a mut [f32]; 4],
}

impl Kernel<f32> for Optimise<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd<T = f32>>(self) {
        self.update.apply(self.averaging, self.old, self.gradient, self.new);
    }
}

/// See the module.
pub(crate) struct CpuEngine {
    context: Context,
    plan: Plan,
    value: Network,
    generator: Network,
    workers: Vec<Mutex<Worker>>,
    cut: Cut,
}

/// How a batch is cut.
#[derive(Clone, Copy)]
struct Cut {
    /// Source samples of a block.
    sources: usize,
    /// Blocks of a slot.
    blocks: usize,
    slots: usize,
}

impl Cut {
    fn new(plan: &Plan) -> Self {
        let sources = (BLOCK_ROWS / plan.latents).clamp(1, plan.sources);
        let count = plan.sources.div_ceil(sources);
        let parameters = plan.value.layout.len().max(plan.generator.layout.len());
        let slots = (MAX_GRADIENTS / parameters).clamp(1, MAX_SLOTS);
        let blocks = count.div_ceil(slots).max(SLOT_BLOCKS);
        Self { sources, blocks, slots: count.div_ceil(blocks) }
    }
}

impl CpuEngine {
    /// Takes up a training at `value` and `generator`.
    pub fn new(context: &Context, plan: Plan, value: NetworkState, generator: NetworkState) -> Self {
        let cut = Cut::new(&plan);
        let worker = |_| Mutex::new(Worker { block: CpuBlock::new(context.isa()), noise: Vec::new() });
        Self {
            context: context.clone(),
            value: Network::new(context.isa(), &plan.value.layout, value, cut.slots),
            generator: Network::new(context.isa(), &plan.generator.layout, generator, cut.slots),
            workers: (0..context.threads()).map(worker).collect(),
            plan,
            cut,
        }
    }
}

impl Engine for CpuEngine {
    fn half_step(&mut self, step: &HalfStep<'_>) -> Outcome {
        let Self { context, plan, value, generator, workers, cut } = self;
        let (network, nets) = match step.half {
            Half::Value => (&mut value.slots, [&value.net, &generator.net]),
            Half::Generator => (&mut generator.slots, [&value.net, &generator.net]),
        };
        let draw = Draw::new(plan, step);
        let slots = Disjoint::new(network);
        context.pool().run(cut.slots, |index, worker| {
            // SAFETY: each slot is one job's.
            let slot = unsafe { slots.one(index) };
            // A worker works on one job at a time, so nobody waits here.
            let worker = &mut *workers[worker].lock().unwrap_or_else(PoisonError::into_inner);
            slot.gradient.values.fill(0.0);
            slot.sums = Sums::default();
            for block in index * cut.blocks..(index + 1) * cut.blocks {
                let from = block * cut.sources;
                let to = plan.sources.min(from + cut.sources);
                if from < to {
                    worker.block.reset();
                    let batch = draw.batch(worker, from, to);
                    carry(plan, step.half, &mut worker.block, nets, &batch, slot);
                }
            }
        });
        let network = match step.half {
            Half::Value => value,
            Half::Generator => generator,
        };
        let outcome = network.reduce(context);
        if outcome.fault(step.half).is_none() {
            let norm = outcome.gradient_norm;
            let clip = if plan.clip > 0.0 && norm > plan.clip { plan.clip / norm } else { 1.0 };
            network.update(context, plan.adam.update(step.step + 1, step.rate, clip), step.averaging as f32);
        }
        outcome
    }

    fn revert(&mut self, half: Half) {
        match half {
            Half::Value => self.value.revert(),
            Half::Generator => self.generator.revert(),
        }
    }

    fn state(&self) -> [NetworkState; 2] {
        [self.value.state.clone(), self.generator.state.clone()]
    }
}

/// The step itself on one block.
fn carry(
    plan: &Plan,
    half: Half,
    block: &mut CpuBlock<f32>,
    [value, generator]: [&CpuNet<f32>; 2],
    batch: &Batch,
    slot: &mut Slot,
) {
    let scale = 1.0 / (plan.sources * plan.latents) as f64;
    let Slot { gradient, sums } = slot;
    match half {
        Half::Value => {
            ValueStep {
                value: &plan.value,
                generator: &plan.generator,
                head: plan.head,
                conjugate: plan.conjugate,
                scale,
            }
            .run(block, value, generator, batch, gradient, sums);
        }
        Half::Generator => {
            GeneratorStep {
                value: &plan.value,
                generator: &plan.generator,
                head: plan.head,
                latents: plan.latents,
                scale,
            }
            .run(block, value, generator, batch, gradient, sums);
        }
    }
}

/// Draws the rows of a half step.
struct Draw<'a> {
    plan: &'a Plan,
    step: &'a HalfStep<'a>,
    number: u64,
    /// Bridge times are an equidistributed sequence with a random start: each is uniform, together they cover the
    /// interval more evenly than independent ones, which lowers the gradient's variance.
    time_start: u32,
}

/// 2^32 divided by the golden ratio: multiples of it modulo 2^32 are equidistributed (Weyl).
const GOLDEN: u32 = 0x9E37_79B9;

impl<'a> Draw<'a> {
    fn new(plan: &'a Plan, step: &'a HalfStep<'a>) -> Self {
        let number = 2 * step.step + u64::from(step.half == Half::Generator);
        Self { plan, step, number, time_start: Sequence::new(plan.seed, number, Stream::Time).word(0) }
    }

    fn sequence(&self, stream: Stream) -> Sequence {
        Sequence::new(self.plan.seed, self.number, stream)
    }

    fn time(&self, row: usize) -> f32 {
        let index = row / self.plan.latents;
        let (low, high, index) = match self.step.half {
            Half::Value => (0.0, value_step::TIME_MAX, row),
            Half::Generator if self.plan.head.deterministic => {
                (TIME_MIN, generator_step::TIME_MAX_DETERMINISTIC, index)
            }
            Half::Generator => (TIME_MIN, 1.0, index),
        };
        let word = self.time_start.wrapping_add(GOLDEN.wrapping_mul(index as u32));
        let u = crate::rng::unit(word);
        low as f32 + (high - low) as f32 * u
    }

    /// Rows of source samples `from..to` of the batch.
    fn batch(&self, worker: &mut Worker, from: usize, to: usize) -> Batch {
        let Worker { block, noise } = worker;
        let Plan { dimension, latent, latents, .. } = *self.plan;
        let first = from * latents;
        let rows = (to - from) * latents;

        let x0 = block.scratch(rows, dimension);
        let index = self.sequence(Stream::SourceIndex);
        for i in from..to {
            let sample = sample(self.step.source, &index, i, dimension);
            for r in (i - from) * latents..(i - from + 1) * latents {
                block.row_mut(x0, r).copy_from_slice(sample);
            }
        }
        let y = if self.step.half == Half::Value {
            let y = block.scratch(rows, dimension);
            let index = self.sequence(Stream::TargetIndex);
            for r in 0..rows {
                block.row_mut(y, r).copy_from_slice(sample(self.step.target, &index, first + r, dimension));
            }
            y
        } else {
            x0
        };
        let time = block.scratch(rows, 1);
        for r in 0..rows {
            block.row_mut(time, r)[0] = self.time(first + r);
        }
        let mut normals = |stream, cols: usize| -> Mat {
            let mat = block.scratch(rows, cols);
            noise.resize((rows * cols).max(noise.len()), 0.0);
            let noise = &mut noise[..rows * cols];
            self.sequence(stream).normals((first * cols) as u64, noise);
            for (r, line) in noise.chunks_exact(cols).enumerate() {
                block.row_mut(mat, r).copy_from_slice(line);
            }
            mat
        };
        let z = normals(Stream::Latent, latent);
        let xi = normals(Stream::Endpoint, dimension);
        let eta = normals(Stream::Bridge, dimension);
        Batch { x0, y, z, xi, eta, time }
    }
}

fn sample<'a>(side: Side<'a>, index: &Sequence, number: usize, dimension: usize) -> &'a [f32] {
    match side {
        Side::Array(array) => {
            let number = 2 * number as u64;
            let word = index.block(number / 4);
            let place = (number % 4) as usize;
            array.row(array.draw(word[place], word[place + 1]) as usize)
        }
        Side::Batch(rows) => &rows[number * dimension..(number + 1) * dimension],
    }
}
