//! A mixture of Gaussians with independent numbers, fitted to samples: it tells in which axes data come apart into
//! clusters of independent numbers, which is what the generator's components are made of.

use super::moments::LEAST_VARIANCE;
use super::split::Split;
use crate::error::Result;
use crate::memory;
use crate::rng::{Sequence, Stream, unit};
use crate::symmetric::{Symmetric, dot};

const MEMORY: &str = "a mixture fitted to the samples";
/// The samples for each cluster.
const SAMPLES: usize = 16;
/// How often clusters and their samples are told anew at most.
const ROUNDS: usize = 25;
/// The log-likelihood of a sample that a round has to gain, or it is the last.
const GAIN: f64 = 1e-4;
/// The same on other samples, for which they are nearly right.
const FOLLOWING: usize = 3;
/// The probability of a cluster below which a sample does not count there.
const NOTHING: f64 = 1e-6;
/// The share of samples below which a cluster's covariances tell little.
const LEAST_CLUSTER: f64 = 0.02;
/// The least variance of a cluster, over that of all samples along the axis.
const LEAST_SHARE: f64 = 1e-4;

/// The clusters of samples.
pub(crate) struct Clusters {
    dimension: usize,
    /// Share of each cluster.
    shares: Vec<f64>,
    /// One row each.
    means: Vec<f64>,
    variances: Vec<f64>,
    /// One over each variance.
    inverses: Vec<f64>,
    /// Logarithm of each cluster's share times the height of its density.
    heights: Vec<f64>,
    /// Mean log-likelihood of the samples that were held back.
    pub likelihood: f64,
}

impl Split {
    /// Returns the variance of each component over the samples that are fitted.
    pub fn variances(&self) -> Result<Vec<f64>> {
        Ok(Clusters::of_all(self)?.variances)
    }

    /// Returns the mean log-likelihood of the samples held back under independent numbers with the others' means and
    /// variances.
    pub fn independent(&self) -> Result<f64> {
        let mut one = Clusters::of_all(self)?;
        one.measure(self)?;
        Ok(one.likelihood)
    }

    /// Returns the mean log-likelihood of the samples held back under the Gaussian with the moments of the others.
    pub fn gaussian(&self) -> Result<f64> {
        let d = self.dimension();
        let one = Clusters::of_all(self)?;
        let covariance = one.covariances(self, |_, shares| shares[0] = 1.0)?.remove(0);
        let mut spectrum = covariance.spectrum()?;
        spectrum.values.iter_mut().for_each(|value| *value = value.max(LEAST_VARIANCE));
        let log: f64 = spectrum.values.iter().map(|value| value.ln()).sum();
        let mut away = memory::filled(MEMORY, d, 0.0)?;
        let (mut sum, mut weight) = (0.0, 0.0);
        for (x, w) in self.half(true) {
            away.iter_mut().zip(x).zip(&one.means).for_each(|((away, x), mean)| *away = x - mean);
            let axes = spectrum.axes.chunks_exact(d).zip(&spectrum.values);
            let square: f64 = axes.map(|(axis, value)| dot(axis, &away).powi(2) / value).sum();
            sum -= 0.5 * w * (square + log + d as f64 * std::f64::consts::TAU.ln());
            weight += w;
        }
        Ok(sum / weight)
    }
}

impl Clusters {
    /// Returns clusters of equal shares.
    fn new(dimension: usize, means: Vec<f64>, variances: Vec<f64>) -> Result<Self> {
        let count = means.len() / dimension;
        let mut clusters = Self {
            dimension,
            shares: memory::filled(MEMORY, count, 1.0 / count as f64)?,
            inverses: memory::copied(MEMORY, &variances)?,
            heights: memory::filled(MEMORY, count, 0.0)?,
            means,
            variances,
            likelihood: f64::NEG_INFINITY,
        };
        clusters.prepare();
        Ok(clusters)
    }

    /// Returns the share of samples that each has.
    pub fn shares(&self) -> &[f64] {
        &self.shares
    }

    /// Computes what follows from shares and variances.
    fn prepare(&mut self) {
        let d = self.dimension;
        let least = |variance: f64| variance.max(LEAST_VARIANCE);
        self.inverses.iter_mut().zip(&self.variances).for_each(|(inverse, variance)| *inverse = 1.0 / least(*variance));
        for ((height, share), variances) in
            self.heights.iter_mut().zip(&self.shares).zip(self.variances.chunks_exact(d))
        {
            let logs: f64 = variances.iter().map(|&variance| (std::f64::consts::TAU * least(variance)).ln()).sum();
            *height = share.ln() - 0.5 * logs;
        }
    }

