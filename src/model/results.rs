//! The results of a session's call. Devices compute rows in memory of their own and deliver them here. Only rows of
//! finite numbers are written, so every number of a call that succeeds is finite, for any weights.

use crate::device::cpu::disjoint::Disjoint;
use crate::error::{Error, Result};
use crate::finite::all_finite;
use std::fmt;
use std::ops::Range;

/// The largest count of numbers of an input row that an error shows.
const SHOWN: usize = 4;

/// An argument of the host that has rows of samples.
#[derive(Clone, Copy)]
pub(super) struct HostRows<'a> {
    /// Name of the argument.
    pub name: &'static str,
    /// Row after row.
    pub rows: &'a [f32],
    /// Numbers in a row.
    pub dimension: usize,
    /// Number of the first row among all rows of the call.
    pub first: usize,
}

impl<'a> HostRows<'a> {
    /// Returns the number of rows.
    pub fn count(&self) -> usize {
        self.rows.len() / self.dimension
    }

    fn row(&self, row: usize) -> &'a [f32] {
        &self.rows[row * self.dimension..][..self.dimension]
    }
}

/// The array that a call writes, row after row, and the input of its rows.
pub(super) struct Results<'a> {
    name: &'static str,
    out: Disjoint<'a, f32>,
    /// Numbers in a row.
    per_row: usize,
    /// Number of times in a path, each with one sample; 0 where a row is no path.
    times: usize,
    /// Number of times that are 0, at the start of a path.
    starts: usize,
    input: HostRows<'a>,
    /// Number of rows written so far.
    done: usize,
}

impl<'a> Results<'a> {
    /// Takes `out`, which has `per_row` numbers for each row of the input.
    pub fn new(name: &'static str, out: &'a mut [f32], per_row: usize, input: HostRows<'a>) -> Self {
        assert_eq!(out.len(), per_row * input.count());
        Self { name, out: Disjoint::new(out), per_row, times: 0, starts: 0, input, done: 0 }
    }

    /// Takes `out` for paths through ascending times from 0 to 1. At time 0 a path is its source, bit for bit; the
    /// numbers that a device computed for time 0 are ignored.
    pub fn paths(name: &'static str, out: &'a mut [f32], times: &[f64], input: HostRows<'a>) -> Self {
        let starts = times.iter().take_while(|&&t| t == 0.0).count();
        let per_row = times.len() * input.dimension;
        Self { times: times.len(), starts, ..Self::new(name, out, per_row, input) }
    }

    /// Returns the number of all rows.
    pub fn rows(&self) -> usize {
        self.input.count()
    }

    /// Returns how many numbers a row has.
    pub fn per_row(&self) -> usize {
        self.per_row
    }

    /// Returns the input of these rows.
    pub fn source(&self, rows: Range<usize>) -> &'a [f32] {
        let d = self.input.dimension;
        &self.input.rows[rows.start * d..rows.end * d]
    }

    /// Writes the next rows from `rows`, where they were computed.
    ///
    /// # Errors
    /// [`Error::NotFinite`] for a number that is not finite; none of these rows is written then.
    pub fn deliver(&mut self, rows: &mut [f32]) -> Result<()> {
        // SAFETY: nobody else has these results.
        unsafe { self.write(self.done, rows)? };
        self.done += rows.len() / self.per_row;
        Ok(())
    }

    /// Writes the rows from number `first` on from `rows`, where they were computed.
    ///
    /// # Errors
    /// As [`Self::deliver`].
    ///
    /// # Safety
    /// Nobody else writes these rows at the same time.
    pub unsafe fn write(&self, first: usize, rows: &mut [f32]) -> Result<()> {
        if self.starts > 0 {
            for (r, row) in rows.chunks_exact_mut(self.per_row).enumerate() {
                let source = self.input.row(first + r);
                row.chunks_exact_mut(source.len()).take(self.starts).for_each(|start| start.copy_from_slice(source));
            }
        }
        if !all_finite(rows) {
            return Err(self.fault(first, rows));
        }
        let start = first * self.per_row;
        // SAFETY: the caller's promise.
        unsafe { self.out.part(start, start + rows.len()) }.copy_from_slice(rows);
        Ok(())
    }

    #[cold]
    fn fault(&self, first: usize, rows: &[f32]) -> Error {
        let at = rows.iter().position(|x| !x.is_finite()).unwrap_or_default();
        let (row, number) = (first + at / self.per_row, at % self.per_row);
        let number_in_call = self.input.first + row;
        let place = match self.times {
            0 => format!("number {number}"),
            _ => format!("time {}, number {}", number / self.input.dimension, number % self.input.dimension),
        };
        Error::NotFinite(format!(
            "{} row {number_in_call}, {place} is {} for {} row {number_in_call}, {}: the model has no finite result there; ask nearer to the \
             samples it was trained on, or use a model of a training with lower learning rates",
            self.name,
            rows[at],
            self.input.name,
            Row(self.input.row(row))
        ))
    }
}

