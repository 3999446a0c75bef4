//! Inference on the processor: one thread's workspace. After the first call of a size nothing is allocated.

use super::drift::Drift;
use super::frozen::{Inner, Nets};
use super::session::Inference;
use crate::device::cpu::net::CpuNet;
use crate::device::cpu::simd::Isa;
use crate::device::cpu::{CpuBlock, CpuNoise, Measure, Workspace};
use crate::device::{Bridge, Device, Mat, Points};
use crate::error::Result;
use crate::memory;
use crate::rng::{Sequence, Stream};
use std::sync::Arc;

/// Rows carried at a time at most: their activations stay in a core's cache.
const MOST_ROWS: usize = 64;
/// Outputs of the generator that are held at a time, unless one row has more: a megabyte.
const MOST_OUTPUTS: usize = 1 << 18;

/// What a call computes, for which the workspace needs room.
#[derive(Clone, Copy)]
enum Work {
    Endpoints,
    Mean,
    Drift,
    Ratio,
}

/// See the module.
pub(super) struct CpuSession {
    model: Arc<Inner>,
    /// Carried at a time.
    rows: usize,
    /// Rows that the workspace has room for, by [`Work`].
    room: [usize; 4],
    block: CpuBlock<f32>,
    noise: Vec<f32>,
    path: Vec<f32>,
}

impl CpuSession {
    /// A workspace for a model whose networks are on the processor.
    pub fn new(model: &Arc<Inner>, isa: Isa) -> Self {
        let outputs = model.generator.layout.layers.last().map_or(1, |layer| layer.outputs);
        Self {
            rows: (MOST_OUTPUTS / outputs).clamp(1, MOST_ROWS),
            room: [0; 4],
            block: CpuBlock::new(isa),
            model: Arc::clone(model),
            noise: Vec::new(),
            path: Vec::new(),
        }
    }

    /// Makes room for a call on so many rows, so that nothing is allocated once it has begun.
    fn make_room(&mut self, work: Work, rows: usize) -> Result<()> {
        let (model, rows) = (&*self.model, rows.min(self.rows));
        if rows <= self.room[work as usize] {
            return Ok(());
        }
        self.block.reserve(Measure::of(|measure| match work {
            Work::Endpoints => drop(endpoints(measure, model, &(), [].into_iter(), rows, 0, 0)),
            Work::Mean => {
                let input = input(measure, model, [].into_iter(), rows, 0, 0);
                model.generator.forward(measure, &(), input);
            }
            Work::Drift => {
                let input = states(measure, model, [].into_iter(), rows, 0.0, |_, x| x);
                gradient(measure, model, &(), input);
            }
            Work::Ratio => {
                let input = states(measure, model, [].into_iter(), rows, 1.0, |_, x| x);
                model.value.forward(measure, &(), input);
            }
        }))?;
        self.room[work as usize] = rows;
        Ok(())
    }

    /// The conditional mean where the network tells all components.
    fn exact_mean(&mut self, source: &[f32], mean: &mut [f32]) -> Result<()> {
        let d = self.model.info.dimension;
        let model = Arc::clone(&self.model);
        self.make_room(Work::Mean, source.len() / d)?;
        for (source, mean) in source.chunks(self.rows * d).zip(mean.chunks_mut(self.rows * d)) {
            let input = input(&mut self.block, &model, source.chunks_exact(d), source.len() / d, 0, 0);
            let outputs = model.generator.forward(&mut self.block, generator_net(&model), input);
            self.block.components_mean(outputs, model.head.raw(d), input);
            self.export(input, mean);
        }
        Ok(())
    }

    fn export(&self, x: Mat, out: &mut [f32]) {
        for (r, out) in out.chunks_exact_mut(x.cols).enumerate() {
            self.model.normalisation.undo(self.block.row(x, r), out);
        }
    }
}

/// [x', t'] for the value function: what it `sees` of each component's value, for each of `rows` states.
fn states<'a, W: Workspace>(
    block: &mut W,
    model: &Inner,
    states: impl Iterator<Item = &'a [f32]>,
    rows: usize,
    time: f64,
    sees: impl Fn(usize, f32) -> f32,
) -> Mat {
    let d = model.info.dimension;
    block.reset();
    let input = block.scratch(rows, d + 1);
    block.write(0, |block| {
        for (r, x) in states.enumerate() {
            let row = block.row_mut(input, r);
            for (j, (to, &x)) in row.iter_mut().zip(x).enumerate() {
                *to = sees(j, x);
            }
            row[d] = time as f32;
        }
    });
    input
}

