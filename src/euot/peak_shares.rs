//! Peaks as exponents, and what they have of a side's samples.

use crate::data::{Clusters, Split};
use crate::error::Result;
use crate::formulas::Peaks;
use crate::formulas::peaks::PeakAxes;
use crate::lanes::{LANES, ROWS, Rows, add_terms, divide, padded, place};
use crate::memory;
use crate::vectors::with_vectors;

const MEMORY: &str = "the peaks of a value function";
/// The number of samples of either side below which a peak is not made anew: it would be theirs alone.
const LEAST_SAMPLES: f64 = 16.0;
/// The least share that enters a logarithm.
pub(super) const NO_SHARE: f64 = 1e-9;
/// The range of 1 / (1 + p sigma^2), by which a peak contracts: a spread of 1 / 30 of the noise's, and three times it.
pub(super) const CONTRACTIONS: [f64; 2] = [1e-3, 9.0];
/// The largest distance of a peak's centre from 0, in lengths that networks see as 1. A peak farther away is one at 0 with a
/// tilt.
const FARTHEST: f64 = 8.0;
/// The least variance of what a peak has along an axis, over that of all samples, and the variance of what is one point.
pub(super) const LEAST_VARIANCE: f64 = 1e-4;
const POINT: f64 = 1e-12;

/// Peaks as exponents of y: log w_k + sum over j of b_kj y_j - p_kj / 2 y_j^2.
pub(super) struct Exponents {
    weights: Vec<f64>,
    /// Peaks x axes, as the next.
    precisions: Vec<f64>,
    slopes: Vec<f64>,
}

/// What each peak has of a side's samples.
pub(super) struct Shares {
    shares: Vec<f64>,
    /// Peaks x axes, as the next.
    means: Vec<f64>,
    variances: Vec<f64>,
    /// Mean over the samples of log phi.
    pub log: f64,
    /// The number of samples of equal weight that tell as much.
    effective: f64,
}

with_vectors! {
    /// Adds x_j (x_j square_jk + slope_jk) over all j to share k of each row.
    fn add_quadratics(rows: &Rows, squares: &[f64], slopes: &[f64], shares: &mut [f64]) {
        add_terms(rows, [squares, slopes], shares, |x, square, slope| x * (x * square + slope));
    }
}

with_vectors! {
    /// Adds part_k x_j of each row to sum jk, and part_k x_j^2 to square jk.
    fn add_moments(rows: &Rows, parts: &[f64], sums: &mut [f64], squares: &mut [f64]) {
        let (d, row) = (rows[0].len(), parts.len() / ROWS);
        let groups = sums.chunks_exact_mut(d * LANES).zip(squares.chunks_exact_mut(d * LANES));
        for (group, (sums, squares)) in groups.enumerate() {
            let parts: [&[f64; LANES]; ROWS] =
                std::array::from_fn(|at| parts[at * row + group * LANES..].first_chunk().expect("whole groups"));
            let along = sums.as_chunks_mut::<LANES>().0.iter_mut().zip(squares.as_chunks_mut::<LANES>().0);
            for (j, (sums, squares)) in along.enumerate() {
                let column: [f64; ROWS] = std::array::from_fn(|row| rows[row][j]);
                let mut new = [*sums, *squares];
                let [sum, square] = &mut new;
                for (parts, x) in parts.iter().zip(column) {
                    for ((sum, square), part) in sum.iter_mut().zip(square.iter_mut()).zip(*parts) {
                        let moved = part * x;
                        *sum += moved;
                        *square += moved * x;
                    }
                }
                [*sums, *squares] = new;
            }
        }
    }
}

fn zeros(length: usize) -> Result<Vec<f64>> {
    memory::filled(MEMORY, length, 0.0)
}

impl Exponents {
    /// Returns the closed form between the moments that each peak has of both sides. A weight is such that the peak keeps the
    /// height that it had where its source samples are, and more by how much less of these it has than of the target's.
    pub fn carried([from, to]: &[Shares; 2], before: Option<&Self>, noises: &[f64]) -> Result<Self> {
        let (d, count) = (noises.len(), to.shares.len());
        let mut next = Self { weights: zeros(count)?, precisions: zeros(count * d)?, slopes: zeros(count * d)? };
        for k in 0..count {
            let own = k * d..(k + 1) * d;
            if let Some(before) = before.filter(|_| from.samples(k).min(to.samples(k)) < LEAST_SAMPLES) {
                next.weights[k] = before.weights[k];
                next.precisions[own.clone()].copy_from_slice(&before.precisions[own.clone()]);
                next.slopes[own.clone()].copy_from_slice(&before.slopes[own]);
                continue;
            }
            for (at, noise) in own.zip(noises) {
                let [a, b] = [from.variances[at], to.variances[at]];
                if b <= POINT {
                    // All of the target has one place there, which the bridge knows.
                    continue;
                }
                // b = c^2 a + c noise, and the mean of x1 is c (m0 + noise slope).
                let c = 2.0 * b / (noise + (noise * noise + 4.0 * a * b).sqrt());
                let c = c.clamp(CONTRACTIONS[0], CONTRACTIONS[1]);
                next.precisions[at] = (1.0 / c - 1.0) / noise;
                next.slopes[at] = (to.means[at] / c - from.means[at]) / noise;
            }
            let [old, share] = match before {
                Some(before) => [before.height(k, from, noises), from.shares[k]],
                None => [0.0, 1.0],
            };
            next.weights[k] = old - next.height(k, from, noises) + (to.shares[k].max(NO_SHARE) / share).ln();
        }
        normalise(&mut next.weights);
        Ok(next)
    }