    /// Returns the one cluster that has all samples of the first half.
    fn of_all(split: &Split) -> Result<Self> {
        let d = split.dimension();
        let zeros = || memory::filled(MEMORY, d, 0.0);
        let mut all = Self::new(d, zeros()?, zeros()?)?;
        all.update(split, None, |_, _, shares| {
            shares[0] = 1.0;
            0.0
        })?;
        Ok(all)
    }

    /// Fits so many clusters to the first half, or fewer to few samples.
    pub fn fit(split: &Split, count: usize) -> Result<Self> {
        let d = split.dimension();
        let all = Self::of_all(split)?;
        let count = (split.half(false).count() / SAMPLES).clamp(1, count);
        let mut means = memory::with_room(MEMORY, count * d)?;
        let mut nearest = memory::filled(MEMORY, split.half(false).count(), f64::INFINITY)?;
        // Each cluster begins at a sample that is drawn by its squared distance from those before: of several the one that
        // leaves the least (k-means++, Arthur and Vassilvitskii 2007, with greedy choice).
        let sequence = Sequence::new(0, 0, Stream::Init);
        for cluster in 0..count {
            let weight = |w: f64, near: f64| if cluster == 0 { w } else { w * near };
            let sum: f64 = split.half(false).zip(&nearest).map(|((_, w), near)| weight(w, *near)).sum();
            let draws = sequence.block(cluster as u64).map(|draw| f64::from(unit(draw)) * sum);
            let mut best: Option<(f64, &[f64])> = None;
            for place in &draws[..if cluster == 0 { 1 } else { draws.len() }] {
                let mut upto = 0.0;
                let before = split.half(false).zip(&nearest).take_while(|((_, w), near)| {
                    upto += weight(*w, **near);
                    upto < *place
                });
                let chosen = before.count().min(nearest.len().saturating_sub(1));
                let Some((row, _)) = split.half(false).nth(chosen) else { break };
                let left = |((x, w), near): ((&[f64], f64), &f64)| w * near.min(square(x, row, &all.inverses));
                let left = split.half(false).zip(&nearest).map(left).sum();
                if best.is_none_or(|(least, _)| left < least) {
                    best = Some((left, row));
                }
            }
            let Some((_, row)) = best else { break };
            means.extend_from_slice(row);
            for ((x, _), near) in split.half(false).zip(&mut nearest) {
                *near = near.min(square(x, row, &all.inverses));
            }
        }
        let count = means.len() / d;
        let mut variances = memory::with_room(MEMORY, count * d)?;
        (0..count).for_each(|_| variances.extend_from_slice(&all.variances));
        let mut clusters = Self::new(d, means, variances)?;
        clusters.improve(split, &all.variances)?;
        Ok(clusters)
    }

    /// Tells samples and clusters anew in turns, and measures the result.
    fn improve(&mut self, split: &Split, spread: &[f64]) -> Result<()> {
        let mut before = f64::NEG_INFINITY;
        for _ in 0..ROUNDS {
            let likelihood = self.tell(split, spread)?;
            if likelihood - before < GAIN {
                break;
            }
            before = likelihood;
        }
        self.measure(split)
    }

    /// Tells samples and clusters anew on other samples in the same axes, a few times.
    pub fn follow(&mut self, split: &Split) -> Result<()> {
        let all = Self::of_all(split)?;
        for _ in 0..FOLLOWING {
            self.tell(split, &all.variances)?;
        }
        Ok(())
    }

    /// Tells samples and clusters anew once, and returns how likely the samples were before.
    fn tell(&mut self, split: &Split, spread: &[f64]) -> Result<f64> {
        self.update(split, Some(spread), Self::posterior)
    }

    /// Tells the likelihood of the samples held back.
    fn measure(&mut self, split: &Split) -> Result<()> {
        let mut shares = memory::filled(MEMORY, self.shares.len(), 0.0)?;
        let (mut sum, mut weight) = (0.0, 0.0);
        for (x, w) in split.half(true) {
            sum += w * self.posterior(x, &mut shares);
            weight += w;
        }
        self.likelihood = sum / weight;
        Ok(())
    }

    /// Returns the mean log-likelihood of the samples held back of one component under what the clusters have along it.
    pub fn along(&self, axis: usize, column: &Split) -> Result<f64> {
        let d = self.dimension;
        let of = |numbers: &[f64]| memory::collected(MEMORY, numbers.chunks_exact(d).map(|numbers| numbers[axis]));
        let mut along = Self::new(1, of(&self.means)?, of(&self.variances)?)?;
        along.shares.copy_from_slice(&self.shares);
        along.prepare();
        along.measure(column)?;
        Ok(along.likelihood)
    }

