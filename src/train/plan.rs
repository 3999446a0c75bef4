//! The normalised problem and the networks of a training, fixed from its start.

use super::config::{SigmaUnits, TrainerConfig};
use crate::data::{Measured, Normalisation, SeenUnits, Spread};
use crate::device::cpu::pool::Pool;
use crate::device::layout::Layer;
use crate::device::training::UpdateRule;
use crate::error::{Error, Result};
use crate::euot::directions::{Choice, Directions};
use crate::euot::gaussian_bridge::GaussianBridge;
use crate::euot::halves::Halves;
use crate::euot::picked::PeakCounts;
use crate::formulas::adam::Adam;
use crate::formulas::peaks::{self, MOST_DIMENSION, MOST_PEAKS};
use crate::formulas::{Axes, Conjugate, Head, axes};
use crate::numbers::Numbers;

/// The problem that the networks see, and the networks, fixed for a training.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub dimension: usize,
    /// Both networks, the batch and the problem, with the noise and the tau that the networks see.
    pub halves: Halves,
    /// The part of the answer that is known before training.
    pub bridge: GaussianBridge,
    /// Noise of the normalised problem.
    pub sigma: f64,
    pub adam: Adam,
    /// Rates, decays, clipping and seed.
    pub config: TrainerConfig,
}

impl Plan {
    /// Returns the bytes that a training keeps on the host for its plan: numbers of each component of a sample, and the
    /// lists of layers.
    pub fn bytes(&self) -> usize {
        let networks = [&self.halves.value, &self.halves.generator];
        let centres: usize = networks.iter().map(|network| 2 * network.centre.count()).sum();
        // A shift of each component; a contraction, a pull, a length and two mean squares of each axis.
        let numbers = 6 * self.dimension + centres;
        let layers: usize = networks.iter().map(|network| network.layout.layers.len()).sum();
        let graphs: usize =
            networks.iter().filter_map(|network| network.graph.as_ref()).map(crate::nn::graph::Graph::bytes).sum();
        // The trainer and its engine have a plan each, which share these numbers; the engine has the axes'
        // constants beside it.
        let peaks = most_peaks(&self.config, self.dimension, 0).map_or(0, |[usual, _]| usual);
        (numbers + peaks * (3 * self.dimension + 1)) * size_of::<f64>()
            + 2 * (layers * size_of::<Layer>() + graphs)
            + (axes::numbers(self.dimension) + peaks::numbers(peaks, self.dimension)) * size_of::<f32>()
    }

    /// Returns the constants of the axes of the problem that the networks see.
    pub fn axes(&self) -> Result<Axes<Vec<f32>>> {
        self.bridge.axes(self.sigma)
    }

    /// Returns the rule by which both networks are updated.
    pub fn update_rule(&self) -> UpdateRule {
        let config = &self.config;
        UpdateRule {
            adam: self.adam,
            rates: [config.value_learning_rate, config.generator_learning_rate],
            decay_steps: config.decay_steps,
            decay_floor: config.decay_floor,
            ema_decay: config.ema_decay,
            clip: config.gradient_clip,
        }
    }
}

/// Returns how many peaks a value function may begin with, as a rule and, where the generator may have up to `most` components, at
/// most: none but in the balanced problem, with a generator that gives all components and draws from them.
pub(super) fn most_peaks(config: &TrainerConfig, dimension: usize, most: usize) -> Option<[usize; 2]> {
    let fits = dimension <= MOST_DIMENSION && config.conditional().has_own_components() && !config.is_convolutional();
    if config.divergence.is_unbalanced() || config.deterministic || !fits || config.components < 2 {
        return None;
    }
    Some([config.components, most].map(|components| components.min(MOST_PEAKS)))
}

/// The range of sigma as a multiple of the data's common scale. Its square and the square's inverse stay far inside the
/// 32-bit range.
const SIGMA_RANGE: std::ops::RangeInclusive<f64> = 1e-6..=1e3;
/// The range of tau as a multiple of the square of the data's common scale. A relative tau is multiplied by the numbers of a
/// sample first. 32-bit numbers and their squares stay finite when they are multiplied or divided by it, in the data's
/// units too.
const TAU_RANGE: std::ops::RangeInclusive<f64> = 1e-90..=1e90;
/// The least variance of both sides about their centre, in units of the common scale's square.
const LEAST_SPREAD: f64 = 1e-6;

