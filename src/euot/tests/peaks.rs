//! Peaks against what defines them: the equation of the value function, the plan of that, and the samples that they are
//! fitted to.

use super::case::own_axis;
use super::random::{normals, peaked_axes};
use crate::data::Split;
use crate::device::cpu::CpuBlock;
use crate::device::cpu::simd::Isa;
use crate::device::{Method, PeaksTerm, Workspace};
use crate::error::Result;
use crate::euot::gaussian_bridge::GaussianBridge;
use crate::euot::peaks_fit;
use crate::formulas::axes::{Axis, Part};
use crate::formulas::{Axes, Clock, Peaks};
use crate::rng::Stream;
use proptest::prelude::*;
use std::sync::Arc;

/// Random peaks along axes of different noise and time, or of one noise and time and now and then along axes of their
/// own.
fn peaked(d: usize, count: usize, seed: u64) -> Axes<Vec<f64>> {
    let (noises, rates) = (normals(seed ^ 7, Stream::Init, d), normals(seed ^ 8, Stream::Init, d));
    let spread = (seed % 2) as f64;
    let axis = |j: usize| Axis {
        sigma: (0.3 * spread * noises[j]).exp(),
        rate: (-1.5 - 1.5 * spread * rates[j].sin()).exp(),
        curvature: 0.0,
        slope: 0.0,
    };
    let axes = Axes::new((0..d).map(axis), Clock::new(3.0, 1.0 / (1 + seed % 3) as f64), 0.7, 0.0).unwrap();
    peaked_axes(axes, count, seed)
}

/// V and its gradient at x and time s.
fn value(axes: &Axes<Vec<f64>>, s: f64, x: &[f64]) -> (f64, Vec<f64>) {
    let mut block = CpuBlock::<f64>::new(Isa::Portable);
    let [time, at, v, g] = [3, x.len(), 1, x.len() + 1].map(|cols| block.scratch(1, cols));
    block.row_mut(time, 0).copy_from_slice(&axes.clock.at(s).row());
    block.row_mut(at, 0).copy_from_slice(x);
    [v, g].into_iter().for_each(|mat| block.fill(mat, 0.0));
    block.peaks(&PeaksTerm { axes, time: Some(time), x: at, v: Some(v), g: Some(g) });
    (block.row(v, 0)[0], block.row(g, 0)[..x.len()].to_vec())
}

