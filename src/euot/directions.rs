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
//! Which of them are taken, samples tell ([`super::likely_axes`]).

use super::fineness::ease;
use super::gaussian_bridge::{CONTRACTIONS, GaussianBridge, LEAST_UNIT, four_digits};
use super::gaussian_pair::{self, Gaussian, Pair, softness};
use super::likely_axes::{Likeliest, SHARED, Told, likeliest};
use super::picked::{PeakCounts, Picked, Samples};
use crate::data::{Normalisation, Rotation, Shapes, Split, Spread};
use crate::device::cpu::pool::Pool;
use crate::error::Result;
use crate::formulas::Conjugate;
use crate::memory;
use crate::numbers::Numbers;
use std::sync::Arc;

/// The correlation below which an axis of the plan is by itself.
const LEAST_TOGETHER: f64 = 0.01;

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
    /// For peaks with axes of their own, which need one length of all axes: the axes that are taken if there are none.
    pub otherwise: Option<(Choice, Box<Self>)>,
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
    /// Axes that each cluster has of its own.
    Own,
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
    /// Chooses the axes for sides with these moments and shapes, in the units of `common`. `peaks` are how many there may be.
    pub fn choose(
        spreads: &[Spread; 2],
        shapes: Shapes,
        common: &Normalisation,
        sigma: f64,
        conjugate: &Conjugate,
        peaks: Option<PeakCounts>,
        pool: &Pool,
    ) -> Result<(Self, Choice)> {
        let Shapes { covariances, fitted, target: mut samples, picked, many, turnable, chance, heaviest: _ } = shapes;
        // Kept no longer than they may be asked for.
        let picked = Some(picked).filter(|_| SHARED.contains(&common.dimension()));
        let many = many.filter(|_| peaks.is_some());
        let gaussian = |spread: &Spread, covariance| -> Result<Gaussian> {
            Ok(Gaussian { mean: memory::copied("the moments of the samples", &spread.mean)?, covariance })
        };
        let [of_source, of_target] = covariances;
        let sides = [gaussian(&spreads[0], of_source)?, gaussian(&spreads[1], of_target)?];
        let is_told = samples.is_told();
        let mut own = None;
        let (mut directions, choice) = if !turnable {
            (Self::components(&sides, sigma, conjugate)?, Choice::Components)
        } else if !is_told {
            (Self::principal(&sides, sigma, conjugate)?, Choice::Principal)
        } else {
            let many = many.as_ref().map(|[_, target]| target);
            let turned = peaks.filter(|peaks| peaks.turned).map(|peaks| peaks.counts);
            let told = Told { samples: &samples, fitted, picked, many, chance, turned };
            match likeliest(&sides, told, common, sigma, conjugate, pool)? {
                Likeliest::Own(clusters, without) => {
                    own = Some(clusters);
                    let (otherwise, choice) = Self::likeliest(*without, &sides, sigma, conjugate)?;
                    (Self::even(&sides, sigma, conjugate, (choice, Box::new(otherwise)))?, Choice::Own)
                }
                shared => Self::likeliest(shared, &sides, sigma, conjugate)?,
            }
        };
        if is_told {
            if let Some(rotation) = &directions.rotation {
                samples.turn(&rotation.wide()?)?;
            }
            directions.target = Some(samples);
            directions.picked = many.zip(peaks).map(|(samples, peaks)| {
                let samples = samples.map(Samples::Picked);
                Picked { samples, peaks: peaks.counts, own }
            });
        }
        Ok((directions, choice))
    }

    /// Takes axes that all clusters have.
    fn likeliest(of: Likeliest, sides: &[Gaussian; 2], sigma: f64, conjugate: &Conjugate) -> Result<(Self, Choice)> {
        Ok(match of {
            Likeliest::Components => (Self::components(sides, sigma, conjugate)?, Choice::Components),
            Likeliest::Shared(axes) => (Self::along(sides, &axes, sigma, conjugate)?, Choice::Shared),
            Likeliest::Principal | Likeliest::Own(..) => (Self::principal(sides, sigma, conjugate)?, Choice::Principal),
        })
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
        Ok(Self { rotation: None, contraction, sides: [source, target], target: None, picked: None, otherwise: None })
    }

    /// Takes the components of a sample with one contraction and one length, so that noise and time are the same in every direction, or
    /// others if no peaks are found.
    fn even(sides: &[Gaussian; 2], sigma: f64, conjugate: &Conjugate, otherwise: (Choice, Box<Self>)) -> Result<Self> {
        let mut directions = Self::components(sides, sigma, conjugate)?;
        let mean = |side: &Gaussian| side.covariance.diagonals().sum::<f64>() / side.mean.len() as f64;
        let q = gaussian_pair::contraction([mean(&sides[0]), mean(&sides[1])], sigma * sigma, softness(conjugate));
        directions.contraction.fill(q.clamp(CONTRACTIONS[0], CONTRACTIONS[1]));
        directions.otherwise = Some(otherwise);
        Ok(directions)
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
        Ok(Self { rotation: Some(rotation), contraction, sides, target: None, picked: None, otherwise: None })
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
        if self.otherwise.is_some() {
            let square = units.iter().map(|unit| unit * unit).sum::<f64>() / units.len() as f64;
            units.fill(square.sqrt());
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
        pool: &Pool,
    ) -> Result<(GaussianBridge, Normalisation)> {
        let [centres, unit, h] = self.centre(sigma, conjugate)?;
        let Self { rotation, contraction: q, sides, target: mut samples, picked, otherwise } = self;
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
        if let Some(samples) = &samples {
            bridge.ease = ease(samples, &bridge, sigma)?;
        }
        let (peaks, left) = match picked {
            Some(picked) => picked.peaks(&bridge, &centres, common, sigma, pool)?,
            None => (None, None),
        };
        bridge.peaks = peaks.map(Arc::new);
        if let Some((_, mut otherwise)) = otherwise.filter(|_| bridge.peaks.is_none()) {
            otherwise.picked = left;
            if let (Some(samples), Some(rotation)) = (&mut samples, &otherwise.rotation) {
                samples.turn(&rotation.wide()?)?;
            }
            otherwise.target = samples;
            return otherwise.bridge(common, sigma, conjugate, pool);
        }
        Ok((bridge, common.moved(back.iter().map(|centre| -centre), 1.0)?))
    }
}
