//! The rows of a half step: samples, noise and bridge times, each a function of seed, step and place in the batch.

use super::cpu_engine::HalfStep;
use super::engine::Half;
use super::plan::Plan;
use super::side::Side;
use crate::device::cpu::{CpuNoise, Written};
use crate::device::{Batch, Mat};
use crate::euot::conditional::Conditional;
use crate::euot::generator_step::{TIME_MAX_DETERMINISTIC, TIME_MIN};
use crate::euot::value_step::TIME_MAX;
use crate::rng::{Sequence, Stream, unit};

/// Draws the rows of a half step.
pub(super) struct Draw<'a> {
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
    pub fn new(plan: &'a Plan, step: &'a HalfStep<'a>) -> Self {
        let number = 2 * step.step + u64::from(step.half == Half::Generator);
        Self { plan, step, number, time_start: Sequence::new(plan.config.seed, number, Stream::Time).word(0) }
    }

    fn sequence(&self, stream: Stream) -> Sequence {
        Sequence::new(self.plan.config.seed, self.number, stream)
    }

    fn time(&self, row: usize) -> f32 {
        let index = row / self.plan.conditional.components;
        let (low, high, index) = match self.step.half {
            Half::Value => (0.0, TIME_MAX, row),
            Half::Generator if self.plan.head.deterministic => (TIME_MIN, TIME_MAX_DETERMINISTIC, index),
            Half::Generator => (TIME_MIN, 1.0, index),
        };
        let word = self.time_start.wrapping_add(GOLDEN.wrapping_mul(index as u32));
        let u = unit(word);
        low as f32 + (high - low) as f32 * u
    }

    /// Inputs of the rows of source samples `from..to` of the batch, and what draws their components.
    pub fn sources<W: Written>(&self, block: &mut W, from: usize, to: usize) -> Sources {
        let Plan { dimension, conditional: Conditional { components, latent }, .. } = *self.plan;
        let input = block.scratch((to - from) * components, dimension + latent);
        let index = self.sequence(Stream::SourceIndex);
        block.write((to - from) * components * latent, |block| {
            for i in from..to {
                let sample = sample(self.step.source, &index, i, dimension);
                for r in (i - from) * components..(i - from + 1) * components {
                    block.row_mut(input, r)[..dimension].copy_from_slice(sample);
                }
            }
            if latent > 0 {
                let z = input.columns(dimension, dimension + latent);
                block.draw_normals(&self.sequence(Stream::Latent), (from * components * latent) as u64, z);
            }
        });
        let mut component = Mat::NONE;
        if self.step.half == Half::Value && latent == 0 {
            component = block.scratch(to - from, 1);
            block.write(0, |block| block.draw_uniforms(&self.sequence(Stream::Component), from as u64, component));
        }
        Sources { first: from * components, input, noise: CpuNoise { xi: Mat::NONE, eta: Mat::NONE, component } }
    }

    /// What rows `from..to` of them have beside these.
    pub fn rows<W: Written>(&self, block: &mut W, sources: &Sources, from: usize, to: usize) -> Batch<CpuNoise> {
        let dimension = self.plan.dimension;
        let (first, rows) = (sources.first + from, to - from);
        let ends = (self.step.half == Half::Value).then(|| {
            let ends = block.scratch(2 * rows, dimension + 1);
            let index = self.sequence(Stream::TargetIndex);
            block.write(0, |block| {
                for r in 0..rows {
                    let row = block.row_mut(ends, rows + r);
                    row[..dimension].copy_from_slice(sample(self.step.target, &index, first + r, dimension));
                    row[dimension] = 1.0;
                }
            });
            ends
        });
        let time = block.scratch(rows, 1);
        block.write(0, |block| {
            for r in 0..rows {
                block.row_mut(time, r)[0] = self.time(first + r);
            }
        });
        let mut normals = |stream| {
            let mat = block.scratch(rows, dimension);
            let sequence = self.sequence(stream);
            block.write(rows * dimension, |block| block.draw_normals(&sequence, (first * dimension) as u64, mat));
            mat
        };
        let noise = CpuNoise { xi: normals(Stream::Endpoint), eta: normals(Stream::Bridge), component: Mat::NONE };
        Batch { input: sources.input.rows(from, to), ends, noise, time }
    }
}

/// The source samples of a stretch of the batch.
pub(super) struct Sources {
    /// Number of the first row in the batch.
    first: usize,
    /// As in [`Batch`].
    pub input: Mat,
    /// For drawing components alone.
    pub noise: CpuNoise,
}

fn sample<'a>(side: Side<'a>, index: &Sequence, number: usize, dimension: usize) -> &'a [f32] {
    match side {
        Side::Array(array) => {
            let number = 2 * number as u64;
            let word = index.block(number / 4);
            let place = (number % 4) as usize;
            array.row(array.draw(word[place], word[place + 1]) as usize)
        }
        Side::Resident => unreachable!("the processor has no samples in device memory"),
        Side::Batch(rows) => &rows[number * dimension..(number + 1) * dimension],
    }
}
