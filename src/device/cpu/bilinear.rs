//! Pictures of twice the sides by linear interpolation ([`Fixed::Bilinear`](crate::device::Fixed::Bilinear)), and the
//! transpose of that. Both gather: a pixel is a weighted sum of pixels of the other picture, and lines of pixels may be
//! computed side by side.

use super::block::CpuBlock;
use super::crew::{Shared, in_parts};
use super::simd::{Kernel, Real, Simd};
use crate::device::Mat;
use crate::device::layout::Shape;
use std::ops::Range;
use std::slice;

/// Returns the places along a side of `from` pixels that the pixel `at` of the other picture is made of, and their
/// weights: two on the way to twice the side, four on the way back. A place beyond an edge is that of the edge.
#[inline(always)]
fn taps(reverse: bool, at: usize, from: usize) -> impl Iterator<Item = (usize, f64)> {
    const NEAR: f64 = 0.75;
    const FAR: f64 = 0.25;
    let (count, weights) = if reverse { (4, [FAR, NEAR, NEAR, FAR]) } else { (2, [NEAR, FAR, 0.0, 0.0]) };
    // One more than the place, so that none is below zero.
    let places =
        if reverse { [2 * at, 2 * at + 1, 2 * at + 2, 2 * at + 3] } else { [at / 2 + 1, at / 2 + at % 2 * 2, 0, 0] };
    (0..count).map(move |tap| (places[tap].saturating_sub(1).min(from - 1), weights[tap]))
}

/// Some lines of the pictures that are made, for all rows.
struct Bilinear<T> {
    reverse: bool,
    rows: usize,
    lines: Range<usize>,
    /// What is taken and given.
    shapes: [Shape; 2],
    x: (Shared<T>, usize),
    to: (Shared<T>, usize),
    add: bool,
}

impl<T: Real> Kernel<T> for Bilinear<T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd<T = T>>(self) {
        let Self { reverse, rows, lines, shapes: [from, given], x, to, add } = self;
        let (channels, line) = (given.channels, given.width * given.channels);
        for r in 0..rows {
            // SAFETY: the matrices have these rows and do not overlap. No other part has these lines.
            let (x, to) = unsafe {
                (
                    slice::from_raw_parts(x.0.get().add(r * x.1), from.numbers()),
                    slice::from_raw_parts_mut(to.0.get().add(r * to.1 + lines.start * line), lines.len() * line),
                )
            };
            for (number, pixel) in to.chunks_exact_mut(channels).enumerate() {
                if !add {
                    pixel.fill(T::zero());
                }
                let (row, column) = (lines.start + number / given.width, number % given.width);
                for (y, along) in taps(reverse, row, from.height) {
                    for (column, across) in taps(reverse, column, from.width) {
                        let (weight, at) = (T::of(along * across), (y * from.width + column) * channels);
                        let taken = &x[at..at + channels];
                        pixel.iter_mut().zip(taken).for_each(|(to, &x)| *to = *to + weight * x);
                    }
                }
            }
        }
    }
}

impl<T: Real> CpuBlock<T> {
    /// Doubles the sides of pictures of this shape, or does the transpose of that.
    pub(super) fn bilinear(&mut self, coarse: Shape, reverse: bool, x: Mat, to: Mat, add: bool) {
        let fine = Shape { height: 2 * coarse.height, width: 2 * coarse.width, ..coarse };
        let shapes = if reverse { [fine, coarse] } else { [coarse, fine] };
        assert!(x.cols == shapes[0].numbers() && to.cols == shapes[1].numbers());
        let (isa, rows) = (self.isa, to.rows);
        let [x, to] = [x, to].map(|mat| (Shared(self.ptr(mat)), mat.stride));
        in_parts(self.crew.as_deref(), shapes[1].height, 1, rows * 4 * coarse.width * coarse.channels, |lines| {
            // SAFETY: the matrices' extents were checked.
            unsafe { T::dispatch(isa, Bilinear { reverse, rows, lines, shapes, x, to, add }) }
        });
    }
}
