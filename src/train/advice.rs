//! Warnings of samples and settings for which a training is likely to be poor, each with what to do. None is an error: a
//! host may mean what it says.

use super::config::TrainerConfig;
use super::plan::NormalisedProblem;
use crate::context::Context;
use crate::data::{Measured, SetSize};
use crate::formulas::Conjugate;
use crate::log::LogLevel;

/// Multiples of the common scale: with less noise a training needs many more steps, with more the end hardly depends on the
/// source.
const LITTLE_NOISE: f64 = 1e-3;
const MUCH_NOISE: f64 = 3.0;
/// tau as a multiple of the common scale's square for each number of a sample, below which the target's masses hardly count.
const LITTLE_TAU: f64 = 1e-2;
/// Fewer samples than these are points, not a distribution.
const FEW: usize = 10;
/// Samples of so many numbers are most likely pictures.
const PICTURE: usize = 2048;
/// The ratio of the spreads of two components from which on one length does not suit both.
const UNEVEN: f64 = 100.0;

/// Warns of what the samples' numbers and shapes tell before any is read.
pub(super) fn before_reading(
    context: &Context,
    config: &TrainerConfig,
    sample_shape: &[usize],
    sizes: [Option<SetSize>; 2],
) {
    let dimension: usize = sample_shape.iter().product();
    let counts = sizes.map(|size| size.map(|size| size.count));
    if let [Some(source), Some(target)] = counts
        && source < FEW
        && target < FEW
    {
        context.log(
            LogLevel::Warn,
            &format!(
                "source.samples are {source} and target.samples {target}: the map between so few is a matching of points, which \
                 an exact solver finds at once; what is learnt between and beyond them is not known from them"
            ),
        );
    }
    if config.is_convolutional() {
        return;
    }
    for (side, count) in ["source", "target"].into_iter().zip(counts) {
        if let Some(count) = count.filter(|&count| count < dimension) {
            context.log(
                LogLevel::Warn,
                &format!(
                    "{side}.samples are {count} samples of {dimension} numbers, fewer than numbers: most directions are not known \
                     from them; pass more samples, or fewer numbers of each, such as their principal components"
                ),
            );
        }
    }
    if dimension >= PICTURE {
        let pictures = match sample_shape.len() {
            3 => "set the kind of both networks to convolutional ones",
            _ => "pass them as {n, channels, height, width} and set the kind of both networks to convolutional ones",
        };
        context.log(
            LogLevel::Warn,
            &format!(
                "samples of {dimension} numbers go through dense layers, which is slow and knows nothing of neighbours; if they \
                 are pictures, {pictures}"
            ),
        );
    }
}

/// Warns of components whose spreads have nothing in common, where one length has to suit all of them.
pub(super) fn one_length(context: &Context, config: &TrainerConfig, measured: &Measured) {
    let has_axes = measured.shapes.is_some() && !config.deterministic;
    if has_axes || measured.one_point || config.is_convolutional() {
        return;
    }
    let [source, target] = &measured.spreads;
    let of_both = source.variances.iter().zip(target.variances.iter()).map(|(a, b)| (0.5 * (a + b)).sqrt()).enumerate();
    // A component that is constant has no spread to be learnt.
    let mut varying = of_both.filter(|&(_, spread)| spread > 0.0);
    let Some(first) = varying.next() else { return };
    let (narrow, wide) = varying.fold((first, first), |(narrow, wide), of| {
        (if of.1 < narrow.1 { of } else { narrow }, if of.1 > wide.1 { of } else { wide })
    });
    if wide.1 > UNEVEN * narrow.1 {
        context.log(
            LogLevel::Warn,
            &format!(
                "component {} varies {:.0} times as much as component {}, and all have one length in this problem: the narrow \
                 one will come out too wide; pass samples whose components have like spreads",
                wide.0,
                wide.1 / narrow.1,
                narrow.0
            ),
        );
    }
}

/// Warns of a sigma and a tau that are likely not meant.
pub(super) fn problem(context: &Context, frame: &NormalisedProblem, tau_start: f64) {
    let NormalisedProblem { sigma, conjugate: Conjugate { divergence, tau }, .. } = *frame;
    if sigma < LITTLE_NOISE {
        context.log(
            LogLevel::Warn,
            &format!("sigma is {sigma:e} times the data's common scale; below 0.001 training needs many more steps"),
        );
    }
    if sigma > MUCH_NOISE {
        context.log(
            LogLevel::Warn,
            &format!(
                "sigma is {sigma:.1} times the data's common scale; above 3 what is generated hardly depends on the source; \
                 begin with 0.1, and see sigma_units if it was meant in the data's units"
            ),
        );
    }
    let each = tau * tau_start.min(1.0) / frame.normalisation.dimension() as f64;
    if divergence.is_unbalanced() && each < LITTLE_TAU {
        context.log(
            LogLevel::Warn,
            &format!(
                "tau {} {each:e} times the square of the data's common scale for each number of a sample; below 0.01 the \
                 target's masses hardly count",
                if tau_start < 1.0 { "begins at" } else { "is" }
            ),
        );
    }
}

/// Warns that a model is taken of networks that have learnt nothing.
pub(super) fn untrained(context: &Context, steps: u64, with_clusters: bool) {
    if steps > 0 {
        return;
    }
    let clusters = if with_clusters { ", spreads and clusters" } else { " and spreads" };
    context.log(
        LogLevel::Warn,
        &format!(
            "the model is taken before the first training step: it knows the samples' means{clusters}, nothing else of them"
        ),
    );
}
