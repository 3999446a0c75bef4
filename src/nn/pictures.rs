//! Convolutional networks for pictures: a value function and a generator of one kind of block.
//!
//! A block is the one of pre-activated residual networks (He, Zhang, Ren, Sun, *Identity Mappings in Deep Residual
//! Networks*, 2016) without normalisation: x + conv(f(modulate(conv(f(x))))), where the scale and the shift of each
//! channel come from an embedding of the time or of the latent. The second convolution begins at zero, so a block
//! begins as x. The value function ends in a linear map of all numbers of its coarsest picture, or of their sums over
//! pixels. The generator is a U-Net whose finer levels are added to what comes up (Ronneberger, Fischer, Brox, *U-Net*,
//! 2015). Where it changes a source picture, its last convolution sees that once more.

use super::graph::{Builder, Graph};
use super::picture_draft::{Draft, Picture};
use crate::device::Fixed;
use crate::device::layout::{Layout, Shape};
use crate::formulas::Activation;
use serde::{Deserialize, Serialize};

/// Channels are at most this many times those of the finest level.
const WIDEST: usize = 4;
/// The least side of a coarsest picture that is chosen by itself.
const COARSEST: usize = 4;
/// The largest coarsest picture, in pixels, that the value function ends in a linear map of. It sums over the pixels of
/// larger ones.
const MOST_FLAT: usize = 256;
/// How many times as fast as the source sample a generator with a range moves, in halves of the range, in what goes
/// through the hyperbolic tangent. A number of the source at the end of the range then begins at 0.9 of it, and others
/// are nowhere more than 0.14 off.
const STEEPNESS: f64 = 1.5;
/// Sides from which pixels are folded into channels once, and twice.
const FOLDED: [usize; 2] = [12, 128];
/// Ranges of what a host may ask for.
const MAX_CHANNELS: usize = 1024;
const MAX_LEVELS: usize = 6;
const MAX_BLOCKS: usize = 8;
/// The longest side of a picture. A sample has at most 2^24 numbers anyway.
const MAX_SIDE: usize = 1 << 24;

/// The form of a convolutional network.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Convolutions {
    /// Channels, height and width of a sample. All 0, the default, takes those of the samples' shape.
    #[serde(default)]
    pub picture: [usize; 3],
    /// Channels of the finest level, up to 1024. Coarser levels have twice as many each, up to four times. 0, the default:
    /// those of [`TINY`](Self::TINY) where a side is below 16, else of [`BASE`](Self::BASE) where one is above 64, else of
    /// [`SMALL`](Self::SMALL).
    pub channels: usize,
    /// Levels, up to 6, each with half of the sides of the one before. 0, the default: as many as leave sides of 4 or more.
    pub levels: usize,
    /// Residual blocks of each level, up to 8. 0, the default: those of the same preset as for `channels`.
    pub blocks: usize,
    /// Whether the generator adds what it computes to the source sample, as suits a translation between pictures. Without,
    /// it draws the picture anew, as suits a source of noise. Default true.
    pub residual: bool,
    /// The least and the largest number that the generator gives, in data units, such as those of black and white. The
    /// networks then see each number relative to the middle of this range. None, the default, leaves it without a range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<[f64; 2]>,
}

impl Default for Convolutions {
    fn default() -> Self {
        Self::of(0, 0)
    }
}

/// Which of the two networks is built.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Role {
    /// V(t, x), which is multiplied by this.
    Value(f64),
    /// The generator, with this many latents, and half of its range's length in the units that it sees.
    Generator(usize, Option<f64>),
}

/// The pictures inside of a network.
struct Levels {
    sample: Shape,
    /// Rows and columns with which all folds and levels have whole sides.
    padded: [usize; 2],
    folds: usize,
    count: usize,
}

impl Levels {
    /// Returns whether the coarsest picture has a pixel that is not made of padding alone.
    fn fit(&self) -> bool {
        self.sample.height.min(self.sample.width) >> (self.folds + self.count - 1) > 0
    }
}

impl Convolutions {
    /// 16 channels and one block a level.
    pub const TINY: Self = Self::of(16, 1);
    /// 32 channels and one block a level.
    pub const SMALL: Self = Self::of(32, 1);
    /// 64 channels and two blocks a level.
    pub const BASE: Self = Self::of(64, 2);

    /// The default but for these.
    const fn of(channels: usize, blocks: usize) -> Self {
        Self { picture: [0; 3], channels, levels: 0, blocks, residual: true, range: None }
    }

    /// Returns the preset for pictures of this size: TINY where a side is below 16, else BASE where one is above 64, else
    /// SMALL.
    fn preset(height: usize, width: usize) -> Self {
        match (height.min(width), height.max(width)) {
            (..16, _) => Self::TINY,
            (_, 65..) => Self::BASE,
            _ => Self::SMALL,
        }
    }

    /// Returns this form with the channels and blocks of a preset where it leaves them to be chosen.
    pub(crate) fn with_preset(self, preset: Self) -> Self {
        let or = |own: usize, preset: usize| if own == 0 { preset } else { own };
        Self { channels: or(self.channels, preset.channels), blocks: or(self.blocks, preset.blocks), ..self }
    }

