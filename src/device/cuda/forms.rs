//! The kernels of products: of each form one for every arithmetic and tile.

use super::kernels::Kernel;
use crate::device::gpus::Precision;

/// A tile of results, which one block computes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tile {
    pub rows: usize,
    pub cols: usize,
    /// Threads of a block.
    pub threads: u32,
    /// The least number of these tiles for which a product uses them rather than narrow ones: those that a large GPU runs
    /// at the same time. It does not depend on the device, so that sums have the same order on every one.
    least: usize,
}

impl Tile {
    const fn new(rows: usize, cols: usize, threads: u32, least: usize) -> Self {
        Self { rows, cols, threads, least }
    }

    /// Returns how many of them m x n results take.
    pub(super) fn count(self, m: usize, n: usize) -> usize {
        m.div_ceil(self.rows) * n.div_ceil(self.cols)
    }

    /// Returns whether so many products with m x n results are work for the whole GPU.
    pub(super) fn fills(self, m: usize, n: usize, splits: usize) -> bool {
        self.count(m, n) * splits >= self.least
    }
}

/// Places of a tile in the lists below.
pub(super) const NARROW: usize = 0;
pub(super) const TALL: usize = 1;
pub(super) const WIDE: usize = 2;

/// The tiles of cuda/scalar_tile.cuh and cuda/tensor_tile.cuh. Of the latter, no threshold was measured.
const SCALAR: [Tile; 3] = [Tile::new(32, 32, 256, 0), Tile::new(64, 32, 128, 256), Tile::new(64, 64, 128, 256)];
const TENSOR: [Tile; 3] = [Tile::new(32, 32, 256, 0), Tile::new(64, 32, 128, 256), Tile::new(128, 64, 256, 128)];

/// Returns the tiles of an arithmetic.
pub(super) fn tiles(precision: Precision) -> &'static [Tile; 3] {
    match precision {
        Precision::F32 => &SCALAR,
        Precision::Tf32 | Precision::Bf16 => &TENSOR,
    }
}

/// The kernels of a product, by [`Precision`] and tile. A dense one has no tall tiles; narrow ones stand there.
pub(super) struct Form([[Kernel; 3]; 3]);

impl Form {
    /// Returns the kernel of a tile.
    pub(super) fn kernel(&self, precision: Precision, tile: usize) -> Kernel {
        self.0[precision as usize][tile]
    }
}

/// A dense product's kernels: in 32 bits, TF32 and BF16, each with narrow tiles and with wide ones.
macro_rules! dense {
    ($($name:ident: $($narrow:ident $wide:ident),+;)+) => {$(
        pub(super) const $name: Form = Form([$([Kernel::$narrow, Kernel::$narrow, Kernel::$wide]),+]);
    )+};
}

dense! {
    AFFINE: ProductAffine ProductAffineWide, ProductAffineTf32 ProductAffineTf32Wide,
        ProductAffineBf16 ProductAffineBf16Wide;
    LINEAR: ProductLinear ProductLinearWide, ProductLinearTf32 ProductLinearTf32Wide,
        ProductLinearBf16 ProductLinearBf16Wide;
    SILU: ProductSilu ProductSiluWide, ProductSiluTf32 ProductSiluTf32Wide, ProductSiluBf16 ProductSiluBf16Wide;
    TANH: ProductTanh ProductTanhWide, ProductTanhTf32 ProductTanhTf32Wide, ProductTanhBf16 ProductTanhBf16Wide;
    SOFTPLUS: ProductSoftplus ProductSoftplusWide, ProductSoftplusTf32 ProductSoftplusTf32Wide,
        ProductSoftplusBf16 ProductSoftplusBf16Wide;
    TANGENT: ProductTangent ProductTangentWide, ProductTangentTf32 ProductTangentTf32Wide,
        ProductTangentBf16 ProductTangentBf16Wide;
    TRANSPOSED: ProductTransposed ProductTransposedWide, ProductTransposedTf32 ProductTransposedTf32Wide,
        ProductTransposedBf16 ProductTransposedBf16Wide;
    TRANSPOSED_ADD: ProductTransposedAdd ProductTransposedAddWide,
        ProductTransposedAddTf32 ProductTransposedAddTf32Wide, ProductTransposedAddBf16 ProductTransposedAddBf16Wide;
    BACKWARD: ProductBackward ProductBackwardWide, ProductBackwardTf32 ProductBackwardTf32Wide,
        ProductBackwardBf16 ProductBackwardBf16Wide;
    ADJOINT: ProductAdjoint ProductAdjointWide, ProductAdjointTf32 ProductAdjointTf32Wide,
        ProductAdjointBf16 ProductAdjointBf16Wide;
    GRADIENT: ProductGradient ProductGradientWide, ProductGradientTf32 ProductGradientTf32Wide,
        ProductGradientBf16 ProductGradientBf16Wide;
}

pub(super) const CONV_FORWARD: Form = Form([
    [Kernel::ConvForward, Kernel::ConvForwardTall, Kernel::ConvForwardWide],
    [Kernel::ConvForwardTf32, Kernel::ConvForwardTf32Tall, Kernel::ConvForwardTf32Wide],
    [Kernel::ConvForwardBf16, Kernel::ConvForwardBf16Tall, Kernel::ConvForwardBf16Wide],
]);
pub(super) const CONV_REVERSE: Form = Form([
    [Kernel::ConvReverse, Kernel::ConvReverseTall, Kernel::ConvReverseWide],
    [Kernel::ConvReverseTf32, Kernel::ConvReverseTf32Tall, Kernel::ConvReverseTf32Wide],
    [Kernel::ConvReverseBf16, Kernel::ConvReverseBf16Tall, Kernel::ConvReverseBf16Wide],
]);
pub(super) const CONV_GRADIENT: Form = Form([
    [Kernel::ConvGradient, Kernel::ConvGradientTall, Kernel::ConvGradientWide],
    [Kernel::ConvGradientTf32, Kernel::ConvGradientTf32Tall, Kernel::ConvGradientTf32Wide],
    [Kernel::ConvGradientBf16, Kernel::ConvGradientBf16Tall, Kernel::ConvGradientBf16Wide],
]);
