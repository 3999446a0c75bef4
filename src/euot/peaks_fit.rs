//! The peaks of a value function, fitted to samples of both sides in the units that networks see.
//!
//! Where V' is minus the noise times the logarithm of a sum of peaks ([`crate::formulas::peaks`]), the dual of balanced transport
//! over the noise is
//!
//! L = E_target\[log phi(1, y)\] - E_source\[log phi(0, x)\],   phi = sum over k of phi_k.
//!
//! The largest L less L is the divergence between the plan that solves the problem and that of the peaks. Where L is
//! stationary, each peak carries the source samples that it has a share of to the moments of the target samples that it has a
//! share of. A round computes each peak's shares of all samples, replaces the peak by the closed form between two Gaussians with
//! the moments of what it has, and sets its weight so that its shares of both sides agree. The step there is shortened until
//! L rises, and made longer while it does. The first rounds have more noise than the problem, because with little noise a peak has
//! a share of few source samples.

use super::dual_climb::Climb;
use super::peak_shares::{Exponents, Shares};
use crate::data::{Clusters, Doubled, Doubling, Split};
use crate::error::Result;
use crate::formulas::Peaks;
use crate::memory;

const MEMORY: &str = "the peaks of a value function";
/// Samples of a side by which rounds with more noise are made.
pub(super) const FEW: usize = 8192;
/// Passes over the few samples with more noise than the problem, and over all with its own.
const FIRST_PASSES: usize = 12;
const PASSES: usize = 80;
/// The largest product of passes, peaks with their padding and numbers of the samples of both sides, of which a core makes some
/// 2 * 10^9 a second. The fewest passes may take more.
const MOST_WORK: u64 = 16_000_000_000;
/// How much more noise than the problem the rounds have before the last.
pub(super) const MORE_NOISE: [f64; 3] = [8.0, 4.0, 2.0];
/// The least L of peaks.
pub(super) const MARGIN: f64 = 0.02;
/// The number of an axis's own clusters, and of their samples.
const CLUSTERS_OF_AN_AXIS: usize = 8;
const ROWS_OF_AN_AXIS: usize = 4096;
/// The least L also has so much for each fitted number over the number of samples: by chance L is a half to one of it.
const CHANCE: f64 = 2.0;

/// The samples of both sides, with the noise along each axis.
#[derive(Clone, Copy)]
struct Problem<'a> {
    samples: [&'a Split; 2],
    noises: &'a [f64],
}

/// Returns peaks for balanced transport between samples, one for each of these clusters of the target, with this noise along
/// each axis; none where a Gaussian is as good.
pub(super) fn fit([source, target]: [&Split; 2], clusters: &Clusters, sigma: &[f64]) -> Result<Option<Peaks>> {
    if source.effective(false) < 2.0 {
        return Ok(None);
    }
    let all = memory::collected(MEMORY, 0..sigma.len())?;
    let few = [source.columns(&all, FEW)?, target.columns(&all, FEW)?];
    let mut sides = [Shares::alike(&few[0], clusters.shares())?, Shares::of_clusters(&few[1], clusters)?];
    let noises = memory::collected(MEMORY, sigma.iter().map(|sigma| sigma * sigma))?;
    for more in MORE_NOISE {
        let noises = memory::collected(MEMORY, noises.iter().map(|noise| noise * more))?;
        let problem = Problem { samples: few.each_ref(), noises: &noises };
        sides = problem.improved(problem.carried(&sides)?, FIRST_PASSES)?.sides;
    }
    let problem = Problem { samples: [source, target], noises: &noises };
    let work = ((source.rows() + target.rows()) * sigma.len()) as u64 * sides[0].work() as u64;
    let passes = (MOST_WORK / work.max(1)).clamp(FIRST_PASSES as u64, PASSES as u64) as usize;
    let round = problem.improved(problem.carried(&sides)?, passes)?;
    let least = MARGIN + least_by_chance(round.exponents.numbers(), [source, target]);
    if round.dual >= least { round.exponents.peaks().map(Some) } else { Ok(None) }
}

/// Returns the L that peaks of so many fitted numbers may have by chance.
pub(super) fn least_by_chance(numbers: usize, sides: [&Split; 2]) -> f64 {
    CHANCE * numbers as f64 / sides.map(|side| side.effective(false)).into_iter().fold(f64::INFINITY, f64::min)
}

/// Returns clusters of the target where these are better than one Gaussian: `usual` of them, or, while twice as many are likelier,
/// these. Returns none where more than `most` are likelier still.
pub(super) fn clusters(halves: &Split, [usual, most]: [usize; 2]) -> Result<Option<Clusters>> {
    if !halves.is_told() {
        return Ok(None);
    }
    let mut clusters = Clusters::fit(halves, usual)?;
    let gain = clusters.likelihood - halves.independent()?.max(halves.gaussian()?);
    // A NaN is no gain.
    let is_better = gain >= halves.least_gain();
    if !is_better {
        return Ok(None);
    }
    let mut doubling = Doubling::default();
    loop {
        match doubling.next(&clusters, halves)? {
            Doubled::Enough => break,
            Doubled::More(twice) if twice.shares().len() <= most => clusters = twice,
            Doubled::More(_) | Doubled::Tiles => return Ok(None),
        }
    }
    Ok(if misses_modes(&clusters, halves)? { None } else { Some(clusters) })
}

/// Returns whether an axis by itself is described better by clusters of its own. It is where it has modes beside axes that it has
/// nothing to do with: few clusters do not have all combinations, and components that begin with the others' clusters do not
/// find them.
pub(super) fn misses_modes(clusters: &Clusters, samples: &Split) -> Result<bool> {
    for axis in 0..samples.dimension() {
        let column = samples.columns(&[axis], ROWS_OF_AN_AXIS)?;
        let own = Clusters::fit(&column, CLUSTERS_OF_AN_AXIS)?.likelihood;
        let gain = own - clusters.along(axis, &column)?;
        if gain >= column.least_gain() {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Climb for Problem<'_> {
    type Exponents = Exponents;
    type Side = Shares;

    fn sides(&self, exponents: &Exponents) -> Result<[Shares; 2]> {
        let [source, target] = self.samples;
        Ok([Shares::of(exponents, source, Some(self.noises))?, Shares::of(exponents, target, None)?])
    }

    fn log(side: &Shares) -> f64 {
        side.log
    }

    fn closed(&self, sides: &[Shares; 2], before: Option<&Exponents>) -> Result<Exponents> {
        Exponents::carried(sides, before, self.noises)
    }

    fn levelled(&self, exponents: &Exponents, sides: &[Shares; 2]) -> Result<Exponents> {
        exponents.levelled(sides)
    }

    fn between(&self, from: &Exponents, to: &Exponents, part: f64) -> Result<Exponents> {
        from.towards(to, part, self.noises)
    }
}