    /// Checks the fields. An error is a sentence about the field at fault, with `prefix` before its name.
    ///
    /// # Errors
    /// The first field out of its range, with its value and the range.
    pub(crate) fn check(&self, prefix: &str) -> Result<(), String> {
        let sizes = [
            ("channels", self.channels, MAX_CHANNELS),
            ("levels", self.levels, MAX_LEVELS),
            ("blocks", self.blocks, MAX_BLOCKS),
        ];
        if let Some((name, n, most)) = sizes.into_iter().find(|(_, n, most)| n > most) {
            return Err(format!("{prefix}{name} is {n}, but must be from 0 to {most}"));
        }
        match self.range {
            // Written so that NaN is refused too.
            Some([low, high]) if !(low < high && low.abs().max(high.abs()) <= f64::from(f32::MAX)) => Err(format!(
                "{prefix}range is from {low:e} to {high:e}, but must begin below its end, inside the range of 32-bit numbers"
            )),
            _ => Ok(()),
        }
    }

    /// Returns the form for samples of this shape (channels, height and width, or height and width alone), with every
    /// number that was left to be chosen. An error has `prefix` before the names of fields.
    ///
    /// # Errors
    /// A shape that is no picture's, or more levels than such pictures have.
    pub(crate) fn of_samples(self, shape: &[usize], prefix: &str) -> Result<Self, String> {
        let picture = match *shape {
            [height, width] => [1, height, width],
            [channels, height, width] => [channels, height, width],
            _ => {
                return Err(format!(
                    "the samples have the shape {shape:?}, but convolutional networks take pictures of the shape \
                     [channels, height, width] or [height, width]"
                ));
            }
        };
        if self.picture != [0; 3] && self.picture != picture {
            return Err(format!("{prefix}picture is {:?}, but the samples have the shape {shape:?}", self.picture));
        }
        let [_, height, width] = picture;
        let (least, most) = (height.min(width), height.max(width));
        if least == 0 || most > MAX_SIDE {
            return Err(format!(
                "the samples have the shape {shape:?}, but convolutional networks take pictures with sides from 1 to \
                 {MAX_SIDE}"
            ));
        }
        let chosen = Self { picture, ..self.with_preset(Self::preset(height, width)) };
        let levels = chosen.levels();
        if !levels.fit() {
            return Err(format!(
                "{prefix}levels is {}, but pictures of {height} x {width} pixels have at most {}",
                levels.count,
                least.ilog2() as usize + 1 - levels.folds
            ));
        }
        Ok(Self { levels: levels.count, ..chosen })
    }

    /// Returns how many numbers a sample has; 0 where there are more than can be counted.
    pub(crate) fn numbers(&self) -> usize {
        self.picture.iter().try_fold(1usize, |all, &side| all.checked_mul(side)).unwrap_or(0)
    }

    fn levels(&self) -> Levels {
        let [channels, height, width] = self.picture;
        let least = height.min(width);
        let folds = FOLDED.iter().filter(|&&side| least >= side).count();
        let side = least >> folds;
        let own = (1..MAX_LEVELS).take_while(|level| side >> level >= COARSEST).count() + 1;
        let count = if self.levels == 0 { own } else { self.levels };
        let multiple = 1 << (folds + count - 1);
        let padded = [height, width].map(|side| side.next_multiple_of(multiple));
        Levels { sample: Shape { height, width, channels }, padded, folds, count }
    }

    fn width(&self, level: usize) -> usize {
        self.channels * (1 << level).min(WIDEST)
    }

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
        let mut draft = Draft { builder, activation, e, blocks: self.blocks };
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

    #[test]
    fn a_shape_that_is_no_picture_is_refused() {
        let form = Convolutions::default();
        assert_eq!(form.of_samples(&[16, 20], "").unwrap().picture, [1, 16, 20]);
        assert!(form.of_samples(&[16], "").unwrap_err().contains("[16]"));
        for sides in [[0, 5], [5, 0], [usize::MAX; 2], [1, usize::MAX], [1 << 25, 1]] {
            for levels in [0, 1, 6] {
                let form = Convolutions { levels, ..form };
                assert!(form.of_samples(&sides, "").unwrap_err().contains("sides from 1 to 16777216"), "{sides:?}");
            }
        }
        let many = form.of_samples(&[usize::MAX, 3, 3], "").unwrap();
        assert_eq!(many.numbers(), 0);
    }

    #[test]
    fn what_is_left_to_be_chosen_is_that_of_a_preset() {
        let chosen = |form: Convolutions, sides: [usize; 2]| {
            let form = form.of_samples(&sides, "").unwrap();
            [form.channels, form.blocks]
        };
        let automatic = Convolutions::default();
        for (sides, expected) in [
            ([15, 15], [16, 1]),
            ([15, 200], [16, 1]),
            ([16, 16], [32, 1]),
            ([64, 64], [32, 1]),
            ([65, 16], [64, 2]),
            ([128, 128], [64, 2]),
        ] {
            assert_eq!(chosen(automatic, sides), expected, "{sides:?}");
        }
        assert_eq!(chosen(Convolutions { channels: 5, ..automatic }, [128, 128]), [5, 2]);
        assert_eq!(chosen(Convolutions { blocks: 3, ..automatic }, [128, 128]), [64, 3]);
    }

    /// The deepest networks that a host may ask for are as many nodes as passes have flags for, or fewer.
    #[test]
    fn the_deepest_networks_have_flags_for_all_nodes() {
        let form = Convolutions { levels: MAX_LEVELS, blocks: MAX_BLOCKS, channels: 1, ..Convolutions::default() };
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
