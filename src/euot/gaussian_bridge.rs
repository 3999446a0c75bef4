//! The Gaussian bridge that a training starts from: the solution for two Gaussians with the samples' means and
//! variances. The networks then learn only how the samples differ from Gaussians.
//!
//! The cost 1/2 |x1 - x0|^2 and the noise sigma enter a plan through <x0, x1> / sigma^2 alone; terms that depend on one
//! end belong to the potentials. So the plan between x0 and x1 is that between x0' = q (x0 + h) and x1 with noise
//! sigma' = sigma sqrt(q), for every contraction q > 0 and every pull h. With g = 1/q - 1 and the solution of the value
//! function's equation
//!
//! V0(t, x) = (g/2 |x|^2 - <h, x> - (1 - t)/2 |h|^2) / (1 + (1 - t) g) + d/2 sigma^2 log(1 + (1 - t) g) + level
//!
//! the value functions of the two problems are tied by
//!
//! V(t, x) = V0(t, x) + V'(t', x') / q,   x' = q (x + (1 - t) h) / D,   t' = q t / D,   D = 1 - t + q t.
//!
//! q and h are chosen so that the noise alone carries a Gaussian source onto a Gaussian target weighted by its density
//! ratio: then V' = 0. Balanced, with variances a and b, this is a q^2 + sigma^2 q = b and q (mean of x0 + h) = mean of
//! x1 (Gaussian entropic transport: Janati, Muzellec, Peyre, Cuturi, *Entropic Optimal Transport between Unbalanced
//! Gaussian Measures has a Closed Form*, NeurIPS 2020; here with isotropic variances).

use crate::data::{Normalisation, Spread};
use crate::error::Result;
use crate::formulas::{Conjugate, Quadratic, Scalar};
use crate::memory;
use crate::numbers::Numbers;
use serde::{Deserialize, Serialize};

/// The bridge that the module describes, in units of the normalised problem.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct GaussianBridge {
    /// q.
    pub contraction: f64,
    /// h: d numbers.
    pub pull: Numbers,
    /// The level of V0. With KL it is such that the density ratio averages 1 over a Gaussian target, otherwise such
    /// that V0(1, .) averages 0 over it.
    pub level: f64,
    /// q times the mean of V0(0, x0) over the source.
    pub start: f64,
    /// Mean squares of the components of x0' and of x1. Where V' = 0, the mean squares of x' go linearly in t' from one
    /// to the other. They are rounded to four digits: their use needs no more, and a file's description has 2 d of
    /// them.
    pub mean_squares: [Numbers; 2],
}

/// The variance that stands in for that of a side which is a single point.
const LEAST_VARIANCE: f64 = 1e-6;
/// The largest 1 / tau that counts: from there on the target's masses have no effect.
const MOST_SOFTNESS: f64 = 1e12;
/// Bounds of q, so that samples of both sides stay in the range of 32-bit numbers.
const CONTRACTIONS: [f64; 2] = [1e-6, 1e6];
/// The largest mean square that 32-bit numbers can compute with.
const SQUARES_END: f64 = 1e30;

impl GaussianBridge {
    /// Returns the bridge that changes nothing: V0 = 0.
    pub fn none(dimension: usize) -> Result<Self> {
        let even = |value| Numbers::collect((0..dimension).map(|_| value));
        let ones = even(1.0)?;
        Ok(Self { contraction: 1.0, pull: even(0.0)?, level: 0.0, start: 0.0, mean_squares: [ones.clone(), ones] })
    }

