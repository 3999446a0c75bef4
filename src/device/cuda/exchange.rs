//! Takes what networks of the host's gave into a GPU's workspace, and results out of it.

use super::block::{CudaBlock, CudaNoise};
use super::kernels::{Kernel, RowsExport};
use super::rows::CudaRows;
use crate::device::exchange::{BatchSeed, Exchange};
use crate::device::{Mat, draw};

impl CudaBlock {
    /// Copies rows x cols numbers times a factor from one place to another.
    fn copy_rows(&mut self, from: CudaRows, factor: f64, rows: usize, cols: usize, to: CudaRows) {
        let arguments = RowsExport {
            x: from.address,
            x_stride: from.stride as u32,
            rows: rows as u32,
            d: cols as u32,
            shift: 0,
            scale: factor,
            out: to.address,
            out_stride: to.stride as u32,
        };
        self.launch_over_as(Kernel::RowsExport, (rows * cols) as u64, &arguments);
    }

    fn rows_at(&self, mat: Mat) -> CudaRows {
        CudaRows { address: self.address(mat), stride: mat.stride }
    }
}

impl Exchange for CudaBlock {
    type From<'a> = CudaRows;
    type Into<'a> = CudaRows;

    fn take(&mut self, from: CudaRows, factor: f64, repeat: usize, to: Mat) {
        let first = self.rows_at(to.every(repeat));
        self.copy_rows(from, factor, to.rows / repeat, to.cols, first);
        // The rows of a source sample lie one after the other, so those that are there are copied as one, each time
        // twice as many.
        let mut there = 1;
        while there < repeat {
            let more = there.min(repeat - there);
            let behind = CudaRows { address: first.address + (there * to.stride * size_of::<f32>()) as u64, ..first };
            self.copy_rows(first, 1.0, to.rows / repeat, (more - 1) * to.stride + to.cols, behind);
            there += more;
        }
    }

    fn rescale(&mut self, mat: Mat, factor: f64) {
        let at = self.rows_at(mat);
        self.copy_rows(at, factor, mat.rows, mat.cols, at);
    }

    fn give(&mut self, from: Mat, factor: f64, to: CudaRows) {
        let at = self.rows_at(from);
        self.copy_rows(at, factor, from.rows, from.cols, to);
    }

    fn noise(&mut self, seed: BatchSeed, _: usize, _: usize, each: usize, _: bool) -> CudaNoise {
        let BatchSeed { seed, half, step, first_source } = seed;
        CudaNoise { seed, counter: 0, number: draw::number(half, step), first_row: first_source * each as u64 }
    }

    fn no_noise(&self) -> CudaNoise {
        CudaNoise { seed: 0, counter: 0, number: 0, first_row: 0 }
    }
}
