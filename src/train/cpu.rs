//! Training steps on the processor.
//!
//! A shard of the batch is a job for any thread: it draws its rows' noise and samples, carries block after block
//! through the value function and adds up a gradient of its own. Blocks fit a core's cache. Gradients are then reduced
//! in the shards' order, so weights are bitwise equal for any number of threads.

use super::engine::Cancelled;
use super::halves::{HalfSteps, Stop};
use super::plan::Plan;
use super::shards::Shards;
use super::side::{Samplers, Sets};
use crate::context::Context;
use crate::data::{ArraySource, SampleSet};
use crate::device::cpu::batch::{SideSamples, StepSamples};
use crate::device::cpu::disjoint::Disjoint;
use crate::device::cpu::optimiser::{CpuNetwork, ShardGradient};
use crate::device::cpu::{CpuBlock, Measure, Sizes};
use crate::device::half_work::{HalfInputs, HalfTotals, HalfWork, SourceBlocks};
use crate::device::training::{Half, HalfOutcome, NetworkState};
use crate::device::{Sums, Workspace};
use crate::error::Result;
use crate::formulas::Axes;
use crate::memory;
use crate::nn::network::Network;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Number of rows of a block: the tape of a width-128 network then takes half a megabyte of cache.
const BLOCK_ROWS: usize = 64;
/// The length of a block's tape of pictures, in numbers: a megabyte. A pass has up to four tapes.
const TAPE_NUMBERS: usize = 1 << 18;
/// The largest workspace of a block, in numbers: a quarter of a gigabyte. One source sample may take more.
const BLOCK_NUMBERS: usize = 1 << 26;

/// The samples of the sides that are finite sets.
type Arrays = [Option<ArraySource>; 2];

/// See the module.
pub(super) struct CpuEngine {
    context: Context,
    plan: Plan,
    axes: Axes<Vec<f32>>,
    /// The value function and the generator.
    networks: [CpuNetwork; 2],
    arrays: Arrays,
    /// The workspace of each thread.
    workspaces: Vec<Mutex<CpuBlock<f32>>>,
    shards: Shards,
}

impl CpuEngine {
    /// Returns the bytes that a training of these networks and this batch takes on the processor without its samples.
    pub fn bytes(context: &Context, plan: &Plan) -> usize {
        let (shards, sizes) = cut(plan);
        let [value, generator] = [&plan.halves.value, &plan.halves.generator]
            .map(|network| CpuNetwork::bytes(context.isa(), &network.layout, &network.centre, shards.count));
        let workspace = sizes.bytes::<f32>().saturating_add(size_of::<Mutex<CpuBlock<f32>>>());
        let workspaces = workspace.saturating_mul(context.threads());
        value.saturating_add(generator).saturating_add(workspaces)
    }

    /// Begins or resumes a training with `networks`, the state of the value function and of the generator. Steps
    /// allocate nothing.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory) where the system has no memory for the training.
    pub fn new(context: &Context, plan: Plan, networks: [NetworkState; 2], sets: Sets) -> Result<Self> {
        let (shards, sizes) = cut(&plan);
        let workspaces = memory::made("the threads' workspaces", context.threads(), |_| {
            let mut block = CpuBlock::new(context.isa());
            block.reserve(sizes)?;
            Ok(Mutex::new(block))
        })?;
        let [value, generator] = networks;
        let place = |network: &Network, state| {
            CpuNetwork::new(context.isa(), &network.layout, &network.centre, state, shards.count)
        };
        Ok(Self {
            context: context.clone(),
            networks: [place(&plan.halves.value, value)?, place(&plan.halves.generator, generator)?],
            arrays: sets.map(|set| set.map(on_host)),
            workspaces,
            axes: plan.axes()?,
            plan,
            shards,
        })
    }

    /// Computes the gradients and losses of these shards.
    fn gradient(&mut self, half: Half, step: u64, shards: Range<usize>, samplers: &Samplers, cancelled: Cancelled<'_>) {
        let [source, target] = samples(&self.arrays, samplers);
        let (halves, axes) = (&self.plan.halves, &self.axes);
        let [value, generator] = &mut self.networks;
        let (nets, own) = match half {
            Half::Value => ([&value.net, &generator.net], &mut value.shards),
            Half::Generator => ([&value.net, &generator.net], &mut generator.shards),
        };
        let inputs = HalfInputs { nets, axes, samples: StepSamples { source, target, step } };
        let (cut, workspaces, own) = (self.shards, &self.workspaces, Disjoint::new(own));
        self.context.pool().run(shards.len(), |index, worker| {
            let shard = shards.start + index;
            // SAFETY: each shard is one job's.
            let ShardGradient { gradient, sums } = unsafe { own.one(shard) };
            // A worker works on one job at a time, so nobody waits here.
            let block = &mut *workspaces[worker].lock().unwrap_or_else(PoisonError::into_inner);
            gradient.restart();
            *sums = Sums::default();
            for sources in cut.passes(shard) {
                if cancelled() {
                    break;
                }
                let blocks = SourceBlocks { sources, block: cut.block, cancelled };
                block.reset(0);
                halves.carry(block, half, &inputs, &blocks, HalfTotals { gradient, sums });
            }
            gradient.complete();
        });
    }

