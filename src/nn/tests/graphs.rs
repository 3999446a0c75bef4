//! Random graphs of layers.

use super::Problem;
use crate::device::layout::{Conv, Map, Shape};
use crate::device::{Attention, Fixed};
use crate::formulas::Activation;
use crate::nn::graph::Builder;
use crate::nn::network::Network;
use proptest::prelude::*;

/// A picture in a graph.
#[derive(Clone, Copy)]
struct Picture {
    node: usize,
    shape: Shape,
}

/// Grows a graph by what the numbers of `choice` say.
struct Grower {
    builder: Builder,
    embedding: usize,
    activation: Activation,
    /// Pictures that later ones may be joined with.
    seen: Vec<Picture>,
}

impl Grower {
    fn conv(&mut self, from: Picture, channels: usize, side: usize, stride: usize) -> Picture {
        let conv = Conv { from: from.shape, channels, side, stride };
        Picture { node: self.builder.layer(from.node, Map::Conv(conv)), shape: conv.to() }
    }

    fn fixed(&mut self, from: Picture, map: Fixed, shape: Shape) -> Picture {
        Picture { node: self.builder.fixed(from.node, map), shape }
    }

    fn grow(&mut self, from: Picture, choice: usize, number: usize) -> Picture {
        let Shape { height, width, channels } = from.shape;
        let even = height % 2 == 0 && width % 2 == 0;
        let of = |height, width, channels| Shape { height, width, channels };
        let side = 1 + number % 2 * 2;
        match choice {
            0 => self.conv(from, 1 + number % 5, side, 1),
            1 => self.conv(from, 1 + number % 5, side, 2),
            2 => Picture { node: self.builder.activate(from.node, self.activation), ..from },
            3 if even => self.fixed(from, Fixed::Pool(from.shape), of(height / 2, width / 2, channels)),
            4 if even => self.fixed(from, Fixed::Fold(from.shape), of(height / 2, width / 2, 4 * channels)),
            5 if height * width <= 16 => {
                self.fixed(from, Fixed::Enlarge(from.shape), of(2 * height, 2 * width, channels))
            }
            6 if channels % 4 == 0 => {
                let shape = of(2 * height, 2 * width, channels / 4);
                Picture { node: self.builder.transposed(from.node, Fixed::Fold(shape)), shape }
            }
            7 => {
                let to = [height + 1 + number % 3, width + 2];
                self.fixed(from, Fixed::Pad { part: from.shape, to }, of(to[0], to[1], channels))
            }
            8 => {
                let e = self.builder.dense(self.embedding, 2 * channels);
                Picture { node: self.builder.modulate(from.node, from.shape, e), ..from }
            }
            9 => {
                let more = self.builder.activate(from.node, self.activation);
                let more = self.conv(Picture { node: more, ..from }, channels, side, 1);
                Picture { node: self.builder.sum(from.node, more.node), ..from }
            }
            10 => {
                let with = self.seen.iter().rev().find(|seen| seen.shape.height == height && seen.shape.width == width);
                let Some(&with) = with else { return from };
                let node = self.builder.join((from.node, from.shape), (with.node, with.shape));
                Picture { node, shape: of(height, width, channels + with.shape.channels) }
            }
            11 if height * width <= 16 => {
                self.fixed(from, Fixed::Bilinear(from.shape), of(2 * height, 2 * width, channels))
            }
            12 => {
                let count = (1..=channels).rev().filter(|count| channels % count == 0).nth(number % 2).unwrap_or(1);
                Picture { node: self.builder.group_norm(from.node, from.shape, count), ..from }
            }
            13 if height * width <= 25 => {
                let of = Attention { shape: from.shape, heads: if channels % 2 == 0 { 1 + number % 2 } else { 1 } };
                let [q, k, v] = [(); 3].map(|()| self.conv(from, channels, 1, 1).node);
                // A picture may be compared with itself.
                let q = if number.is_multiple_of(3) { k } else { q };
                Picture { node: self.builder.attention([q, k, v], of), ..from }
            }
            _ => from,
        }
    }
}

/// Random graphs with this many outputs, beside whose sample an input has the time or a latent. Those of a `generator` may
/// have operations without a tangent.
pub(super) fn problems(outputs: impl Strategy<Value = usize>, generator: bool) -> impl Strategy<Value = Problem> {
    let shape =
        (1usize..7, 1usize..7, 1usize..4).prop_map(|(height, width, channels)| Shape { height, width, channels });
    let choices = proptest::collection::vec((0usize..if generator { 14 } else { 12 }, 0usize..30), 0..9);
    ((shape, 0usize..3), choices, outputs, 1usize..4, (0..Activation::ALL.len(), any::<bool>(), any::<u64>())).prop_map(
        |((shape, latent), choices, outputs, rows, (activation, sums, seed))| {
            let activation = Activation::ALL[activation];
            let sample = shape.numbers();
            let mut builder = Builder::new(sample + latent.max(1), sample);
            let beside = if latent == 0 { builder.waves() } else { builder.beside() };
            let embedding = builder.dense(beside, 4);
            let embedding = builder.activate(embedding, activation);
            let first = Picture { node: builder.fixed(0, Fixed::Interleave(shape)), shape };
            let mut grower = Grower { builder, embedding, activation, seen: vec![first] };
            let mut last = first;
            for (choice, number) in choices {
                last = grower.grow(last, choice, number);
                grower.seen.push(last);
                if last.shape.numbers() > 400 {
                    break;
                }
            }
            // Something must bend, or the derivative along a direction has no gradient to test.
            let mut builder = grower.builder;
            let mut node = builder.activate(last.node, activation);
            if sums {
                node = builder.fixed(node, Fixed::Sum(last.shape));
            }
            builder.dense(node, outputs);
            let (layout, graph) = builder.finish(0.7);
            Problem::new(Network::of_graph(layout, graph, activation), rows, seed)
        },
    )
}
