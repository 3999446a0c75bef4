//! How much a clock slows down for samples of the target: not for Gaussians, and by what is left of its time once the finest
//! of the target shows.

use super::random::normals;
use crate::data::{Normalisation, Split};
use crate::device::cpu::pool::Pool;
use crate::euot::directions::Directions;
use crate::euot::gaussian_bridge::GaussianBridge;
use crate::euot::gaussian_pair::Gaussian;
use crate::formulas::{Conjugate, Divergence};
use crate::rng::Stream;
use crate::symmetric::Symmetric;
use approx::assert_relative_eq;

const ROWS: usize = 16_000;
const CONJUGATE: Conjugate = Conjugate { divergence: Divergence::Balanced, tau: 1.0 };

fn variance(column: impl Iterator<Item = f64> + Clone) -> f64 {
    let count = column.clone().count() as f64;
    let mean = column.clone().sum::<f64>() / count;
    column.map(|x| (x - mean).powi(2)).sum::<f64>() / count
}

/// Returns the bridge from a Gaussian with these variances to samples, each component by itself.
fn bridge(source: &[f64], target: &[f64], sigma: f64) -> GaussianBridge {
    let d = source.len();
    let variances: Vec<f64> = (0..d).map(|j| variance(target.iter().copied().skip(j).step_by(d))).collect();
    weighed_bridge(source, target, vec![1.0; target.len() / d], &variances, sigma)
}

/// The same to weighed samples with these variances.
fn weighed_bridge(source: &[f64], target: &[f64], weights: Vec<f64>, variances: &[f64], sigma: f64) -> GaussianBridge {
    let d = source.len();
    let diagonal = |variances: &[f64]| Gaussian {
        mean: vec![0.0; d],
        covariance: Symmetric::diagonal(variances.iter().copied()).unwrap(),
    };
    let mut directions = Directions::components(&[diagonal(source), diagonal(variances)], sigma, &CONJUGATE).unwrap();
    directions.target = Some(Split::of_fitted(d, target.to_vec(), weights).unwrap().halved());
    let common = Normalisation { shift: vec![0.0; d].into(), scale: 1.0 };
    directions.bridge(&common, sigma, &CONJUGATE, &Pool::new(1).unwrap()).unwrap().0
}

/// Two modes at -1 and 1 with this spread.
fn modes(spread: f64, rows: usize, seed: u64) -> Vec<f64> {
    let draws = normals(seed, Stream::Init, 2 * rows);
    draws.chunks(2).map(|z| z[0].signum() + spread * z[1]).collect()
}

#[test]
fn gaussians_keep_an_even_clock() {
    for (d, seed) in [(1, 1), (2, 2), (7, 3), (40, 4)] {
        // Of one magnitude, and from 1 to 10^4.
        for ratio in [1.0f64, 1e4] {
            let scales: Vec<f64> = (0..d).map(|j| ratio.powf(j as f64 / d as f64)).collect();
            let target: Vec<f64> =
                normals(seed, Stream::Init, d * ROWS).iter().enumerate().map(|(i, x)| x * scales[i % d]).collect();
            let source: Vec<f64> = scales.iter().map(|scale| scale * scale).collect();
            assert_eq!(bridge(&source, &target, 1.0).ease, 1.0, "{d} numbers, {ratio}");
        }
    }
}

/// Along one axis the clock is that axis's time.
#[test]
fn an_axis_is_eased_by_its_finest_over_its_noise() {
    for spread in [0.1f64, 0.2, 0.3] {
        let bridge = bridge(&[1.0], &modes(spread, ROWS, 5), 2.0);
        let noise = 4.0 * bridge.contraction[0];
        // Two of eight clusters would do; the others divide the modes' samples.
        assert_relative_eq!(bridge.ease, (2.0 * spread * spread / noise).powf(0.75), max_relative = 0.5);
    }
    // With little noise nothing is finer than it.
    assert_eq!(bridge(&[1.0], &modes(0.3, ROWS, 5), 0.1).ease, 1.0);
    // What is one point is no finer than the value function's last time.
    let points = bridge(&[1.0], &modes(0.0, ROWS, 5), 2.0);
    assert_relative_eq!(points.ease, 0.005f64.powf(0.75), max_relative = 1e-3);
}