    /// Sums the shards' gradients and losses, in their order.
    fn reduce(&mut self, half: Half) -> HalfOutcome {
        self.networks[half as usize].reduce(self.context.pool())
    }

    /// Makes the update of step `step` from the gradient that was reduced last.
    ///
    /// # Errors
    /// A number of the new state that is not finite.
    fn update(&mut self, half: Half, step: u64, outcome: &HalfOutcome) -> std::result::Result<(), f32> {
        let (config, rule) = (&self.plan.config, self.plan.update_rule());
        let (norm, most) = (outcome.gradient_norm, rule.clip);
        let clip = if most > 0.0 && norm > most { most / norm } else { 1.0 };
        let update = rule.adam.update(step + 1, rule.rates[half as usize] * config.rate_factor(step), clip);
        self.networks[half as usize].update(self.context.pool(), update, config.averaging(step) as f32)
    }
}

/// Returns both sides' samples: an array, or the batch that a sampler gave.
fn samples<'a>(arrays: &'a Arrays, samplers: &'a Samplers) -> [SideSamples<'a>; 2] {
    let batches = samplers.batches();
    [0, 1].map(|side| match &arrays[side] {
        Some(array) => SideSamples::Array(array),
        None => SideSamples::Batch(batches[side].unwrap_or_default()),
    })
}

/// Returns a set of samples in host memory.
fn on_host(set: SampleSet) -> ArraySource {
    match set {
        SampleSet::Array(array) => array,
        SampleSet::Resident(_) => unreachable!("samples in device memory come with a context on their GPU"),
    }
}

/// Returns how a batch is cut, and the size of a thread's workspace.
fn cut(plan: &Plan) -> (Shards, Sizes) {
    let mut rows = block_rows(plan);
    loop {
        let shards = Shards::new(plan, rows);
        let block = workspace(plan, 0..shards.block, shards.block);
        if shards.block == 1 || block.numbers() <= BLOCK_NUMBERS {
            return (shards, workspace(plan, shards.first_pass(), shards.block));
        }
        rows /= 2;
    }
}

/// Returns how many rows a block has at first: fewer where each is a picture, whose tape is long.
fn block_rows(plan: &Plan) -> usize {
    let tape = [&plan.halves.value, &plan.halves.generator]
        .map(|network| network.graph.as_ref().map_or(0, |graph| graph.widths()[0]));
    let tape = tape[0].max(tape[1]);
    TAPE_NUMBERS.checked_div(tape).map_or(BLOCK_ROWS, |rows| rows.clamp(1, BLOCK_ROWS))
}

/// Returns the size of a thread's workspace for a pass of either half.
fn workspace(plan: &Plan, sources: Range<usize>, block: usize) -> Sizes {
    let peaks = plan.bridge.peaks.as_ref();
    let turned = peaks.is_some_and(|peaks| peaks.axes.is_some());
    let axes = Axes { turned, ..Axes::outline(plan.dimension, peaks.map_or(0, |peaks| peaks.count())) };
    let inputs = HalfInputs { nets: [&(); 2], axes: &axes, samples: () };
    let blocks = SourceBlocks { sources, block, cancelled: &|| false };
    let [value, generator] = Half::BOTH.map(|half| {
        Measure::of(|measure| {
            let totals = HalfTotals { gradient: &mut (), sums: &mut Sums::default() };
            plan.halves.carry(measure, half, &inputs, &blocks, totals);
        })
    });
    let networks = [&plan.halves.value, &plan.halves.generator];
    networks.iter().fold(value.max(generator), |sizes, network| sizes.max(Sizes::beside(&network.layout, true)))
}

impl HalfSteps for CpuEngine {
    fn half_step(
        &mut self,
        half: Half,
        step: u64,
        samplers: &Samplers,
        cancelled: Cancelled<'_>,
    ) -> std::result::Result<HalfOutcome, Stop> {
        let go_on = || if cancelled() { Err(Stop::Cancelled) } else { Ok(()) };
        self.gradient(half, step, 0..self.shards.count, samplers, cancelled);
        go_on()?;
        let outcome = self.reduce(half);
        if outcome.check(half, step).is_err() {
            return Err(Stop::NotFinite(outcome));
        }
        go_on()?;
        match self.update(half, step, &outcome) {
            Ok(()) => Ok(outcome),
            Err(value) => Err(Stop::Overflow(value.into())),
        }
    }

    fn take_back(&mut self, halves: &[Half]) -> Result<()> {
        for &half in halves {
            self.networks[half as usize].take_back();
        }
        Ok(())
    }

    fn most_steps(&self) -> u64 {
        1
    }

    fn state(&mut self) -> Result<[NetworkState; 2]> {
        let [value, generator] = &self.networks;
        Ok([value.state.copied()?, generator.state.copied()?])
    }

    fn device_bytes(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests;
