//! Shares against plain sums, and long steps.

use super::*;
use crate::rng::{Sequence, Stream};
use approx::assert_relative_eq;

fn normals(seed: u64, count: usize) -> Vec<f64> {
    let mut x = vec![0f32; count];
    Sequence::new(seed, 0, Stream::Init).normals(0, &mut x);
    x.into_iter().map(f64::from).collect()
}

/// Rows and peaks come in blocks, the last of which need not be whole.
#[test]
fn shares_and_moments_are_those_of_one_sample_after_another() {
    for (count, k, d) in [(1, 1, 1), (2, 7, 3), (3, 8, 1), (5, 9, 3), (15, 17, 9), (16, 32, 2), (17, 3, 9)] {
        let seed = (count * k) as u64;
        let noises: Vec<f64> = normals(seed, d).iter().map(|z| (0.3 * z).exp()).collect();
        let exponents = Exponents {
            weights: normals(seed + 1, k),
            precisions: normals(seed + 2, k * d).iter().map(|z| 0.3 * z + 0.5).map(|p| p.max(-0.2)).collect(),
            slopes: normals(seed + 3, k * d),
        };
        let rows = normals(seed + 4, count * d);
        // One in three has no weight, but for the first.
        let weights: Vec<f64> = (0..count).map(|row| if row % 3 == 1 { 0.0 } else { 1.0 + 0.1 * row as f64 }).collect();
        let samples = Split::of_fitted(d, rows.clone(), weights.clone()).unwrap();
        for noises in [None, Some(&noises[..])] {
            let found = Shares::of(&exponents, &samples, noises).unwrap();
            let (mut log, mut shares) = (0.0, vec![0.0; k]);
            let (mut sums, mut squares) = (vec![0.0; k * d], vec![0.0; k * d]);
            for (x, w) in rows.chunks(d).zip(&weights) {
                let height = |k: usize| {
                    let along = |j: usize| {
                        let (p, b) = (exponents.precisions[k * d + j], exponents.slopes[k * d + j]);
                        let noise = noises.map_or(0.0, |noises| noises[j]);
                        let factor = 1.0 + p * noise;
                        (b * x[j] - 0.5 * p * x[j] * x[j] + 0.5 * noise * b * b) / factor - 0.5 * factor.ln()
                    };
                    (exponents.weights[k] + (0..d).map(along).sum::<f64>()).exp()
                };
                let heights: Vec<f64> = (0..k).map(height).collect();
                let sum: f64 = heights.iter().sum();
                log += w * sum.ln();
                for (k, height) in heights.iter().enumerate() {
                    let part = w * height / sum;
                    shares[k] += part;
                    for j in 0..d {
                        sums[k * d + j] += part * x[j];
                        squares[k * d + j] += part * x[j] * x[j];
                    }
                }
            }
            let all: f64 = weights.iter().sum();
            assert_relative_eq!(found.log, log / all, max_relative = 1e-10, epsilon = 1e-12);
            for (k, share) in shares.iter().enumerate() {
                assert_relative_eq!(found.shares[k], share / all, max_relative = 1e-10);
                for at in k * d..(k + 1) * d {
                    let mean = sums[at] / share;
                    assert_relative_eq!(found.means[at], mean, max_relative = 1e-10, epsilon = 1e-12);
                    let variance = squares[at] / share - mean * mean;
                    // Where a peak has next to nothing, what it is taken to have at least.
                    let least = POINT.max(LEAST_VARIANCE * 10.0);
                    if variance > least {
                        assert_relative_eq!(found.variances[at], variance, max_relative = 1e-6);
                    }
                }
            }
        }
    }
}

/// Beyond the closed form no peak is sharper or wider than the closed form may be.
#[test]
fn a_longer_step_stays_within_what_peaks_may_be() {
    let peak = |p: f64| Exponents { weights: vec![0.0], precisions: vec![p, -0.1 * p.signum()], slopes: vec![0.0; 2] };
    for (from, to) in [(300.0, 999.0), (-0.2, -0.8)] {
        let found = peak(from).towards(&peak(to), 4.0, &[1.0, 1.0]).unwrap();
        let factor = 1.0 + found.precisions[0];
        assert!((1.0 / CONTRACTIONS[1]..=1.0 / CONTRACTIONS[0]).contains(&factor), "{factor}");
    }
}
