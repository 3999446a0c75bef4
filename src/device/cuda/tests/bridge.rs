//! Bridge samples and trajectories.

use super::guarded::{Buffer, Matrix};
use super::host::{arguments_of, available, launch};
use super::support::{
    axes, close_from, close_terms, columns, cpu, download, in_two_orders, normals, squares_of, ticks, uniforms, upload,
};
use crate::device::cpu::CpuNoise;
use crate::device::{Bridge, Mat, Method, Points, Workspace};
use crate::formulas::Head;
use crate::rng::{Sequence, Stream};
use proptest::prelude::*;

pub fn drawn(seed: u64, number: u64, stream: Stream, first: u64, n: usize) -> Vec<f32> {
    let mut x = vec![0f32; n];
    Sequence::new(seed, number, stream).normals(first, &mut x);
    x
}

proptest! {
    #![proptest_config(super::support::cases(40))]

    #[test]
    fn samples(
        rows in 1usize..70, d in 1usize..=300, gap in 0usize..4, aligned in any::<bool>(), seed in any::<u64>(),
        first_row in 0u64..1 << 30, sigma in 0.05f64..2.0, deterministic in any::<bool>(), append in any::<bool>(),
        wanted in 1u32..8, squared in any::<bool>(), blocks in 1u32..5, far in any::<bool>(),
    ) {
        if !available() {
            return Ok(());
        }
        let (d, gap) = if aligned { (d.next_multiple_of(4), 4 * (1 + gap)) } else { (d, 1 + gap) };
        let (head, axes) = (Head { deterministic }, axes(seed, d, sigma));
        let outputs = if deterministic { d } else { 2 * d };
        let (number, n) = (77, rows * d);
        let x0 = normals(seed, n);
        // Far out, log s meets both ends of its range.
        let reach = if far { 4.0 } else { 1.0 };
        let raw: Vec<f32> = normals(seed ^ 1, rows * outputs).iter().map(|x| x * reach).collect();
        let time = uniforms(seed ^ 2, rows, 0.0, 0.995);
        let times = ticks(axes.clock, &time);
        let xi = drawn(seed, number, Stream::Endpoint, first_row * d as u64, n);
        let eta = drawn(seed, number, Stream::Bridge, first_row * d as u64, n);

        let mut block = cpu();
        let mut of_cpu = |x0: &[f32], raw: &[f32], xi: &[f32], eta: &[f32]| {
            let bridge = Bridge {
                x0: upload(&mut block, x0, d),
                raw: upload(&mut block, raw, outputs),
                noise: CpuNoise {
                    xi: upload(&mut block, xi, d),
                    eta: upload(&mut block, eta, d),
                    component: Mat::NONE,
                },
                time: upload(&mut block, &times, 3),
                which: None,
            };
            let [end, state] = [0; 2].map(|_| block.scratch(rows, d + 1));
            let drift = block.scratch(rows, d);
            block.bridge(&head, &axes, &bridge, &Points { end: Some(end), state: Some(state), drift: Some(drift) });
            [end.columns(0, d), state.columns(0, d), drift].map(|mat| download(&block, mat))
        };
        // All of them are sums of terms in the source sample, the mean and each of the noises.
        let none = vec![0.0; n];
        let part = |means: bool| -> Vec<f32> {
            raw.iter().enumerate().map(|(i, &x)| if (i % outputs < d) == means { x } else { 0.0 }).collect()
        };
        let (mean, spread) = (part(true), part(false));
        let terms = [
            of_cpu(&x0, &spread, &none, &none),
            of_cpu(&none, &mean, &none, &none),
            of_cpu(&none, &spread, &xi, &none),
            of_cpu(&none, &spread, &none, &eta),
        ];
        let expected = of_cpu(&x0, &raw, &xi, &eta);

        // Squares lie behind the time.
        let (squares, append) = if squared { (d, true) } else { (0, append) };
        let (centre, _) = squares_of(seed, &[], d, squares, |_| 0.0);
        let centre = Buffer::of(&centre);
        let extra = usize::from(append);
        let cols = d + extra + squares;
        let stride = |cols: usize| if aligned { (cols + gap).next_multiple_of(4) } else { cols + gap };
        let x0_matrix = Matrix::of(&x0, d, d + gap);
        let raw_matrix = Matrix::of(&raw, outputs, outputs + gap);
        let (time_matrix, numbers) = (Matrix::of(&times, 3, 3 + gap), Buffer::of(&axes.numbers));
        let want = |bit: u32| wanted >> bit & 1 == 1;
        let found = in_two_orders(seed, |order| {
            let [x1, xt] = [0, 1].map(|_| Matrix::new(rows, cols, stride(cols)));
            let drift = Matrix::new(rows, d, d + gap);
            launch("bridge_sample", [blocks, 1, 1], [64, 1, 1], order, arguments_of![
                &x0_matrix.data, x0_matrix.stride as u32, &raw_matrix.data, raw_matrix.stride as u32,
                &time_matrix.data, time_matrix.stride as u32, rows as u32, d as u32, &numbers, u32::from(deterministic),
                seed, 0u64, number, first_row,
                want(0).then_some(&x1.data), x1.stride as u32, squares as u32, want(1).then_some(&xt.data),
                xt.stride as u32, squares as u32, &centre, want(2).then_some(&drift.data), drift.stride as u32,
                u32::from(append),
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
            let inner = columns(&values, cols, 0, d);
            close_terms(what, &inner, &expected[i], d, &terms.each_ref().map(|term| term[i].clone()));
            if i < 2 && squares > 0 {
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

    #[test]
    fn trajectories(
        rows in 1usize..20, d in 1usize..40, aligned in any::<bool>(), gap in 0usize..3, seed in any::<u64>(),
        first_row in 0u64..1 << 30, sigma in 0.05f64..2.0, mut times in prop::collection::vec(0.0f64..1.0, 1..9),
        to_end in any::<bool>(), scale in 0.1f64..20.0,
    ) {
        if !available() {
            return Ok(());
        }
        let d = if aligned { d * 4 } else { d };
        times.sort_by(f64::total_cmp);
        times.insert(0, 0.0);
        let middle = times[times.len() / 2];
        times.insert(times.len() / 2, middle);
        if to_end {
            times.extend([1.0, 1.0]);
        }
        let [x0, x1] = [seed, seed ^ 1].map(|s| normals(s, rows * d));
        let shift: Vec<f64> = normals(seed ^ 2, d).into_iter().map(f64::from).collect();

        // As a session draws it.
        let (line, mut now) = (times.len() * d, 0.0);
        let (mut along, mut spread) = (Vec::new(), Vec::new());
        let (mut expected, mut moved) = (vec![0f32; rows * line], vec![0f32; rows * line]);
        for &t in &times {
            along.push(if t >= 1.0 { 1.0 } else { ((t - now) / (1.0 - now)) as f32 });
            let width = sigma * ((t - now) * (1.0 - t) / (1.0 - now)).sqrt();
            spread.push(if t >= 1.0 { 0.0 } else { width as f32 });
            now = t;
        }
        for r in 0..rows {
            let first = (first_row + r as u64) * line as u64;
            let noise = drawn(seed, 0, Stream::Bridge, first, line);
            let mut x = x0[r * d..(r + 1) * d].to_vec();
            for i in 0..times.len() {
                for j in 0..d {
                    let end = x1[r * d + j];
                    let size = f64::from(x[j].abs().max(end.abs()));
                    x[j] = if times[i] >= 1.0 { end } else { x[j] + along[i] * (end - x[j]) + spread[i] * noise[i * d + j] };
                    moved[r * line + i * d + j] = (size * scale) as f32;
                    expected[r * line + i * d + j] = (f64::from(x[j]) * scale + shift[j]) as f32;
                }
            }
        }
        let [x0, x1] = [x0, x1].map(|x| Matrix::of(&x, d, d + gap));
        let (along, spread, shift) = (Buffer::of(&along), Buffer::of(&spread), Buffer::of(&shift));
        let [path] = in_two_orders(seed, |order| {
            let path = Matrix::new(rows, line, line);
            launch("bridge_trajectory", [3, 1, 1], [64, 1, 1], order, arguments_of![
                &x0.data, x0.stride as u32, &x1.data, x1.stride as u32, rows as u32, d as u32, &along, &spread,
                times.len() as u32, &path.data, seed, 0u64, first_row, scale, &shift,
            ]);
            [path.into()]
        });
        close_terms("path", &path.values(), &expected, d, &[moved]);
    }
}
