//! Rows into the units of networks and back, means over latents, drifts and density ratios, against the processor's:
//! but for the last bit for bit.

use super::guarded::{Buffer, Matrix};
use super::host::{arguments_of, available, launch};
use super::support::{axes, close, cpu, download, in_two_orders, normals, upload};
use crate::data::Rotation;
use crate::device::Workspace;
use crate::device::rows::{Constants, Rows};
use crate::formulas::units::AxisUnits;
use crate::formulas::{Conjugate, Divergence};
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Shape {
    rows: usize,
    d: usize,
    gap: usize,
    constants: Constants,
    blocks: u32,
    seed: u64,
}

/// A rotation takes d numbers for each: it is left out where they are many.
const MOST_TURNED: usize = 80;

fn shapes() -> impl Strategy<Value = Shape> {
    (1usize..60, 1usize..=300, 0usize..4, -6f64..6.0, 1u32..4, any::<bool>(), any::<u64>()).prop_map(
        |(rows, d, gap, magnitude, blocks, turned, seed)| {
            let d = if turned { 1 + d % MOST_TURNED } else { d };
            Shape { rows, d, gap, constants: constants(seed, d, magnitude.exp(), turned), blocks, seed }
        },
    )
}

/// The numbers of a rotation need not be one's.
fn constants(seed: u64, d: usize, scale: f64, turned: bool) -> Constants {
    let [shift, contraction, pull, unit] = [1, 7, 8, 9].map(|s| normals(seed ^ s, d));
    let units = (0..d).map(|j| AxisUnits {
        contraction: f64::from(2.0 * contraction[j]).exp(),
        pull: pull[j].into(),
        unit: f64::from(unit[j]).exp(),
    });
    Constants {
        shift: shift.iter().map(|&x| 3e3 * f64::from(x)).collect::<Vec<_>>().into(),
        scale,
        rotation: turned.then(|| Rotation::new(d, normals(seed ^ 10, d * d))),
        units: units.collect(),
        cost: 0.7,
    }
}

/// Constants in memory that kernels read.
struct Held {
    shift: Buffer<f64>,
    units: Buffer<[f64; 3]>,
    /// By rows and by columns.
    rotation: Option<[Buffer<f32>; 2]>,
}

impl Held {
    fn new(constants: &Constants) -> Self {
        let d = constants.units.len();
        let units: Vec<_> = constants.units.iter().map(|axis| [axis.contraction, axis.pull, axis.unit]).collect();
        let rotation = constants.rotation.as_ref().map(|rotation| {
            let columns: Vec<f32> = (0..d * d).map(|at| rotation.axis(at % d)[at / d]).collect();
            [Buffer::of(rotation.numbers()), Buffer::of(&columns)]
        });
        Self { shift: Buffer::of(&constants.shift), units: Buffer::of(&units), rotation }
    }

    fn rotation(&self) -> Option<&Buffer<f32>> {
        self.rotation.as_ref().map(|[rows, _]| rows)
    }

    fn turned(&self) -> Option<&Buffer<f32>> {
        self.rotation.as_ref().map(|[_, columns]| columns)
    }
}

impl Shape {
    /// Rows in data units or, with a magnitude of 1, normalised; the last one has a NaN.
    fn values(&self, salt: u64, magnitude: f32) -> Vec<f32> {
        let mut x: Vec<f32> = normals(self.seed ^ salt, self.rows * self.d).iter().map(|x| x * magnitude).collect();
        x[self.rows * self.d - 1] = f32::NAN;
        x
    }

    fn matrix(&self, values: &[f32]) -> Matrix {
        Matrix::of(values, self.d, self.d + self.gap)
    }

    fn stride(&self) -> u32 {
        (self.d + self.gap) as u32
    }

    fn run(&self, name: &str, order: u64, arguments: &mut [super::host::Argument]) {
        launch(name, [self.blocks, 1, 1], [64, 1, 1], order, arguments);
    }
}

fn same_bits(what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!(a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()), "{what} at {i}: {a}, expected {b}");
    }
}

