//! Initial weights.

use super::network::Network;
use crate::error::Result;
use crate::memory;
use crate::rng::{Sequence, Stream};

/// Kaiming-type initialisation (He et al., 2015, with gain 1 as suits smooth activations): weights from N(0, 1/fan-in)
/// and biases 0. `output` tells for each output (of a convolution, each output channel) of the last layer a factor of its
/// weights and its bias.
pub fn kaiming(of: &Network, seed: u64, network: u64, output: impl Fn(usize) -> (f32, f32)) -> Result<Vec<f32>> {
    let layout = &of.layout;
    let mut weights = memory::filled("a network's weights", layout.len(), 0f32)?;
    let zero_layers = of.graph.as_ref().map_or(&[][..], |graph| &graph.zero_layers);
    for (l, layer) in layout.layers.iter().enumerate().filter(|(l, _)| !zero_layers.contains(l)) {
        let w = &mut weights[layer.weights()];
        Sequence::new(seed, network << 8 | l as u64 & 255 | (l as u64 >> 8) << 32, Stream::Init).normals(0, w);
        let scale = (1.0 / layer.fan_in() as f32).sqrt();
        w.iter_mut().for_each(|x| *x *= scale);
        if l == layout.hidden() {
            let outputs = layer.biases().len();
            w.iter_mut().enumerate().for_each(|(i, x)| *x *= output(i % outputs).0);
            weights[layer.biases()].iter_mut().enumerate().for_each(|(i, x)| *x = output(i).1);
        }
    }
    Ok(weights)
}
