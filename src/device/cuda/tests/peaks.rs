//! The part of V that peaks have, and their plan, against the CPU device in 64 bits.

use super::guarded::{Buffer, Matrix};
use super::host::{available, launch_with};
use super::support::{
    Output, alike, axes, close_above, columns, in_two_orders, normals, own_axes, ticks, turned_counts,
    turned_dimensions, uniforms,
};
use crate::device::cpu::CpuBlock;
use crate::device::cpu::simd::Isa;
use crate::device::cuda::kernels::{Kernel, PeaksAdd, PeaksPlan};
use crate::device::{Mat, Method, PeaksTerm, Workspace};
use crate::formulas::axes::Part as AxisPart;
use crate::formulas::peaks::{self, MOST_PEAKS, Part, Peaks, Whole};
use crate::formulas::{Axes, Tick};
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Problem {
    rows: usize,
    d: usize,
    count: usize,
    gap: usize,
    sigma: f64,
    /// The peaks have axes of their own.
    turned: bool,
    blocks: u32,
    seed: u64,
}

/// What is wanted of V.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wanted {
    Value,
    Gradient,
    Both,
}

/// The times of the rows.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Times {
    Each,
    /// One that all have.
    One(f32),
    /// None is given.
    End,
}

/// How large the terms are of which a row's exponents are sums, and the steepest slope of a peak that counts.
struct Sizes {
    exponent: f64,
    slope: f64,
}

fn problems() -> impl Strategy<Value = Problem> {
    let d = prop_oneof![1usize..=20, 1usize..=300];
    (1usize..40, d, 1usize..=MOST_PEAKS, 0usize..4, 0.05f64..2.0, 1u32..4, any::<u64>()).prop_map(
        |(rows, d, count, gap, sigma, blocks, seed)| Problem {
            rows,
            d,
            count,
            gap,
            sigma,
            turned: false,
            blocks,
            seed,
        },
    )
}

/// Of peaks with axes of their own.
fn turned_problems() -> impl Strategy<Value = Problem> {
    (problems(), turned_dimensions(), turned_counts()).prop_map(|(problem, d, count)| Problem {
        d,
        count,
        turned: true,
        ..problem
    })
}

/// A matrix of the CPU device.
fn upload(block: &mut CpuBlock<f64>, values: &[f32], cols: usize) -> Mat {
    let mat = block.scratch(values.len() / cols, cols);
    for (r, line) in values.chunks_exact(cols).enumerate() {
        block.row_mut(mat, r).iter_mut().zip(line).for_each(|(to, &x)| *to = x.into());
    }
    mat
}

fn download(block: &CpuBlock<f64>, mat: Mat) -> Vec<f32> {
    (0..mat.rows).flat_map(|r| block.row(mat, r).iter().map(|&x| x as f32).collect::<Vec<_>>()).collect()
}

fn place(matrix: &Matrix) -> (u64, u32) {
    (matrix.data.address() as u64, matrix.stride as u32)
}

impl Problem {
    /// Peaks of which several count at a state: some are flat, tilted or open along some axes.
    fn axes(&self) -> Axes<Vec<f32>> {
        let &Self { d, count, seed, .. } = self;
        let axes = if self.turned { alike(seed, d, self.sigma) } else { axes(seed, d, self.sigma) };
        let sigma = axes.part(AxisPart::Sigma);
        let [kind, strength] = [30, 31].map(|s| uniforms(seed ^ s, count * d, 0.0, 1.0));
        let [centres, tilts] = [32, 33].map(|s| normals(seed ^ s, count * d));
        // The exponents do not grow with the dimension.
        let each = 1.0 / (1.0 + 0.1 * d as f64);
        let precisions = (0..count * d).map(|at| {
            let variance = f64::from(sigma[at % d]).powi(2);
            let strength = f64::from(strength[at]);
            match (5.0 * kind[at]) as usize {
                0 => 0.0,
                1 => -0.8 * each * strength / variance,
                _ => 8.0 * each * strength / variance,
            }
        });
        let tilts = (0..count * d).map(|at| {
            let straight = if kind[at] > 0.5 { 0.0 } else { f64::from(tilts[at]) };
            straight * each.sqrt() / f64::from(sigma[at % d])
        });
        let peaks = Peaks {
            weights: normals(seed ^ 34, count).iter().map(|&x| x.into()).collect::<Vec<f64>>().into(),
            precisions: precisions.collect::<Vec<_>>().into(),
            centres: (0..count * d).map(|at| f64::from(sigma[at % d] * centres[at])).collect::<Vec<_>>().into(),
            tilts: tilts.collect::<Vec<_>>().into(),
            axes: self.turned.then(|| own_axes(seed, d, count)),
        };
        axes.with_peaks(&peaks).expect("memory")
    }

