//! Squares of inputs ([`crate::formulas::squares`]), row by row in plain loops, which the compiler turns into vector
//! instructions.

use super::block::CpuBlock;
use super::simd::{Kernel, Real, Simd};
use crate::device::Mat;
use crate::formulas::squares::{slope, square};
use std::slice;

/// The operation on x, which for the latter two has another operand.
pub(super) enum SquaresOperation<'a, T> {
    /// \[x, s\], with this start and change of the centre.
    Forward(&'a [T]),
    /// g_x + s' g_s, with g = \[g_x, g_s\].
    Reverse(Mat),
    /// \[w, s' w\], with the direction w.
    Tangent(Mat),
}

struct Squares<'a, T> {
    block: &'a mut CpuBlock<T>,
    operation: SquaresOperation<'a, T>,
    x: Mat,
    to: Mat,
}

impl<T: Real> Kernel<T> for Squares<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd<T = T>>(self) {
        let Self { block, operation, x, to } = self;
        let (of, narrow, wide) = match operation {
            SquaresOperation::Forward(_) => (x, x, to),
            SquaresOperation::Reverse(g) => (g, to, g),
            SquaresOperation::Tangent(w) => (w, w, to),
        };
        let squares = wide.cols - x.cols;
        if let SquaresOperation::Forward(centre) = operation {
            assert!(centre.len() == 2 * squares);
        }
        assert!(squares <= x.cols && narrow.cols == x.cols && of.rows == x.rows && to.rows == x.rows && !to.view);
        assert!([of, x].iter().all(|from| to.apart(from)));
        let (from_at, x_at, to_at) = (block.ptr(of), block.ptr(x), block.ptr(to));
        for r in 0..x.rows {
            // SAFETY: each matrix has these rows, and `to`, which is written, is none of the others.
            let (of, x, to) = unsafe {
                (
                    slice::from_raw_parts(from_at.add(r * of.stride), of.cols),
                    slice::from_raw_parts(x_at.add(r * x.stride), x.cols),
                    slice::from_raw_parts_mut(to_at.add(r * to.stride), to.cols),
                )
            };
            let (same, rest) = to.split_at_mut(x.len());
            same.copy_from_slice(&of[..x.len()]);
            match operation {
                SquaresOperation::Forward(centre) => {
                    let (start, change) = centre.split_at(squares);
                    let time = x.get(squares).copied().unwrap_or(T::zero());
                    for (((s, &x), &start), &change) in rest.iter_mut().zip(x).zip(start).zip(change) {
                        *s = square(x) - (start + time * change);
                    }
                }
                SquaresOperation::Reverse(_) => {
                    for ((g, &by_square), &x) in same.iter_mut().zip(&of[x.len()..]).zip(x) {
                        *g = *g + slope(x) * by_square;
                    }
                }
                SquaresOperation::Tangent(_) => {
                    for ((s, &w), &x) in rest.iter_mut().zip(of).zip(x) {
                        *s = slope(x) * w;
                    }
                }
            }
        }
    }
}

impl<T: Real> CpuBlock<T> {
    pub(super) fn squares_operation(&mut self, operation: SquaresOperation<'_, T>, x: Mat, to: Mat) {
        let isa = self.isa;
        // SAFETY: the kernel checks the matrices' extents.
        unsafe { T::dispatch(isa, Squares { block: self, operation, x, to }) }
    }
}
