//! Rows into the units of training and back, means over latents and density ratios, against the processor's: but for
//! the last bit for bit.

use super::guarded::{Buffer, Matrix};
use super::host::{arguments_of, available, launch};
use super::support::{close, cpu, download, in_two_orders, normals, upload};
use crate::device::Workspace;
use crate::device::rows::{Constants, DriftFactors, Rows, Units};
use crate::formulas::{Conjugate, Divergence, Quadratic};
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

fn shapes() -> impl Strategy<Value = Shape> {
    (1usize..60, 1usize..=300, 0usize..4, -6f64..6.0, 1u32..4, any::<u64>()).prop_map(
        |(rows, d, gap, magnitude, blocks, seed)| {
            let shift = normals(seed ^ 1, d).iter().map(|&x| 3e3 * f64::from(x)).collect::<Vec<_>>().into();
            let pull = normals(seed ^ 7, d).into_iter().map(f64::from).collect::<Vec<_>>().into();
            let quadratic = Quadratic { curvature: 0.0, slope: Vec::new(), level: 0.0 };
            let constants = Constants { shift, scale: magnitude.exp(), pull, quadratic };
            Shape { rows, d, gap, constants, blocks, seed }
        },
    )
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

proptest! {
    #![proptest_config(super::support::cases(40))]

    #[test]
    fn rows_come_in(
        shape in shapes(), repeat in 1usize..5, append in any::<bool>(), value in -1f32..1.0, weight in 0f64..=1.0,
        factor in 0.1f64..10.0,
    ) {
        if !available() {
            return Ok(());
        }
        let Shape { rows, d, ref constants, .. } = shape;
        let x = shape.values(0, 4e3);
        let units = Units { pull: weight, scale: constants.scale * factor };
        let extra = usize::from(append);
        let mut block = cpu();
        let expected = block.scratch(rows * repeat, d + extra);
        block.import(constants, &x, repeat, units, expected, append.then_some(value));
        let (x, shift, pull) = (shape.matrix(&x), Buffer::of(&constants.shift), Buffer::of(&constants.pull));
        let [found] = in_two_orders(shape.seed, |order| {
            let out = Matrix::new(rows * repeat, d + extra, d + extra + shape.gap);
            shape.run("rows_import", order, arguments_of![
                &x.data, shape.stride(), rows as u32, repeat as u32, d as u32, &shift, constants.scale, &pull, weight,
                units.scale,
                &out.data, out.stride as u32, u32::from(append), value,
            ]);
            [out.into()]
        });
        same_bits("import", &found.values(), &download(&block, expected));
    }

    #[test]
    fn rows_go_out(shape in shapes(), shifted in any::<bool>(), factors in any::<[i8; 3]>()) {
        if !available() {
            return Ok(());
        }
        let Shape { rows, d, ref constants, .. } = shape;
        let (x, state) = (shape.values(0, 1.0), shape.values(3, 4e3));
        let [gradient, away, along] = factors.map(|factor| f64::from(factor) / 100.0);
        let (mut expected, mut drift) = (vec![0f32; x.len()], vec![0f32; x.len()]);
        let mut block = cpu();
        let held = upload(&mut block, &x, d);
        let unshifted = Constants { shift: vec![0.0; d].into(), ..constants.clone() };
        block.export(if shifted { constants } else { &unshifted }, held, &mut expected);
        block.export_drift(constants, held, &state, &DriftFactors { gradient, away, pull: along }, &mut drift);
        let (x, state) = (shape.matrix(&x), shape.matrix(&state));
        let (shift, pull) = (Buffer::of(&constants.shift), Buffer::of(&constants.pull));
        let (rows, d, stride) = (rows as u32, d as u32, shape.stride());
        let [found, found_drift] = in_two_orders(shape.seed, |order| {
            let [out, drift] = [0; 2].map(|_| Matrix::new(shape.rows, shape.d, shape.d + shape.gap));
            shape.run("rows_export", order, arguments_of![
                &x.data, stride, rows, d, shifted.then_some(&shift), constants.scale, &out.data, stride,
            ]);
            shape.run("drift_export", order, arguments_of![
                &x.data, stride, &state.data, stride, rows, d, gradient, away, &shift, along, &pull, &drift.data, stride,
            ]);
            [out.into(), drift.into()]
        });
        same_bits("export", &found.values(), &expected);
        same_bits("drift", &found_drift.values(), &drift);
    }

    /// As the session's: latents come in pieces, raw has more columns than the mean.
    #[test]
    fn means_over_latents(shape in shapes(), pieces in prop::collection::vec(1usize..9, 1..4)) {
        if !available() {
            return Ok(());
        }
        let Shape { rows, d, ref constants, seed, .. } = shape;
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
        let (sums, mut expected) = (download(&block, sum), vec![0f32; rows * d]);
        block.export_mean(constants, x0, sum, latents, &mut expected);
        let (x, shift) = (shape.matrix(&x), Buffer::of(&constants.shift));
        let [found_sums, found] = in_two_orders(seed, |order| {
            let [sum, out] = [0; 2].map(|_| Matrix::new(rows, d, d + shape.gap));
            for (i, (raw, &k)) in raw.iter().zip(&pieces).enumerate() {
                shape.run("mean_accumulate", order, arguments_of![
                    &raw.data, stride, rows as u32, k as u32, d as u32, &sum.data, shape.stride(), u32::from(i == 0),
                ]);
            }
            shape.run("mean_export", order, arguments_of![
                &x.data, shape.stride(), &sum.data, shape.stride(), rows as u32, d as u32, latents as f32, &shift,
                constants.scale, &out.data, shape.stride(),
            ]);
            [sum.into(), out.into()]
        });
        same_bits("sums", &found_sums.values(), &sums);
        same_bits("means", &found.values(), &expected);
    }

    #[test]
    fn ratios(
        rows in 1usize..300, stride in 1usize..4, d in 1usize..20, curvature in -0.5f64..0.5, tau in 0.1f64..10.0,
        spread in 0.1f32..30.0, seed in any::<u64>(),
    ) {
        if !available() {
            return Ok(());
        }
        let mut v: Vec<f32> = normals(seed, rows).iter().map(|v| v * spread).collect();
        v[rows / 2] = f32::NAN;
        let values = Matrix::of(&v, 1, stride);
        let x = normals(seed ^ 1, rows * (d + 1));
        let quadratic = Quadratic { curvature, slope: normals(seed ^ 2, d), level: 0.25 };
        let (at, slope_of) = (Matrix::of(&x, d + 1, d + stride), Buffer::of(&quadratic.slope));
        let nothing = vec![0.0; d];
        let constants = Constants { shift: nothing.clone().into(), scale: 1.0, pull: nothing.into(), quadratic };
        for divergence in Divergence::ALL {
            let conjugate = Conjugate { divergence, tau };
            let [found] = in_two_orders(seed, |order| {
                let out = Matrix::new(1, rows, rows);
                launch("ratio_export", [2, 1, 1], [64, 1, 1], order, arguments_of![
                    &values.data, stride as u32, &at.data, (d + stride) as u32, rows as u32, d as u32, curvature,
                    &slope_of, constants.quadratic.level, divergence as u32, tau, &out.data,
                ]);
                [out.into()]
            });
            let mut block = cpu();
            let (states, held) = (upload(&mut block, &x, d + 1), upload(&mut block, &v, 1));
            let mut expected = vec![0f32; rows];
            block.export_ratio(&constants, &conjugate, states, held, &mut expected);
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
