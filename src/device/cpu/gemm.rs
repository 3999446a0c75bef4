//! The matrix product of the CPU device: C = init + sum over segments of A_s B_s, then an epilogue on each finished
//! register tile while it is still in the first-level cache.
//!
//! A's elements are broadcast, so A may have any strides (a transposed A costs nothing). B is read in vectors along a
//! row, in panels of `2 * LANES` columns: packed weights (panels contiguous, conflict-free in the cache) or a block of
//! rows as it lies. Several segments share one accumulation: the gradient of a layer that has two or more
//! contributions reads and writes C once.

use super::simd::{Isa, Kernel, Real, Simd};
use num_traits::Zero;

/// Number of vectors in a panel's row.
pub(super) const PANEL_VECTORS: usize = 2;

/// One product A (m x k) B (k x n) of the sum.
#[derive(Clone, Copy)]
pub(super) struct Segment<T> {
    pub a: *const T,
    /// Distance from one row of A to the next, and from one column to the next.
    pub a_row: usize,
    pub a_col: usize,
    pub b: *const T,
    /// Distance from one row of B to the next, and from one panel to the next.
    pub b_row: usize,
    pub b_panel: usize,
    pub k: usize,
}

/// The result C of a product.
#[derive(Clone, Copy)]
pub(super) struct Output<T> {
    pub c: *mut T,
    pub row: usize,
    /// 1 for rows of contiguous elements; otherwise C is written transposed, element by element.
    pub col: usize,
    /// Number of columns that may be written by whole vectors, n or more. Columns from n on receive unspecified values.
    pub padded: usize,
    /// Whether the sum starts from what C holds.
    pub accumulate: bool,
    /// The vector from which each row starts (`n` numbers rounded up to a panel), or null.
    pub bias: *const T,
}

/// Applied in place to a finished tile of C: rows `row..row + rows`, columns `col..col + cols` (a multiple of the
/// vector length).
pub(super) trait Epilogue<T> {
    /// # Safety
    /// As for [`Kernel::run`].
    unsafe fn apply<S: Simd<T = T>>(&self, row: usize, rows: usize, col: usize, cols: usize);
}

/// Leaves C as it is.
pub(super) struct Plain;

impl<T> Epilogue<T> for Plain {
    #[inline(always)]
    unsafe fn apply<S: Simd<T = T>>(&self, _: usize, _: usize, _: usize, _: usize) {}
}

/// The product of `m` rows and `n` columns.
pub(super) struct Gemm<'a, T, E> {
    pub m: usize,
    pub n: usize,
    pub segments: &'a [Segment<T>],
    pub output: Output<T>,
    pub epilogue: E,
}

impl<T: Real, E: Epilogue<T>> Gemm<'_, T, E> {
    /// # Safety
    /// All pointers cover what the extents and strides say, B with rows padded to whole panels and C with `padded`
    /// columns; C overlaps neither A nor B.
    pub unsafe fn execute(self, isa: Isa) {
        // SAFETY: the caller's promise.
        unsafe { T::dispatch(isa, self) }
    }
}

impl<T: Real, E: Epilogue<T>> Kernel<T> for Gemm<'_, T, E> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd<T = T>>(self) {
        let width = PANEL_VECTORS * S::LANES;
        let mut col = 0;
        let mut panel = 0;
        while col < self.n {
            let mut row = 0;
            while row < self.m {
                let rows = S::TILE_ROWS.min(self.m - row);
                // SAFETY: the caller's promise; the tile lies within m x n rounded up to vectors.
                unsafe {
                    let narrow = self.n - col <= S::LANES;
                    let cols = if narrow { S::LANES } else { width };
                    tile_rows::<S>(rows, narrow, self.segments, &self.output, row, col, panel, self.n);
                    self.epilogue.apply::<S>(row, rows, col, cols);
                }
                row += rows;
            }
            col += width;
            panel += 1;
        }
    }
}

/// Chooses the tile's compiled height and width.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn tile_rows<S: Simd>(
    rows: usize,
    narrow: bool,
    segments: &[Segment<S::T>],
    output: &Output<S::T>,
    row: usize,
    col: usize,
    panel: usize,
    n: usize,
) {
    macro_rules! heights {
        ($($height:literal)+) => {
            match (rows, narrow) {
                // SAFETY: the caller's promise.
                $(($height, false) => unsafe { tile::<S, $height, 2>(segments, output, row, col, panel, n) },
                  ($height, true) => unsafe { tile::<S, $height, 1>(segments, output, row, col, panel, n) },)+
                _ => unreachable!("a tile has at most TILE_ROWS rows"),
            }
        };
    }
    heights!(1 2 3 4 5 6 7 8)
}

