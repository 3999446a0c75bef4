//! Entropic transport between two Gaussians, in closed form.
//!
//! The plan sends x0 to a Gaussian around Q (x0 + h) with covariance sigma^2 Q. The end's covariance is then E = Q A Q +
//! sigma^2 Q. Its density relative to the target is e^(k V0(1, .)), with k the softness of the divergence and
//! V0(1, y) = 1/2 y^T G y - h^T y + level, G = Q^-1 - I. So E^-1 = B^-1 - k G. With K = B^-1 + k I the solution is
//!
//! Q = A^-1/2 z(A^1/2 K^-1 A^1/2) A^-1/2 + k K^-1,   z(m) = 2 m / (c + sqrt(c^2 + 4 m)),   c = sigma^2 + k m,
//!
//! balanced (k = 0) that of Janati, Muzellec, Peyre, Cuturi, *Entropic Optimal Transport between Unbalanced Gaussian
//! Measures has a Closed Form*, NeurIPS 2020. Along the axes of Q all of it is diagonal but A and B.

use crate::data::LEAST_VARIANCE;
use crate::error::Result;
use crate::formulas::Conjugate;
use crate::memory;
use crate::symmetric::{Spectrum, Symmetric, dot};

/// The largest 1 / tau that counts: from there on the target's masses have no effect.
const MOST_SOFTNESS: f64 = 1e12;
const WHAT: &str = "the moments of the samples";

/// Mean and covariance of a side.
#[derive(Debug)]
pub(crate) struct Gaussian {
    pub mean: Vec<f64>,
    pub covariance: Symmetric,
}

/// A source and a target, and what lies between them.
#[derive(Debug)]
pub(crate) struct Pair<'a> {
    pub source: &'a Gaussian,
    pub target: &'a Gaussian,
    /// sigma^2.
    pub noise: f64,
    /// k.
    pub softness: f64,
}

impl Gaussian {
    /// Returns whether no two numbers have a correlation above `chance`.
    pub fn is_independent(&self, chance: f64) -> bool {
        (0..self.covariance.size()).all(|j| self.is_apart(j, chance))
    }

    /// Returns whether number j has no correlation above this with another.
    pub fn is_apart(&self, j: usize, most: f64) -> bool {
        let row = self.covariance.row(j);
        (0..row.len()).all(|k| k == j || row[k].abs() <= most * (row[j] * self.covariance.row(k)[k]).sqrt())
    }

    /// Returns a copy.
    pub fn copied(&self) -> Result<Self> {
        Ok(Self { mean: memory::copied(WHAT, &self.mean)?, covariance: self.covariance.copied()? })
    }

    /// Returns the Gaussian without what its numbers have to do with each other.
    pub fn independent(&self) -> Result<Self> {
        let covariance = Symmetric::diagonal(self.covariance.diagonals())?;
        Ok(Self { mean: memory::copied(WHAT, &self.mean)?, covariance })
    }
}

/// Returns the contraction along one axis for numbers with these variances.
pub(super) fn contraction([a, b]: [f64; 2], noise: f64, softness: f64) -> f64 {
    let [a, b] = [a, b].map(|variance| variance.max(LEAST_VARIANCE));
    let kept = b / (1.0 + softness * b);
    fixed(a * kept, noise, softness) / a + softness * kept
}

/// Returns the softness that a Gaussian's plan knows.
pub(super) fn softness(conjugate: &Conjugate) -> f64 {
    conjugate.divergence.softness(conjugate.tau).min(MOST_SOFTNESS)
}

/// Returns z(m).
fn fixed(m: f64, noise: f64, softness: f64) -> f64 {
    let c = noise + softness * m;
    2.0 * m / (c + (c * c + 4.0 * m).sqrt())
}

impl<'a> Pair<'a> {
    /// Takes both sides as a problem has them between. To first order every conjugate has the density ratio of KL, with a
    /// tau of its own.
    pub fn new([source, target]: &'a [Gaussian; 2], sigma: f64, conjugate: &Conjugate) -> Self {
        Self { source, target, noise: sigma * sigma, softness: softness(conjugate) }
    }

