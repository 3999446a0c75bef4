//! The axes along which a problem is solved.
//!
//! Costs and noise are the same in every direction, so any orthogonal axes give the same problem. They matter for what is
//! easy to learn: a component of the generator has a standard deviation for each axis, networks see the square of each
//! number, and the bridge that a training starts from is diagonal.
//!
//! * Where the target is about as well described by one Gaussian as by several clusters of independent numbers, the axes
//!   are those of the plan between Gaussians.
//! * Where clusters of independent numbers describe it better, the axes are those in which they do so best: the
//!   components of a sample, those of the plan, or the common principal axes of the clusters.
//!
//! Likelihoods are told on samples that took no part in the fit.

use super::fineness::ease;
use super::gaussian_bridge::{CONTRACTIONS, GaussianBridge, LEAST_UNIT, four_digits};
use super::gaussian_pair::{self, Gaussian, Pair, softness};
use super::peaks_fit::{clusters, fit};
use crate::data::{Clusters, Normalisation, Rotation, Shapes, Sketch, Split, Spread};
use crate::error::Result;
use crate::formulas::Conjugate;
use crate::formulas::Peaks;
use crate::formulas::axes::Part;
use crate::formulas::peaks::MOST_DIMENSION;
use crate::joint_axes::{MOST_MATRICES, joint_axes};
use crate::memory;
use crate::numbers::Numbers;
use crate::symmetric::{Symmetric, product};
use std::sync::Arc;

/// The largest dimension of samples for which common axes of clusters are looked for, which takes its fourth power, and to
/// which peaks are fitted.
const MOST_SHARED: usize = MOST_DIMENSION;
/// The number of clusters by which axes are judged, and those by which common axes are looked for, that one first.
const CLUSTERS: usize = 8;
const TRIED: [usize; 3] = [CLUSTERS, 4, 2];
const _: () = assert!(CLUSTERS <= MOST_MATRICES);
/// How often clusters and the axes that they have in common are told anew by all samples.
const REFINING: usize = 2;
/// The correlation below which an axis of the plan is by itself.
const LEAST_TOGETHER: f64 = 0.01;
/// The log-likelihood of a sample by which axes have to be better than simpler ones.
const MARGIN: f64 = 0.02;
/// The log-likelihood of a sample below which it does not matter that its numbers belong together.
const LEAST_CORRELATION: f64 = 0.002;

/// The axes of a problem, with both sides' moments along them.
#[derive(Debug)]
pub(crate) struct Directions {
    /// The axes; None where they are the components of a sample.
    pub rotation: Option<Rotation>,
    /// q of each axis.
    pub contraction: Vec<f64>,
    /// Source and target.
    pub sides: [Gaussian; 2],
    /// Samples of the target along the axes, from which the clock is told. Without them it does not slow down.
    pub target: Option<Split>,
    /// Where peaks are wanted.
    pub picked: Option<Picked>,
}

/// What peaks are fitted to.
#[derive(Debug)]
pub(crate) struct Picked {
    /// Many samples of both sides, in data units.
    samples: [Sketch; 2],
    /// How many peaks there may be.
    peaks: usize,
}

impl Picked {
    /// Returns peaks for samples along the axes of a bridge, about the centres of its ends.
    fn peaks(
        self,
        bridge: &GaussianBridge,
        centres: &[f64],
        common: &Normalisation,
        sigma: f64,
    ) -> Result<Option<Peaks>> {
        let rotation = bridge.rotation.as_ref().map(Rotation::wide).transpose()?;
        let along = |side: Sketch, of: &dyn Fn(usize) -> [f64; 2]| -> Result<Split> {
            let mut side = side.whole(&common.shift, common.scale)?;
            if let Some(axes) = &rotation {
                side.turn(axes)?;
            }
            side.rescale(of);
            Ok(side)
        };
        let of_source = |j: usize| [bridge.contraction[j] / bridge.unit[j], bridge.pull[j] - centres[j]];
        let of_target = |j: usize| [1.0 / bridge.unit[j], -centres[j]];
        let [source, target] = self.samples;
        // Few samples tell whether there are clusters.
        let few = along(target.part(Split::copied_rows(centres.len()))?, &of_target)?.halved();
        let Some(clusters) = clusters(&few, self.peaks)? else { return Ok(None) };
        drop(few);
        let (source, target) = (along(source, &of_source)?, along(target, &of_target)?);
        let axes = bridge.axes::<f64>(sigma)?;
        let found = fit([&source, &target], &clusters, &axes.part(Part::Sigma)[..centres.len()])?;
        // 32-bit numbers cannot tell the peaks of samples with next to no noise.
        Ok(found.filter(|found| bridge.check_peaks(found, sigma, self.peaks).is_ok()))
    }
}

