//! What the start of a training is: the closed form for Gaussians, and what becomes of the problem in its axes.

use super::random::normals;
use crate::data::{Normalisation, Spread};
use crate::device::cpu::pool::Pool;
use crate::euot::directions::Directions;
use crate::euot::gaussian_bridge::GaussianBridge;
use crate::euot::gaussian_pair::{Gaussian, Pair};
use crate::formulas::axes::Part;
use crate::formulas::{Conjugate, Divergence};
use crate::rng::Stream;
use crate::symmetric::{Symmetric, dot};
use proptest::prelude::*;

/// A Gaussian with correlated numbers whose spreads differ by up to this ratio.
/// The calling thread alone.
fn one() -> Pool {
    Pool::new(1).unwrap()
}

fn gaussian(d: usize, seed: u64, ratio: f64) -> Gaussian {
    let roots = normals(seed, Stream::Init, d * d);
    let mean = normals(seed ^ 1, Stream::Init, d).iter().map(|x| 0.5 * x).collect();
    let mut covariance = Symmetric::zero(d).unwrap();
    for j in 0..d {
        for k in 0..d {
            let scale = ratio.powf(-((j + k) as f64) / (2.0 * d as f64));
            let value = scale * dot(&roots[j * d..][..d], &roots[k * d..][..d]) / d as f64;
            covariance.row_mut(j)[k] = value + if j == k { 0.05 * scale } else { 0.0 };
        }
    }
    Gaussian { mean, covariance }
}

fn units(d: usize) -> Normalisation {
    Normalisation { shift: vec![0.0; d].into(), scale: 1.0 }
}

fn conjugates() -> impl Strategy<Value = Conjugate> {
    (0..Divergence::ALL.len(), 0.1f64..30.0).prop_map(|(psi, tau)| Conjugate { divergence: Divergence::ALL[psi], tau })
}

/// V0(t, x) in normalised units along the axes, around the middle between both sides.
fn v0(bridge: &GaussianBridge, sigma: f64, t: f64, x: &[f64]) -> f64 {
    let along = |j: usize| {
        let (g, h) = (1.0 / bridge.contraction[j] - 1.0, bridge.pull[j]);
        let left = 1.0 + (1.0 - t) * g;
        (0.5 * g * x[j] * x[j] - h * x[j] - 0.5 * (1.0 - t) * h * h) / left + 0.5 * sigma * sigma * left.ln()
    };
    (0..x.len()).map(along).sum::<f64>() + bridge.level
}

