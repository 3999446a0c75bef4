//! Peaks with axes of their own as exponents, and the closed form that each is between all moments of what it has of
//! both sides.

use super::forms::{Forms, Parts};
use super::gaussian_pair::{Gaussian, Pair};
use super::peak_shares::{CONTRACTIONS, LEAST_VARIANCE, NO_SHARE, level, normalise, peaks_of};
use crate::error::Result;
use crate::formulas::Peaks;
use crate::formulas::peaks::PeakAxes;
use crate::memory;
use crate::symmetric::{Spectrum, dot};

const MEMORY: &str = "the peaks of a value function";
/// The number of samples of either side below which a peak is not made anew, beside twice the numbers of a sample.
const LEAST_SAMPLES: f64 = 16.0;

/// Peaks as exponents of y: log w_k + sum over j of b_kj y_j - p_kj / 2 y_j^2 along the axes j of peak k.
pub(super) struct TurnedExponents {
    weights: Vec<f64>,
    /// Precisions, with their axes.
    spectra: Vec<Spectrum>,
    /// Of each peak, along its axes.
    slopes: Vec<Vec<f64>>,
}

impl TurnedExponents {
    /// Returns the closed form between the moments that each peak has of both sides, with this noise along every axis.
    /// A weight is such that the peak keeps the height that it had where its source samples are, and more by how much
    /// less of these it has than of the target's.
    pub fn carried([from, to]: &[Parts; 2], before: Option<&Self>, noise: f64) -> Result<Self> {
        let count = to.shares.len();
        let mut next = Self {
            weights: memory::filled(MEMORY, count, 0.0)?,
            spectra: memory::with_room(MEMORY, count)?,
            slopes: memory::with_room(MEMORY, count)?,
        };
        let (d, all) = (to.covariances[0].size(), to.covariance()?);
        for k in 0..count {
            let few = from.samples(k).min(to.samples(k)) < LEAST_SAMPLES + 2.0 * d as f64;
            if let Some(before) = before.filter(|_| few) {
                next.weights[k] = before.weights[k];
                next.spectra.push(before.spectra[k].copied()?);
                next.slopes.push(memory::copied(MEMORY, &before.slopes[k])?);
                continue;
            }
            let side = |parts: &Parts| -> Result<Gaussian> {
                let mean = memory::copied(MEMORY, parts.mean(k))?;
                Ok(Gaussian { mean, covariance: parts.covariances[k].copied()? })
            };
            let (source, target) = (side(from)?, side(to)?);
            let pair = Pair { source: &source, target: &target, noise, softness: 0.0 };
            let mut spectrum = pair.contraction()?;
            let mut slopes = memory::with_room(MEMORY, d)?;
            for (axis, value) in spectrum.axes.chunks_exact(d).zip(&mut spectrum.values) {
                let mut c = *value;
                // A flat cluster's peak would be thinner than 32-bit numbers tell.
                let least = LEAST_VARIANCE * dot(&all.times(axis)?, axis);
                if dot(&target.covariance.times(axis)?, axis) < least {
                    let from = dot(&source.covariance.times(axis)?, axis);
                    c = 2.0 * least / (noise + (noise * noise + 4.0 * from * least).sqrt());
                }
                let c = c.clamp(CONTRACTIONS[0], CONTRACTIONS[1]);
                slopes.push((dot(axis, &target.mean) / c - dot(axis, &source.mean)) / noise);
                *value = (1.0 / c - 1.0) / noise;
            }
            next.spectra.push(spectrum);
            next.slopes.push(slopes);
            let [old, share] = match before {
                Some(before) => [before.height(k, from, noise)?, from.shares[k]],
                None => [0.0, 1.0],
            };
            next.weights[k] = old - next.height(k, from, noise)? + (to.shares[k].max(NO_SHARE) / share).ln();
        }
        normalise(&mut next.weights);
        Ok(next)
    }

    /// Returns the mean of log phi_k(0, x) over the source samples that a peak has.
    fn height(&self, k: usize, from: &Parts, noise: f64) -> Result<f64> {
        let (Spectrum { values, axes }, mean) = (&self.spectra[k], from.mean(k));
        let mut sum = self.weights[k];
        for ((p, b), axis) in values.iter().zip(&self.slopes[k]).zip(axes.chunks_exact(mean.len())) {
            let (factor, place) = (1.0 + p * noise, dot(axis, mean));
            let square = place * place + dot(&from.covariances[k].times(axis)?, axis);
            sum -= 0.5 * ((p * square - 2.0 * b * place - noise * b * b) / factor + factor.ln());
        }
        Ok(sum)
    }