    /// Writes the probability of each cluster given a sample, and returns the logarithm of the sample's density.
    pub fn posterior(&self, x: &[f64], shares: &mut [f64]) -> f64 {
        let d = self.dimension;
        let clusters = self.means.chunks_exact(d).zip(self.inverses.chunks_exact(d));
        for ((share, height), (mean, inverse)) in shares.iter_mut().zip(&self.heights).zip(clusters) {
            *share = height - 0.5 * square(x, mean, inverse);
        }
        let top = shares.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = shares.iter().map(|share| (share - top).exp()).sum();
        shares.iter_mut().for_each(|share| *share = (*share - top).exp() / sum);
        top + sum.ln()
    }

    /// Measures each cluster on the samples of the first half, of which `tell` writes the probability of each cluster and
    /// returns the log-likelihood. Returns the mean of that.
    fn update(
        &mut self,
        split: &Split,
        spread: Option<&[f64]>,
        tell: impl Fn(&Self, &[f64], &mut [f64]) -> f64,
    ) -> Result<f64> {
        let (d, count) = (self.dimension, self.shares.len());
        let mut shares = memory::filled(MEMORY, count, 0.0)?;
        let mut weights = memory::filled(MEMORY, count, 0.0)?;
        let [mut means, mut squares] =
            [memory::filled(MEMORY, count * d, 0.0)?, memory::filled(MEMORY, count * d, 0.0)?];
        let mut likelihood = 0.0;
        for (x, w) in split.half(false) {
            likelihood += w * tell(self, x, &mut shares);
            for (cluster, share) in shares.iter().enumerate() {
                let part = w * share;
                weights[cluster] += part;
                if *share < NOTHING {
                    continue;
                }
                let own = cluster * d..(cluster + 1) * d;
                for ((mean, square), (x, old)) in
                    means[own.clone()].iter_mut().zip(&mut squares[own.clone()]).zip(x.iter().zip(&self.means[own]))
                {
                    let away = x - old;
                    *mean += part * away;
                    *square += part * away * away;
                }
            }
        }
        let all: f64 = weights.iter().sum();
        for cluster in 0..count {
            self.shares[cluster] = weights[cluster] / all;
            if weights[cluster].is_nan() || weights[cluster] <= 1e-9 * all {
                continue;
            }
            for j in 0..d {
                let place = cluster * d + j;
                let away = means[place] / weights[cluster];
                let least = spread.map_or(0.0, |spread| LEAST_SHARE * spread[j]).max(LEAST_VARIANCE);
                self.variances[place] = (squares[place] / weights[cluster] - away * away).max(least);
                self.means[place] += away;
            }
        }
        self.prepare();
        Ok(likelihood / all)
    }

    /// Returns all covariances of each cluster, over the samples of the first half, times the cluster's share.
    fn covariances(&self, split: &Split, tell: impl Fn(&[f64], &mut [f64])) -> Result<Vec<Symmetric>> {
        let (d, count) = (self.dimension, self.shares.len());
        let mut sums = memory::made(MEMORY, count, |_| Symmetric::zero(d))?;
        let mut shares = memory::filled(MEMORY, count, 0.0)?;
        let mut away = memory::filled(MEMORY, d, 0.0)?;
        let mut all = 0.0;
        for (x, w) in split.half(false) {
            tell(x, &mut shares);
            all += w;
            for ((sum, share), mean) in sums.iter_mut().zip(&shares).zip(self.means.chunks_exact(d)) {
                let part = w * share;
                if *share < NOTHING {
                    continue;
                }
                away.iter_mut().zip(x).zip(mean).for_each(|((away, x), mean)| *away = x - mean);
                sum.add_square(part, &away);
            }
        }
        sums.iter_mut().for_each(|sum| sum.mirror(|_, _, x| x / all));
        Ok(sums)
    }

    /// Returns the share of each cluster of more than a few samples with its covariances.
    pub fn spreads(&self, split: &Split) -> Result<Vec<(f64, Symmetric)>> {
        let sums = self.covariances(split, |x, shares| {
            self.posterior(x, shares);
        })?;
        let mut of = memory::with_room(MEMORY, sums.len())?;
        for (share, mut sum) in self.shares.iter().copied().zip(sums) {
            if share > LEAST_CLUSTER {
                sum.mirror(|_, _, x| x / share);
                of.push((share, sum));
            }
        }
        Ok(of)
    }
}

/// Returns the squared distance in standard deviations.
fn square(x: &[f64], mean: &[f64], inverse: &[f64]) -> f64 {
    let mut lanes = [0.0; 4];
    let parts = x.chunks(4).zip(mean.chunks(4)).zip(inverse.chunks(4));
    for ((x, mean), inverse) in parts {
        for (((lane, x), mean), inverse) in lanes.iter_mut().zip(x).zip(mean).zip(inverse) {
            *lane += (x - mean) * (x - mean) * inverse;
        }
    }
    (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])
}
