//! How fine the target is beside the noise, from which follows how much a clock slows down towards its end.
//!
//! Along an axis a moved bridge comes to its end through noise of variance sigma'^2 (1 - t'). What of the target has a
//! spread s shows in the drift once s^2 is the larger one, in the last s^2 / sigma'^2 of the time t'. Where that is the last
//! share L of the clock's time u, few rows are drawn there and the value function takes it for a single moment. With an
//! ease of L^(3/4) about L^(1/4) of the rows are drawn there. Of the powers that were tried, the root is too little for
//! narrow columns and the first power more than wide noise is served by.
//!
//! s is the spread of clusters: of all numbers of a sample together, along the thinnest direction of each, and of each axis
//! by itself, as many independent axes are not described by few clusters. Clusters count where they describe samples that
//! were held back better than one Gaussian does.

use super::gaussian_bridge::{GaussianBridge, LEAST_EASE, four_digits};
use crate::data::{Clusters, LEAST_VARIANCE, Split};
use crate::error::Result;
use crate::formulas::Clock;
use crate::memory;
use crate::symmetric::Symmetric;

const MEMORY: &str = "the axes of a bridge";
/// The power of L.
const POWER: f64 = 0.75;
/// The number of clusters.
const CLUSTERS: usize = 8;
/// What clusters have of the variance where nothing is fine. Those of a Gaussian have 0.54 to 0.61 along one axis, in the
/// geometric mean over samples, and more together along many.
const LIKE_A_GAUSSIAN: f64 = 0.5;
/// The least share of the noise's variance that is told apart: a spread of a fourteenth of the noise's. Points have none.
const FINEST: f64 = 0.005;
/// The largest dimension of samples whose clusters are told from all their numbers.
const MOST_TOGETHER: usize = 128;
/// The samples from which the clusters of one axis are told, and those of all axes together: at least `ROWS_TOGETHER`, and
/// `ROWS_FOR_A_NUMBER` for each axis.
const ROWS_OF_AN_AXIS: usize = 2048;
const ROWS_TOGETHER: usize = 4096;
const ROWS_FOR_A_NUMBER: usize = 128;
/// Directions of a cluster that are no axes count where it has so many samples for each of their numbers.
const SAMPLES_FOR_DIRECTIONS: f64 = 4.0;
/// Halvings of an interval, after which 64 bits tell its ends apart no more.
const HALVINGS: usize = 60;

/// The axis of a bridge, for what is told here.
#[derive(Clone, Copy)]
struct Along {
    /// Its number.
    axis: usize,
    /// The variance of its noise, in the target's units.
    noise: f64,
    /// Its contraction over the largest.
    rate: f64,
}

/// Returns the ease that the clock of a bridge needs for these samples of the target along its axes, in the units of sigma.
/// It has four digits: its use needs no more, and devices' moments differ by rounding.
pub(super) fn ease(target: &Split, bridge: &GaussianBridge, sigma: f64) -> Result<f64> {
    let clock = bridge.clock();
    let [_, largest] = bridge.extremes();
    let variances = target.variances()?;
    let mut axes = memory::with_room(MEMORY, variances.len())?;
    let told_of = bridge.live().filter(|&axis| variances[axis] > LEAST_VARIANCE);
    axes.extend(told_of.map(|axis| {
        let q = bridge.contraction[axis];
        Along { axis, noise: sigma * sigma * q, rate: q / largest }
    }));
    // The slowest come first. A faster axis may come to its end so early that it needs less, whatever its samples are.
    axes.sort_unstable_by(|a, b| a.rate.total_cmp(&b.rate).then(a.axis.cmp(&b.axis)));
    let mut left: f64 = 1.0;
    for along in &axes {
        if clock.left(odds(FINEST) * along.rate) < left {
            let column = target.columns(&[along.axis], ROWS_OF_AN_AXIS)?;
            left = left.min(told(&column, std::slice::from_ref(along), clock)?);
        }
    }
    if (2..=MOST_TOGETHER).contains(&axes.len()) {
        let numbers = memory::collected(MEMORY, axes.iter().map(|along| along.axis))?;
        let rows = ROWS_TOGETHER.max(ROWS_FOR_A_NUMBER * axes.len());
        left = left.min(told(&target.columns(&numbers, rows)?, &axes, clock)?);
    }
    Ok(four_digits(left.powf(POWER)).clamp(LEAST_EASE, 1.0))
}

