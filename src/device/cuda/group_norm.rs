//! Group norm and its reverse rule.

use super::block::{CudaBlock, THREADS};
use super::kernels::{GroupNorm, GroupNormReverse};
use crate::device::{Groups, Mat, NORM_EPSILON};

/// Returns the threads of a block, which takes one group of a row: one for each number, up to all that a block has.
pub(super) fn norm_threads(groups: &Groups) -> u32 {
    let numbers = groups.shape.numbers() / groups.count;
    numbers.next_power_of_two().clamp(32, THREADS as usize) as u32
}

impl CudaBlock {
    pub(super) fn norm_of_groups(&mut self, groups: &Groups, x: Mat, to: Mat) {
        assert!(fits(groups, &[x, to]) && to.apart(&x));
        let ((x, x_stride), (to_at, to_stride)) = (self.place(x), self.place(to));
        let arguments = GroupNorm {
            x,
            x_stride,
            to: to_at,
            to_stride,
            pixels: (groups.shape.height * groups.shape.width) as u32,
            channels: groups.shape.channels as u32,
            groups: groups.count as u32,
            epsilon: NORM_EPSILON as f32,
        };
        self.launch([(to.rows * groups.count) as u32, 1, 1], [norm_threads(groups), 1, 1], &arguments);
    }

    pub(super) fn norm_of_groups_reverse(&mut self, groups: &Groups, x: Mat, delta: Mat, to: Mat, add: bool) {
        assert!(fits(groups, &[x, delta, to]) && to.apart(&x) && to.apart(&delta));
        let ((x, x_stride), (delta, delta_stride)) = (self.place(x), self.place(delta));
        let (to_at, to_stride) = self.place(to);
        let arguments = GroupNormReverse {
            x,
            x_stride,
            delta,
            delta_stride,
            to: to_at,
            to_stride,
            pixels: (groups.shape.height * groups.shape.width) as u32,
            channels: groups.shape.channels as u32,
            groups: groups.count as u32,
            epsilon: NORM_EPSILON as f32,
            add: u32::from(add),
        };
        self.launch([(to.rows * groups.count) as u32, 1, 1], [norm_threads(groups), 1, 1], &arguments);
    }
}

/// Returns whether matrices hold as many pictures of this shape.
fn fits(groups: &Groups, mats: &[Mat]) -> bool {
    mats.iter().all(|mat| mat.cols == groups.shape.numbers() && mat.rows == mats[0].rows)
}
