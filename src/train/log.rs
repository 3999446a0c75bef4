//! The messages that a trainer writes to the context's log.

use super::config::{SigmaUnits, TrainerConfig};
use super::plan::NormalisedProblem;
use super::watch::Collapse;
use crate::context::Context;
use crate::data::Measured;
use crate::euot::directions::Choice;
use crate::formulas::Conjugate;
use crate::log::LogLevel;

/// Says what sigma and tau mean where the samples have no scale.
pub(super) fn one_point(context: &Context, config: &TrainerConfig, measured: &Measured) {
    if !measured.one_point {
        return;
    }
    let relative = match config.sigma_units {
        SigmaUnits::Data => "",
        SigmaUnits::Relative => ", to which sigma and tau are relative",
    };
    context.log(
        LogLevel::Warn,
        &format!(
            "source.samples and target.samples are one and the same point, which has no scale; {:e} is taken{relative}",
            measured.units.scale
        ),
    );
}

/// Says what was measured.
pub(super) fn measured(context: &Context, config: &TrainerConfig, frame: &NormalisedProblem) {
    let NormalisedProblem { sigma, conjugate: Conjugate { tau, .. }, .. } = *frame;
    let each = tau / frame.normalisation.dimension() as f64;
    context.log(
        LogLevel::Info,
        &format!(
            "samples of {} numbers, common scale {:e}; sigma is {sigma:e} times that scale, and tau {each:e} times its \
             square for each number",
            frame.normalisation.dimension(),
            frame.common_scale
        ),
    );
    context.log(
        LogLevel::Info,
        &format!("a step has {} source samples with {} components each", config.batch_sources, config.components),
    );
}

/// The kurtosis from which on a training is likely to miss what is far out: that of an exponential law is 9, and of
/// half the square of a normal number 15.
const HEAVY: f64 = 20.0;
/// The ratio of the spreads of axes from which on 32-bit numbers have few digits left for the smallest.
const UNEVEN: f64 = 1e5;

/// Says along which axes the problem is solved, and warns of data for which that will not do.
pub(super) fn axes(
    context: &Context,
    frame: &NormalisedProblem,
    choice: Option<Choice>,
    heaviest: Option<[(usize, f64); 2]>,
) {
    let bridge = &frame.bridge;
    let extremes = |numbers: &[f64]| {
        numbers.iter().fold([f64::INFINITY, 0.0], |[least, most]: [f64; 2], x| [least.min(*x), most.max(*x)])
    };
    let ([least, most], [slow, fast]) = (extremes(&bridge.unit), extremes(&bridge.contraction));
    let along = match choice {
        None => "one spread for all numbers of a sample",
        Some(Choice::Components) => "axes are the numbers of a sample",
        Some(Choice::Principal) => "axes are those of the plan between Gaussians",
        Some(Choice::Own) => {
            "each cluster of the target has axes of its own, with one spread for all numbers of a sample"
        }
        Some(Choice::Shared) => "axes are those that clusters of the target share",
    };
    context.log(
        LogLevel::Info,
        &format!(
            "{along}; their spreads are from {:e} to {:e} and their contractions from {slow:e} to {fast:e}, and the clock's ease \
             is {}",
            least * frame.normalisation.scale,
            most * frame.normalisation.scale,
            bridge.ease
        ),
    );
    if let Some(peaks) = &bridge.peaks {
        context.log(
            LogLevel::Info,
            &format!(
                "the target comes apart into clusters: the value function begins with {} peaks, fitted to the samples of both \
                 sides, each with a component of the generator",
                peaks.count()
            ),
        );
    }
    if most / least > UNEVEN {
        context.log(
            LogLevel::Warn,
            &format!(
                "the spreads of the samples' axes differ by a factor of {:e}, which leaves 32-bit numbers few digits for the \
                 smallest; pass samples whose numbers have like units, or leave out those that hardly vary",
                most / least
            ),
        );
    }
    for (side, (component, kurtosis)) in ["source", "target"].into_iter().zip(heaviest.into_iter().flatten()) {
        if kurtosis > HEAVY {
            context.log(
                LogLevel::Warn,
                &format!(
                    "component {component} of {side}.samples has heavy tails (kurtosis {kurtosis:.0}, where a Gaussian has 3); what \
                     is far out is learnt badly: train on its logarithm or another function that draws the tails in, or clip it"
                ),
            );
        }
    }
}

/// Warns of a training that has collapsed.
pub(super) fn collapse(context: &Context, collapse: &Collapse) {
    let Collapse { steps, spread, matched_share } = *collapse;
    let spread = spread.map(|spread| {
        format!(
            "what is generated varies {spread:.3} times as much as the target: the generator gives nearly the same for every \
             source sample, unless the target's own spread is that of a few samples far out"
        )
    });
    let share = matched_share.map(|share| {
        format!(
            "{share:.3} of the target's samples are matched: the value function has given up the others, unless the source is \
             like so few of them"
        )
    });
    let seen = [spread, share].into_iter().flatten().collect::<Vec<_>>().join("; ");
    context.log(
        LogLevel::Warn,
        &format!(
            "in the last {steps} steps {seen}; train anew with lower learning rates, above all value_learning_rate, with a \
             larger tau, or from another source"
        ),
    );
}