proptest! {
    /// V' = 0 is the answer for Gaussians: what noise alone makes of the source is the target weighted by the density
    /// ratio e^(k V0), with any covariances.
    #[test]
    fn gaussians_need_nothing_more(
        d in 1usize..7, seed in any::<u64>(), sigma in 0.05f64..3.0, ratio in 1.0f64..100.0, conjugate in conjugates(),
    ) {
        let sides = [gaussian(d, seed, ratio), gaussian(d, seed ^ 77, ratio)];
        let directions = Directions::principal(&sides, sigma, &conjugate).unwrap();
        let softness = conjugate.divergence.softness(conjugate.tau);
        let (q, [source, target]) = (&directions.contraction, &directions.sides);
        let pair = Pair { source, target, noise: sigma * sigma, softness };
        let h = pair.pull(q).unwrap();
        // The end's covariance E = Q A Q + sigma^2 Q; E^-1 = B^-1 - k G says E B^-1 = I + k E G, so E = B + k E G B.
        for i in 0..d {
            let end = |j: usize| q[i] * q[j] * source.covariance.row(i)[j] + if i == j { sigma * sigma * q[i] } else { 0.0 };
            let bent: Vec<f64> = (0..d).map(|j| end(j) * (1.0 / q[j] - 1.0)).collect();
            for j in 0..d {
                let expected = target.covariance.row(i)[j] + softness * dot(&bent, target.covariance.row(j));
                let size = (end(i) * target.covariance.row(j)[j]).sqrt() + expected.abs() + end(i);
                prop_assert!((end(j) - expected).abs() < 2e-5 * size, "{} {expected}", end(j));
            }
            // Its mean is Q (m0 + h) = m1 + k E (G m1 - h).
            let tilt: Vec<f64> = (0..d).map(|j| (1.0 / q[j] - 1.0) * target.mean[j] - h[j]).collect();
            let shift: f64 = (0..d).map(|j| end(j) * tilt[j]).sum();
            let (mean, expected) = (q[i] * (source.mean[i] + h[i]), target.mean[i] + softness * shift);
            prop_assert!((mean - expected).abs() < 1e-5 * (1.0 + mean.abs() + softness * shift.abs()), "{mean} {expected}");
        }
        // Around the middle between both sides it is the same map: q (x0 - c + h') + c.
        let (expected, q) = (h, q.clone());
        let (bridge, moved) = directions.bridge(&units(d), sigma, &conjugate, &one()).unwrap();
        let middle = bridge.rotation.as_ref().unwrap().turned(&moved.shift).unwrap();
        for j in 0..d {
            let found = bridge.pull[j] - middle[j] + middle[j] / q[j];
            let size = 1.0 + expected[j].abs() + middle[j].abs() * (1.0 + 1.0 / q[j]);
            prop_assert!((found - expected[j]).abs() < 1e-5 * size, "{found} {}", expected[j]);
        }
    }

    /// With variances alike in all directions, the axes make no difference: they have the contraction and the pull of
    /// the bridge with one contraction.
    #[test]
    fn even_sides_have_the_even_bridge(
        mean in prop::collection::vec(-1.5f64..1.5, 6), a in 0.05f64..4.0, b in 0.05f64..4.0, sigma in 0.05f64..3.0,
        conjugate in conjugates(),
    ) {
        let sides = [(&mean[..3], a), (&mean[3..], b)]
            .map(|(mean, variance)| Gaussian { mean: mean.to_vec(), covariance: Symmetric::diagonal([variance; 3].into_iter()).unwrap() });
        let spreads = [(&mean[..3], a), (&mean[3..], b)].map(|(mean, variance)| Spread::even(mean.to_vec(), variance));
        let even = GaussianBridge::even(&spreads[0], &spreads[1], sigma, &conjugate).unwrap();
        let directions = Directions::components(&sides, sigma, &conjugate).unwrap();
        let softness = conjugate.divergence.softness(conjugate.tau);
        let pair = Pair { source: &sides[0], target: &sides[1], noise: sigma * sigma, softness };
        let (q, h) = (&directions.contraction, pair.pull(&directions.contraction).unwrap());
        let level = pair.level(q, &h, conjugate.divergence.has_exponential_ratio()).unwrap();
        prop_assert!((level - even.level).abs() < 1e-6 * (1.0 + level.abs()), "{level} {}", even.level);
        let start = q[0] * pair.start(q, &h, level);
        prop_assert!((start - even.start).abs() < 1e-6 * (1.0 + start.abs()), "{start} {}", even.start);
        for j in 0..3 {
            prop_assert!((q[j] / even.contraction[j] - 1.0).abs() < 1e-9);
            prop_assert!((h[j] - even.pull[j]).abs() < 1e-7 * (1.0 + h[j].abs()), "{} {}", h[j], even.pull[j]);
        }
    }

    /// A value function V' of the problem in the axes, with its own noise and time along each, gives one of the problem
    /// itself: dV/dt + sigma^2/2 Laplacian V - 1/2 |grad V|^2 = 0 for V = V0 + V' / w.
    #[test]
    fn value_functions_stay_value_functions(
        seed in any::<u64>(), sigma in 0.3f64..1.5, ratio in 1.0f64..30.0, t in 0.1f64..0.9, conjugate in conjugates(),
    ) {
        let d = 3;
        let sides = [gaussian(d, seed, ratio), gaussian(d, seed ^ 77, ratio)];
        let (bridge, _) = Directions::principal(&sides, sigma, &conjugate).unwrap().bridge(&units(d), sigma, &conjugate, &one()).unwrap();
        let axes = bridge.axes::<f64>(sigma).unwrap();
        let (noises, rates) = (axes.part(Part::Sigma).to_vec(), axes.part(Part::Rate).to_vec());
        let slopes = [normals(seed ^ 5, Stream::Init, d), normals(seed ^ 6, Stream::Init, d)];
        // -log of a sum of two solutions of the heat equation along all axes.
        let moved = |s: f64, x: &[f64]| {
            let tick = axes.clock.at(s);
            let rest = |j: usize| tick.along(rates[j])[1];
            let part = |p: &Vec<f64>| (0..d).map(|j| p[j] * x[j] + 0.5 * (p[j] * noises[j]).powi(2) * rest(j)).sum::<f64>().exp();
            -axes.noise * (part(&slopes[0]) + part(&slopes[1])).ln()
        };
        let seen = bridge.units().unwrap();
        let v = |t: f64, x: &[f64]| {
            // In 64 bits what `AxisUnits::seen` rounds.
            let at = |j: usize| {
                let divisor = 1.0 - t + bridge.contraction[j] * t;
                (x[j] + (1.0 - t) * bridge.pull[j]) * bridge.contraction[j] / (divisor * bridge.unit[j])
            };
            let place: Vec<f64> = (0..d).map(at).collect();
            assert!((0..d).all(|j| (f64::from(seen[j].seen(x[j], t)) - place[j]).abs() < 1e-5 * (1.0 + place[j].abs())));
            v0(&bridge, sigma, t, x) + moved(bridge.clock_at(t), &place) / bridge.cost()
        };
        let x: Vec<f64> = (0..d).map(|j| 0.7 * bridge.unit[j] * (j as f64 - 0.8)).collect();
        let step = 1e-4;
        let dt = (v(t + step, &x) - v(t - step, &x)) / (2.0 * step);
        let (mut laplacian, mut square) = (0.0, 0.0);
        for j in 0..d {
            let step = 1e-3 * bridge.unit[j];
            let at = |by: f64| {
                let mut moved = x.clone();
                moved[j] += by;
                v(t, &moved)
            };
            laplacian += (at(step) - 2.0 * at(0.0) + at(-step)) / (step * step);
            square += ((at(step) - at(-step)) / (2.0 * step)).powi(2);
        }
        let terms = dt.abs() + 0.5 * sigma * sigma * laplacian.abs() + 0.5 * square;
        let left = dt + 0.5 * sigma * sigma * laplacian - 0.5 * square;
        prop_assert!(left.abs() < 2e-3 * (1.0 + terms), "{left} of {terms}");
        // The plan at time 1: the noise along each axis is that of the static problem in the axes' lengths.
        for j in 0..d {
            let expected = sigma * bridge.contraction[j].sqrt() / bridge.unit[j];
            prop_assert!((noises[j] / expected - 1.0).abs() < 1e-12);
        }
    }

    /// For KL, whose ratio is exactly e^(v / tau), the target's mass is that of the source, whatever the covariances.
    #[test]
    fn the_density_ratio_averages_one(seed in any::<u64>(), sigma in 0.2f64..2.0, tau in 0.5f64..20.0) {
        let (d, conjugate) = (2, Conjugate { divergence: Divergence::Kl, tau });
        let sides = [gaussian(d, seed, 3.0), gaussian(d, seed ^ 77, 3.0)];
        let (bridge, units) = Directions::principal(&sides, sigma, &conjugate).unwrap().bridge(&units(d), sigma, &conjugate, &one()).unwrap();
        let rotation = bridge.rotation.clone().unwrap();
        let rows: Vec<f64> = rotation.numbers().iter().map(|&x| f64::from(x)).collect();
        let middle = rotation.turned(&units.shift).unwrap();
        let mean: Vec<f64> = rotation.turned(&sides[1].mean).unwrap().iter().zip(middle.iter()).map(|(m, c)| m - c).collect();
        let spectrum = sides[1].covariance.turned(&rows).unwrap().spectrum().unwrap();
        // Where little of the mass lies on the grid there is nothing to compare.
        let n = 160;
        let (mut mass, mut edge) = (0.0, 0.0);
        for a in 0..n {
            for b in 0..n {
                let z = [a, b].map(|i| -12.0 + 24.0 * (f64::from(i) + 0.5) / f64::from(n));
                let at = |j: usize| mean[j] + (0..2).map(|k| z[k] * spectrum.values[k].sqrt() * spectrum.axes[k * 2 + j]).sum::<f64>();
                let weight = (-0.5 * (z[0] * z[0] + z[1] * z[1])).exp() / (2.0 * std::f64::consts::PI) * (24.0 / f64::from(n)).powi(2);
                let part = weight * (v0(&bridge, sigma, 1.0, &[at(0), at(1)]) / tau).exp();
                mass += part;
                edge += if a.min(b) < 8 || a.max(b) >= n - 8 { part } else { 0.0 };
            }
        }
        prop_assume!(edge < 1e-9 * mass);
        prop_assert!((mass - 1.0).abs() < 1e-4, "{mass}");
    }
}

