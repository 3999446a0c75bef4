//! The form of a convolutional network: what a host chooses about it, and what is chosen for a picture's size.

use crate::device::layout::Shape;
use serde::{Deserialize, Serialize};

/// Channels are at most this many times those of the finest level.
const WIDEST: usize = 4;
/// The least side of a coarsest picture that is chosen by itself.
const COARSEST: usize = 4;
/// Sides from which pixels are folded into channels once, and twice.
const FOLDED: [usize; 2] = [12, 128];
/// Ranges of what a host may ask for.
const MAX_CHANNELS: usize = 1024;
pub(super) const MAX_LEVELS: usize = 6;
pub(super) const MAX_BLOCKS: usize = 8;
/// The longest side of a picture. A sample has at most 2^24 numbers anyway.
const MAX_SIDE: usize = 1 << 24;
const MAX_HEADS: usize = 16;
/// The most pixels between which there may be attention. It keeps a number for every two of them.
const MOST_POSITIONS: usize = 1024;

/// How a generator comes from a level to the next finer one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Upsampling {
    /// Each pixel is repeated in a square of 2 x 2.
    #[default]
    Nearest,
    /// Each pixel is interpolated between the four nearest ones, of which those of the edge are repeated.
    Bilinear,
}

/// Returns whether a field has its default, which files leave out.
fn is_default<T: Default + PartialEq>(field: &T) -> bool {
    *field == T::default()
}

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
    /// How the generator comes to finer levels. Means nothing for the value function, which has none behind its coarsest.
    /// Default nearest.
    #[serde(default, skip_serializing_if = "is_default")]
    pub upsampling: Upsampling,
    /// Groups of channels that each block of the generator normalises in each picture, before its modulation. It has to
    /// divide `channels`. 0, the default, normalises nothing. A value function has to have 0.
    #[serde(default, skip_serializing_if = "is_default")]
    pub norm_groups: usize,
    /// Heads of the self-attention between the pixels of the generator's coarsest picture, up to 16. They share its
    /// channels evenly. 0, the default, is without. A value function has to have 0.
    #[serde(default, skip_serializing_if = "is_default")]
    pub attention_heads: usize,
}

impl Default for Convolutions {
    fn default() -> Self {
        Self::of(0, 0)
    }
}

/// The pictures inside of a network.
pub(super) struct Levels {
    pub sample: Shape,
    /// Rows and columns with which all folds and levels have whole sides.
    pub padded: [usize; 2],
    pub folds: usize,
    pub count: usize,
}

impl Levels {
    /// Returns whether the coarsest picture has a pixel that is not made of padding alone.
    fn fit(&self) -> bool {
        self.sample.height.min(self.sample.width) >> (self.folds + self.count - 1) > 0
    }
}

impl Levels {
    /// Returns how many pixels the coarsest picture has.
    fn coarsest(&self) -> usize {
        let [height, width] = self.padded.map(|side| side >> (self.folds + self.count - 1));
        height.saturating_mul(width)
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
        Self {
            picture: [0; 3],
            channels,
            levels: 0,
            blocks,
            residual: true,
            range: None,
            upsampling: Upsampling::Nearest,
            norm_groups: 0,
            attention_heads: 0,
        }
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
            ("attention_heads", self.attention_heads, MAX_HEADS),
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
        chosen.check_groups(prefix)?;
        chosen.check_heads(&levels, prefix)?;
        Ok(Self { levels: levels.count, ..chosen })
    }

    fn check_groups(&self, prefix: &str) -> Result<(), String> {
        let Self { channels, norm_groups, .. } = *self;
        if norm_groups > 0 && !channels.is_multiple_of(norm_groups) {
            return Err(format!(
                "{prefix}norm_groups is {norm_groups}, but must be 0 or divide the {channels} channels of the finest level"
            ));
        }
        Ok(())
    }

    fn check_heads(&self, levels: &Levels, prefix: &str) -> Result<(), String> {
        let heads = self.attention_heads;
        let [channels, pixels] = [self.width(levels.count - 1), levels.coarsest()];
        if heads == 0 {
            Ok(())
        } else if !channels.is_multiple_of(heads) {
            Err(format!(
                "{prefix}attention_heads is {heads}, but must be 0 or divide the {channels} channels of the coarsest level"
            ))
        } else if pixels > MOST_POSITIONS {
            Err(format!(
                "{prefix}attention_heads is {heads}, but must be 0 where the coarsest level has {pixels} pixels: with attention \
                 it may have {MOST_POSITIONS}, and more levels make it smaller"
            ))
        } else {
            Ok(())
        }
    }

