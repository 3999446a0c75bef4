//! The bridge and the losses on the processor: blocks of rows, each in a core's cache.

use crate::context::Context;
use crate::device::cpu::disjoint::Disjoint;
use crate::device::cpu::{CpuBlock, Measure, Sizes};
use crate::device::exchange::BatchSeed;
use crate::device::training::Half;
use crate::device::{Sums, Workspace};
use crate::error::Result;
use crate::euot::objective::{Objective, PointsTo, SourceRows, StateRows, ValueRows, ValueTo};
use crate::formulas::{Axes, Tick};
use crate::memory;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// The largest number of rows of a block.
const BLOCK_ROWS: usize = 64;
/// The largest count of numbers in a matrix of a block: a quarter of a megabyte. One source sample's may have more.
const BLOCK_NUMBERS: usize = 1 << 16;
/// The largest number of jobs of a call, whose sums are added in their order.
const JOBS: usize = 64;

/// Numbers of one tick.
const TICK: usize = Tick::<f32>::NUMBERS;

/// The threads' workspaces. Calls allocate nothing.
pub(super) struct CpuProblem {
    context: Context,
    objective: Objective,
    axes: Axes<Vec<f32>>,
    /// Number of source samples of a block, and of rows where source samples do not matter.
    sources: usize,
    rows: usize,
    workspaces: Vec<Mutex<CpuBlock<f32>>>,
}

/// Rows of results, one part for each block.
struct Parts<'a> {
    numbers: Disjoint<'a, f32>,
    per_row: usize,
}

impl<'a> Parts<'a> {
    fn new(numbers: &'a mut [f32], per_row: usize) -> Self {
        Self { numbers: Disjoint::new(numbers), per_row }
    }

    /// # Safety
    /// No other part has any of these rows.
    #[allow(clippy::mut_from_ref)]
    unsafe fn rows(&self, rows: &Range<usize>) -> &mut [f32] {
        // SAFETY: as promised.
        unsafe { self.numbers.part(rows.start * self.per_row, rows.end * self.per_row) }
    }
}

/// Returns the rows of results that are wanted.
///
/// # Safety
/// As for [`Parts::rows`].
#[allow(clippy::mut_from_ref)]
unsafe fn own<'a>(parts: &'a Option<Parts<'_>>, rows: &Range<usize>) -> Option<&'a mut [f32]> {
    // SAFETY: as promised.
    parts.as_ref().map(|parts| unsafe { parts.rows(rows) })
}

/// Returns these rows of numbers of `per_row` each.
fn part<'a>(numbers: &'a [f32], rows: &Range<usize>, per_row: usize) -> &'a [f32] {
    &numbers[rows.start * per_row..rows.end * per_row]
}

impl CpuProblem {
    pub fn new(context: &Context, objective: Objective, axes: Axes<Vec<f32>>) -> Result<Self> {
        let (d, components) = (objective.dimension, objective.conditional.components);
        let rows = (BLOCK_NUMBERS / objective.head.raw(d)).clamp(1, BLOCK_ROWS);
        let sources = (rows / components).max(1);
        let sizes = sizes(&objective, sources, rows);
        let workspaces = memory::made("the threads' workspaces", context.threads(), |_| {
            let mut block = CpuBlock::new(context.isa());
            block.reserve(sizes)?;
            Ok(Mutex::new(block))
        })?;
        Ok(Self { context: context.clone(), objective, axes, sources, rows, workspaces })
    }

    /// Calls `work` for blocks of `block` out of `count` and returns the sums. How the rows are cut depends on their
    /// number alone.
    fn run(
        &self,
        count: usize,
        block: usize,
        work: impl Fn(&mut CpuBlock<f32>, Range<usize>, &mut Sums) + Sync,
    ) -> Sums {
        let blocks = count.div_ceil(block);
        let each = blocks.div_ceil(JOBS);
        let jobs = blocks.div_ceil(each.max(1));
        let mut sums = [Sums::default(); JOBS];
        let own = Disjoint::new(&mut sums);
        self.context.pool().run(jobs, |job, worker| {
            // SAFETY: each place is one job's.
            let sums = unsafe { own.one(job) };
            // A worker works on one job at a time, so nobody waits here.
            let workspace = &mut *self.workspaces[worker].lock().unwrap_or_else(PoisonError::into_inner);
            for number in job * each..blocks.min((job + 1) * each) {
                workspace.reset(0);
                work(workspace, number * block..count.min((number + 1) * block), sums);
            }
        });
        let mut total = Sums::default();
        sums[..jobs].iter().for_each(|job| total.add(job));
        total
    }

