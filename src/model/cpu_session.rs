//! Inference on the processor: one thread's workspace. After the first call of a size nothing is allocated.

use super::cpu_rows::{Work, endpoints, gradient, input, states};
use super::drift::Drift;
use super::frozen::{Inner, Nets};
use super::results::Results;
use super::session::Inference;
use crate::device::cpu::CpuBlock;
use crate::device::cpu::net::CpuNet;
use crate::device::cpu::simd::Isa;
use crate::device::{Mat, Workspace};
use crate::error::Result;
use crate::memory;
use crate::rng::{Sequence, Stream};
use std::ops::Range;
use std::sync::Arc;

/// Rows carried at a time at most: their activations stay in a core's cache.
const MOST_ROWS: usize = 64;
/// Outputs of the generator, and results, that are held at a time, unless one row has more: a megabyte.
const MOST_OUTPUTS: usize = 1 << 18;

/// See the module.
pub(super) struct CpuSession {
    model: Arc<Inner>,
    /// Carried at a time.
    rows: usize,
    /// Rows that the workspace has room for, by [`Work`].
    room: [usize; Work::KINDS],
    block: CpuBlock<f32>,
    noise: Vec<f32>,
    path: Vec<f32>,
    /// Results before they are delivered.
    results: Vec<f32>,
}

impl CpuSession {
    /// A workspace for a model whose networks are on the processor.
    pub fn new(model: &Arc<Inner>, isa: Isa) -> Self {
        let outputs = model.generator.layout.outputs();
        let rows = (MOST_OUTPUTS / outputs).clamp(1, MOST_ROWS);
        let (noise, path, results) = (Vec::new(), Vec::new(), Vec::new());
        let room = [0; Work::KINDS];
        Self { block: CpuBlock::new(isa), rows, room, model: Arc::clone(model), noise, path, results }
    }

    /// Does `work` on pieces of the rows, each with room for its results, and delivers those.
    fn each(&mut self, out: &mut Results<'_>, mut work: impl FnMut(&mut Self, Range<usize>, &mut [f32])) -> Result<()> {
        let (rows, per_row) = (out.rows(), out.per_row());
        let piece = self.rows.min((MOST_OUTPUTS / per_row).max(1)).min(rows);
        let mut results = std::mem::take(&mut self.results);
        memory::grow(&mut results, "results of a session", piece * per_row, 0.0)?;
        let delivered = (0..rows).step_by(piece).try_for_each(|from| {
            let range = from..rows.min(from + piece);
            let results = &mut results[..range.len() * per_row];
            work(self, range, results);
            out.deliver(results)
        });
        self.results = results;
        delivered
    }

    /// Makes room for a call on so many rows, so that nothing is allocated once it has begun.
    fn make_room(&mut self, work: Work, rows: usize) -> Result<()> {
        let rows = rows.min(self.rows);
        if rows > self.room[work as usize] {
            self.block.reserve(work.sizes(&self.model, rows))?;
            self.room[work as usize] = rows;
        }
        Ok(())
    }

    /// The conditional mean where the network tells all components.
    fn exact_mean(&mut self, source: &[f32], mean: &mut Results<'_>) -> Result<()> {
        let d = self.model.info.dimension;
        let model = Arc::clone(&self.model);
        self.make_room(Work::Mean, mean.rows())?;
        self.each(mean, |session, rows, mean| {
            let source = source[rows.start * d..rows.end * d].chunks_exact(d);
            let input = input(&mut session.block, &model, source, rows.len(), 0, 0);
            let outputs = model.generator.forward(&mut session.block, generator_net(&model), input);
            session.block.components_mean(outputs, model.head.raw(d), input);
            session.export(input, mean);
        })
    }

    /// The conditional mean of one row, over latents.
    fn mean_over_latents(&mut self, x0: &[f32], latents: usize, seed: u64, first: u64, mean: &mut [f32]) {
        let d = self.model.info.dimension;
        let model = Arc::clone(&self.model);
        mean.fill(0.0);
        for from in (0..latents).step_by(self.rows) {
            let rows = self.rows.min(latents - from);
            let (x0, first) = ((0..rows).map(|_| x0), first.wrapping_add(from as u64));
            let input = input(&mut self.block, &model, x0, rows, seed, first);
            let raw = model.generator.forward(&mut self.block, generator_net(&model), input);
            for i in 0..rows {
                for (sum, residual) in mean.iter_mut().zip(&self.block.row(raw, i)[..d]) {
                    *sum += residual;
                }
            }
        }
        self.block.reset(0);
        let x = self.block.scratch(1, d);
        let row = self.block.row_mut(x, 0);
        model.source_units.apply(x0, row);
        for (x, sum) in row.iter_mut().zip(&*mean) {
            *x += sum / latents as f32;
        }
        model.normalisation.undo(self.block.row(x, 0), mean);
    }

