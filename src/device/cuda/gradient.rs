//! A network on a GPU: its weights, and its gradient as lines whose sum it is.

use super::block::{ALIGN, CudaBlock, THREADS, reduction_blocks};
use super::gpu::Gpu;
use super::kernels::{GradientReduce, UpdateParameters};
use crate::device::Squares;
use crate::device::layout::{self, Layer};

/// The least number of rows that a line of a gradient sums.
const LEAST_CHUNK: usize = 128;
/// The largest size of all lines of one contribution, in floats: a quarter of a gigabyte. A single line may have more.
const MOST_LINES: usize = 1 << 26;
const MOST_SPLITS: usize = 64;

/// The largest number of lines of a contribution of pictures. Each of them is a sum over many pixels.
const MOST_PICTURE_SPLITS: usize = 32;

/// Where the lines of a contribution lie.
pub(super) struct GradientLines {
    /// The layer's address in the first line.
    pub place: u64,
    /// Distance of the lines in floats.
    pub pitch: usize,
    pub count: usize,
    /// Number of rows of each line.
    pub chunk: usize,
}

/// Returns the number of lines that a contribution of `rows` rows to a gradient of `len` parameters takes, and the
/// number of rows of each.
fn lines_of(fused: bool, pictures: bool, len: usize, rows: usize) -> (usize, usize) {
    if !fused {
        return (1, rows);
    }
    if pictures {
        let splits = (MOST_LINES / len.max(1)).clamp(1, MOST_PICTURE_SPLITS);
        let chunk = rows.div_ceil(splits);
        return (rows.div_ceil(chunk), chunk);
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
    /// Whether the library's kernels multiply it, and not cublasLt.
    pub fused: bool,
}

impl CudaNet {
    /// Takes a network whose weights lie at an address of the device.
    pub fn new(gpu: &Gpu, weights: u64, squares: Squares, layers: &[Layer]) -> Self {
        Self { weights, layers: layers.to_vec(), squares, fused: gpu.fuses(layers) }
    }
}

/// The gradient of one network over a block of rows. It is the sum of lines, each a whole flat parameter vector. Every
/// contribution to a layer has lines of its own, so that no contribution waits for another.
pub(crate) struct CudaGradient {
    lines: u64,
    /// Distance of the lines in floats.
    pitch: usize,
    pub(super) layers: Vec<Layer>,
    pub(super) fused: bool,
    /// Number of lines that there is memory for; none where contributions are only counted.
    room: Option<usize>,
    /// Number of lines that each layer has so far.
    used: Vec<usize>,
    /// Number of rows of each contribution to the first layer so far.
    contributions: Vec<usize>,
}

impl CudaGradient {
    /// Takes room for contributions with these numbers of rows, which [`Self::contributions`] tells.
    pub fn new(block: &mut CudaBlock, net: &CudaNet, contributions: &[usize]) -> Self {
        let mut gradient = Self::counting(net);
        let room = contributions.iter().map(|&rows| gradient.lines_of(rows).0).sum();
        gradient.lines = block.scratch_address(room * gradient.pitch);
        gradient.room = Some(room);
        gradient
    }

    /// Returns a gradient that only counts contributions, for a block that launches nothing.
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

    /// Returns the number of rows of each contribution so far. Every layer gets the same contributions.
    pub fn contributions(self) -> Vec<usize> {
        self.contributions
    }

    /// Returns how many floats of a line hold the gradient.
    fn len(&self) -> usize {
        layout::parameters(&self.layers)
    }

    fn lines_of(&self, rows: usize) -> (usize, usize) {
        let pictures = self.layers.iter().any(Layer::is_convolution);
        lines_of(self.fused, pictures, self.len(), rows)
    }

    /// Takes lines for a contribution of `rows` rows to a layer.
    pub(super) fn take(&mut self, layer: usize, rows: usize) -> GradientLines {
        let (count, chunk) = self.lines_of(rows);
        let first = self.used[layer];
        self.used[layer] += count;
        assert!(self.room.is_none_or(|room| self.used[layer] <= room), "more contributions to a gradient than counted");
        if layer == 0 {
            self.contributions.push(rows);
        }
        let place = self.lines + ((first * self.pitch + self.layers[layer].offset) * size_of::<f32>()) as u64;
        GradientLines { place, pitch: self.pitch, count, chunk }
    }

    /// Queues the sum of the lines into the flat vector at `gradient`, added to what is there with `accumulate`. Where
    /// `squares` is not 0, it also queues the partial sums of the gradient's square and the plan of the update. Returns
    /// how many partial sums there are.
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
