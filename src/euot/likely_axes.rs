//! Which axes samples of the target are likeliest in. Likelihoods are told on samples that took no part in the fit.

use super::gaussian_pair::{Gaussian, Pair};
use super::own_axes::OwnAxes;
use super::whole_clusters::WholeClusters;
use crate::data::{Clusters, Doubled, Doubling, Normalisation, Sketch, Split};
use crate::device::cpu::pool::Pool;
use crate::error::Result;
use crate::formulas::Conjugate;
use crate::formulas::peaks::{MOST_DIMENSION, MOST_PEAKS};
use crate::joint_axes::{MOST_MATRICES, joint_axes};
use crate::symmetric::{Symmetric, product};

/// The dimensions of samples for which common axes of clusters are looked for, which takes their fourth power.
pub(super) const SHARED: std::ops::RangeInclusive<usize> = 2..=MOST_DIMENSION;
/// The number of clusters by which axes are judged, and those that are tried next while twice as many are likelier. Where that
/// never ends, as along curves, it is the first.
const CLUSTERS: usize = 8;
const MORE: [usize; 2] = [16, MOST_PEAKS];
/// Fewer clusters by which common axes are looked for, beside the first of these.
const FEWER: [usize; 2] = [4, 2];
/// The log-likelihood of a sample by which fewer clusters may be worse.
const AS_LIKELY: f64 = 0.002;
/// How often clusters and the axes that they have in common are told anew by more samples, and the mean square of the turn of an
/// axis below which that ends.
const REFINING: usize = 6;
const STILL: f64 = 1e-6;
/// Samples of a block, of many that are read once.
const BLOCK: usize = 4096;
/// The log-likelihood of a sample by which axes have to be better than simpler ones.
const MARGIN: f64 = 0.02;
/// The log-likelihood of a sample below which it does not matter that its numbers belong together.
const LEAST_CORRELATION: f64 = 0.002;

/// What axes are chosen by.
pub(super) struct Told<'a> {
    /// Samples of the target.
    pub samples: &'a Split,
    /// All covariances of the target, as those samples tell them that are not held back.
    pub fitted: Symmetric,
    /// More samples in data units, where common axes are looked for.
    pub picked: Option<Sketch>,
    /// More yet, where there are.
    pub many: Option<&'a Sketch>,
    /// The largest correlation that is taken for chance.
    pub chance: f64,
    /// How many clusters may have axes of their own: as a rule, and at most.
    pub turned: Option<[usize; 2]>,
}

/// The axes in which samples are likeliest.
pub(super) enum Likeliest {
    /// The components of a sample.
    Components,
    /// The axes of the plan between Gaussians.
    Principal,
    /// The axes that clusters of the target have in common, one a row.
    Shared(Vec<f64>),
    /// Axes that each of these clusters has of its own, and those that are likeliest without.
    Own(WholeClusters, Box<Likeliest>),
}

/// Samples of the target in axes that are tried.
struct Tried<'a> {
    /// As the components of a sample, and along the axes of the plan.
    samples: [&'a Split; 2],
    to_principal: &'a [f64],
    /// The log-likelihood of one Gaussian.
    one: f64,
    /// Whether common axes of clusters are tried too.
    shared: bool,
}

/// The axes that a number of clusters chooses, with the clusters along them where these are better than one Gaussian.
enum Verdict {
    Components(Clusters),
    Principal(Option<Clusters>),
    Shared(Clusters, Vec<f64>),
}

