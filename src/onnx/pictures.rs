//! Networks whose layers form a graph, as operators. Pictures lie channel after channel here, as ONNX has them, where the
//! library has the channels of a pixel beside each other.

use super::activations::Activated;
use super::builder::{Attribute, Builder, Tensor};
use super::dense::{affine, parameters, transposed};
use crate::device::layout::{Conv, Layer, Map, Shape};
use crate::device::{Attention, Fixed, Groups, NORM_EPSILON};
use crate::error::Result;
use crate::memory;
use crate::nn::graph::{Graph, Op};
use crate::nn::network::Network;

const NODES: &str = "the nodes of a graph";

/// A node's tensor, and its size where it is a picture: rows x channels x height x width, otherwise rows x numbers.
#[derive(Clone, Copy)]
struct Value {
    tensor: Tensor,
    picture: Option<Shape>,
}

impl Value {
    fn of(shape: Shape, tensor: Tensor) -> Self {
        Self { tensor, picture: Some(shape) }
    }

    fn flat(tensor: Tensor) -> Self {
        Self { tensor, picture: None }
    }
}

/// A pass forward, and what a pass in reverse needs of it.
pub(super) struct Pass<'n> {
    graph: &'n Graph,
    network: &'n Network,
    values: Vec<Value>,
    /// Of nodes that are activations.
    activated: Vec<Option<Activated>>,
    /// Weights of layers.
    weights: Vec<Option<Tensor>>,
    pub output: Tensor,
}

