//! The generator's loss and gradient, each kernel on every K it is for.

use super::guarded::{Buffer, Matrix};
use super::host::{arguments_of, available, launch};
use super::support::{
    Output, TOLERANCE, axes, close_above, close_sum, cpu, download, in_two_orders, normals, ticks, uniforms, upload,
};
use crate::device::cpu::{CpuBlock, CpuNoise};
use crate::device::{Bridge, Layers, Mat, Method, MixtureLoss, Points, Sums, Weighted, Workspace};
use crate::formulas::axes::Part;
use crate::formulas::head::{extrapolation, half_of};
use crate::formulas::{Axes, Head};
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Problem {
    groups: usize,
    components: usize,
    d: usize,
    gap: usize,
    sigma: f64,
    head: Head,
    /// Components have probabilities of their own.
    weighted: bool,
    /// V sees squares.
    squared: bool,
    seed: u64,
}

fn problems(
    components: impl Strategy<Value = usize>,
    d: impl Strategy<Value = usize>,
) -> impl Strategy<Value = Problem> {
    // With less noise the weights of components are exponentials of numbers so large that 32 bits leave them few digits.
    (1usize..4, components, d, 1usize..4, 0.2f64..2.0, 0u32..3, any::<u64>()).prop_map(
        |(groups, components, d, gap, sigma, kind, seed)| {
            let head = Head { deterministic: kind == 1 };
            Problem { groups, components, d, gap, sigma, head, weighted: kind == 2, squared: seed & 4 == 0, seed }
        },
    )
}

/// A copy of `x` with each number moved by about one rounding, up or down.
pub fn one_rounding_away(block: &mut CpuBlock<f32>, seed: u64, x: Mat) -> Mat {
    let moved = block.scratch(x.rows, x.cols);
    for (r, signs) in normals(seed, x.rows * x.cols).chunks_exact(x.cols).enumerate() {
        let line: Vec<f32> =
            block.row(x, r).iter().zip(signs).map(|(x, by)| x * f32::EPSILON.mul_add(by.signum(), 1.0)).collect();
        block.row_mut(moved, r).copy_from_slice(&line);
    }
    moved
}

/// For each row, how large the terms of its numbers are where `terms` is that without rounding: a share of a component
/// is an exponential of a difference of large numbers, which one rounding of the samples moves from `expected` to
/// `moved`. Two programs that round differently lie a few such moves apart.
pub fn beside_rounding(terms: f64, expected: &[f32], moved: &[f32], cols: usize) -> Vec<f32> {
    let rows = expected.chunks_exact(cols).zip(moved.chunks_exact(cols));
    rows.map(|(a, b)| {
        let most = a.iter().zip(b).fold(0.0, |most: f32, (a, b)| most.max((a - b).abs()));
        terms as f32 + 4.0 * most / TOLERANCE
    })
    .collect()
}