    /// Checks that the value function has nothing that a generator alone may have. An error has `prefix` before the names
    /// of fields.
    ///
    /// # Errors
    /// The first field that says otherwise.
    pub(crate) fn check_value(&self, prefix: &str) -> Result<(), String> {
        let fields = [("norm_groups", self.norm_groups), ("attention_heads", self.attention_heads)];
        match fields.into_iter().find(|&(_, number)| number > 0) {
            None => Ok(()),
            Some((name, number)) => Err(format!(
                "{prefix}{name} is {number}, but must be 0: a generator alone has it, as the value function is trained by its \
                 slope too"
            )),
        }
    }

    /// Returns whether it has a layer that libraries of before [`LAYERS`](crate::file::kind::LAYERS) do not know.
    pub(crate) fn has_new_layers(&self) -> bool {
        !is_default(&self.upsampling) || self.norm_groups > 0 || self.attention_heads > 0
    }

    /// Returns the channels of a level.
    pub(super) fn width(&self, level: usize) -> usize {
        self.channels * (1 << level).min(WIDEST)
    }

    /// Returns how many numbers a sample has; 0 where there are more than can be counted.
    pub(crate) fn numbers(&self) -> usize {
        self.picture.iter().try_fold(1usize, |all, &side| all.checked_mul(side)).unwrap_or(0)
    }

    pub(super) fn levels(&self) -> Levels {
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
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn groups_of_channels_divide_them_and_are_the_generators_alone() {
        let form = Convolutions { norm_groups: 3, ..Convolutions::TINY };
        let refused = form.of_samples(&[8, 8], "generator_network.").unwrap_err();
        assert_eq!(
            refused,
            "generator_network.norm_groups is 3, but must be 0 or divide the 16 channels of the finest level"
        );
        let form = Convolutions { norm_groups: 4, ..form };
        assert_eq!(form.of_samples(&[8, 8], "").unwrap().norm_groups, 4);
        let refused = form.check_value("value_network.").unwrap_err();
        assert!(refused.starts_with("value_network.norm_groups is 4, but must be 0: a generator alone"), "{refused}");
    }

    #[test]
    fn heads_share_channels_of_a_small_coarsest_picture() {
        let form = Convolutions { attention_heads: 4, ..Convolutions::TINY };
        assert_eq!(form.of_samples(&[8, 8], "").unwrap().attention_heads, 4);
        let refused = Convolutions { attention_heads: 5, ..form }.of_samples(&[8, 8], "").unwrap_err();
        assert_eq!(refused, "attention_heads is 5, but must be 0 or divide the 32 channels of the coarsest level");
        let refused = Convolutions { levels: 1, ..form }.of_samples(&[80, 80], "generator_network.").unwrap_err();
        assert!(refused.starts_with("generator_network.attention_heads is 4, but must be 0 where"), "{refused}");
        assert!(refused.contains("1600 pixels") && refused.contains("1024"), "{refused}");
        let refused = Convolutions { attention_heads: 17, ..form }.check("").unwrap_err();
        assert_eq!(refused, "attention_heads is 17, but must be from 0 to 16");
        let refused = form.check_value("value_network.").unwrap_err();
        assert!(refused.starts_with("value_network.attention_heads is 4, but must be 0"), "{refused}");
        let huge = Convolutions { levels: 1, ..form }.of_samples(&[1 << 24, 1 << 24], "").unwrap_err();
        assert!(huge.contains("attention_heads"), "{huge}");
    }

    /// Older libraries refuse files by their version, and files of networks that they know are what they were.
    #[test]
    fn files_name_new_layers_alone() {
        let text = |form: &Convolutions| serde_json::to_string(form).unwrap();
        let form = Convolutions::TINY;
        assert_eq!(text(&form), r#"{"picture":[0,0,0],"channels":16,"levels":0,"blocks":1,"residual":true}"#);
        assert!(!form.has_new_layers());
        for form in [
            Convolutions { norm_groups: 2, ..form },
            Convolutions { attention_heads: 2, ..form },
            Convolutions { upsampling: Upsampling::Bilinear, ..form },
        ] {
            assert!(form.has_new_layers());
            assert_eq!(serde_json::from_str::<Convolutions>(&text(&form)).unwrap(), form);
        }
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
}
