//! Training steps on the processor.
//!
//! A batch is cut into blocks of rows that fit a core's cache, and blocks into equal runs, the slots. A slot is a job
//! for any thread: it draws its rows' noise and samples, carries block after block through the value function and adds up a
//! gradient of its own. The generator is passed once for the source samples of several blocks: its last layer has the more
//! weights the larger d and K are, and a block alone has too few source samples to be worth reading them for. Gradients are
//! then reduced in slot order. Cuts depend on the batch alone, so weights are bitwise equal for any number of threads.

use super::cpu_network::{Network, Slot};
use super::draw::{Draw, Sources};
use super::engine::{Advance, Cancelled, Engine, Half, NetworkState, Outcome, StepOutcome, overflow};
use super::plan::Plan;
use super::side::{Side, Sides};
use crate::context::Context;
use crate::device::cpu::disjoint::Disjoint;
use crate::device::cpu::{CpuBlock, CpuNoise, Measure, Sizes, Written};
use crate::device::{Batch, Sums};
use crate::error::{Error, Result};
use crate::euot::generator_step::GeneratorStep;
use crate::euot::value_step::ValueStep;
use crate::formulas::Quadratic;
use crate::memory;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Rows of a block: the tape of a width-128 network then takes half a megabyte of cache.
const BLOCK_ROWS: usize = 64;
/// Source samples that the generator is passed with at once, about, where it sees each of them once: by whole blocks of a slot.
const PASS_SOURCES: usize = 32;
/// Numbers that a pass keeps at most, unless one block keeps more: four megabytes.
const PASS_NUMBERS: usize = 1 << 20;
/// Blocks of a slot at least: a slot costs one gradient to write and to reduce.
const SLOT_BLOCKS: usize = 2;
/// Slots at most: enough for any processor's cores.
const MAX_SLOTS: usize = 64;
/// Parameters that the gradients of all slots of a network hold together at most, unless one slot holds more: half a
/// gigabyte.
const MAX_GRADIENTS: usize = 1 << 27;

/// See the module.
pub(crate) struct CpuEngine {
    context: Context,
    plan: Plan,
    quadratic: Quadratic<Vec<f32>>,
    value: Network,
    generator: Network,
    /// One workspace a thread.
    workspaces: Vec<Mutex<CpuBlock<f32>>>,
    cut: Cut,
    /// The last step went well, and both networks have what came before it.
    can_take_back: bool,
    /// The value half of the next step is made, but taken back since a cancellation came before the generator half.
    half_made: Option<Outcome>,
}

/// How a batch is cut.
#[derive(Clone, Copy)]
struct Cut {
    /// Source samples of a block.
    block: usize,
    /// Source samples that the generator is passed with at once, a whole number of blocks.
    pass: usize,
    /// Source samples of a slot.
    slot: usize,
    slots: usize,
}

impl Cut {
    fn new(plan: &Plan) -> Self {
        let block = (BLOCK_ROWS / plan.conditional.components).clamp(1, plan.sources);
        let count = plan.sources.div_ceil(block);
        let parameters = plan.value.layout.len().max(plan.generator.layout.len());
        let slots = (MAX_GRADIENTS / parameters).clamp(1, MAX_SLOTS);
        let blocks = count.div_ceil(slots).max(SLOT_BLOCKS);
        let most = (PASS_SOURCES.min(PASS_NUMBERS / Self::kept(plan)) / block).max(1);
        let passes = if plan.conditional.own() { blocks.div_ceil(most) } else { blocks };
        let pass = blocks.div_ceil(passes);
        Self { block, pass: pass * block, slot: blocks * block, slots: count.div_ceil(blocks) }
    }

    /// Numbers that a pass keeps of a source sample beside the hidden layers: of each row the sample, the component's raw outputs
    /// and the gradient by them; the generator's outputs and the gradient by those.
    fn kept(plan: &Plan) -> usize {
        let outputs = plan.generator.layout.outputs();
        plan.conditional.components.saturating_mul(6 * Self::narrow(plan)).saturating_add(4 * outputs)
    }

    /// Numbers of a row as wide as the sample and the latent, padding included, at most.
    fn narrow(plan: &Plan) -> usize {
        (plan.dimension + plan.conditional.latent).next_multiple_of(32) + 16
    }
}

impl CpuEngine {
    /// Bytes that a training of these networks and this batch takes on the processor, the host's samples not counted.
    pub fn bytes(context: &Context, plan: &Plan) -> usize {
        let cut = Cut::new(plan);
        // Two states of four vectors, the packed weights both ways, the gradient, one gradient a slot, and a model.
        let vectors = 8 + 2 + 1 + cut.slots + 6;
        let parameters = plan.value.layout.len().saturating_add(plan.generator.layout.len());
        let workspaces = workspace(plan, &cut).numbers().saturating_mul(context.threads());
        vectors.saturating_mul(parameters).saturating_add(workspaces).saturating_mul(size_of::<f32>())
    }