/// Returns sigma as a multiple of the data's common scale, and the conjugate with tau as a multiple of its square. A
/// relative tau counts once for each of the `numbers` of a sample, as the cost does.
///
/// # Errors
/// sigma or tau out of range once that scale is known.
pub(super) fn problem(config: &TrainerConfig, common_scale: f64, numbers: usize) -> Result<(f64, Conjugate)> {
    let (sigma, tau) = match config.sigma_units {
        SigmaUnits::Data => (config.sigma / common_scale, config.tau / common_scale.powi(2)),
        SigmaUnits::Relative => (config.sigma, config.tau * numbers as f64),
    };
    if !SIGMA_RANGE.contains(&sigma) {
        return Err(Error::invalid(format!(
            "sigma is {:e} times the data's common scale {common_scale:e}, but must be from {:e} to {:e} times it",
            sigma,
            SIGMA_RANGE.start(),
            SIGMA_RANGE.end()
        )));
    }
    if !TAU_RANGE.contains(&tau) {
        return Err(Error::invalid(format!(
            "tau is {tau:e} times the square of the data's common scale {common_scale:e}, but must be from {:e} to \
             {:e} times it",
            TAU_RANGE.start(),
            TAU_RANGE.end()
        )));
    }
    let start = tau * config.tau_start;
    if config.tau_steps > 0 && !TAU_RANGE.contains(&start) {
        return Err(Error::invalid(format!(
            "tau_start is {:e}, with which tau begins as {start:e} times the square of the data's common scale, but must be \
             from {:e} to {:e} times it",
            config.tau_start,
            TAU_RANGE.start(),
            TAU_RANGE.end()
        )));
    }
    Ok((sigma, Conjugate { divergence: config.divergence, tau }))
}

/// The problem in normalised units, and what was measured to get there.
#[derive(Clone, Debug)]
pub(super) struct NormalisedProblem {
    /// The data's common scale, in data units. sigma and tau may be given relative to it.
    pub common_scale: f64,
    /// sigma as a multiple of the common scale, and the conjugate with tau as a multiple of its square.
    pub sigma: f64,
    pub conjugate: Conjugate,
    /// Units in which both sides, once the source is moved, lie around 0 with a spread of 1.
    pub normalisation: Normalisation,
    /// The known part of the answer, in these units.
    pub bridge: GaussianBridge,
}

impl NormalisedProblem {
    /// Makes it from what was measured of both sides, and tells what axes were chosen. `peaks` are how many the value function may
    /// begin with.
    ///
    /// # Errors
    /// As [`problem`].
    pub fn new(
        config: &TrainerConfig,
        measured: Measured,
        peaks: Option<PeakCounts>,
        pool: &Pool,
    ) -> Result<(Self, Option<Choice>)> {
        let Measured { units: common, spreads, shapes, one_point: _ } = measured;
        let (sigma, conjugate) = problem(config, common.scale, common.dimension())?;
        if config.is_convolutional() {
            // Such networks see pictures as they are, and no quadratic stands beside the value function.
            let bridge = GaussianBridge::none(common.dimension())?;
            let range = config.specs().each()[1].convolutions().and_then(|form| form.range);
            let normalisation = match range {
                None => common,
                Some([low, high]) => common.about(0.5 * (low + high))?,
            };
            let problem = Self { common_scale: normalisation.scale, sigma, conjugate, normalisation, bridge };
            return Ok((problem, None));
        }
        // A deterministic generator's points become too sharp along axes that are ahead of others.
        let shapes = shapes.filter(|_| !config.deterministic);
        let choose = |shapes| Directions::choose(&spreads, shapes, &common, sigma, &conjugate, peaks, pool);
        let chosen = shapes.map(choose).transpose()?;
        let along = match chosen {
            Some((directions, choice)) => {
                let otherwise = directions.otherwise.as_ref().map(|(choice, _)| *choice);
                let (bridge, units) = directions.bridge(&common, sigma, &conjugate, pool)?;
                let choice = if bridge.has_own_axes() { choice } else { otherwise.unwrap_or(choice) };
                Some(((bridge, units), choice))
            }
            None => None,
        };
        let ((bridge, normalisation), choice) = match along.filter(|((bridge, _), _)| bridge.fits(sigma)) {
            Some((along, choice)) => (along, Some(choice)),
            None => (even(&common, &spreads, sigma, &conjugate)?, None),
        };
        Ok((Self { common_scale: common.scale, sigma, conjugate, normalisation, bridge }, choice))
    }