fn odds(share: f64) -> f64 {
    share / (1.0 - share)
}

/// Returns what is left of the clock's time once clusters of these samples show: the geometric mean over clusters, or all
/// of it where one Gaussian is as good.
fn told(samples: &Split, axes: &[Along], clock: Clock) -> Result<f64> {
    let clusters = Clusters::fit(samples, CLUSTERS)?;
    let one = if axes.len() == 1 { samples.independent()? } else { samples.independent()?.max(samples.gaussian()?) };
    let fitted = samples.effective(false);
    let gain = clusters.likelihood - one;
    if gain.is_nan() || gain < samples.least_gain() {
        return Ok(1.0);
    }
    let (mut logs, mut shares) = (0.0, 0.0);
    for (share, spread) in clusters.spreads(samples)? {
        logs += share * thinnest(spread, axes, share * fitted, clock)?.ln();
        shares += share;
    }
    Ok(if shares > 0.0 { (logs / shares).exp() } else { 1.0 })
}

/// Returns what is left of the clock's time once the direction shows along which a cluster of so many samples, with these
/// covariances, is thinnest beside the noise.
fn thinnest(mut spread: Symmetric, axes: &[Along], count: f64, clock: Clock) -> Result<f64> {
    let d = axes.len();
    spread.mirror(|j, k, covariance| covariance / (axes[j].noise * axes[k].noise).sqrt());
    if d == 1 || count < SAMPLES_FOR_DIRECTIONS * d as f64 {
        let left = |(share, along): (f64, &Along)| clock.left(against(share, std::iter::once((1.0, along.rate))));
        return Ok(spread.diagonals().zip(axes).map(left).fold(1.0, f64::min));
    }
    // The least variance of n samples of d independent numbers is about (1 - sqrt(d / n))^2 of theirs (Marchenko and Pastur
    // 1967).
    let chance = (1.0 - (d as f64 / count).sqrt()).powi(2);
    let spectrum = spread.spectrum()?;
    let directions = spectrum.values.iter().zip(spectrum.axes.chunks_exact(d));
    let left = directions.map(|(share, direction)| {
        let parts = direction.iter().zip(axes).map(|(part, along)| (part * part, along.rate));
        clock.left(against(share / chance, parts))
    });
    Ok(left.fold(1.0, f64::min))
}

/// Returns the clock's odds against arrival at which a cluster shows along a direction: the noise that is left there is as
/// large as the cluster, which has this share of all the noise. Of each axis the direction has a part, with the axis's rate
/// beside it. At the odds a, a / (rate + a) of that axis's noise is left.
fn against(share: f64, parts: impl Iterator<Item = (f64, f64)> + Clone) -> f64 {
    let share = (share / LIKE_A_GAUSSIAN).max(FINEST);
    if share.is_nan() || share >= 1.0 {
        return f64::INFINITY;
    }
    let rates =
        parts.clone().fold([f64::INFINITY, 0.0f64], |[least, most], (_, rate)| [least.min(rate), most.max(rate)]);
    let [mut low, mut high] = rates.map(|rate| (odds(share) * rate).ln());
    for _ in 0..HALVINGS {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        let a = middle.exp();
        let left: f64 = parts.clone().map(|(part, rate)| part * (a / (rate + a))).sum();
        if left < share { low = middle } else { high = middle }
    }
    high.exp()
}