/// The means are right at the ends of the contraction's range too: noise far above a target of one point.
#[test]
fn the_means_agree_where_the_contraction_is_held() {
    let [source, target] = [(-0.5, 1.0), (0.5, 0.0)].map(|(mean, variance)| Spread::even(vec![mean], variance));
    for divergence in [Divergence::Balanced, Divergence::Kl] {
        let conjugate = Conjugate { divergence, tau: 1e9 };
        let bridge = GaussianBridge::even(&source, &target, 100.0, &conjugate).unwrap();
        let mean = bridge.moved(&source).unwrap().mean[0];
        assert!((mean - 0.5).abs() < 1e-3, "{divergence:?}: {mean}");
    }
}

#[test]
fn a_file_with_numbers_beyond_computing_is_refused() {
    let good = GaussianBridge::none(2).unwrap();
    good.check(&[0.0; 2], 1.0, 1.0, 8).expect("it changes nothing");
    let with = |q: f64| vec![q, 1.0].into();
    for (bad, word) in [
        (GaussianBridge { contraction: with(0.0), ..good.clone() }, "contraction"),
        (GaussianBridge { contraction: with(f64::NAN), ..good.clone() }, "contraction"),
        (GaussianBridge { contraction: vec![1.0].into(), ..good.clone() }, "contractions"),
        (GaussianBridge { unit: with(0.0), ..good.clone() }, "unit"),
        (GaussianBridge { unit: with(f64::NAN), ..good.clone() }, "unit"),
        (GaussianBridge { ease: 0.0, ..good.clone() }, "ease"),
        (GaussianBridge { ease: 1.5, ..good.clone() }, "ease"),
        (GaussianBridge { ease: f64::NAN, ..good.clone() }, "ease"),
        (GaussianBridge { level: f64::INFINITY, ..good.clone() }, "finite"),
        (GaussianBridge { pull: vec![0.0; 3].into(), ..good.clone() }, "3 numbers"),
        (GaussianBridge { mean_squares: [with(1.0), vec![1.0; 3].into()], ..good.clone() }, "bridge.mean_squares"),
        (GaussianBridge { mean_squares: [with(1.0), with(-1.0)], ..good.clone() }, "bridge.mean_squares"),
        (GaussianBridge { pull: vec![1e300, 0.0].into(), ..good.clone() }, "too large"),
    ] {
        let sentence = bad.check(&[0.0; 2], 1.0, 1.0, 8).expect_err("it must be refused");
        assert!(sentence.contains(word), "{sentence}");
    }
}

