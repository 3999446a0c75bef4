//! The convolutions of pictures, for `benches/`, beside the plain product of the same number of operations.

use crate::device::cpu::CpuBlock;
use crate::device::cpu::net::{CpuGradient, CpuNet};
use crate::device::cpu::simd::Isa;
use crate::device::layout::{Conv, Layout, Map, Shape};
use crate::device::{Maps, Mat, Workspace};
use crate::formulas::squares::Centre;

/// What an error would say that the memory was for.
const MEMORY: &str = "memory for a benchmark";
/// Numbers of a block's pictures: a quarter of a megabyte. In a training a block's tape, which has many such layers, takes
/// one.
const NUMBERS: usize = 1 << 16;

/// The operations that can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureOp {
    /// The product that a copy of each pixel's neighbours would give.
    Product,
    /// A convolution of 3 x 3 taps.
    Forward,
    /// Its transpose.
    Reverse,
    /// The gradient of its weights.
    Weights,
    /// The gradient from two pairs at once.
    WeightsOfTwo,
}

/// A convolution between pictures of one size.
pub struct Pictures {
    net: CpuNet<f32>,
    gradient: CpuGradient<f32>,
    block: CpuBlock<f32>,
    maps: [Mat; 2],
    neighbours: [Mat; 2],
    flops: u64,
}

impl Pictures {
    /// Square pictures of this side with as many channels in as out.
    pub fn new(side: usize, channels: usize) -> Self {
        let isa = Isa::detect();
        let shape = Shape { height: side, width: side, channels };
        let conv = Conv { from: shape, channels, side: 3, stride: 1 };
        let dense = Map::Dense { inputs: 9 * channels, outputs: channels };
        let layout = Layout::of_graph([Map::Conv(conv), dense, dense].into_iter());
        let mut net = CpuNet::new(isa, &layout, &Centre::default(), true).expect(MEMORY);
        net.pack(&vec![0.01; layout.len()]);
        let mut block = CpuBlock::new(isa);
        let count = (NUMBERS / shape.numbers()).max(1);
        let maps = [0; 2].map(|_| block.scratch(count, shape.numbers()));
        let neighbours = [9 * channels, channels].map(|cols| block.scratch(count * side * side, cols));
        maps.into_iter().chain(neighbours).for_each(|mat| block.fill(mat, 0.5));
        let flops = (2 * 9 * channels * channels * count * side * side) as u64;
        Self { net, gradient: CpuGradient::new(&layout).expect(MEMORY), block, maps, neighbours, flops }
    }

    /// Returns the number of floating-point operations of an operation; taps beyond the edges count too.
    pub fn flops(&self, op: PictureOp) -> u64 {
        if op == PictureOp::WeightsOfTwo { 2 * self.flops } else { self.flops }
    }

    /// Runs `op` once.
    pub fn run(&mut self, op: PictureOp) {
        let Self { net, gradient, block, maps: [x, y], neighbours: [near, out], .. } = self;
        match op {
            PictureOp::Product => block.map(net, 1, *near, true, *out),
            PictureOp::Forward => block.map(net, 0, *x, true, *y),
            PictureOp::Reverse => block.map_reverse(net, 0, *x, *y, false),
            PictureOp::Weights => block.map_gradient(gradient, 0, &[(*x, *y)], Some(*y)),
            PictureOp::WeightsOfTwo => block.map_gradient(gradient, 0, &[(*x, *y), (*y, *x)], Some(*y)),
        }
    }
}
