//! The device trait on a GPU: a workspace in device memory, and every operation as one or a few launches on a stream.
//!
//! A block is first walked through with nothing launched, which tells how much memory a computation needs and lets
//! cublasLt plan its products; then with its memory, once for a capture or again and again. Operations have no result
//! of their own: the first failure is kept, later operations do nothing, and [`CudaBlock::finish`] returns it.

use super::branches::Branches;
use super::gpu::Gpu;
use super::kernels::{Argument, Kernel, Launch, arguments_of};
use super::layers::ProductKind;
use super::product::Product;
use crate::device::{Activation, Bridge, Device, Head, Mat, Points};
use crate::error::Result;
use crate::euot::divergence::Conjugate;
use crate::nn::layout::Layer;
use crate::rng::Stream;
use cudarc::driver::sys::{self, CUstream};
use std::sync::Arc;

/// Bytes that every matrix begins at a multiple of.
const ALIGN: usize = 256;
/// Threads of a block of kernels that take any number.
pub(super) const THREADS: u32 = 256;
/// Blocks of such a grid at most. Not a number of the device's: sums over blocks are the same bits on every GPU.
const MOST_BLOCKS: u64 = 1024;
/// Blocks of a grid that leaves one partial sum each.
const MOST_PARTIALS: u64 = 256;
/// Samples and components of a tile of the mixture kernels for many latents.
const MIXTURE_TILE: usize = 64;

/// Weights of one network on the device: the flat parameter vector.
pub(crate) struct CudaNet {
    pub weights: u64,
    pub layers: Vec<Layer>,
    /// Multiplied by the library's kernels, not by cublasLt.
    pub fused: bool,
}

impl CudaNet {
    /// At an address of the device.
    pub fn new(gpu: &Gpu, weights: u64, layers: &[Layer]) -> Self {
        Self { weights, layers: layers.to_vec(), fused: gpu.fuses(layers) }
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
    room: usize,
    /// Lines that each layer has.
    used: Vec<usize>,
}

impl CudaGradient {
    /// With room for contributions of so many rows each.
    pub fn new(block: &mut CudaBlock, net: &CudaNet, rows: &[usize]) -> Self {
        let len = net.layers.last().map_or(0, Layer::end);
        let pitch = len.next_multiple_of(ALIGN / size_of::<f32>());
        let room = rows.iter().map(|&rows| super::layers::lines_of(net.fused, len, rows).0).sum();
        Self {
            lines: block.scratch_address(room * pitch),
            pitch,
            layers: net.layers.clone(),
            fused: net.fused,
            room,
            used: vec![0; net.layers.len()],
        }
    }

    /// Floats of a line that hold the gradient, the layers' end.
    pub(super) fn len(&self) -> usize {
        self.layers.last().map_or(0, Layer::end)
    }

    pub(super) fn pitch(&self) -> usize {
        self.pitch
    }

    /// A layer's place in the next `count` lines: the address in the first of them.
    pub(super) fn take(&mut self, layer: usize, count: usize) -> u64 {
        let first = self.used[layer];
        self.used[layer] += count;
        assert!(self.used[layer] <= self.room, "more contributions to a gradient than were announced");
        self.lines + ((first * self.pitch + self.layers[layer].offset) * size_of::<f32>()) as u64
    }

    /// Queues the sum of the lines into the flat vector at `gradient`, on top of what is there with `accumulate`, and where
    /// wanted the partial sums of its square; returns how many those are.
    pub fn reduce(&self, block: &mut CudaBlock, gradient: u64, accumulate: bool, squares: u64) -> u32 {
        let lines = self.used[0];
        assert!(self.used.iter().all(|&used| used == lines), "a layer lacks a contribution");
        block.join();
        let grid = reduction_blocks(self.len().div_ceil(4) as u64);
        let arguments = arguments_of![
            self.lines,
            self.pitch as u64,
            lines as u32,
            gradient,
            self.len() as u64,
            u32::from(accumulate),
            squares,
        ];
        block.launch(Kernel::GradientReduce, [grid, 1, 1], [THREADS, 1, 1], arguments);
        grid
    }
}

/// What draws a block's noise: the same elements of the same streams as on the CPU.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CudaNoise {
    pub seed: u64,
    /// Device address of the step's number, 0 for none: then the sequences are those of `number` itself, otherwise of
    /// twice the counter plus `number`.
    pub counter: u64,
    pub number: u64,
    /// Number of the block's first row.
    pub first_row: u64,
    /// Where endpoint noise is kept for the mixture's gradient (rows x d), if it is wanted.
    pub xi: Option<Mat>,
}