/// A row as an error shows it.
struct Row<'a>(&'a [f32]);

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, x) in self.0.iter().take(SHOWN).enumerate() {
            write!(f, "{}{x:?}", if i > 0 { ", " } else { "" })?;
        }
        f.write_str(if self.0.len() > SHOWN { ", ...]" } else { "]" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: [f32; 6] = [1.0, -2.5, 3.0, 4e30, 5.0, 6.0];

    fn input(dimension: usize) -> HostRows<'static> {
        HostRows { name: "source", rows: &SOURCE, dimension, first: 0 }
    }

    #[test]
    fn rows_before_the_fault_are_written_and_no_others() {
        let mut out = [9.0; 6];
        let mut results = Results::new("generated", &mut out, 2, input(2));
        results.deliver(&mut [0.5, 1.5]).expect("finite");
        let text = results.deliver(&mut [7.0, 7.0, 7.0, f32::NEG_INFINITY]).expect_err("infinite").to_string();
        assert!(text.starts_with("generated row 2, number 1 is -inf for source row 2, [5.0, 6.0]: "), "{text}");
        assert_eq!(out, [0.5, 1.5, 9.0, 9.0, 9.0, 9.0]);
        let text = Results::new("generated", &mut out, 2, HostRows { first: 70, ..input(2) })
            .deliver(&mut [0.5, 1.5, f32::NAN, 7.0])
            .expect_err("not a number")
            .to_string();
        assert!(text.starts_with("generated row 71, number 0 is NaN for source row 71, [3.0, 4e30]: "), "{text}");
    }

    #[test]
    fn a_path_begins_at_its_source_and_names_its_time() {
        let mut out = [9.0; 12];
        let mut results = Results::paths("path", &mut out, &[0.0, -0.0, 0.5, 1.0], input(3).first());
        let mut rows = [f32::NAN; 12];
        rows[6..].fill(0.25);
        results.deliver(&mut rows).expect("times of 0 are not computed");
        assert_eq!(out[..6], [1.0, -2.5, 3.0, 1.0, -2.5, 3.0]);
        assert_eq!(out[6..], [0.25; 6]);
        let mut results = Results::paths("path", &mut out, &[0.0, -0.0, 0.5, 1.0], input(3).first());
        rows[10] = f32::NAN;
        let text = results.deliver(&mut rows).expect_err("not a number").to_string();
        assert!(text.starts_with("path row 0, time 3, number 1 is NaN for source row 0, [1.0, -2.5, 3.0]: "), "{text}");
    }

    #[test]
    fn a_long_row_is_cut() {
        let text =
            Results::new("ratio", &mut [0.0], 1, input(6)).deliver(&mut [f32::NAN]).expect_err("NaN").to_string();
        assert!(text.contains("number 0 is NaN") && text.contains("[1.0, -2.5, 3.0, 4e30, ...]"), "{text}");
    }

    impl HostRows<'_> {
        fn first(self) -> Self {
            Self { rows: &self.rows[..self.dimension], ..self }
        }
    }
}