    /// Returns Q, by its values and axes.
    pub fn contraction(&self) -> Result<Spectrum> {
        let Self { noise, softness, .. } = *self;
        let floor = |variance: f64| variance.max(LEAST_VARIANCE);
        let source = self.source.covariance.copied()?.spectrum()?;
        let kept = self.target.covariance.copied()?.spectrum()?.map(|b| floor(b) / (1.0 + softness * floor(b)))?;
        let [root, inverse] = [source.map(|a| floor(a).sqrt())?, source.map(|a| 1.0 / floor(a).sqrt())?];
        let whole = kept.between(&root)?.spectrum()?.map(|m| fixed(m.max(0.0), noise, softness))?;
        let mut q = whole.between(&inverse)?;
        for j in 0..q.size() {
            q.row_mut(j).iter_mut().zip(kept.row(j)).for_each(|(q, kept)| *q += softness * kept);
        }
        q.spectrum()
    }

    /// Returns E in the axes of Q, in which this pair is given.
    fn end(&self, q: &[f64]) -> Result<Symmetric> {
        let mut end = self.source.covariance.copied()?;
        for (j, qj) in q.iter().enumerate() {
            end.row_mut(j).iter_mut().zip(q).for_each(|(e, qk)| *e *= qj * qk);
            end.row_mut(j)[j] += self.noise * qj;
        }
        Ok(end)
    }

    /// Returns h, where the pair is given in the axes of Q: (Q + k E) h = (I + k E G) m1 - Q m0.
    pub fn pull(&self, q: &[f64]) -> Result<Vec<f64>> {
        let Self { source, target, softness, .. } = self;
        let direct = |j: usize| (target.mean[j] - q[j] * source.mean[j]) / q[j];
        if *softness == 0.0 {
            return memory::collected(WHAT, (0..q.len()).map(direct));
        }
        let mut end = self.end(q)?;
        let bent = memory::collected(WHAT, q.iter().zip(&target.mean).map(|(q, y)| (1.0 / q - 1.0) * y))?;
        let bent = end.times(&bent)?;
        let right = |j: usize| target.mean[j] + softness * bent[j] - q[j] * source.mean[j];
        let right = memory::collected(WHAT, (0..q.len()).map(right))?;
        for (j, q) in q.iter().enumerate() {
            end.row_mut(j).iter_mut().for_each(|e| *e *= softness);
            end.row_mut(j)[j] += q;
        }
        match end.solve(&right)? {
            Some(pull) => Ok(pull),
            None => memory::collected(WHAT, (0..q.len()).map(direct)),
        }
    }

    /// Returns the level for which the density ratio e^(k V0) averages 1 over the target where `exponential`, and
    /// otherwise that for which V0(1, .) averages 0 over it.
    pub fn level(&self, q: &[f64], h: &[f64], exponential: bool) -> Result<f64> {
        let Self { target, softness, .. } = self;
        let y = &target.mean;
        let bends = memory::collected(WHAT, q.iter().map(|q| 1.0 / q - 1.0))?;
        let square: f64 = bends.iter().zip(y).map(|(g, y)| g * y * y).sum();
        let place = square - 2.0 * dot(h, y);
        if !exponential {
            let spread: f64 = bends.iter().zip(target.covariance.diagonals()).map(|(g, b)| g * b).sum();
            return Ok(-0.5 * (spread + place));
        }
        // -1/k log det(I - k B G), in a form that stays exact as k falls.
        let root = target.covariance.copied()?.spectrum()?.map(|b| b.max(LEAST_VARIANCE).sqrt())?;
        let drops = Symmetric::diagonal(bends.iter().copied())?.between(&root)?.spectrum()?.values;
        let spread =
            -drops.iter().map(|drop| (-softness * drop).max(-1.0 + f64::EPSILON).ln_1p()).sum::<f64>() / softness;
        let away = memory::collected(WHAT, (0..q.len()).map(|j| bends[j] * y[j] - h[j]))?;
        Ok(-0.5 * (spread + place + softness * dot(&self.end(q)?.times(&away)?, &away)))
    }

    /// Returns the mean of V0(0, x0) over the source, with V0(1, 0) = level.
    pub fn start(&self, q: &[f64], h: &[f64], level: f64) -> f64 {
        let Self { source, noise, .. } = self;
        let along = |((q, h), (m, a)): ((&f64, &f64), (&f64, f64))| {
            0.5 * (1.0 - q) * (a + m * m) - q * h * (m + 0.5 * h) - 0.5 * noise * q.ln()
        };
        level + q.iter().zip(h).zip(source.mean.iter().zip(source.covariance.diagonals())).map(along).sum::<f64>()
    }
}