/// Partial sums of the loss terms: `capacity` doubles for each of four terms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CudaSums {
    pub address: u64,
    pub capacity: usize,
    /// Partial sums of each term so far.
    pub counts: [usize; 4],
}

/// The terms' places, those of a value step and that of a generator step.
pub(crate) const GENERATED: usize = 0;
pub(crate) const CONJUGATE: usize = 1;
pub(crate) const ACTION: usize = 2;
pub(crate) const DENSITY_RATIO: usize = 3;
pub(crate) const GENERATOR: usize = 0;

impl CudaSums {
    /// Room for `count` more partial sums of a term.
    fn take(&mut self, term: usize, count: usize) -> u64 {
        let place = term * self.capacity + self.counts[term];
        self.counts[term] += count;
        assert!(self.counts[term] <= self.capacity);
        self.address + (place * size_of::<f64>()) as u64
    }
}

/// See the module.
pub(crate) struct CudaBlock {
    pub(super) gpu: Arc<Gpu>,
    pub(super) stream: CUstream,
    /// Of the workspace.
    base: u64,
    /// Nothing is launched.
    measures: bool,
    /// Floats of the workspace.
    room: usize,
    used: usize,
    most: usize,
    failure: Option<crate::error::Error>,
    /// While a graph is captured: where it may branch.
    branches: Option<Arc<Branches>>,
}

// SAFETY: a stream may be used from any thread.
unsafe impl Send for CudaBlock {}

impl CudaBlock {
    /// Walks through a computation and launches nothing.
    pub fn measuring(gpu: &Arc<Gpu>) -> Self {
        Self { measures: true, ..Self::new(gpu, gpu.stream(), 0, usize::MAX) }
    }

    /// Launches on `stream`, with a workspace of `room` floats at `base`. The GPU's context has to be current as long as
    /// it is used.
    pub fn new(gpu: &Arc<Gpu>, stream: CUstream, base: u64, room: usize) -> Self {
        Self {
            gpu: Arc::clone(gpu),
            stream,
            base,
            measures: false,
            room,
            used: 0,
            most: 0,
            failure: None,
            branches: None,
        }
    }

    /// During a capture: work that nothing waits for yet, or that two parts of a step have no use of each other for,
    /// branches off.
    pub fn branching(self, branches: &Arc<Branches>) -> Self {
        Self { branches: Some(Arc::clone(branches)), ..self }
    }

    /// Where it runs.
    pub fn gpu(&self) -> Arc<Gpu> {
        Arc::clone(&self.gpu)
    }

    /// Queues `work` beside what follows, after what was queued so far; [`Self::join`] waits for it.
    pub(super) fn aside(&mut self, work: impl FnOnce(&mut Self)) {
        let stream = self.stream;
        self.stream = self.branch();
        work(self);
        self.stream = stream;
    }

    /// A stream that goes on from here; this one where there are no branches.
    fn branch(&mut self) -> CUstream {
        let from = self.stream;
        let Some(branches) = &self.branches else {
            return from;
        };
        match branches.fork(from) {
            Ok(stream) => stream,
            Err(error) => {
                self.failure.get_or_insert(error);
                from
            }
        }
    }

    /// Makes what follows wait for everything that was queued aside.
    pub(super) fn join(&mut self) {
        let stream = self.stream;
        if let Some(branches) = &self.branches
            && let Err(error) = branches.join(stream)
        {
            self.failure.get_or_insert(error);
        }
    }

    /// The most floats that were in use at once.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Where the workspace is taken up to; [`Self::reset`] returns to it.
    pub fn mark(&self) -> usize {
        self.used
    }

    /// Gives back every matrix made since the mark.
    pub fn reset(&mut self, mark: usize) {
        self.used = mark;
    }

    /// The first failure since the last call.
    pub fn finish(&mut self) -> Result<()> {
        self.failure.take().map_or(Ok(()), Err)
    }