/// Rows as networks see them.
fn check_seen(shape: &Shape, repeat: usize, value: Option<f32>, time: f64) {
    let &Shape { rows, d, gap, ref constants, .. } = shape;
    let x = shape.values(0, 4e3);
    let extra = usize::from(value.is_some());
    let mut block = cpu();
    let expected = block.scratch(rows * repeat, d + extra);
    block.import_seen(constants, &x, repeat, time, expected, value);
    let (x, held) = (shape.matrix(&x), Held::new(constants));
    let [found] = in_two_orders(shape.seed, |order| {
        let out = Matrix::new(rows * repeat, d + extra, d + extra + gap);
        shape.run(
            "rows_seen",
            order,
            arguments_of![
                &x.data,
                shape.stride(),
                rows as u32,
                repeat as u32,
                d as u32,
                &held.shift,
                constants.scale,
                held.turned(),
                &held.units,
                time,
                &out.data,
                out.stride as u32,
                extra as u32,
                value.unwrap_or(0.0),
            ],
        );
        [out.into()]
    });
    same_bits("seen", &found.values(), &download(&block, expected));
}

/// Rows that networks see, as the components of a sample.
fn check_back(shape: &Shape) {
    let &Shape { rows, d, ref constants, .. } = shape;
    let x = shape.values(0, 1.0);
    let mut block = cpu();
    let (held, expected) = (upload(&mut block, &x, d), block.scratch(rows, d));
    block.turn_back(constants, held, expected);
    let (x, held) = (shape.matrix(&x), Held::new(constants));
    let [found] = in_two_orders(shape.seed, |order| {
        let out = Matrix::new(rows, d, d + shape.gap);
        shape.run(
            "rows_back",
            order,
            arguments_of![
                &x.data,
                shape.stride(),
                rows as u32,
                d as u32,
                held.rotation(),
                &held.units,
                &out.data,
                shape.stride(),
            ],
        );
        [out.into()]
    });
    same_bits("back", &found.values(), &download(&block, expected));
}

#[test]
fn many_axes_are_turned() {
    if !available() {
        return;
    }
    // Whole tiles of 32 columns and pieces of 32 terms, one more, one less; up to as many axes as are looked for.
    for d in [32, 33, 63, 512] {
        let shape = Shape { rows: 5, d, gap: 1, constants: constants(3, d, 1.5, true), blocks: 3, seed: 9 };
        check_seen(&shape, 2, Some(0.25), 0.3);
        check_back(&shape);
    }
}

