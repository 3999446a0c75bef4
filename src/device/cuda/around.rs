//! How kernels around a product of cublasLt's are launched.

use super::block::THREADS;

/// Rows of a tile, unless that makes too many tiles.
const CHUNK: usize = 32;
/// Tiles along the rows at most: a grid's second axis ends at 65535, and column sums keep one line a tile.
const MOST_TILES: usize = 1024;

/// Threads and grid of a kernel around a product: neighbouring columns along x, tiles of rows along y.
pub(super) struct Around {
    pub grid: [u32; 3],
    pub block: [u32; 3],
    /// Rows of a tile.
    pub chunk: u32,
}

impl Around {
    /// For a product with rows x cols results.
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
