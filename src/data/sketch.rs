//! A part of a side's samples, one drawn out of each stretch of as many, from which is measured what takes more than one
//! number a component.

use super::moments::Spread;
use super::picks::{Picks, drawn, picked};
use super::resident::Resident;
use super::split::Split;
use crate::error::Result;
use crate::memory;
use crate::symmetric::Symmetric;

/// The largest dimension of samples whose axes are looked for. Beyond it the covariances would take too long.
pub const MOST_AXES: usize = 512;
/// The largest numbers of samples to which clusters are fitted, and of their numbers.
const SPLIT_ROWS: usize = 1 << 15;
const SPLIT_NUMBERS: usize = 1 << 21;

const MEMORY: &str = "the samples' covariance";

/// See the module.
#[derive(Debug)]
pub struct Sketch {
    dimension: usize,
    picks: Picks,
    /// Values in data units, row after row.
    rows: Vec<f64>,
    /// The weight of each row; none where all weigh the same.
    weights: Vec<f64>,
}

/// What is known of both sides beyond their means and variances, in units of a normalisation, for samples of few
/// numbers.
pub(crate) struct Shapes {
    /// All covariances of the source and of the target.
    pub covariances: [Symmetric; 2],
    /// Those of the target as the samples tell them that are not held back.
    pub fitted: Symmetric,
    /// Samples of the target.
    pub target: Split,
    /// What was picked of the target, in data units.
    pub picked: Sketch,
    /// More samples of both sides in data units, where peaks are to be fitted to them.
    pub many: Option<[Sketch; 2]>,
    /// Whether all samples of both sides can be turned to other axes in reasonable time.
    pub turnable: bool,
    /// The largest correlation that is taken for chance.
    pub chance: f64,
    /// The component of the source and that of the target with the heaviest tails, with their kurtosis.
    pub heaviest: [(usize, f64); 2],
}

impl Sketch {
    /// Returns the bytes of [`Self::whole`] of a sketch of so many samples, or with `many` of one of many.
    pub fn bytes(count: usize, dimension: usize, many: bool) -> usize {
        if dimension > MOST_AXES {
            return 0;
        }
        let picks = if many { Picks::many_of(count) } else { Picks::of(count, dimension) };
        Self::row_bytes(dimension) * picks.count
    }

    /// Returns the bytes of [`Self::split`] of a sketch of so many samples.
    pub fn split_bytes(count: usize, dimension: usize) -> usize {
        if dimension > MOST_AXES {
            return 0;
        }
        let rows = Picks::of(count, dimension).count.min((SPLIT_NUMBERS / dimension).clamp(1, SPLIT_ROWS));
        Self::row_bytes(dimension) * rows
    }

    /// Returns the bytes of a row with its weight and whether it is held back.
    fn row_bytes(dimension: usize) -> usize {
        (dimension + 1) * size_of::<f64>() + size_of::<bool>()
    }

    /// Returns a sketch of `count` samples without any yet, or None for samples of too many numbers.
    pub fn new(count: usize, dimension: usize) -> Result<Option<Self>> {
        if dimension > MOST_AXES { Ok(None) } else { Self::of(dimension, Picks::of(count, dimension)).map(Some) }
    }

    /// Returns a sketch of many of `count` samples without any yet.
    pub fn of_many(count: usize, dimension: usize) -> Result<Self> {
        Self::of(dimension, Picks::many_of(count))
    }

    fn of(dimension: usize, picks: Picks) -> Result<Self> {
        Ok(Self { dimension, picks, rows: memory::with_room(MEMORY, picks.count * dimension)?, weights: Vec::new() })
    }

    /// Takes the samples that are picked of what a device holds, with the weights of all of them.
    pub fn take(&mut self, samples: &dyn Resident, weights: Option<&[f64]>) -> Result<()> {
        // Before there are as many again.
        self.rows = Vec::new();
        self.rows = samples.pick(self.picks)?;
        self.weigh(weights)
    }

    /// Picks from a block of samples of which `first` is the number of the first.
    pub fn add(&mut self, first: usize, block: &[f64]) {
        let (picks, d) = (self.picks, self.dimension);
        let end = first + block.len() / d;
        let stretches = first / picks.every..end.div_ceil(picks.every).min(picks.count);
        for row in stretches.map(|stretch| picks.row(stretch)).filter(|row| (first..end).contains(row)) {
            self.rows.extend_from_slice(&block[(row - first) * d..][..d]);
        }
    }