/// What axes are chosen by.
struct Told<'a> {
    /// Samples of the target.
    samples: &'a Split,
    /// All covariances of the target, as those samples tell them that are not held back.
    fitted: Symmetric,
    /// More samples, for few numbers.
    picked: Option<Sketch>,
    /// The largest correlation that is taken for chance.
    chance: f64,
}

/// What axes were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The components of a sample.
    Components,
    /// The axes of the plan between Gaussians.
    Principal,
    /// The axes that clusters of the target have in common.
    Shared,
}

/// Returns both sides in other axes, rounded to the numbers that are kept of these.
fn turned([source, target]: &[Gaussian; 2], axes: &[f64]) -> Result<(Rotation, [Gaussian; 2])> {
    let numbers = memory::collected("the axes of a bridge", axes.iter().map(|&x| x as f32))?;
    let rotation = Rotation::new(source.mean.len(), numbers);
    let rounded = rotation.wide()?;
    let turned = |side: &Gaussian| -> Result<Gaussian> {
        let mean = memory::copied("the moments of the samples", &rotation.turned(&side.mean)?)?;
        Ok(Gaussian { mean, covariance: side.covariance.turned(&rounded)? })
    };
    let sides = [turned(source)?, turned(target)?];
    Ok((rotation, sides))
}

impl Directions {
    /// Chooses the axes for sides with these moments and shapes, in the units of `common`.
    pub fn choose(
        spreads: &[Spread; 2],
        shapes: Shapes,
        common: &Normalisation,
        sigma: f64,
        conjugate: &Conjugate,
        peaks: usize,
    ) -> Result<(Self, Choice)> {
        let Shapes { covariances, fitted, target: mut samples, picked, many, turnable, chance, heaviest: _ } = shapes;
        // Kept no longer than they may be asked for.
        let picked = Some(picked).filter(|_| (2..=MOST_SHARED).contains(&common.dimension()));
        let many = many.filter(|_| peaks > 0);
        let gaussian = |spread: &Spread, covariance| -> Result<Gaussian> {
            Ok(Gaussian { mean: memory::copied("the moments of the samples", &spread.mean)?, covariance })
        };
        let [of_source, of_target] = covariances;
        let sides = [gaussian(&spreads[0], of_source)?, gaussian(&spreads[1], of_target)?];
        let is_told = samples.is_told();
        let (mut directions, choice) = if !turnable {
            (Self::components(&sides, sigma, conjugate)?, Choice::Components)
        } else if !is_told {
            (Self::principal(&sides, sigma, conjugate)?, Choice::Principal)
        } else {
            let told = Told { samples: &samples, fitted, picked, chance };
            Self::likeliest(&sides, told, common, sigma, conjugate)?
        };
        if is_told {
            if let Some(rotation) = &directions.rotation {
                samples.turn(&rotation.wide()?)?;
            }
            directions.target = Some(samples);
            directions.picked = many.map(|samples| Picked { samples, peaks });
        }
        Ok((directions, choice))
    }

