//! The launch geometry of kernels that work before or after a product of cublasLt.

use super::block::THREADS;

/// Number of rows of a tile, unless that makes too many tiles.
const CHUNK: usize = 32;
/// The largest number of tiles along the rows: a grid's second axis ends at 65535, and column sums keep one line for
/// each tile.
const MOST_TILES: usize = 1024;

/// Block and grid of such a kernel: neighbouring columns along x, tiles of rows along y.
pub(super) struct EpilogueGrid {
    pub grid: [u32; 3],
    pub block: [u32; 3],
    /// Number of rows of a tile.
    pub chunk: u32,
}

impl EpilogueGrid {
    /// Returns the geometry for a product with rows x cols results.
    pub fn new(rows: usize, cols: usize) -> Self {
        let chunk = CHUNK.max(rows.div_ceil(MOST_TILES));
        // Four columns a thread where whole vectors can be taken, and one otherwise.
        let threads = if cols.is_multiple_of(4) { cols / 4 } else { cols };
        let x = (threads.next_power_of_two() as u32).clamp(8, 32);
        let columns = threads.div_ceil(x as usize) as u32;
        let tiles = rows.div_ceil(chunk) as u32;
        Self { grid: [columns, tiles, 1], block: [x, THREADS / x, 1], chunk: chunk as u32 }
    }
}
