//! A worker's workspace: a bump arena of matrices that is emptied between blocks of rows and stops growing after the
//! first one.

use super::crew::Crew;
use super::memory::Aligned;
use super::simd::{Isa, Real};
use super::winograd::filtering_numbers;
use super::winograd_gradient::gradient_numbers;
use super::winograd_transforms::is_filtered;
use crate::device::layout::{Layer, Layout, Map};
use crate::device::{Mat, Squares};
use crate::error::Result;
use crate::memory;
use crate::rng::{Sequence, unit};
use std::sync::Arc;

/// Numbers behind the last matrix: a panel that begins at the last channel of its last pixel may be read.
const BEHIND: usize = 32;

const WORKSPACE: &str = "a thread's workspace";

/// The size of a workspace, in numbers.
#[derive(Clone, Copy, Default)]
pub struct Sizes {
    /// Numbers in matrices.
    pub(super) arena: usize,
    /// Normals on their way into a matrix.
    pub(super) noise: usize,
    /// What convolutions transform at a time.
    pub(super) transforms: usize,
    /// Ends of a source sample that wait for those of the next.
    pub(super) held: usize,
}

impl Sizes {
    /// Returns what the layers of a network take beside all matrices, with or without the gradient of their weights. A
    /// [`Measure`](super::Measure) does not find it, as it knows no layers.
    pub fn beside(layout: &Layout, gradient: bool) -> Self {
        let of_layer = |layer: &Layer| match layer.map {
            Map::Conv(conv) if is_filtered(&conv) => {
                let pass = filtering_numbers(conv.from.channels.max(conv.channels));
                if gradient { pass.max(gradient_numbers(&conv)) } else { pass }
            }
            Map::Conv(_) | Map::Dense { .. } => 0,
        };
        Self { transforms: layout.layers.iter().map(of_layer).max().unwrap_or(0), ..Self::default() }
    }

    /// Returns the size that has room for either.
    pub fn max(self, other: Self) -> Self {
        Self {
            arena: self.arena.max(other.arena),
            noise: self.noise.max(other.noise),
            transforms: self.transforms.max(other.transforms),
            held: self.held.max(other.held),
        }
    }

    /// Returns the numbers that grow with the rows of a computation.
    pub fn numbers(self) -> usize {
        self.arena.saturating_add(self.noise)
    }

    /// Returns the bytes of a [`CpuBlock`] of this size.
    pub fn bytes<T>(self) -> usize {
        let numbers = self.arena.saturating_add(BEHIND).saturating_add(self.transforms).saturating_add(self.held);
        numbers.saturating_mul(size_of::<T>()).saturating_add(self.noise.saturating_mul(size_of::<f32>()))
    }
}

/// The noise of a block of rows: standard normals, and uniform numbers in the last field.
#[derive(Clone, Copy, Debug)]
pub struct CpuNoise {
    /// Endpoint noise (rows x d).
    pub xi: Mat,
    /// Bridge noise (rows x d); not read for endpoints alone.
    pub eta: Mat,
    /// Uniform numbers in (0, 1] that choose components (sources x 1). Read where a generator without latents draws
    /// them.
    pub component: Mat,
}

/// Returns the distance of a matrix's rows, and the numbers that the matrix takes. Rows are padded to whole vectors. A
/// power-of-two distance would put all rows into the same few sets of the first-level cache, so an odd number of half
/// lines is added.
#[inline]
pub(super) fn extent(rows: usize, cols: usize) -> (usize, usize) {
    let padded = cols.next_multiple_of(32);
    let stride = if padded > 32 { padded + 16 } else { padded };
    (stride, rows.saturating_mul(stride))
}

/// Workspace and instruction set of one worker.
pub struct CpuBlock<T> {
    pub(super) isa: Isa,
    arena: Aligned<T>,
    used: usize,
    /// Noise on its way into a matrix.
    noise: Vec<f32>,
    /// What convolutions transform at a time.
    transforms: Aligned<T>,
    /// See [`Held`].
    pub(super) held: Held<T>,
    /// Other threads that take part in operations.
    pub(super) crew: Option<Arc<Crew>>,
}

/// The ends of the rows of one source sample, where a block has no more than that, until the next block brings those
/// of the sample that they make pairs with.
pub(super) struct Held<T> {
    /// Number of the source sample in the whole batch.
    pub source: usize,
    pub ends: Vec<T>,
}

impl<T: Real> CpuBlock<T> {
    /// Returns an empty workspace.
    pub fn new(isa: Isa) -> Self {
        Self::shared(isa, None)
    }

    /// Returns an empty workspace, in whose operations these threads take part. Results are the same bits.
    pub fn shared(isa: Isa, crew: Option<Arc<Crew>>) -> Self {
        Self {
            isa,
            crew,
            arena: Aligned::empty(),
            used: 0,
            noise: Vec::new(),
            transforms: Aligned::empty(),
            held: Held { source: 0, ends: Vec::new() },
        }
    }

    /// Makes room for the size that [`Measure`](super::Measure) found for a computation, which then allocates nothing.
    pub fn reserve(&mut self, sizes: Sizes) -> Result<()> {
        self.arena.grow(WORKSPACE, sizes.arena.saturating_add(BEHIND))?;
        self.transforms.grow(WORKSPACE, self.rooms(sizes.transforms))?;
        let ends = &mut self.held.ends;
        memory::reserve(ends, WORKSPACE, sizes.held.saturating_sub(ends.len()))?;
        let missing = sizes.noise.saturating_sub(self.noise.len());
        memory::reserve(&mut self.noise, WORKSPACE, missing)?;
        self.noise.resize(self.noise.len() + missing, 0.0);
        Ok(())
    }

