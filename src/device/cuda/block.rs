//! A workspace in device memory, in which every operation is one or a few launches on a stream.
//!
//! A computation first runs without launches, which tells how much memory it needs and lets cublasLt plan its products.
//! Then it runs with this memory, once for a capture or many times. Operations return no errors: the first failure is
//! kept, later operations do nothing, and [`CudaBlock::finish`] returns it.

use super::branches::Branches;
use super::gpu::Gpu;
use super::kernels::{Arguments, ArgumentsOfOne, Kernel, Launch, PhiloxNormals};
use super::product::Product;
use crate::device::{Mat, Squares, Workspace};
use crate::error::Result;
use crate::rng::Stream;
use cudarc::driver::sys::{self, CUstream};
use std::sync::Arc;

/// The alignment of every matrix, in bytes.
pub(super) const ALIGN: usize = 256;
/// Number of threads in a block of kernels that take any number.
pub(crate) const THREADS: u32 = 256;
/// The largest number of blocks of such a grid. It does not depend on the device, so that sums over blocks have the
/// same bits on every GPU.
pub(crate) const MOST_BLOCKS: u64 = 1024;
/// The largest number of blocks of a grid in which each block leaves a partial sum.
const MOST_PARTIALS: u64 = 256;
/// The place in the random streams from which a block's noise is drawn. The CPU draws the same elements of the same
/// streams.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CudaNoise {
    pub seed: u64,
    /// Device address of the step counter, or 0 for none. The number of the sequences is twice the counter plus
    /// `number`, or `number` alone without a counter.
    pub counter: u64,
    pub number: u64,
    /// Number of the block's first row.
    pub first_row: u64,
}

/// See the module.
pub(crate) struct CudaBlock {
    pub(super) gpu: Arc<Gpu>,
    pub(super) stream: CUstream,
    /// Address of the workspace on the device.
    base: u64,
    /// Whether the block only measures and launches nothing.
    measures: bool,
    /// Products are not planned either.
    foretells: bool,
    /// Floats of the workspace.
    room: usize,
    used: usize,
    most: usize,
    failure: Option<crate::error::Error>,
    /// The branches that a captured graph may have.
    branches: Option<Arc<Branches>>,
    /// A column of ones at the start of the workspace.
    pub(super) ones: Option<Mat>,
}

// SAFETY: a stream may be used from any thread.
unsafe impl Send for CudaBlock {}

impl CudaBlock {
    /// Returns a block that measures a computation and launches nothing.
    pub fn measuring(gpu: &Arc<Gpu>) -> Self {
        Self { measures: true, ..Self::new(gpu, gpu.stream(), 0, usize::MAX) }
    }

    /// As [`Self::measuring`], but leaves the products of cublasLt alone, whose plans take memory.
    pub fn foretelling(gpu: &Arc<Gpu>) -> Self {
        Self { foretells: true, ..Self::measuring(gpu) }
    }

    /// Launches on `stream`, with a workspace of `room` floats at `base`. The GPU's context has to be current as long
    /// as it is used.
    pub fn new(gpu: &Arc<Gpu>, stream: CUstream, base: u64, room: usize) -> Self {
        Self {
            gpu: Arc::clone(gpu),
            stream,
            base,
            measures: false,
            foretells: false,
            room,
            used: 0,
            most: 0,
            failure: None,
            branches: None,
            ones: None,
        }
    }

    /// Lets work branch off during a capture: work whose result is not needed yet, and parts of a step that do not
    /// depend on each other.
    pub fn branching(self, branches: &Arc<Branches>) -> Self {
        Self { branches: Some(Arc::clone(branches)), ..self }
    }

    /// Keeps a column of `rows` ones at the start of a workspace that is used many times. [`Self::fill_ones`] writes
    /// the ones, once.
    pub fn with_ones(mut self, rows: usize) -> Self {
        assert!(self.used == 0);
        self.ones = Some(self.allocate(rows, 1));
        self
    }

    /// Writes the column of ones of [`Self::with_ones`].
    pub fn fill_ones(&mut self) {
        if let Some(ones) = self.ones {
            self.fill(ones, 1.0);
        }
    }

