//! Products with what stands around them, and the gradients of weights and biases.

use super::guarded::{Buffer, Matrix};
use super::host::{Argument, arguments_of, available, launch};
use super::support::{
    PRECISIONS, close_from, close_sum, cpu, download, in_two_orders, normals, rounded, unit_of, upload,
};
use crate::device::cpu::net::{CpuGradient, CpuNet};
use crate::device::cpu::simd::Isa;
use crate::device::cuda::forms::{NARROW, WIDE, tiles};
use crate::device::gpus::Precision;
use crate::device::layout::{Layer, Layout};
use crate::device::{Layers, Maps, Workspace};
use crate::formulas::Activation;
use crate::formulas::squares::Centre;
use proptest::prelude::*;

/// Numbers of 8 bytes in what the optimiser plans: the terms, rates and whether it holds.
const PLAN: usize = crate::device::cuda::sums::TERMS + 2;

const ACTIVATIONS: [(Activation, &str); 3] =
    [(Activation::Silu, "silu"), (Activation::Tanh, "tanh"), (Activation::Softplus, "softplus")];

/// The kernels of one arithmetic and tile.
#[derive(Clone, Copy, Debug)]
struct Kernels {
    precision: Precision,
    suffix: &'static str,
    wide: bool,
}

/// All of them.
fn kernels() -> impl Iterator<Item = Kernels> {
    let both = |(precision, suffix)| [false, true].map(|wide| Kernels { precision, suffix, wide });
    PRECISIONS.into_iter().flat_map(both)
}

impl Kernels {
    /// Launches a product with a result of m x n; `depth` more blocks along y.
    fn launch(self, form: &str, [m, n]: [usize; 2], depth: usize, order: u64, arguments: &mut [Argument]) {
        let tile = tiles(self.precision)[if self.wide { WIDE } else { NARROW }];
        let name = format!("product_{form}{}{}", self.suffix, if self.wide { "_wide" } else { "" });
        launch(&name, [tile.count(m, n) as u32, depth as u32, 1], [tile.threads, 1, 1], order, arguments);
    }

    fn rounded(self, x: &[f32]) -> Vec<f32> {
        x.iter().map(|&x| rounded(self.precision, x)).collect()
    }
}

/// x [m][k] and a result [m][n].
#[derive(Clone, Debug)]
struct Shape {
    m: usize,
    n: usize,
    k: usize,
    gap: usize,
    /// Elements before W in the flat vector.
    offset: usize,
    kernels: Kernels,
    seed: u64,
}

fn extents() -> impl Strategy<Value = usize> {
    prop_oneof![1 => Just(1usize), 2 => 1usize..20, 4 => 1usize..=300]
}

fn shapes() -> impl Strategy<Value = Shape> {
    let rows = prop_oneof![1 => 1usize..=200, 2 => 1usize..60];
    (rows, extents(), extents(), any::<bool>(), 0usize..4, 0usize..4, 0usize..6, any::<u64>()).prop_map(
        |(m, n, k, aligned, gap, offset, which, seed)| {
            let kernels = kernels().nth(which).expect("six");
            if aligned {
                let (n, k) = (n.next_multiple_of(4), k.next_multiple_of(4));
                Shape { m, n, k, gap: 4 * gap, offset: 0, kernels, seed }
            } else {
                Shape { m, n, k, gap, offset, kernels, seed }
            }
        },
    )
}

impl Shape {
    fn normals(&self, salt: u64, cols: usize) -> Vec<f32> {
        normals(self.seed ^ salt, self.m * cols)
    }

    /// As a device has it, rows `gap` elements apart.
    fn matrix(&self, values: &[f32], cols: usize) -> Matrix {
        Matrix::of(values, cols, cols + self.gap)
    }

    fn result(&self) -> Matrix {
        Matrix::new(self.m, self.n, self.n + self.gap)
    }

    /// One layer's W and b on both devices; the CPU's W is rounded.
    fn weights(&self, layout: &Layout, index: usize) -> Weights {
        let layer = layout.layers[index];
        let mut flat = normals(self.seed ^ 50, layout.len());
        let mut net = CpuNet::new(Isa::detect(), layout, &Centre::default(), true).unwrap();
        let mut device = vec![f32::NAN; self.offset];
        device.extend(&flat[layer.parameters()]);
        let w = self.kernels.rounded(&flat[layer.weights()]);
        flat[layer.weights()].copy_from_slice(&w);
        net.pack(&flat);
        Weights { net, layer, flat: Buffer::of(&device), offset: self.offset }
    }