proptest! {
    /// d V / ds + sum over j of t_j' (sigma_j^2 / 2 d_jj V - c_j / 2 (d_j V)^2) = 0 with c_j = sigma_j^2 over the
    /// noise.
    #[test]
    fn peaks_solve_the_equation(d in 1usize..5, count in 1usize..20, seed in any::<u64>(), s in 0.05f64..0.95) {
        let axes = peaked(d, count, seed);
        let x = normals(seed ^ 20, Stream::Init, d);
        let step = 1e-4;
        let at = |s: f64| value(&axes, s, &x).0;
        let mut left = (at(s + step) - at(s - step)) / (2.0 * step);
        let mut terms = left.abs();
        let (_, gradient) = value(&axes, s, &x);
        let tick = axes.clock.at(s);
        for j in 0..d {
            let moved = |by: f64| {
                let mut x = x.clone();
                x[j] += by;
                value(&axes, s, &x)
            };
            let (above, below) = (moved(step), moved(-step));
            let slope = (above.0 - below.0) / (2.0 * step);
            prop_assert!((slope - gradient[j]).abs() < 1e-5 * (1.0 + slope.abs()), "{slope} {}", gradient[j]);
            let curvature = (above.1[j] - below.1[j]) / (2.0 * step);
            let noise = axes.part(Part::Sigma)[j].powi(2);
            let [.., speed] = tick.along(axes.part(Part::Rate)[j]);
            let part = [0.5 * noise * curvature, 0.5 * noise / axes.noise * gradient[j] * gradient[j]];
            left += speed * (part[0] - part[1]);
            terms += speed * (part[0].abs() + part[1]);
        }
        prop_assert!(left.abs() < 1e-4 * (1.0 + terms), "{left} of {terms}");
    }

    /// What peaks add to a generator's outputs of nothing is the plan of their V: p(x1 | x0) over
    /// N(x1; x0, sigma^2) e^(-V(1, x1) / noise) is the same for all x1.
    #[test]
    fn the_plan_is_that_of_the_value_function(d in 1usize..5, count in 1usize..9, more in 0usize..9, seed in any::<u64>()) {
        let axes = peaked(d, count, seed);
        let components = count + more;
        let x0 = normals(seed ^ 21, Stream::Init, d);
        let mut block = CpuBlock::<f64>::new(Isa::Portable);
        let (from, outputs) = (block.scratch(1, d), block.scratch(1, components * (2 * d + 1)));
        block.row_mut(from, 0).copy_from_slice(&x0);
        block.fill(outputs, 0.0);
        block.peaks_plan(&axes, from, outputs);
        let outputs = block.row(outputs, 0);
        let logits = &outputs[components * 2 * d..];
        let total: f64 = logits.iter().map(|logit| logit.exp()).sum();
        let sigma = axes.part(Part::Sigma);
        let ratio = |x1: &[f64]| {
            let density = |k: usize| {
                let raw = &outputs[2 * d * k..][..2 * d];
                let along = |j: usize| {
                    // An output of 0 is half of the noise in the head; here it is the noise itself.
                    let s = sigma[j] * raw[d + j].exp();
                    let away = if axes.turned {
                        own_axis(&axes, k, j).iter().zip(x1.iter().zip(&x0)).map(|(a, (x1, x0))| a * (x1 - x0)).sum()
                    } else {
                        x1[j] - x0[j]
                    };
                    (-0.5 * ((away - raw[j]) / s).powi(2)).exp() / s
                };
                logits[k].exp() / total * (0..d).map(along).product::<f64>()
            };
            let noise: f64 = (0..d).map(|j| ((x1[j] - x0[j]) / sigma[j]).powi(2)).sum();
            (0..components).map(density).sum::<f64>().ln() + 0.5 * noise + value(&axes, 1.0, x1).0 / axes.noise
        };
        let expected = ratio(&x0);
        for at in 0..4 {
            let x1: Vec<f64> = normals(seed ^ (30 + at), Stream::Init, d).iter().zip(&x0).map(|(z, x)| x + z).collect();
            // Axes of peaks' own have 32-bit numbers.
            let digits = if axes.turned { 1e-5 } else { 1e-8 };
            prop_assert!((ratio(&x1) - expected).abs() < digits * (1.0 + expected.abs()), "{} {expected}", ratio(&x1));
        }
    }
}

/// V and its gradient at time s at each of some rows, in 32 bits.
fn value_of_rows(axes: &Axes<Vec<f32>>, isa: Isa, s: f64, rows: &[Vec<f64>]) -> Vec<Vec<f32>> {
    let mut block = CpuBlock::<f32>::new(isa);
    let d = axes.dimension;
    let [time, x, v, g] = [3, d, 1, d].map(|cols| block.scratch(rows.len(), cols));
    for (r, row) in rows.iter().enumerate() {
        block.row_mut(time, r).copy_from_slice(&axes.clock.at(s).row().map(|t| t as f32));
        block.row_mut(x, r).iter_mut().zip(row).for_each(|(to, x)| *to = *x as f32);
    }
    [v, g].into_iter().for_each(|mat| block.fill(mat, 0.0));
    block.peaks(&PeaksTerm { axes, time: Some(time), x, v: Some(v), g: Some(g) });
    (0..rows.len()).map(|r| [block.row(v, r), block.row(g, r)].concat()).collect()
}