    /// Returns how far the workspace is used, for [`Self::release`].
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Gives back the matrices that were made since `used` was asked.
    pub(super) fn release(&mut self, used: usize) {
        assert!(used <= self.used);
        self.used = used;
    }

    /// Returns a new matrix. It makes room where [`Self::reserve`] did not, as in tests, and panics where the system
    /// has none.
    #[inline]
    pub(super) fn allocate(&mut self, rows: usize, cols: usize) -> Mat {
        let (stride, numbers) = extent(rows, cols);
        let offset = self.used;
        self.used += numbers;
        if self.used + BEHIND > self.arena.len() {
            self.make_room();
        }
        Mat { offset, stride, view: false, squares: Squares::NONE, rows, cols }
    }

    #[cold]
    fn make_room(&mut self) {
        self.arena.grow(WORKSPACE, self.used + BEHIND).expect("room for a matrix");
    }

    /// Returns the start of a matrix, behind whose last number a panel may be read. It is valid until the next allocation.
    pub(super) fn ptr(&mut self, mat: Mat) -> *mut T {
        assert!(mat.rows == 0 || mat.offset + (mat.rows - 1) * mat.stride + mat.cols + BEHIND <= self.arena.len());
        // SAFETY: the matrix was allocated from this arena, which never shrinks.
        unsafe { self.arena.as_mut_ptr().add(mat.offset) }
    }

    /// Returns the start of a matrix and the distance of its rows, valid until the next allocation. `reach` numbers of
    /// each row may be read, and written unless the matrix is a view.
    pub(super) fn rows_of(&mut self, mat: Mat, reach: usize) -> (*mut T, usize) {
        assert!(reach <= mat.stride && mat.offset + mat.rows * mat.stride <= self.arena.len());
        (self.ptr(mat), mat.stride)
    }

    /// Returns how many numbers a room of so many takes for each thread.
    fn rooms(&self, numbers: usize) -> usize {
        numbers.next_multiple_of(16).saturating_mul(self.crew.as_ref().map_or(1, |crew| crew.threads()))
    }

    /// Returns room for so many numbers for each thread, and how far the rooms are apart; valid until the next call. It makes
    /// room where [`Self::reserve`] did not, as in tests, and panics where the system has none.
    pub(super) fn room(&mut self, numbers: usize) -> (*mut T, usize) {
        self.transforms.grow(WORKSPACE, self.rooms(numbers)).expect("room for transforms");
        (self.transforms.as_mut_ptr(), numbers.next_multiple_of(16))
    }

    /// Returns one row without its padding.
    pub fn row(&self, mat: Mat, row: usize) -> &[T] {
        assert!(row < mat.rows);
        let from = mat.offset + row * mat.stride;
        &self.arena[from..from + mat.cols]
    }

    /// Returns a row to write and a row of another matrix to read.
    pub(super) fn two_rows(&mut self, to: Mat, to_row: usize, from: Mat, from_row: usize) -> (&mut [T], &[T]) {
        assert!(to_row < to.rows && from_row < from.rows);
        let (to_start, from_start) = (to.offset + to_row * to.stride, from.offset + from_row * from.stride);
        if to_start < from_start {
            let (low, high) = self.arena.split_at_mut(from_start);
            (&mut low[to_start..to_start + to.cols], &high[..from.cols])
        } else {
            let (low, high) = self.arena.split_at_mut(to_start);
            (&mut high[..to.cols], &low[from_start..from_start + from.cols])
        }
    }

    /// Returns one row without its padding.
    pub fn row_mut(&mut self, mat: Mat, row: usize) -> &mut [T] {
        assert!(row < mat.rows);
        let from = mat.offset + row * mat.stride;
        &mut self.arena[from..from + mat.cols]
    }
}

impl<T: Real> CpuBlock<T> {
    /// Fills `to` (rows x 1) with uniform numbers in (0, 1], the elements of `sequence` from `first` on.
    pub fn draw_uniforms(&mut self, sequence: &Sequence, first: u64, to: Mat) {
        for r in 0..to.rows {
            self.row_mut(to, r)[0] = T::of(unit(sequence.word(first.wrapping_add(r as u64))).into());
        }
    }

    /// Fills `to`, which may be a view, with standard normals, the elements of `sequence` from `first` on.
    pub fn draw_normals(&mut self, sequence: &Sequence, first: u64, to: Mat) {
        self.with_normals(sequence, first, to.rows * to.cols, |block, noise| {
            for (r, line) in noise.chunks_exact(to.cols).enumerate() {
                block.row_mut(to, r).iter_mut().zip(line).for_each(|(to, &x)| *to = T::of(x.into()));
            }
        });
    }

    /// Calls `work` with `len` standard normals, the elements of `sequence` from `first` on.
    pub(super) fn with_normals(
        &mut self,
        sequence: &Sequence,
        first: u64,
        len: usize,
        work: impl FnOnce(&mut Self, &[f32]),
    ) {
        let mut noise = std::mem::take(&mut self.noise);
        noise.resize(len.max(noise.len()), 0.0);
        sequence.normals(first, &mut noise[..len]);
        work(self, &noise[..len]);
        self.noise = noise;
    }
}