    /// What sums of k products are differences of.
    fn floor(&self) -> f32 {
        (self.k as f32).sqrt()
    }

    fn run(&self, form: &str, order: u64, arguments: &mut [Argument]) {
        self.kernels.launch(form, [self.m, self.n], 1, order, arguments);
    }
}

struct Weights {
    net: CpuNet<f32>,
    layer: Layer,
    flat: Buffer<f32>,
    offset: usize,
}

impl Weights {
    /// W's address and b's.
    fn addresses(&self) -> [u64; 2] {
        let w = self.flat.address() + 4 * self.offset;
        [w as u64, (w + 4 * self.layer.weights().len()) as u64]
    }
}

/// Adds lines, `[pitch, lines, count]` numbers, and sums their squares in so many blocks of so many threads; the block
/// that plans an update has no terms.
fn reduce(
    [blocks, threads]: [u32; 2],
    order: u64,
    [pitch, lines, count]: [usize; 3],
    accumulate: bool,
    from: &Buffer<f32>,
    to: &Buffer<f32>,
    squares: &Buffer<f64>,
) {
    let (zeros, plan) = (Buffer::of(&[0u64; 3]), Buffer::<u64>::new(PLAN));
    launch(
        "gradient_reduce",
        [blocks + 1, 1, 1],
        [threads, 1, 1],
        order,
        arguments_of![
            from,
            pitch as u64,
            lines as u32,
            to,
            count as u64,
            u32::from(accumulate),
            squares,
            0u64,
            0u32,
            0u32,
            0u32,
            0u32,
            0u32,
            0u32,
            &zeros,
            1e-3f64,
            0.5f64.ln(),
            0.99f64.ln(),
            0.998f64,
            0u64,
            0f64,
            &zeros,
            &plan,
        ],
    );
}

