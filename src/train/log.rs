//! The messages that a new trainer writes to the context's log.

use super::config::{SigmaUnits, TrainerConfig};
use super::plan::NormalisedProblem;
use crate::context::Context;
use crate::data::Normalisation;
use crate::formulas::Conjugate;
use crate::log::LogLevel;

/// Says what sigma and tau mean where the samples have no scale.
pub(super) fn one_point(context: &Context, config: &TrainerConfig, units: &Normalisation) {
    let relative = match config.sigma_units {
        SigmaUnits::Data => "",
        SigmaUnits::Relative => ", to which sigma and tau are relative",
    };
    context.log(
        LogLevel::Warn,
        &format!(
            "source.samples and target.samples are one and the same point, which has no scale; {:e} is taken{relative}",
            units.scale
        ),
    );
}

/// Says what was measured, and warns of numbers that are likely not meant.
pub(super) fn measured(context: &Context, frame: &NormalisedProblem) {
    let NormalisedProblem { sigma, conjugate: Conjugate { divergence, tau }, .. } = *frame;
    context.log(
        LogLevel::Info,
        &format!(
            "samples of {} numbers, common scale {:e}; sigma is {sigma:e} and tau {tau:e} relative to it",
            frame.normalisation.dimension(),
            frame.common_scale
        ),
    );
    if sigma < 1e-3 {
        context.log(
            LogLevel::Warn,
            &format!("sigma is {sigma:e} times the data's common scale; below 0.001 training needs many more steps"),
        );
    }
    if divergence.is_unbalanced() && tau < 1e-2 {
        context.log(
            LogLevel::Warn,
            &format!("tau is {tau:e} times the square of the data's common scale; below 0.01 the target's masses hardly count"),
        );
    }
}
