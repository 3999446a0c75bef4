//! How a session's rows are carried: in pieces that fit what computes them. One implementation a device.

use super::results::Results;
use crate::device::rows::RowSeed;
use crate::error::Result;
use crate::euot::answers::Question;
use std::sync::Arc;

/// The networks of a model where they are computed with.
pub(super) trait Placed: Send + Sync {
    /// A workspace for one thread; it takes memory with the first call.
    fn pieces(self: Arc<Self>) -> Box<dyn Pieces>;
}

/// One thread's workspace. Arguments are checked before; there is at least one row, and each result has at least one
/// number.
pub(super) trait Pieces: Send {
    /// Answers for all rows of the results' input, and delivers row after row. What it gives for a path's times of 0 is
    /// not read.
    fn answer(&mut self, question: &Question<'_>, seed: RowSeed, results: &mut Results<'_>) -> Result<()>;

    /// `Session::generate_on_device`.
    fn generate_on_device(&mut self, source: DeviceRows, seed: RowSeed, generated: DeviceRows) -> Result<()>;
}

/// Rows in the memory of a GPU: 32-bit floats, row-major.
#[derive(Clone, Copy, Debug)]
pub struct DeviceRows {
    /// Device address of the first number.
    pub address: u64,
    /// Rows.
    pub rows: usize,
    /// Numbers from one row to the next, at least the dimension.
    pub stride: usize,
}