    /// Floats, aligned.
    fn take(&mut self, floats: usize) -> usize {
        let offset = self.used;
        self.used += floats.next_multiple_of(ALIGN / size_of::<f32>());
        self.most = self.most.max(self.used);
        assert!(self.used <= self.room, "a computation takes more memory than it was measured to");
        offset
    }

    /// A matrix whose rows lie 16 bytes apart or a multiple of it, so that kernels may take 16 at a time; columns are
    /// dense.
    pub(super) fn allocate(&mut self, rows: usize, cols: usize) -> Mat {
        let stride = if cols == 1 { 1 } else { cols.next_multiple_of(4) };
        Mat { offset: self.take(rows * stride), stride, view: false, rows, cols }
    }

    /// Device address of a matrix.
    pub fn address(&self, mat: Mat) -> u64 {
        self.base + (mat.offset * size_of::<f32>()) as u64
    }

    /// Device address of room for as many numbers of 4 bytes.
    pub fn scratch_address(&mut self, count: usize) -> u64 {
        let mat = self.allocate(count, 1);
        self.address(mat)
    }

    /// Copies numbers to the device; returns where they are. They have to stay as they are until the stream was waited for.
    pub fn upload(&mut self, values: &[f32]) -> u64 {
        let address = self.scratch_address(values.len());
        self.attempt(|block| {
            // SAFETY: room for as many; they stay by contract.
            let status = unsafe {
                sys::cuMemcpyHtoDAsync_v2(address, values.as_ptr().cast(), size_of_val(values), block.stream)
            };
            super::driver::check(status, || "copy to the GPU".into())
        });
        address
    }

    /// Device address and stride.
    pub fn place(&self, mat: Mat) -> (u64, u32) {
        (self.address(mat), mat.stride as u32)
    }

    /// As [`Self::place`]; null for none.
    pub(super) fn optional(&self, mat: Option<Mat>) -> (u64, u32) {
        mat.map_or((0, 0), |mat| self.place(mat))
    }

    /// Queues a kernel, unless this only measures or something failed before.
    pub fn launch(&mut self, kernel: Kernel, grid: [u32; 3], block: [u32; 3], arguments: &[Argument]) {
        self.attempt(|block_| block_.gpu.launch(block_.stream, &Launch { kernel, grid, block, arguments }));
    }

    /// As [`Self::launch`], for kernels that take any number of blocks, with about this many threads.
    pub fn launch_over(&mut self, kernel: Kernel, threads: u64, arguments: &[Argument]) {
        self.launch(kernel, [blocks(threads, MOST_BLOCKS), 1, 1], [THREADS, 1, 1], arguments);
    }

    /// As [`Self::launch_over`], for as many parts along the grid's second axis.
    pub fn launch_parts(&mut self, kernel: Kernel, threads: u64, parts: u32, arguments: &[Argument]) {
        self.launch(kernel, [blocks(threads, MOST_BLOCKS), parts, 1], [THREADS, 1, 1], arguments);
    }

    /// Queues, or plans, a product of cublasLt's.
    pub(super) fn multiply(&mut self, product: &Product) {
        if self.failure.is_some() {
            return;
        }
        let done = if self.measures {
            self.gpu.library.prepare(&self.gpu.account, product)
        } else {
            self.gpu.library.multiply(&self.gpu, self.stream, product)
        };
        self.failure = done.err();
    }

    pub(super) fn attempt(&mut self, work: impl FnOnce(&Self) -> Result<()>) {
        if !self.measures && self.failure.is_none() {
            self.failure = work(self).err();
        }
    }

    /// Fills a matrix with standard normals, the elements of a stream from `first` on.
    pub fn normals(&mut self, noise: &CudaNoise, stream: Stream, first: u64, to: Mat) {
        let (out, stride) = self.place(to);
        self.launch_over(
            Kernel::PhiloxNormals,
            (to.rows * to.cols).div_ceil(4) as u64,
            arguments_of![
                out,
                to.rows as u32,
                to.cols as u32,
                stride,
                noise.seed,
                noise.counter,
                noise.number,
                stream as u32,
                first,
            ],
        );
    }
}

/// Blocks for about this many threads.
fn blocks(threads: u64, most: u64) -> u32 {
    threads.div_ceil(u64::from(THREADS)).clamp(1, most) as u32
}

