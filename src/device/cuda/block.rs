//! A workspace in device memory, in which every operation is one or a few launches on a stream.
//!
//! A block is first walked through with nothing launched, which tells how much memory a computation needs and lets
//! cublasLt plan its products; then with its memory, once for a capture or again and again. Operations have no result
//! of their own: the first failure is kept, later operations do nothing, and [`CudaBlock::finish`] returns it.

use super::branches::Branches;
use super::gpu::Gpu;
use super::kernels::{Arguments, ArgumentsOfOne, Kernel, Launch, PhiloxNormals};
use super::product::Product;
use crate::device::{Mat, Squares, Workspace};
use crate::error::Result;
use crate::rng::Stream;
use cudarc::driver::sys::{self, CUstream};
use std::sync::Arc;

/// Bytes that every matrix begins at a multiple of.
pub(super) const ALIGN: usize = 256;
/// Threads of a block of kernels that take any number.
pub(crate) const THREADS: u32 = 256;
/// Blocks of such a grid at most. Not a number of the device's: sums over blocks are the same bits on every GPU.
pub(crate) const MOST_BLOCKS: u64 = 1024;
/// Blocks of a grid that leaves one partial sum each.
const MOST_PARTIALS: u64 = 256;
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
    /// A column of ones at the start of the workspace.
    pub(super) ones: Option<Mat>,
}

// SAFETY: a stream may be used from any thread.
unsafe impl Send for CudaBlock {}

impl CudaBlock {
    /// Walks through a computation and launches nothing.
    pub fn measuring(gpu: &Arc<Gpu>) -> Self {
        Self { measures: true, ..Self::new(gpu, gpu.stream(), 0, usize::MAX) }
    }

    /// Launches on `stream`, with a workspace of `room` floats at `base`. The GPU's context has to be current as long
    /// as it is used.
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
            ones: None,
        }
    }

    /// During a capture: work that nothing waits for yet, or that two parts of a step have no use of each other for,
    /// branches off.
    pub fn branching(self, branches: &Arc<Branches>) -> Self {
        Self { branches: Some(Arc::clone(branches)), ..self }
    }

    /// Keeps a column of so many ones at the start of the workspace: for those who use it many times.
    /// [`Self::fill_ones`] makes them ones, once.
    pub fn with_ones(mut self, rows: usize) -> Self {
        assert!(self.used == 0);
        self.ones = Some(self.allocate(rows, 1));
        self
    }

    /// See [`Self::with_ones`].
    pub fn fill_ones(&mut self) {
        if let Some(ones) = self.ones {
            self.fill(ones, 1.0);
        }
    }

    /// Where it runs.
    pub fn gpu(&self) -> Arc<Gpu> {
        Arc::clone(&self.gpu)
    }

    /// Queues `work` beside what follows, after what was queued so far; [`Self::join`] waits for it.
    pub fn aside<R>(&mut self, work: impl FnOnce(&mut Self) -> R) -> R {
        let stream = self.stream;
        self.stream = self.branch();
        let result = work(self);
        self.stream = stream;
        result
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
    pub fn join(&mut self) {
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

    /// Where the workspace is taken up to; [`Self::release`] returns to it.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Gives back every matrix made since the mark.
    pub(super) fn release(&mut self, mark: usize) {
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
        Mat { offset: self.take(rows * stride), stride, view: false, squares: Squares::NONE, rows, cols }
    }

    /// A matrix with these squares behind its columns.
    pub(super) fn scratch_with(&mut self, rows: usize, cols: usize, squares: Squares) -> Mat {
        self.allocate(rows, cols + squares.count).before_squares(squares)
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

    /// Copies numbers to the device; returns where they are. They have to stay as they are until the stream was waited
    /// for.
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

    /// Queues the kernel that takes these arguments, unless this only measures or something failed before.
    pub fn launch<A: ArgumentsOfOne>(&mut self, grid: [u32; 3], block: [u32; 3], arguments: &A) {
        self.launch_as(A::KERNEL, grid, block, arguments);
    }

    /// As [`Self::launch`], for one of several kernels that take the same arguments.
    pub fn launch_as<A: Arguments>(&mut self, kernel: Kernel, grid: [u32; 3], block: [u32; 3], arguments: &A) {
        if cfg!(any(test, debug_assertions)) {
            assert!(A::KERNELS.contains(&kernel), "{kernel:?} does not take the arguments of {:?}", A::KERNELS);
        }
        let list = arguments.list();
        let launch = Launch { kernel, grid, block, arguments: list.as_ref() };
        self.attempt(|this| this.gpu.launch(this.stream, &launch));
    }

    /// As [`Self::launch`], for kernels that take any number of blocks, with about this many threads.
    pub fn launch_over<A: ArgumentsOfOne>(&mut self, threads: u64, arguments: &A) {
        self.launch_over_as(A::KERNEL, threads, arguments);
    }

    /// As [`Self::launch_over`], for one of several kernels that take the same arguments.
    pub fn launch_over_as<A: Arguments>(&mut self, kernel: Kernel, threads: u64, arguments: &A) {
        self.launch_as(kernel, [blocks_over(threads), 1, 1], [THREADS, 1, 1], arguments);
    }

    /// As [`Self::launch_over`], for as many parts along the grid's second axis.
    pub fn launch_parts<A: ArgumentsOfOne>(&mut self, threads: u64, parts: u32, arguments: &A) {
        self.launch([blocks_over(threads), parts, 1], [THREADS, 1, 1], arguments);
    }

    /// Queues, or plans, a product of cublasLt's.
    pub(super) fn multiply(&mut self, product: &Product) {
        if self.failure.is_some() {
            return;
        }
        let done = if self.measures {
            self.gpu.library.prepare(&self.gpu.account, product)
        } else {
            self.gpu.library.multiply(&self.gpu.account, self.stream, product)
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
        let arguments = PhiloxNormals {
            out,
            rows: to.rows as u32,
            cols: to.cols as u32,
            stride,
            seed: noise.seed,
            counter: noise.counter,
            number: noise.number,
            stream: stream as u32,
            first,
        };
        self.launch_over_as(Kernel::PhiloxNormals, (to.rows * to.cols).div_ceil(4) as u64, &arguments);
    }
}

/// Blocks for about this many threads.
fn blocks(threads: u64, most: u64) -> u32 {
    threads.div_ceil(u64::from(THREADS)).clamp(1, most) as u32
}

/// Blocks that [`CudaBlock::launch_over`] launches.
pub(crate) fn blocks_over(threads: u64) -> u32 {
    blocks(threads, MOST_BLOCKS)
}

/// Blocks of a kernel that leaves one partial sum a block.
pub(crate) fn reduction_blocks(threads: u64) -> u32 {
    blocks(threads, MOST_PARTIALS)
}