    /// Returns the mean of log phi_k(0, x) over the source samples that a peak has.
    fn height(&self, k: usize, from: &Shares, noises: &[f64]) -> f64 {
        let along = |(j, noise): (usize, &f64)| {
            let at = k * noises.len() + j;
            let (p, b, mean) = (self.precisions[at], self.slopes[at], from.means[at]);
            let (factor, square) = (1.0 + p * noise, mean * mean + from.variances[at]);
            -0.5 * ((p * square - 2.0 * b * mean - noise * b * b) / factor + factor.ln())
        };
        self.weights[k] + noises.iter().enumerate().map(along).sum::<f64>()
    }

    /// Returns what lies so far on the way to others, or as far beyond these as peaks with this noise may be.
    pub fn towards(&self, other: &Self, part: f64, noises: &[f64]) -> Result<Self> {
        let between =
            |a: &[f64], b: &[f64]| memory::collected(MEMORY, a.iter().zip(b).map(|(a, b)| a + part * (b - a)));
        let mut found = Self {
            weights: between(&self.weights, &other.weights)?,
            precisions: between(&self.precisions, &other.precisions)?,
            slopes: between(&self.slopes, &other.slopes)?,
        };
        for (p, noise) in found.precisions.iter_mut().zip(noises.iter().cycle()) {
            *p = p.clamp((1.0 / CONTRACTIONS[1] - 1.0) / noise, (1.0 / CONTRACTIONS[0] - 1.0) / noise);
        }
        Ok(found)
    }

    fn copied(&self) -> Result<Self> {
        Ok(Self {
            weights: memory::copied(MEMORY, &self.weights)?,
            precisions: memory::copied(MEMORY, &self.precisions)?,
            slopes: memory::copied(MEMORY, &self.slopes)?,
        })
    }

    /// Returns the same with weights for which peaks' shares of both sides agree better.
    pub fn levelled(&self, [from, to]: &[Shares; 2]) -> Result<Self> {
        let mut next = self.copied()?;
        level(&mut next.weights, &from.shares, &to.shares);
        Ok(next)
    }

    /// Returns log phi_k with this noise before the end, or at it, as constants and factors of x^2 and of x in their places.
    fn quadratics(&self, noises: Option<&[f64]>) -> Result<[Vec<f64>; 3]> {
        let (count, d) = (self.weights.len(), self.slopes.len() / self.weights.len());
        let mut quadratics = [zeros(padded(count))?, zeros(padded(count) * d)?, zeros(padded(count) * d)?];
        quadratics[0][..count].copy_from_slice(&self.weights);
        for (at, (p, b)) in self.precisions.iter().zip(&self.slopes).enumerate() {
            let (k, j) = (at / d, at % d);
            let noise = noises.map_or(0.0, |noises| noises[j]);
            let factor = 1.0 + p * noise;
            quadratics[0][k] += 0.5 * (noise * b * b / factor - factor.ln());
            quadratics[1][place(k, j, d)] = -0.5 * p / factor;
            quadratics[2][place(k, j, d)] = b / factor;
        }
        Ok(quadratics)
    }

    /// Returns how many numbers were fitted.
    pub fn numbers(&self) -> usize {
        self.weights.len() + 2 * self.slopes.len()
    }

    /// Returns them as a value function has them.
    pub fn peaks(&self) -> Result<Peaks> {
        let Self { weights, precisions, slopes } = self.copied()?;
        peaks_of(weights, precisions, slopes, None)
    }
}

/// Takes the largest weight as 1.
pub(super) fn normalise(weights: &mut [f64]) {
    let top = weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    weights.iter_mut().for_each(|weight| *weight -= top);
}

/// Changes weights so that the shares that peaks have of both sides agree better.
pub(super) fn level(weights: &mut [f64], from: &[f64], to: &[f64]) {
    for (weight, (from, to)) in weights.iter_mut().zip(from.iter().zip(to)) {
        *weight += (to.max(NO_SHARE) / from.max(NO_SHARE)).ln();
    }
    normalise(weights);
}

