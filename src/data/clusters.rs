//! A mixture of Gaussians with independent numbers, fitted to samples: it tells in which axes data come apart into
//! clusters of independent numbers, which is what the generator's components are made of.

use super::cluster_starts::starts;
use super::moments::LEAST_VARIANCE;
use super::split::Split;
use crate::error::Result;
use crate::lanes::{ROWS, Rows, add_terms, divide, padded, place};
use crate::memory;
use crate::symmetric::{Symmetric, dot, turn_rows};
use crate::vectors::with_vectors;
use std::borrow::Borrow;

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
    /// Means and one over each variance in their places for [`take_squares`].
    lanes: [Vec<f64>; 2],
    /// Logarithm of each cluster's share times the height of its density, and nothing where there is padding.
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
        let mut covariance = Symmetric::zero(d)?;
        let all = one.add_covariances(self, std::slice::from_mut(&mut covariance), |_, shares| one.belong(shares))?;
        covariance.mirror(|_, _, x| x / all);
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
        let zeros = || memory::filled(MEMORY, padded(count) * dimension, 0.0);
        let mut clusters = Self {
            dimension,
            shares: memory::filled(MEMORY, count, 1.0 / count as f64)?,
            lanes: [zeros()?, zeros()?],
            heights: memory::filled(MEMORY, padded(count), f64::NEG_INFINITY)?,
            means,
            variances,
            likelihood: f64::NEG_INFINITY,
        };
        clusters.prepare();
        Ok(clusters)
    }

    /// Returns clusters of independent numbers with these shares, means and variances.
    pub fn with(dimension: usize, shares: &[f64], means: Vec<f64>, variances: Vec<f64>) -> Result<Self> {
        let mut clusters = Self::new(dimension, means, variances)?;
        clusters.shares.copy_from_slice(shares);
        clusters.prepare();
        Ok(clusters)
    }

    /// Returns the share of samples that each has.
    pub fn shares(&self) -> &[f64] {
        &self.shares
    }

    /// Computes what follows from shares, means and variances.
    fn prepare(&mut self) {
        let d = self.dimension;
        let [lane_means, inverses] = &mut self.lanes;
        for (k, share) in self.shares.iter().enumerate() {
            let mut logs = 0.0;
            for j in 0..d {
                let variance = self.variances[k * d + j].max(LEAST_VARIANCE);
                lane_means[place(k, j, d)] = self.means[k * d + j];
                inverses[place(k, j, d)] = 1.0 / variance;
                logs += (std::f64::consts::TAU * variance).ln();
            }
            self.heights[k] = share.ln() - 0.5 * logs;
        }
    }

    /// Returns the one cluster that has all samples of the first half.
    fn of_all(split: &Split) -> Result<Self> {
        let d = split.dimension();
        let zeros = || memory::filled(MEMORY, d, 0.0);
        let mut all = Self::new(d, zeros()?, zeros()?)?;
        all.update(split, None, |all, _, shares| {
            all.belong(shares);
            [0.0; ROWS]
        })?;
        Ok(all)
    }

    /// Fits so many clusters to the first half, or fewer to few samples.
    pub fn fit(split: &Split, count: usize) -> Result<Self> {
        let d = split.dimension();
        let all = Self::of_all(split)?;
        let count = (split.half(false).count() / SAMPLES).clamp(1, count);
        let means = starts(split, count, &all.variances)?;
        if means.is_empty() {
            return Ok(all);
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

    /// Takes the clusters to other axes, the rows of `axes`.
    pub fn turn(&mut self, axes: &[f64]) -> Result<()> {
        let d = self.dimension;
        turn_rows(&mut self.means, axes, d)?;
        let mut before = memory::filled(MEMORY, d, 0.0)?;
        for variances in self.variances.chunks_exact_mut(d) {
            before.copy_from_slice(variances);
            let along = |axis: &[f64]| axis.iter().zip(&before).map(|(x, variance)| x * x * variance).sum();
            variances.iter_mut().zip(axes.chunks_exact(d)).for_each(|(to, axis)| *to = along(axis));
        }
        self.prepare();
        Ok(())
    }

    /// Tells samples and clusters anew once, and returns how likely the samples were before.
    fn tell(&mut self, split: &Split, spread: &[f64]) -> Result<f64> {
        self.update(split, Some(spread), Self::posterior)
    }

    /// Tells the likelihood of the samples held back.
    fn measure(&mut self, split: &Split) -> Result<()> {
        self.likelihood = self.likelihood_of(split)?;
        Ok(())
    }

    /// Returns the mean log-likelihood of the samples held back.
    pub fn likelihood_of(&self, split: &Split) -> Result<f64> {
        let mut shares = self.no_shares()?;
        let (mut sum, mut weight) = (0.0, 0.0);
        for (rows, weights) in split.blocks(true) {
            for (log, w) in self.posterior(&rows, &mut shares).into_iter().zip(weights) {
                sum += w * log;
                weight += w;
            }
        }
        Ok(sum / weight)
    }

    /// Returns the mean log-likelihood of the samples held back of one component under what the clusters have along it.
    pub fn along(&self, axis: usize, column: &Split) -> Result<f64> {
        let d = self.dimension;
        let of = |numbers: &[f64]| memory::collected(MEMORY, numbers.chunks_exact(d).map(|numbers| numbers[axis]));
        Self::with(1, &self.shares, of(&self.means)?, of(&self.variances)?)?.likelihood_of(column)
    }

    /// Returns room for the shares of each of a block's rows.
    fn no_shares(&self) -> Result<Vec<f64>> {
        memory::filled(MEMORY, ROWS * padded(self.shares.len()), 0.0)
    }

    /// Gives all rows to the only cluster.
    fn belong(&self, shares: &mut [f64]) {
        shares.iter_mut().step_by(padded(1)).for_each(|share| *share = 1.0);
    }

    /// Writes the probability of each cluster given each row, rows x clusters with their padding, and returns the logarithm of each
    /// row's density.
    pub fn posterior(&self, rows: &Rows, shares: &mut [f64]) -> [f64; ROWS] {
        let row = self.heights.len();
        shares.chunks_exact_mut(row).for_each(|shares| shares.copy_from_slice(&self.heights));
        let [means, inverses] = &self.lanes;
        take_squares(rows, means, inverses, shares);
        let mut logs = [0.0; ROWS];
        logs.iter_mut().zip(shares.chunks_exact_mut(row)).for_each(|(log, shares)| *log = divide(shares));
        logs
    }

    /// Measures each cluster on the samples of the first half, of which `tell` writes the probability of each cluster and
    /// returns the log-likelihood. Returns the mean of that.
    fn update(
        &mut self,
        split: &Split,
        spread: Option<&[f64]>,
        tell: impl Fn(&Self, &Rows, &mut [f64]) -> [f64; ROWS],
    ) -> Result<f64> {
        let (d, count) = (self.dimension, self.shares.len());
        let mut shares = self.no_shares()?;
        let mut weights = memory::filled(MEMORY, count, 0.0)?;
        let [mut means, mut squares] =
            [memory::filled(MEMORY, count * d, 0.0)?, memory::filled(MEMORY, count * d, 0.0)?];
        let mut likelihood = 0.0;
        for (rows, of_rows) in split.blocks(false) {
            let logs = tell(self, &rows, &mut shares);
            let each = logs.into_iter().zip(of_rows).zip(rows).zip(shares.chunks_exact(padded(count)));
            for (((log, w), x), shares) in each.filter(|(((_, w), _), _)| *w > 0.0) {
                likelihood += w * log;
                for (cluster, share) in shares[..count].iter().enumerate() {
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

    /// Adds the squares of the samples of the first half about each cluster's mean, as often as they belong to it, and returns the
    /// samples' weight.
    fn add_covariances(&self, split: &Split, sums: &mut [Symmetric], tell: impl Fn(&Rows, &mut [f64])) -> Result<f64> {
        let (d, count) = (self.dimension, self.shares.len());
        let mut shares = self.no_shares()?;
        let mut away = memory::filled(MEMORY, d, 0.0)?;
        let mut all = 0.0;
        for (rows, weights) in split.blocks(false) {
            tell(&rows, &mut shares);
            for ((x, w), shares) in rows.into_iter().zip(weights).zip(shares.chunks_exact(padded(count))) {
                all += w;
                let own = sums.iter_mut().zip(shares).zip(self.means.chunks_exact(d));
                for ((sum, share), mean) in own.filter(|((_, share), _)| w > 0.0 && **share >= NOTHING) {
                    away.iter_mut().zip(x).zip(mean).for_each(|((away, x), mean)| *away = x - mean);
                    sum.add_square(w * share, &away);
                }
            }
        }
        Ok(all)
    }

    /// Returns the share of each cluster of more than a few samples with its covariances.
    pub fn spreads(&self, split: &Split) -> Result<Vec<(f64, Symmetric)>> {
        self.spreads_of_parts([Ok(split)].into_iter())
    }

    /// Returns the same of samples that come in parts.
    pub fn spreads_of_parts<S: Borrow<Split>>(
        &self,
        parts: impl Iterator<Item = Result<S>>,
    ) -> Result<Vec<(f64, Symmetric)>> {
        let mut sums = memory::made(MEMORY, self.shares.len(), |_| Symmetric::zero(self.dimension))?;
        let mut all = 0.0;
        for part in parts {
            all += self.add_covariances(part?.borrow(), &mut sums, |rows, shares| {
                self.posterior(rows, shares);
            })?;
        }
        let mut of = memory::with_room(MEMORY, sums.len())?;
        for (share, mut sum) in self.shares.iter().copied().zip(sums) {
            if share > LEAST_CLUSTER {
                sum.mirror(|_, _, x| x / (all * share));
                of.push((share, sum));
            }
        }
        Ok(of)
    }
}

with_vectors! {
    /// Takes half of (x_j - mean_jk)^2 / variance_jk over all j from logarithm k of each row.
    fn take_squares(rows: &Rows, means: &[f64], inverses: &[f64], logs: &mut [f64]) {
        add_terms(rows, [means, inverses], logs, |x, mean, inverse| -0.5 * ((x - mean) * (x - mean) * inverse));
    }
}
