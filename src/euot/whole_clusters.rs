//! A mixture of Gaussians with all their covariances, fitted to samples. It tells whether clusters lie along axes of
//! their own.

use super::forms::{Forms, Parts};
use crate::data::{Clusters, LEAST_VARIANCE, Split};
use crate::device::cpu::pool::Pool;
use crate::error::Result;
use crate::memory;
use crate::symmetric::{Symmetric, dot};

const MEMORY: &str = "clusters of the samples";

/// How often clusters and their samples are told anew, at first and at most, and the log-likelihood of a sample that a
/// round has to gain.
const FIRST_ROUNDS: usize = 8;
const ROUNDS: usize = 20;
const GAIN: f64 = 5e-4;
/// The least variance of a cluster along any axis, over the mean variance of all samples.
const LEAST_SHARE: f64 = 1e-4;

/// See the module.
#[derive(Debug)]
pub(crate) struct WholeClusters {
    pub parts: Parts,
    /// Parts of twice as many clusters, where there may be so many.
    pub finer: Option<Parts>,
    /// The least variance along an axis.
    least: f64,
    /// Mean log-likelihood of the samples that were held back.
    pub likelihood: f64,
}

impl WholeClusters {
    /// Fits to the samples that are fitted clusters that begin with what these have of them, nearly.
    pub fn of(split: &Split, clusters: &Clusters, pool: &Pool) -> Result<Self> {
        let d = split.dimension();
        let parts = Parts::of_clusters(split, clusters, pool)?;
        let least = (LEAST_SHARE * parts.covariance()?.diagonals().sum::<f64>() / d as f64).max(LEAST_VARIANCE);
        let mut whole = Self { parts, finer: None, least, likelihood: f64::NEG_INFINITY };
        whole.improve(split, FIRST_ROUNDS, pool)?;
        Ok(whole)
    }

    /// Fits them to the end.
    pub fn finish(&mut self, split: &Split, pool: &Pool) -> Result<()> {
        self.improve(split, ROUNDS, pool)
    }

    fn improve(&mut self, split: &Split, rounds: usize, pool: &Pool) -> Result<()> {
        let mut forms = densities(&mut self.parts, self.least)?;
        let mut before = f64::NEG_INFINITY;
        for _ in 0..rounds {
            self.parts = forms.parts(split, pool)?;
            forms = densities(&mut self.parts, self.least)?;
            if self.parts.log - before < GAIN {
                break;
            }
            before = self.parts.log;
        }
        self.likelihood = forms.likelihood(split, pool)?;
        Ok(())
    }

    /// Returns the clusters without what their numbers have to do with each other.
    pub fn independent(&self) -> Result<Clusters> {
        let Parts { shares, means, covariances, .. } = &self.parts;
        let d = covariances[0].size();
        let mut variances = memory::with_room(MEMORY, means.len())?;
        covariances.iter().for_each(|covariance| variances.extend(covariance.diagonals()));
        Clusters::with(d, shares, memory::copied(MEMORY, means)?, variances)
    }

    /// Takes the clusters to samples that are moved and scaled: x_j becomes factor (x_j + shift_j).
    pub fn rescale(&mut self, factor: f64, shift: impl Fn(usize) -> f64) {
        for parts in std::iter::once(&mut self.parts).chain(&mut self.finer) {
            let d = parts.covariances[0].size();
            for mean in parts.means.chunks_exact_mut(d) {
                mean.iter_mut().enumerate().for_each(|(j, mean)| *mean = factor * (*mean + shift(j)));
            }
            for covariance in &mut parts.covariances {
                covariance.mirror(|_, _, x| factor * factor * x);
            }
        }
    }
}

/// Returns the densities of clusters with these moments, times their shares. Where a cluster has few samples for its
/// covariances, what all clusters have stands in for so many as a sample has numbers.
fn densities(parts: &mut Parts, least: f64) -> Result<Forms> {
    let (count, d) = (parts.shares.len(), parts.covariances[0].size());
    let mut forms = Forms::new(d, count)?;
    let mut all = Symmetric::zero(d)?;
    for (share, covariance) in parts.shares.iter().zip(&parts.covariances) {
        for i in 0..d {
            all.row_mut(i).iter_mut().zip(covariance.row(i)).for_each(|(sum, x)| *sum += share * x);
        }
    }
    for k in 0..count {
        let (samples, few) = (parts.samples(k), d as f64);
        let share = parts.shares[k];
        if share.is_nan() || share <= 0.0 {
            continue;
        }
        let covariance = &mut parts.covariances[k];
        let whole = covariance.copied()?;
        covariance.mirror(|i, j, _| (samples * whole.row(i)[j] + few * all.row(i)[j]) / (samples + few));
        let mut spectrum = covariance.copied()?.spectrum()?;
        spectrum.values.iter_mut().for_each(|value| *value = value.max(least));
        let mean = parts.mean(k);
        let places = memory::collected(MEMORY, spectrum.axes.chunks_exact(d).map(|axis| dot(axis, mean)))?;
        let along = |(place, value): (&f64, &f64)| place * place / value + (std::f64::consts::TAU * value).ln();
        let constant = share.ln() - 0.5 * places.iter().zip(&spectrum.values).map(along).sum::<f64>();
        forms.set(k, constant, &spectrum.axes, |j| [-0.5 / spectrum.values[j], places[j] / spectrum.values[j]]);
    }
    Ok(forms)
}