/// One register tile of ROWS x (VECTORS * LANES).
#[inline(always)]
unsafe fn tile<S: Simd, const ROWS: usize, const VECTORS: usize>(
    segments: &[Segment<S::T>],
    output: &Output<S::T>,
    row: usize,
    col: usize,
    panel: usize,
    n: usize,
) {
    unsafe {
        let mut acc = [[S::splat(S::T::zero()); VECTORS]; ROWS];
        if !output.bias.is_null() {
            for v in 0..VECTORS {
                let bias = S::load(output.bias.add(col + v * S::LANES));
                for line in &mut acc {
                    line[v] = bias;
                }
            }
        }
        for s in segments {
            let mut a = s.a.add(row * s.a_row);
            let mut b = s.b.add(panel * s.b_panel);
            // Unrolled: one step of the loop costs more bookkeeping than the compiler hides.
            for _ in 0..s.k / UNROLL {
                for _ in 0..UNROLL {
                    multiply::<S, ROWS, VECTORS>(&mut acc, a, s.a_row, b);
                    a = a.add(s.a_col);
                    b = b.add(s.b_row);
                }
            }
            for _ in 0..s.k % UNROLL {
                multiply::<S, ROWS, VECTORS>(&mut acc, a, s.a_row, b);
                a = a.add(s.a_col);
                b = b.add(s.b_row);
            }
        }
        let c = output.c.add(row * output.row + col * output.col);
        if output.col == 1 && col + VECTORS * S::LANES <= output.padded {
            for i in 0..ROWS {
                for v in 0..VECTORS {
                    let c = c.add(i * output.row + v * S::LANES);
                    S::store(c, if output.accumulate { S::add(S::load(c), acc[i][v]) } else { acc[i][v] });
                }
            }
        } else {
            let mut lanes = [S::T::zero(); 8 * 2 * 16];
            for i in 0..ROWS {
                for v in 0..VECTORS {
                    S::store(lanes.as_mut_ptr().add((i * VECTORS + v) * S::LANES), acc[i][v]);
                }
            }
            scatter(&lanes, ROWS, VECTORS * S::LANES, (n - col).min(VECTORS * S::LANES), c, output);
        }
    }
}

const UNROLL: usize = 4;

/// acc += a column of A times a row of B.
#[inline(always)]
unsafe fn multiply<S: Simd, const ROWS: usize, const VECTORS: usize>(
    acc: &mut [[S::V; VECTORS]; ROWS],
    a: *const S::T,
    a_row: usize,
    b: *const S::T,
) {
    unsafe {
        let mut right = [S::splat(S::T::zero()); VECTORS];
        for v in 0..VECTORS {
            right[v] = S::load(b.add(v * S::LANES));
        }
        for i in 0..ROWS {
            let left = S::splat(*a.add(i * a_row));
            for v in 0..VECTORS {
                acc[i][v] = S::fma(left, right[v], acc[i][v]);
            }
        }
    }
}

/// Writes the `valid` first columns of a tile element by element.
#[cold]
#[inline(never)]
unsafe fn scatter<T: Real>(tile: &[T], rows: usize, width: usize, valid: usize, c: *mut T, output: &Output<T>) {
    for i in 0..rows {
        for (j, &x) in tile[i * width..][..valid].iter().enumerate() {
            // SAFETY: rows and valid columns lie within C, by the product's contract.
            let c = unsafe { &mut *c.add(i * output.row + j * output.col) };
            *c = if output.accumulate { *c + x } else { x };
        }
    }
}

/// Y (m x n) = bias + X Wt^T for few outputs n: a dot product along the contiguous rows of X and of Wt (n rows of k
/// elements). Nothing beyond the k elements is read.
pub(super) struct DotProducts<T> {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub x: *const T,
    pub x_row: usize,
    pub w: *const T,
    pub w_row: usize,
    pub y: *mut T,
    pub y_row: usize,
    /// Whether the sum starts from what Y holds.
    pub accumulate: bool,
    /// n elements, or null.
    pub bias: *const T,
}

impl<T: Real> Kernel<T> for DotProducts<T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd<T = T>>(self) {
        unsafe {
            let whole = self.k / S::LANES * S::LANES;
            for r in 0..self.m {
                let x = self.x.add(r * self.x_row);
                for o in 0..self.n {
                    let w = self.w.add(o * self.w_row);
                    // Two chains, to overlap the latency of the sums.
                    let mut even = S::splat(T::zero());
                    let mut odd = even;
                    let mut k = 0;
                    while k + 2 * S::LANES <= whole {
                        even = S::fma(S::load(x.add(k)), S::load(w.add(k)), even);
                        odd = S::fma(S::load(x.add(k + S::LANES)), S::load(w.add(k + S::LANES)), odd);
                        k += 2 * S::LANES;
                    }
                    if k < whole {
                        even = S::fma(S::load(x.add(k)), S::load(w.add(k)), even);
                    }
                    let mut sum = S::sum(S::add(even, odd));
                    for k in whole..self.k {
                        sum = sum + *x.add(k) * *w.add(k);
                    }
                    let y = &mut *self.y.add(r * self.y_row + o);
                    let sum = if self.bias.is_null() { sum } else { sum + *self.bias.add(o) };
                    *y = if self.accumulate { *y + sum } else { sum };
                }
            }
        }
    }
}
