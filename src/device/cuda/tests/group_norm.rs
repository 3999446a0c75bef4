//! Group norm and its reverse rule.

use super::guarded::Matrix;
use super::host::{available, launch_with};
use super::support::{Output, close_from, cpu, download, in_two_orders, normals, upload};
use crate::device::cuda::group_norm::norm_threads;
use crate::device::cuda::kernels::{GroupNorm, GroupNormReverse, Kernel};
use crate::device::layout::Shape;
use crate::device::{Groups, Maps, NORM_EPSILON, Workspace};
use proptest::prelude::*;

proptest! {
    #![proptest_config(super::support::cases(100))]

    #[test]
    fn group_norm(
        (height, width) in (1usize..=5, 1usize..=9), (count, each) in (1usize..=5, 1usize..=12), rows in 1usize..5,
        gap in 0usize..3, add in any::<bool>(), offset in -5f32..5.0, seed in any::<u64>(),
    ) {
        if !available() {
            return Ok(());
        }
        let groups = Groups { shape: Shape { height, width, channels: count * each }, count };
        let cols = groups.shape.numbers();
        let x: Vec<f32> = normals(seed, rows * cols).iter().map(|x| x + offset).collect();
        let [delta, before] = [1, 2].map(|salt| normals(seed ^ salt, rows * cols));
        let mut device = cpu();
        let [xm, dm, by_x] = [&x, &delta, &before].map(|values| upload(&mut device, values, cols));
        let y = device.scratch(rows, cols);
        device.group_norm(&groups, xm, y);
        device.group_norm_reverse(&groups, xm, dm, by_x, add);

        let [x, delta] = [&x, &delta].map(|values| Matrix::of(values, cols, cols + gap));
        let place = |matrix: &Matrix| (matrix.data.address() as u64, matrix.stride as u32);
        let ((x, x_stride), (delta, delta_stride)) = (place(&x), place(&delta));
        let (pixels, channels, epsilon) = ((height * width) as u32, (count * each) as u32, NORM_EPSILON as f32);
        let (grid, block) = ([(rows * count) as u32, 1, 1], [norm_threads(&groups), 1, 1]);
        let [found, found_by_x] = in_two_orders(seed, |order| {
            let outs = [(); 2].map(|()| Matrix::of(&before, cols, cols + gap));
            let [(to, to_stride), reversed] = outs.each_ref().map(place);
            let groups = count as u32;
            let arguments = GroupNorm { x, x_stride, to, to_stride, pixels, channels, groups, epsilon };
            launch_with(Kernel::GroupNorm, grid, block, order, &arguments);
            let (to, to_stride) = reversed;
            let arguments = GroupNormReverse {
                x, x_stride, delta, delta_stride, to, to_stride, pixels, channels, groups, epsilon, add: u32::from(add),
            };
            launch_with(Kernel::GroupNormReverse, grid, block, order, &arguments);
            outs.map(Output::from)
        });
        // A group of few numbers that are nearly the same has deviations that are differences of the offset.
        let floor = 1.0 + 30.0 * offset.abs();
        close_from("norm", &found.values(), &download(&device, y), cols, floor);
        close_from("gradient", &found_by_x.values(), &download(&device, by_x), cols, 10.0 * floor);
    }
}
