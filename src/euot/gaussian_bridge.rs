//! The Gaussian bridge that a training starts from: the solution for two Gaussians with the samples' moments. The
//! networks then learn only how the samples differ from Gaussians.
//!
//! The cost 1/2 |x1 - x0|^2 and the noise sigma enter a plan through <x0, x1> / sigma^2 alone; terms that depend on one
//! end belong to the potentials. So the plan between x0 and x1 is, along axes j of any orthogonal basis, that between
//! x0'_j = q_j (x0_j + h_j) and x1_j with noise sigma'_j = sigma sqrt(q_j), for all contractions q_j > 0 and pulls h_j.
//! With g_j = 1/q_j - 1 and the solution of the value function's equation
//!
//! V0(t, x) = sum over j of (g_j/2 x_j^2 - h_j x_j - (1 - t)/2 h_j^2) / (1 + (1 - t) g_j)
//!            + sigma^2/2 log(1 + (1 - t) g_j),  + level
//!
//! the value functions of the two problems are tied by
//!
//! V(t, x) = V0(t, x) + V'(t, x') / w,   x'_j = q_j (x_j + (1 - t) h_j) / (D_j l_j),   D_j = 1 - t + q_j t,
//!
//! where l_j is the length that networks see as 1 along the axis, and w the factor of the networks' costs. Along the
//! axis the moved bridge is a Brownian bridge in the time t'_j = q_j t / D_j with noise sigma'_j / l_j
//! ([`crate::formulas::Clock`] has one time for all). With one q and l = 1, V' is the value function of a problem with
//! noise sigma' of its own, and w = q.
//!
//! Contractions, axes and pulls are chosen so that the noise alone carries a Gaussian source onto a Gaussian target
//! weighted by its density ratio ([`super::gaussian_pair`], [`super::directions`]): then V' = 0.

use super::gaussian_pair::{contraction, softness};
use crate::data::{Normalisation, Rotation, SeenUnits, Spread};
use crate::error::Result;
use crate::file::kind::{EASED_CLOCK, PEAK_AXES, PEAKS};
use crate::formulas::axes::Axis;
use crate::formulas::units::AxisUnits;
use crate::formulas::{Axes, Clock, Conjugate, Peaks, Scalar};
use crate::memory;
use crate::numbers::{Numbers, REFUSED};
use crate::symmetric::dot;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The bridge that the module describes, in units of the normalised problem.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub(crate) struct GaussianBridge {
    /// The axes; None where they are the components of a sample.
    pub rotation: Option<Rotation>,
    /// q of each axis.
    pub contraction: Numbers,
    /// h of each axis.
    pub pull: Numbers,
    /// l of each axis.
    pub unit: Numbers,
    /// The ease of the clock, 1 where it does not slow down.
    pub ease: f64,
    /// The level of V0. With KL it is such that the density ratio averages 1 over a Gaussian target, otherwise such
    /// that V0(1, .) averages 0 over it.
    pub level: f64,
    /// w times the mean of V0(0, x0) over the source.
    pub start: f64,
    /// Mean squares of x0' and of x1' along each axis. They are rounded to four digits: their use needs no more, and a
    /// file's description has 2 d of them.
    pub mean_squares: [Numbers; 2],
    /// The part of V' that is known before training, for targets that come apart into clusters.
    pub peaks: Option<Arc<Peaks>>,
}

/// A bridge in a file's description, without its rotation. Where all axes have one contraction and their lengths are
/// those of the normalised problem, it is written as earlier versions read it.
#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    contraction: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    contractions: Option<Numbers>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    units: Option<Numbers>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ease: Option<f64>,
    pull: Numbers,
    level: f64,
    start: f64,
    mean_squares: [Numbers; 2],
    #[serde(default, skip_serializing_if = "Option::is_none")]
    peaks: Option<Peaks>,
}

impl From<GaussianBridge> for Stored {
    fn from(bridge: GaussianBridge) -> Self {
        let even = bridge.is_even();
        let GaussianBridge { rotation: _, contraction, pull, unit, ease, level, start, mean_squares, peaks } = bridge;
        let (one, each) = if even { (contraction.first().copied(), None) } else { (None, Some((contraction, unit))) };
        let (contractions, units) = each.unzip();
        let ease = Some(ease).filter(|&ease| ease != 1.0);
        Self {
            contraction: one,
            contractions,
            units,
            ease,
            pull,
            level,
            start,
            mean_squares,
            peaks: peaks.as_deref().cloned(),
        }
    }
}