/// Chooses those of all axes in which samples that were held back are likeliest.
pub(super) fn likeliest(
    sides: &[Gaussian; 2],
    Told { samples, fitted, picked, many, chance, turned }: Told,
    common: &Normalisation,
    sigma: f64,
    conjugate: &Conjugate,
    pool: &Pool,
) -> Result<Likeliest> {
    // The axes of the plan as the samples tell them that are not held back.
    let seen = [sides[0].copied()?, Gaussian { covariance: fitted, ..sides[1].copied()? }];
    let to_principal = Pair::new(&seen, sigma, conjugate).contraction()?.axes;
    let along = samples.turned(&to_principal)?;
    // One Gaussian with all covariances: as these samples tell it, or as its axes do, which more samples have told.
    let (one, independent) = (samples.gaussian()?.max(along.independent()?), samples.independent()?);
    let own = |clusters: &Clusters, axes: Option<&[f64]>, is_chosen: bool| -> Result<Option<WholeClusters>> {
        let Some(counts) = turned else { return Ok(None) };
        OwnAxes { samples, many, common, clusters, axes, is_chosen, counts, pool }.found()
    };
    if independent >= one - LEAST_CORRELATION && sides[0].is_independent(chance) {
        drop(along);
        // Numbers may belong together in clusters and not in all samples.
        if turned.is_some() && SHARED.contains(&samples.dimension()) {
            let clusters = Clusters::fit(samples, CLUSTERS)?;
            if clusters.likelihood > independent + MARGIN
                && let Some(own) = own(&clusters, None, false)?
            {
                return Ok(Likeliest::Own(own, Box::new(Likeliest::Components)));
            }
        }
        return Ok(Likeliest::Components);
    }
    let tried = Tried { samples: [samples, &along], to_principal: &to_principal, one, shared: picked.is_some() };
    let first = tried.by(CLUSTERS)?;
    let more = tried.by_more(&first)?;
    let verdict = more.unwrap_or(first);
    // More samples may be looked at in its place.
    drop(along);
    let chosen = match &verdict {
        Verdict::Principal(None) => None,
        Verdict::Components(clusters) => Some((clusters, None)),
        Verdict::Principal(Some(clusters)) => Some((clusters, Some(&to_principal[..]))),
        Verdict::Shared(clusters, axes) => Some((clusters, Some(&axes[..]))),
    };
    let own = match chosen {
        Some((clusters, axes)) => own(clusters, axes, matches!(verdict, Verdict::Shared(..)))?,
        None => None,
    };
    let without = match verdict {
        Verdict::Components(_) => Likeliest::Components,
        Verdict::Principal(_) => Likeliest::Principal,
        Verdict::Shared(clusters, axes) => {
            let clusters = fewest(clusters, &samples.turned(&axes)?)?;
            Likeliest::Shared(match picked {
                Some(picked) => refined(clusters, axes, picked, many, common)?,
                None => axes,
            })
        }
    };
    Ok(match own {
        Some(own) => Likeliest::Own(own, Box::new(without)),
        None => without,
    })
}

impl Tried<'_> {
    /// Judges the axes by so many clusters.
    fn by(&self, count: usize) -> Result<Verdict> {
        let [samples, along] = self.samples;
        let (of_components, of_principal) = (Clusters::fit(samples, count)?, Clusters::fit(along, count)?);
        let [components, plan] = [&of_components, &of_principal].map(|of| of.likelihood);
        let shared = if self.shared { Some(self.common_axes(count, [&of_components, &of_principal])?) } else { None };
        let best = shared.iter().fold(components.max(plan), |best, (of_shared, _)| best.max(of_shared.likelihood));
        if self.one >= best - MARGIN {
            return Ok(Verdict::Principal(None));
        }
        if components >= best - MARGIN {
            return Ok(Verdict::Components(of_components));
        }
        Ok(match shared {
            Some((clusters, axes)) if plan < best - MARGIN => Verdict::Shared(clusters, axes),
            _ => Verdict::Principal(Some(of_principal)),
        })
    }

    /// Judges the axes by more clusters, where there are more than told this verdict and an end of them.
    fn by_more(&self, first: &Verdict) -> Result<Option<Verdict>> {
        let (mut doubling, mut counts) = (Doubling::default(), MORE.into_iter());
        let mut more: Option<Verdict> = None;
        loop {
            let doubled = match more.as_ref().unwrap_or(first) {
                Verdict::Principal(None) => Doubled::Enough,
                Verdict::Components(clusters) => doubling.next(clusters, self.samples[0])?,
                Verdict::Principal(Some(clusters)) => doubling.next(clusters, self.samples[1])?,
                Verdict::Shared(clusters, axes) => doubling.next(clusters, &self.samples[0].turned(axes)?)?,
            };
            match doubled {
                Doubled::Enough => return Ok(more),
                Doubled::Tiles => return Ok(None),
                Doubled::More(_) => {}
            }
            let Some(count) = counts.next() else { return Ok(None) };
            more = Some(self.by(count)?);
        }
    }

    /// Returns the axes that clusters have in common, with the clusters along them. More clusters than there are tile one of
    /// them, along the axes in which they were fitted, and from some axes the common ones are not found; so several numbers of
    /// clusters are tried from the components of a sample and from the axes of the plan, and the likelihood along what was
    /// found decides.
    ///
    /// `known` are `count` clusters of each beginning.
    fn common_axes(&self, count: usize, known: [&Clusters; 2]) -> Result<(Clusters, Vec<f64>)> {
        let d = self.to_principal.len().isqrt();
        let mut best: Option<(Clusters, Vec<f64>)> = None;
        for ((start, to_start), known) in self.samples.into_iter().zip([None, Some(self.to_principal)]).zip(known) {
            let fewer = FEWER.into_iter().filter(|_| count == CLUSTERS);
            for count in [count].into_iter().chain(fewer) {
                let spreads = if count == known.shares().len() {
                    known.spreads(start)?
                } else {
                    Clusters::fit(start, count)?.spreads(start)?
                };
                let turn = joint(d, spreads)?;
                let axes = match to_start {
                    Some(to_start) => product(&turn, to_start, d)?,
                    None => turn,
                };
                let found = Clusters::fit(&self.samples[0].turned(&axes)?, count)?;
                if best.as_ref().is_none_or(|(before, _)| found.likelihood > before.likelihood) {
                    best = Some((found, axes));
                }
            }
        }
        Ok(best.expect("some were tried"))
    }
}