impl Problem {
    /// Compares the kernels for this K with the CPU device; with `spoilt` x_t holds a NaN.
    fn check(&self, spoilt: bool) {
        let &Self { groups, components, d, gap, sigma, head, weighted, squared, seed } = self;
        // All axes of a deterministic generator have one time.
        let axes = if head.deterministic { Axes::even(d, sigma) } else { axes(seed, d, sigma) };
        let squares = if squared { d } else { 0 };
        let rows = groups * components;
        let outputs = if head.deterministic { d } else { 2 * d };
        let of_group = |values: Vec<f32>, cols: usize| -> Vec<f32> {
            values.chunks_exact(cols).flat_map(|line| line.repeat(components)).collect()
        };
        let x0 = of_group(normals(seed, groups * d), d);
        // The components of a deterministic generator are as sharp as the bridge is narrow.
        let last = if head.deterministic { 0.995 } else { 1.0 };
        let time = of_group(ticks(axes.clock, &uniforms(seed ^ 1, groups, 0.2, last)), 3);
        let raw = normals(seed ^ 2, rows * outputs);
        let [xi, eta] = [3, 4].map(|s| normals(seed ^ s, rows * d));
        let g = normals(seed ^ 5, rows * (d + 1 + squares));
        let v = normals(seed ^ 6, rows);
        let scale = 1.0 / rows as f64;

        let mut block = cpu();
        let bridge = Bridge {
            x0: upload(&mut block, &x0, d),
            raw: upload(&mut block, &raw, outputs),
            noise: CpuNoise { xi: upload(&mut block, &xi, d), eta: upload(&mut block, &eta, d), component: Mat::NONE },
            time: upload(&mut block, &time, 3),
            which: None,
        };
        let state = block.scratch(rows, d + 1);
        block.bridge(&head, &axes, &bridge, &Points { state: Some(state), ..Points::default() });
        let xt = state.columns(0, d);
        if spoilt {
            block.row_mut(xt, rows / 2)[d / 2] = f32::NAN;
        }
        let (vm, mut gm) = (upload(&mut block, &v, 1), upload(&mut block, &g, d + 1 + squares));
        if squared {
            gm = block.squares_gradient(state, gm);
        }
        let delta = block.scratch(rows, outputs);
        let mut log_weights: Vec<f32> = normals(seed ^ 7, rows).iter().map(|x| 0.5 * x).collect();
        if seed % 3 == 0 && components > 1 {
            // Components that have died out.
            log_weights.chunks_exact_mut(components).for_each(|group| group[0] = -1e3);
        }
        let by = Weighted { log: upload(&mut block, &log_weights, 1), loss: block.scratch(rows, 1) };
        block.fill(by.loss, 0.0);
        let mut sums = Sums::default();
        let of = weighted.then_some(by);
        let loss = MixtureLoss {
            head: &head,
            axes: &axes,
            bridge: &bridge,
            xt,
            v: vm,
            g: gm,
            components,
            weighted: of,
            delta,
            scale,
        };
        block.mixture(&loss, &mut sums);
        let (expected, expected_losses) = (download(&block, delta), download(&block, by.loss));
        let moved = one_rounding_away(&mut block, seed ^ 8, xt);
        let (there, there_losses) = (block.scratch(rows, outputs), block.scratch(rows, 1));
        block.fill(there_losses, 0.0);
        let of_moved = weighted.then_some(Weighted { log: by.log, loss: there_losses });
        let at_moved = MixtureLoss { xt: moved, delta: there, weighted: of_moved, ..loss };
        block.mixture(&at_moved, &mut Sums::default());
        let (there, there_losses) = (download(&block, there), download(&block, there_losses));

        let [x0, xt] = [x0, download(&block, xt)].map(|x| Matrix::of(&x, d, d + gap));
        let g = Matrix::of(&g, d + 1 + squares, d + 1 + squares + gap);
        let (raw, v) = (Matrix::of(&raw, outputs, outputs + gap), Matrix::of(&v, 1, gap));
        let (time, log_weights) = (Matrix::of(&time, 3, 2 + gap), Buffer::of(&log_weights));
        let numbers = Buffer::of(&axes.numbers);
        let run = |kernel: &str, grid: [u32; 3], order: u64, [delta, row_losses]: [&Matrix; 2], rest: &[u64]| {
            let [log_weight, row_losses] =
                if weighted { [log_weights.address() as u64, row_losses.data.address() as u64] } else { [0; 2] };
            let mut arguments = Vec::from(arguments_of![
                &x0.data,
                x0.stride as u32,
                &raw.data,
                raw.stride as u32,
                &time.data,
                time.stride as u32,
                &xt.data,
                xt.stride as u32,
                &v.data,
                v.stride as u32,
                &g.data,
                g.stride as u32,
                squares as u32,
                components as u32,
                d as u32,
                &numbers,
                axes.noise as f32,
                u32::from(head.deterministic),
                scale as f32,
                log_weight,
                row_losses,
                &delta.data,
                delta.stride as u32,
            ]);
            arguments.extend(rest.iter().map(|&address| address.into()));
            launch(kernel, grid, [256, 1, 1], order, &mut arguments);
        };
        let mut kernels = Vec::new();
        for (most, kernel) in [(16, "mixture_16"), (32, "mixture_32"), (64, "mixture_64")] {
            if components <= most {
                kernels.push(kernel);
            }
        }
        kernels.push("tiles");
        for kernel in kernels {
            let [delta, losses, row_losses]: [Output; 3] = in_two_orders(seed, |order| {
                let delta = Matrix::new(rows, outputs, outputs + gap);
                let row_losses = Matrix::of(&vec![0.0; rows], 1, 1);
                let out = [&delta, &row_losses];
                let tiles = components.div_ceil(64);
                let losses = Buffer::<f64>::new(if kernel == "tiles" { groups * tiles } else { groups });
                let to = losses.address() as u64;
                if kernel == "tiles" {
                    let density = Buffer::<[f32; 3]>::new(rows);
                    let by = density.address() as u64;
                    let grid = [tiles as u32, groups as u32, 1];
                    run("mixture_density", grid, order, out, &[by, to]);
                    run("mixture_gradient", grid, order, out, &[by]);
                } else {
                    run(kernel, [groups as u32, 1, 1], order, out, &[to]);
                }
                [delta.into(), losses.into(), row_losses.into()]
            });
            let most_weight = if weighted { 8.0 } else { 1.0 };
            if spoilt {
                assert!(losses.sum().is_nan(), "{kernel}");
            } else {
                let size = most_weight * rows as f64 * (1.0 + sigma * sigma * d as f64);
                close_sum(kernel, losses.sum(), sums.generator, size);
                // What g and the mixture, which has sigma^2 before it, add to an element: they may cancel each other,
                // and so may the two estimates of the mixture, each with a factor of its own. Forces are larger where
                // an axis's noise is little.
                let narrowest = axes.part(Part::Sigma).iter().fold(f32::INFINITY, |least, x| least.min(*x));
                let narrow = (axes.noise / f64::from(narrowest * narrowest)).max(1.0);
                let half = half_of(&head, weighted, components);
                let (by_all, by_own) = extrapolation(components, components - half);
                let terms = most_weight * 4.0 * scale * (1.0 + sigma * sigma) * narrow * (by_all + by_own);
                let terms = beside_rounding(terms, &expected, &there, outputs);
                close_above(kernel, &delta.values(), &expected, outputs, |r| terms[r]);
                let one = beside_rounding(1.0 + sigma * sigma * d as f64, &expected_losses, &there_losses, 1);
                close_above(kernel, &row_losses.values(), &expected_losses, 1, |r| one[r]);
            }
        }
    }
}

proptest! {
    #![proptest_config(super::support::cases(10))]

    #[test]
    fn small_groups(problem in problems(1usize..=64, 1usize..=48)) {
        if available() {
            problem.check(false);
        }
    }

    #[test]
    fn high_dimension(problem in problems(1usize..=64, 49usize..=300)) {
        if available() {
            problem.check(false);
        }
    }

    #[test]
    fn many_components(problem in problems(65usize..=200, 1usize..=70)) {
        if available() {
            problem.check(false);
        }
    }

    #[test]
    fn a_nan_comes_through(problem in problems(1usize..=80, 1usize..=40)) {
        if available() {
            problem.check(true);
        }
    }
}
