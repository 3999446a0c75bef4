//! Bridge samples of components that have the axes of their peaks.

use super::bridge::drawn;
use super::guarded::{Buffer, Matrix};
use super::host::{arguments_of, available, launch};
use super::support::{
    close_from, close_terms, columns, cpu, download, in_two_orders, normals, squares_of, ticks, turned, turned_counts,
    turned_dimensions, uniforms, upload,
};
use crate::device::cpu::CpuNoise;
use crate::device::{Bridge, Mat, Method, Points, Workspace};
use crate::formulas::Head;
use crate::rng::Stream;
use proptest::prelude::*;

proptest! {
    #![proptest_config(super::support::cases(40))]

    #[test]
    fn samples(
        rows in 1usize..70, d in turned_dimensions(), peaks in turned_counts(), gap in 0usize..4, seed in any::<u64>(),
        first_row in 0u64..1 << 30, sigma in 0.05f64..2.0, wanted in 1u32..8, squared in any::<bool>(),
        blocks in 1u32..5, far in any::<bool>(), spoilt in any::<bool>(),
    ) {
        if !available() {
            return Ok(());
        }
        let (head, axes) = (Head { deterministic: false }, turned(seed, d, sigma, peaks));
        let (number, n) = (77, rows * d);
        let x0 = normals(seed, n);
        // Far out, log s meets both ends of its range.
        let reach = if far { 4.0 } else { 1.0 };
        let mut raw: Vec<f32> = normals(seed ^ 1, 2 * n).iter().map(|x| x * reach).collect();
        // More components than peaks, or fewer.
        let which: Vec<f32> = uniforms(seed ^ 3, rows, 0.0, 40.0).iter().map(|x| x.floor()).collect();
        let time = uniforms(seed ^ 2, rows, 0.0, 0.995);
        let times = ticks(axes.clock, &time);
        let xi = drawn(seed, number, Stream::Endpoint, first_row * d as u64, n);
        let eta = drawn(seed, number, Stream::Bridge, first_row * d as u64, n);

        let mut block = cpu();
        let mut of_cpu = |x0: &[f32], raw: &[f32], xi: &[f32], eta: &[f32]| {
            let bridge = Bridge {
                x0: upload(&mut block, x0, d),
                raw: upload(&mut block, raw, 2 * d),
                noise: CpuNoise {
                    xi: upload(&mut block, xi, d),
                    eta: upload(&mut block, eta, d),
                    component: Mat::NONE,
                },
                time: upload(&mut block, &times, 3),
                which: Some(upload(&mut block, &which, 1)),
            };
            let [end, state] = [0; 2].map(|_| block.scratch(rows, d + 1));
            let drift = block.scratch(rows, d);
            block.bridge(&head, &axes, &bridge, &Points { end: Some(end), state: Some(state), drift: Some(drift) });
            [end.columns(0, d), state.columns(0, d), drift].map(|mat| download(&block, mat))
        };
        // All of them are sums of terms in the source sample, the mean and each of the noises.
        let none = vec![0.0; n];
        let part = |means: bool| -> Vec<f32> {
            raw.iter().enumerate().map(|(i, &x)| if (i % (2 * d) < d) == means { x } else { 0.0 }).collect()
        };
        let (mean, spread) = (part(true), part(false));
        let terms = [
            of_cpu(&x0, &spread, &none, &none),
            of_cpu(&none, &mean, &none, &none),
            of_cpu(&none, &spread, &xi, &none),
            of_cpu(&none, &spread, &none, &eta),
        ];
        let expected = of_cpu(&x0, &raw, &xi, &eta);
        if spoilt {
            raw[rows / 2 * 2 * d + d / 2] = f32::NAN;
        }

        // Squares lie behind the time.
        let squares = if squared { d } else { 0 };
        let (centre, _) = squares_of(seed, &[], d, squares, |_| 0.0);
        let centre = Buffer::of(&centre);
        let cols = d + 1 + squares;
        let [x0_matrix, raw_matrix] = [(&x0, d), (&raw, 2 * d)].map(|(x, cols)| Matrix::of(x, cols, cols + gap));
        let (time_matrix, which) = (Matrix::of(&times, 3, 3 + gap), Buffer::of(&which));
        let numbers = Buffer::of(&axes.numbers);
        let want = |bit: u32| wanted >> bit & 1 == 1;
        let found = in_two_orders(seed, |order| {
            let [x1, xt] = [0, 1].map(|_| Matrix::new(rows, cols, cols + gap));
            let drift = Matrix::new(rows, d, d + gap);
            launch("bridge_turned", [blocks, 1, 1], [64, 1, 1], order, arguments_of![
                &x0_matrix.data, x0_matrix.stride as u32, &raw_matrix.data, raw_matrix.stride as u32, &which,
                &time_matrix.data, time_matrix.stride as u32, rows as u32, d as u32, &numbers, peaks as u32,
                seed, 0u64, number, first_row,
                want(0).then_some(&x1.data), x1.stride as u32, squares as u32, want(1).then_some(&xt.data),
                xt.stride as u32, squares as u32, &centre, want(2).then_some(&drift.data), drift.stride as u32,
            ]);
            [x1.into(), xt.into(), drift.into()]
        });
        for (i, what) in ["x1", "xt", "drift"].into_iter().enumerate() {
            let values = found[i].values();
            if !want(i as u32) {
                prop_assert!(values.iter().all(|x| x.is_nan()), "{} is written", what);
                continue;
            }
            let cols = if i < 2 { cols } else { d };
            let mut inner = columns(&values, cols, 0, d);
            if spoilt {
                let at = rows / 2 * d..(rows / 2 + 1) * d;
                prop_assert!(inner[at.clone()].iter().all(|x| x.is_nan()));
                inner[at.clone()].copy_from_slice(&expected[i][at]);
            }
            close_terms(what, &inner, &expected[i], d, &terms.each_ref().map(|term| term[i].clone()));
            if i < 2 && squares > 0 && !spoilt {
                // The square is of what was written: where a sample is rounded differently, so is its square.
                let (_, expected) = squares_of(seed, &inner, d, squares, |r| if i == 0 { 1.0 } else { time[r] });
                close_from("squares", &columns(&values, cols, d + 1, cols), &expected, squares, 1.0);
            }
            if cols > d {
                for (r, row) in values.chunks_exact(cols).enumerate() {
                    prop_assert_eq!(row[d], if i == 0 { 1.0 } else { time[r] });
                }
            }
        }
    }
}
