//! A graph of pictures while it is being built: each step takes pictures and gives one with its size.

use super::convolutions::Upsampling;
use super::graph::Builder;
use crate::device::layout::{Conv, Map, Shape};
use crate::device::{Attention, Fixed};
use crate::formulas::Activation;

/// A picture in a graph.
#[derive(Clone, Copy)]
pub(super) struct Picture {
    pub node: usize,
    pub shape: Shape,
}

/// A graph that is being built, and what its blocks have in common.
pub(super) struct Draft {
    pub builder: Builder,
    pub activation: Activation,
    /// The embedding.
    pub e: usize,
    /// Blocks of a level.
    pub blocks: usize,
    pub upsampling: Upsampling,
    /// Groups of channels that a block normalises before its modulation, 0 for none.
    pub norm_groups: usize,
}

impl Draft {
    pub fn conv(&mut self, x: Picture, channels: usize, side: usize) -> Picture {
        let conv = Conv { from: x.shape, channels, side, stride: 1 };
        Picture { node: self.builder.layer(x.node, Map::Conv(conv)), shape: conv.to() }
    }

    /// Returns the residual blocks of a level.
    pub fn level(&mut self, mut x: Picture, channels: usize) -> Picture {
        for _ in 0..self.blocks {
            x = self.block(x, channels);
        }
        x
    }

    fn block(&mut self, x: Picture, channels: usize) -> Picture {
        let mut inner = Picture { node: self.builder.activate(x.node, self.activation), ..x };
        inner = self.conv(inner, channels, 3);
        inner = self.norm(inner);
        let e = self.builder.dense(self.e, 2 * channels);
        let node = self.builder.modulate(inner.node, inner.shape, e);
        inner.node = self.builder.activate(node, self.activation);
        inner = self.conv(inner, channels, 3);
        self.builder.begin_at_zero();
        let skip = if x.shape.channels == channels { x } else { self.conv(x, channels, 1) };
        Picture { node: self.builder.sum(skip.node, inner.node), ..inner }
    }

    /// Returns the picture with its groups of channels normalised, where the network has that.
    pub fn norm(&mut self, x: Picture) -> Picture {
        match self.norm_groups {
            0 => x,
            count => Picture { node: self.builder.group_norm(x.node, x.shape, count), ..x },
        }
    }

    /// Returns x and what its pixels take of each other, in so many heads. It begins as x.
    pub fn attend(&mut self, x: Picture, heads: usize) -> Picture {
        let (seen, channels) = (self.norm(x), x.shape.channels);
        let of_pixels = [(); 3].map(|()| self.conv(seen, channels, 1).node);
        let node = self.builder.attention(of_pixels, Attention { shape: x.shape, heads });
        let taken = self.conv(Picture { node, ..x }, channels, 1);
        self.builder.begin_at_zero();
        Picture { node: self.builder.sum(x.node, taken.node), ..x }
    }

    pub fn join(&mut self, a: Picture, b: Picture) -> Picture {
        let node = self.builder.join((a.node, a.shape), (b.node, b.shape));
        Picture { node, shape: Shape { channels: a.shape.channels + b.shape.channels, ..a.shape } }
    }

    pub fn pad(&mut self, x: Picture, to: [usize; 2]) -> Picture {
        let shape = Shape { height: to[0], width: to[1], ..x.shape };
        if shape == x.shape {
            return x;
        }
        Picture { node: self.builder.fixed(x.node, Fixed::Pad { part: x.shape, to }), shape }
    }

    pub fn crop(&mut self, x: Picture, part: Shape) -> usize {
        let to = [x.shape.height, x.shape.width];
        if x.shape == part { x.node } else { self.builder.transposed(x.node, Fixed::Pad { part, to }) }
    }

    pub fn fold(&mut self, x: Picture) -> Picture {
        let Shape { height, width, channels } = x.shape;
        let shape = Shape { height: height / 2, width: width / 2, channels: 4 * channels };
        Picture { node: self.builder.fixed(x.node, Fixed::Fold(x.shape)), shape }
    }

    pub fn unfold(&mut self, x: Picture) -> Picture {
        let Shape { height, width, channels } = x.shape;
        let shape = Shape { height: 2 * height, width: 2 * width, channels: channels / 4 };
        Picture { node: self.builder.transposed(x.node, Fixed::Fold(shape)), shape }
    }

    pub fn pool(&mut self, x: Picture) -> Picture {
        let shape = Shape { height: x.shape.height / 2, width: x.shape.width / 2, ..x.shape };
        Picture { node: self.builder.fixed(x.node, Fixed::Pool(x.shape)), shape }
    }

    pub fn enlarge(&mut self, x: Picture) -> Picture {
        let shape = Shape { height: 2 * x.shape.height, width: 2 * x.shape.width, ..x.shape };
        let map = match self.upsampling {
            Upsampling::Nearest => Fixed::Enlarge(x.shape),
            Upsampling::Bilinear => Fixed::Bilinear(x.shape),
        };
        Picture { node: self.builder.fixed(x.node, map), shape }
    }
}