    /// The path from `x0` through `times` to the end in row `r` of `x1`; `row` is its number.
    fn path(&mut self, x0: &[f32], (x1, r): (Mat, usize), times: &[f64], seed: u64, row: u64, path: &mut [f32]) {
        let model = Arc::clone(&self.model);
        let (d, sigma) = (x0.len(), model.sigma);
        let noise = &mut self.noise[..path.len()];
        Sequence::new(seed, 0, Stream::Bridge).normals(row.wrapping_mul(path.len() as u64), noise);
        let x = &mut self.path[..d];
        model.normalisation.apply(x0, x);
        let mut now = 0.0;
        for (&t, (out, noise)) in times.iter().zip(path.chunks_exact_mut(d).zip(noise.chunks_exact(d))) {
            let end = self.block.row(x1, r);
            if t >= 1.0 {
                x.copy_from_slice(end);
            } else if t > now {
                // Given x at `now` and x1 at 1, the bridge at t is Gaussian.
                let along = ((t - now) / (1.0 - now)) as f32;
                let spread = (sigma * ((t - now) * (1.0 - t) / (1.0 - now)).sqrt()) as f32;
                for ((x, end), noise) in x.iter_mut().zip(end).zip(noise) {
                    *x += along * (end - *x) + spread * noise;
                }
            }
            now = t;
            model.normalisation.undo(x, out);
        }
    }

    fn export(&self, x: Mat, out: &mut [f32]) {
        for (r, out) in out.chunks_exact_mut(x.cols).enumerate() {
            self.model.normalisation.undo(self.block.row(x, r), out);
        }
    }
}

fn value_net(model: &Inner) -> &CpuNet<f32> {
    match &model.nets {
        Nets::Cpu { value, .. } => value,
        Nets::Cuda(_) => unreachable!("a session of the processor has a model there"),
    }
}

fn generator_net(model: &Inner) -> &CpuNet<f32> {
    match &model.nets {
        Nets::Cpu { generator, .. } => generator,
        Nets::Cuda(_) => unreachable!("a session of the processor has a model there"),
    }
}

impl Inference for CpuSession {
    fn generate(&mut self, source: &[f32], seed: u64, first_row: u64, generated: &mut Results<'_>) -> Result<()> {
        let d = self.model.info.dimension;
        let model = Arc::clone(&self.model);
        self.make_room(Work::Endpoints, generated.rows())?;
        self.each(generated, |session, rows, generated| {
            let source = source[rows.start * d..rows.end * d].chunks_exact(d);
            let first = first_row.wrapping_add(rows.start as u64);
            let x1 = endpoints(&mut session.block, &model, generator_net(&model), source, rows.len(), seed, first);
            session.export(x1, generated);
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
            return self.exact_mean(source, mean);
        }
        self.make_room(Work::Mean, latents)?;
        self.each(mean, |session, rows, mean| {
            let sources = source[rows.start * d..rows.end * d].chunks_exact(d);
            for (row, (x0, mean)) in (rows.start as u64..).zip(sources.zip(mean.chunks_exact_mut(d))) {
                let first = first_row.wrapping_add(row).wrapping_mul(latents as u64);
                session.mean_over_latents(x0, latents, seed, first, mean);
            }
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
        let line = path.per_row();
        let model = Arc::clone(&self.model);
        memory::grow(&mut self.noise, "the noise of a path", line, 0.0)?;
        memory::grow(&mut self.path, "a point of a path", d, 0.0)?;
        self.make_room(Work::Endpoints, path.rows())?;
        self.each(path, |session, rows, path| {
            let source = source[rows.start * d..rows.end * d].chunks_exact(d);
            let first = first_row.wrapping_add(rows.start as u64);
            let net = generator_net(&model);
            let x1 = endpoints(&mut session.block, &model, net, source.clone(), rows.len(), seed, first);
            for (r, (x0, path)) in source.zip(path.chunks_exact_mut(line)).enumerate() {
                session.path(x0, (x1, r), times, seed, first.wrapping_add(r as u64), path);
            }
        })
    }

    fn drift(&mut self, time: f64, state: &[f32], drift: &mut Results<'_>) -> Result<()> {
        let d = self.model.info.dimension;
        let model = Arc::clone(&self.model);
        let known = Drift::new(&model, time);
        self.make_room(Work::Drift, drift.rows())?;
        self.each(drift, |session, rows, drift| {
            let (state, block) = (state[rows.start * d..rows.end * d].chunks_exact(d), &mut session.block);
            let input = states(block, &model, state.clone(), rows.len(), known.time, |j, x| known.see(&model, j, x));
            let g = gradient(block, &model, value_net(&model), input);
            for (r, (x, out)) in state.zip(drift.chunks_exact_mut(d)).enumerate() {
                let g = &block.row(g, r)[..d];
                for (j, ((&x, out), &g)) in x.iter().zip(out).zip(g).enumerate() {
                    *out = known.at(&model, j, x, g);
                }
            }
        })
    }

    fn density_ratio(&mut self, target: &[f32], ratio: &mut Results<'_>) -> Result<()> {
        let d = self.model.info.dimension;
        let model = Arc::clone(&self.model);
        let units = &model.normalisation;
        self.make_room(Work::Ratio, ratio.rows())?;
        self.each(ratio, |session, rows, ratio| {
            let target = target[rows.start * d..rows.end * d].chunks_exact(d);
            let input = states(&mut session.block, &model, target, rows.len(), 1.0, |j, y| units.one(j, y));
            let v = model.value.forward(&mut session.block, value_net(&model), input);
            for (r, out) in ratio.iter_mut().enumerate() {
                let known = model.quadratic.at(&session.block.row(input, r)[..d]);
                let v = f64::from(session.block.row(v, r)[0]) + known;
                *out = model.conjugate.evaluate(v).1 as f32;
            }
        })
    }
}