#[test]
fn sides_without_spread_and_extreme_noise_give_sound_numbers() {
    for (a, b) in [(0.0, 1.0), (1.0, 0.0), (0.0, 0.0), (1e12, 1e-12)] {
        for (sigma, tau) in [1e-6, 1.0, 1e3].into_iter().flat_map(|sigma| [1e-9, 1.0, 1e9].map(|tau| (sigma, tau))) {
            for divergence in Divergence::ALL {
                let conjugate = Conjugate { divergence, tau };
                let [source, target] = [a, b].map(|variance| Spread::even(vec![0.5], variance));
                let bridge = GaussianBridge::even(&source, &target, sigma, &conjugate).unwrap();
                assert!(bridge.is_sound(), "{a} {b} {sigma} {tau} {divergence:?}: {bridge:?}");
                let sides = [a, b].map(|variance| Gaussian {
                    mean: vec![0.5, -1.0],
                    covariance: Symmetric::diagonal([variance, 1.0].into_iter()).unwrap(),
                });
                let (bridge, _) = Directions::principal(&sides, sigma, &conjugate)
                    .unwrap()
                    .bridge(&units(2), sigma, &conjugate, &one())
                    .unwrap();
                assert!(bridge.is_sound(), "{a} {b} {sigma} {tau} {divergence:?}: {bridge:?}");
            }
        }
    }
}
