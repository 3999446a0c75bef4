//! Convolutional networks for pictures: a value function and a generator of one kind of block.
//!
//! A block is the one of pre-activated residual networks (He, Zhang, Ren, Sun, *Identity Mappings in Deep Residual
//! Networks*, 2016) without normalisation: x + conv(f(modulate(conv(f(x))))), where the scale and the shift of each
//! channel come from an embedding of the time or of the latent. The second convolution begins at zero, so a block
//! begins as x. A generator may normalise groups of channels before the modulation, and let the pixels of its coarsest
//! picture attend to each other. The value function ends in a linear map of all numbers of its coarsest picture, or of
//! their sums over pixels. The generator is a U-Net whose finer levels are added to what comes up (Ronneberger, Fischer,
//! Brox, *U-Net*, 2015). Where it changes a source picture, its last convolution sees that once more.

use super::convolutions::Convolutions;
use super::graph::{Builder, Graph};
use super::picture_draft::{Draft, Picture};
use crate::device::Fixed;
use crate::device::layout::Layout;
use crate::formulas::Activation;

/// The largest coarsest picture, in pixels, that the value function ends in a linear map of. It sums over the pixels of
/// larger ones.
const MOST_FLAT: usize = 256;
/// How many times as fast as the source sample a generator with a range moves, in halves of the range, in what goes
/// through the hyperbolic tangent. A number of the source at the end of the range then begins at 0.9 of it, and others
/// are nowhere more than 0.14 off.
const STEEPNESS: f64 = 1.5;

/// Which of the two networks is built.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Role {
    /// V(t, x), which is multiplied by this.
    Value(f64),
    /// The generator, with this many latents, and half of its range's length in the units that it sees.
    Generator(usize, Option<f64>),
}

impl Convolutions {
    /// Returns the layers and the graph of a network.
    pub(crate) fn build(&self, role: Role, activation: Activation) -> (Layout, Graph) {
        let levels = self.levels();
        let sample = levels.sample.numbers();
        let beside = match role {
            Role::Value(_) => 1,
            Role::Generator(latent, _) => latent,
        };
        let mut builder = Builder::new(sample + beside, sample);
        let seen = if let Role::Value(_) = role { builder.waves() } else { builder.beside() };
        let embedding = 2 * self.channels;
        let mut e = seen;
        for _ in 0..2 {
            e = builder.dense(e, embedding);
            e = builder.activate(e, activation);
        }
        let whole = Picture { node: builder.fixed(0, Fixed::Interleave(levels.sample)), shape: levels.sample };
        let of_generator = |number: usize| if let Role::Generator(..) = role { number } else { 0 };
        let mut draft = Draft {
            builder,
            activation,
            e,
            blocks: self.blocks,
            upsampling: self.upsampling,
            norm_groups: of_generator(self.norm_groups),
        };
        let mut x = draft.pad(whole, levels.padded);
        for _ in 0..levels.folds {
            x = draft.fold(x);
        }
        let folded = x;
        x = draft.conv(x, self.width(0), 3);
        match role {
            Role::Value(factor) => {
                for level in 0..levels.count {
                    if level > 0 {
                        x = draft.pool(x);
                    }
                    x = draft.level(x, self.width(level));
                }
                let mut node = draft.builder.activate(x.node, activation);
                if x.shape.height * x.shape.width > MOST_FLAT {
                    node = draft.builder.fixed(node, Fixed::Sum(x.shape));
                }
                draft.builder.dense(node, 1);
                draft.builder.finish(factor)
            }
            Role::Generator(_, half) => {
                let mut finer = Vec::new();
                for level in 0..levels.count {
                    if level > 0 {
                        finer.push(x);
                        x = draft.pool(x);
                    }
                    x = draft.level(x, self.width(level));
                }
                if self.attention_heads > 0 {
                    x = draft.attend(x, self.attention_heads);
                }
                for (level, beside) in finer.into_iter().enumerate().rev() {
                    x = draft.enlarge(x);
                    x = draft.conv(x, self.width(level), 1);
                    x = Picture { node: draft.builder.sum(x.node, beside.node), ..x };
                    x = draft.level(x, self.width(level));
                }
                x = Picture { node: draft.builder.activate(x.node, activation), ..x };
                if self.residual {
                    // The source's details reach the end by the shortest way.
                    x = draft.join(x, folded);
                }
                x = draft.conv(x, levels.sample.channels << (2 * levels.folds), 3);
                for _ in 0..levels.folds {
                    x = draft.unfold(x);
                }
                let mut node = draft.crop(x, levels.sample);
                if let Some(half) = half {
                    if self.residual {
                        let source = draft.builder.fixed(whole.node, Fixed::Times(STEEPNESS / half));
                        node = draft.builder.sum(node, source);
                    }
                    node = draft.builder.activate(node, Activation::Tanh);
                    node = draft.builder.fixed(node, Fixed::Times(half));
                }
                if !self.residual || half.is_some() {
                    // The method reads the outputs as x1 - x0.
                    let less = draft.builder.fixed(whole.node, Fixed::Times(-1.0));
                    node = draft.builder.sum(node, less);
                }
                draft.builder.transposed(node, Fixed::Interleave(levels.sample));
                draft.builder.finish(1.0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::convolutions::{MAX_BLOCKS, MAX_LEVELS};
    use super::*;

    #[test]
    fn pictures_of_every_size_go_in_and_come_out() {
        for picture in [[1, 1, 1], [3, 5, 9], [1, 16, 16], [1, 28, 28], [3, 32, 32], [4, 33, 130], [3, 128, 160]] {
            for residual in [false, true] {
                let form =
                    Convolutions { residual, channels: 8, ..Convolutions::default() }.of_samples(&picture, "").unwrap();
                let (_, value) = form.build(Role::Value(2.0), Activation::Silu);
                let (_, generator) = form.build(Role::Generator(5, residual.then_some(2.0)), Activation::Silu);
                assert_eq!([value.inputs, value.outputs()], [form.numbers() + 1, 1]);
                assert_eq!([generator.inputs, generator.outputs()], [form.numbers() + 5, form.numbers()]);
            }
        }
    }

    /// The deepest networks that a host may ask for are as many nodes as passes have flags for, or fewer.
    #[test]
    fn the_deepest_networks_have_flags_for_all_nodes() {
        let form = Convolutions {
            levels: MAX_LEVELS,
            blocks: MAX_BLOCKS,
            channels: 1,
            norm_groups: 1,
            ..Convolutions::default()
        };
        let form = Convolutions { attention_heads: 1, ..form };
        for side in [127, 129, 260] {
            for residual in [false, true] {
                let form = Convolutions { residual, ..form }.of_samples(&[3, side, side], "").unwrap();
                for role in [Role::Value(1.0), Role::Generator(3, Some(1.0))] {
                    let (_, graph) = form.build(role, Activation::Silu);
                    assert!(graph.nodes.len() <= super::super::graph::MAX_NODES, "{} nodes", graph.nodes.len());
                }
            }
        }
    }
}
