//! Pictures of a finite set that are drawn mirrored and moved.

use crate::error::{Error, Result};

/// How a picture of a finite set is changed whenever it is drawn, so that few of them stand for more. What is drawn is a
/// function of the seed, the step and the place in the batch. Only convolutional networks take it: others see each pixel in
/// units of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Augmentation {
    /// Whether one in two is mirrored, left to right.
    pub flip: bool,
    /// The most pixels by which a picture is moved along either side, evenly distributed: less than the shorter side has. Pixels
    /// of the edge are repeated.
    pub crop: u32,
}

impl Augmentation {
    /// Returns what is drawn of pictures of this shape, height and width last; `None` where all stay as they are. `side` ("source"
    /// or "target") names the argument in errors.
    pub(crate) fn of_samples(self, side: &str, shape: &[usize]) -> Result<Option<Changes>> {
        let Self { flip, crop } = self;
        if self == Self::default() {
            return Ok(None);
        }
        let set = if flip { format!("{side}.flip is 1") } else { format!("{side}.crop is {crop}") };
        let &([height, width] | [_, height, width]) = shape else {
            return Err(Error::invalid(format!(
                "{set}, which is for pictures of the shape [channels, height, width] or [height, width], but the samples have \
                 the shape {shape:?}"
            )));
        };
        let shorter = height.min(width);
        if crop as usize >= shorter {
            return Err(Error::invalid(format!(
                "{side}.crop is {crop}, but must be less than the shorter side of the pictures, {shorter}"
            )));
        }
        Ok(Some(Changes { height, width, flip, crop }))
    }
}

/// What may be drawn of pictures of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Changes {
    pub height: usize,
    pub width: usize,
    pub flip: bool,
    pub crop: u32,
}

impl Changes {
    /// Pixels of a channel.
    pub fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Writes a picture as these four evenly distributed words change it: the first one says whether it is mirrored, the second
    /// and the third how far what is seen moves to the right and down.
    pub fn apply(&self, words: [u32; 4], picture: &[f32], to: &mut [f32]) {
        let Self { height, width, .. } = *self;
        let mirrored = self.flip && words[0] >> 31 == 1;
        let [right, down] = [words[1], words[2]].map(|word| self.distance(word));
        let moved = |at: usize, by: i64, side: usize| (at as i64 + by).clamp(0, side as i64 - 1) as usize;
        for (picture, to) in picture.chunks_exact(self.pixels()).zip(to.chunks_exact_mut(self.pixels())) {
            for (row, to) in to.chunks_exact_mut(width).enumerate() {
                let from = &picture[moved(row, down, height) * width..][..width];
                for (column, to) in to.iter_mut().enumerate() {
                    let column = if mirrored { width - 1 - column } else { column };
                    *to = from[moved(column, right, width)];
                }
            }
        }
    }

    /// Returns a distance from -crop to crop.
    fn distance(&self, word: u32) -> i64 {
        let choices = 2 * u64::from(self.crop) + 1;
        ((u64::from(word) * choices) >> 32) as i64 - i64::from(self.crop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ONE_HALF: u32 = 1 << 31;

    fn changed(changes: &Changes, words: [u32; 4], picture: &[f32]) -> Vec<f32> {
        let mut to = vec![0.0; picture.len()];
        changes.apply(words, picture, &mut to);
        to
    }

    #[test]
    fn a_picture_is_mirrored_and_moved_channel_by_channel() {
        let both = Changes { height: 2, width: 3, flip: true, crop: 1 };
        let picture: Vec<f32> = (0..12).map(|i| i as f32).collect();
        assert_eq!(changed(&both, [0, ONE_HALF, ONE_HALF, 0], &picture), picture);
        let mirrored = [2.0, 1.0, 0.0, 5.0, 4.0, 3.0, 8.0, 7.0, 6.0, 11.0, 10.0, 9.0];
        assert_eq!(changed(&both, [ONE_HALF, ONE_HALF, ONE_HALF, 0], &picture), mirrored);
        let right = [1.0, 2.0, 2.0, 4.0, 5.0, 5.0, 7.0, 8.0, 8.0, 10.0, 11.0, 11.0];
        assert_eq!(changed(&both, [0, u32::MAX, ONE_HALF, 0], &picture), right);
        let up = [0.0, 1.0, 2.0, 0.0, 1.0, 2.0, 6.0, 7.0, 8.0, 6.0, 7.0, 8.0];
        assert_eq!(changed(&both, [0, ONE_HALF, 0, 0], &picture), up);
    }

    proptest! {
        /// Every pixel of the result is one of its channel's, and what flip and crop forbid does not happen.
        #[test]
        fn nothing_is_read_from_elsewhere(
            words in any::<[u32; 4]>(), height in 1usize..6, width in 1usize..6, flip in any::<bool>(), crop in 0u32..5,
        ) {
            let crop = crop.min(height.min(width) as u32 - 1);
            let changes = Changes { height, width, flip, crop };
            let picture: Vec<f32> = (0..2 * height * width).map(|i| i as f32).collect();
            let found = changed(&changes, words, &picture);
            prop_assert!(found.iter().enumerate().all(|(at, &x)| x as usize / changes.pixels() == at / changes.pixels()));
            if !flip && crop == 0 {
                prop_assert_eq!(found, picture);
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_with_the_argument() {
        let refused = |augmentation: Augmentation, shape: &[usize]| match augmentation.of_samples("target", shape) {
            Err(Error::InvalidArgument(text)) => text,
            other => panic!("{other:?}"),
        };
        assert!(
            refused(Augmentation { flip: true, crop: 0 }, &[7]).starts_with("target.flip is 1, which is for pictures")
        );
        assert!(
            refused(Augmentation { flip: false, crop: 4 }, &[3, 9, 4])
                .starts_with("target.crop is 4, but must be less than")
        );
        assert_eq!(Augmentation::default().of_samples("target", &[7]).expect("nothing to do"), None);
    }
}