    /// Chooses those of all axes in which samples that were held back are likeliest.
    fn likeliest(
        sides: &[Gaussian; 2],
        Told { samples, fitted, picked, chance }: Told,
        common: &Normalisation,
        sigma: f64,
        conjugate: &Conjugate,
    ) -> Result<(Self, Choice)> {
        // The axes of the plan as the samples tell them that are not held back.
        let seen = [sides[0].copied()?, Gaussian { covariance: fitted, ..sides[1].copied()? }];
        let to_principal = Pair::new(&seen, sigma, conjugate).contraction()?.axes;
        let along = samples.turned(&to_principal)?;
        // One Gaussian with all covariances: as these samples tell it, or as its axes do, which more samples have told.
        let (one, independent) = (samples.gaussian()?.max(along.independent()?), samples.independent()?);
        if independent >= one - LEAST_CORRELATION && sides[0].is_independent(chance) {
            return Ok((Self::components(sides, sigma, conjugate)?, Choice::Components));
        }
        let (of_components, of_principal) = (Clusters::fit(samples, CLUSTERS)?, Clusters::fit(&along, CLUSTERS)?);
        let [components, plan] = [&of_components, &of_principal].map(|of| of.likelihood);
        let shared = if let Some(picked) = picked {
            let (clusters, axes) = shared(samples, [of_components, of_principal], (&along, &to_principal))?;
            Some((clusters, axes, picked))
        } else {
            None
        };
        let best = shared.iter().fold(components.max(plan), |best, (of_shared, ..)| best.max(of_shared.likelihood));
        if one >= best - MARGIN {
            return Ok((Self::principal(sides, sigma, conjugate)?, Choice::Principal));
        }
        if components >= best - MARGIN {
            return Ok((Self::components(sides, sigma, conjugate)?, Choice::Components));
        }
        match shared {
            Some((clusters, shared, picked)) if plan < best - MARGIN => {
                let shared = refined(clusters, shared, picked.whole(&common.shift, common.scale)?)?;
                Ok((Self::along(sides, &shared, sigma, conjugate)?, Choice::Shared))
            }
            _ => Ok((Self::principal(sides, sigma, conjugate)?, Choice::Principal)),
        }
    }

    /// Takes the components of a sample as they are, each by itself.
    pub fn components(sides: &[Gaussian; 2], sigma: f64, conjugate: &Conjugate) -> Result<Self> {
        let [source, target] = [sides[0].independent()?, sides[1].independent()?];
        let variances = source.covariance.diagonals().zip(target.covariance.diagonals());
        let q = |(a, b)| {
            gaussian_pair::contraction([a, b], sigma * sigma, softness(conjugate))
                .clamp(CONTRACTIONS[0], CONTRACTIONS[1])
        };
        let contraction = memory::collected("the contractions of a bridge", variances.map(q))?;
        Ok(Self { rotation: None, contraction, sides: [source, target], target: None, picked: None })
    }

    /// Takes these axes, one a row, each by itself.
    pub fn along(sides: &[Gaussian; 2], axes: &[f64], sigma: f64, conjugate: &Conjugate) -> Result<Self> {
        let (rotation, sides) = turned(sides, axes)?;
        Ok(Self { rotation: Some(rotation), ..Self::components(&sides, sigma, conjugate)? })
    }

    /// Takes the axes along which the plan between Gaussians with both sides' moments is diagonal.
    pub fn principal(sides: &[Gaussian; 2], sigma: f64, conjugate: &Conjugate) -> Result<Self> {
        let pair = Pair::new(sides, sigma, conjugate);
        let spectrum = pair.contraction()?;
        let (rotation, sides) = turned(sides, &spectrum.axes)?;
        let mut contraction = spectrum.values;
        for (j, q) in contraction.iter_mut().enumerate() {
            // What the axes leave together is rounding of the largest contraction. By itself a thin axis keeps its digits.
            if sides.iter().all(|side| side.is_apart(j, LEAST_TOGETHER)) {
                let [a, b] = sides.each_ref().map(|side| side.covariance.row(j)[j]);
                *q = gaussian_pair::contraction([a, b], pair.noise, pair.softness);
            }
            *q = q.clamp(CONTRACTIONS[0], CONTRACTIONS[1]);
        }
        Ok(Self { rotation: Some(rotation), contraction, sides, target: None, picked: None })
    }

    /// Moves the origin of each axis to the middle between both sides, once the source is moved. Returns where it was, the
    /// lengths that are the spread of both about it, and the pulls h from there.
    fn centre(&mut self, sigma: f64, conjugate: &Conjugate) -> Result<[Vec<f64>; 3]> {
        let q = &self.contraction;
        let [source, target] = &self.sides;
        let mut pulls = Pair::new(&self.sides, sigma, conjugate).pull(q)?;
        let mut centres = memory::with_room("the moments of the samples", q.len())?;
        let mut units = memory::with_room("the moments of the samples", q.len())?;
        for (j, (a, b)) in source.covariance.diagonals().zip(target.covariance.diagonals()).enumerate() {
            let ends = [q[j] * (source.mean[j] + pulls[j]), target.mean[j]];
            let (centre, apart) = (0.5 * (ends[0] + ends[1]), 0.5 * (ends[1] - ends[0]));
            units.push((0.5 * (q[j] * q[j] * a + b) + apart * apart).sqrt().max(LEAST_UNIT));
            // q (x0 + h) - c = q (x0 - c + h') for the pull h' of x0 - c.
            pulls[j] += centre - centre / q[j];
            centres.push(centre);
        }
        for side in &mut self.sides {
            side.mean.iter_mut().zip(&centres).for_each(|(mean, centre)| *mean -= centre);
        }
        Ok([centres, units, pulls])
    }