impl TryFrom<Stored> for GaussianBridge {
    type Error = String;

    fn try_from(stored: Stored) -> std::result::Result<Self, String> {
        let Stored { contraction, contractions, units, ease, pull, level, start, mean_squares, peaks } = stored;
        let each = |value| Numbers::collect((0..pull.len()).map(|_| value)).map_err(|_| REFUSED.to_owned());
        let (contraction, unit) = match (contraction, contractions, units) {
            (Some(q), None, None) => (each(q)?, each(1.0)?),
            (None, Some(contractions), Some(units)) => (contractions, units),
            _ => return Err("bridge has to have either a contraction or contractions with units".into()),
        };
        let ease = ease.unwrap_or(1.0);
        Ok(Self {
            rotation: None,
            contraction,
            pull,
            unit,
            ease,
            level,
            start,
            mean_squares,
            peaks: peaks.map(Arc::new),
        })
    }
}

/// The part by which contractions may differ where they are one.
const SAME_CONTRACTION: f64 = 1e-6;
/// Bounds of q, so that samples of both sides stay in the range of 32-bit numbers.
pub(super) const CONTRACTIONS: [f64; 2] = [1e-12, 1e12];
/// Bounds of q where all axes have the same.
const EVEN_CONTRACTIONS: [f64; 2] = [1e-6, 1e6];
/// The least length that networks see as 1.
pub(super) const LEAST_UNIT: f64 = 1e-6;
/// The variance that stands in for that of a side which is a single point, where all axes have one contraction.
const EVEN_VARIANCE: f64 = 1e-6;
/// The least ease of a clock: what is told of samples within [`CONTRACTIONS`] is more.
pub(super) const LEAST_EASE: f64 = 5e-4;
/// The largest mean square that 32-bit numbers can compute with.
const SQUARES_END: f64 = 1e30;

impl GaussianBridge {
    /// Returns the bridge that changes nothing: V0 = 0.
    pub fn none(dimension: usize) -> Result<Self> {
        let even = |value| Numbers::collect((0..dimension).map(|_| value));
        let ones = even(1.0)?;
        Ok(Self {
            rotation: None,
            contraction: ones.clone(),
            pull: even(0.0)?,
            unit: ones.clone(),
            ease: 1.0,
            level: 0.0,
            start: 0.0,
            mean_squares: [ones.clone(), ones],
            peaks: None,
        })
    }

    /// Returns the bridge between Gaussians with these means and the variance of each side in every direction: one
    /// contraction for all axes.
    pub fn even(source: &Spread, target: &Spread, sigma: f64, conjugate: &Conjugate) -> Result<Self> {
        let dimension = source.mean.len();
        let d = dimension as f64;
        let [a, b] = [source, target].map(|side| side.variance().max(EVEN_VARIANCE));
        let noise = sigma * sigma;
        let softness = softness(conjugate);
        let root = contraction([a, b], noise, softness);
        let q = root.clamp(EVEN_CONTRACTIONS[0], EVEN_CONTRACTIONS[1]);
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
        let even = |value| Numbers::collect((0..dimension).map(|_| value));
        let mut bridge = Self { contraction: even(q)?, pull, level, start: q * start, ..Self::none(dimension)? };
        let squares = |side: &Spread| Numbers::collect(side.squares().map(four_digits));
        bridge.mean_squares = [squares(&bridge.moved(source)?)?, squares(target)?];
        if bridge.is_sound() { Ok(bridge) } else { Self::none(dimension) }
    }

    /// Returns the moments of x0' for a source with these moments, where l = 1 and axes are components.
    pub fn moved(&self, source: &Spread) -> Result<Spread> {
        let q = &self.contraction;
        let mean = source.mean.iter().zip(self.pull.iter()).zip(q.iter()).map(|((x, h), q)| q * (x + h));
        let variances = source.variances.iter().zip(q.iter()).map(|(variance, q)| q * q * variance);
        Ok(Spread { mean: Numbers::collect(mean)?, variances: Numbers::collect(variances)? })
    }

    /// Returns whether all axes have one contraction, the lengths of the normalised problem, and a clock that does not
    /// slow down.
    pub fn is_even(&self) -> bool {
        let first = self.contraction.first();
        self.rotation.is_none()
            && self.ease == 1.0
            && self.contraction.iter().all(|q| Some(q) == first)
            && self.unit.iter().all(|&unit| unit == 1.0)
    }