/// Returns peaks with these exponents as a value function has them.
pub(super) fn peaks_of(
    mut weights: Vec<f64>,
    precisions: Vec<f64>,
    slopes: Vec<f64>,
    axes: Option<PeakAxes>,
) -> Result<Peaks> {
    let d = slopes.len() / weights.len();
    let (mut centres, mut tilts) = (zeros(slopes.len())?, zeros(slopes.len())?);
    for (at, (&p, &b)) in precisions.iter().zip(&slopes).enumerate() {
        if p != 0.0 && b.abs() <= FARTHEST * p.abs() {
            // b y - p / 2 y^2 is -p / 2 (y - c)^2 + c b / 2.
            centres[at] = b / p;
            weights[at / d] += 0.5 * centres[at] * b;
        } else {
            tilts[at] = b;
        }
    }
    normalise(&mut weights);
    Ok(Peaks {
        weights: weights.into(),
        precisions: precisions.into(),
        centres: centres.into(),
        tilts: tilts.into(),
        axes,
    })
}

impl Shares {
    /// Returns what peaks have of samples at the end, or with this noise before it.
    pub fn of(exponents: &Exponents, samples: &Split, noises: Option<&[f64]>) -> Result<Self> {
        let count = exponents.weights.len();
        let [constants, squares, slopes] = exponents.quadratics(noises)?;
        Self::measured(count, samples, |rows, shares| {
            shares.chunks_exact_mut(constants.len()).for_each(|shares| shares.copy_from_slice(&constants));
            add_quadratics(rows, &squares, &slopes, shares);
            let mut logs = [0.0; ROWS];
            for (log, shares) in logs.iter_mut().zip(shares.chunks_exact_mut(constants.len())) {
                *log = divide(&mut shares[..count]);
            }
            logs
        })
    }

    /// Returns what clusters have of samples.
    pub fn of_clusters(samples: &Split, clusters: &Clusters) -> Result<Self> {
        let count = clusters.shares().len();
        Self::measured(count, samples, |rows, shares| clusters.posterior(rows, shares))
    }

    /// Returns what peaks have of samples of each of which they have these shares.
    pub fn alike(samples: &Split, all: &[f64]) -> Result<Self> {
        Self::measured(all.len(), samples, |_, shares| {
            shares.chunks_exact_mut(padded(all.len())).for_each(|shares| shares[..all.len()].copy_from_slice(all));
            [0.0; ROWS]
        })
    }

    /// Returns how many peaks are computed with.
    pub fn work(&self) -> usize {
        padded(self.shares.len())
    }

    /// Returns about how many samples a peak has.
    fn samples(&self, peak: usize) -> f64 {
        self.shares[peak] * self.effective
    }

    /// Measures samples of which `tell` writes each peak's share, rows x peaks with their padding, and returns logarithms to
    /// average.
    fn measured(count: usize, samples: &Split, tell: impl Fn(&Rows, &mut [f64]) -> [f64; ROWS]) -> Result<Self> {
        let (d, padded) = (samples.dimension(), padded(count));
        let (mut shares, mut parts) = (zeros(count)?, zeros(ROWS * padded)?);
        let [mut sums, mut squares] = [zeros(padded * d)?, zeros(padded * d)?];
        let (mut log, mut all) = (0.0, 0.0);
        for (block, weights) in samples.blocks(false) {
            let logs = tell(&block, &mut parts);
            for ((own, w), parts) in logs.iter().zip(weights).zip(parts.chunks_exact_mut(padded)) {
                log += w * own;
                all += w;
                for (share, part) in shares.iter_mut().zip(parts) {
                    *part *= w;
                    *share += *part;
                }
            }
            add_moments(&block, &parts, &mut sums, &mut squares);
        }
        let mut least = zeros(d)?;
        for (j, least) in least.iter_mut().enumerate() {
            let [sum, square] = [&sums, &squares].map(|of| (0..count).map(|k| of[place(k, j, d)]).sum::<f64>() / all);
            *least = (LEAST_VARIANCE * (square - sum * sum)).max(POINT);
        }
        let (mut means, mut variances) = (zeros(count * d)?, zeros(count * d)?);
        for (k, share) in shares.iter().enumerate().filter(|(_, share)| **share > 0.0) {
            for j in 0..d {
                let mean = sums[place(k, j, d)] / share;
                means[k * d + j] = mean;
                variances[k * d + j] = (squares[place(k, j, d)] / share - mean * mean).max(least[j]);
            }
        }
        shares.iter_mut().for_each(|share| *share /= all);
        Ok(Self { shares, means, variances, log: log / all, effective: samples.effective(false) })
    }
}

#[cfg(test)]
mod tests;