    /// Returns the bridge along these axes and the units of the problem that it belongs to: those of `common` around
    /// the middle between both sides.
    pub fn bridge(
        mut self,
        common: &Normalisation,
        sigma: f64,
        conjugate: &Conjugate,
    ) -> Result<(GaussianBridge, Normalisation)> {
        let [centres, unit, h] = self.centre(sigma, conjugate)?;
        let Self { rotation, contraction: q, sides, target: samples, picked } = self;
        let pair = Pair::new(&sides, sigma, conjugate);
        let level = pair.level(&q, &h, conjugate.divergence.has_exponential_ratio())?;
        let start = pair.start(&q, &h, level);
        let [source, target] = &sides;
        // Mean squares of x0' and of x1'.
        let end = target.covariance.diagonals().zip(&target.mean).zip(&unit);
        let end = Numbers::collect(end.map(|((b, y), l)| four_digits((b + y * y) / (l * l))))?;
        let from = source.covariance.diagonals().zip(&source.mean).enumerate();
        let from = from.map(|(j, (a, x))| four_digits(q[j] * q[j] * (a + (x + h[j]).powi(2)) / unit[j].powi(2)));
        let from = Numbers::collect(from)?;
        let back = match &rotation {
            Some(rotation) => rotation.back(&centres)?,
            None => Numbers::collect(centres.iter().copied())?,
        };
        let mut bridge = GaussianBridge {
            rotation,
            contraction: q.into(),
            pull: h.into(),
            unit: unit.into(),
            ease: 1.0,
            level,
            start: 0.0,
            mean_squares: [from, end],
            peaks: None,
        };
        bridge.start = bridge.cost() * start;
        if let Some(samples) = samples {
            bridge.ease = ease(&samples, &bridge, sigma)?;
        }
        if let Some(picked) = picked {
            bridge.peaks = picked.peaks(&bridge, &centres, common, sigma)?.map(Arc::new);
        }
        Ok((bridge, common.moved(back.iter().map(|centre| -centre), 1.0)?))
    }
}

/// Returns the axes that clusters have in common, with the clusters along them. More clusters than there are tile one of
/// them, along the axes in which they were fitted, and from some axes the common ones are not found; so several numbers of
/// clusters are tried from the components of a sample and from the axes of the plan, and the likelihood along what was
/// found decides.
///
/// `known` are clusters of each beginning.
fn shared(
    samples: &Split,
    known: [Clusters; 2],
    (along, to_principal): (&Split, &[f64]),
) -> Result<(Clusters, Vec<f64>)> {
    let d = to_principal.len().isqrt();
    let mut best: Option<(Clusters, Vec<f64>)> = None;
    for ((start, to_start), known) in [(samples, None), (along, Some(to_principal))].into_iter().zip(known) {
        let mut known = Some(known);
        for count in TRIED {
            let clusters = match known.take() {
                Some(known) => known,
                None => Clusters::fit(start, count)?,
            };
            let turn = joint_axes(d, &clusters.spreads(start)?)?;
            let axes = match to_start {
                Some(to_start) => product(&turn, to_start, d)?,
                None => turn,
            };
            let found = Clusters::fit(&samples.turned(&axes)?, count)?;
            if best.as_ref().is_none_or(|(before, _)| found.likelihood > before.likelihood) {
                best = Some((found, axes));
            }
        }
    }
    Ok(best.expect("some were tried"))
}

/// Returns the axes that clusters have in common as all samples tell them, of which few chose the axes. With n samples of d
/// numbers correlations along the axes are wrong by one over the root of n, and what a component without correlations
/// misses is the sum of their squares.
fn refined(mut clusters: Clusters, mut axes: Vec<f64>, mut whole: Split) -> Result<Vec<f64>> {
    let d = axes.len().isqrt();
    whole.turn(&axes)?;
    for _ in 0..REFINING {
        clusters.follow(&whole)?;
        let turn = joint_axes(d, &clusters.spreads(&whole)?)?;
        axes = product(&turn, &axes, d)?;
        whole.turn(&turn)?;
    }
    Ok(axes)
}
