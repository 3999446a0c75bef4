//! The weights of samples, and a table that draws samples by weight.

use super::tensor::TensorView;
use crate::error::{Error, Result};
use crate::memory;

/// Reads the weights of `count` samples, divided by the largest so that their sum cannot overflow.
///
/// Errors name `argument`: rank not 1, another count than the samples', a weight below 0 or not finite, all zero.
pub(super) fn read_weights(view: &TensorView<'_>, count: usize, argument: &str) -> Result<Vec<f64>> {
    check_weights(view.shape(), count, argument)?;
    let mut weights = view.to_f64(argument)?;
    if let Some(at) = weights.iter().position(|&weight| weight < 0.0) {
        return Err(Error::invalid(format!(
            "{argument} holds {} at sample {at}; every weight must be 0 or more",
            weights[at]
        )));
    }
    let largest = weights.iter().copied().fold(0.0, f64::max);
    if largest == 0.0 {
        return Err(Error::invalid(format!("{argument} holds {count} zeros; at least one weight must be above 0")));
    }
    for weight in &mut weights {
        *weight /= largest;
    }
    Ok(weights)
}

/// Refuses a shape of weights unless it has one weight for each of `count` samples. Reads no weight.
pub(crate) fn check_weights(shape: &[usize], count: usize, argument: &str) -> Result<()> {
    if shape == [count] {
        return Ok(());
    }
    Err(Error::invalid(format!("{argument} has shape {shape:?}; it must have shape [{count}], one weight a sample")))
}

/// Walker's alias table in Vose's construction: draws an index with probability proportional to its weight, in
/// constant time and in integers only, so that every device draws the same index from the same random bits.
///
/// A column is drawn evenly; the column itself is taken if the second random number lies below its threshold, its
/// alias otherwise. An index of weight 0 is never drawn. Probabilities are rounded to 2^-32 of a column.
#[derive(Clone, Debug)]
pub struct AliasTable {
    thresholds: Vec<u32>,
    aliases: Vec<u32>,
}

impl AliasTable {
    /// Bytes that the table takes for each sample.
    pub const SAMPLE_BYTES: usize = 2 * size_of::<u32>();
    /// Bytes that are taken beside them for each sample while it is built, at most.
    pub(super) const MAKING_SAMPLE_BYTES: usize = size_of::<f64>() + 2 * size_of::<usize>();

    /// Builds the table of up to `u32::MAX` finite weights >= 0, one of which is above 0. The same weights give the
    /// same table on every machine.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub(super) fn new(weights: &[f64]) -> Result<Self> {
        const TABLE: &str = "the table that samples are drawn by";
        let count = weights.len();
        let sum: f64 = weights.iter().sum();
        let mut share = memory::collected(TABLE, weights.iter().map(|weight| weight / sum * count as f64))?;
        // A column that keeps its whole share is its own alias, whatever its threshold.
        let mut aliases = memory::with_room(TABLE, count)?;
        aliases.extend(0..count as u32);
        let mut thresholds = memory::filled(TABLE, count, u32::MAX)?;
        // Every column may become a small one, and none becomes a large one.
        let mut small = memory::with_room(TABLE, count)?;
        let mut large = memory::with_room(TABLE, count - share.iter().filter(|&&share| share < 1.0).count())?;
        for k in (0..count).rev() {
            if share[k] < 1.0 { &mut small } else { &mut large }.push(k);
        }
        while let (Some(&poor), Some(&rich)) = (small.last(), large.last()) {
            small.pop();
            thresholds[poor] = (share[poor] * 4_294_967_296.0).round() as u32;
            aliases[poor] = rich as u32;
            share[rich] -= 1.0 - share[poor];
            if share[rich] < 1.0 {
                large.pop();
                small.push(rich);
            }
        }
        // Columns left over have a share of 1 up to rounding and stay their own aliases.
        Ok(Self { thresholds, aliases })
    }

    /// Returns the index that two independent, evenly distributed 32-bit numbers select.
    pub fn draw(&self, column: u32, accept: u32) -> u32 {
        let column = uniform_index(column, self.thresholds.len());
        if accept < self.thresholds[column as usize] { column } else { self.aliases[column as usize] }
    }

    /// Returns for each column the number below which the second random number selects the column itself.
    pub fn thresholds(&self) -> &[u32] {
        &self.thresholds
    }

    /// Returns for each column the sample that is selected otherwise.
    pub fn aliases(&self) -> &[u32] {
        &self.aliases
    }
}

