//! Convolutions of a block of pictures, and the layers of graphs.
//!
//! A register tile has some pixels of the result and two vectors of its channels. For each tap it goes through the
//! channels of the pixels that the tap reads, each of which has a pointer of its own; beyond the edges that is a row of
//! zeros. So pictures are neither copied nor padded (the indirect convolution of Dukhan, *The Indirect Convolution
//! Algorithm*, 2019). The reverse pass is the same with the taps turned around and transposed weights.

use super::block::CpuBlock;
use super::dense::reverse;
use super::gemm::{PANEL_VECTORS, Plain};
use super::net::{Form, Packed, PackedLayer};
use super::simd::{Kernel, Real, Simd};
use crate::device::Mat;
use crate::device::layout::{Conv, Map};
use std::ptr;

/// The largest number of taps, and of rows of a tile.
const MOST_TAPS: usize = 9;
const MOST_ROWS: usize = 8;

/// The pixels that a convolution reads for those that it writes, forward or in reverse.
#[derive(Clone, Copy)]
struct Reading {
    conv: Conv,
    reverse: bool,
}

impl Reading {
    /// Returns rows and columns of the picture that is read, and of the one that is written.
    fn sides(&self) -> [[usize; 2]; 2] {
        let sides = [self.conv.from, self.conv.to()].map(|shape| [shape.height, shape.width]);
        if self.reverse { [sides[1], sides[0]] } else { sides }
    }

    /// Returns the coordinate that a tap reads for the coordinate `at`, if it is one of `extent`.
    #[inline(always)]
    fn coordinate(&self, at: usize, tap: usize, extent: usize) -> Option<usize> {
        let (half, stride) = (self.conv.side / 2, self.conv.stride);
        let read = if self.reverse {
            let behind = (at + half).checked_sub(tap)?;
            (behind % stride == 0).then_some(behind / stride)?
        } else {
            (at * stride + tap).checked_sub(half)?
        };
        (read < extent).then_some(read)
    }
}

/// to (+)= bias + the convolution of x, for packed weights of `taps` times `channels` rows.
struct Convolution<'a, T> {
    reading: Reading,
    weights: &'a Packed<T>,
    /// Channels of what is read.
    channels: usize,
    /// As many zeros as there are channels.
    zeros: *const T,
    pictures: usize,
    x: *const T,
    x_row: usize,
    bias: *const T,
    to: *mut T,
    to_row: usize,
    add: bool,
}

impl<T: Real> Kernel<T> for Convolution<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd<T = T>>(self) {
        let ([_, from_width], [height, width]) = (self.reading.sides()[0], self.reading.sides()[1]);
        let from_height = self.reading.sides()[0][0];
        let (side, pixels) = (self.reading.conv.side, height * width);
        let mut places = [[self.zeros; MOST_ROWS]; MOST_TAPS];
        for picture in 0..self.pictures {
            // SAFETY: the caller has checked that both matrices have these rows.
            let (x, to) = unsafe { (self.x.add(picture * self.x_row), self.to.add(picture * self.to_row)) };
            for first in (0..pixels).step_by(S::TILE_ROWS) {
                let rows = S::TILE_ROWS.min(pixels - first);
                for row in 0..rows {
                    let (y, column) = ((first + row) / width, (first + row) % width);
                    for i in 0..side {
                        let read_row = self.reading.coordinate(y, i, from_height);
                        for j in 0..side {
                            let read = self.reading.coordinate(column, j, from_width);
                            places[i * side + j][row] = match (read_row, read) {
                                // SAFETY: the pixel lies in the picture.
                                (Some(y), Some(x_at)) => unsafe { x.add((y * from_width + x_at) * self.channels) },
                                _ => self.zeros,
                            };
                        }
                    }
                }
                // SAFETY: every place has as many numbers as there are channels, and the result these pixels.
                unsafe { self.tiles::<S>(&places[..side * side], rows, to.add(first * self.weights.n)) }
            }
        }
    }
}

