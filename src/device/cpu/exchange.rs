//! Takes what networks of the host's gave into a worker's workspace, and results out of it.

use super::block::{CpuBlock, CpuNoise};
use super::measure::Measure;
use super::simd::Real;
use crate::device::exchange::{BatchSeed, Exchange};
use crate::device::{Mat, Workspace, draw};
use crate::rng::Stream;

const NO_NOISE: CpuNoise = CpuNoise { xi: Mat::NONE, eta: Mat::NONE, component: Mat::NONE };

/// Makes matrices for the noise of rows.
fn room_for_noise<D: Workspace>(device: &mut D, rows: usize, d: usize, each: usize, chooses: bool) -> CpuNoise {
    let [xi, eta] = [0; 2].map(|_| device.scratch(rows, d));
    CpuNoise { xi, eta, component: if chooses { device.scratch(rows / each, 1) } else { Mat::NONE } }
}

/// Writes numbers times a factor.
fn scaled<T: Real>(from: &[T], factor: f64, to: &mut [T]) {
    if factor == 1.0 {
        to.copy_from_slice(from);
    } else {
        from.iter().zip(to).for_each(|(x, to)| *to = T::of(x.wide() * factor));
    }
}

impl<T: Real> Exchange for CpuBlock<T> {
    type From<'a> = &'a [T];
    type Into<'a> = &'a mut [T];

    fn take(&mut self, from: &[T], factor: f64, repeat: usize, to: Mat) {
        for r in 0..to.rows {
            scaled(&from[r / repeat * to.cols..][..to.cols], factor, self.row_mut(to, r));
        }
    }

    fn rescale(&mut self, mat: Mat, factor: f64) {
        for r in 0..mat.rows {
            self.row_mut(mat, r).iter_mut().for_each(|x| *x = T::of(x.wide() * factor));
        }
    }

    fn give(&mut self, from: Mat, factor: f64, to: &mut [T]) {
        for (r, to) in to.chunks_exact_mut(from.cols).enumerate() {
            scaled(self.row(from, r), factor, to);
        }
    }

    fn noise(&mut self, seed: BatchSeed, rows: usize, d: usize, each: usize, chooses: bool) -> CpuNoise {
        let noise = room_for_noise(self, rows, d, each, chooses);
        let BatchSeed { seed, half, step, first_source } = seed;
        let first = first_source.wrapping_mul(each as u64).wrapping_mul(d as u64);
        for (stream, to) in [(Stream::Endpoint, noise.xi), (Stream::Bridge, noise.eta)] {
            self.draw_normals(&draw::sequence(seed, half, step, stream), first, to);
        }
        self.draw_uniforms(&draw::sequence(seed, half, step, Stream::Component), first_source, noise.component);
        noise
    }

    fn no_noise(&self) -> CpuNoise {
        NO_NOISE
    }
}

impl Exchange for Measure {
    type From<'a> = ();
    type Into<'a> = ();

    fn take(&mut self, (): (), _: f64, _: usize, _: Mat) {}
    fn rescale(&mut self, _: Mat, _: f64) {}
    fn give(&mut self, _: Mat, _: f64, (): ()) {}

    fn noise(&mut self, _: BatchSeed, rows: usize, d: usize, each: usize, chooses: bool) -> CpuNoise {
        self.draws(rows.saturating_mul(d));
        room_for_noise(self, rows, d, each, chooses)
    }

    fn no_noise(&self) -> CpuNoise {
        NO_NOISE
    }
}