/// Maps an evenly distributed 32-bit number to 0..count by its high bits; `count` is at most `u32::MAX`.
pub(super) fn uniform_index(random: u32, count: usize) -> u32 {
    ((u64::from(random) * count as u64) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The probability of each index that the table stands for, exact but for the evenness of columns.
    fn probabilities(table: &AliasTable) -> Vec<f64> {
        let count = table.thresholds.len();
        let mut sums = vec![0.0; count];
        for (column, (&threshold, &alias)) in table.thresholds.iter().zip(&table.aliases).enumerate() {
            let kept = f64::from(threshold) / 4_294_967_296.0;
            sums[column] += kept / count as f64;
            sums[alias as usize] += (1.0 - kept) / count as f64;
        }
        sums
    }

    proptest! {
        #[test]
        fn a_table_stands_for_its_weights(
            weights in prop::collection::vec(
                prop_oneof![2 => Just(0.0), 6 => 0.0f64..1.0, 1 => 1e-12f64..1e-6, 1 => Just(1.0)], 1..200)
                .prop_filter("one must be positive", |weights| weights.iter().any(|&w| w > 0.0)),
        ) {
            let sum: f64 = weights.iter().sum();
            let table = AliasTable::new(&weights).unwrap();
            for (index, probability) in probabilities(&table).into_iter().enumerate() {
                prop_assert!((probability - weights[index] / sum).abs() < 1e-9, "index {}: {}", index, probability);
                if weights[index] == 0.0 {
                    prop_assert_eq!(probability, 0.0);
                }
            }
        }

        #[test]
        fn equal_weights_draw_as_no_weights_do(count in 1usize..500, weight in 1e-3f64..1.0, column: u32, accept: u32) {
            let table = AliasTable::new(&vec![weight; count]).unwrap();
            prop_assert_eq!(table.draw(column, accept), uniform_index(column, count));
        }
    }

    #[test]
    fn drawn_frequencies_follow_the_weights() {
        let weights = [0.0, 3.0, 1.0, 0.0, 0.5, 5.5];
        let table = AliasTable::new(&weights).unwrap();
        // A Weyl sequence in two dimensions covers the square evenly.
        let draws = 100_000u64;
        let mut counts = [0u32; 6];
        for k in 1..=draws {
            let column = (k.wrapping_mul(0xC13F_A9A9_02A6_328F) >> 32) as u32;
            let accept = (k.wrapping_mul(0x91E1_0DA5_C79E_7B1D) >> 32) as u32;
            counts[table.draw(column, accept) as usize] += 1;
        }
        for (count, weight) in counts.iter().zip(weights) {
            let share = f64::from(*count) / draws as f64;
            assert!((share - weight / 10.0).abs() < 1e-3, "{counts:?} against {weights:?}");
        }
        assert_eq!(counts[0] + counts[3], 0);
    }

    #[test]
    fn bad_weights_are_refused_with_a_sentence() {
        let check = |values: &[f64], shape: &[usize]| {
            let view = TensorView::from_f64(values, shape).unwrap();
            read_weights(&view, 3, "source.weights").unwrap_err().to_string()
        };
        let cases = [
            (check(&[1.0; 2], &[2]), "must have shape [3]"),
            (check(&[1.0; 3], &[3, 1]), "must have shape [3]"),
            (check(&[1.0, -0.5, 1.0], &[3]), "holds -0.5 at sample 1"),
            (check(&[1.0, 1.0, f64::NAN], &[3]), "holds NaN at sample 2"),
            (check(&[0.0; 3], &[3]), "above 0"),
        ];
        for (text, part) in &cases {
            assert!(text.starts_with("source.weights") && text.contains(part), "{text:?} lacks {part:?}");
        }
    }

    #[test]
    fn weights_near_the_end_of_the_range_keep_their_ratios() {
        let view = TensorView::from_f64(&[1.6e308, 0.8e308, 0.0], &[3]).unwrap();
        assert_eq!(read_weights(&view, 3, "source.weights").unwrap(), [1.0, 0.5, 0.0]);
    }
}
