//! Peaks with axes of their own, fitted to samples of both sides as in [`super::peaks_fit`].

use super::dual_climb::Climb;
use super::forms::Parts;
use super::peaks_fit::{FEW, MARGIN, MORE_NOISE, least_by_chance};
use super::turned_peaks::TurnedExponents;
use crate::data::Split;
use crate::device::cpu::pool::Pool;
use crate::error::Result;
use crate::formulas::Peaks;
use crate::lanes::{ROWS, padded};
use crate::memory;

const MEMORY: &str = "the peaks of a value function";
/// The largest part of the samples that peaks may have more of on one side than on the other. With little noise between
/// clusters many rounds would have to follow.
const MOST_MISFIT: f64 = 0.03;
/// The variance of the noise that the first round has at least, in lengths that networks see as 1.
const ENOUGH_NOISE: f64 = 0.25;
/// The largest factor by which it is more than the problem's.
const MOST_MORE: f64 = 64.0;
/// Samples of a side over which more passes are made before those over all.
const SOME: usize = 1 << 15;
/// The fewest and the most passes with each noise over few samples, and over some and over all, and the work at which
/// they end between. A pass takes samples x peaks x the square of d, of which a core makes some 3 * 10^9 a second.
const FEW_PASSES: [u64; 2] = [8, 16];
const PASSES: [u64; 2] = [3, 80];
const MOST_WORK: u64 = 15_000_000_000;

/// The samples of both sides, with the noise along every axis.
struct Problem<'a> {
    samples: [&'a Split; 2],
    noise: f64,
    pool: &'a Pool,
}

/// Returns peaks for balanced transport with noise of this deviation along every axis, one for each cluster of the
/// target, which has these moments. Returns none where a Gaussian is as good, or where the rounds did not come near
/// their end.
pub(super) fn fit([source, target]: [&Split; 2], clusters: Parts, sigma: f64, pool: &Pool) -> Result<Option<Peaks>> {
    if source.effective(false) < 2.0 {
        return Ok(None);
    }
    let noise = sigma * sigma;
    let all = memory::collected(MEMORY, 0..source.dimension())?;
    let shares = memory::copied(MEMORY, &clusters.shares)?;
    let few = [source.columns(&all, FEW)?, target.columns(&all, FEW)?];
    let alike = Parts::measured(shares.len(), &few[0], pool, |_, parts| {
        parts.chunks_exact_mut(padded(shares.len())).for_each(|parts| parts[..shares.len()].copy_from_slice(&shares));
        [0.0; ROWS]
    })?;
    let mut more = MORE_NOISE[0];
    while more < MOST_MORE && more * noise < ENOUGH_NOISE {
        more *= 2.0;
    }
    let passes = |rows: usize, [least, most]: [u64; 2]| {
        let work = rows as u64 * (shares.len() * all.len() * all.len()) as u64;
        (MOST_WORK / work.max(1)).clamp(least, most) as usize
    };
    let of_few = passes(few.iter().map(Split::rows).sum(), FEW_PASSES);
    let first = Problem { samples: few.each_ref(), noise: more * noise, pool };
    let mut round = first.improved(first.carried(&[alike, clusters])?, of_few)?;
    while more > 1.0 {
        more *= 0.5;
        let problem = Problem { samples: few.each_ref(), noise: more * noise, pool };
        round = problem.improved(problem.carried(&round.sides)?, of_few)?;
    }
    drop(few);
    let with = |samples: [&Split; 2], exponents| {
        let problem = Problem { samples, noise, pool };
        let passes = passes(samples.iter().map(|side| side.rows()).sum(), PASSES);
        problem.improved(problem.round(exponents)?, passes)
    };
    if source.rows().max(target.rows()) > SOME {
        let some = [source.columns(&all, SOME)?, target.columns(&all, SOME)?];
        round = with(some.each_ref(), round.exponents)?;
    }
    let round = with([source, target], round.exponents)?;
    let least = MARGIN + least_by_chance(round.exponents.numbers(), [source, target]);
    let [from, to] = round.sides.each_ref().map(|side| &side.shares);
    let misfit = 0.5 * from.iter().zip(to).map(|(from, to)| (from - to).abs()).sum::<f64>();
    if round.dual >= least && misfit < MOST_MISFIT { round.exponents.peaks().map(Some) } else { Ok(None) }
}

impl Climb for Problem<'_> {
    type Exponents = TurnedExponents;
    type Side = Parts;

    fn sides(&self, exponents: &TurnedExponents) -> Result<[Parts; 2]> {
        let [source, target] = self.samples;
        Ok([exponents.parts(source, self.noise, self.pool)?, exponents.parts(target, 0.0, self.pool)?])
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
