//! Checkpoints: one file with the configuration, the normalisation, and both networks with their optimiser's state.

use super::config::{SigmaUnits, TrainerConfig};
use super::metrics::Metrics;
use super::plan::{NormalisedProblem, problem};
use crate::data::Normalisation;
use crate::device::training::NetworkState;
use crate::error::{Error, Result};
use crate::euot::gaussian_bridge::GaussianBridge;
use crate::file::input::Input;
use crate::file::kind::{FileKind, GRADIENT_PENALTY, TAU_SCHEDULE};
use crate::file::output::Output;
use crate::formulas::Conjugate;
use crate::model::checked_dimension;
use crate::numbers::Numbers;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The state of a training that a checkpoint holds, and what is derived from it. The data's fingerprints are kept
/// beside it.
pub(super) struct State {
    pub config: TrainerConfig,
    pub sample_shape: Vec<usize>,
    pub frame: NormalisedProblem,
    pub metrics: Metrics,
    pub networks: [NetworkState; 2],
}

#[derive(Serialize, Deserialize)]
struct Description {
    /// Where units are relative, tau is here a multiple of the common scale's square, as in all versions of the library:
    /// what the host gave, times the numbers of a sample.
    config: TrainerConfig,
    #[serde(deserialize_with = "crate::numbers::list")]
    sample_shape: Vec<usize>,
    shift: Numbers,
    scale: f64,
    common_scale: f64,
    bridge: GaussianBridge,
    /// Whether the problem has axes that are not the components of a sample.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    rotated: bool,
    metrics: Metrics,
    /// Fingerprints of the normalised source and target, where they are arrays.
    fingerprints: [Option<u64>; 2],
}

const NETWORKS: [&str; 2] = ["value", "generator"];
const PARTS: [&str; 4] = ["weights", "average", "first_moment", "second_moment"];

pub(super) fn save(path: &Path, state: State, fingerprints: [Option<u64>; 2]) -> Result<()> {
    let State { mut config, sample_shape, frame, metrics, networks } = state;
    [config.value_network, config.generator_network] = config.specs().differing();
    if config.sigma_units == SigmaUnits::Relative {
        config.tau = frame.conjugate.tau;
    }
    let NormalisedProblem {
        common_scale,
        normalisation: Normalisation { shift, scale },
        bridge,
        sigma: _,
        conjugate: _,
    } = frame;
    let (own_axes, [eased, peaks, turned]) = (!bridge.is_even(), bridge.versions());
    let rotated = bridge.rotation.is_some();
    let description =
        Description { config, sample_shape, shift, scale, common_scale, bridge, rotated, metrics, fingerprints };
    let mut output = Output::new(FileKind::Checkpoint, &description)?;
    let [own_networks, axes, pictures, layers] = description.config.specs().versions(own_axes);
    let TrainerConfig { tau_steps, gradient_penalty, .. } = description.config;
    let own = [(tau_steps > 0, TAU_SCHEDULE), (gradient_penalty > 0.0, GRADIENT_PENALTY)];
    output.needs(&[own_networks, axes, pictures, layers, own[0], own[1], eased, peaks, turned]);
    description.bridge.push_axes(&mut output);
    for (name, network) in NETWORKS.iter().zip(&networks) {
        let NetworkState { weights, average, first_moment, second_moment } = network;
        for (part, values) in PARTS.iter().zip([weights, average, first_moment, second_moment]) {
            output.push_f32(format!("{name}.{part}"), &[values.len()], values);
        }
    }
    output.save(path)
}

pub(super) fn load(path: &Path) -> Result<(State, [Option<u64>; 2])> {
    let mut input = Input::open(path, FileKind::Checkpoint)?;
    let description: Description = input.description()?;
    let (lengths, (sigma, conjugate)) = description.check().map_err(|error| input.refusal(error))?;
    for (name, length) in NETWORKS.iter().zip(lengths) {
        for part in PARTS {
            input.check(&format!("{name}.{part}"), &[length])?;
        }
    }
    let [value, generator] = [0, 1].map(|network| read(&mut input, NETWORKS[network], lengths[network]));
    let networks = [value?, generator?];
    let Description {
        mut config,
        sample_shape,
        shift,
        scale,
        common_scale,
        mut bridge,
        rotated,
        metrics,
        fingerprints,
    } = description;
    if config.sigma_units == SigmaUnits::Relative {
        config.tau /= shift.len() as f64;
    }
    bridge.read_axes(&mut input, rotated)?;
    let frame =
        NormalisedProblem { common_scale, sigma, conjugate, normalisation: Normalisation { shift, scale }, bridge };
    Ok((State { config, sample_shape, frame, metrics, networks }, fingerprints))
}

fn read(input: &mut Input, name: &str, length: usize) -> Result<NetworkState> {
    let [weights, average, first_moment, second_moment] = PARTS.map(|part| format!("{name}.{part}"));
    let state = NetworkState {
        weights: input.f32(&weights, &[length])?,
        average: input.f32(&average, &[length])?,
        first_moment: input.f32(&first_moment, &[length])?,
        second_moment: input.f32(&second_moment, &[length])?,
    };
    match state.second_moment.iter().find(|&&square| square < 0.0) {
        None => Ok(state),
        Some(square) => Err(input.unfit(format_args!(
            "its tensor '{second_moment}' holds {square:e}, but means of squares must be at least 0"
        ))),
    }
}

impl Description {
    /// Checks that a training may have written the description. Returns the numbers of parameters of both networks, and
    /// sigma and the conjugate relative to the common scale.
    fn check(&self) -> Result<([usize; 2], (f64, Conjugate))> {
        let Self { config, sample_shape, shift, scale, common_scale, bridge, rotated: _, metrics, fingerprints: _ } =
            self;
        config.validate()?;
        metrics.check().map_err(Error::InvalidArgument)?;
        let d = checked_dimension(sample_shape, shift, [*scale, *common_scale]).map_err(Error::InvalidArgument)?;
        config.check_chosen(sample_shape).map_err(Error::InvalidArgument)?;
        let problem = problem(config, *common_scale, 1)?;
        let own = config.conditional().own_components();
        bridge.check(shift, *scale, problem.0 * (common_scale / scale), own).map_err(Error::InvalidArgument)?;
        Ok((config.networks(bridge, 1.0).layouts(d)?.map(|layout| layout.len()), problem))
    }
}