    /// Takes up a training at `networks`, the value function's and the generator's state. Steps allocate nothing.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] for one that the system has no memory for.
    pub fn new(context: &Context, plan: Plan, networks: [NetworkState; 2]) -> Result<Self> {
        let [value, generator] = networks;
        let cut = Cut::new(&plan);
        let sizes = workspace(&plan, &cut);
        let workspaces = memory::made("the threads' workspaces", context.threads(), |_| {
            let mut block = CpuBlock::new(context.isa());
            block.reserve(sizes)?;
            Ok(Mutex::new(block))
        })?;
        Ok(Self {
            context: context.clone(),
            value: Network::new(context.isa(), &plan.value, value, cut.slots)?,
            generator: Network::new(context.isa(), &plan.generator, generator, cut.slots)?,
            workspaces,
            quadratic: plan.bridge.quadratic()?,
            plan,
            cut,
            can_take_back: false,
            half_made: None,
        })
    }
}

/// What a thread needs for a pass of either half; the first pass is the longest.
fn workspace(plan: &Plan, cut: &Cut) -> Sizes {
    let quadratic = Quadratic { curvature: 0.0, slope: Vec::new(), level: 0.0 };
    let rows = cut.block * plan.conditional.components;
    let sizes = [Half::Value, Half::Generator].map(|half| {
        let step = HalfStep { half, step: 0, source: Side::Batch(&[]), target: Side::Batch(&[]) };
        let draw = Draw::new(plan, &step);
        let pass = Pass { plan, quadratic: &quadratic, half, draw: &draw, rows, cancelled: &|| false };
        Measure::of(|measure| {
            pass.carry(measure, [&(), &()], 0..cut.pass.min(plan.sources), &mut (), &mut Sums::default());
        })
    });
    sizes[0].max(sizes[1])
}

/// One half of a step and its samples.
pub(super) struct HalfStep<'a> {
    pub half: Half,
    /// Counted from 0.
    pub step: u64,
    pub source: Side<'a>,
    pub target: Side<'a>,
}

impl CpuEngine {
    /// One half of a step; when its loss, its gradient or a new weight is not finite, or it is cancelled, nothing
    /// changes.
    fn half_step(&mut self, step: &HalfStep<'_>, cancelled: Cancelled<'_>) -> Result<Outcome> {
        let Self { context, plan, quadratic, value, generator, workspaces, cut, can_take_back, .. } = self;
        let (network, nets) = match step.half {
            Half::Value => (&mut value.slots, [&value.net, &generator.net]),
            Half::Generator => (&mut generator.slots, [&value.net, &generator.net]),
        };
        let draw = Draw::new(plan, step);
        let rows = cut.block * plan.conditional.components;
        let pass = Pass { plan, quadratic, half: step.half, draw: &draw, rows, cancelled };
        let slots = Disjoint::new(network);
        context.pool().run(cut.slots, |index, worker| {
            // SAFETY: each slot is one job's.
            let slot = unsafe { slots.one(index) };
            // A worker works on one job at a time, so nobody waits here.
            let block = &mut *workspaces[worker].lock().unwrap_or_else(PoisonError::into_inner);
            slot.gradient.restart();
            slot.sums = Sums::default();
            let end = plan.sources.min((index + 1) * cut.slot);
            for from in (index * cut.slot..end).step_by(cut.pass) {
                if cancelled() {
                    break;
                }
                let Slot { gradient, sums } = &mut *slot;
                pass.carry(block, nets, from..end.min(from + cut.pass), gradient, sums);
            }
            slot.gradient.complete();
        });
        let go_on = || if cancelled() { Err(Error::Cancelled { step: step.step }) } else { Ok(()) };
        go_on()?;
        let network = match step.half {
            Half::Value => value,
            Half::Generator => generator,
        };
        let outcome = network.reduce(context);
        outcome.check(step.half, step.step)?;
        go_on()?;
        let config = &plan.config;
        let (norm, most) = (outcome.gradient_norm, config.gradient_clip);
        let clip = if most > 0.0 && norm > most { most / norm } else { 1.0 };
        let rate = match step.half {
            Half::Value => config.value_learning_rate,
            Half::Generator => config.generator_learning_rate,
        };
        let update = plan.adam.update(step.step + 1, rate * config.rate_factor(step.step), clip);
        // An update overwrites what came before the last one, also where it is not kept.
        *can_take_back = false;
        let updated = network.update(context, update, config.averaging(step.step) as f32);
        updated.map_err(|bad| overflow(step.half, step.step, bad.into()))?;
        Ok(outcome)
    }