/// The value function's gradient by its inputs.
fn gradient<W: Workspace>(block: &mut W, model: &Inner, net: &W::Net, input: Mat) -> Mat {
    let tape = model.value.record(block, net, input, false);
    let one = block.scratch(input.rows, 1);
    block.fill(one, 1.0);
    model.value.backward_input(block, net, &tape, one)
}

/// [x0', z] for `rows` source samples; `first` is the number of the first one.
fn input<'a, W: Workspace>(
    block: &mut W,
    model: &Inner,
    source: impl Iterator<Item = &'a [f32]>,
    rows: usize,
    seed: u64,
    first: u64,
) -> Mat {
    let (d, latent) = (model.info.dimension, model.info.latent_dimension);
    block.reset();
    let input = block.scratch(rows, d + latent);
    block.write(rows * latent, |block| {
        for (r, x) in source.enumerate() {
            model.source_units.apply(x, &mut block.row_mut(input, r)[..d]);
        }
        if latent > 0 {
            let z = input.columns(d, d + latent);
            block.draw_normals(&Sequence::new(seed, 0, Stream::Latent), first.wrapping_mul(latent as u64), z);
        }
    });
    input
}

/// Normalised endpoints for `rows` source samples (rows x d).
fn endpoints<'a, W: Workspace>(
    block: &mut W,
    model: &Inner,
    net: &W::Net,
    source: impl Iterator<Item = &'a [f32]>,
    rows: usize,
    seed: u64,
    first: u64,
) -> Mat {
    let d = model.info.dimension;
    let input = input(block, model, source, rows, seed, first);
    let xi = block.scratch(rows, d);
    block.write(rows * d, |block| {
        block.draw_normals(&Sequence::new(seed, 0, Stream::Endpoint), first.wrapping_mul(d as u64), xi);
    });
    let mut component = Mat::NONE;
    if model.conditional.own() {
        component = block.scratch(rows, 1);
        block.write(0, |block| {
            block.draw_uniforms(&Sequence::new(seed, 0, Stream::Component), first, component);
        });
    }
    // Neither bridge noise nor times are read for endpoints.
    let noise = CpuNoise { xi, eta: xi, component };
    let raw = model.conditional.draw(block, &model.generator, net, input, 1, &noise, model.head.raw(d));
    let bridge = Bridge { x0: input.columns(0, d), raw, noise, time: xi };
    let end = block.scratch(rows, d + 1);
    block.bridge(&model.head, &bridge, &Points { end: Some(end), ..Points::default() });
    end.columns(0, d)
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
    fn generate(&mut self, source: &[f32], seed: u64, first_row: u64, generated: &mut [f32]) -> Result<()> {
        let d = self.model.info.dimension;
        let rows = source.len() / d;
        let model = Arc::clone(&self.model);
        self.make_room(Work::Endpoints, rows)?;
        for from in (0..rows).step_by(self.rows) {
            let to = rows.min(from + self.rows);
            let range = from * d..to * d;
            let (x0, first) = (source[range.clone()].chunks_exact(d), first_row.wrapping_add(from as u64));
            let x1 = endpoints(&mut self.block, &model, generator_net(&model), x0, to - from, seed, first);
            self.export(x1, &mut generated[range]);
        }
        Ok(())
    }

    fn conditional_mean(
        &mut self,
        source: &[f32],
        latents: usize,
        seed: u64,
        first_row: u64,
        mean: &mut [f32],
    ) -> Result<()> {
        let d = self.model.info.dimension;
        let model = Arc::clone(&self.model);
        if model.conditional.own() {
            return self.exact_mean(source, mean);
        }
        self.make_room(Work::Mean, latents)?;
        for (r, (x0, out)) in source.chunks_exact(d).zip(mean.chunks_exact_mut(d)).enumerate() {
            let first = first_row.wrapping_add(r as u64).wrapping_mul(latents as u64);
            out.fill(0.0);
            for from in (0..latents).step_by(self.rows) {
                let rows = self.rows.min(latents - from);
                let x0 = (0..rows).map(|_| x0);
                let input = input(&mut self.block, &model, x0, rows, seed, first.wrapping_add(from as u64));
                let raw = model.generator.forward(&mut self.block, generator_net(&model), input);
                for i in 0..rows {
                    for (sum, residual) in out.iter_mut().zip(&self.block.row(raw, i)[..d]) {
                        *sum += residual;
                    }
                }
            }
            self.block.reset();
            let x = self.block.scratch(1, d);
            let row = self.block.row_mut(x, 0);
            model.source_units.apply(x0, row);
            for (x, sum) in row.iter_mut().zip(&*out) {
                *x += sum / latents as f32;
            }
            model.normalisation.undo(self.block.row(x, 0), out);
        }
        Ok(())
    }

    fn trajectory(&mut self, source: &[f32], times: &[f64], seed: u64, first_row: u64, path: &mut [f32]) -> Result<()> {
        let d = self.model.info.dimension;
        let (rows, line) = (source.len() / d, times.len() * d);
        let model = Arc::clone(&self.model);
        let sigma = model.sigma;
        let sequence = Sequence::new(seed, 0, Stream::Bridge);
        self.make_room(Work::Endpoints, rows)?;
        for (buffer, numbers) in [(&mut self.noise, line), (&mut self.path, d)] {
            let missing = numbers.saturating_sub(buffer.len());
            memory::reserve(buffer, "a path's noise", missing)?;
            buffer.resize(buffer.len() + missing, 0.0);
        }
        for from in (0..rows).step_by(self.rows) {
            let to = rows.min(from + self.rows);
            let first = first_row.wrapping_add(from as u64);
            let x0 = source[from * d..to * d].chunks_exact(d);
            let x1 = endpoints(&mut self.block, &model, generator_net(&model), x0, to - from, seed, first);
            for r in 0..to - from {
                let noise = &mut self.noise[..line];
                sequence.normals(first.wrapping_add(r as u64).wrapping_mul(line as u64), noise);
                let x = &mut self.path[..d];
                model.normalisation.apply(&source[(from + r) * d..][..d], x);
                let mut now = 0.0;
                let steps = path[(from + r) * line..][..line].chunks_exact_mut(d).zip(noise.chunks_exact(d));
                for (&t, (out, noise)) in times.iter().zip(steps) {
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
        }
        Ok(())
    }

    fn drift(&mut self, time: f64, state: &[f32], drift: &mut [f32]) -> Result<()> {
        let d = self.model.info.dimension;
        let rows = state.len() / d;
        let model = Arc::clone(&self.model);
        let known = Drift::new(&model, time);
        self.make_room(Work::Drift, rows)?;
        for from in (0..rows).step_by(self.rows) {
            let to = rows.min(from + self.rows);
            let block = &mut self.block;
            let x = state[from * d..to * d].chunks_exact(d);
            let input = states(block, &model, x, to - from, known.time, |j, x| known.see(&model, j, x));
            let g = gradient(block, &model, value_net(&model), input);
            let rows = state[from * d..to * d].chunks_exact(d).zip(drift[from * d..to * d].chunks_exact_mut(d));
            for (r, (x, out)) in rows.enumerate() {
                let g = &block.row(g, r)[..d];
                for (j, ((&x, out), &g)) in x.iter().zip(out).zip(g).enumerate() {
                    *out = known.at(&model, j, x, g);
                }
            }
        }
        Ok(())
    }

    fn density_ratio(&mut self, target: &[f32], ratio: &mut [f32]) -> Result<()> {
        let d = self.model.info.dimension;
        let rows = ratio.len();
        let model = Arc::clone(&self.model);
        let units = &model.normalisation;
        self.make_room(Work::Ratio, rows)?;
        for from in (0..rows).step_by(self.rows) {
            let to = rows.min(from + self.rows);
            let y = target[from * d..to * d].chunks_exact(d);
            let input = states(&mut self.block, &model, y, to - from, 1.0, |j, y| units.one(j, y));
            let v = model.value.forward(&mut self.block, value_net(&model), input);
            for (r, out) in ratio[from..to].iter_mut().enumerate() {
                let known = model.quadratic.at(&self.block.row(input, r)[..d]);
                let v = f64::from(self.block.row(v, r)[0]) + known;
                *out = model.conjugate.evaluate(v).1 as f32;
            }
        }
        Ok(())
    }
}
