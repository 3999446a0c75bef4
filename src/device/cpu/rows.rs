//! Rows in and out of a worker's workspace.

use super::block::{CpuBlock, CpuNoise};
use crate::device::rows::{Constants, DriftFactors, PathSteps, RowSeed, Rows, Units};
use crate::device::{Mat, Workspace};
use crate::formulas::{Conjugate, units};
use crate::rng::{Sequence, Stream};

impl Constants {
    /// Writes a normalised row in data units.
    fn undo(&self, normalised: &[f32], data: &mut [f32]) {
        for ((&x, out), shift) in normalised.iter().zip(data).zip(self.shift.iter()) {
            *out = units::in_data_units(x, *shift, self.scale);
        }
    }
}

impl Rows for CpuBlock<f32> {
    type In<'a> = &'a [f32];
    type Out<'a> = &'a mut [f32];
    type Constants = Constants;

    fn bring<'a>(&mut self, numbers: &'a [f32], _: usize) -> &'a [f32] {
        numbers
    }

    fn import(
        &mut self,
        constants: &Constants,
        from: &[f32],
        repeat: usize,
        to_units: Units,
        to: Mat,
        value: Option<f32>,
    ) {
        let Constants { shift, scale, pull, .. } = constants;
        let d = shift.len();
        for (source, x) in from.chunks_exact(d).take(to.rows / repeat).enumerate() {
            for r in source * repeat..(source + 1) * repeat {
                let row = self.row_mut(to, r);
                for (((to, &x), shift), pull) in row.iter_mut().zip(x).zip(shift.iter()).zip(pull.iter()) {
                    *to = units::normalised(f64::from(x), shift - scale * (to_units.pull * pull), to_units.scale);
                }
                if let Some(value) = value {
                    row[d] = value;
                }
            }
        }
    }

    fn row_normals(&mut self, seed: RowSeed, stream: Stream, to: Mat) {
        self.draw_normals(&Sequence::new(seed.seed, 0, stream), seed.first_element(to.cols), to);
    }

    fn endpoint_noise(&mut self, seed: RowSeed, rows: usize, d: usize, chooses: bool) -> CpuNoise {
        let xi = self.scratch(rows, d);
        self.row_normals(seed, Stream::Endpoint, xi);
        let mut component = Mat::NONE;
        if chooses {
            component = self.scratch(rows, 1);
            self.draw_uniforms(&Sequence::new(seed.seed, 0, Stream::Component), seed.first_row, component);
        }
        CpuNoise { xi, eta: xi, component }
    }

    fn export(&mut self, constants: &Constants, x: Mat, to: &mut [f32]) {
        for (r, out) in to.chunks_exact_mut(x.cols).enumerate() {
            constants.undo(self.row(x, r), out);
        }
    }

    fn add_components_mean(&mut self, outputs: Mat, raw: usize, to: Mat) {
        self.components_mean(outputs, raw, to);
    }

    fn accumulate(&mut self, raw: Mat, sum: Mat, start: bool) {
        let count = raw.rows / sum.rows;
        if start {
            self.fill(sum, 0.0);
        }
        for r in 0..raw.rows {
            let (sum, raw) = self.two_rows(sum, r / count, raw, r);
            for (sum, residual) in sum.iter_mut().zip(raw) {
                *sum += residual;
            }
        }
    }

    fn export_mean(&mut self, constants: &Constants, x0: Mat, sum: Mat, count: usize, to: &mut [f32]) {
        for (r, out) in to.chunks_exact_mut(x0.cols).enumerate() {
            let (x, sum) = self.two_rows(x0, r, sum, r);
            for (x, sum) in x.iter_mut().zip(sum) {
                *x += sum / count as f32;
            }
            constants.undo(x, out);
        }
    }

    fn export_paths(
        &mut self,
        constants: &Constants,
        x0: Mat,
        x1: Mat,
        steps: &PathSteps<&[f32]>,
        seed: RowSeed,
        to: &mut [f32],
    ) {
        let (d, line) = (x0.cols, steps.count * x0.cols);
        let sequence = Sequence::new(seed.seed, 0, Stream::Bridge);
        for (r, path) in to.chunks_exact_mut(line).enumerate() {
            self.with_normals(&sequence, seed.skip(r).first_element(line), line, |block, noise| {
                let (x, end) = block.two_rows(x0, r, x1, r);
                let points = path.chunks_exact_mut(d).zip(noise.chunks_exact(d));
                for ((&along, &spread), (out, noise)) in steps.along.iter().zip(steps.spread).zip(points) {
                    match (along, spread) {
                        (1.0, 0.0) => x.copy_from_slice(end),
                        // The same time once more.
                        (0.0, 0.0) => {}
                        _ => {
                            for ((x, end), noise) in x.iter_mut().zip(end).zip(noise) {
                                *x += along * (end - *x) + spread * noise;
                            }
                        }
                    }
                    constants.undo(x, out);
                }
            });
        }
    }

    fn export_drift(
        &mut self,
        constants: &Constants,
        gradient: Mat,
        states: &[f32],
        factors: &DriftFactors,
        to: &mut [f32],
    ) {
        let Constants { shift, pull, .. } = constants;
        let d = shift.len();
        for (r, (x, out)) in states.chunks_exact(d).zip(to.chunks_exact_mut(d)).enumerate() {
            let known = x.iter().zip(shift.iter()).zip(pull.iter());
            for ((((&x, shift), pull), out), &g) in known.zip(out).zip(self.row(gradient, r)) {
                let known = factors.away * (f64::from(x) - shift) + factors.pull * pull;
                *out = (factors.gradient * f64::from(g) + known) as f32;
            }
        }
    }

    fn export_ratio(&mut self, constants: &Constants, conjugate: &Conjugate, states: Mat, v: Mat, to: &mut [f32]) {
        let d = constants.shift.len();
        for (r, out) in to.iter_mut().enumerate() {
            let known = constants.quadratic.at(&self.row(states, r)[..d]);
            *out = conjugate.evaluate(f64::from(self.row(v, r)[0]) + known).1 as f32;
        }
    }
}
