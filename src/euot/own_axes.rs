//! Whether each cluster of the target has axes of its own, along which its numbers have nothing to do with each other.

use super::peaks_fit::misses_modes;
use super::whole_clusters::WholeClusters;
use crate::data::{Clusters, LEAST_VARIANCE, Normalisation, Sketch, Split};
use crate::device::cpu::pool::Pool;
use crate::error::Result;

/// The log-likelihood of a sample that clusters in axes of their own have to gain, beside so many standard deviations
/// of what it is by chance.
const MARGIN: f64 = 0.005;
const DEVIATIONS: f64 = 3.0;
/// The log-likelihood of a sample by which fewer clusters may be worse.
const AS_LIKELY: f64 = 0.002;
/// So many times the samples that chose the axes tell whether clusters gain by axes of their own.
const MORE: usize = 2;

/// The search for such clusters.
pub(super) struct OwnAxes<'a> {
    /// Samples of the target.
    pub samples: &'a Split,
    /// More of them in data units, of which these are the units.
    pub many: Option<&'a Sketch>,
    pub common: &'a Normalisation,
    /// The clusters of independent numbers that describe the target best.
    pub clusters: &'a Clusters,
    /// The axes in which they do, one a row; None where these are the components of a sample.
    pub axes: Option<&'a [f64]>,
    /// Whether these samples chose the axes for their clusters.
    pub is_chosen: bool,
    /// How many clusters there may be: as a rule, and at most.
    pub counts: [usize; 2],
    pub pool: &'a Pool,
}

impl OwnAxes<'_> {
    /// Returns clusters with axes of their own where they describe the target better.
    pub fn found(&self) -> Result<Option<WholeClusters>> {
        let Self { samples, many, common, clusters, axes, is_chosen, counts: [usual, most], pool } = *self;
        let turned = axes.map(|axes| samples.turned(axes)).transpose()?;
        let along = turned.as_ref().unwrap_or(samples);
        // Many tile what few with axes of their own are.
        let fewer = if clusters.shares().len() > usual { Some(Clusters::fit(along, usual)?) } else { None };
        let usually = fewer.as_ref().unwrap_or(clusters);
        let Correlation { gain, deviation } = correlation(usually, along, is_chosen)?;
        let least = MARGIN + DEVIATIONS * deviation;
        if gain < least {
            return Ok(None);
        }
        let has_more = many.is_some_and(|many| many.count() > samples.rows());
        let turned = turned.filter(|_| !has_more);
        // More samples than chose the axes, as each cluster has all its covariances.
        let mut more = match many.filter(|_| has_more) {
            Some(many) => Some(many.part(MORE * samples.rows())?.whole(&common.shift, common.scale)?.halved()),
            None => None,
        };
        let told = more.as_ref().unwrap_or(samples);
        let mut own = WholeClusters::of(told, &Clusters::fit(samples, usual)?, pool)?;
        // Of a curve, tiles along it tell enough, though more always tell more.
        let mut finer = None;
        while 2 * own.parts.shares.len() <= most
            && let Some(twice) = twice(&own, samples, told, pool)?
        {
            if twice.likelihood - own.likelihood < told.least_gain() {
                finer = Some(twice.parts);
                break;
            }
            own = twice;
        }
        own.finish(told, pool)?;
        own.finer = finer;
        if let (Some(more), Some(axes)) = (&mut more, axes) {
            more.turn(axes)?;
        }
        let told = more.as_ref().or(turned.as_ref()).unwrap_or(samples);
        // By the samples that were fitted, all covariances may look worse than none: what they lose by chance is in
        // proportion to one over the number of samples. Peaks are fitted to more, so that they lose less.
        let found = own.likelihood - usually.likelihood_of(told)?;
        let part = 0.5 * told.rows() as f64 / many.map_or(0, Sketch::count).max(told.rows()) as f64;
        let lost = (gain - found).max(0.0) * part;
        let is_better = found.is_finite() && found.max(gain - lost) >= least;
        let (count, tiles) = (own.parts.shares.len(), clusters.shares().len());
        let is_as_good = || -> Result<bool> {
            let margin = if count < tiles { -AS_LIKELY } else { told.least_gain() };
            let lost_less = (1.0 - part) * 0.5 * count as f64 * pairs(told.dimension()) / told.effective(false);
            Ok(tiles > most || own.likelihood + lost_less - clusters.likelihood_of(told)? >= margin)
        };
        let is_taken = is_better && (fewer.is_none() || is_as_good()?);
        Ok(if is_taken && !misses_modes(&own.independent()?, samples)? { Some(own) } else { None })
    }
}

/// Returns twice as many clusters, or none where there are too few samples.
fn twice(own: &WholeClusters, samples: &Split, told: &Split, pool: &Pool) -> Result<Option<WholeClusters>> {
    let count = 2 * own.parts.shares.len();
    let clusters = Clusters::fit(samples, count)?;
    if clusters.shares().len() < count {
        return Ok(None);
    }
    WholeClusters::of(told, &clusters, pool).map(Some)
}