    /// States a few times the noise around 0.
    fn states(&self, axes: &Axes<Vec<f32>>) -> Vec<f32> {
        let sigma = &axes.part(AxisPart::Sigma)[..self.d];
        let states = normals(self.seed ^ 35, self.rows * self.d);
        states.iter().zip(sigma.iter().cycle()).map(|(x, sigma)| 1.5 * x * sigma).collect()
    }

    fn matrix(&self, values: &[f32], cols: usize) -> Matrix {
        Matrix::of(values, cols, cols + self.gap)
    }

    /// Compares with the CPU device; with `spoilt` a state holds a NaN.
    fn add(&self, wanted: Wanted, squares: usize, times_of: Times, spoilt: bool) {
        let &Self { rows, d, seed, .. } = self;
        let axes = self.axes();
        let mut x = self.states(&axes);
        if spoilt {
            x[rows / 2 * d + d / 2] = f32::NAN;
        }
        let times = match times_of {
            Times::Each => ticks(axes.clock, &uniforms(seed ^ 36, rows, 0.0, 1.0)),
            Times::One(time) => ticks(axes.clock, &[time]),
            Times::End => ticks(axes.clock, &[1.0]),
        };
        let each = times_of == Times::Each;
        let cols = d + squares;
        let (v, g) = (normals(seed ^ 37, rows), normals(seed ^ 38, rows * cols));
        let (with_v, with_g) = (wanted != Wanted::Gradient, wanted != Wanted::Value);

        let wide = axes.rounded::<f64>();
        let mut block = CpuBlock::<f64>::new(Isa::detect());
        let [xm, tm, vm, gm] = [(&x, d), (&times, 3), (&v, 1), (&g, cols)].map(|(x, cols)| upload(&mut block, x, cols));
        let at = if each { tm } else { Mat { rows, stride: 0, ..tm } };
        let time = (times_of != Times::End).then_some(at);
        let term = PeaksTerm { axes: &wide, time, x: xm, v: with_v.then_some(vm), g: with_g.then_some(gm) };
        block.peaks(&term);
        let (expected_v, expected_g) = (download(&block, vm), download(&block, gm));

        let (numbers, x_there) = (Buffer::of(&axes.numbers), self.matrix(&x, d));
        let times_there = self.matrix(&times, 3);
        let [found_v, found_g] = in_two_orders(seed, |order| {
            let (v, g) = (self.matrix(&v, 1), self.matrix(&g, cols));
            let ((time_at, stride), (x, x_stride)) = (place(&times_there), place(&x_there));
            let [(to_v, v_stride), (to_g, g_stride)] =
                [(&v, with_v), (&g, with_g)].map(|(mat, with)| if with { place(mat) } else { (0, 0) });
            let arguments = PeaksAdd {
                axes: numbers.address() as u64,
                noise: axes.noise as f32,
                peaks: self.count as u32,
                time: if times_of == Times::End { 0 } else { time_at },
                time_stride: if each { stride } else { 0 },
                x,
                x_stride,
                rows: rows as u32,
                d: d as u32,
                v: to_v,
                v_stride,
                g: to_g,
                g_stride,
            };
            let kernel = if self.turned { Kernel::PeaksAddTurned } else { Kernel::PeaksAdd };
            launch_with(kernel, [self.blocks, 1, 1], [64, 1, 1], order, &arguments);
            [Output::from(v), Output::from(g)]
        });
        let (found_v, found_g) = (found_v.values(), found_g.values());
        // What is not V's gradient stays as it was.
        assert_eq!(columns(&found_g, cols, d, cols), columns(&g, cols, d, cols));
        if spoilt {
            let r = rows / 2;
            assert!(!with_v || found_v[r].is_nan());
            assert!(!with_g || found_g[r * cols..][..d].iter().all(|x| x.is_nan()));
            return;
        }
        let sizes: Vec<_> = (0..rows)
            .map(|r| {
                let tick = Tick::of(&times[if each { 3 * r } else { 0 }..]);
                self.sizes(&wide, &x[r * d..][..d], tick.against.into())
            })
            .collect();
        let noise = axes.noise;
        close_above("v", &found_v, &expected_v, 1, |r| (noise * sizes[r].exponent) as f32);
        close_above("g", &found_g, &expected_g, cols, |r| (noise * sizes[r].exponent * sizes[r].slope) as f32);
    }