proptest! {
    #![proptest_config(super::support::cases(48))]

    #[test]
    fn forward(shape in shapes(), kind in 0usize..3, derivatives in 0usize..3, bent in any::<bool>()) {
        if !available() {
            return Ok(());
        }
        let Shape { m, n, k, gap, seed, .. } = shape;
        let weights = shape.weights(&Layout::dense(&[k, n, 1]), 0);
        let [w, b] = weights.addresses();
        let (xs, stride) = ((k + gap) as u32, (n + gap) as u32);
        let (rows, cols, inner) = (m as u32, n as u32, k as u32);
        let values = shape.normals(0, k);
        let [given_slope, given_curve] = [1, 2].map(|salt| shape.normals(salt, n));
        let mut device = cpu();
        let x = upload(&mut device, &shape.kernels.rounded(&values), k);
        let [affine, linear, h, slope, curve, tangent] = [0; 6].map(|_| device.scratch(m, n));
        let [slope_in, curve_in] = [&given_slope, &given_curve].map(|x| upload(&mut device, x, n));
        let (kind, form) = ACTIVATIONS[kind];
        device.affine(&weights.net, 0, x, affine);
        device.map(&weights.net, 0, x, false, linear);
        device.activated(&weights.net, 0, kind, x, h, Some(slope), Some(curve));
        device.tangent(&weights.net, 0, x, slope_in, tangent, curve_in);
        let check = |what: &str, found: &[f32], mat| {
            close_from(what, found, &download(&device, mat), n, shape.floor().max(1.0));
        };
        let x = shape.matrix(&values, k);

        let [found] = in_two_orders(seed, |order| {
            let out = shape.result();
            shape.run("affine", order, arguments_of![&x.data, xs, w, b, &out.data, stride, rows, cols, inner]);
            [out.into()]
        });
        check("affine", &found.values(), affine);

        let [found] = in_two_orders(seed, |order| {
            let out = shape.result();
            shape.run("linear", order, arguments_of![&x.data, xs, w, &out.data, stride, rows, cols, inner]);
            [out.into()]
        });
        check("linear", &found.values(), linear);

        let found = in_two_orders(seed, |order| {
            let [h, slope, curve] = [0; 3].map(|_| shape.result());
            shape.run(form, order, arguments_of![
                &x.data, xs, w, b, &h.data, stride, (derivatives > 0).then_some(&slope.data), stride,
                (derivatives > 1).then_some(&curve.data), stride, rows, cols, inner,
            ]);
            [h.into(), slope.into(), curve.into()]
        });
        check("h", &found[0].values(), h);
        for (i, mat) in [slope, curve].into_iter().enumerate() {
            if i < derivatives {
                check("derivative", &found[i + 1].values(), mat);
            } else {
                prop_assert!(found[i + 1].values().iter().all(|x| x.is_nan()));
            }
        }

        let given_slope = shape.matrix(&given_slope, n);
        let [found, found_curve] = in_two_orders(seed, |order| {
            let (out, curve) = (shape.result(), shape.matrix(&given_curve, n));
            shape.run("tangent", order, arguments_of![
                &x.data, xs, w, &given_slope.data, stride, &out.data, stride, bent.then_some(&curve.data), stride,
                rows, cols, inner,
            ]);
            [out.into(), curve.into()]
        });
        check("tangent", &found.values(), tangent);
        if bent {
            check("curve", &found_curve.values(), curve_in);
        } else {
            prop_assert_eq!(found_curve.values(), given_curve);
        }
    }

    #[test]
    fn reverse(shape in shapes(), bent in any::<bool>()) {
        if !available() {
            return Ok(());
        }
        let Shape { m, n, k, gap, seed, .. } = shape;
        let weights = shape.weights(&Layout::dense(&[1, n, k]), 1);
        let [w, _] = weights.addresses();
        let (ds, stride) = ((k + gap) as u32, (n + gap) as u32);
        let (rows, cols, inner) = (m as u32, n as u32, k as u32);
        let values = shape.normals(0, k);
        let [slope, curve] = [1, 2].map(|salt| shape.normals(salt, n));
        let mut device = cpu();
        let delta = upload(&mut device, &shape.kernels.rounded(&values), k);
        let [plain, scaled, adjoined] = [0; 3].map(|_| device.scratch(m, n));
        let [slope_in, curve_in] = [&slope, &curve].map(|x| upload(&mut device, x, n));
        device.transposed(&weights.net, 1, delta, plain);
        let added = upload(&mut device, &slope, n);
        device.map_reverse(&weights.net, 1, delta, added, true);
        device.tangent_backward(&weights.net, 1, delta, slope_in, curve_in, adjoined);
        device.backward(&weights.net, 1, delta, slope_in, scaled, bent.then_some(curve_in));
        let check = |what: &str, found: &[f32], mat| {
            close_from(what, found, &download(&device, mat), n, shape.floor());
        };
        let delta = shape.matrix(&values, k);

        let [found] = in_two_orders(seed, |order| {
            let out = shape.result();
            shape.run("transposed", order, arguments_of![&delta.data, ds, w, &out.data, stride, rows, cols, inner]);
            [out.into()]
        });
        check("transposed", &found.values(), plain);

        let [found] = in_two_orders(seed, |order| {
            let out = shape.matrix(&slope, n);
            shape.run("transposed_add", order, arguments_of![&delta.data, ds, w, &out.data, stride, rows, cols, inner]);
            [out.into()]
        });
        check("transposed_add", &found.values(), added);

        let slope = shape.matrix(&slope, n);
        let [found, found_curve] = in_two_orders(seed, |order| {
            let (out, curve) = (shape.result(), shape.matrix(&curve, n));
            shape.run("backward", order, arguments_of![
                &delta.data, ds, w, &slope.data, stride, &out.data, stride, bent.then_some(&curve.data), stride, rows,
                cols, inner,
            ]);
            [out.into(), curve.into()]
        });
        check("backward", &found.values(), scaled);
        check("curve", &found_curve.values(), curve_in);

        let curve = shape.matrix(&curve, n);
        let [found] = in_two_orders(seed, |order| {
            let out = shape.result();
            shape.run("adjoint", order, arguments_of![
                &delta.data, ds, w, &slope.data, stride, &curve.data, stride, &out.data, stride, rows, cols, inner,
            ]);
            [out.into()]
        });
        check("adjoint", &found.values(), adjoined);
    }

    /// x [m][k] and delta [m][n]; with the column sums behind.
    #[test]
    fn gradients(shape in shapes(), chunk in 1usize..120, two in any::<bool>(), bias in any::<bool>()) {
        if !available() {
            return Ok(());
        }
        let Shape { m, n, k, gap, kernels, seed, .. } = shape;
        // Few enough splits to be quick.
        let chunk = chunk.max(m / 5);
        let layout = Layout::dense(&[k, n, 1]);
        let [x, x2] = [0, 1].map(|salt| shape.normals(salt, k));
        let [delta, delta2] = [2, 3].map(|salt| shape.normals(salt, n));
        let mut device = cpu();
        let pairs = [(&x, &delta), (&x2, &delta2)].map(|(x, d)| {
            (upload(&mut device, &kernels.rounded(x), k), upload(&mut device, &kernels.rounded(d), n))
        });
        // What is not multiplied is not rounded.
        let summed = upload(&mut device, &delta, n);
        let mut expected = CpuGradient::new(&layout).unwrap();
        let used = if two { &pairs[..] } else { &pairs[..1] };
        device.gradient(&mut expected, 0, used, bias.then_some(summed));

        let count = (k + 1) * n;
        let pitch = if seed % 2 == 0 { count.next_multiple_of(4) } else { count + gap };
        let splits = m.div_ceil(chunk);
        let (xs, ds) = ((k + gap) as u32, (n + gap) as u32);
        let [x, x2] = [x, x2].map(|x| shape.matrix(&x, k));
        let [delta, delta2] = [delta, delta2].map(|x| shape.matrix(&x, n));
        let before = normals(seed ^ 4, count);
        for accumulate in [false, true] {
            let [_, found, squares] = in_two_orders(seed, |order| {
                let lines = Matrix::new(splits, count, pitch);
                let gradient = Matrix::of(&before, count, count);
                let squares = Buffer::<f64>::new(3);
                kernels.launch("gradient", [k, n], splits, order, arguments_of![
                    &x.data, xs, &delta.data, ds, two.then_some(&x2.data), xs, two.then_some(&delta2.data), ds,
                    m as u32, k as u32, n as u32, u32::from(bias), chunk as u32, &lines.data, pitch as u64,
                ]);
                reduce([3, 64], order, [pitch, splits, count], accumulate, &lines.data, &gradient.data, &squares);
                [lines.into(), gradient.into(), squares.into()]
            });
            let exact: f64 = found.values().iter().map(|&x| f64::from(x) * f64::from(x)).sum();
            close_sum("squares", squares.sum(), exact, exact);
            let expected: Vec<f32> =
                (0..count).map(|i| expected.values[i] + if accumulate { before[i] } else { 0.0 }).collect();
            close_from("gradient", &found.values(), &expected, n, (2.0 * m as f32).sqrt());
        }
    }
}