    /// Returns the GPU that the block runs on.
    pub fn gpu(&self) -> Arc<Gpu> {
        Arc::clone(&self.gpu)
    }

    /// Queues `work` after the work that was queued so far and beside the work that follows. [`Self::join`] waits for
    /// it.
    pub fn aside<R>(&mut self, work: impl FnOnce(&mut Self) -> R) -> R {
        let stream = self.stream;
        self.stream = self.branch();
        let result = work(self);
        self.stream = stream;
        result
    }

    /// Returns a stream whose work follows the work queued so far; the block's own stream where there are no branches.
    fn branch(&mut self) -> CUstream {
        let from = self.stream;
        let Some(branches) = self.branches.as_ref().filter(|_| self.failure.is_none()) else {
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

    /// Makes the work that follows wait for everything that was queued aside.
    pub fn join(&mut self) {
        let stream = self.stream;
        if let Some(branches) = &self.branches
            && self.failure.is_none()
            && let Err(error) = branches.join(stream)
        {
            self.failure.get_or_insert(error);
        }
    }

    /// Returns the largest number of floats in use at once.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Returns how far the workspace is used, for [`Self::release`].
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Gives back every matrix that was made since the mark.
    pub(super) fn release(&mut self, mark: usize) {
        self.used = mark;
    }

    /// Returns the first failure since the last call.
    pub fn finish(&mut self) -> Result<()> {
        self.failure.take().map_or(Ok(()), Err)
    }

    /// Takes aligned floats of the workspace and returns their offset.
    fn take(&mut self, floats: usize) -> usize {
        let offset = self.used;
        self.used += floats.next_multiple_of(ALIGN / size_of::<f32>());
        self.most = self.most.max(self.used);
        assert!(self.used <= self.room, "a computation takes more memory than it was measured to");
        offset
    }

    /// Returns a matrix. The distance of its rows is a multiple of 16 bytes, so that kernels may read 16 bytes at a
    /// time; a single column is dense.
    pub(super) fn allocate(&mut self, rows: usize, cols: usize) -> Mat {
        let stride = if cols == 1 { 1 } else { cols.next_multiple_of(4) };
        Mat { offset: self.take(rows * stride), stride, view: false, squares: Squares::NONE, rows, cols }
    }

    /// Returns a matrix with these squares behind its columns.
    pub(super) fn scratch_with(&mut self, rows: usize, cols: usize, squares: Squares) -> Mat {
        self.allocate(rows, cols + squares.count).before_squares(squares)
    }

    /// Returns the device address of a matrix.
    pub fn address(&self, mat: Mat) -> u64 {
        self.base + (mat.offset * size_of::<f32>()) as u64
    }

    /// Takes room for `count` numbers of 4 bytes and returns its device address.
    pub fn scratch_address(&mut self, count: usize) -> u64 {
        let mat = self.allocate(count, 1);
        self.address(mat)
    }

    /// Copies numbers to the device and returns their address there. The host's numbers must not change until the
    /// stream was waited for.
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

    /// Returns device address and stride.
    pub fn place(&self, mat: Mat) -> (u64, u32) {
        (self.address(mat), u32::try_from(mat.stride).expect("rows of less than 2^32 numbers"))
    }

    /// Returns [`Self::place`], or null for no matrix.
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

    /// Queues a product of cublasLt, or plans it where the block only measures.
    pub(super) fn multiply(&mut self, product: &Product) {
        if self.failure.is_some() || self.foretells {
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

/// Returns the number of blocks for about this many threads.
fn blocks(threads: u64, most: u64) -> u32 {
    threads.div_ceil(u64::from(THREADS)).clamp(1, most) as u32
}

/// Returns the number of blocks that [`CudaBlock::launch_over`] launches.
pub(crate) fn blocks_over(threads: u64) -> u32 {
    blocks(threads, MOST_BLOCKS)
}

/// Returns the number of blocks of a kernel in which each block leaves a partial sum.
pub(crate) fn reduction_blocks(threads: u64) -> u32 {
    blocks(threads, MOST_PARTIALS)
}
