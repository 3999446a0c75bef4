//! The axes that peaks have of their own, read a vector at a time. There may be one vector and many peaks, so inner
//! loops are written with `while`: `step_by` divides once for each.

use super::simd::{Real, Simd};
use crate::formulas::peaks::{self, MOST_PEAKS, MOST_TURNED, PARTS, Part};
use crate::formulas::{Axes, axes};

/// Numbers of a sample along one peak's axes, and behind them zeros up to whole vectors.
pub(super) type Line<T> = [T; MOST_TURNED];

/// Vectors whose sums need not wait for each other, no more than a peak has parts.
const TOGETHER: usize = 4;
const _: () = assert!(TOGETHER <= PARTS);

/// The peaks' axes with what the peaks have along them, d rows and one for each part of each peak.
#[derive(Clone, Copy)]
pub(super) struct Turned<S: Simd> {
    start: *const S::T,
    pub d: usize,
    /// From one row of a matrix to the next.
    pub stride: usize,
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
    #[inline(always)]
    pub fn row(&self, peak: usize, row: usize) -> *const T {
        assert!(peak < self.count && row < self.d + PARTS);
        // SAFETY: the numbers have such a row.
        unsafe { self.start.add((peak * (self.d + PARTS) + row) * self.stride) }
    }

    /// Returns one part of a peak along its axes.
    #[inline(always)]
    pub fn part(&self, peak: usize, part: Part) -> *const T {
        self.row(peak, self.d + part as usize)
    }

    /// Writes the place of x along each axis of a peak, and zeros behind.
    ///
    /// # Safety
    /// As for [`Simd`], and the axes that this was made from live.
    #[inline(always)]
    pub unsafe fn along(&self, peak: usize, x: &[T], to: &mut Line<T>) {
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

    /// Adds the point at these places along the axes of each of some peaks to x. Places behind the last axis are zeros.
    ///
    /// # Safety
    /// As for [`Self::along`].
    #[inline(always)]
    pub unsafe fn add_across(&self, first: usize, places: &[Line<T>], x: &mut [T]) {
        let (matrix, peak) = (self.row(first, 0), (self.d + PARTS) * self.stride);
        assert!(first + places.len() <= self.count);
        // SAFETY: the caller's; what is read lies within the d rows of each peak and their stride.
        unsafe {
            for (rows, x) in x[..self.d].chunks_mut(TOGETHER).enumerate() {
                let mut sums = [S::splat(T::zero()); TOGETHER];
                for (k, places) in places.iter().enumerate() {
                    let row = matrix.add(k * peak + rows * TOGETHER * self.stride);
                    let mut j = 0;
                    while j < self.d {
                        let place = S::load(places.as_ptr().add(j));
                        // The rows behind the last axis are those of the peak's parts.
                        for (i, sum) in sums.iter_mut().enumerate() {
                            *sum = S::fma(place, S::load(row.add(i * self.stride + j)), *sum);
                        }
                        j += S::LANES;
                    }
                }
                x.iter_mut().zip(sums).for_each(|(x, sum)| *x = *x + S::sum(sum));
            }
        }
    }
}
