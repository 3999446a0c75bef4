//! Weights of peaks for which the shares of both sides agree, while the peaks stay where they are.
//!
//! By the logarithms of the weights, both parts of L are convex. Where the target's is replaced by its tangent, which
//! lies below, what is left is concave, and its maximum raises L too. Newton's method finds it where rounds of ratios
//! of shares, as Sinkhorn's algorithm makes them, take as many as the noise is small beside the distances: weights are
//! exponentials of distances squared over the noise.

use super::dual_climb::{Climb, Round};
use crate::error::Result;
use crate::memory;
use crate::symmetric::Symmetric;

const MEMORY: &str = "the peaks of a value function";
/// The part of the samples that peaks may have more of on one side than on the other once weights are settled.
const AGREED: f64 = 5e-4;
/// The most steps that are tried, and the gain of L below which one is the last.
const TRIALS: usize = 24;
const GAIN: f64 = 1e-6;
/// What the curvature has at least and at most along every direction, and by how much that grows where a step gains
/// nothing (Levenberg and Marquardt). A peak has a share of about 0.01 of the samples or more.
const LEAST_CURVATURE: f64 = 1e-9;
const MOST_CURVATURE: f64 = 1.0;
const FIRMER: f64 = 10.0;

/// Peaks whose weights can be moved by themselves.
pub(super) trait Weighed: Climb {
    /// Returns the shares of all samples of a side.
    fn shares(side: &Self::Side) -> &[f64];

    /// Returns the mean over the source samples of the products of the parts that two peaks have of one.
    fn overlaps(&self, exponents: &Self::Exponents) -> Result<Symmetric>;

    /// Returns the same peaks with the logarithms of their weights moved.
    fn weighed(exponents: &Self::Exponents, by: &[f64]) -> Result<Self::Exponents>;

    /// Returns the part of the samples that peaks have more of on one side than on the other.
    fn misfit([from, to]: &[Self::Side; 2]) -> f64 {
        let apart = Self::shares(from).iter().zip(Self::shares(to)).map(|(from, to)| (from - to).abs());
        0.5 * apart.sum::<f64>()
    }

    /// Returns the round whose weights make the shares of both sides agree, or come nearer to that.
    fn settled(&self, mut round: Round<Self::Exponents, Self::Side>) -> Result<Round<Self::Exponents, Self::Side>> {
        let (mut curvature, mut left) = (LEAST_CURVATURE, TRIALS);
        while left > 0 && Self::misfit(&round.sides) >= AGREED {
            let [from, to] = round.sides.each_ref().map(Self::shares);
            let gaps = memory::collected(MEMORY, to.iter().zip(from).map(|(to, from)| to - from))?;
            let overlaps = self.overlaps(&round.exponents)?;
            let before = round.dual;
            while left > 0 && curvature <= MOST_CURVATURE {
                left -= 1;
                let from = Self::shares(&round.sides[0]);
                let mut bent = overlaps.copied()?;
                // Along weights that all change alike L is even: the product of the shares says how far they go there.
                bent.mirror(|i, j, both| from[i] * from[j] - both + if i == j { from[i] + curvature } else { 0.0 });
                if let Some(step) = bent.solve(&gaps)? {
                    let next = self.round(Self::weighed(&round.exponents, &step)?)?;
                    if next.dual > before {
                        round = next;
                        curvature = (curvature / FIRMER).max(LEAST_CURVATURE);
                        break;
                    }
                }
                curvature *= FIRMER;
            }
            // A NaN is no gain.
            let has_gained = round.dual - before > GAIN;
            if !has_gained {
                break;
            }
        }
        Ok(round)
    }
}