/// A narrow axis has the last of the clock's time, and so has what is fine along it; a wide axis comes to its end early.
#[test]
fn a_narrow_axis_is_eased_more_than_a_wide_one() {
    let (fine, smooth) = (modes(0.3, ROWS, 6), normals(7, Stream::Init, ROWS));
    let pair = |first: &[f64], second: &[f64], unit: f64| -> Vec<f64> {
        first.iter().zip(second).flat_map(|(x, y)| [*x, unit * y]).collect()
    };
    let alone = bridge(&[1.0], &fine, 100.0).ease;
    let narrow = bridge(&[1.0, 1e6], &pair(&fine, &smooth, 1e3), 100.0);
    let range = narrow.log_range();
    assert_relative_eq!(narrow.ease, alone / range.powf(0.75), max_relative = 0.15);
    let wide = bridge(&[1.0, 1e6], &pair(&smooth, &fine, 1e3), 100.0);
    assert!(wide.ease > 0.6, "{}", wide.ease);
}

/// A ring's components are smooth; its thickness shows in clusters of both together. Components that are one point tell
/// nothing.
#[test]
fn thin_directions_that_are_no_axis_count() {
    let draws = normals(8, Stream::Init, 3 * ROWS);
    let ring = |thickness: f64| -> Vec<f64> {
        let place = |z: &[f64]| {
            let (length, radius) = (z[0].hypot(z[1]), 2.0 + thickness * z[2]);
            [radius * z[0] / length, radius * z[1] / length, 7.0]
        };
        draws.chunks(3).flat_map(place).collect()
    };
    let [thin, thick] = [0.05, 0.5].map(|thickness| bridge(&[1.0; 3], &ring(thickness), 1.0).ease);
    assert!(thin < 0.15 && thick > 2.0 * thin, "{thin} {thick}");
}

/// A direction that is no axis comes to its end with the slowest of its axes.
#[test]
fn a_thin_direction_across_axes_of_unequal_scale_is_the_slow_ones() {
    let draws = normals(10, Stream::Init, 3 * ROWS);
    // A ring whose second number has a unit of 1,000: beside the noise along each axis it is as thin as without.
    let ring = |unit: f64| -> Vec<f64> {
        let place = |z: &[f64]| {
            let (length, radius) = (z[0].hypot(z[1]), 2.0 + 0.05 * z[2]);
            [radius * z[0] / length, unit * radius * z[1] / length]
        };
        draws.chunks(3).flat_map(place).collect()
    };
    let even = bridge(&[1.0; 2], &ring(1.0), 1e3).ease;
    let uneven = bridge(&[1.0, 1e6], &ring(1e3), 1e4);
    assert!(uneven.ease < even && uneven.ease > 0.3 * even / uneven.log_range().powf(0.75), "{} {even}", uneven.ease);
}

/// Neither the order of samples nor those that weigh nothing change what is told.
#[test]
fn sorted_samples_are_seen_from_end_to_end() {
    let mut sorted = normals(11, Stream::Init, ROWS);
    sorted.sort_unstable_by(f64::total_cmp);
    assert_eq!(bridge(&[1.0], &sorted, 1.0).ease, 1.0);
    let mut fine = modes(0.2, ROWS, 12);
    let drawn = bridge(&[1.0], &fine, 2.0).ease;
    fine.sort_unstable_by(f64::total_cmp);
    assert_relative_eq!(bridge(&[1.0], &fine, 2.0).ease, drawn, max_relative = 0.2);
    let padded: Vec<f64> = normals(13, Stream::Init, ROWS).into_iter().chain(fine.iter().copied()).collect();
    let weights = (0..2 * ROWS).map(|row| if row < ROWS { 0.0 } else { 1.0 }).collect();
    let weighed = weighed_bridge(&[1.0], &padded, weights, &[variance(fine.iter().copied())], 2.0);
    assert_relative_eq!(weighed.ease, drawn, max_relative = 0.2);
}

/// Of few samples clusters fit by chance.
#[test]
fn few_samples_tell_nothing() {
    for d in [1, 4, 40] {
        for rows in [2, 5, 20, 64, 200, 500, 2000] {
            let target: Vec<f64> = normals(9 + rows as u64, Stream::Init, d * rows);
            assert_eq!(bridge(&vec![1.0; d], &target, 1.0).ease, 1.0, "{rows} rows of {d}");
        }
    }
}

/// A flag so rare that one half of the samples hardly has it is no reason for a clock that stands still, or for a file that
/// is refused.
#[test]
fn rare_flags_leave_an_ease_that_a_file_may_have() {
    for unit in [1e-7, 1.2e-6, 1.4e-6, 1e-3, 1.0] {
        let numbers = normals(14, Stream::Init, ROWS);
        let flagged = |row: usize| if row.is_multiple_of(3) { unit } else { 0.0 };
        let target: Vec<f64> = numbers.iter().enumerate().flat_map(|(row, x)| [*x, flagged(row)]).collect();
        let bridge = bridge(&[1.0, 0.22 * unit * unit], &target, 1.0);
        bridge.check(&[0.0; 2], 1.0, 1.0, 8).unwrap();
        assert!(bridge.ease > 5e-4, "{unit}: {}", bridge.ease);
    }
}