impl<T: Real> Convolution<'_, T> {
    /// Computes all channels of some pixels.
    #[inline(always)]
    unsafe fn tiles<S: Simd<T = T>>(&self, places: &[[*const T; MOST_ROWS]], rows: usize, to: *mut T) {
        let (width, n) = (PANEL_VECTORS * S::LANES, self.weights.n);
        macro_rules! heights {
            ($first:expr, $narrow:expr, $($height:literal)+) => {
                match (rows, $narrow) {
                    $(($height, false) => unsafe { self.tile::<S, $height, 2>(places, $first, to) },
                      ($height, true) => unsafe { self.tile::<S, $height, 1>(places, $first, to) },)+
                    _ => unreachable!("a tile has at most TILE_ROWS rows"),
                }
            };
        }
        for first in (0..n).step_by(width) {
            heights!(first, n - first <= S::LANES, 1 2 3 4 5 6 7 8);
        }
    }

    /// Computes the channels from `first` on of some pixels.
    #[inline(always)]
    unsafe fn tile<S: Simd<T = T>, const ROWS: usize, const VECTORS: usize>(
        &self,
        places: &[[*const T; MOST_ROWS]],
        first: usize,
        to: *mut T,
    ) {
        let (width, n) = (PANEL_VECTORS * S::LANES, self.weights.n);
        let whole = first + VECTORS * S::LANES <= n;
        // SAFETY: the panel has `k` rows of `width` numbers, the bias and the places what they are read for, and the
        // result n numbers a pixel, of which those from n on are not written.
        unsafe {
            let mut acc = [[S::splat(T::zero()); VECTORS]; ROWS];
            if !self.bias.is_null() {
                for v in 0..VECTORS {
                    let bias = S::load(self.bias.add(first + v * S::LANES));
                    for line in &mut acc {
                        line[v] = bias;
                    }
                }
            }
            let mut b = self.weights.data.as_ptr().add(first / width * width * self.weights.k);
            for tap in places {
                let from: [*const T; ROWS] = std::array::from_fn(|i| tap[i]);
                for k in 0..self.channels {
                    let mut right = [S::splat(T::zero()); VECTORS];
                    for v in 0..VECTORS {
                        right[v] = S::load(b.add(v * S::LANES));
                    }
                    for i in 0..ROWS {
                        let left = S::splat(*from[i].add(k));
                        for v in 0..VECTORS {
                            acc[i][v] = S::fma(left, right[v], acc[i][v]);
                        }
                    }
                    b = b.add(width);
                }
            }
            // Indices, because sums whose addresses are taken do not stay in registers.
            if whole {
                for i in 0..ROWS {
                    for v in 0..VECTORS {
                        let at = to.add(i * n + first + v * S::LANES);
                        S::store(at, if self.add { S::add(S::load(at), acc[i][v]) } else { acc[i][v] });
                    }
                }
            } else {
                let mut lanes = [T::zero(); MOST_ROWS * 2 * 16];
                for i in 0..ROWS {
                    for v in 0..VECTORS {
                        S::store(lanes.as_mut_ptr().add((i * VECTORS + v) * S::LANES), acc[i][v]);
                    }
                }
                scatter(&lanes, VECTORS * S::LANES, ROWS, n - first, to.add(first), n, self.add);
            }
        }
    }
}

/// Writes, or adds, the `valid` first numbers of the lines of a tile to rows that are `row` numbers apart.
#[cold]
#[inline(never)]
pub(super) unsafe fn scatter<T: Real>(
    tile: &[T],
    line: usize,
    rows: usize,
    valid: usize,
    to: *mut T,
    row: usize,
    add: bool,
) {
    for i in 0..rows {
        for (j, &sum) in tile[i * line..][..valid].iter().enumerate() {
            // SAFETY: the rows and their valid numbers lie in the result, by the caller's contract.
            let to = unsafe { &mut *to.add(i * row + j) };
            *to = if add { *to + sum } else { sum };
        }
    }
}

impl<T: Real> CpuBlock<T> {
    pub(super) fn layer_map(&mut self, layer: &PackedLayer<T>, x: Mat, bias: bool, to: Mat) {
        let bias = if bias { layer.bias.as_ptr() } else { ptr::null() };
        match layer.layer.map {
            Map::Dense { .. } => self.product_onto(x, &layer.forward, bias, to, Plain, false),
            Map::Conv(conv) => {
                let reading = Reading { conv, reverse: false };
                self.convolve(layer, &layer.forward, reading, x, bias, to, false);
            }
        }
    }

    pub(super) fn layer_map_reverse(&mut self, layer: &PackedLayer<T>, delta: Mat, to: Mat, add: bool) {
        match layer.layer.map {
            Map::Dense { .. } => self.product_onto(delta, reverse(layer), ptr::null(), to, Plain, add),
            Map::Conv(conv) => {
                let reading = Reading { conv, reverse: true };
                self.convolve(layer, reverse(layer), reading, delta, ptr::null(), to, add);
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn convolve(
        &mut self,
        layer: &PackedLayer<T>,
        weights: &Packed<T>,
        reading: Reading,
        x: Mat,
        bias: *const T,
        to: Mat,
        add: bool,
    ) {
        let [[from_height, from_width], [height, width]] = reading.sides();
        let channels = weights.k / reading.conv.taps();
        assert!(matches!(weights.form, Form::Panels { width } if width == PANEL_VECTORS * T::lanes(self.isa)));
        assert!(x.cols == from_height * from_width * channels && to.cols == height * width * weights.n);
        assert!(x.rows == to.rows && to.apart(&x) && channels <= layer.zeros.len() && reading.conv.taps() <= MOST_TAPS);
        let kernel = Convolution {
            reading,
            weights,
            channels,
            zeros: layer.zeros.as_ptr(),
            pictures: x.rows,
            x: self.ptr(x),
            x_row: x.stride,
            bias,
            to: self.ptr(to),
            to_row: to.stride,
            add,
        };
        // SAFETY: extents were checked; the bias is padded to whole panels.
        unsafe { T::dispatch(self.isa, kernel) }
    }
}

#[cfg(test)]
mod tests;
