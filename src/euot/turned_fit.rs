//! Peaks with axes of their own, fitted to samples of both sides as in [`super::peaks_fit`].

use super::dual_climb::{Climb, Round};
use super::forms::Parts;
use super::peaks_fit::{FEW, MARGIN, MORE_NOISE, least_by_chance};
use super::settled_weights::Weighed;
use super::turned_peaks::TurnedExponents;
use crate::data::Split;
use crate::device::cpu::pool::Pool;
use crate::error::Result;
use crate::formulas::Peaks;
use crate::lanes::{ROWS, padded};
use crate::memory;
use crate::symmetric::Symmetric;

const MEMORY: &str = "the peaks of a value function";
/// The largest part of the samples that peaks may have more of on one side than on the other. Where it is larger the
/// weights did not settle.
const MOST_MISFIT: f64 = 0.03;
/// The variance of the noise of the first rounds, in lengths that networks see as 1, and the factor up to which it is
/// doubled to come there.
const ENOUGH_NOISE: f64 = 0.25;
const MOST_MORE: f64 = 64.0;
/// Samples of a side over which more passes are made before those over all.
const SOME: usize = 1 << 15;
/// The fewest and the most passes with each noise over few samples, and over some and over all, and the work at which
/// they end between. A pass takes samples x peaks x the square of d, of which a core makes some 3 * 10^9 a second.
const FEW_PASSES: [u64; 2] = [8, 16];
const PASSES: [u64; 2] = [3, 80];
/// As many times weights are tried by themselves, each with a pass.
const TRIALS: [u64; 2] = [2, 24];
const MOST_WORK: u64 = 15_000_000_000;
/// Noise over the variance of a cluster along its longest axis below which twice as many clusters are tried: what comes
/// to a cluster has the shape of the source samples that go there.
const LITTLE_NOISE: f64 = 0.25;

type Found = Round<TurnedExponents, Parts>;

/// The samples of both sides, with the noise along every axis.
#[derive(Clone, Copy)]
struct Problem<'a> {
    samples: [&'a Split; 2],
    noise: f64,
    pool: &'a Pool,
}

/// Returns peaks for balanced transport with noise of this deviation along every axis, one for each cluster of the
/// target, which has these moments, or for each of finer ones where these are better. Returns none where a Gaussian is
/// as good, or where the rounds did not come near their end.
pub(super) fn fit(
    [source, target]: [&Split; 2],
    clusters: Parts,
    finer: Option<Parts>,
    sigma: f64,
    pool: &Pool,
) -> Result<Option<Peaks>> {
    if source.effective(false) < 2.0 {
        return Ok(None);
    }
    let noise = sigma * sigma;
    let all = memory::collected(MEMORY, 0..source.dimension())?;
    let few = [source.columns(&all, FEW)?, target.columns(&all, FEW)?];
    let problem = Problem { samples: few.each_ref(), noise, pool };
    let longest = clusters.longest()?;
    let mut round = problem.begun(clusters)?;
    if let Some(finer) = finer.filter(|_| noise < LITTLE_NOISE * longest) {
        let other = problem.begun(finer)?;
        let numbers = other.exponents.numbers() - round.exponents.numbers();
        if other.dual - round.dual >= MARGIN + least_by_chance(numbers, problem.samples) {
            round = other;
        }
    }
    let mut exponents = round.exponents;
    drop(few);
    if source.rows().max(target.rows()) > SOME {
        let some = [source.columns(&all, SOME)?, target.columns(&all, SOME)?];
        exponents = Problem { samples: some.each_ref(), noise, pool }.ended(exponents)?.exponents;
    }
    let whole = [source, target];
    let round = Problem { samples: whole, noise, pool }.ended(exponents)?;
    let least = MARGIN + least_by_chance(round.exponents.numbers(), whole);
    let is_near = Problem::misfit(&round.sides) < MOST_MISFIT;
    if round.dual >= least && is_near { round.exponents.peaks().map(Some) } else { Ok(None) }
}

