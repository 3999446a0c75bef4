//! Sessions: one thread's workspace on a model. Calls take no lock and, after the first, allocate nothing.

use super::frozen::{Inner, Model};
use crate::device::cpu::{CpuBlock, CpuNoise};
use crate::device::{Bridge, Device, Mat, Points};
use crate::error::{Error, Result};
use crate::rng::{Sequence, Stream};
use std::sync::Arc;

/// How far from the data a row may lie, in units of their scale: far beyond any use, and far below what would overflow
/// inside a network.
const FARTHEST: f64 = 1e9;

/// Rows carried at a time: their activations stay in a core's cache.
const BLOCK_ROWS: usize = 64;

/// A workspace for calling a model from one thread.
///
/// Rows are samples, row-major, in the data's units. Noise is a function of (seed, row number): the same seed gives
/// the same bits, and rows drawn in pieces (with `first_row` the number of the first one) equal rows drawn at once.
pub struct Session {
    model: Arc<Inner>,
    block: CpuBlock<f32>,
    noise: Vec<f32>,
    path: Vec<f32>,
}

impl Session {
    /// Makes a workspace.
    ///
    /// # Errors
    /// None at present.
    pub fn new(model: &Model) -> Result<Self> {
        Ok(Self { block: CpuBlock::new(model.0.isa), model: Arc::clone(&model.0), noise: Vec::new(), path: Vec::new() })
    }

    /// The session's model.
    pub fn model(&self) -> Model {
        Model(Arc::clone(&self.model))
    }

    /// One-step generation: for each source sample x0, one sample x1 = T(x0, z, xi) of the plan given x0.
    /// `source` and `generated` are rows x dimension, in data units.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for lengths that are not a positive multiple of the dimension or differ, and for an
    /// input that is not finite; nothing is written then.
    pub fn generate(&mut self, source: &[f32], seed: u64, first_row: u64, generated: &mut [f32]) -> Result<()> {
        let d = self.model.info.dimension;
        let rows = self.check_rows("source", source)?;
        check_length("generated", generated.len(), rows * d)?;
        for from in (0..rows).step_by(BLOCK_ROWS) {
            let to = rows.min(from + BLOCK_ROWS);
            let range = from * d..to * d;
            let x1 = self.endpoints(&source[range.clone()], seed, first_row.wrapping_add(from as u64));
            self.export(x1, &mut generated[range]);
        }
        Ok(())
    }

    /// Mean of x1 given each x0, over `latents` draws of z; the Gaussian part is averaged exactly. `source` and `mean` are
    /// rows x dimension, in data units.
    ///
    /// # Errors
    /// As [`Self::generate`]; `latents` of zero or above 2^24.
    pub fn conditional_mean(
        &mut self,
        source: &[f32],
        latents: usize,
        seed: u64,
        first_row: u64,
        mean: &mut [f32],
    ) -> Result<()> {
        let d = self.model.info.dimension;
        let rows = self.check_rows("source", source)?;
        check_length("mean", mean.len(), rows * d)?;
        if latents == 0 || latents > 1 << 24 {
            return Err(Error::invalid(format!("latents is {latents}, but must be from 1 to {}", 1 << 24)));
        }
        let model = Arc::clone(&self.model);
        for (r, (x0, out)) in source.chunks_exact(d).zip(mean.chunks_exact_mut(d)).enumerate() {
            let first = first_row.wrapping_add(r as u64).wrapping_mul(latents as u64);
            out.fill(0.0);
            for from in (0..latents).step_by(BLOCK_ROWS) {
                let rows = BLOCK_ROWS.min(latents - from);
                let input = self.input((0..rows).map(|_| x0), rows, seed, first.wrapping_add(from as u64));
                let raw = model.generator.forward(&mut self.block, &model.generator_net, input);
                for i in 0..rows {
                    for (sum, residual) in out.iter_mut().zip(&self.block.row(raw, i)[..d]) {
                        *sum += residual;
                    }
                }
            }
            self.block.reset();
            let x = self.block.scratch(1, d);
            let row = self.block.row_mut(x, 0);
            model.normalisation.apply(x0, row);
            for (x, sum) in row.iter_mut().zip(&*out) {
                *x += sum / latents as f32;
            }
            model.normalisation.undo(self.block.row(x, 0), out);
        }
        Ok(())
    }