/// Blocks of a kernel that leaves one partial sum a block.
pub(crate) fn reduction_blocks(threads: u64) -> u32 {
    blocks(threads, MOST_PARTIALS)
}

/// The head as kernels take it: offset, ends of the range, whether deterministic.
fn head_arguments(head: &Head) -> (f32, f32, f32, u32) {
    let (low, high) = head.log_std_range();
    (head.log_std_offset() as f32, low as f32, high as f32, u32::from(head.deterministic))
}

impl Device for CudaBlock {
    type Real = f32;
    type Net = CudaNet;
    type Gradient = CudaGradient;
    type Noise = CudaNoise;
    type Sums = CudaSums;
    const OVERLAPS: bool = true;

    fn both<S>(
        &mut self,
        state: &mut S,
        first: impl FnOnce(&mut Self, &mut S),
        second: impl FnOnce(&mut Self, &mut S),
    ) {
        self.aside(|block| first(block, state));
        second(self, state);
    }

    fn scratch(&mut self, rows: usize, cols: usize) -> Mat {
        self.allocate(rows, cols)
    }

    fn fill(&mut self, to: Mat, value: f64) {
        let (address, bits) = (self.address(to), (value as f32).to_bits());
        self.attempt(|block| {
            // SAFETY: a matrix of the workspace.
            let status = unsafe {
                if to.stride == to.cols {
                    sys::cuMemsetD32Async(address, bits, to.rows * to.cols, block.stream)
                } else {
                    let pitch = to.stride * size_of::<f32>();
                    sys::cuMemsetD2D32Async(address, pitch, bits, to.cols, to.rows, block.stream)
                }
            };
            super::driver::check(status, || "fill a matrix".into())
        });
    }

    fn affine(&mut self, net: &CudaNet, layer: usize, x: Mat, out: Mat) {
        self.layer_affine(net, layer, x, out);
    }

    fn activated(
        &mut self,
        net: &CudaNet,
        layer: usize,
        activation: Activation,
        x: Mat,
        h: Mat,
        slope: Option<Mat>,
        curve: Option<Mat>,
    ) {
        self.layer_activated(net, layer, activation, x, h, slope, curve);
    }

    fn transposed(&mut self, net: &CudaNet, layer: usize, delta: Mat, out: Mat) {
        self.layer_reverse(net, layer, delta, out, ProductKind::Plain);
    }

    fn backward(&mut self, net: &CudaNet, layer: usize, delta: Mat, slope: Mat, out: Mat, curve: Option<Mat>) {
        self.layer_reverse(net, layer, delta, out, ProductKind::Backward { slope, curve });
    }

    fn tangent(&mut self, net: &CudaNet, layer: usize, xdot: Mat, slope: Mat, out: Mat, curve: Mat) {
        self.layer_tangent(net, layer, xdot, slope, out, curve);
    }

    fn tangent_backward(&mut self, net: &CudaNet, layer: usize, delta: Mat, slope: Mat, curve: Mat, out: Mat) {
        self.layer_reverse(net, layer, delta, out, ProductKind::Adjoint { slope, curve });
    }

    fn gradient(&mut self, gradient: &mut CudaGradient, layer: usize, pairs: &[(Mat, Mat)], bias: Option<Mat>) {
        self.layer_gradient(gradient, layer, pairs, bias);
    }

    fn bridge(&mut self, head: &Head, bridge: &Bridge<CudaNoise>, points: &Points) {
        let Bridge { x0, raw, noise, time } = *bridge;
        let (x0_at, x0_stride) = self.place(x0);
        let (raw_at, raw_stride) = self.place(raw);
        let (end, end_stride) = self.optional(points.end);
        let (state, state_stride) = self.optional(points.state);
        let (drift, drift_stride) = self.optional(points.drift);
        let (xi, xi_stride) = self.optional(noise.xi);
        let (offset, low, high, deterministic) = head_arguments(head);
        // The kernel's contract: a thread takes four elements; values and time go behind the points.
        let append = 1u32;
        self.launch_over(
            Kernel::BridgeSample,
            (x0.rows * x0.cols).div_ceil(4) as u64,
            arguments_of![
                x0_at,
                x0_stride,
                raw_at,
                raw_stride,
                self.address(time),
                x0.rows as u32,
                x0.cols as u32,
                head.sigma as f32,
                offset,
                low,
                high,
                deterministic,
                noise.seed,
                noise.counter,
                noise.number,
                noise.first_row,
                end,
                end_stride,
                state,
                state_stride,
                drift,
                drift_stride,
                xi,
                xi_stride,
                append,
            ],
        );
    }