    /// Takes the weights of all samples.
    pub fn weigh(&mut self, weights: Option<&[f64]>) -> Result<()> {
        if let Some(weights) = weights {
            self.weights = memory::collected(MEMORY, (0..self.picks.count).map(|s| weights[self.picks.row(s)]))?;
        }
        Ok(())
    }

    /// Returns the component with the heaviest tails, and its kurtosis: 3 for a Gaussian.
    pub fn heaviest(&self) -> Result<(usize, f64)> {
        let d = self.dimension;
        let zeros = || memory::filled(MEMORY, d, 0.0);
        let (mut mean, mut squares, mut fourths) = (zeros()?, zeros()?, zeros()?);
        let rows = || self.rows.chunks_exact(d).enumerate().map(|(r, row)| (row, self.weight(r)));
        let weight: f64 = rows().map(|(_, w)| w).sum();
        for (row, w) in rows() {
            mean.iter_mut().zip(row).for_each(|(mean, x)| *mean += w / weight * x);
        }
        for (row, w) in rows() {
            for ((x, mean), (square, fourth)) in row.iter().zip(&mean).zip(squares.iter_mut().zip(&mut fourths)) {
                let away = (x - mean).powi(2);
                *square += w / weight * away;
                *fourth += w / weight * away * away;
            }
        }
        let mut heaviest = (0, 0.0);
        let mut column = memory::with_room(MEMORY, self.rows.len() / d)?;
        for (j, (square, fourth)) in squares.iter().zip(&fourths).enumerate() {
            let kurtosis = fourth / (square * square);
            // A constant component has none. One that mostly has one value, such as a switch that is rarely on, has no
            // tails.
            if kurtosis > heaviest.1 {
                column.clear();
                column.extend(self.rows.iter().skip(j).step_by(d));
                let middle = column.len() / 2;
                let median = *column.select_nth_unstable_by(middle, f64::total_cmp).1;
                if column.iter().filter(|&&x| x == median).count() * 2 < column.len() {
                    heaviest = (j, kurtosis);
                }
            }
        }
        Ok(heaviest)
    }

    /// Returns out of how many rows [`Self::split`] takes one.
    fn split_every(&self) -> usize {
        let count = self.count();
        count.div_ceil((SPLIT_NUMBERS / self.dimension).clamp(1, SPLIT_ROWS))
    }

    /// Returns some of the rows in units of this scale, with their weights, half of them held back.
    pub(crate) fn split(&self, shift: &[f64], scale: f64) -> Result<Split> {
        Ok(self.part((SPLIT_NUMBERS / self.dimension).clamp(1, SPLIT_ROWS))?.whole(shift, scale)?.halved())
    }

    /// Returns some of the rows where they are more than `most`.
    pub(crate) fn part(&self, most: usize) -> Result<Self> {
        let (d, count) = (self.dimension, self.count());
        let every = count.div_ceil(most).max(1);
        let mut rows = memory::with_room(MEMORY, count.div_ceil(every) * d)?;
        let mut weights = memory::with_room(MEMORY, count.div_ceil(every))?;
        for row in picked(count, every) {
            rows.extend_from_slice(&self.rows[row * d..][..d]);
            weights.push(self.weight(row));
        }
        Ok(Self { rows, weights, ..*self })
    }

    /// Returns so many rows from this one on, or what is left of them.
    pub(crate) fn block(&self, first: usize, rows: usize) -> Result<Self> {
        let own = first..self.count().min(first + rows);
        let weights = memory::collected(MEMORY, own.clone().map(|row| self.weight(row)))?;
        let rows = memory::copied(MEMORY, &self.rows[own.start * self.dimension..own.end * self.dimension])?;
        Ok(Self { rows, weights, ..*self })
    }

    /// Returns how many rows there are.
    pub(crate) fn count(&self) -> usize {
        self.rows.len() / self.dimension
    }

