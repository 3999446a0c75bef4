//! The seam between sessions and devices. A device computes a session's rows in pieces that fit it, and each device has
//! one implementation.

use super::results::Results;
use crate::device::rows::RowSeed;
use crate::error::Result;
use crate::euot::answers::Question;
use std::sync::Arc;

/// The networks of a model on the device that computes with them.
pub(super) trait Placed: Send + Sync {
    /// Returns a workspace for the calls of one thread, in which up to `threads` threads take part, or with 0 all that the
    /// context has; a GPU takes part alone. It takes memory with the first call.
    fn pieces(self: Arc<Self>, threads: usize) -> Result<Box<dyn Pieces>>;
}

/// One session's workspace. The caller has checked the arguments: there is at least one row, and a result has at least
/// one number.
pub(super) trait Pieces: Send {
    /// Answers for all rows of the results' input, and delivers row after row. The numbers that it gives for times of 0
    /// in a path are ignored.
    fn answer(&mut self, question: &Question<'_>, seed: RowSeed, results: &mut Results<'_>) -> Result<()>;

    /// Does the work of `Session::generate_on_device`.
    fn generate_on_device(&mut self, source: DeviceRows, seed: RowSeed, generated: DeviceRows) -> Result<()>;
}

/// Rows in the memory of a GPU: 32-bit floats, row-major.
#[derive(Clone, Copy, Debug)]
pub struct DeviceRows {
    /// Device address of the first number.
    pub address: u64,
    /// Number of rows.
    pub rows: usize,
    /// Distance from one row to the next, in numbers; at least the dimension.
    pub stride: usize,
}
