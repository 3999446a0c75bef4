//! Rows in and out of a worker's workspace.

use super::block::{CpuBlock, CpuNoise};
use super::crew::{Shared, in_parts};
use crate::device::rows::{Constants, PathSteps, RowSeed, Rows};
use crate::device::{Mat, Workspace};
use crate::formulas::{Axes, Conjugate, units};
use crate::rng::{Sequence, Stream};
use std::ops::Range;
use std::slice;

/// What a number takes on its way between units, in numbers that are copied.
const COST: usize = 4;

impl CpuBlock<f32> {
    /// Calls `write(columns, numbers)` for parts of the first `count` numbers of a row, which threads share.
    fn write_row(
        &mut self,
        mat: Mat,
        row: usize,
        (count, cost): (usize, usize),
        write: impl Fn(Range<usize>, &mut [f32]) + Sync,
    ) {
        let start = Shared(self.row_mut(mat, row)[..count].as_mut_ptr());
        in_parts(self.crew.as_deref(), count, Mat::PART, cost, |columns| {
            // SAFETY: the row has these numbers, and no other part has them.
            let numbers = unsafe { slice::from_raw_parts_mut(start.get().add(columns.start), columns.len()) };
            write(columns, numbers);
        });
    }
}

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

    fn import(&mut self, constants: &Constants, from: &[f32], to: Mat) {
        let Constants { shift, scale, .. } = constants;
        for (r, x) in from.chunks_exact(shift.len()).enumerate() {
            for ((to, &x), shift) in self.row_mut(to, r).iter_mut().zip(x).zip(shift.iter()) {
                *to = units::normalised(f64::from(x), *shift, *scale) as f32;
            }
        }
    }

    fn import_seen(
        &mut self,
        constants: &Constants,
        from: &[f32],
        repeat: usize,
        time: f64,
        to: Mat,
        value: Option<f32>,
    ) {
        let Constants { shift, scale, rotation, units, .. } = constants;
        let d = shift.len();
        for (source, x) in from.chunks_exact(d).take(to.rows / repeat).enumerate() {
            let shifted = |i: usize| f64::from(x[i]) - shift[i];
            let cost = if rotation.is_some() { d } else { COST };
            self.write_row(to, source * repeat, (d, cost), |columns, to| {
                for ((j, to), axis) in columns.clone().zip(to).zip(&units[columns]) {
                    let place = match rotation {
                        Some(rotation) => units::along(rotation.axis(j), shifted),
                        None => shifted(j),
                    };
                    *to = axis.seen(place / scale, time);
                }
            });
            if let Some(value) = value {
                self.row_mut(to, source * repeat)[d] = value;
            }
            for r in 1..repeat {
                let (other, first) = self.two_rows(to, source * repeat + r, to, source * repeat);
                other[..d].copy_from_slice(&first[..d]);
                if let Some(value) = value {
                    other[d] = value;
                }
            }
        }
    }

    fn turn_back(&mut self, constants: &Constants, x: Mat, to: Mat) {
        let Constants { rotation, units, .. } = constants;
        for r in 0..x.rows {
            let (to, x) = self.two_rows(to, r, x, r);
            match rotation {
                None => to.iter_mut().zip(x).zip(units).for_each(|((to, x), axis)| *to = *x * axis.unit as f32),
                Some(rotation) => {
                    to.fill(0.0);
                    for ((j, x), axis) in x.iter().take(units.len()).enumerate().zip(units) {
                        let part = *x * axis.unit as f32;
                        to.iter_mut().zip(rotation.axis(j)).for_each(|(to, along)| *to += part * along);
                    }
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

    fn export(&mut self, constants: &Constants, x: Mat, direction: bool, to: &mut [f32]) {
        let Constants { shift, scale, .. } = constants;
        for (r, out) in to.chunks_exact_mut(x.cols).enumerate() {
            let (x, out) = (self.row(x, r), Shared(out.as_mut_ptr()));
            in_parts(self.crew.as_deref(), x.len(), Mat::PART, COST, |columns| {
                // SAFETY: a row of the output has as many numbers, and no other part has these.
                let out = unsafe { slice::from_raw_parts_mut(out.get().add(columns.start), columns.len()) };
                for ((out, &x), shift) in out.iter_mut().zip(&x[columns.clone()]).zip(&shift[columns]) {
                    *out = units::in_data_units(x, if direction { 0.0 } else { *shift }, *scale);
                }
            });
        }
    }

    fn add_components_mean(&mut self, outputs: Mat, raw: usize, axes: &Axes<Vec<f32>>, to: Mat) {
        self.components_mean(outputs, raw, axes, to);
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

    fn add_mean(&mut self, x0: Mat, sum: Mat, count: usize) {
        for r in 0..x0.rows {
            let (x, sum) = self.two_rows(x0, r, sum, r);
            x.iter_mut().zip(sum).for_each(|(x, sum)| *x += *sum / count as f32);
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

    fn drift(&mut self, constants: &Constants, gradient: Mat, states: Mat, time: f64, to: Mat) {
        let Constants { units, cost, .. } = constants;
        for r in 0..to.rows {
            for (j, axis) in units.iter().enumerate() {
                let (seen, slope) = (self.row(states, r)[j], self.row(gradient, r)[j]);
                self.row_mut(to, r)[j] = axis.drift(seen, slope, time, *cost);
            }
        }
    }

    fn export_ratio(&mut self, axes: &Axes<Vec<f32>>, conjugate: &Conjugate, states: Mat, v: Mat, to: &mut [f32]) {
        for (r, out) in to.iter_mut().enumerate() {
            let x = self.row(states, r);
            let known = axes.known(&x[..states.cols - 1]);
            *out = conjugate.evaluate(f64::from(self.row(v, r)[0]) + known).1 as f32;
        }
    }
}