    fn dual(&mut self, conjugate: &Conjugate, v: Mat, delta: Mat, scale: f64, sums: &mut CudaSums) {
        let rows = v.rows / 2;
        let grid = reduction_blocks(rows as u64);
        let ((v, v_stride), (delta, delta_stride)) = (self.place(v), self.place(delta));
        let [generated, psi, ratio] = [GENERATED, CONJUGATE, DENSITY_RATIO].map(|term| sums.take(term, grid as usize));
        self.launch(
            Kernel::DualTerms,
            [grid, 1, 1],
            [THREADS, 1, 1],
            arguments_of![
                v,
                v_stride,
                rows as u32,
                conjugate.divergence as u32,
                conjugate.tau,
                scale,
                delta,
                delta_stride,
                generated,
                psi,
                ratio,
            ],
        );
    }

    fn action(&mut self, g: Mat, b: Mat, w: Mat, scale: f64, sums: &mut CudaSums) {
        let ((g_at, g_stride), (b, b_stride), (w, w_stride)) = (self.place(g), self.place(b), self.place(w));
        let grid = reduction_blocks((g.rows * g.cols).div_ceil(4) as u64);
        let action = sums.take(ACTION, grid as usize);
        let append = 1u32;
        self.launch(
            Kernel::ActionTerms,
            [grid, 1, 1],
            [THREADS, 1, 1],
            arguments_of![
                g_at,
                g_stride,
                b,
                b_stride,
                w,
                w_stride,
                g.rows as u32,
                g.cols as u32,
                scale as f32,
                append,
                action,
            ],
        );
    }

    fn mixture(
        &mut self,
        head: &Head,
        bridge: &Bridge<CudaNoise>,
        xt: Mat,
        v: Mat,
        g: Mat,
        latents: usize,
        delta: Mat,
        scale: f64,
        sums: &mut CudaSums,
    ) {
        let d = xt.cols;
        let groups = xt.rows / latents;
        let (x0, x0_stride) = self.place(bridge.x0);
        let (raw, raw_stride) = self.place(bridge.raw);
        let (xi, xi_stride) = self.optional(bridge.noise.xi);
        let ((xt, xt_stride), (v, v_stride), (g, g_stride)) = (self.place(xt), self.place(v), self.place(g));
        let (delta, delta_stride) = self.place(delta);
        let (offset, low, high, deterministic) = head_arguments(head);
        let time = self.address(bridge.time);
        let with = |rest: &[Argument]| {
            let shared: &[Argument] = arguments_of![
                x0,
                x0_stride,
                raw,
                raw_stride,
                xi,
                xi_stride,
                time,
                xt,
                xt_stride,
                v,
                v_stride,
                g,
                g_stride,
                latents as u32,
                d as u32,
                head.sigma as f32,
                offset,
                low,
                high,
                deterministic,
                scale as f32,
                delta,
                delta_stride,
            ];
            [shared, rest].concat()
        };
        let whole = match latents {
            0..=16 => Some(Kernel::Mixture16),
            17..=32 => Some(Kernel::Mixture32),
            33..=64 => Some(Kernel::Mixture64),
            _ => None,
        };
        if let Some(kernel) = whole {
            let losses = sums.take(GENERATOR, groups);
            let arguments = with(arguments_of![losses]);
            self.launch(kernel, [groups as u32, 1, 1], [THREADS, 1, 1], &arguments);
            return;
        }
        let tiles = latents.div_ceil(MIXTURE_TILE);
        let losses = sums.take(GENERATOR, groups * tiles);
        let density = self.scratch_address(2 * groups * latents);
        let grid = [tiles as u32, groups as u32, 1];
        let forward = with(arguments_of![density, losses]);
        let backward = with(arguments_of![density]);
        self.launch(Kernel::MixtureDensity, grid, [THREADS, 1, 1], &forward);
        self.launch(Kernel::MixtureGradient, grid, [THREADS, 1, 1], &backward);
    }
}
