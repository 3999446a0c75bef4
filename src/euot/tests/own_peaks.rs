//! Peaks with axes of their own against the samples that they are fitted to.

use super::case::own_axis;
use super::peaks::{planned, samples};
use super::random::{normals, random_axes};
use crate::data::{Clusters, Normalisation, Split};
use crate::device::cpu::pool::Pool;
use crate::euot::own_axes::OwnAxes;
use crate::euot::turned_fit;
use crate::euot::whole_clusters::WholeClusters;
use crate::formulas::axes::Axis;
use crate::formulas::{Axes, Clock};
use crate::rng::Stream;
use std::f64::consts::PI;

/// Returns clusters with axes of their own, where the target has such: so many as a rule, and at most.
fn own_clusters(target: &Split, counts: [usize; 2], pool: &Pool) -> Option<WholeClusters> {
    let tiles = Clusters::fit(target, counts[0]).unwrap();
    let common = Normalisation { shift: vec![0.0; target.dimension()].into(), scale: 1.0 };
    let search = OwnAxes {
        samples: target,
        many: None,
        common: &common,
        clusters: &tiles,
        axes: None,
        is_chosen: false,
        counts,
        pool,
    };
    search.found().unwrap()
}

/// Fits peaks with axes of their own between normal samples and these, checks that their plan carries the one side to
/// all first and second moments of the other, and returns the axes with the peaks.
fn carried(target: &Split, clusters: WholeClusters, sigma: f64, pool: &Pool) -> Axes<Vec<f64>> {
    let (d, rows) = (target.dimension(), target.rows());
    let source = samples(d, normals(1, Stream::Init, rows * d));
    let WholeClusters { parts, finer, .. } = clusters;
    let peaks = turned_fit::fit([&source, target], parts, finer, sigma, pool).unwrap().expect("peaks");
    let axis = Axis { sigma, rate: 1.0, curvature: 0.0, slope: 0.0 };
    let axes = Axes::new((0..d).map(|_| axis), Clock::EVEN, sigma * sigma, 0.0).unwrap().with_peaks(&peaks).unwrap();
    let mut made = vec![0.0; d + d * d];
    let mut add = |weight: f64, x: &[f64], spread: &dyn Fn(usize, usize) -> f64| {
        for i in 0..d {
            made[i] += weight * x[i];
            (0..d).for_each(|j| made[d + i * d + j] += weight * (x[i] * x[j] + spread(i, j)));
        }
    };
    for (x0, _) in source.half(false) {
        for (component, (part, raw)) in planned(&axes, x0).into_iter().enumerate() {
            let own: Vec<Vec<f64>> = (0..d).map(|j| own_axis(&axes, component, j)).collect();
            let x: Vec<f64> = (0..d).map(|i| x0[i] + (0..d).map(|j| own[j][i] * raw[j]).sum::<f64>()).collect();
            let variance = |j: usize| (sigma * raw[d + j].exp()).powi(2);
            let spread = |a: usize, b: usize| (0..d).map(|j| own[j][a] * own[j][b] * variance(j)).sum::<f64>();
            add(part / rows as f64, &x, &spread);
        }
    }
    let mut expected = vec![0.0; d + d * d];
    for (y, _) in target.half(false).chain(target.half(true)) {
        for i in 0..d {
            expected[i] += y[i] / rows as f64;
            (0..d).for_each(|j| expected[d + i * d + j] += y[i] * y[j] / rows as f64);
        }
    }
    for (made, expected) in made.iter().zip(&expected) {
        assert!((made - expected).abs() < 0.03, "{made} and {expected}");
    }
    axes
}

/// Clusters with axes of their own are told from such in the axes of a sample, and the plan of their peaks carries the
/// source to all second moments of the target.
#[test]
fn peaks_with_axes_of_their_own_carry_the_source_to_the_target() {
    let (d, rows, pool) = (3, 24_000, Pool::new(1).unwrap());
    let clusters: Vec<Vec<f32>> = (0..3).map(|k| random_axes(d, 5 + k)).collect();
    let place = |k: usize, j: usize| 1.5 * ((3 * k + j) as f64 * 2.3).sin();
    let target = |turned: bool| {
        let z = normals(2, Stream::Init, rows * d);
        let point = |row: usize| {
            let k = row % 3;
            let own = |j: usize| [0.1, 0.3, 0.6][j] * z[row * d + j];
            let at = |i: usize| -> f64 {
                let away =
                    if turned { (0..d).map(|j| f64::from(clusters[k][j * d + i]) * own(j)).sum() } else { own(i) };
                place(k, i) + away
            };
            (0..d).map(at).collect::<Vec<_>>()
        };
        samples(d, (0..rows).flat_map(point).collect()).halved()
    };
    assert!(own_clusters(&target(false), [6, 6], &pool).is_none());
    let target = target(true);
    let clusters = own_clusters(&target, [6, 6], &pool).expect("axes of their own");
    carried(&target, clusters, 0.5, &pool);
}

/// Two thin arcs, each in the bend of the other, and noise that is little beside the distances between their tiles:
/// rounds of ratios of shares do not end there.
#[test]
fn peaks_along_thin_curves_carry_the_source_under_little_noise() {
    let (rows, pool) = (16_000, Pool::new(1).unwrap());
    let z = normals(3, Stream::Init, 2 * rows);
    let point = |row: usize| {
        let side = if row.is_multiple_of(2) { 1.0 } else { -1.0 };
        let angle = PI * (row as f64 * 0.618_034).fract();
        let (x, y) = (angle.cos() - 0.5, angle.sin() - 0.25);
        [side * x + 0.05 * z[2 * row], side * y + 0.05 * z[2 * row + 1]]
    };
    let target = samples(2, (0..rows).flat_map(point).collect()).halved();
    let clusters = own_clusters(&target, [16, 32], &pool).expect("axes of their own");
    carried(&target, clusters, 0.08, &pool);
}

/// Two sheets, one above the other and turned: along the axis across them a peak has next to no spread, and each has
/// its place.
#[test]
fn peaks_of_flat_clusters_are_flat() {
    let (d, rows, pool) = (3, 12_000, Pool::new(1).unwrap());
    let turn = random_axes(d, 3);
    let z = normals(4, Stream::Init, 2 * rows);
    let point = |row: usize| {
        let side = if row.is_multiple_of(3) { 1.0 } else { -0.5 };
        // One of them leans, so that they have no axes in common.
        let own = [z[2 * row], 0.3 * z[2 * row + 1] + 0.5 * side * z[2 * row], side];
        (0..d).map(|i| (0..d).map(|j| f64::from(turn[j * d + i]) * own[j]).sum()).collect::<Vec<f64>>()
    };
    let target = samples(d, (0..rows).flat_map(point).collect()).halved();
    let clusters = own_clusters(&target, [4, 4], &pool).expect("axes of their own");
    let sigma = 0.5;
    let axes = carried(&target, clusters, sigma, &pool);
    let x0 = vec![0.1; d];
    for (_, raw) in planned(&axes, &x0) {
        let least = raw[d..].iter().copied().fold(f64::INFINITY, f64::min);
        assert!(sigma * least.exp() < 0.02, "{}", sigma * least.exp());
    }
}
