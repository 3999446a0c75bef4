//! Networks whose dense layers follow each other, as operators.

use super::activations::Activated;
use super::builder::{Attribute, Builder, Tensor};
use crate::device::layout::Layer;
use crate::error::Result;
use crate::formulas::squares;
use crate::nn::network::Network;

/// A pass forward, and what a pass in reverse needs of it.
pub(super) struct Pass<'n> {
    network: &'n Network,
    /// What is squared.
    squared: Tensor,
    activated: Vec<Activated>,
    weights: Vec<Tensor>,
    pub output: Tensor,
}

/// Adds a layer's weights and biases, inputs x outputs and outputs.
pub(super) fn parameters<'a>(b: &mut Builder<'a>, layer: &Layer, weights: &'a [f32]) -> [Tensor; 2] {
    let (inputs, outputs) = (layer.inputs(), layer.outputs());
    [b.constant(&[inputs, outputs], &weights[layer.weights()]), b.constant(&[outputs], &weights[layer.biases()])]
}

/// Returns x W + b.
pub(super) fn affine(b: &mut Builder, x: Tensor, [weight, bias]: [Tensor; 2]) -> Tensor {
    b.plain("Gemm", &[x, weight, bias])
}

/// Returns delta W^T.
pub(super) fn transposed(b: &mut Builder, delta: Tensor, weight: Tensor) -> Tensor {
    b.operator("Gemm", &[delta, weight], &[("transB", Attribute::Int(1))])
}

impl<'n> Pass<'n> {
    /// Passes a sample as networks see it, and what stands beside it. `time` is the column by which the centre of the
    /// squares moves.
    pub fn forward<'a>(
        b: &mut Builder<'a>,
        network: &'n Network,
        weights: &'a [f32],
        sample: Tensor,
        beside: Option<Tensor>,
        time: Option<Tensor>,
    ) -> Result<Self> {
        let mut seen: Vec<Tensor> = [Some(sample), beside].into_iter().flatten().collect();
        if network.centre.count() > 0 {
            seen.push(squared(b, network, sample, time)?);
        }
        let mut x = b.concat(&seen);
        let (mut activated, mut matrices) = (Vec::new(), Vec::new());
        for (l, layer) in network.layout.layers.iter().enumerate() {
            let parts = parameters(b, layer, weights);
            matrices.push(parts[0]);
            x = affine(b, x, parts);
            if l < network.layout.hidden() {
                let next = Activated::new(b, network.activation, x);
                x = next.f;
                activated.push(next);
            }
        }
        Ok(Self { network, squared: sample, activated, weights: matrices, output: x })
    }

    /// Returns the gradient of a scalar output by the sample, which has d numbers.
    pub fn gradient(&self, b: &mut Builder, d: usize) -> Tensor {
        let mut delta = b.constant(&[1, 1], vec![1.0]);
        for (l, weight) in self.weights.iter().enumerate().rev() {
            if l + 1 < self.weights.len() {
                delta = self.activated[l].backward(b, delta);
            }
            delta = transposed(b, delta, *weight);
        }
        let sample = b.slice(delta, 1, 0..d);
        let (count, end) = (self.network.centre.count(), self.network.layout.inputs());
        if count == 0 {
            return sample;
        }
        let by_square = b.slice(delta, 1, end - count..end);
        let bend = bend(b, self.squared);
        let slope = b.plain("Div", &[self.squared, bend]);
        let slope = b.times(slope, std::f64::consts::SQRT_2);
        let through = b.mul(slope, by_square);
        b.add(sample, through)
    }
}

/// Returns sqrt(1 + x^2 / 9).
fn bend(b: &mut Builder, x: Tensor) -> Tensor {
    let part = b.times(x, 1.0 / squares::REACH);
    let square = b.mul(part, part);
    let sum = b.plus(square, 1.0);
    b.plain("Sqrt", &[sum])
}

/// Returns the squares that the network sees.
fn squared(b: &mut Builder, network: &Network, x: Tensor, time: Option<Tensor>) -> Result<Tensor> {
    let bend = bend(b, x);
    let under = b.plus(bend, 1.0);
    let part = b.plain("Div", &[x, under]);
    let product = b.mul(x, part);
    let square = b.times(product, std::f64::consts::SQRT_2);
    let centre = &network.centre;
    let start = b.columns(centre.start.iter().copied())?;
    let centred = b.sub(square, start);
    match time {
        Some(time) if centre.change.iter().any(|&change| change != 0.0) => {
            let change = b.columns(centre.change.iter().copied())?;
            let moved = b.mul(time, change);
            Ok(b.sub(centred, moved))
        }
        _ => Ok(centred),
    }
}