    /// A path for each x0: x1 as [`Self::generate`] draws it for the same seed and row, then the Brownian bridge
    /// between them at the ascending `times`, one path through all of them. `source` is rows x dimension and `path` rows x
    /// times x dimension, in data units.
    ///
    /// # Errors
    /// As [`Self::generate`]; times that are not in \[0, 1\] or not ascending.
    pub fn trajectory(
        &mut self,
        source: &[f32],
        times: &[f64],
        seed: u64,
        first_row: u64,
        path: &mut [f32],
    ) -> Result<()> {
        let d = self.model.info.dimension;
        let rows = self.check_rows("source", source)?;
        if times.is_empty() {
            return Err(Error::invalid("times is empty, but must hold at least one time"));
        }
        let mut last = 0.0;
        for (i, &t) in times.iter().enumerate() {
            if !(0.0..=1.0).contains(&t) || t < last {
                return Err(Error::invalid(format!(
                    "times[{i}] is {t}, but times must ascend from 0 to 1 and this one lie in [{last}, 1]"
                )));
            }
            last = t;
        }
        let line =
            times.len().checked_mul(d).filter(|line| line.checked_mul(rows).is_some()).ok_or_else(|| {
                Error::invalid(format!("times has {} entries, too many for {rows} rows", times.len()))
            })?;
        check_length("path", path.len(), rows * line)?;
        let model = Arc::clone(&self.model);
        let sigma = model.head.sigma;
        let sequence = Sequence::new(seed, 0, Stream::Bridge);
        for from in (0..rows).step_by(BLOCK_ROWS) {
            let to = rows.min(from + BLOCK_ROWS);
            let first = first_row.wrapping_add(from as u64);
            let x1 = self.endpoints(&source[from * d..to * d], seed, first);
            for r in 0..to - from {
                self.noise.resize(line.max(self.noise.len()), 0.0);
                let noise = &mut self.noise[..line];
                sequence.normals(first.wrapping_add(r as u64).wrapping_mul(line as u64), noise);
                self.path.resize(d.max(self.path.len()), 0.0);
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

    /// The optimal drift -grad V(t, x) at states x, in data units per unit of time. `state` and `drift` are rows x
    /// dimension.
    ///
    /// # Errors
    /// A time outside \[0, 1\]; otherwise as [`Self::generate`].
    pub fn drift(&mut self, time: f64, state: &[f32], drift: &mut [f32]) -> Result<()> {
        let d = self.model.info.dimension;
        if !(0.0..=1.0).contains(&time) {
            return Err(Error::invalid(format!("time is {time}, but must lie in [0, 1]")));
        }
        let rows = self.check_rows("state", state)?;
        check_length("drift", drift.len(), rows * d)?;
        let model = Arc::clone(&self.model);
        // V is a cost, so its gradient scales like a length.
        let scale = -model.normalisation.scale as f32;
        for from in (0..rows).step_by(BLOCK_ROWS) {
            let to = rows.min(from + BLOCK_ROWS);
            let input = self.states(&state[from * d..to * d], time);
            let block = &mut self.block;
            let tape = model.value.record(block, &model.value_net, input, false);
            let one = block.scratch(to - from, 1);
            block.fill(one, 1.0);
            let g = model.value.backward_input(block, &model.value_net, &tape, one);
            for (r, out) in drift[from * d..to * d].chunks_exact_mut(d).enumerate() {
                for (out, g) in out.iter_mut().zip(block.row(g, r)) {
                    *out = scale * g;
                }
            }
        }
        Ok(())
    }

    /// Psi*'(V(1, y)): density of the transported end marginal with respect to the target at target samples y. Small
    /// where the target holds outliers; 1 everywhere when balanced. `target` is rows x dimension in data units, `ratio`
    /// has one number a row.
    ///
    /// # Errors
    /// As [`Self::generate`].
    pub fn density_ratio(&mut self, target: &[f32], ratio: &mut [f32]) -> Result<()> {
        let d = self.model.info.dimension;
        let rows = self.check_rows("target", target)?;
        check_length("ratio", ratio.len(), rows)?;
        let model = Arc::clone(&self.model);
        for from in (0..rows).step_by(BLOCK_ROWS) {
            let to = rows.min(from + BLOCK_ROWS);
            let input = self.states(&target[from * d..to * d], 1.0);
            let v = model.value.forward(&mut self.block, &model.value_net, input);
            for (r, out) in ratio[from..to].iter_mut().enumerate() {
                *out = model.conjugate.evaluate(f64::from(self.block.row(v, r)[0])).1 as f32;
            }
        }
        Ok(())
    }

    /// Number of rows; every value must be finite and near enough to the data to be computed with.
    fn check_rows(&self, name: &str, x: &[f32]) -> Result<usize> {
        let d = self.model.info.dimension;
        if x.is_empty() || !x.len().is_multiple_of(d) {
            return Err(Error::invalid(format!(
                "{name} has {} numbers, but must hold at least one row and whole rows of {d}",
                x.len()
            )));
        }
        let normalisation = &self.model.normalisation;
        for (r, row) in x.chunks_exact(d).enumerate() {
            for (j, (&x, shift)) in row.iter().zip(&normalisation.shift).enumerate() {
                // A NaN is not below the limit either.
                let near = ((f64::from(x) - shift) / normalisation.scale).abs() <= FARTHEST;
                if !near {
                    return Err(Error::invalid(format!(
                        "{name} row {r}, component {j} is {x:e}, but must be finite and within {FARTHEST:e} times the data's common scale {:e} of their centre",
                        normalisation.scale
                    )));
                }
            }
        }
        Ok(x.len() / d)
    }

    /// [x, t] for the value function, normalised.
    fn states(&mut self, x: &[f32], time: f64) -> Mat {
        let d = self.model.info.dimension;
        let rows = x.len() / d;
        self.block.reset();
        let input = self.block.scratch(rows, d + 1);
        for (r, x) in x.chunks_exact(d).enumerate() {
            let row = self.block.row_mut(input, r);
            self.model.normalisation.apply(x, &mut row[..d]);
            row[d] = time as f32;
        }
        input
    }

    /// Normalised endpoints for a block of source rows (rows x d).
    fn endpoints(&mut self, source: &[f32], seed: u64, first: u64) -> Mat {
        let d = self.model.info.dimension;
        let rows = source.len() / d;
        let input = self.input(source.chunks_exact(d), rows, seed, first);
        let model = &self.model;
        let raw = model.generator.forward(&mut self.block, &model.generator_net, input);
        let endpoint = Sequence::new(seed, 0, Stream::Endpoint);
        let xi = self.block.normals(&endpoint, first.wrapping_mul(d as u64), rows, d);
        // Neither bridge noise nor times are read for endpoints.
        let bridge = Bridge { x0: input.columns(0, d), raw, noise: CpuNoise { xi, eta: xi }, time: xi };
        let end = self.block.scratch(rows, d + 1);
        self.block.bridge(&model.head, &bridge, &Points { end: Some(end), ..Points::default() });
        end.columns(0, d)
    }

    /// [x0, z] for source rows, normalised; `first` is the number of the first one.
    fn input<'a>(&mut self, source: impl Iterator<Item = &'a [f32]>, rows: usize, seed: u64, first: u64) -> Mat {
        let (d, latent) = (self.model.info.dimension, self.model.info.latent_dimension);
        self.block.reset();
        let input = self.block.scratch(rows, d + latent);
        for (r, x) in source.enumerate() {
            self.model.normalisation.apply(x, &mut self.block.row_mut(input, r)[..d]);
        }
        let z = input.columns(d, d + latent);
        self.block.draw_normals(&Sequence::new(seed, 0, Stream::Latent), first.wrapping_mul(latent as u64), z);
        input
    }

    fn export(&self, x: Mat, out: &mut [f32]) {
        for (r, out) in out.chunks_exact_mut(x.cols).enumerate() {
            self.model.normalisation.undo(self.block.row(x, r), out);
        }
    }
}

fn check_length(name: &str, len: usize, expected: usize) -> Result<()> {
    if len != expected {
        return Err(Error::invalid(format!("{name} has room for {len} numbers, but must have room for {expected}")));
    }
    Ok(())
}
