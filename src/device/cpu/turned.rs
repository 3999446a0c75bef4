//! The axes that peaks have of their own, read a vector at a time.

use super::simd::{Real, Simd};
use crate::formulas::peaks::{self, MOST_PEAKS, MOST_TURNED, PARTS, Part};
use crate::formulas::{Axes, axes};

/// Numbers of a sample along one peak's axes, and behind them zeros up to whole vectors.
pub(super) type Line<T> = [T; MOST_TURNED];

/// The peaks' axes with what the peaks have along them, d rows and one for each part of each peak.
#[derive(Clone, Copy)]
pub(super) struct Turned<S: Simd> {
    start: *const S::T,
    pub d: usize,
    stride: usize,
    pub count: usize,
}

impl<T: Real, S: Simd<T = T>> Turned<S> {
    /// Takes them from a problem whose peaks have axes of their own.
    pub fn of(axes: &Axes<Vec<T>>) -> Self {
        let (d, count) = (axes.dimension, axes.peaks);
        assert!(axes.turned && (1..=MOST_TURNED).contains(&d) && (1..=MOST_PEAKS).contains(&count) && S::LANES <= 16);
        let from = axes::numbers(d) + peaks::numbers(count, d);
        assert!(axes.numbers.len() == from + count * peaks::turned_numbers(d));
        Self { start: axes.numbers[from..].as_ptr(), d, stride: peaks::width(d), count }
    }

    /// Returns a row of a peak's matrix.
    fn row(&self, peak: usize, row: usize) -> *const T {
        assert!(peak < self.count && row < self.d + PARTS);
        // SAFETY: the numbers have such a row.
        unsafe { self.start.add((peak * (self.d + PARTS) + row) * self.stride) }
    }

    /// Returns one part of a peak along its axes j, j + 1, ..
    ///
    /// # Safety
    /// As for [`Simd`]; j < d is a multiple of the lanes, and the axes that this was made from live.
    #[inline(always)]
    pub unsafe fn part(&self, peak: usize, part: Part, j: usize) -> S::V {
        // SAFETY: the caller's; j is a multiple of the vector's length, so the vector ends within the stride.
        unsafe { S::load(self.row(peak, self.d + part as usize).add(j)) }
    }

    /// Writes the place of x along each axis of a peak, and zeros behind.
    ///
    /// # Safety
    /// As for [`Simd`], and the axes that this was made from live.
    #[inline(always)]
    pub unsafe fn along(&self, peak: usize, x: &[T], to: &mut Line<T>) {
        /// Vectors whose sums need not wait for each other.
        const TOGETHER: usize = 4;
        assert!(x.len() >= self.d);
        let matrix = self.row(peak, 0);
        // SAFETY: the caller's; what is read lies within the d rows, and what is written within their stride.
        unsafe {
            let mut j = 0;
            while j < self.d {
                let vectors = (self.d - j).div_ceil(S::LANES).min(TOGETHER);
                let mut sums = [S::splat(T::zero()); TOGETHER];
                for (i, x) in x[..self.d].iter().enumerate() {
                    let (x, row) = (S::splat(*x), matrix.add(i * self.stride + j));
                    for (v, sum) in sums[..vectors].iter_mut().enumerate() {
                        *sum = S::fma(x, S::load(row.add(v * S::LANES)), *sum);
                    }
                }
                for (v, sum) in sums[..vectors].iter().enumerate() {
                    S::store(to.as_mut_ptr().add(j + v * S::LANES), *sum);
                }
                j += vectors * S::LANES;
            }
        }
    }

    /// Adds the point at these places along a peak's axes to x. Places behind the last axis are zeros.
    ///
    /// # Safety
    /// As for [`Self::along`].
    #[inline(always)]
    pub unsafe fn add_across(&self, peak: usize, places: &Line<T>, x: &mut [T]) {
        let matrix = self.row(peak, 0);
        // SAFETY: the caller's; what is read lies within the d rows and their stride.
        unsafe {
            for (i, x) in x[..self.d].iter_mut().enumerate() {
                let row = matrix.add(i * self.stride);
                let mut sum = S::splat(T::zero());
                for j in (0..self.d).step_by(S::LANES) {
                    sum = S::fma(S::load(places.as_ptr().add(j)), S::load(row.add(j)), sum);
                }
                *x = *x + S::sum(sum);
            }
        }
    }
}
