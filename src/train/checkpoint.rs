//! Checkpoints: configuration, normalisation, and both networks with their optimiser's state, in one file.

use super::config::TrainerConfig;
use super::engine::NetworkState;
use super::metrics::Metrics;
use super::plan::Frame;
use super::trainer::State;
use crate::data::{MAX_DIMENSION, Normalisation, Numbers};
use crate::error::{Error, Result};
use crate::euot::gaussian_bridge::GaussianBridge;
use crate::file::atomic;
use crate::file::container::{Container, Kind};
use serde::{Deserialize, Serialize};
use std::path::Path;

#[derive(Serialize, Deserialize)]
struct Description {
    config: TrainerConfig,
    sample_shape: Vec<usize>,
    shift: Numbers,
    scale: f64,
    common_scale: f64,
    bridge: GaussianBridge,
    metrics: Metrics,
    /// Of the normalised source and target, where they are arrays.
    fingerprints: [Option<u64>; 2],
}

const NETWORKS: [&str; 2] = ["value", "generator"];

pub(super) fn save(path: &Path, state: &State, fingerprints: [Option<u64>; 2]) -> Result<()> {
    let description = Description {
        config: state.config.clone(),
        sample_shape: state.sample_shape.clone(),
        shift: state.frame.normalisation.shift.clone(),
        scale: state.frame.normalisation.scale,
        common_scale: state.frame.common_scale,
        bridge: state.frame.bridge.clone(),
        metrics: state.metrics,
        fingerprints,
    };
    let mut container = Container::new(Kind::Checkpoint, &description)?;
    for (name, network) in NETWORKS.iter().zip(&state.networks) {
        for (part, values) in [
            ("weights", &network.weights),
            ("average", &network.average),
            ("first_moment", &network.first_moment),
            ("second_moment", &network.second_moment),
        ] {
            container.push_f32(format!("{name}.{part}"), &[values.len()], values);
        }
    }
    atomic::write_atomic(path, &container.to_bytes()?)
}

pub(super) fn load(path: &Path) -> Result<(State, [Option<u64>; 2])> {
    let origin = path.display().to_string();
    let mut container = Container::from_bytes(&atomic::read(path)?, Kind::Checkpoint, &origin)?;
    let description: Description = container.description()?;
    let foreign = |what: String| Error::Format(format!("cannot load from '{origin}': {what}"));
    let Description { config, sample_shape, shift, scale, common_scale, bridge, metrics, fingerprints } = description;
    config.validate().map_err(|e| foreign(e.to_string()))?;
    let d = crate::model::checked_dimension(&sample_shape, &shift, [scale, common_scale], MAX_DIMENSION)
        .map_err(foreign)?;
    let normalisation = Normalisation { shift, scale };
    bridge.check(&normalisation).map_err(foreign)?;
    let (value, generator) = config.networks(&bridge).shapes(d).map_err(|error| match error {
        Error::InvalidArgument(what) => foreign(what),
        other => other,
    })?;
    let mut take = |name: &str, len: usize| -> Result<NetworkState> {
        let mut part = |part: &str| container.take_f32(&format!("{name}.{part}"), &[len]);
        Ok(NetworkState {
            weights: part("weights")?,
            average: part("average")?,
            first_moment: part("first_moment")?,
            second_moment: part("second_moment")?,
        })
    };
    let networks = [take(NETWORKS[0], value.layout.len())?, take(NETWORKS[1], generator.layout.len())?];
    let frame = Frame { common_scale, normalisation, bridge };
    Ok((State { config, sample_shape, frame, metrics, networks }, fingerprints))
}