    /// Returns the bridge between Gaussians with these moments.
    pub fn between(source: &Spread, target: &Spread, sigma: f64, conjugate: &Conjugate) -> Result<Self> {
        let d = source.mean.len() as f64;
        let [a, b] = [source, target].map(|side| side.variance().max(LEAST_VARIANCE));
        let noise = sigma * sigma;
        // To first order every conjugate has the density ratio of KL, with a tau of its own.
        let softness = conjugate.divergence.softness(conjugate.tau).min(MOST_SOFTNESS);
        // The end's precision is 1/b - g / tau: (a q + noise) (q / b - (1 - q) / tau) = 1, here divided by 1/b + 1/tau.
        let k = 1.0 + b * softness;
        let (first, zeroth) = (noise - a * (b * softness / k), b * (1.0 + noise * softness) / k);
        let both = (first * first + 4.0 * a * zeroth).sqrt();
        let root = if first > 0.0 { 2.0 * zeroth / (first + both) } else { (both - first) / (2.0 * a) };
        let q = root.clamp(CONTRACTIONS[0], CONTRACTIONS[1]);
        let g = 1.0 / q - 1.0;
        // The difference loses its digits where tau is small.
        let precision = if q == root { 1.0 / (q * (a * q + noise)) } else { 1.0 / b - g * softness };
        let pull = source
            .mean
            .iter()
            .zip(target.mean.iter())
            .map(|(x, y)| (y / b - precision * q * x) / (precision * q + softness));
        let pull = Numbers::collect(pull)?;
        let level = if conjugate.divergence.has_exponential_ratio() {
            // tau log E[e^(V0(1, y) / tau)] without its level, in a form that stays exact as tau grows.
            let shrunk = b * precision;
            let drop = g * b * softness;
            let spread = -(if drop.abs() < 0.5 { (-drop).ln_1p() } else { shrunk.ln() }) / softness;
            let shift = |(y, h): (&f64, &f64)| (g * y * y - 2.0 * y * h + b * softness * h * h) / shrunk;
            -0.5 * (d * spread + target.mean.iter().zip(pull.iter()).map(shift).sum::<f64>())
        } else {
            // The mean of V0(1, y) is 0.
            -0.5 * g * (d * b + dot(&target.mean, &target.mean)) + dot(&target.mean, &pull)
        };
        let square: f64 = d * a + dot(&source.mean, &source.mean);
        let start = 0.5 * (1.0 - q) * square
            - q * (dot(&pull, &source.mean) + 0.5 * dot(&pull, &pull))
            - 0.5 * d * noise * q.ln()
            + level;
        let mut bridge = Self { contraction: q, pull, level, start: q * start, mean_squares: Default::default() };
        let squares = |side: &Spread| Numbers::collect(side.squares().map(four_digits));
        bridge.mean_squares = [squares(&bridge.moved(source)?)?, squares(target)?];
        if bridge.is_sound() { Ok(bridge) } else { Self::none(source.mean.len()) }
    }

    /// Returns the moments of x0' for a source with these moments.
    pub fn moved(&self, source: &Spread) -> Result<Spread> {
        let q = self.contraction;
        let mean = source.mean.iter().zip(self.pull.iter()).map(|(x, h)| q * (x + h));
        let variances = source.variances.iter().map(|variance| q * q * variance);
        Ok(Spread { mean: Numbers::collect(mean)?, variances: Numbers::collect(variances)? })
    }

    /// Checks a bridge that was read from a file, for samples in units of this shift and scale.
    pub fn check(&self, shift: &[f64], scale: f64) -> std::result::Result<(), String> {
        let dimension = shift.len();
        for squares in &self.mean_squares {
            if squares.len() != dimension || squares.iter().any(|x| !(0.0..SQUARES_END).contains(x)) {
                return Err(format!(
                    "bridge.mean_squares has to have {dimension} numbers from 0 to {SQUARES_END:e} for either side"
                ));
            }
        }
        if !self.is_sound() {
            return Err(format!(
                "bridge has a contraction of {:e} or a number that is not finite; it must be from {:e} to {:e}",
                self.contraction, CONTRACTIONS[0], CONTRACTIONS[1]
            ));
        }
        if self.pull.len() != dimension {
            return Err(format!("bridge.pull has {} components, but samples have {dimension}", self.pull.len()));
        }
        // The numbers of `source` and `quadratic`, without the memory for them.
        let q = self.contraction;
        let moved = |(shift, h): (&f64, &f64)| (shift - scale * h).is_finite() && ((q * h) as f32).is_finite();
        let (divided, level) = (scale / q, (q * self.level) as f32);
        let sound = divided.is_finite() && divided > 0.0 && level.is_finite() && (self.start as f32).is_finite();
        if !(sound && shift.iter().zip(self.pull.iter()).all(moved)) {
            return Err("bridge has numbers too large to compute with".into());
        }
        Ok(())
    }

    fn is_sound(&self) -> bool {
        (CONTRACTIONS[0]..=CONTRACTIONS[1]).contains(&self.contraction)
            && self.level.is_finite()
            && self.start.is_finite()
            && self.pull.iter().all(|h| h.is_finite())
            && self.mean_squares.iter().flat_map(|side| side.iter()).all(|x| (0.0..SQUARES_END).contains(x))
    }

    /// Returns the noise of the problem that the networks are trained on.
    pub fn sigma(&self, sigma: f64) -> f64 {
        sigma * self.contraction.sqrt()
    }

    /// Returns q Psi*(v / q), the conjugate for potentials that are larger by the factor q.
    pub fn conjugate(&self, conjugate: &Conjugate) -> Conjugate {
        Conjugate { tau: self.contraction * conjugate.tau, ..*conjugate }
    }

    /// Returns q V0(1, x).
    pub fn quadratic<T: Scalar>(&self) -> Result<Quadratic<Vec<T>>> {
        Ok(self.quadratic_of(memory::collected("the slope of V", self.slope().map(T::of))?))
    }

