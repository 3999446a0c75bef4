//! Which of many samples are measured where measuring all would take too long.

use crate::rng::{Sequence, Stream};

/// The largest number of samples that are picked, and of their numbers.
pub const MOST_ROWS: usize = 1 << 16;
const MOST_NUMBERS: usize = 1 << 22;
/// The largest number of samples where many are wanted, which have few numbers.
const MANY_ROWS: usize = 1 << 18;

/// One sample out of each whole stretch of `every`.
#[derive(Clone, Copy, Debug)]
pub struct Picks {
    /// Length of a stretch.
    pub every: usize,
    /// How many stretches there are.
    pub count: usize,
}

impl Picks {
    /// Returns what is picked of so many samples.
    pub fn of(count: usize, dimension: usize) -> Self {
        Self::at_most(MOST_ROWS.min(MOST_NUMBERS / dimension), count)
    }

    /// Returns what is picked where many are wanted.
    pub fn many_of(count: usize) -> Self {
        Self::at_most(MANY_ROWS, count)
    }

    fn at_most(most: usize, count: usize) -> Self {
        let every = count.div_ceil(most).max(1);
        Self { every, count: count / every }
    }

    /// Returns the number of the sample that is picked out of this stretch.
    pub fn row(self, stretch: usize) -> usize {
        drawn(stretch, self.every)
    }
}

/// Returns which of `count` rows are picked where there is one for each stretch of `every`. Of a last stretch that is not
/// whole there may be none.
pub fn picked(count: usize, every: usize) -> impl Iterator<Item = usize> {
    (0..count.div_ceil(every)).map(move |stretch| drawn(stretch, every)).filter(move |&row| row < count)
}

/// Returns a row of this stretch of `every` rows. It is drawn, as classes of samples may take turns. The kernel samples_pick
/// draws the same.
pub fn drawn(stretch: usize, every: usize) -> usize {
    stretch * every + Sequence::new(0, 2, Stream::Init).block(stretch as u64)[0] as usize % every
}