    /// Both halves, or neither.
    fn step(&mut self, step: u64, sides: &mut Sides, cancelled: Cancelled<'_>, advance: &mut Advance) -> Result<()> {
        let value = match self.half_made.take() {
            Some(value) => {
                self.value.revert();
                value
            }
            None => self.value_half(step, sides, cancelled, advance)?,
        };
        // From here on a failure costs the value half; the generator step reads no target sample.
        let generator = sides.source.draw().and_then(|source| {
            let half = HalfStep { half: Half::Generator, step, source, target: Side::Batch(&[]) };
            self.half_step(&half, cancelled)
        });
        self.can_take_back = generator.is_ok();
        let generator = generator.inspect_err(|error| {
            self.value.revert();
            if matches!(error, Error::Cancelled { .. }) {
                self.half_made = Some(value);
                sides.source.hold();
            }
        })?;
        advance.count(StepOutcome { value, generator });
        Ok(())
    }

    fn value_half(
        &mut self,
        step: u64,
        sides: &mut Sides,
        cancelled: Cancelled<'_>,
        advance: &mut Advance,
    ) -> Result<Outcome> {
        let (source, target) = (sides.source.draw()?, sides.target.draw()?);
        let value = self.half_step(&HalfStep { half: Half::Value, step, source, target }, cancelled);
        value.inspect_err(|error| {
            if matches!(error, Error::Cancelled { .. }) {
                sides.source.hold();
                sides.target.hold();
            } else if std::mem::take(&mut self.can_take_back) {
                // A loss or gradient at fault: these weights came out of a step with finite ones, but give none
                // themselves.
                self.value.revert();
                self.generator.revert();
                advance.taken_back = true;
            }
        })
    }
}

impl Engine for CpuEngine {
    fn advance(&mut self, first: u64, steps: u64, sides: &mut Sides, cancelled: Cancelled<'_>) -> Advance {
        let mut advance = Advance::new();
        for step in first..first + steps {
            let made = if cancelled() {
                Err(Error::Cancelled { step })
            } else {
                self.step(step, sides, cancelled, &mut advance)
            };
            if made.is_err() {
                advance.end = made;
                break;
            }
        }
        advance
    }

    fn most_steps(&self) -> u64 {
        1
    }

    fn state(&mut self) -> Result<[NetworkState; 2]> {
        Ok([self.value.state.copied()?, self.generator.state.copied()?])
    }
}

/// The step itself on some source samples of the batch.
struct Pass<'a> {
    plan: &'a Plan,
    quadratic: &'a Quadratic<Vec<f32>>,
    half: Half,
    draw: &'a Draw<'a>,
    /// Of a block.
    rows: usize,
    cancelled: Cancelled<'a>,
}

impl Pass<'_> {
    fn carry<W: Written>(
        &self,
        block: &mut W,
        [value, generator]: [&W::Net; 2],
        sources: Range<usize>,
        gradient: &mut W::Gradient,
        sums: &mut Sums,
    ) {
        let Self { plan, quadratic, draw, .. } = *self;
        let scale = 1.0 / plan.config.batch_rows() as f64;
        block.reset(0);
        let sources = draw.sources(block, sources.start, sources.end);
        match self.half {
            Half::Value => {
                let step = ValueStep {
                    value: &plan.value,
                    generator: &plan.generator,
                    conditional: plan.conditional,
                    head: plan.head,
                    conjugate: plan.conjugate,
                    quadratic,
                    scale,
                };
                let raw = step.draw(block, generator, sources.input, &sources.noise);
                self.blocks(block, &sources, |block, batch, rows| {
                    step.carry(block, value, batch, raw.rows(rows.start, rows.end), gradient, sums);
                });
            }
            Half::Generator => {
                let step = GeneratorStep {
                    value: &plan.value,
                    generator: &plan.generator,
                    conditional: plan.conditional,
                    head: plan.head,
                    scale,
                };
                let recorded = step.record(block, generator, sources.input);
                self.blocks(block, &sources, |block, batch, rows| {
                    step.carry(block, value, batch, &recorded.components.rows(rows.start, rows.end), sums);
                });
                if !(self.cancelled)() {
                    step.backward(block, generator, &recorded, gradient);
                }
            }
        }
    }

    /// Does `carry` for block after block, each in the same workspace.
    fn blocks<W: Written>(
        &self,
        block: &mut W,
        sources: &Sources,
        mut carry: impl FnMut(&mut W, &Batch<CpuNoise>, Range<usize>),
    ) {
        let mark = block.mark();
        for from in (0..sources.input.rows).step_by(self.rows) {
            if (self.cancelled)() {
                return;
            }
            let rows = from..sources.input.rows.min(from + self.rows);
            let batch = self.draw.rows(block, sources, rows.start, rows.end);
            carry(block, &batch, rows);
            block.reset(mark);
        }
    }
}