    /// The place of x along axis j of a peak.
    fn place(&self, axes: &Axes<Vec<f64>>, x: &[f32], peak: usize, j: usize) -> f64 {
        if !self.turned {
            return x[j].into();
        }
        let at = peaks::numbers(self.count, self.d) + peak * peaks::turned_numbers(self.d) + j;
        let own = axes.peak_numbers()[at..].iter().step_by(peaks::width(self.d));
        x.iter().zip(own).map(|(&x, own)| f64::from(x) * own).sum()
    }

    /// At these odds against arrival. An error of the exponents is a relative one of the shares.
    fn sizes(&self, axes: &Axes<Vec<f64>>, x: &[f32], against: f64) -> Sizes {
        let (numbers, width) = (axes.peak_numbers(), peaks::width(self.count));
        let weights = peaks::whole(numbers, width, self.d, Whole::Weight);
        let of_peak = |k: usize| {
            let (mut log, mut size, mut steepest) = (weights[k], 1.0 + weights[k].abs(), 0.0f64);
            for j in 0..self.d {
                let [p, centre, h] =
                    [Part::Precision, Part::Centre, Part::Tilt].map(|part| peaks::part(numbers, width, j, part)[k]);
                let noise = axes.part(AxisPart::Sigma)[j].powi(2) * against / (axes.part(AxisPart::Rate)[j] + against);
                let (z, factor) = (self.place(axes, x, k, j) - centre, 1.0 + p * noise);
                let terms = [p * z * z, -2.0 * h * z, -noise * h * h].map(|term| term / factor);
                log -= 0.5 * (terms.iter().sum::<f64>() + factor.ln());
                size += 0.5 * (terms.iter().map(|term| term.abs()).sum::<f64>() / factor.min(1.0) + factor.ln().abs());
                steepest = steepest.max(((p * z).abs() + h.abs()) / factor);
            }
            (log, size, steepest)
        };
        let all: Vec<_> = (0..self.count).map(of_peak).collect();
        let top = all.iter().fold(f64::NEG_INFINITY, |top, of| top.max(of.0));
        let counting = all.iter().filter(|of| of.0 > top - 40.0);
        counting.fold(Sizes { exponent: 1.0, slope: 0.0 }, |sizes, of| Sizes {
            exponent: sizes.exponent.max(of.1),
            slope: sizes.slope.max(of.2),
        })
    }