    /// Returns the units in which networks see samples of the source and of the target.
    pub fn seen(&self) -> Result<[SeenUnits; 2]> {
        Ok([self.bridge.seen(&self.normalisation, 0.0)?, self.bridge.seen(&self.normalisation, 1.0)?])
    }

    /// Returns sigma and the conjugate in these units.
    pub fn problem(&self) -> (f64, Conjugate) {
        let units = self.common_scale / self.normalisation.scale;
        (self.sigma * units, Conjugate { tau: self.conjugate.tau * units * units, ..self.conjugate })
    }
}

/// Returns the bridge with one contraction for all axes, and units in which both sides lie around 0 with a spread of 1.
fn even(
    common: &Normalisation,
    [source, target]: &[Spread; 2],
    sigma: f64,
    conjugate: &Conjugate,
) -> Result<(GaussianBridge, Normalisation)> {
    let bridge = GaussianBridge::even(source, target, sigma, conjugate)?;
    let moved = bridge.moved(source)?;
    let centre = Numbers::collect(moved.mean.iter().zip(target.mean.iter()).map(|(x, y)| 0.5 * (x + y)))?;
    let scale = (0.5 * moved.square_about(&centre) + 0.5 * target.square_about(&centre)).max(LEAST_SPREAD).sqrt();
    let [source, target] = [source.normalised(&centre, scale)?, target.normalised(&centre, scale)?];
    let scaled = Conjugate { tau: conjugate.tau / (scale * scale), ..*conjugate };
    let bridge = GaussianBridge::even(&source, &target, sigma / scale, &scaled)?;
    Ok((bridge, common.moved(centre.iter().map(|centre| -centre), scale)?))
}

/// Returns the plan that follows from a configuration and the problem.
///
/// # Errors
/// Too many components for the samples' numbers.
pub(super) fn plan(config: &TrainerConfig, frame: &NormalisedProblem) -> Result<Plan> {
    let (sigma, conjugate) = frame.problem();
    assemble(config, frame.normalisation.dimension(), &frame.bridge, frame.normalisation.scale, sigma, &conjugate)
}

/// Returns a plan with the same networks and batch that needs nothing of the samples but their dimension. It tells how
/// much memory a training will take.
///
/// # Errors
/// Too many components for the samples' numbers.
pub(super) fn outline(config: &TrainerConfig, dimension: usize) -> Result<Plan> {
    let conjugate = Conjugate { divergence: config.divergence, tau: 1.0 };
    assemble(config, dimension, &GaussianBridge::none(dimension)?, 1.0, 1.0, &conjugate)
}

fn assemble(
    config: &TrainerConfig,
    dimension: usize,
    bridge: &GaussianBridge,
    unit: f64,
    sigma: f64,
    conjugate: &Conjugate,
) -> Result<Plan> {
    let (value, generator) = config.networks(bridge, unit).shapes(dimension)?;
    Ok(Plan {
        dimension,
        halves: Halves {
            value,
            generator,
            conditional: config.conditional(),
            head: Head { deterministic: config.deterministic },
            conjugate: bridge.conjugate(conjugate),
            tau_schedule: config.tau_schedule(),
            penalty: config.gradient_penalty,
            clock: bridge.clock(),
            atoms: config.is_convolutional(),
            sources: config.batch_sources,
            seed: config.seed,
        },
        bridge: bridge.clone(),
        sigma,
        adam: Adam { beta1: config.adam_beta1 as f32, beta2: config.adam_beta2 as f32, epsilon: 1e-8 },
        config: config.clone(),
    })
}
