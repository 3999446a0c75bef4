//! Self-attention between the pixels of pictures.

use super::block::CudaBlock;
use super::kernels::{AttentionTiles, SoftmaxLines, SoftmaxLinesReverse};
use crate::device::{Attention, AttentionProduct, Mat};

/// Rows and columns of a tile, which is a block's part of a product.
const TILE: usize = 16;
/// Threads of a block of the products.
pub(super) const TILE_BLOCK: [u32; 3] = [TILE as u32, TILE as u32, 1];
/// Threads that share a line.
const WARP: u64 = 32;

/// Distances in a matrix of each head: to the next head, row and column.
#[derive(Clone, Copy)]
struct Strides {
    head: usize,
    down: usize,
    across: usize,
}

impl Strides {
    fn turned(self) -> Self {
        Self { down: self.across, across: self.down, ..self }
    }
}

/// Returns the number of blocks of a product, and its arguments, for matrices at these addresses and strides.
pub(super) fn attention_launch(
    of: &Attention,
    product: AttentionProduct,
    [(a, a_stride), (b, b_stride), (to, to_stride)]: [(u64, u32); 3],
    rows: usize,
    (factor, add): (f64, bool),
) -> (u32, AttentionTiles) {
    let (pixels, width) = (of.positions(), of.width());
    let picture = Strides { head: width, down: of.shape.channels, across: 1 };
    let weights = Strides { head: pixels * pixels, down: pixels, across: 1 };
    let (first, second, given, [n, k]) = match product {
        AttentionProduct::Scores => (picture, picture.turned(), weights, [pixels, width]),
        AttentionProduct::Mix => (weights, picture, picture, [width, pixels]),
        AttentionProduct::MixTransposed => (weights.turned(), picture, picture, [width, pixels]),
    };
    let tiles = pixels.div_ceil(TILE) * n.div_ceil(TILE);
    let arguments = AttentionTiles {
        a,
        a_stride,
        a_head: first.head as u32,
        ai: first.down as u32,
        ak: first.across as u32,
        b,
        b_stride,
        b_head: second.head as u32,
        bk: second.down as u32,
        bj: second.across as u32,
        to,
        to_stride,
        to_head: given.head as u32,
        ti: given.down as u32,
        m: pixels as u32,
        n: n as u32,
        k: k as u32,
        heads: of.heads as u32,
        factor: factor as f32,
        add: u32::from(add),
    };
    ((rows * of.heads * tiles) as u32, arguments)
}

impl CudaBlock {
    pub(super) fn attention_product(
        &mut self,
        of: &Attention,
        product: AttentionProduct,
        (a, b): (Mat, Mat),
        factor: f64,
        to: Mat,
        add: bool,
    ) {
        of.check(product, [a, b, to]);
        let places = [a, b, to].map(|mat| self.place(mat));
        let (grid, arguments) = attention_launch(of, product, places, to.rows, (factor, add));
        self.launch([grid, 1, 1], TILE_BLOCK, &arguments);
    }

    pub(super) fn softmax_of_lines(&mut self, length: usize, to: Mat) {
        assert!(to.cols.is_multiple_of(length));
        let (to_at, to_stride) = self.place(to);
        let (rows, lines, length) = (to.rows as u32, (to.cols / length) as u32, length as u32);
        let arguments = SoftmaxLines { to: to_at, to_stride, rows, lines, length };
        self.launch_over(WARP * u64::from(rows) * u64::from(lines), &arguments);
    }

    pub(super) fn softmax_of_lines_reverse(&mut self, length: usize, weights: Mat, delta: Mat) {
        assert!((weights.rows, weights.cols) == (delta.rows, delta.cols) && delta.apart(&weights));
        assert!(delta.cols.is_multiple_of(length));
        let ((weights, weights_stride), (to, delta_stride)) = (self.place(weights), self.place(delta));
        let (rows, lines, length) = (delta.rows as u32, (delta.cols / length) as u32, length as u32);
        let arguments = SoftmaxLinesReverse { weights, weights_stride, delta: to, delta_stride, rows, lines, length };
        self.launch_over(WARP * u64::from(rows) * u64::from(lines), &arguments);
    }
}