/// Returns the common axes of the largest of some clusters.
fn joint(d: usize, mut spreads: Vec<(f64, Symmetric)>) -> Result<Vec<f64>> {
    spreads.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    spreads.truncate(MOST_MATRICES);
    joint_axes(d, &spreads)
}

/// Returns the fewest clusters that are as likely, of a quarter of these and each eighth more. More than there are tile one of
/// them along the axes that were found, which then look right.
fn fewest(clusters: Clusters, along: &Split) -> Result<Clusters> {
    let count = clusters.shares().len();
    let mut tried = 0;
    for fewer in (2..8).map(|eighths| count * eighths / 8) {
        if fewer == tried {
            continue;
        }
        tried = fewer;
        let fewer = Clusters::fit(along, fewer)?;
        if fewer.likelihood >= clusters.likelihood - AS_LIKELY {
            return Ok(fewer);
        }
    }
    Ok(clusters)
}

/// Returns the axes that clusters have in common as more samples tell them, of which few chose the axes. With n samples of d
/// numbers correlations along the axes are wrong by one over the root of n, and what a component without correlations
/// misses is the sum of their squares. Clusters and axes are told in turns until these stay; then many samples tell the
/// axes, read once, in blocks, as they would take as much memory again.
fn refined(
    mut clusters: Clusters,
    mut axes: Vec<f64>,
    picked: Sketch,
    many: Option<&Sketch>,
    common: &Normalisation,
) -> Result<Vec<f64>> {
    let d = axes.len().isqrt();
    let mut whole = picked.whole(&common.shift, common.scale)?;
    whole.turn(&axes)?;
    for _ in 0..REFINING {
        clusters.follow(&whole)?;
        let turn = joint(d, clusters.spreads(&whole)?)?;
        axes = product(&turn, &axes, d)?;
        whole.turn(&turn)?;
        clusters.turn(&turn)?;
        let away = turn.iter().enumerate().filter(|(at, _)| at / d != at % d).map(|(_, x)| x * x);
        if away.sum::<f64>() < STILL * d as f64 {
            break;
        }
    }
    let Some(many) = many.filter(|many| many.count() > whole.rows()) else { return Ok(axes) };
    clusters.follow(&whole)?;
    drop(whole);
    let block = |first| -> Result<Split> {
        let mut block = many.block(first, BLOCK)?.whole(&common.shift, common.scale)?;
        block.turn(&axes)?;
        Ok(block)
    };
    let spreads = clusters.spreads_of_parts((0..many.count()).step_by(BLOCK).map(block))?;
    product(&joint(d, spreads)?, &axes, d)
}
