//! The products of attention, and the softmax of lines.

use super::guarded::Matrix;
use super::host::{available, launch_with};
use super::support::{Output, close_from, cpu, download, in_two_orders, normals, upload};
use crate::device::cuda::attention::{TILE_BLOCK, attention_launch};
use crate::device::cuda::kernels::{Kernel, SoftmaxLines, SoftmaxLinesReverse};
use crate::device::layout::Shape;
use crate::device::{Attention, AttentionProduct, Maps};
use proptest::prelude::*;

const PRODUCTS: [AttentionProduct; 3] =
    [AttentionProduct::Scores, AttentionProduct::Mix, AttentionProduct::MixTransposed];

fn place(matrix: &Matrix) -> (u64, u32) {
    (matrix.data.address() as u64, matrix.stride as u32)
}

proptest! {
    #![proptest_config(super::support::cases(60))]

    #[test]
    fn products(
        (height, width) in (1usize..=4, 1usize..=6), (heads, each) in (1usize..=3, 1usize..=20), rows in 1usize..4,
        gap in 0usize..3, product in 0usize..3, add in any::<bool>(), seed in any::<u64>(),
    ) {
        if !available() {
            return Ok(());
        }
        let of = Attention { shape: Shape { height, width, channels: heads * each }, heads };
        let product = PRODUCTS[product];
        let (picture, weights) = (of.shape.numbers(), of.weights());
        let [first, cols] = if product == AttentionProduct::Scores { [picture, weights] } else { [weights, picture] };
        let a = normals(seed, rows * first);
        let b = normals(!seed, rows * picture);
        let before = normals(seed ^ 1, rows * cols);
        let mut device = cpu();
        let [am, bm, expected] = [(&a, first), (&b, picture), (&before, cols)]
            .map(|(values, cols)| upload(&mut device, values, cols));
        device.attention(&of, product, (am, bm), 0.3, expected, add);

        let [a, b] = [(&a, first), (&b, picture)].map(|(values, cols)| Matrix::of(values, cols, cols + gap));
        let [found] = in_two_orders(seed, |order| {
            let out = Matrix::of(&before, cols, cols + gap);
            let places = [place(&a), place(&b), place(&out)];
            let (grid, arguments) = attention_launch(&of, product, places, rows, (0.3, add));
            launch_with(Kernel::AttentionTiles, [grid, 1, 1], TILE_BLOCK, order, &arguments);
            [Output::from(out)]
        });
        close_from("product", &found.values(), &download(&device, expected), cols, 3.0);
    }

    #[test]
    fn softmax(
        lines in 1usize..=9, length in 1usize..=70, rows in 1usize..4, gap in 0usize..3, blocks in 1u32..4,
        scale in 0.1f32..30.0, seed in any::<u64>(),
    ) {
        if !available() {
            return Ok(());
        }
        let cols = lines * length;
        let x: Vec<f32> = normals(seed, rows * cols).iter().map(|x| scale * x).collect();
        let delta = normals(!seed, rows * cols);
        let mut device = cpu();
        let [weights, by_x] = [&x, &delta].map(|values| upload(&mut device, values, cols));
        device.softmax(length, weights);
        device.softmax_reverse(length, weights, by_x);

        let (grid, block) = ([blocks, 1, 1], [64, 1, 1]);
        let [found, found_by_x] = in_two_orders(seed, |order| {
            let outs = [&x, &delta].map(|values| Matrix::of(values, cols, cols + gap));
            let [(weights, weights_stride), (delta, delta_stride)] = outs.each_ref().map(place);
            let (rows, lines, length) = (rows as u32, lines as u32, length as u32);
            let arguments = SoftmaxLines { to: weights, to_stride: weights_stride, rows, lines, length };
            launch_with(Kernel::SoftmaxLines, grid, block, order, &arguments);
            let arguments =
                SoftmaxLinesReverse { weights, weights_stride, delta, delta_stride, rows, lines, length };
            launch_with(Kernel::SoftmaxLinesReverse, grid, block, order, &arguments);
            outs.map(Output::from)
        });
        close_from("softmax", &found.values(), &download(&device, weights), cols, 1.0);
        close_from("gradient", &found_by_x.values(), &download(&device, by_x), cols, 1.0);
    }
}