/// What a row has does not depend on the rows beside it, of which one may be NaN, and every instruction set agrees.
#[test]
fn rows_have_nothing_to_do_with_each_other() {
    for (d, count) in [(2, 32), (3, 1), (4, 3), (5, 7), (8, 12), (9, 2), (16, 5), (17, 3), (33, 2), (64, 3)] {
        // Seeds of which every one has peaks along axes of their own.
        let axes = peaked(d, count, 8 * d as u64);
        assert!(axes.turned);
        let single = axes.rounded::<f32>();
        for &isa in Isa::available() {
            for rows in [1, 7, 16, 17, 33] {
                let mut x: Vec<_> = (0..rows as u64).map(|r| normals(100 + r, Stream::Init, d)).collect();
                let alone: Vec<_> =
                    x.iter().map(|x| value_of_rows(&single, isa, 0.4, std::slice::from_ref(x)).remove(0)).collect();
                let exact: Vec<_> = x.iter().map(|x| value(&axes, 0.4, x)).collect();
                let bad = rows / 2;
                x[bad][d / 2] = f64::NAN;
                for (r, found) in value_of_rows(&single, isa, 0.4, &x).into_iter().enumerate() {
                    if r == bad {
                        assert!(found.iter().all(|x| x.is_nan()), "{isa:?}, {d} numbers: {found:?}");
                        continue;
                    }
                    assert_eq!(found, alone[r], "{isa:?}, {d} numbers, row {r} of {rows}");
                    let (v, g) = &exact[r];
                    let length = v.hypot(g.iter().map(|g| g * g).sum::<f64>().sqrt());
                    for (found, exact) in found.iter().zip([*v].iter().chain(g)) {
                        let error = (f64::from(*found) - exact).abs();
                        assert!(error < 2e-4 * (1.0 + length), "{isa:?}, {d} numbers: {found} is not {exact}");
                    }
                }
            }
        }
    }
}

pub(super) fn samples(d: usize, rows: Vec<f64>) -> Split {
    let count = rows.len() / d;
    Split::of_fitted(d, rows, vec![1.0; count]).unwrap()
}

/// Returns peaks for at most so many clusters of the target.
fn fit([source, target]: [&Split; 2], sigma: &[f64], most: usize) -> Result<Option<Peaks>> {
    let all: Vec<usize> = (0..sigma.len()).collect();
    match peaks_fit::clusters(&target.columns(&all, usize::MAX)?.halved(), [most; 2])? {
        Some(clusters) => peaks_fit::fit([source, target], &clusters, sigma),
        None => Ok(None),
    }
}

/// Standard normal samples, and as many whose number j is spread about one of two places.
fn sides(d: usize, count: usize, apart: f64) -> [Split; 2] {
    let source = normals(1, Stream::Init, count * d);
    let mut target = normals(2, Stream::Init, count * d);
    for (row, x) in target.iter_mut().enumerate() {
        let sign = if (row / d).is_multiple_of(3) { -1.0 } else { 1.0 };
        *x = if apart > 0.0 { 0.3 * *x + sign * apart } else { *x };
    }
    [samples(d, source), samples(d, target)]
}

#[test]
fn gaussians_have_no_peaks() {
    for d in [1, 3, 12] {
        let [source, target] = sides(d, 6000, 0.0);
        assert!(fit([&source, &target], &vec![0.7; d], 8).unwrap().is_none());
    }
}

#[test]
fn few_samples_and_none_of_weight_have_no_peaks() {
    let [source, target] = sides(2, 12, 2.0);
    assert!(fit([&source, &target], &[0.7; 2], 8).unwrap().is_none());
    let nothing = Split::of_fitted(2, vec![0.0; 2000], vec![0.0; 1000]).unwrap();
    let [source, target] = sides(2, 1000, 2.0);
    assert!(fit([&nothing, &target], &[0.7; 2], 8).unwrap().is_none());
    assert!(fit([&source, &nothing], &[0.7; 2], 8).unwrap().is_none());
}

/// The plan of the peaks at a source sample: the probability and the outputs of a component for each.
pub(super) fn planned(axes: &Axes<Vec<f64>>, x0: &[f64]) -> Vec<(f64, Vec<f64>)> {
    let (d, count) = (axes.dimension, axes.peaks);
    let mut block = CpuBlock::<f64>::new(Isa::Portable);
    let (from, outputs) = (block.scratch(1, d), block.scratch(1, count * (2 * d + 1)));
    block.row_mut(from, 0).copy_from_slice(x0);
    block.fill(outputs, 0.0);
    block.peaks_plan(axes, from, outputs);
    let (raw, logits) = block.row(outputs, 0).split_at(2 * d * count);
    let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = logits.iter().map(|logit| (logit - top).exp()).sum();
    logits.iter().map(move |logit| (logit - top).exp() / total).zip(raw.chunks(2 * d).map(<[f64]>::to_vec)).collect()
}