impl Problem<'_> {
    /// Returns how many passes are made over the samples with so many peaks.
    fn passes(&self, count: usize, [least, most]: [u64; 2]) -> usize {
        let [source, target] = self.samples;
        let [rows, count, d] = [source.rows() + target.rows(), count, source.dimension()].map(|length| length as u64);
        (MOST_WORK / (rows * count * d * d).max(1)).clamp(least, most) as usize
    }

    /// Returns the best of the rounds that begin with these clusters and with more noise, by how much more.
    fn begun(&self, clusters: Parts) -> Result<Found> {
        let count = clusters.shares.len();
        let shares = memory::copied(MEMORY, &clusters.shares)?;
        let alike = Parts::measured(count, self.samples[0], self.pool, |_, parts| {
            parts.chunks_exact_mut(padded(count)).for_each(|parts| parts[..count].copy_from_slice(&shares));
            [0.0; ROWS]
        })?;
        let mut most = MORE_NOISE[0];
        while most < MOST_MORE && most * self.noise < ENOUGH_NOISE {
            most *= 2.0;
        }
        let sides = [alike, clusters];
        let mut best = self.cooled(&sides, most)?;
        // Where there is little noise, much more of it may lead elsewhere than a little more.
        if most > MORE_NOISE[0] {
            let other = self.cooled(&sides, MORE_NOISE[2])?;
            if other.dual > best.dual || best.dual.is_nan() {
                best = other;
            }
        }
        Ok(best)
    }

    /// Returns the last of the rounds that begin with so many times the noise, for peaks that have these parts of both
    /// sides.
    fn cooled(&self, sides: &[Parts; 2], mut more: f64) -> Result<Found> {
        let [passes, trials] = [FEW_PASSES, TRIALS].map(|bounds| self.passes(sides[1].shares.len(), bounds));
        let next = |sides: &[Parts; 2], more: f64| {
            let problem = Problem { noise: more * self.noise, ..*self };
            problem.settled(problem.improved(problem.settled(problem.carried(sides)?, trials)?, passes)?, trials)
        };
        let mut round = next(sides, more)?;
        while more > 1.0 {
            more *= 0.5;
            round = next(&round.sides, more)?;
        }
        Ok(round)
    }

    /// Returns the last of the rounds that begin with these peaks.
    fn ended(&self, exponents: TurnedExponents) -> Result<Found> {
        let round = self.round(exponents)?;
        let [passes, trials] = [PASSES, TRIALS].map(|bounds| self.passes(round.sides[1].shares.len(), bounds));
        self.settled(self.improved(round, passes)?, trials)
    }
}

impl Climb for Problem<'_> {
    type Exponents = TurnedExponents;
    type Side = Parts;

    fn sides(&self, exponents: &TurnedExponents) -> Result<[Parts; 2]> {
        let [source, target] = self.samples;
        Ok([exponents.forms(self.noise)?.parts(source, self.pool)?, exponents.forms(0.0)?.parts(target, self.pool)?])
    }

    fn log(side: &Parts) -> f64 {
        side.log
    }

    fn closed(&self, sides: &[Parts; 2], before: Option<&TurnedExponents>) -> Result<TurnedExponents> {
        TurnedExponents::carried(sides, before, self.noise)
    }

    fn levelled(&self, exponents: &TurnedExponents, sides: &[Parts; 2]) -> Result<TurnedExponents> {
        exponents.levelled(sides)
    }

    fn between(&self, from: &TurnedExponents, to: &TurnedExponents, part: f64) -> Result<TurnedExponents> {
        from.towards(to, part, self.noise)
    }
}

impl Weighed for Problem<'_> {
    fn shares(side: &Parts) -> &[f64] {
        &side.shares
    }

    fn overlaps(&self, exponents: &TurnedExponents) -> Result<Symmetric> {
        exponents.forms(self.noise)?.overlaps(self.samples[0], self.pool)
    }

    fn weighed(exponents: &TurnedExponents, by: &[f64]) -> Result<TurnedExponents> {
        exponents.weighed(by)
    }
}