impl<'n> Pass<'n> {
    /// Passes a sample as networks see it (rows x d), and what stands beside it: latents, or the time.
    pub fn forward<'a>(
        b: &mut Builder<'a>,
        (network, graph): (&'n Network, &'n Graph),
        weights: &'a [f32],
        sample: Tensor,
        beside: Tensor,
    ) -> Result<Self> {
        let mut pass = Self {
            graph,
            network,
            values: memory::with_room(NODES, graph.nodes.len())?,
            activated: memory::with_room(NODES, graph.nodes.len())?,
            weights: memory::filled(NODES, network.layout.layers.len(), None)?,
            output: sample,
        };
        for node in &graph.nodes {
            let [first, second] = node.from.map(|from| pass.values.get(from).copied());
            let a = || first.expect("nodes follow what they take");
            let mut activated = None;
            let value = match node.op {
                Op::Sample => Value::flat(sample),
                Op::Beside(..) => Value::flat(beside),
                Op::Waves => Value::flat(waves(b, beside)),
                Op::Layer(layer) => pass.layer(b, layer, weights, a())?,
                Op::Activate(kind) => {
                    let next = *activated.insert(Activated::new(b, kind, a().tensor));
                    Value { tensor: next.f, ..a() }
                }
                Op::Fixed(map, reverse) => fixed(b, &map, reverse, a()),
                Op::Add => Value { tensor: b.add(a().tensor, second.expect("a sum of two").tensor), ..a() },
                Op::Join(left, right) => {
                    let joined = Shape { channels: left.channels + right.channels, ..left };
                    Value::of(joined, b.concat(&[a().tensor, second.expect("two pictures").tensor]))
                }
                Op::Modulate(shape) => {
                    let e = second.expect("a scale and a shift").tensor;
                    let x = a().tensor;
                    let scaled = modulated(b, shape, x, e);
                    let shift = per_channel(b, shape, e, shape.channels);
                    Value::of(shape, b.add(scaled, shift))
                }
                Op::GroupNorm(groups) => Value::of(groups.shape, normalised(b, &groups, a().tensor)),
                Op::AttentionWeights(of) => {
                    Value::flat(attention_weights(b, &of, a().tensor, second.expect("two pictures").tensor))
                }
                Op::Attend(of) => {
                    let picture = second.expect("a picture").tensor;
                    Value::of(of.shape, attended(b, &of, a().tensor, picture))
                }
            };
            pass.values.push(value);
            pass.activated.push(activated);
        }
        let last = pass.values[graph.output()].tensor;
        pass.output = if graph.factor == 1.0 { last } else { b.times(last, graph.factor) };
        Ok(pass)
    }

    fn layer<'a>(&mut self, b: &mut Builder<'a>, number: usize, weights: &'a [f32], x: Value) -> Result<Value> {
        let layer = self.network.layout.layers[number];
        match layer.map {
            Map::Conv(conv) => {
                let [weight, bias] = conv_parameters(b, &layer, &conv, weights)?;
                self.weights[number] = Some(weight);
                let pad = (conv.side / 2) as i64;
                let attributes = [
                    ("kernel_shape", Attribute::Ints(&[conv.side as i64; 2])),
                    ("pads", Attribute::Ints(&[pad; 4])),
                    ("strides", Attribute::Ints(&[conv.stride as i64; 2])),
                ];
                Ok(Value::of(conv.to(), b.operator("Conv", &[x.tensor, weight, bias], &attributes)))
            }
            Map::Dense { .. } => {
                let parts = match x.picture {
                    Some(shape) => picture_parameters(b, &layer, shape, weights)?,
                    None => parameters(b, &layer, weights),
                };
                self.weights[number] = Some(parts[0]);
                let rows = match x.picture {
                    Some(shape) => b.reshape(x.tensor, &[shape.numbers()]),
                    None => x.tensor,
                };
                Ok(Value::flat(affine(b, rows, parts)))
            }
        }
    }

    /// Returns the gradient of a scalar output by the sample, rows x d.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub fn gradient(&self, b: &mut Builder) -> Result<Tensor> {
        let nodes = &self.graph.nodes;
        let mut deltas: Vec<Option<Tensor>> = memory::filled(NODES, nodes.len(), None)?;
        deltas[self.graph.output()] = Some(b.constant(&[1, 1], vec![self.graph.factor as f32]));
        for (n, node) in nodes.iter().enumerate().rev() {
            let (true, Some(delta)) = (node.moves, deltas[n]) else { continue };
            let [first, second] = node.from;
            let here = Value { tensor: delta, ..self.values[n] };
            let mut back: [Option<Tensor>; 2] = [None; 2];
            match node.op {
                Op::Sample => return Ok(delta),
                Op::Beside(..) | Op::Waves => unreachable!("nodes beside the sample do not depend on it"),
                Op::Layer(layer) => back[0] = Some(self.layer_reverse(b, layer, delta, self.values[first])),
                Op::Activate(_) => {
                    back[0] = Some(self.activated[n].expect("an activation").backward(b, delta));
                }
                Op::Fixed(map, reverse) => back[0] = Some(fixed(b, &map, !reverse, here).tensor),
                Op::Add => back = [Some(delta); 2],
                Op::Join(left, right) => {
                    let of = left.channels + right.channels;
                    back = [0..left.channels, left.channels..of].map(|range| Some(b.slice(delta, 1, range)));
                }
                Op::GroupNorm(_) | Op::AttentionWeights(_) | Op::Attend(_) => unreachable!("a generator alone has it"),
                Op::Modulate(shape) => back[0] = Some(modulated(b, shape, delta, self.values[second].tensor)),
            }
            for (from, part) in [first, second].into_iter().zip(back) {
                let Some(part) = part.filter(|_| nodes[from].moves) else { continue };
                deltas[from] = Some(match deltas[from] {
                    Some(sum) => b.add(sum, part),
                    None => part,
                });
            }
        }
        unreachable!("the first node is the sample")
    }

    fn layer_reverse(&self, b: &mut Builder, number: usize, delta: Tensor, x: Value) -> Tensor {
        let weight = self.weights[number].expect("the pass forward came by");
        match self.network.layout.layers[number].map {
            Map::Conv(conv) => {
                let pad = conv.side / 2;
                let to = conv.to();
                let missing = |from: usize, to: usize| (from + 2 * pad - ((to - 1) * conv.stride + conv.side)) as i64;
                let more = [missing(conv.from.height, to.height), missing(conv.from.width, to.width)];
                let attributes = [
                    ("kernel_shape", Attribute::Ints(&[conv.side as i64; 2])),
                    ("output_padding", Attribute::Ints(&more)),
                    ("pads", Attribute::Ints(&[pad as i64; 4])),
                    ("strides", Attribute::Ints(&[conv.stride as i64; 2])),
                ];
                b.operator("ConvTranspose", &[delta, weight], &attributes)
            }
            Map::Dense { .. } => {
                let flat = transposed(b, delta, weight);
                match x.picture {
                    Some(shape) => b.reshape(flat, &[shape.channels, shape.height, shape.width]),
                    None => flat,
                }
            }
        }
    }
}