/// The plan of the peaks carries the source to the moments of the target, of which a third is in one cluster.
#[test]
fn peaks_carry_the_source_to_the_target() {
    for (sigma, most) in [(0.4, 4), (1.0, 4), (3.0, 8)] {
        let d = 2;
        let [source, target] = sides(d, 12_000, 0.8);
        let peaks = fit([&source, &target], &[sigma; 2], most).unwrap().expect("peaks");
        let axis = Axis { sigma, rate: 1.0, curvature: 0.0, slope: 0.0 };
        let axes =
            Axes::new((0..d).map(|_| axis), Clock::EVEN, sigma * sigma, 0.0).unwrap().with_peaks(&peaks).unwrap();
        let (mut count, mut mean, mut square, mut left) = (0.0, 0.0, 0.0, 0.0);
        for (x0, _) in source.half(false) {
            for (part, raw) in planned(&axes, x0) {
                let (place, spread) = (x0[0] + raw[0], sigma * raw[d].exp());
                mean += part * place;
                square += part * (place * place + spread * spread);
                left += if place < 0.0 { part } else { 0.0 };
            }
            count += 1.0;
        }
        let (mean, square, left) = (mean / count, square / count, left / count);
        let expected = [0.8 / 3.0, 0.8f64.powi(2) + 0.09, 1.0 / 3.0];
        for (found, expected) in [mean, square, left].into_iter().zip(expected) {
            assert!((found - expected).abs() < 0.02, "sigma {sigma}: {found}, not {expected}");
        }
    }
}

#[test]
fn peaks_of_a_file_that_cannot_be_are_refused() {
    let numbers = |of: &[f64]| of.to_vec().into();
    let good = Peaks {
        weights: numbers(&[0.0]),
        precisions: numbers(&[1.0, -0.5]),
        centres: numbers(&[0.0; 2]),
        tilts: numbers(&[0.0; 2]),
        axes: None,
    };
    let with = |peaks| GaussianBridge { peaks: Some(Arc::new(peaks)), ..GaussianBridge::none(2).unwrap() };
    let check = |peaks, own| with(peaks).check(&[0.0; 2], 1.0, 1.0, own);
    check(good.clone(), 1).expect("it can be");
    for (bad, own, word) in [
        (good.clone(), 0, "latent_dimension"),
        (Peaks { weights: numbers(&[]), ..good.clone() }, 40, "are 0"),
        (Peaks { weights: numbers(&[0.0; 33]), ..good.clone() }, 40, "are 33"),
        (Peaks { weights: numbers(&[0.0; 2]), ..good.clone() }, 40, "have 2 precisions"),
        (Peaks { weights: numbers(&[0.0; 2]), ..good.clone() }, 1, "are 2"),
        (Peaks { tilts: numbers(&[0.0, 1e4]), ..good.clone() }, 40, "1e8"),
        (Peaks { centres: numbers(&[0.0]), ..good.clone() }, 40, "1 centres"),
        (Peaks { tilts: numbers(&[0.0; 3]), ..good.clone() }, 40, "3 tilts"),
        (Peaks { weights: numbers(&[f64::NAN]), ..good.clone() }, 40, "NaN"),
        (Peaks { tilts: numbers(&[0.0, 1e13]), ..good.clone() }, 40, "1e13"),
        (Peaks { precisions: numbers(&[0.0, -1.0]), ..good.clone() }, 40, "-1e0 over"),
        (Peaks { precisions: numbers(&[0.0, 1e6]), ..good.clone() }, 40, "exponent of 1e6"),
        (Peaks { precisions: numbers(&[0.0, 5e4]), ..good.clone() }, 40, "5e4 over"),
    ] {
        let sentence = check(bad, own).expect_err("it must be refused");
        assert!(sentence.contains(word), "{sentence}");
    }
}