    /// Returns what a file with this bridge has beside contractions, each with the version that knows it.
    pub fn versions(&self) -> [(bool, u64); 3] {
        let turned = self.has_own_axes();
        [(self.ease < 1.0, EASED_CLOCK), (self.peaks.is_some(), PEAKS), (turned, PEAK_AXES)]
    }

    /// Returns whether peaks have axes of their own.
    pub fn has_own_axes(&self) -> bool {
        self.peaks.as_ref().is_some_and(|peaks| peaks.axes.is_some())
    }

    /// Checks a bridge that was read from a file, for samples in units of this shift and scale and for this noise. A generator
    /// that gives all components of a source sample has so many; with latents none.
    pub fn check(&self, shift: &[f64], scale: f64, sigma: f64, components: usize) -> std::result::Result<(), String> {
        let dimension = shift.len();
        for squares in &self.mean_squares {
            if squares.len() != dimension || squares.iter().any(|x| !(0.0..SQUARES_END).contains(x)) {
                return Err(format!(
                    "bridge.mean_squares has to have {dimension} numbers from 0 to {SQUARES_END:e} for either side"
                ));
            }
        }
        for (name, numbers) in [("pull", &self.pull), ("contractions", &self.contraction), ("units", &self.unit)] {
            if numbers.len() != dimension {
                return Err(format!("bridge.{name} has {} numbers, but samples have {dimension}", numbers.len()));
            }
        }
        if let Some(unit) = self.unit.iter().find(|unit| !(LEAST_UNIT..=SQUARES_END).contains(*unit)) {
            return Err(format!("bridge has a unit of {unit:e}; it must be from {LEAST_UNIT:e} to {SQUARES_END:e}"));
        }
        if !(LEAST_EASE..=1.0).contains(&self.ease) {
            return Err(format!("bridge.ease is {}; it must be from {LEAST_EASE} to 1", self.ease));
        }
        if !self.is_sound() {
            return Err(format!(
                "bridge has a contraction that is not from {:e} to {:e}, or a number that is not finite",
                CONTRACTIONS[0], CONTRACTIONS[1]
            ));
        }
        // What is computed in 32 bits has to be finite there.
        let near = |(h, q): (&f64, &f64)| {
            (scale * h).is_finite() && ((q * h) as f32).is_finite() && (scale / q).is_finite() && scale / q > 0.0
        };
        let level = (self.cost() * self.level).abs() < f64::from(f32::MAX) && (self.start as f32).is_finite();
        let [pull, contraction] = [&self.pull, &self.contraction];
        if !(level && self.fits(sigma) && pull.iter().zip(contraction.iter()).all(near)) {
            return Err("bridge has numbers too large to compute with".into());
        }
        match &self.peaks {
            None => Ok(()),
            Some(_) if components == 0 => {
                Err("bridge.peaks are for generators without latents, but latent_dimension is not 0".into())
            }
            Some(peaks) => self.check_peaks(peaks, sigma, components).map_err(|what| format!("bridge.peaks {what}")),
        }
    }

    /// Checks peaks for this bridge and a generator with so many components. An error is what is said of the peaks.
    pub fn check_peaks(&self, peaks: &Peaks, sigma: f64, components: usize) -> std::result::Result<(), String> {
        let first = self.contraction.first().copied().unwrap_or(1.0);
        if peaks.axes.is_some()
            && let Some(other) = self.contraction.iter().find(|q| (*q / first - 1.0).abs() > SAME_CONTRACTION)
        {
            return Err(format!(
                "have axes of their own, for which all axes of the problem must have one contraction, but they have {first:e} and {other:e}"
            ));
        }
        peaks.check(self.constants(sigma).map(|axis| axis.sigma * axis.sigma), components)
    }

    pub(crate) fn is_sound(&self) -> bool {
        self.contraction.iter().all(|q| (CONTRACTIONS[0]..=CONTRACTIONS[1]).contains(q))
            && self.level.is_finite()
            && self.start.is_finite()
            && self.unit.iter().all(|unit| unit.is_finite() && *unit > 0.0)
            && self.pull.iter().all(|h| h.is_finite())
            && self.mean_squares.iter().flat_map(|side| side.iter()).all(|x| (0.0..SQUARES_END).contains(x))
    }

