//! How fine the target is beside the noise, from which follows how much a clock slows down towards its end.
//!
//! Along an axis a moved bridge comes to its end through noise of variance sigma'^2 (1 - t'). What of the target has a
//! spread s shows in the drift once s^2 is the larger one, in the last s^2 / sigma'^2 of the time t'. Where that is the last
//! share L of the clock's time u, few rows are drawn there and the value function takes it for a single moment. With an
//! ease of L^(3/4) about L^(1/4) of the rows are drawn there.
//!
//! s is the spread of clusters: of all numbers of a sample together, along the thinnest direction of each, and of each axis
//! by itself, as many independent axes are not described by few clusters.

use super::gaussian_bridge::GaussianBridge;
use super::value_step::TIME_MAX;
use crate::data::{Clusters, LEAST_VARIANCE, Split};
use crate::error::Result;
use crate::formulas::Clock;
use crate::memory;
use crate::symmetric::Symmetric;

const MEMORY: &str = "the axes of a bridge";
/// The number of clusters.
const CLUSTERS: usize = 8;
/// What clusters have of the variance where nothing is fine. Those of a Gaussian have 0.54 to 0.61 along one axis, in the
/// geometric mean over samples, and more together along many.
const LIKE_A_GAUSSIAN: f64 = 0.5;
/// The log-likelihood of a sample that was held back by which clusters have to be better than one Gaussian.
const MARGIN: f64 = 0.02;
/// The largest dimension of samples whose clusters are told from all their numbers.
const MOST_TOGETHER: usize = 128;
/// The samples from which the clusters of one axis are told.
const ROWS_OF_AN_AXIS: usize = 2048;
/// A direction of clusters counts where there are so many samples for each of their numbers.
const SAMPLES_FOR_AXES: f64 = 4.0;

/// The axis of a bridge, for what is told here.
#[derive(Clone, Copy)]
struct Along {
    /// Its number.
    axis: usize,
    /// The variance of its noise, in the target's units.
    noise: f64,
    /// The logarithm of its contraction over the largest.
    rate: f64,
}

/// Returns the ease that the clock of a bridge needs for these samples of the target along its axes, in the units of sigma.
pub(super) fn ease(target: &Split, bridge: &GaussianBridge, sigma: f64) -> Result<f64> {
    let clock = bridge.clock();
    let [_, largest] = bridge.extremes();
    let variances = target.variances()?;
    let all =
        bridge.contraction.iter().zip(&variances).enumerate().filter(|(_, (_, variance))| **variance > LEAST_VARIANCE);
    let along = all.map(|(axis, (&q, _))| Along { axis, noise: sigma * sigma * q, rate: (q / largest).ln() });
    let mut axes = memory::with_room(MEMORY, variances.len())?;
    axes.extend(along);
    let mut left: f64 = 1.0;
    for own in axes.chunks(1) {
        left = left.min(told(&target.components(&[own[0].axis], ROWS_OF_AN_AXIS)?, own, clock)?);
    }
    if (2..=MOST_TOGETHER).contains(&axes.len()) {
        let numbers = memory::collected(MEMORY, axes.iter().map(|along| along.axis))?;
        left = left.min(told(&target.components(&numbers, usize::MAX)?, &axes, clock)?);
    }
    Ok(left.powf(0.75))
}

/// Returns what is left of the clock's time once clusters of these samples show: the geometric mean over clusters, or all
/// of it where one Gaussian is as good.
fn told(samples: &Split, axes: &[Along], clock: Clock) -> Result<f64> {
    let clusters = Clusters::fit(samples, CLUSTERS)?;
    let one = if axes.len() == 1 { samples.independent()? } else { samples.independent()?.max(samples.gaussian()?) };
    if clusters.likelihood < one + MARGIN {
        return Ok(1.0);
    }
    let count = samples.fitted() as f64;
    let (mut logs, mut shares) = (0.0, 0.0);
    for (share, spread) in clusters.spreads(samples)? {
        logs += share * thinnest(spread, axes, share * count, clock)?.ln();
        shares += share;
    }
    Ok(if shares > 0.0 { (logs / shares).exp() } else { 1.0 })
}

/// Returns what is left of the clock's time once the direction shows along which a cluster of so many samples, with these
/// covariances, is thinnest beside the noise.
fn thinnest(mut spread: Symmetric, axes: &[Along], count: f64, clock: Clock) -> Result<f64> {
    let d = axes.len();
    spread.mirror(|j, k, covariance| covariance / (axes[j].noise * axes[k].noise).sqrt());
    let left = |share: f64, rate: f64| {
        let share = (share / LIKE_A_GAUSSIAN).clamp(1.0 - TIME_MAX, 1.0);
        clock.left(share, rate.exp())
    };
    if d == 1 || count < SAMPLES_FOR_AXES * d as f64 {
        return Ok(spread.diagonals().zip(axes).map(|(share, along)| left(share, along.rate)).fold(1.0, f64::min));
    }
    // The least variance of n samples of d independent numbers is about (1 - sqrt(d / n))^2 of theirs (Marchenko and Pastur
    // 1967).
    let chance = (1.0 - (d as f64 / count).sqrt()).powi(2);
    let spectrum = spread.spectrum()?;
    let directions = spectrum.values.iter().zip(spectrum.axes.chunks_exact(d));
    let of = directions.map(|(share, direction)| {
        let rate = direction.iter().zip(axes).map(|(part, along)| part * part * along.rate).sum();
        left(share / chance, rate)
    });
    Ok(of.fold(1.0, f64::min))
}
