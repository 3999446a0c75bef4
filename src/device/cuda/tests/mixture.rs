//! The generator's loss and gradient, each kernel on every K it is for.

use super::guarded::{Buffer, Matrix};
use super::host::{arguments_of, available, launch};
use super::support::{
    Output, close_from, close_sum, cpu, download, head_arguments, in_two_orders, normals, uniforms, upload,
};
use crate::device::cpu::CpuNoise;
use crate::device::{Bridge, Device, Head, Points, Sums};
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Problem {
    groups: usize,
    latents: usize,
    d: usize,
    gap: usize,
    head: Head,
    seed: u64,
}

fn problems(latents: impl Strategy<Value = usize>, d: impl Strategy<Value = usize>) -> impl Strategy<Value = Problem> {
    (1usize..4, latents, d, 1usize..4, 0.05f64..2.0, any::<bool>(), any::<u64>()).prop_map(
        |(groups, latents, d, gap, sigma, deterministic, seed)| {
            let head = Head { sigma, deterministic };
            Problem { groups, latents, d, gap, head, seed }
        },
    )
}

impl Problem {
    /// Compares the kernels for this K with the CPU device; with `spoilt` x_t holds a NaN.
    fn check(&self, spoilt: bool) {
        let &Self { groups, latents, d, gap, head, seed } = self;
        let rows = groups * latents;
        let outputs = if head.deterministic { d } else { 2 * d };
        let of_group = |values: Vec<f32>, cols: usize| -> Vec<f32> {
            values.chunks_exact(cols).flat_map(|line| line.repeat(latents)).collect()
        };
        let x0 = of_group(normals(seed, groups * d), d);
        let last = if head.deterministic { 0.995 } else { 1.0 };
        let time = of_group(uniforms(seed ^ 1, groups, 0.2, last), 1);
        let raw = normals(seed ^ 2, rows * outputs);
        let [xi, eta, g] = [3, 4, 5].map(|s| normals(seed ^ s, rows * d));
        let v = normals(seed ^ 6, rows);
        let scale = 1.0 / rows as f64;

        let mut block = cpu();
        let bridge = Bridge {
            x0: upload(&mut block, &x0, d),
            raw: upload(&mut block, &raw, outputs),
            noise: CpuNoise { xi: upload(&mut block, &xi, d), eta: upload(&mut block, &eta, d) },
            time: upload(&mut block, &time, 1),
        };
        let state = block.scratch(rows, d + 1);
        block.bridge(&head, &bridge, &Points { state: Some(state), ..Points::default() });
        let xt = state.columns(0, d);
        if spoilt {
            block.row_mut(xt, rows / 2)[d / 2] = f32::NAN;
        }
        let (vm, gm) = (upload(&mut block, &v, 1), upload(&mut block, &g, d));
        let delta = block.scratch(rows, outputs);
        let mut sums = Sums::default();
        block.mixture(&head, &bridge, xt, vm, gm, latents, delta, scale, &mut sums);
        let expected = download(&block, delta);

        let [x0, xt, g] = [x0, download(&block, xt), g].map(|x| Matrix::of(&x, d, d + gap));
        let (raw, v) = (Matrix::of(&raw, outputs, outputs + gap), Matrix::of(&v, 1, gap));
        let time = Buffer::of(&time);
        let (offset, low, high, deterministic) = head_arguments(&head);
        let run = |kernel: &str, grid: [u32; 3], order: u64, delta: &Matrix, rest: &[u64]| {
            let mut arguments = Vec::from(arguments_of![
                &x0.data,
                x0.stride as u32,
                &raw.data,
                raw.stride as u32,
                &time,
                &xt.data,
                xt.stride as u32,
                &v.data,
                v.stride as u32,
                &g.data,
                g.stride as u32,
                latents as u32,
                d as u32,
                head.sigma as f32,
                offset,
                low,
                high,
                deterministic,
                scale as f32,
                &delta.data,
                delta.stride as u32,
            ]);
            arguments.extend(rest.iter().map(|&address| address.into()));
            launch(kernel, grid, [256, 1, 1], order, &mut arguments);
        };
        let mut kernels = Vec::new();
        for (most, kernel) in [(16, "mixture_16"), (32, "mixture_32"), (64, "mixture_64")] {
            if latents <= most {
                kernels.push(kernel);
            }
        }
        kernels.push("tiles");
        for kernel in kernels {
            let [delta, losses]: [Output; 2] = in_two_orders(seed, |order| {
                let delta = Matrix::new(rows, outputs, outputs + gap);
                let tiles = latents.div_ceil(64);
                let losses = Buffer::<f64>::new(if kernel == "tiles" { groups * tiles } else { groups });
                let to = losses.address() as u64;
                if kernel == "tiles" {
                    let density = Buffer::<[f32; 3]>::new(rows);
                    let by = density.address() as u64;
                    let grid = [tiles as u32, groups as u32, 1];
                    run("mixture_density", grid, order, &delta, &[by, to]);
                    run("mixture_gradient", grid, order, &delta, &[by]);
                } else {
                    run(kernel, [groups as u32, 1, 1], order, &delta, &[to]);
                }
                [delta.into(), losses.into()]
            });
            if spoilt {
                assert!(losses.sum().is_nan(), "{kernel}");
            } else {
                let size = rows as f64 * (1.0 + head.sigma * head.sigma * d as f64);
                close_sum(kernel, losses.sum(), sums.generator, size);
                // What g and the mixture, which has sigma^2 before it, add to an element: they may cancel each other, and so
                // may the two estimates of the mixture, whose forces are larger where a component is narrow.
                let terms = 4.0 * scale * (1.0 + head.sigma * head.sigma);
                close_from(kernel, &delta.values(), &expected, outputs, terms as f32);
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
    fn many_latents(problem in problems(65usize..=200, 1usize..=70)) {
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
