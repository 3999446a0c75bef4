//! Weights of a network in a model file: for each layer a tensor of its matrix and one of its biases.
//!
//! Layers are numbered from 0 in the order in which their parameters lie. `generator.0.weight` has the shape inputs x
//! outputs, of a convolution rows of taps x columns of taps x inputs x outputs, and `generator.0.bias` outputs. The value
//! function's begin with `value`. Files of versions before 5 have all parameters of a network in one tensor of its name,
//! each layer's weights and then its biases, which is also the order of the tensors now.

use crate::device::layout::{Layer, Layout, Map};
use crate::error::Result;
use crate::file::input::Input;
use crate::file::output::Output;
use crate::memory;
use std::ops::Range;

/// Returns name, shape and place of a layer's tensors.
fn tensors(network: &str, number: usize, layer: &Layer) -> [(String, Vec<usize>, Range<usize>); 2] {
    let weight = match layer.map {
        Map::Dense { inputs, outputs } => vec![inputs, outputs],
        Map::Conv(conv) => vec![conv.side, conv.side, conv.from.channels, conv.channels],
    };
    let biases = layer.biases();
    [
        (format!("{network}.{number}.weight"), weight, layer.weights()),
        (format!("{network}.{number}.bias"), vec![biases.len()], biases),
    ]
}

/// Adds the weights of a network to a file.
pub(super) fn push<'a>(output: &mut Output<'a>, network: &str, layout: &Layout, weights: &'a [f32]) {
    for (number, layer) in layout.layers.iter().enumerate() {
        for (name, shape, range) in tensors(network, number, layer) {
            output.push_f32(name, &shape, &weights[range]);
        }
    }
}

/// Checks that a file has the weights of a network, before any of them are read.
///
/// # Errors
/// [`crate::Error::Format`].
pub(super) fn check(input: &Input, network: &str, layout: &Layout) -> Result<()> {
    if input.has(network) {
        return input.check(network, &[layout.len()]);
    }
    for (number, layer) in layout.layers.iter().enumerate() {
        for (name, shape, _) in tensors(network, number, layer) {
            input.check(&name, &shape)?;
        }
    }
    Ok(())
}

/// Reads the weights of a network, in the order of the layout.
///
/// # Errors
/// As [`Input::f32`].
pub(super) fn read(input: &mut Input, network: &str, layout: &Layout) -> Result<Vec<f32>> {
    if input.has(network) {
        return input.f32(network, &[layout.len()]);
    }
    let mut weights = memory::with_room("the weights of a network", layout.len())?;
    for (number, layer) in layout.layers.iter().enumerate() {
        for (name, shape, _) in tensors(network, number, layer) {
            input.append_f32(&name, &shape, &mut weights)?;
        }
    }
    Ok(weights)
}