    /// Compares the plan for a generator of so many components.
    fn plan(&self, components: usize) {
        let &Self { rows, d, seed, .. } = self;
        let axes = self.axes();
        let (x0, cols) = (self.states(&axes), components * (2 * d + 1));
        let outputs = normals(seed ^ 39, rows * cols);
        let wide = axes.rounded::<f64>();
        let mut block = CpuBlock::<f64>::new(Isa::detect());
        let [from, to] = [(&x0, d), (&outputs, cols)].map(|(x, cols)| upload(&mut block, x, cols));
        block.peaks_plan(&wide, from, to);
        let expected = download(&block, to);

        let (numbers, x0_there) = (Buffer::of(&axes.numbers), self.matrix(&x0, d));
        let [found] = in_two_orders(seed, |order| {
            let to = self.matrix(&outputs, cols);
            let ((x0, x0_stride), (outputs, outputs_stride)) = (place(&x0_there), place(&to));
            let arguments = PeaksPlan {
                axes: numbers.address() as u64,
                peaks: self.count as u32,
                x0,
                x0_stride,
                sources: rows as u32,
                d: d as u32,
                components: components as u32,
                outputs,
                outputs_stride,
            };
            let kernel = if self.turned { Kernel::PeaksPlanTurned } else { Kernel::PeaksPlan };
            launch_with(kernel, [self.blocks, 1, 1], [64, 1, 1], order, &arguments);
            [to.into()]
        });
        let found = found.values();
        let raw = 2 * d * components;
        let parts = [(0, raw), (raw, cols)].map(|(from, to)| [&found, &expected].map(|x| columns(x, cols, from, to)));
        let [[found, expected], [found_logits, expected_logits]] = parts;
        close_above("raw", &found, &expected, raw, |_| 1.0);
        // All of an axis's noise is left at the start.
        let sizes: Vec<_> = x0.chunks_exact(d).map(|x| self.sizes(&wide, x, 1e30).exponent as f32).collect();
        close_above("logits", &found_logits, &expected_logits, components, |r| sizes[r]);
    }
}

proptest! {
    #![proptest_config(super::support::cases(16))]

    #[test]
    fn added(
        problem in problems(),
        wanted in prop_oneof![Just(Wanted::Value), Just(Wanted::Gradient), Just(Wanted::Both)],
        squares in 0usize..5,
    ) {
        if available() {
            problem.add(wanted, squares, Times::Each, false);
        }
    }

    #[test]
    fn added_at_one_time(
        problem in problems(),
        wanted in prop_oneof![Just(Wanted::Value), Just(Wanted::Gradient)],
        times in prop_oneof![
            Just(Times::End), Just(Times::One(0.0)), Just(Times::One(1.0)), (0.0f32..1.0).prop_map(Times::One),
        ],
    ) {
        if available() {
            problem.add(wanted, 1, times, false);
        }
    }

    #[test]
    fn a_nan_comes_through(problem in problems()) {
        if available() {
            problem.add(Wanted::Both, 0, Times::Each, true);
        }
    }

    #[test]
    fn planned(problem in problems(), components in 1usize..80) {
        if available() {
            problem.plan(components);
        }
    }
    #[test]
    fn added_along_own_axes(
        problem in turned_problems(),
        wanted in prop_oneof![Just(Wanted::Value), Just(Wanted::Gradient), Just(Wanted::Both)],
        squares in 0usize..5,
        times in prop_oneof![3 => Just(Times::Each), 1 => Just(Times::End), 1 => (0.0f32..1.0).prop_map(Times::One)],
    ) {
        if available() {
            problem.add(wanted, squares, times, false);
        }
    }

    #[test]
    fn a_nan_comes_through_along_own_axes(problem in turned_problems()) {
        if available() {
            problem.add(Wanted::Both, 0, Times::Each, true);
        }
    }

    #[test]
    fn planned_along_own_axes(problem in turned_problems(), components in 1usize..80) {
        if available() {
            problem.plan(components);
        }
    }
}