/// Adds a convolution's weights, outputs x inputs x taps, and its biases.
fn conv_parameters<'a>(b: &mut Builder<'a>, layer: &Layer, conv: &Conv, weights: &'a [f32]) -> Result<[Tensor; 2]> {
    let (from, inputs, outputs, taps) = (&weights[layer.weights()], conv.from.channels, conv.channels, conv.taps());
    let numbers = (0..from.len()).map(|i| {
        let (output, rest) = (i / (inputs * taps), i % (inputs * taps));
        from[(rest % taps * inputs + rest / taps) * outputs + output]
    });
    let numbers = memory::collected("the weights of a convolution", numbers)?;
    let weight = b.constant(&[outputs, inputs, conv.side, conv.side], numbers);
    Ok([weight, b.constant(&[outputs], &weights[layer.biases()])])
}

/// Adds the weights of a dense layer that takes a picture, with its inputs channel after channel, and its biases.
fn picture_parameters<'a>(b: &mut Builder<'a>, layer: &Layer, shape: Shape, weights: &'a [f32]) -> Result<[Tensor; 2]> {
    let (from, outputs, pixels) = (&weights[layer.weights()], layer.outputs(), shape.height * shape.width);
    let numbers = (0..from.len()).map(|i| {
        let (input, output) = (i / outputs, i % outputs);
        from[(input % pixels * shape.channels + input / pixels) * outputs + output]
    });
    let numbers = memory::collected("the weights of a layer", numbers)?;
    let weight = b.constant(&[layer.inputs(), outputs], numbers);
    Ok([weight, b.constant(&[outputs], &weights[layer.biases()])])
}

/// Returns [2 t - 1, sin(pi t / 2), cos(pi t / 2)].
fn waves(b: &mut Builder, t: Tensor) -> Tensor {
    let double = b.times(t, 2.0);
    let line = b.plus(double, -1.0);
    let quarter = b.times(t, std::f64::consts::FRAC_PI_2);
    let [sine, cosine] = ["Sin", "Cos"].map(|kind| b.plain(kind, &[quarter]));
    b.concat(&[line, sine, cosine])
}

/// Returns the numbers that an embedding has for each channel, from the column `first` on, to be used with pictures.
fn per_channel(b: &mut Builder, shape: Shape, e: Tensor, first: usize) -> Tensor {
    let part = b.slice(e, 1, first..first + shape.channels);
    b.reshape(part, &[shape.channels, 1, 1])
}

/// Returns (1 + e_s) x.
fn modulated(b: &mut Builder, shape: Shape, x: Tensor, e: Tensor) -> Tensor {
    let scale = per_channel(b, shape, e, 0);
    let scale = b.plus(scale, 1.0);
    b.mul(x, scale)
}

/// Normalises groups of channels.
fn normalised(b: &mut Builder, groups: &Groups, x: Tensor) -> Tensor {
    let Groups { shape, count } = *groups;
    let lines = b.reshape(x, &[count, shape.numbers() / count]);
    let [one, zero] = [1.0, 0.0].map(|number| b.constant(&[count], vec![number; count]));
    // The operator's epsilon where none is named.
    const { assert!(NORM_EPSILON == 1e-5) };
    let unit = b.plain("InstanceNormalization", &[lines, one, zero]);
    b.reshape(unit, &[shape.channels, shape.height, shape.width])
}

/// Returns the weights of all heads, rows x heads x pixels x pixels.
fn attention_weights(b: &mut Builder, of: &Attention, q: Tensor, k: Tensor) -> Tensor {
    let [q, k] = [q, k].map(|x| b.reshape(x, &[of.heads, of.width(), of.positions()]));
    let q = turned(b, q);
    let scores = b.plain("MatMul", &[q, k]);
    let scores = b.times(scores, of.scale());
    b.plain("Softmax", &[scores])
}

/// Returns what the pixels take of a picture by their weights.
fn attended(b: &mut Builder, of: &Attention, weights: Tensor, picture: Tensor) -> Tensor {
    let picture = b.reshape(picture, &[of.heads, of.width(), of.positions()]);
    let weights = turned(b, weights);
    let taken = b.plain("MatMul", &[picture, weights]);
    b.reshape(taken, &[of.shape.channels, of.shape.height, of.shape.width])
}

/// Transposes the matrices of all heads.
fn turned(b: &mut Builder, x: Tensor) -> Tensor {
    b.operator("Transpose", &[x], &[("perm", Attribute::Ints(&[0, 1, 3, 2]))])
}