proptest! {
    #![proptest_config(super::support::cases(40))]

    #[test]
    fn rows_come_in(shape in shapes()) {
        if !available() {
            return Ok(());
        }
        let Shape { rows, d, ref constants, .. } = shape;
        let x = shape.values(0, 4e3);
        let mut block = cpu();
        let expected = block.scratch(rows, d);
        block.import(constants, &x, expected);
        let (x, held) = (shape.matrix(&x), Held::new(constants));
        let [found] = in_two_orders(shape.seed, |order| {
            let out = Matrix::new(rows, d, d + shape.gap);
            shape.run("rows_import", order, arguments_of![
                &x.data, shape.stride(), rows as u32, d as u32, &held.shift, constants.scale, &out.data, shape.stride(),
            ]);
            [out.into()]
        });
        same_bits("import", &found.values(), &download(&block, expected));
    }

    #[test]
    fn rows_are_seen(
        shape in shapes(), repeat in 1usize..5, value in prop::option::of(-1f32..1.0),
        time in prop_oneof![Just(0.0), Just(1.0), 0f64..1.0],
    ) {
        if available() {
            check_seen(&shape, repeat, value, time);
        }
    }

    #[test]
    fn rows_are_turned_back(shape in shapes()) {
        if available() {
            check_back(&shape);
        }
    }

    #[test]
    fn rows_go_out(shape in shapes(), direction in any::<bool>()) {
        if !available() {
            return Ok(());
        }
        let Shape { rows, d, ref constants, .. } = shape;
        let x = shape.values(0, 1.0);
        let mut expected = vec![0f32; x.len()];
        let mut block = cpu();
        let from = upload(&mut block, &x, d);
        block.export(constants, from, direction, &mut expected);
        let (x, held) = (shape.matrix(&x), Held::new(constants));
        let [found] = in_two_orders(shape.seed, |order| {
            let out = Matrix::new(rows, d, d + shape.gap);
            shape.run("rows_export", order, arguments_of![
                &x.data, shape.stride(), rows as u32, d as u32, (!direction).then_some(&held.shift), constants.scale,
                &out.data, shape.stride(),
            ]);
            [out.into()]
        });
        same_bits("export", &found.values(), &expected);
    }

    /// The states have their time behind them, and the gradient that of the time.
    #[test]
    fn drifts(shape in shapes(), time in prop_oneof![Just(0.0), Just(1.0), 0f64..1.0]) {
        if !available() {
            return Ok(());
        }
        let Shape { rows, d, ref constants, seed, .. } = shape;
        let [g, x] = [3, 4].map(|salt| {
            let mut x = normals(seed ^ salt, rows * (d + 1));
            x[rows * (d + 1) - 2] = f32::NAN;
            x
        });
        let mut block = cpu();
        let (gradient, states) = (upload(&mut block, &g, d + 1), upload(&mut block, &x, d + 1));
        let expected = block.scratch(rows, d);
        block.drift(constants, gradient, states, time, expected);
        let [g, x] = [g, x].map(|values| Matrix::of(&values, d + 1, d + 1 + shape.gap));
        let held = Held::new(constants);
        let [found] = in_two_orders(seed, |order| {
            let out = Matrix::new(rows, d, d + shape.gap);
            shape.run("rows_drift", order, arguments_of![
                &g.data, g.stride as u32, &x.data, x.stride as u32, rows as u32, d as u32, &held.units, time,
                constants.cost, &out.data, shape.stride(),
            ]);
            [out.into()]
        });
        same_bits("drift", &found.values(), &download(&block, expected));
    }

    /// As the session's: latents come in pieces, raw has more columns than the mean.
    #[test]
    fn means_over_latents(shape in shapes(), pieces in prop::collection::vec(1usize..9, 1..4)) {
        if !available() {
            return Ok(());
        }
        let Shape { rows, d, seed, .. } = shape;
        let x = shape.values(0, 1.0);
        let latents: usize = pieces.iter().sum();
        let stride = (2 * d + shape.gap) as u32;
        let raw: Vec<Matrix> = (0..)
            .zip(&pieces)
            .map(|(i, &k)| Matrix::of(&normals(seed ^ (9 + i), rows * k * 2 * d), 2 * d, stride as usize))
            .collect();
        let mut block = cpu();
        let (x0, sum) = (upload(&mut block, &x, d), block.scratch(rows, d));
        for (i, raw) in raw.iter().enumerate() {
            let held = upload(&mut block, &raw.values(), 2 * d);
            block.accumulate(held, sum, i == 0);
        }
        let sums = download(&block, sum);
        block.add_mean(x0, sum, latents);
        let expected = download(&block, x0);
        let [found_sums, found] = in_two_orders(seed, |order| {
            let (sum, x) = (Matrix::new(rows, d, d + shape.gap), shape.matrix(&x));
            for (i, (raw, &k)) in raw.iter().zip(&pieces).enumerate() {
                shape.run("mean_accumulate", order, arguments_of![
                    &raw.data, stride, rows as u32, k as u32, d as u32, &sum.data, shape.stride(), u32::from(i == 0),
                ]);
            }
            shape.run("mean_add", order, arguments_of![
                &x.data, shape.stride(), &sum.data, shape.stride(), rows as u32, d as u32, latents as f32,
            ]);
            [sum.into(), x.into()]
        });
        same_bits("sums", &found_sums.values(), &sums);
        same_bits("means", &found.values(), &expected);
    }

    #[test]
    fn ratios(
        rows in 1usize..300, stride in 1usize..4, d in 1usize..40, tau in 0.1f64..10.0,
        spread in 0.1f32..30.0, seed in any::<u64>(),
    ) {
        if !available() {
            return Ok(());
        }
        let mut v: Vec<f32> = normals(seed, rows).iter().map(|v| v * spread).collect();
        v[rows / 2] = f32::NAN;
        let values = Matrix::of(&v, 1, stride);
        let x = normals(seed ^ 1, rows * (d + 1));
        let axes = axes(seed, d, 1.0);
        let (at, numbers) = (Matrix::of(&x, d + 1, d + stride), Buffer::of(&axes.numbers));
        for divergence in Divergence::ALL {
            let conjugate = Conjugate { divergence, tau };
            let [found] = in_two_orders(seed, |order| {
                let out = Matrix::new(1, rows, rows);
                launch("ratio_export", [2, 1, 1], [64, 1, 1], order, arguments_of![
                    &values.data, stride as u32, &at.data, (d + stride) as u32, rows as u32, d as u32,
                    &numbers, axes.level, divergence as u32, tau, &out.data,
                ]);
                [out.into()]
            });
            let mut block = cpu();
            let (states, held) = (upload(&mut block, &x, d + 1), upload(&mut block, &v, 1));
            let mut expected = vec![0f32; rows];
            block.export_ratio(&axes, &conjugate, states, held, &mut expected);
            for (&found, expected) in found.values().iter().zip(expected) {
                if expected.is_nan() {
                    prop_assert!(found.is_nan());
                } else {
                    close("ratio", &[found], &[expected], 1);
                }
            }
        }
    }
}
