//! A network on a GPU: its weights, and its gradient in lines that add up.

use super::block::{ALIGN, CudaBlock, THREADS, reduction_blocks};
use super::gpu::Gpu;
use super::kernels::{GradientReduce, UpdateParameters};
use crate::device::Squares;
use crate::device::layout::{self, Layer};

/// Rows that a line of a gradient sums at least.
const LEAST_CHUNK: usize = 128;
/// Floats of all lines of one contribution at most, unless one line has more: a quarter of a gigabyte.
const MOST_LINES: usize = 1 << 26;
const MOST_SPLITS: usize = 64;

/// Lines that a contribution of `rows` rows to a gradient of `len` parameters takes, and the rows of each.
fn lines_of(fused: bool, len: usize, rows: usize) -> (usize, usize) {
    if !fused {
        return (1, rows);
    }
    let splits = (MOST_LINES / len.max(1)).clamp(1, MOST_SPLITS);
    // A multiple of what the kernel stages at a time.
    let chunk = LEAST_CHUNK.max(rows.div_ceil(splits).next_multiple_of(32));
    (rows.div_ceil(chunk), chunk)
}

/// Weights of one network on the device: the flat parameter vector.
pub(crate) struct CudaNet {
    pub weights: u64,
    pub layers: Vec<Layer>,
    /// The squares that it sees.
    pub squares: Squares,
    /// Multiplied by the library's kernels, not by cublasLt.
    pub fused: bool,
}

impl CudaNet {
    /// At an address of the device.
    pub fn new(gpu: &Gpu, weights: u64, squares: Squares, layers: &[Layer]) -> Self {
        Self { weights, layers: layers.to_vec(), squares, fused: gpu.fuses(layers) }
    }
}

/// Gradient of one network over a block of rows: lines, each a whole flat parameter vector, that add up to it. Every
/// contribution to a layer has lines of its own, so that no contribution waits for another.
pub(crate) struct CudaGradient {
    lines: u64,
    /// Floats between the lines.
    pitch: usize,
    pub(super) layers: Vec<Layer>,
    pub(super) fused: bool,
    /// Lines that there is memory for; none where contributions are only counted.
    room: Option<usize>,
    /// Lines that each layer has.
    used: Vec<usize>,
    /// Rows of each contribution to the first layer so far.
    contributions: Vec<usize>,
}

impl CudaGradient {
    /// Takes room for contributions of so many rows each, as [`Self::contributions`] tells them.
    pub fn new(block: &mut CudaBlock, net: &CudaNet, contributions: &[usize]) -> Self {
        let mut gradient = Self::counting(net);
        let room = contributions.iter().map(|&rows| lines_of(net.fused, gradient.len(), rows).0).sum();
        gradient.lines = block.scratch_address(room * gradient.pitch);
        gradient.room = Some(room);
        gradient
    }

    /// Counts contributions, in a walk that launches nothing.
    pub fn counting(net: &CudaNet) -> Self {
        let len = layout::parameters(&net.layers);
        Self {
            lines: 0,
            pitch: len.next_multiple_of(ALIGN / size_of::<f32>()),
            layers: net.layers.clone(),
            fused: net.fused,
            room: None,
            used: vec![0; net.layers.len()],
            contributions: Vec::new(),
        }
    }

    /// Rows of each contribution so far: every layer gets the same ones.
    pub fn contributions(self) -> Vec<usize> {
        self.contributions
    }

    /// Floats of a line that hold the gradient, the layers' end.
    fn len(&self) -> usize {
        layout::parameters(&self.layers)
    }

    pub(super) fn pitch(&self) -> usize {
        self.pitch
    }

    /// A layer's place in the lines for a contribution of `rows` rows: the address in the first line, and the rows of
    /// each.
    pub(super) fn take(&mut self, layer: usize, rows: usize) -> (u64, usize) {
        let (lines, chunk) = lines_of(self.fused, self.len(), rows);
        let first = self.used[layer];
        self.used[layer] += lines;
        assert!(self.room.is_none_or(|room| self.used[layer] <= room), "more contributions to a gradient than counted");
        if layer == 0 {
            self.contributions.push(rows);
        }
        let place = self.lines + ((first * self.pitch + self.layers[layer].offset) * size_of::<f32>()) as u64;
        (place, chunk)
    }

    /// Queues the sum of the lines into the flat vector at `gradient`, on top of what is there with `accumulate`, and
    /// where wanted (`squares` is not 0) the partial sums of its square with the plan of the update; returns how many
    /// partial sums there are.
    pub fn reduce(
        &self,
        block: &mut CudaBlock,
        gradient: u64,
        accumulate: bool,
        squares: u64,
        update: UpdateParameters,
    ) -> u32 {
        let lines = self.used[0];
        assert!(self.used.iter().all(|&used| used == lines), "a layer lacks a contribution");
        block.join();
        let grid = reduction_blocks(self.len().div_ceil(4) as u64);
        let arguments = GradientReduce {
            lines: self.lines,
            pitch: self.pitch as u64,
            count: lines as u32,
            gradient,
            n: self.len() as u64,
            accumulate: u32::from(accumulate),
            squares,
            update,
        };
        // One block more plans.
        let blocks = grid + u32::from(squares != 0);
        block.launch([blocks, 1, 1], [THREADS, 1, 1], &arguments);
        grid
    }
}