    /// Returns [`Self::quadratic`] with `slope` in the form in which a device keeps it.
    pub fn quadratic_of<S>(&self, slope: S) -> Quadratic<S> {
        Quadratic { curvature: 1.0 - self.contraction, slope, level: self.contraction * self.level }
    }

    fn slope(&self) -> impl ExactSizeIterator<Item = f64> {
        self.pull.iter().map(|h| -self.contraction * h)
    }

    /// Returns the units in which the networks see source samples, x0'. `units` are those of the normalised problem.
    pub fn source(&self, units: &Normalisation) -> Result<Normalisation> {
        units.moved(self.pull.iter().copied(), 1.0 / self.contraction)
    }

    /// Returns D and t' at time t.
    pub fn clock(&self, time: f64) -> (f64, f64) {
        let divisor = 1.0 - time + self.contraction * time;
        (divisor, self.contraction * time / divisor)
    }
}

fn four_digits(x: f64) -> f64 {
    format!("{x:.3e}").parse().expect("a number as it was written")
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formulas::Divergence;
    use proptest::prelude::*;

    fn sides() -> impl Strategy<Value = (Spread, Spread)> {
        let side = |mean| (prop::collection::vec(mean, 3), 0.01f64..4.0);
        (side(-1.5f64..1.5), side(-1.5f64..1.5)).prop_map(|(x, y)| (Spread::even(x.0, x.1), Spread::even(y.0, y.1)))
    }

    fn v0(bridge: &GaussianBridge, sigma: f64, t: f64, x: &[f64]) -> f64 {
        let g = 1.0 / bridge.contraction - 1.0;
        let left = 1.0 + (1.0 - t) * g;
        let h = &bridge.pull;
        (0.5 * g * dot(x, x) - dot(h, x) - 0.5 * (1.0 - t) * dot(h, h)) / left
            + 0.5 * x.len() as f64 * sigma * sigma * left.ln()
            + bridge.level
    }

    proptest! {
        /// V' = 0 is the answer: noise alone carries the source onto the target weighted by its density ratio.
        #[test]
        fn gaussians_need_nothing_more((source, target) in sides(), sigma in 0.02f64..5.0, tau in 0.05f64..50.0, psi in 0..Divergence::ALL.len()) {
            let divergence = Divergence::ALL[psi];
            let bridge = GaussianBridge::between(&source, &target, sigma, &Conjugate { divergence, tau }).unwrap();
            let q = bridge.contraction;
            let softness = divergence.softness(tau);
            let end = q * q * source.variance() + sigma * sigma * q;
            let precision = 1.0 / target.variance() - (1.0 / q - 1.0) * softness;
            prop_assert!((end * precision - 1.0).abs() < 1e-9, "{end} {precision}");
            for j in 0..3 {
                let [start, end] = [0, 1].map(|side| bridge.mean_squares[side][j]);
                let mean_end = target.mean[j].powi(2) + target.variance();
                prop_assert!((end - mean_end).abs() < 1e-3 * mean_end, "{end} {mean_end}");
                let mean_start = (q * (source.mean[j] + bridge.pull[j])).powi(2) + q * q * source.variance();
                prop_assert!((start - mean_start).abs() < 1e-3 * mean_start, "{start} {mean_start}");
                let mean = q * (source.mean[j] + bridge.pull[j]);
                let expected = (target.mean[j] / target.variance() - bridge.pull[j] * softness) / precision;
                prop_assert!((mean - expected).abs() < 1e-7 * (1.0 + expected.abs()), "{mean} {expected}");
            }
        }

        /// For KL, whose ratio is exactly e^(v / tau), the target's mass is that of the source.
        #[test]
        fn the_density_ratio_averages_one((source, target) in sides(), sigma in 0.1f64..2.0, tau in 0.3f64..20.0) {
            let conjugate = Conjugate { divergence: Divergence::Kl, tau };
            let (source, target) = (
                Spread::even(source.mean[..1].to_vec(), source.variance()),
                Spread::even(target.mean[..1].to_vec(), target.variance()),
            );
            let bridge = GaussianBridge::between(&source, &target, sigma, &conjugate).unwrap();
            let (deviation, n) = (target.variance().sqrt(), 40_000);
            let width = 40.0 / f64::from(n);
            let mass: f64 = (0..n)
                .map(|i| {
                    let z = -20.0 + (f64::from(i) + 0.5) * width;
                    let y = target.mean[0] + deviation * z;
                    (-0.5 * z * z + v0(&bridge, sigma, 1.0, &[y]) / tau).exp() * width / (2.0 * std::f64::consts::PI).sqrt()
                })
                .sum();
            // Beyond the grid's end nothing may be left.
            let precision = 1.0 - (1.0 / bridge.contraction - 1.0) * target.variance() / tau;
            prop_assume!(precision > 0.2);
            prop_assert!((mass - 1.0).abs() < 1e-6, "{mass}");
        }

        /// dV/dt + sigma^2/2 Laplacian V - 1/2 |grad V|^2 = 0, and V(t, x) = V0 + V'(t', x') / q takes a solution with
        /// noise sigma' to one with noise sigma: here for V' = <p, x'> - (1 - t')/2 |p|^2.
        #[test]
        fn value_functions_stay_value_functions(
            (source, target) in sides(), sigma in 0.2f64..2.0, t in 0.05f64..0.95, x in prop::collection::vec(-2.0f64..2.0, 3),
            p in prop::collection::vec(-1.0f64..1.0, 3),
        ) {
            let conjugate = Conjugate { divergence: Divergence::Balanced, tau: 1.0 };
            let bridge = GaussianBridge::between(&source, &target, sigma, &conjugate).unwrap();
            let q = bridge.contraction;
            let v = |t: f64, x: &[f64]| {
                let (divisor, time) = bridge.clock(t);
                let moved: Vec<f64> =
                    x.iter().zip(bridge.pull.iter()).map(|(x, h)| q * (x + (1.0 - t) * h) / divisor).collect();
                v0(&bridge, sigma, t, x) + (dot(&p, &moved) - 0.5 * (1.0 - time) * dot(&p, &p)) / q
            };
            let step = 1e-4;
            let dt = (v(t + step, &x) - v(t - step, &x)) / (2.0 * step);
            let (mut laplacian, mut square) = (0.0, 0.0);
            for j in 0..3 {
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
            prop_assert!(left.abs() < 1e-4 * (1.0 + terms), "{left} of {terms}");
        }
    }

    /// The means are right at the ends of q's range too: noise far above a target of one point.
    #[test]
    fn the_means_agree_where_the_contraction_is_held() {
        let [source, target] = [(-0.5, 1.0), (0.5, 0.0)].map(|(mean, variance)| Spread::even(vec![mean], variance));
        for divergence in [Divergence::Balanced, Divergence::Kl] {
            let conjugate = Conjugate { divergence, tau: 1e9 };
            let bridge = GaussianBridge::between(&source, &target, 100.0, &conjugate).unwrap();
            assert_eq!(bridge.contraction, CONTRACTIONS[0]);
            let mean = bridge.moved(&source).unwrap().mean[0];
            assert!((mean - 0.5).abs() < 1e-3, "{divergence:?}: {mean}");
        }
    }

    #[test]
    fn a_file_with_numbers_beyond_computing_is_refused() {
        let good = GaussianBridge::none(2).unwrap();
        good.check(&[0.0; 2], 1.0).expect("it changes nothing");
        for (bad, word) in [
            (GaussianBridge { contraction: 0.0, ..good.clone() }, "contraction"),
            (GaussianBridge { contraction: f64::NAN, ..good.clone() }, "contraction"),
            (GaussianBridge { level: f64::INFINITY, ..good.clone() }, "finite"),
            (GaussianBridge { pull: vec![0.0; 3].into(), ..good.clone() }, "3 components"),
            (
                GaussianBridge { mean_squares: [vec![1.0; 2].into(), vec![1.0; 3].into()], ..good.clone() },
                "bridge.mean_squares",
            ),
            (
                GaussianBridge { mean_squares: [vec![1.0; 2].into(), vec![-1.0; 2].into()], ..good.clone() },
                "bridge.mean_squares",
            ),
            (GaussianBridge { pull: vec![1e300, 0.0].into(), ..good.clone() }, "too large"),
        ] {
            let sentence = bad.check(&[0.0; 2], 1.0).expect_err("it must be refused");
            assert!(sentence.contains(word), "{sentence}");
        }
    }

    #[test]
    fn sides_without_spread_and_extreme_noise_give_sound_numbers() {
        for (a, b) in [(0.0, 1.0), (1.0, 0.0), (0.0, 0.0), (1e12, 1e-12)] {
            for sigma in [1e-6, 1.0, 1e3] {
                for tau in [1e-9, 1.0, 1e9] {
                    for divergence in Divergence::ALL {
                        let [source, target] = [a, b].map(|variance| Spread::even(vec![0.5], variance));
                        let bridge =
                            GaussianBridge::between(&source, &target, sigma, &Conjugate { divergence, tau }).unwrap();
                        assert!(bridge.is_sound(), "{a} {b} {sigma} {tau} {divergence:?}: {bridge:?}");
                    }
                }
            }
        }
    }
}