/// See [`correlation`].
struct Correlation {
    gain: f64,
    /// What the gain is by chance, as its standard deviation.
    deviation: f64,
}

/// Returns the number of pairs of d numbers.
fn pairs(d: usize) -> f64 {
    0.5 * (d * d.saturating_sub(1)) as f64
}

/// Returns by about how much samples would be likelier if each of these clusters had all its covariances: half the
/// logarithm of what its variances have beyond the determinant, less what is so by chance. Where the samples chose the
/// axes along which they lie, these hide some of it: for each pair of axes half of one over the number of samples, and
/// other samples lose as much by them (Akaike).
fn correlation(clusters: &Clusters, along: &Split, is_chosen: bool) -> Result<Correlation> {
    let log = |x: f64| x.max(LEAST_VARIANCE).ln();
    let samples = along.effective(false);
    let (mut gain, mut by_chance, mut hidden, mut variance) = (0.0, 0.0, 0.0, 0.0);
    for (share, covariance) in clusters.spreads(along)? {
        // Constant numbers have nothing to do with others.
        let varying = covariance.diagonals().filter(|variance| *variance > LEAST_VARIANCE).count();
        let own = share * samples - 1.0;
        if own <= varying as f64 {
            // Few samples tell nothing of all covariances.
            continue;
        }
        let apart: f64 = covariance.diagonals().map(log).sum();
        let together: f64 = covariance.spectrum()?.values.into_iter().map(log).sum();
        let [mean, spread] = chance(own, varying);
        gain += 0.5 * share * (apart - together);
        by_chance += 0.5 * share * mean;
        hidden += share * pairs(varying) / samples;
        variance += (0.5 * share).powi(2) * spread;
    }
    // Axes hide no more than there is.
    let hidden = if is_chosen { f64::min(hidden, by_chance) } else { 0.0 };
    Ok(Correlation { gain: gain - by_chance + hidden, deviation: variance.sqrt() })
}

/// Returns mean and variance of the logarithm of what the variances of d independent numbers have beyond the
/// determinant of their covariances, measured on n samples beside their mean. That is the sum over j < d of minus the
/// logarithms of Beta variables of (n - j) / 2 and j / 2 (Anderson, *An Introduction to Multivariate Statistical
/// Analysis*, 3rd edition, section 7.5).
fn chance(n: f64, d: usize) -> [f64; 2] {
    let [psi, slope] = polygamma(0.5 * n);
    let mut sums = [0.0; 2];
    for j in 0..d {
        let each = polygamma(0.5 * (n - j as f64));
        sums[0] += psi - each[0];
        sums[1] += each[1] - slope;
    }
    sums
}

/// Returns the digamma function and its derivative: their series for large arguments, and recurrences for small ones
/// (Abramowitz and Stegun, 6.3.5, 6.3.18, 6.4.6 and 6.4.12).
fn polygamma(mut x: f64) -> [f64; 2] {
    let [mut psi, mut slope] = [0.0; 2];
    while x < 6.0 {
        psi -= 1.0 / x;
        slope += 1.0 / (x * x);
        x += 1.0;
    }
    let square = 1.0 / (x * x);
    psi += x.ln() - 0.5 / x - square * (1.0 / 12.0 - square * (1.0 / 120.0 - square / 252.0));
    slope += 1.0 / x + 0.5 * square + square / x * (1.0 / 6.0 - square * (1.0 / 30.0 - square / 42.0));
    [psi, slope]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_that_of_independent_numbers() {
        // Of two numbers with n samples it is -log(1 - r^2), r^2 a Beta(1/2, (n - 1)/2), whose moments these are:
        // E r^2m = product over i < m of (1/2 + i) / (n/2 + i), and the square of the logarithm is the sum of
        // 2 (1 + .. + 1/(m - 1)) / m r^2m.
        for n in [4.0f64, 10.0, 200.0] {
            let (mut moment, mut sum, mut first, mut second) = (1.0, 0.0, 0.0, 0.0);
            for m in 1..2_000_000 {
                let m = f64::from(m);
                moment *= (m - 0.5) / (0.5 * n + m - 1.0);
                first += moment / m;
                second += 2.0 * sum / m * moment;
                sum += 1.0 / m;
            }
            let [mean, variance] = chance(n, 2);
            let expected = second - first * first;
            assert!((mean - first).abs() < 2e-5 * (1.0 + first), "{n}: {mean} and {first}");
            assert!((variance - expected).abs() < 1e-3 * expected, "{n}: {variance} and {expected}");
        }
        // About d (d - 1) / 2 squares of correlations of one over n each, where there are many samples.
        let [mean, variance] = chance(1e5, 16);
        assert!((mean - 120e-5).abs() < 1e-6 && (variance - 240e-10).abs() < 1e-11);
    }
}