/// Applies a map without weights, or its transpose.
fn fixed(b: &mut Builder, map: &Fixed, reverse: bool, x: Value) -> Value {
    let half = |shape: Shape| Shape { height: shape.height / 2, width: shape.width / 2, ..shape };
    let twice = |shape: Shape| Shape { height: 2 * shape.height, width: 2 * shape.width, ..shape };
    let sizes = |shape: Shape| [shape.channels, shape.height, shape.width];
    match (*map, reverse) {
        (Fixed::Times(factor), _) => Value { tensor: b.times(x.tensor, factor), ..x },
        (Fixed::Interleave(shape), false) => Value::of(shape, b.reshape(x.tensor, &sizes(shape))),
        (Fixed::Interleave(shape), true) => Value::flat(b.reshape(x.tensor, &[shape.numbers()])),
        (Fixed::Pool(shape), false) => Value::of(half(shape), pool(b, x.tensor)),
        (Fixed::Pool(shape), true) => {
            let large = enlarge(b, x.tensor);
            Value::of(shape, b.times(large, 0.25))
        }
        (Fixed::Enlarge(shape), false) => Value::of(twice(shape), enlarge(b, x.tensor)),
        (Fixed::Enlarge(shape), true) => {
            let small = pool(b, x.tensor);
            Value::of(shape, b.times(small, 4.0))
        }
        (Fixed::Bilinear(shape), false) => Value::of(twice(shape), interpolated(b, x.tensor)),
        (Fixed::Bilinear(_), true) => unreachable!("the value function has no finer levels to come to"),
        (Fixed::Fold(shape), false) => {
            let folded = b.operator("SpaceToDepth", &[x.tensor], &[("blocksize", Attribute::Int(2))]);
            Value::of(Shape { channels: 4 * shape.channels, ..half(shape) }, folded)
        }
        (Fixed::Fold(shape), true) => {
            let attributes = [("blocksize", Attribute::Int(2)), ("mode", Attribute::Text("DCR"))];
            Value::of(shape, b.operator("DepthToSpace", &[x.tensor], &attributes))
        }
        (Fixed::Pad { part, to: [height, width] }, false) => {
            let (top, left) = ((height - part.height) / 2, (width - part.width) / 2);
            let (bottom, right) = (height - part.height - top, width - part.width - left);
            let edges = b.list(&[0, 0, top as i64, left as i64, 0, 0, bottom as i64, right as i64]);
            Value::of(Shape { height, width, ..part }, b.plain("Pad", &[x.tensor, edges]))
        }
        (Fixed::Pad { part, to: [height, width] }, true) => {
            let (top, left) = ((height - part.height) / 2, (width - part.width) / 2);
            let rows = b.slice(x.tensor, 2, top..top + part.height);
            Value::of(part, b.slice(rows, 3, left..left + part.width))
        }
        (Fixed::Sum(_), false) => {
            let columns = b.sum(x.tensor, 3, false);
            Value::flat(b.sum(columns, 2, false))
        }
        (Fixed::Sum(shape), true) => {
            let one = b.reshape(x.tensor, &[shape.channels, 1, 1]);
            let whole = b.list(&[1, 1, shape.height as i64, shape.width as i64]);
            Value::of(shape, b.plain("Expand", &[one, whole]))
        }
        (Fixed::Join { .. }, _) => unreachable!("parts of a join are no nodes"),
    }
}

/// Takes the mean of each square of 2 x 2 pixels.
fn pool(b: &mut Builder, x: Tensor) -> Tensor {
    let attributes = [("kernel_shape", Attribute::Ints(&[2, 2])), ("strides", Attribute::Ints(&[2, 2]))];
    b.operator("AveragePool", &[x], &attributes)
}

/// Repeats each pixel in a square of 2 x 2.
fn enlarge(b: &mut Builder, x: Tensor) -> Tensor {
    let attributes = [
        ("coordinate_transformation_mode", Attribute::Text("asymmetric")),
        ("mode", Attribute::Text("nearest")),
        ("nearest_mode", Attribute::Text("floor")),
    ];
    doubled(b, x, &attributes)
}

/// Doubles the sides by linear interpolation along each.
fn interpolated(b: &mut Builder, x: Tensor) -> Tensor {
    let attributes =
        [("coordinate_transformation_mode", Attribute::Text("half_pixel")), ("mode", Attribute::Text("linear"))];
    doubled(b, x, &attributes)
}

fn doubled(b: &mut Builder, x: Tensor, attributes: &[(&str, Attribute)]) -> Tensor {
    let scales = b.constant(&[4], vec![1.0, 1.0, 2.0, 2.0]);
    b.operator("Resize", &[x, Tensor::NONE, scales], attributes)
}
