//! Forms and what they have of samples, against plain sums.

use super::random::{normals, random_axes};
use crate::data::Split;
use crate::device::cpu::pool::Pool;
use crate::euot::forms::{Forms, Parts};
use crate::lanes::ROWS;
use crate::rng::Stream;
use approx::assert_relative_eq;

fn random(seed: u64, length: usize) -> Vec<f64> {
    normals(seed, Stream::Init, length)
}

/// Samples come in blocks, the last of which need not be whole, and some have no weight.
#[test]
fn parts_are_those_of_one_sample_after_another() {
    for (rows, count, d) in [(1, 1, 2), (3, 7, 3), (50, 9, 5), (200, 3, 17), (77, 17, 33)] {
        let seed = (rows * count) as u64;
        let axes: Vec<Vec<f64>> =
            (0..count as u64).map(|k| random_axes(d, seed + 100 * k).into_iter().map(f64::from).collect()).collect();
        let [constants, squares, slopes] =
            [random(seed + 1, count), random(seed + 2, count * d), random(seed + 3, count * d)];
        let mut forms = Forms::new(d, count).unwrap();
        for (k, axes) in axes.iter().enumerate() {
            forms.set(k, constants[k], axes, |j| [-squares[k * d + j].abs(), slopes[k * d + j]]);
        }
        let samples = random(seed + 4, rows * d);
        let weights: Vec<f64> = (0..rows).map(|row| if row % 3 == 1 { 0.0 } else { 1.0 + 0.1 * row as f64 }).collect();
        let split = Split::of_fitted(d, samples.clone(), weights.clone()).unwrap();

        let (mut log, mut shares) = (0.0, vec![0.0; count]);
        let (mut means, mut products) = (vec![0.0; count * d], vec![0.0; count * d * d]);
        let mut overlaps = vec![0.0; count * count];
        for (x, w) in samples.chunks(d).zip(&weights) {
            let form = |k: usize| {
                let place = |j: usize| -> f64 { axes[k][j * d..][..d].iter().zip(x).map(|(a, x)| a * x).sum() };
                let along = |j: usize| place(j) * (slopes[k * d + j] - squares[k * d + j].abs() * place(j));
                (constants[k] + (0..d).map(along).sum::<f64>()).exp()
            };
            let each: Vec<f64> = (0..count).map(form).collect();
            let sum: f64 = each.iter().sum();
            log += w * sum.ln();
            for (i, a) in each.iter().enumerate() {
                each.iter().enumerate().for_each(|(j, b)| overlaps[i * count + j] += w * a * b / (sum * sum));
            }
            for (k, part) in each.iter().map(|form| w * form / sum).enumerate() {
                shares[k] += part;
                for i in 0..d {
                    means[k * d + i] += part * x[i];
                    (0..d).for_each(|j| products[(k * d + i) * d + j] += part * x[i] * x[j]);
                }
            }
        }
        let all: f64 = weights.iter().sum();
        let found = forms.parts(&split, &Pool::new(1).unwrap()).unwrap();
        assert_relative_eq!(found.log, log / all, max_relative = 1e-10);
        for (k, share) in shares.iter().enumerate() {
            assert_relative_eq!(found.shares[k], share / all, max_relative = 1e-10);
            if *share < 1e-3 * all {
                continue;
            }
            for i in 0..d {
                let mean = |i: usize| means[k * d + i] / share;
                assert_relative_eq!(found.mean(k)[i], mean(i), max_relative = 1e-3, epsilon = 1e-3);
                for j in 0..d {
                    let covariance = products[(k * d + i) * d + j] / share - mean(i) * mean(j);
                    assert_relative_eq!(
                        found.covariances[k].row(i)[j],
                        covariance,
                        max_relative = 1e-2,
                        epsilon = 1e-2
                    );
                }
            }
        }
        let [both, again] = [1, 3].map(|threads| forms.overlaps(&split, &Pool::new(threads).unwrap()).unwrap());
        for k in 0..count {
            for (found, expected) in both.row(k).iter().zip(&overlaps[k * count..]) {
                assert_relative_eq!(*found, expected / all, max_relative = 1e-10, epsilon = 1e-14);
            }
            assert_eq!(both.row(k), again.row(k));
        }
        // However many threads there are.
        let again = forms.parts(&split, &Pool::new(3).unwrap()).unwrap();
        assert_eq!((again.log, &again.shares, &again.means), (found.log, &found.shares, &found.means));
    }
}

#[test]
fn what_is_given_has_its_moments() {
    let samples = [1.0, 2.0, 3.0, 6.0];
    let split = Split::of_fitted(2, samples.to_vec(), vec![1.0, 3.0]).unwrap();
    let one = Parts::measured(1, &split, &Pool::new(1).unwrap(), |_, parts| {
        parts.fill(1.0);
        [0.5; ROWS]
    })
    .unwrap();
    assert_eq!((one.log, one.mean(0)), (0.5, &[2.5, 5.0][..]));
    assert_eq!([one.covariances[0].row(0)[1], one.covariances[0].row(1)[1]], [1.5, 3.0]);
}
