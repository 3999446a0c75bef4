//! How a convolution by minimal filtering is cut into parts that threads compute: into squares, or where those are few into
//! columns of the weights, for which every part transforms the same pixels.

use std::ops::Range;

/// The most squares that are transformed at a time: a multiple of the rows of every register tile.
pub(super) const GROUP: usize = 24;

/// Some squares of all pictures, and some columns of the weights, a whole number of panels but at their end.
#[derive(Clone)]
pub(super) struct Part {
    pub squares: Range<usize>,
    pub columns: Range<usize>,
}

/// How a convolution is cut into parts.
pub(super) struct Cuts {
    squares: usize,
    columns: usize,
    /// Squares and columns of a part.
    part: [usize; 2],
}

/// What a part costs beside its products, in squares.
const PART_COST: f64 = 2.0;
/// What it costs to transform the same pixels in each part, over the products.
const TWICE: f64 = 1.1;

impl Cuts {
    /// Cuts so many squares and columns, of which a panel has `width`, for so many threads.
    pub fn new(squares: usize, columns: usize, width: usize, threads: usize) -> Self {
        let panels = columns.div_ceil(width);
        let of_squares = |size: usize| (squares.div_ceil(size).div_ceil(threads) as f64) * (size as f64 + PART_COST);
        let size = [GROUP, 16, 8].into_iter().min_by(|&a, &b| of_squares(a).total_cmp(&of_squares(b))).unwrap_or(GROUP);
        let each = panels.div_ceil(threads);
        let of_columns = (squares as f64 * TWICE + PART_COST) * each as f64 / panels as f64;
        let part = match threads {
            1 => [squares, columns],
            _ if of_columns < of_squares(size).min(squares as f64) => [squares, each * width],
            _ => [size, columns],
        };
        Self { squares, columns, part }
    }

    fn counts(&self) -> [usize; 2] {
        [self.squares.div_ceil(self.part[0]), self.columns.div_ceil(self.part[1])]
    }

    /// Returns the number of parts.
    pub fn count(&self) -> usize {
        self.counts().iter().product()
    }

    /// Returns a part by its number.
    pub fn part(&self, number: usize) -> Part {
        let [along, _] = self.counts();
        let range = |number: usize, size: usize, all: usize| number * size..all.min((number + 1) * size);
        Part {
            squares: range(number % along, self.part[0], self.squares),
            columns: range(number / along, self.part[1], self.columns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_are_all_squares_and_columns_once(
            squares in 1usize..300, columns in 1usize..150, width in prop::sample::select(vec![16, 32]), threads in 1usize..9,
        ) {
            let cuts = Cuts::new(squares, columns, width, threads);
            let mut seen = vec![0; squares * columns];
            for number in 0..cuts.count() {
                let Part { squares, columns: part } = cuts.part(number);
                prop_assert!(!squares.is_empty() && !part.is_empty() && part.start.is_multiple_of(width));
                for square in squares {
                    part.clone().for_each(|column| seen[square * columns + column] += 1);
                }
            }
            prop_assert!(seen.iter().all(|&times| times == 1));
            prop_assert!(threads > 1 || cuts.count() == 1);
        }
    }

    #[test]
    fn two_threads_get_as_much() {
        for (squares, columns) in [(256, 32), (64, 64), (16, 128), (4, 128)] {
            let cuts = Cuts::new(squares, columns, 32, 2);
            let size = |number: usize| cuts.part(number).squares.len() * cuts.part(number).columns.len();
            assert!(cuts.count().is_multiple_of(2) && (1..cuts.count()).all(|number| size(number) == size(0)));
        }
    }
}
