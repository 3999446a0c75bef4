//! The generator's loss and gradient where components have the axes of their peaks.

use super::guarded::{Buffer, Matrix};
use super::host::{arguments_of, available, launch};
use super::mixture::{beside_rounding, one_rounding_away};
use super::support::{
    Output, close_above, close_sum, cpu, download, in_two_orders, normals, ticks, turned, turned_counts,
    turned_dimensions, uniforms, upload,
};
use crate::device::cpu::CpuNoise;
use crate::device::{Bridge, Layers, Mat, Method, MixtureLoss, Points, Sums, Weighted, Workspace};
use crate::formulas::Head;
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Problem {
    groups: usize,
    components: usize,
    peaks: usize,
    d: usize,
    gap: usize,
    sigma: f64,
    blocks: u32,
    /// V sees squares.
    squared: bool,
    seed: u64,
}

fn problems(components: impl Strategy<Value = usize>) -> impl Strategy<Value = Problem> {
    let sizes = (1usize..4, components, turned_counts(), turned_dimensions());
    (sizes, 1usize..4, 0.2f64..2.0, 1u32..4, any::<u64>()).prop_map(
        |((groups, components, peaks, d), gap, sigma, blocks, seed)| Problem {
            groups,
            components,
            peaks,
            d,
            gap,
            sigma,
            blocks,
            squared: seed & 4 == 0,
            seed,
        },
    )
}

impl Problem {
    /// Compares with the CPU device; with `spoilt` x_t holds a NaN.
    fn check(&self, spoilt: bool) {
        let &Self { groups, components, peaks, d, gap, sigma, blocks, squared, seed } = self;
        let (head, axes) = (Head { deterministic: false }, turned(seed, d, sigma, peaks));
        let squares = if squared { d } else { 0 };
        let rows = groups * components;
        let of_group = |values: Vec<f32>, cols: usize| -> Vec<f32> {
            values.chunks_exact(cols).flat_map(|line| line.repeat(components)).collect()
        };
        let x0 = of_group(normals(seed, groups * d), d);
        let time = of_group(ticks(axes.clock, &uniforms(seed ^ 1, groups, 0.2, 1.0)), 3);
        let raw = normals(seed ^ 2, rows * 2 * d);
        let [xi, eta] = [3, 4].map(|s| normals(seed ^ s, rows * d));
        let g = normals(seed ^ 5, rows * (d + 1 + squares));
        let v = normals(seed ^ 6, rows);
        let scale = 1.0 / rows as f64;

        let mut block = cpu();
        let which: Vec<f32> = (0..rows).map(|row| (row % components) as f32).collect();
        let bridge = Bridge {
            x0: upload(&mut block, &x0, d),
            raw: upload(&mut block, &raw, 2 * d),
            noise: CpuNoise { xi: upload(&mut block, &xi, d), eta: upload(&mut block, &eta, d), component: Mat::NONE },
            time: upload(&mut block, &time, 3),
            which: Some(upload(&mut block, &which, 1)),
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
        let mut log_weights: Vec<f32> = normals(seed ^ 7, rows).iter().map(|x| 0.5 * x).collect();
        if seed % 3 == 0 && components > 1 {
            // Components that have died out.
            log_weights.chunks_exact_mut(components).for_each(|group| group[0] = -1e3);
        }
        let log = upload(&mut block, &log_weights, 1);
        let moved = one_rounding_away(&mut block, seed ^ 8, xt);
        let mut sums = [Sums::default(); 2];
        let [(expected, expected_losses), (there, there_losses)] = [(xt, 0), (moved, 1)].map(|(xt, of_sums)| {
            let (delta, loss) = (block.scratch(rows, 2 * d), block.scratch(rows, 1));
            let of = MixtureLoss {
                head: &head,
                axes: &axes,
                bridge: &bridge,
                xt,
                v: vm,
                g: gm,
                components,
                weighted: Some(Weighted { log, loss }),
                delta,
                scale,
            };
            block.mixture(&of, &mut sums[of_sums]);
            (download(&block, delta), download(&block, loss))
        });

        let [x0, xt] = [x0, download(&block, xt)].map(|x| Matrix::of(&x, d, d + gap));
        let g = Matrix::of(&g, d + 1 + squares, d + 1 + squares + gap);
        let (raw, v) = (Matrix::of(&raw, 2 * d, 2 * d + gap), Matrix::of(&v, 1, gap));
        let (time, log_weights) = (Matrix::of(&time, 3, 2 + gap), Buffer::of(&log_weights));
        let numbers = Buffer::of(&axes.numbers);
        let [delta, losses, row_losses]: [Output; 3] = in_two_orders(seed, |order| {
            let delta = Matrix::new(rows, 2 * d, 2 * d + gap);
            let row_losses = Matrix::new(rows, 1, 1);
            let losses = Buffer::<f64>::new(blocks as usize);
            let (inverses, logs) = (Buffer::<f32>::new(rows * d), Buffer::<f32>::new(rows));
            launch(
                "turned_variances",
                [blocks, 1, 1],
                [64, 1, 1],
                order,
                arguments_of![
                    &raw.data,
                    raw.stride as u32,
                    &time.data,
                    time.stride as u32,
                    rows as u32,
                    d as u32,
                    &numbers,
                    &log_weights,
                    &inverses,
                    &logs,
                ],
            );
            launch(
                "turned_mixture",
                [blocks, 1, 1],
                [256, 1, 1],
                order,
                arguments_of![
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
                    rows as u32,
                    d as u32,
                    &numbers,
                    peaks as u32,
                    axes.noise as f32,
                    scale as f32,
                    &log_weights,
                    &inverses,
                    &logs,
                    &row_losses.data,
                    &delta.data,
                    delta.stride as u32,
                    &losses,
                ],
            );
            [delta.into(), losses.into(), row_losses.into()]
        });
        if spoilt {
            assert!(losses.sum().is_nan() && row_losses.values()[rows / 2].is_nan());
            let gradient = delta.values();
            assert!(gradient[rows / 2 * 2 * d..][..d].iter().all(|x| x.is_nan()));
            return;
        }
        let most_weight = 8.0;
        let size = most_weight * rows as f64 * (1.0 + sigma * sigma * d as f64);
        close_sum("loss", losses.sum(), sums[0].generator, size);
        // What g and the mixture, which has sigma^2 before it, add to an element: they may cancel each other. Each is a
        // sum of d terms.
        let terms = most_weight * 4.0 * scale * (1.0 + sigma * sigma);
        let terms = beside_rounding(terms, &expected, &there, 2 * d);
        close_above("delta", &delta.values(), &expected, 2 * d, |r| terms[r]);
        let one = beside_rounding(1.0 + sigma * sigma * d as f64, &expected_losses, &there_losses, 1);
        close_above("row losses", &row_losses.values(), &expected_losses, 1, |r| one[r]);
    }
}

proptest! {
    #![proptest_config(super::support::cases(20))]

    #[test]
    fn few_components(problem in problems(1usize..=40)) {
        if available() {
            problem.check(false);
        }
    }

    #[test]
    fn many_components(problem in problems(41usize..=90)) {
        if available() {
            problem.check(false);
        }
    }

    #[test]
    fn a_nan_comes_through(problem in problems(1usize..=50)) {
        if available() {
            problem.check(true);
        }
    }
}