    /// Returns w, the costs of the networks' problem over those of the normalised one. It is the geometric mean of q / l^2
    /// over the axes, with which the noise of an axis in the networks' lengths is that of their problem on average.
    pub fn cost(&self) -> f64 {
        if self.is_even() {
            return self.contraction.first().copied().unwrap_or(1.0);
        }
        let logs: f64 = self.live().map(|j| (self.contraction[j] / self.unit[j].powi(2)).ln()).sum();
        (logs / self.live().count() as f64).exp()
    }

    /// Returns the conjugate for potentials that are larger by the factor w.
    pub fn conjugate(&self, conjugate: &Conjugate) -> Conjugate {
        Conjugate { tau: self.cost() * conjugate.tau, ..*conjugate }
    }

    /// Returns the numbers of the axes along which samples differ. An axis along which all of both sides are one point has a
    /// contraction that nothing else should follow. Where there is no other, all count.
    pub(super) fn live(&self) -> impl Iterator<Item = usize> + Clone + '_ {
        let none = self.unit.iter().all(|&unit| unit <= LEAST_UNIT);
        (0..self.unit.len()).filter(move |&j| none || self.unit[j] > LEAST_UNIT)
    }

    /// Returns the least and the largest contraction.
    pub fn extremes(&self) -> [f64; 2] {
        let q = || self.live().map(|j| self.contraction[j]);
        [q().fold(f64::INFINITY, f64::min), q().fold(0.0, f64::max)]
    }

    /// Returns the times of the axes.
    pub fn clock(&self) -> Clock {
        Clock::new(self.log_range(), self.ease)
    }

    /// Returns the logarithm of the largest contraction over the least.
    pub fn log_range(&self) -> f64 {
        let [least, largest] = self.extremes();
        ((largest - least) / least).ln_1p()
    }

    /// Returns the clock's time at time t.
    pub fn clock_at(&self, time: f64) -> f64 {
        self.clock().read([1.0 - time, time], self.extremes())
    }

    /// Returns the constants of the problem that networks see, for this noise of the normalised problem.
    pub fn axes<T: Scalar>(&self, sigma: f64) -> Result<Axes<Vec<T>>> {
        let cost = self.cost();
        let axes = Axes::new(self.constants(sigma), self.clock(), cost * sigma * sigma, cost * self.level)?;
        match &self.peaks {
            Some(peaks) => axes.with_peaks(peaks),
            None => Ok(axes),
        }
    }

    /// Returns the constants of each axis.
    fn constants(&self, sigma: f64) -> impl ExactSizeIterator<Item = Axis> + Clone + '_ {
        let (cost, [_, largest]) = (self.cost(), self.extremes());
        (0..self.contraction.len()).map(move |j| {
            let (q, h, l) = (self.contraction[j], self.pull[j], self.unit[j]);
            Axis {
                sigma: sigma * q.sqrt() / l,
                rate: q / largest,
                curvature: cost * (1.0 / q - 1.0) * l * l,
                slope: -cost * h * l,
            }
        })
    }

    /// Returns whether 32-bit numbers can compute with the constants that networks see for this noise.
    pub fn fits(&self, sigma: f64) -> bool {
        let positive = |x: f64| x as f32 > 0.0 && (x as f32).is_finite();
        let axis = |axis: Axis| {
            let Axis { sigma, rate, curvature, slope } = axis;
            positive(sigma) && positive(rate) && (curvature as f32).is_finite() && (slope as f32).is_finite()
        };
        self.is_sound() && positive(self.cost() * sigma * sigma) && self.constants(sigma).all(axis)
    }

    /// Returns the units along each axis.
    pub fn units(&self) -> Result<Vec<AxisUnits>> {
        let at = |j| AxisUnits { contraction: self.contraction[j], pull: self.pull[j], unit: self.unit[j] };
        memory::collected("the units of a sample's axes", (0..self.contraction.len()).map(at))
    }

    /// Returns the units in which networks see samples of the source (at time 0) and of the target (at time 1).
    pub fn seen(&self, normalised: &Normalisation, time: f64) -> Result<SeenUnits> {
        Ok(SeenUnits { normalised: normalised.clone(), rotation: self.rotation.clone(), units: self.units()?, time })
    }
}

pub(super) fn four_digits(x: f64) -> f64 {
    format!("{x:.3e}").parse().expect("a number as it was written")
}
