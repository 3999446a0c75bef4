//! Weights of peaks for which the shares of both sides agree, while the peaks stay where they are.
//!
//! L is the difference of two functions that are convex in the logarithms of the weights. The target's lies above its
//! tangent. With the tangent in its place L is concave, and what raises that raises L. Newton's method finds the
//! maximum. Weights are exponentials of squared distances over the noise, so with little noise rounds of ratios of
//! shares, as Sinkhorn's algorithm makes them, take many more steps.

use super::dual_climb::{Climb, Round};
use crate::error::Result;
use crate::memory;
use crate::symmetric::Symmetric;

const MEMORY: &str = "the peaks of a value function";
/// The part of the samples that peaks may have more of on one side than on the other once weights are settled.
const AGREED: f64 = 5e-4;
/// The gain of L below which a step is the last.
const GAIN: f64 = 1e-6;
/// What the curvature has at least and at most along every direction, and by how much that grows where a step gains
/// nothing (Levenberg and Marquardt).
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

    /// Returns the round whose weights make the shares of both sides agree, or come nearer to that, after at most so
    /// many trials of a step.
    fn settled(
        &self,
        mut round: Round<Self::Exponents, Self::Side>,
        most: usize,
    ) -> Result<Round<Self::Exponents, Self::Side>> {
        let (mut curvature, mut left) = (LEAST_CURVATURE, most);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Exponentials of peaks at samples of both sides, in which weights alone are free.
    struct Known([Vec<Vec<f64>>; 2]);

    struct Told {
        shares: Vec<f64>,
        log: f64,
        overlaps: Symmetric,
    }

    fn told(rows: &[Vec<f64>], weights: &[f64]) -> Told {
        let count = weights.len();
        let (mut shares, mut log, mut overlaps) = (vec![0.0; count], 0.0, Symmetric::zero(count).unwrap());
        for row in rows {
            let logs: Vec<f64> = row.iter().zip(weights).map(|(log, weight)| log + weight).collect();
            let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = logs.iter().map(|log| (log - top).exp()).sum();
            let parts: Vec<f64> = logs.iter().map(|log| (log - top).exp() / sum).collect();
            let each = 1.0 / rows.len() as f64;
            shares.iter_mut().zip(&parts).for_each(|(share, part)| *share += each * part);
            log += each * (top + sum.ln());
            overlaps.add_square(each, &parts);
        }
        overlaps.mirror(|_, _, x| x);
        Told { shares, log, overlaps }
    }

    impl Climb for Known {
        type Exponents = Vec<f64>;
        type Side = Told;

        fn sides(&self, weights: &Vec<f64>) -> Result<[Told; 2]> {
            Ok(self.0.each_ref().map(|rows| told(rows, weights)))
        }

        fn log(side: &Told) -> f64 {
            side.log
        }

        fn closed(&self, _: &[Told; 2], _: Option<&Vec<f64>>) -> Result<Vec<f64>> {
            unreachable!("peaks that stay")
        }

        fn levelled(&self, _: &Vec<f64>, _: &[Told; 2]) -> Result<Vec<f64>> {
            unreachable!("weights of Newton's method")
        }

        fn between(&self, _: &Vec<f64>, _: &Vec<f64>, _: f64) -> Result<Vec<f64>> {
            unreachable!("peaks that stay")
        }
    }

    impl Weighed for Known {
        fn shares(side: &Told) -> &[f64] {
            &side.shares
        }

        fn overlaps(&self, weights: &Vec<f64>) -> Result<Symmetric> {
            Ok(told(&self.0[0], weights).overlaps)
        }

        fn weighed(weights: &Vec<f64>, by: &[f64]) -> Result<Vec<f64>> {
            Ok(weights.iter().zip(by).map(|(weight, by)| weight + by).collect())
        }
    }

    /// Rows of minus the squared distances to some places on a line over twice the noise.
    fn near(rows: impl Iterator<Item = f64>, places: &[f64], noise: f64) -> Vec<Vec<f64>> {
        rows.map(|x| places.iter().map(|place| -(x - place).powi(2) / (2.0 * noise)).collect()).collect()
    }

    #[test]
    fn shares_agree_whatever_the_noise() {
        let line = || (0..1000).map(|i| (f64::from(i) + 0.5) / 500.0 - 1.0);
        // Two at nearly one place, one far off the source, two on both sides of it, and one alone.
        for places in [vec![-1.0, 0.2, 0.21, 0.9], vec![0.0, 0.5, 6.0], vec![-3.0, 3.0], vec![0.4]] {
            for noise in [1.0, 0.1, 0.01, 1e-3] {
                let target = (0..600).map(|i| places[i * i % 7 % places.len()] + 0.02 * ((i % 11) as f64 - 5.0));
                let known = Known([near(line(), &places, noise), near(target, &places, 0.01)]);
                let round = known.round(vec![0.0; places.len()]).unwrap();
                let before = round.dual;
                let settled = known.settled(round, 200).unwrap();
                let misfit = Known::misfit(&settled.sides);
                assert!(settled.dual >= before, "{places:?}, {noise}: {} after {before}", settled.dual);
                assert!(misfit < 2.0 * AGREED, "{places:?}, {noise}: {misfit}");
                // No step is tried where none may be.
                let round = known.round(vec![0.0; places.len()]).unwrap();
                assert_eq!(known.settled(round, 0).unwrap().dual, before);
            }
        }
    }
}