    pub fn sample(&self, from: &SourceRows<&[f32]>, ticks: &[f32], seed: BatchSeed, to: PointsTo<&mut [f32]>) {
        let (d, components) = (self.objective.dimension, self.objective.conditional.components);
        let per_tick = if seed.half == Half::Value { components * TICK } else { TICK };
        let [end, state, drift] = [to.end, to.state, to.drift].map(|to| to.map(|to| Parts::new(to, components * d)));
        self.run(from.sources, self.sources, |block, sources, _| {
            // SAFETY: blocks have different source samples.
            let points = unsafe {
                PointsTo { end: own(&end, &sources), state: own(&state, &sources), drift: own(&drift, &sources) }
            };
            let from = self.sources_of(from, &sources);
            let ticks = part(ticks, &sources, per_tick);
            self.objective.sample(block, &self.axes, &from, ticks, seed.skip(sources.start), points);
        });
    }

    pub fn value(&self, from: &ValueRows<&[f32]>, to: ValueTo<&mut [f32]>) -> Sums {
        let d = self.objective.dimension;
        let ValueTo { by_v: [generated, target], direction } = to;
        let (by_v, direction) = ([Parts::new(generated, 1), Parts::new(target, 1)], Parts::new(direction, d));
        self.run(from.rows, self.rows, |block, rows, sums| {
            let own = ValueRows {
                v: from.v.map(|v| &v[rows.clone()]),
                g: part(from.g, &rows, d),
                drift: part(from.drift, &rows, d),
                rows: rows.len(),
            };
            // SAFETY: blocks have different rows.
            let to =
                unsafe { ValueTo { by_v: by_v.each_ref().map(|by| by.rows(&rows)), direction: direction.rows(&rows) } };
            self.objective.value(block, &self.axes, &own, 1.0 / from.rows as f64, to, sums);
        })
    }

    pub fn generator(&self, from: &SourceRows<&[f32]>, ticks: &[f32], at: &StateRows<&[f32]>, to: &mut [f32]) -> Sums {
        let (d, components) = (self.objective.dimension, self.objective.conditional.components);
        let to = Parts::new(to, self.objective.outputs());
        let share = 1.0 / (from.sources * components) as f64;
        self.run(from.sources, self.sources, |block, sources, sums| {
            let at = StateRows {
                state: part(at.state, &sources, components * d),
                v: part(at.v, &sources, components),
                g: part(at.g, &sources, components * d),
            };
            let own = self.sources_of(from, &sources);
            // SAFETY: blocks have different source samples.
            let to = unsafe { to.rows(&sources) };
            self.objective.generator(block, &self.axes, &own, part(ticks, &sources, TICK), &at, share, to, sums);
        })
    }

    fn sources_of<'a>(&self, from: &SourceRows<&'a [f32]>, sources: &Range<usize>) -> SourceRows<&'a [f32]> {
        SourceRows {
            x0: part(from.x0, sources, self.objective.dimension),
            outputs: part(from.outputs, sources, self.objective.outputs()),
            sources: sources.len(),
        }
    }
}

/// Returns the size of a thread's workspace for blocks of so many source samples, and of so many rows.
fn sizes(objective: &Objective, sources: usize, rows: usize) -> Sizes {
    let axes = Axes::outline(objective.dimension, 0);
    let from = SourceRows { x0: (), outputs: (), sources };
    let [value, generator] = Half::BOTH.map(|half| {
        let seed = BatchSeed { seed: 0, half, step: 0, first_source: 0 };
        Measure::of(|measure| {
            let to = PointsTo { end: Some(()), state: Some(()), drift: Some(()) };
            objective.sample(measure, &axes, &from, (), seed, to);
            measure.reset(0);
            match half {
                Half::Value => {
                    let from = ValueRows { v: [(); 2], g: (), drift: (), rows };
                    let to = ValueTo { by_v: [(); 2], direction: () };
                    objective.value(measure, &axes, &from, 1.0, to, &mut Sums::default());
                }
                Half::Generator => {
                    let at = StateRows { state: (), v: (), g: () };
                    objective.generator(measure, &axes, &from, (), &at, 1.0, (), &mut Sums::default());
                }
            }
        })
    });
    value.max(generator)
}
