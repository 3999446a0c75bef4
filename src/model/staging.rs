//! Rows of strided arrays on their way through a session: they are read as dense 32-bit floats, a few megabytes at a time.

use super::results::HostRows;
use crate::data::TensorView;
use crate::error::Result;
use crate::memory;

/// The largest count of numbers held at a time: four megabytes. A single row may have more.
const MOST_NUMBERS: usize = 1 << 20;

/// Room for rows and for their results. It grows to what a call needs, and later calls use it again.
#[derive(Default)]
pub(super) struct Staging {
    rows: Vec<f32>,
    results: Vec<f32>,
}

impl Staging {
    /// Reads all rows, and calls `check(first, rows)` for one part after the other; `first` is the number of its first
    /// row.
    pub fn read(
        &mut self,
        name: &str,
        from: &TensorView<'_>,
        mut check: impl FnMut(usize, &[f32]) -> Result<()>,
    ) -> Result<()> {
        let part = part(from);
        memory::grow(&mut self.rows, name, part * from.dimension(), 0.0)?;
        for first in (0..from.count()).step_by(part) {
            check(first, read(&mut self.rows, from, first))?;
        }
        Ok(())
    }

    /// Calls `answer(results, rows)` for one part of the rows after the other, after [`Self::read`] has checked them.
    /// `results` is room for what it computes.
    pub fn carry(
        &mut self,
        name: &'static str,
        from: &TensorView<'_>,
        mut answer: impl FnMut(&mut Vec<f32>, HostRows<'_>) -> Result<()>,
    ) -> Result<()> {
        let (part, dimension) = (part(from), from.dimension());
        for first in (0..from.count()).step_by(part) {
            let rows = if part < from.count() {
                read(&mut self.rows, from, first)
            } else {
                // They were read to be checked.
                &self.rows[..part * dimension]
            };
            answer(&mut self.results, HostRows { name, rows, dimension, first })?;
        }
        Ok(())
    }
}

/// Returns how many rows are read at a time.
fn part(from: &TensorView<'_>) -> usize {
    (MOST_NUMBERS / from.dimension()).clamp(1, from.count())
}

/// Reads the part that begins with row number `first`.
fn read<'a>(rows: &'a mut [f32], from: &TensorView<'_>, first: usize) -> &'a [f32] {
    let rows = &mut rows[..part(from).min(from.count() - first) * from.dimension()];
    from.read_rows(first, rows);
    rows
}
