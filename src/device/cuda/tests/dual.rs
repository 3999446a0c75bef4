//! The potential gap.

use super::guarded::{Buffer, Matrix};
use super::host::{arguments_of, available, launch};
use super::support::{axes, close, close_sum, cpu, download, in_two_orders, normals, upload};
use crate::device::{DualTerm, Method, StepNumber, Sums, TauAt, Workspace};
use crate::formulas::{Conjugate, Divergence, TauSchedule};
use proptest::prelude::*;

proptest! {
    #![proptest_config(super::support::cases(40))]

    #[test]
    fn terms_of_every_divergence(
        rows in 1usize..700, seed in any::<u64>(), spread in 0.1f32..30.0, tau in 0.1f64..10.0, blocks in 1u32..5,
        stride in 1usize..4, d in 1usize..40, nan in any::<bool>(), components in 1usize..20, first_source in 0usize..2,
        (step, tau_steps) in (0u64..20, 0u64..15),
    ) {
        if !available() {
            return Ok(());
        }
        let mut values: Vec<f32> = normals(seed, 2 * rows).iter().map(|x| x * spread).collect();
        if nan {
            values[rows + rows / 2] = f32::NAN;
        }
        let scale = 1.0 / rows as f64;
        let x = normals(seed ^ 1, 2 * rows * (d + 1));
        let axes = axes(seed, d, 1.0);
        let numbers = Buffer::of(&axes.numbers);
        let ends_at = Matrix::of(&x, d + 1, d + stride);
        for divergence in Divergence::ALL {
            let mut block = cpu();
            let v = upload(&mut block, &values, 1);
            let ends = upload(&mut block, &x, d + 1).columns(0, d);
            let delta = block.scratch(2 * rows, 1);
            let mut sums = Sums::default();
            let conjugate = Conjugate { divergence, tau };
            let conjugate = &conjugate;
            let schedule = TauSchedule { log_start: -2.5, steps: tau_steps };
            let tau_at = TauAt { schedule, step: StepNumber::Known(step) };
            let counter = Buffer::of(&[step]);
            let term = DualTerm { conjugate, tau_at, axes: &axes, ends, v, delta, scale, components, first_source };
            block.dual(&term, &mut sums);
            let expected = download(&block, delta);

            let v = Matrix::of(&values, 1, stride);
            let found = in_two_orders(seed, |order| {
                let delta = Matrix::new(2 * rows, 1, stride);
                let parts = [0; 8].map(|_| Buffer::<f64>::new(blocks as usize));
                launch("dual_terms", [blocks, 1, 1], [128, 1, 1], order, arguments_of![
                    &v.data, stride as u32, rows as u32, &ends_at.data, (d + stride) as u32, d as u32, &numbers,
                    axes.level, divergence as u32, tau, schedule.log_start, schedule.steps, &counter, scale, components as u32, first_source as u32, &delta.data,
                    stride as u32, &parts[0], &parts[1], &parts[2], &parts[3], &parts[4], &parts[5], &parts[6], &parts[7],
                ]);
                let [a, b, c, d, e, f, g, h] = parts;
                [delta.into(), a.into(), b.into(), c.into(), d.into(), e.into(), f.into(), g.into(), h.into()]
            });
            let scale = rows as f64 * f64::from(spread).max(d as f64);
            let of = |what| format!("{divergence:?}: {what}");
            close_sum(&of("generated"), found[1].sum(), sums.generated, scale);
            close_sum(&of("action"), found[3].sum(), sums.action, scale);
            for (found, expected) in found[7..].iter().zip(sums.distances) {
                close_sum(&of("distances"), found.sum(), expected, expected);
            }
            if nan {
                prop_assert!(found[2].sum().is_nan() && found[6].sum().is_nan());
                prop_assert!(found[4].sum().is_nan() || divergence == Divergence::Balanced);
            } else {
                close_sum(&of("conjugate"), found[2].sum(), sums.conjugate, scale);
                close_sum(&of("density ratio"), found[4].sum(), sums.density_ratio, scale);
                close_sum(&of("squares of the density ratio"), found[5].sum(), sums.ratio_squares, sums.ratio_squares);
                close_sum(&of("target"), found[6].sum(), sums.target, scale);
                close(&of("delta"), &found[0].values(), &expected, 1);
            }
        }
    }
}

#[test]
fn a_divergence_that_the_kernel_does_not_know_gives_nan() {
    if !available() {
        return;
    }
    let unknown = Divergence::ALL.len() as u32;
    let (v, ends, numbers) = (Buffer::of(&[0f32; 2]), Buffer::of(&[0f32; 2]), Buffer::of(&[0f32; 80]));
    let delta = Buffer::<f32>::new(2);
    let parts = [0; 8].map(|_| Buffer::<f64>::new(1));
    launch(
        "dual_terms",
        [1, 1, 1],
        [32, 1, 1],
        1,
        arguments_of![
            &v, 1u32, 1u32, &ends, 1u32, 1u32, &numbers, 0f64, unknown, 1f64, 0f64, 0u64, &v, 1f64, 1u32, 0u32, &delta,
            1u32, &parts[0], &parts[1], &parts[2], &parts[3], &parts[4], &parts[5], &parts[6], &parts[7],
        ],
    );
    // The sums of the conjugate's values and of its slopes.
    assert!(parts[1][0].is_nan() && parts[3][0].is_nan());
}
