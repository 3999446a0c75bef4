//! One time of a clock for all rows.

use crate::device::{Mat, Workspace};
use crate::formulas::{Clock, Tick};

/// Returns what so many rows at time s carry: one row, which all of them are. It is that of a 32-bit time: of the least
/// one in 64 bits the odds against arrival would be no 32-bit number.
pub(super) fn tick<D: Workspace>(device: &mut D, clock: Clock, time: f64, rows: usize) -> Mat {
    let row = device.scratch(1, Tick::<f32>::NUMBERS);
    for (number, value) in clock.at(time as f32).row().into_iter().enumerate() {
        device.fill(row.columns(number, number + 1), value.into());
    }
    Mat { rows, stride: 0, ..row }
}