    /// Returns what lies so far on the way to others, or as far beyond these as peaks with this noise may be.
    pub fn towards(&self, other: &Self, part: f64, noise: f64) -> Result<Self> {
        let weights = self.weights.iter().zip(&other.weights).map(|(a, b)| a + part * (b - a));
        let mut found = Self {
            weights: memory::collected(MEMORY, weights)?,
            spectra: memory::with_room(MEMORY, self.spectra.len())?,
            slopes: memory::with_room(MEMORY, self.spectra.len())?,
        };
        let [low, high] = [CONTRACTIONS[1], CONTRACTIONS[0]].map(|c| (1.0 / c - 1.0) / noise);
        for k in 0..self.spectra.len() {
            let (mut matrix, end) = (self.spectra[k].map(|p| p)?, other.spectra[k].map(|p| p)?);
            for i in 0..matrix.size() {
                matrix.row_mut(i).iter_mut().zip(end.row(i)).for_each(|(a, b)| *a += part * (b - *a));
            }
            let ends = [self.slope(k)?, other.slope(k)?];
            let between = ends[0].iter().zip(&ends[1]).map(|(a, b)| a + part * (b - a));
            let slope = memory::collected(MEMORY, between)?;
            let mut spectrum = matrix.spectrum()?;
            spectrum.values.iter_mut().for_each(|p| *p = p.clamp(low, high));
            let along = spectrum.axes.chunks_exact(slope.len()).map(|axis| dot(axis, &slope));
            found.slopes.push(memory::collected(MEMORY, along)?);
            found.spectra.push(spectrum);
        }
        Ok(found)
    }

    /// Returns the slopes of a peak along the components of a sample.
    fn slope(&self, k: usize) -> Result<Vec<f64>> {
        let d = self.slopes[k].len();
        let mut slope = memory::filled(MEMORY, d, 0.0)?;
        for (axis, b) in self.spectra[k].axes.chunks_exact(d).zip(&self.slopes[k]) {
            slope.iter_mut().zip(axis).for_each(|(sum, x)| *sum += b * x);
        }
        Ok(slope)
    }

    /// Returns the same with weights for which peaks' shares of both sides agree better.
    pub fn levelled(&self, [from, to]: &[Parts; 2]) -> Result<Self> {
        let mut weights = memory::copied(MEMORY, &self.weights)?;
        level(&mut weights, &from.shares, &to.shares);
        self.with_weights(weights)
    }

    /// Returns the same with the logarithms of the weights moved.
    pub fn weighed(&self, by: &[f64]) -> Result<Self> {
        let mut weights = memory::collected(MEMORY, self.weights.iter().zip(by).map(|(weight, by)| weight + by))?;
        normalise(&mut weights);
        self.with_weights(weights)
    }

    fn with_weights(&self, weights: Vec<f64>) -> Result<Self> {
        let mut spectra = memory::with_room(MEMORY, weights.len())?;
        let mut slopes = memory::with_room(MEMORY, weights.len())?;
        for (spectrum, slope) in self.spectra.iter().zip(&self.slopes) {
            spectra.push(spectrum.copied()?);
            slopes.push(memory::copied(MEMORY, slope)?);
        }
        Ok(Self { weights, spectra, slopes })
    }

    /// Returns log w_k phi_k of each peak with this noise before the end, or at it without.
    pub fn forms(&self, noise: f64) -> Result<Forms> {
        let mut forms = Forms::new(self.slopes[0].len(), self.weights.len())?;
        for (k, (Spectrum { values, axes }, slopes)) in self.spectra.iter().zip(&self.slopes).enumerate() {
            let along = |(p, b): (&f64, &f64)| noise * b * b / (1.0 + p * noise) - (p * noise).ln_1p();
            let constant = self.weights[k] + 0.5 * values.iter().zip(slopes).map(along).sum::<f64>();
            forms.set(k, constant, axes, |j| {
                let factor = 1.0 + values[j] * noise;
                [-0.5 * values[j] / factor, slopes[j] / factor]
            });
        }
        Ok(forms)
    }

    /// Returns how many numbers were fitted.
    pub fn numbers(&self) -> usize {
        let d = self.slopes[0].len();
        self.weights.len() * (1 + d + d * (d + 1) / 2)
    }

    /// Returns them as a value function has them.
    pub fn peaks(&self) -> Result<Peaks> {
        let d = self.slopes[0].len();
        let mut axes = memory::with_room(MEMORY, self.weights.len() * d * d)?;
        let mut precisions = memory::with_room(MEMORY, self.weights.len() * d)?;
        let mut slopes = memory::with_room(MEMORY, self.weights.len() * d)?;
        for (spectrum, along) in self.spectra.iter().zip(&self.slopes) {
            axes.extend(spectrum.axes.iter().map(|&x| x as f32));
            precisions.extend_from_slice(&spectrum.values);
            slopes.extend_from_slice(along);
        }
        peaks_of(memory::copied(MEMORY, &self.weights)?, precisions, slopes, Some(PeakAxes::new(axes)))
    }
}