    /// Returns all rows in units of this scale, with their weights, none of them held back. They stay where they are.
    pub(crate) fn whole(mut self, shift: &[f64], scale: f64) -> Result<Split> {
        let count = self.count();
        for row in self.rows.chunks_exact_mut(self.dimension) {
            row.iter_mut().zip(shift).for_each(|(x, shift)| *x = (*x - shift) / scale);
        }
        let weights = memory::collected(MEMORY, (0..count).map(|row| self.weight(row)))?;
        Split::of_fitted(self.dimension, self.rows, weights)
    }

    /// Returns the largest correlation that is taken for chance: three times what independent numbers have as a rule, and
    /// at least a twentieth.
    pub fn chance(&self) -> f64 {
        let (mut sum, mut squares) = (0.0, 0.0);
        for w in (0..self.count()).map(|row| self.weight(row)) {
            sum += w;
            squares += w * w;
        }
        (3.0 * squares.sqrt() / sum).max(0.05)
    }

    fn weight(&self, row: usize) -> f64 {
        self.weights.get(row).copied().unwrap_or(1.0)
    }

    /// Returns the covariances of the samples in units of this scale. Their variances are those of `spread`, which all
    /// samples have. What few samples tell of how their numbers belong together is trusted less: correlations are
    /// multiplied by n^4 / (n^4 + d^4), with n samples of d numbers. With `fitted`, the samples that [`Self::split`] holds
    /// back take no part.
    pub fn covariance(&self, shift: &[f64], scale: f64, spread: &Spread, fitted: bool) -> Result<Symmetric> {
        let d = self.dimension;
        let mut sum = Symmetric::zero(d)?;
        let mut mean = memory::filled(MEMORY, d, 0.0)?;
        let (mut weight, mut squares) = (0.0, 0.0);
        let every = self.split_every();
        let rows = || {
            let rows = self.rows.chunks_exact(d).enumerate();
            let holds = move |r: usize| r == drawn(r / every, every) && Split::holds(r / every);
            rows.filter(move |(r, _)| !(fitted && holds(*r)))
        };
        for (r, row) in rows() {
            let w = self.weight(r);
            weight += w;
            squares += w * w;
            mean.iter_mut().zip(row).zip(shift).for_each(|((mean, x), shift)| *mean += w * (x - shift));
        }
        if weight == 0.0 {
            return Symmetric::diagonal(spread.variances.iter().copied());
        }
        mean.iter_mut().for_each(|mean| *mean /= weight);
        let mut away = memory::filled(MEMORY, d, 0.0)?;
        for (r, row) in rows() {
            let w = self.weight(r) / weight;
            for (away, ((x, shift), mean)) in away.iter_mut().zip(row.iter().zip(shift).zip(&mean)) {
                *away = (x - shift - mean) / scale;
            }
            sum.add_square(w, &away);
        }
        let ratio = (weight * weight / squares / d as f64).powi(4);
        let trust = ratio / (ratio + 1.0);
        let deviations = memory::collected(MEMORY, sum.diagonals().map(f64::sqrt))?;
        sum.mirror(|j, k, covariance| {
            let product = deviations[j] * deviations[k];
            let correlation = if product > 0.0 { covariance / product } else { 0.0 };
            let trusted = if j == k { 1.0 } else { trust * correlation };
            trusted * (spread.variances[j] * spread.variances[k]).sqrt()
        });
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::picks::MOST_ROWS;
    use crate::rng::{Sequence, Stream};
    use approx::assert_relative_eq;

    fn normals(count: usize) -> Vec<f64> {
        let mut x = vec![0f32; count];
        Sequence::new(3, 0, Stream::Init).normals(0, &mut x);
        x.into_iter().map(f64::from).collect()
    }

    fn sketch(rows: &[f64], dimension: usize, block: usize) -> Sketch {
        let mut sketch = Sketch::new(rows.len() / dimension, dimension).unwrap().unwrap();
        for (b, part) in rows.chunks(block * dimension).enumerate() {
            sketch.add(b * block, part);
        }
        sketch
    }

    fn spread<const N: usize>(variances: [f64; N]) -> Spread {
        Spread { mean: vec![0.0; N].into(), variances: variances.to_vec().into() }
    }

    #[test]
    fn samples_that_are_held_back_take_no_part_in_what_is_fitted() {
        let rows = normals(600);
        let seen = rows.chunks(3).enumerate().filter(|(r, _)| !Split::holds(*r)).flat_map(|(_, row)| row).copied();
        let seen: Vec<f64> = seen.collect();
        assert!(seen.len() > 150 && seen.len() < 450);
        let of = |rows: &[f64], fitted| {
            let found = sketch(rows, 3, rows.len() / 3).covariance(&[0.0; 3], 1.0, &spread([1.0; 3]), fitted).unwrap();
            [found.row(1)[0], found.row(2)[0], found.row(2)[1]]
        };
        assert_eq!(of(&rows, true), of(&seen, false));
        assert_ne!(of(&rows, true), of(&rows, false));
    }

    #[test]
    fn correlations_are_those_of_the_samples_and_variances_those_that_were_measured() {
        let rows: Vec<f64> =
            normals(8000).chunks(2).flat_map(|z| [1e3 * z[0] + 5e5, 0.6 * z[0] + 0.8 * z[1]]).collect();
        let found = sketch(&rows, 2, 37).covariance(&[5e5, 0.0], 2.0, &spread([9.0, 4.0]), false).unwrap();
        assert_eq!((found.row(0)[0], found.row(1)[1]), (9.0, 4.0));
        assert_relative_eq!(found.row(0)[1], 6.0 * 0.6, max_relative = 0.05);
        assert_eq!(found.row(0)[1], found.row(1)[0]);
        // As many samples as numbers tell half of it, and rows without weight nothing.
        let mut few = sketch(&[0.0, 0.0, 1.0, 1.0], 2, 2);
        assert_relative_eq!(
            few.covariance(&[0.0; 2], 1.0, &spread([1.0; 2]), false).unwrap().row(0)[1],
            0.5,
            max_relative = 1e-12
        );
        few.weigh(Some(&[0.0, 0.0])).unwrap();
        assert_eq!(few.covariance(&[0.0; 2], 1.0, &spread([1.0; 2]), false).unwrap().row(0)[1], 0.0);
    }

    #[test]
    fn many_samples_are_picked_evenly_from_classes_that_take_turns() {
        for (every, classes) in [(2, 2), (3, 3), (5, 10), (6, 4), (7, 7)] {
            let count = every * MOST_ROWS - 1;
            let rows: Vec<f64> = (0..count).map(|i| (i % classes) as f64).collect();
            let sketch = sketch(&rows, 1, 1000);
            let picks = sketch.picks;
            assert!(picks.every == every && picks.count <= MOST_ROWS && sketch.rows.len() == picks.count);
            for class in 0..classes {
                let of_it = sketch.rows.iter().filter(|&&x| x == class as f64).count();
                let share = of_it as f64 / picks.count as f64 * classes as f64;
                assert!((share - 1.0).abs() < 0.05, "class {class} of {classes}: {share} times its share");
            }
        }
    }

    #[test]
    fn weights_are_those_of_the_samples_that_were_picked() {
        let count = 3 * MOST_ROWS;
        let rows: Vec<f64> = (0..count).map(|i| i as f64).collect();
        for block in [1, 2, 1000, count] {
            let mut sketch = sketch(&rows, 1, block);
            sketch.weigh(Some(&rows)).unwrap();
            assert!(sketch.weights == sketch.rows && sketch.rows.len() == MOST_ROWS);
        }
    }

    #[test]
    fn few_samples_are_all_picked() {
        for count in [1, 2, 3, 777, MOST_ROWS] {
            let rows: Vec<f64> = (0..count).map(|i| i as f64).collect();
            assert!(sketch(&rows, 1, 10).rows == rows);
        }
    }

    #[test]
    fn the_heaviest_tails_are_found() {
        let rows: Vec<f64> = normals(8000).chunks(2).flat_map(|z| [z[0], (2.0 * z[1]).exp()]).collect();
        let (component, kurtosis) = sketch(&rows, 2, 100).heaviest().unwrap();
        assert!(component == 1 && kurtosis > 50.0, "{component} {kurtosis}");
        let (_, kurtosis) = sketch(&normals(8000), 2, 100).heaviest().unwrap();
        assert!((kurtosis - 3.0).abs() < 0.5, "{kurtosis}");
        // A constant column is not heavy.
        assert_eq!(sketch(&[7.0; 40], 2, 100).heaviest().unwrap().1, 0.0);
    }

    #[test]
    fn samples_of_many_numbers_have_none() {
        assert!(Sketch::new(10, MOST_AXES + 1).unwrap().is_none());
    }
}