proptest! {
    #![proptest_config(super::support::cases(24))]

    #[test]
    fn few(shape in shapes(), n in 1usize..=4, with_bias in any::<bool>()) {
        if !available() {
            return Ok(());
        }
        let shape = Shape { n, kernels: kernels().next().expect("six"), ..shape };
        let Shape { m, k, gap, seed, .. } = shape;
        let weights = shape.weights(&Layout::dense(&[k, n, 1]), 0);
        let [w, b] = weights.addresses();
        let values = shape.normals(0, k);
        let mut device = cpu();
        let (x, expected) = (upload(&mut device, &values, k), device.scratch(m, n));
        device.map(&weights.net, 0, x, with_bias, expected);
        let x = shape.matrix(&values, k);
        let [found] = in_two_orders(seed, |order| {
            let out = shape.result();
            let b = if with_bias { b } else { 0 };
            launch("product_few", [m as u32, 1, 1], [64, 1, 1], order, arguments_of![
                &x.data, (k + gap) as u32, w, b, &out.data, (n + gap) as u32, n as u32, k as u32,
            ]);
            [out.into()]
        });
        close_from("few", &found.values(), &download(&device, expected), n, shape.floor().max(1.0));
    }
}

/// A NaN spoils the results that depend on it and no others.
#[test]
fn a_nan_comes_through() {
    if !available() {
        return;
    }
    let (m, n, k) = (70, 68, 36);
    for kernels in kernels() {
        for (form, _) in ACTIVATIONS.map(|(_, form)| (form, ())).into_iter().chain([("affine", ())]) {
            for (bad_row, bad_col) in [(Some(41), None), (None, Some(67)), (Some(0), Some(0))] {
                let mut x = normals(1, m * k);
                let mut w = normals(2, k * n + n);
                if let Some(row) = bad_row {
                    x[row * k + k - 1] = f32::NAN;
                }
                if let Some(col) = bad_col {
                    // In b alone for the first column, in W for others.
                    w[if col == 0 { k * n } else { 5 * n + col }] = f32::NAN;
                }
                let (x, w) = (Buffer::of(&x), Buffer::of(&w));
                let b = (w.address() + 4 * k * n) as u64;
                let results = [0; 3].map(|_| Matrix::new(m, n, n));
                let [h, slope, curve] = &results;
                let (rows, cols, inner) = (m as u32, n as u32, k as u32);
                let used = if form == "affine" {
                    let args = arguments_of![&x, inner, &w, b, &h.data, cols, rows, cols, inner];
                    kernels.launch(form, [m, n], 1, 3, args);
                    &results[..1]
                } else {
                    let args = arguments_of![
                        &x,
                        inner,
                        &w,
                        b,
                        &h.data,
                        cols,
                        &slope.data,
                        cols,
                        &curve.data,
                        cols,
                        rows,
                        cols,
                        inner
                    ];
                    kernels.launch(form, [m, n], 1, 3, args);
                    &results[..]
                };
                for result in used {
                    for r in 0..m {
                        for (c, x) in result.row(r).iter().enumerate() {
                            let bad = bad_row == Some(r) || bad_col == Some(c);
                            assert_eq!(x.is_nan(), bad, "{form}, {kernels:?}, row {r}, column {c}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_nan_comes_through_gradients() {
    if !available() {
        return;
    }
    let (m, n, k) = (50, 40, 33);
    for kernels in kernels() {
        let x = Buffer::of(&normals(1, m * k));
        let mut delta = normals(2, m * n);
        delta[17 * n + 35] = f32::NAN;
        let delta = Buffer::of(&delta);
        let count = (k + 1) * n;
        let (lines, gradient) = (Buffer::<f32>::new(2 * count), Matrix::new(k + 1, n, n));
        let squares = Buffer::<f64>::new(1);
        let null = None::<&Buffer<f32>>;
        let (rows, inputs, outputs) = (m as u32, k as u32, n as u32);
        let args = arguments_of![
            &x,
            inputs,
            &delta,
            outputs,
            null,
            0u32,
            null,
            0u32,
            rows,
            inputs,
            outputs,
            1u32,
            32u32,
            &lines,
            count as u64,
        ];
        kernels.launch("gradient", [k, n], 2, 3, args);
        reduce([1, 32], 3, [count, 2, count], false, &lines, &gradient.data, &squares);
        assert!(squares[0].is_nan());
        for r in 0..=k {
            for (c, x) in gradient.row(r).iter().enumerate() {
                assert_eq!(x.is_nan(), c == 35, "row {r}, column {c}");
            }
        }
    }
}

/// What rounding the operands costs: each by its unit at most, and sums as in 32 bits.
#[test]
fn results_keep_the_bound_of_their_arithmetic() {
    if !available() {
        return;
    }
    let (m, n, k) = (96, 68, 200);
    let (x, w) = (normals(1, m * k), normals(2, k * n));
    let [exact, size] = [|a: f64| a, f64::abs].map(|of| {
        let sum = |i: usize| (0..k).map(|p| of(f64::from(x[i / n * k + p]) * f64::from(w[p * n + i % n]))).sum();
        (0..m * n).map(sum).collect::<Vec<f64>>()
    });
    let x_columns: Vec<f32> = (0..k * m).map(|i| x[i % m * k + i / m]).collect();
    let (x, w, columns) = (Buffer::of(&x), Buffer::of(&w), Buffer::of(&x_columns));
    let [rows, cols, inner] = [m, n, k].map(|extent| extent as u32);
    let null = None::<&Buffer<f32>>;
    for kernels in kernels() {
        let unit = unit_of(kernels.precision);
        let check = |what: &str, found: &[f32]| {
            let mut most = 0f64;
            for ((&found, exact), size) in found.iter().zip(&exact).zip(&size) {
                most = most.max((f64::from(found) - exact).abs() / size);
            }
            println!("{what}, {kernels:?}: {most:.2e} of the sum of absolute values");
            assert!(most <= unit * (2.0 + unit) + 1e-6, "{what}, {kernels:?}: {most}");
            // Tensor cores have multiplied.
            assert!(unit == 0.0 || most > unit / 50.0, "{what}, {kernels:?}: {most}");
        };
        let out = Matrix::new(m, n, n);
        kernels.launch("linear", [m, n], 1, 3, arguments_of![&x, inner, &w, &out.data, cols, rows, cols, inner]);
        check("linear", &out.values());
        // The same as a gradient of `k` rows, with the zeros of no bias behind.
        let line = Matrix::new(m + 1, n, n);
        kernels.launch(
            "gradient",
            [m, n],
            1,
            3,
            arguments_of![
                &columns, rows, &w, cols, null, 0u32, null, 0u32, inner, rows, cols, 0u32, inner, &line.data, 0u64
            ],
        );
        check("gradient", &line.values()[..m * n]);
    }
}
