//! Convolutions of 3 x 3 taps by Winograd's minimal filtering: 16 products for each 2 x 2 pixels and two channels, where
//! the definition has 36.
//!
//! The result is cut into squares of 2 x 2 pixels. For a group of squares the pixels that they read are transformed
//! ([`winograd_transforms`](super::winograd_transforms)). Each of the 16 places of a transformed square is then a product
//! with weights of its own, and what the places give is transformed back. The transforms of a group stay in the
//! second-level cache. What a square gives does not depend on the group that it is in.

use super::gemm::{Gemm, Output, PANEL_VECTORS, Plain, Segment};
use super::net::Packed;
use super::simd::{Kernel, Real, Simd};
use super::winograd_cuts::{GROUP, Part};
use super::winograd_transforms::{CENTRE, PLACES, pixels, squares, sums};
use crate::device::layout::Shape;
use num_traits::Zero;
use std::ptr;

/// The most lanes of a vector, and numbers of a panel's row.
const MOST_LANES: usize = 16;
const MOST_WIDTH: usize = PANEL_VECTORS * MOST_LANES;

/// Returns how many numbers [`Filtering`] needs beside its matrices, if it reads pixels of so many channels.
pub(super) fn filtering_numbers(channels: usize) -> usize {
    let row = channels.next_multiple_of(MOST_LANES).saturating_add(MOST_WIDTH);
    row.saturating_mul(PLACES * GROUP).saturating_add(2 * PLACES * MOST_LANES)
}

/// A square of one of several pictures of one size.
#[derive(Clone, Copy)]
pub(super) struct Square {
    height: usize,
    width: usize,
    /// Which picture.
    pub picture: usize,
    y: usize,
    x: usize,
}

impl Square {
    /// Returns the first square of the first picture.
    pub fn first(shape: Shape) -> Self {
        Self { height: shape.height, width: shape.width, picture: 0, y: 0, x: 0 }
    }

    /// Returns a square by its number among those of all pictures.
    pub fn number(shape: Shape, number: usize) -> Self {
        let (of_picture, of_line) = (squares(shape), shape.width.div_ceil(2));
        let (picture, at) = (number / of_picture, number % of_picture);
        Self { picture, y: at / of_line * 2, x: at % of_line * 2, ..Self::first(shape) }
    }

    /// Goes to the next square.
    #[inline(always)]
    pub fn step(&mut self) {
        self.x += 2;
        if self.x >= self.width {
            (self.x, self.y) = (0, self.y + 2);
        }
        if self.y >= self.height {
            (self.y, self.picture) = (0, self.picture + 1);
        }
    }

    /// Returns where N x N pixels of so many channels are, from `before` pixels before the square on in both directions.
    /// Those beyond the edges are `outside`.
    ///
    /// # Safety
    /// `picture` has the pixels of such a picture.
    #[inline(always)]
    pub unsafe fn pixels<T, const N: usize>(
        &self,
        picture: *const T,
        channels: usize,
        before: usize,
        outside: *const T,
    ) -> [[*const T; N]; N] {
        let mut places = [[outside; N]; N];
        for i in 0..N {
            let y = (self.y + i).wrapping_sub(before);
            for j in 0..N {
                let x = (self.x + j).wrapping_sub(before);
                if y < self.height && x < self.width {
                    // SAFETY: the pixel lies in the picture.
                    places[i][j] = unsafe { picture.add((y * self.width + x) * channels) };
                }
            }
        }
        places
    }
}

/// Numbers of the squares of a group, place by place.
pub(super) struct Grid<T> {
    pub start: *mut T,
    /// Distance from one square to the next, and from one place to the next.
    pub row: usize,
    pub place: usize,
}

impl<T: Real> Grid<T> {
    /// Returns a grid of rows of `row` numbers. Places are not a power of two apart, which would put all of them into the
    /// same few sets of the first-level cache.
    pub fn new<S: Simd<T = T>>(start: *mut T, rows: usize, row: usize) -> Self {
        Self { start, row, place: rows * row + S::LANES }
    }

    /// Returns where the numbers behind the grid begin.
    pub fn behind(&self) -> *mut T {
        self.start.wrapping_add(PLACES * self.place)
    }

    /// Returns the first number of a row of a place.
    ///
    /// # Safety
    /// The grid has this row.
    #[inline(always)]
    pub unsafe fn at(&self, place: usize, row: usize) -> *mut T {
        // SAFETY: the caller's promise.
        unsafe { self.start.add(place * self.place + row * self.row) }
    }

    /// Writes one vector of each place, from `col` on.
    ///
    /// # Safety
    /// The grid has this row, and a vector there.
    #[inline(always)]
    pub unsafe fn put<S: Simd<T = T>>(&self, row: usize, col: usize, places: [[S::V; 4]; 4]) {
        for i in 0..4 {
            for j in 0..4 {
                // SAFETY: the caller's promise.
                unsafe { S::store(self.at(4 * i + j, row).add(col), places[i][j]) }
            }
        }
    }

    /// Reads one vector of each place, from `col` on.
    ///
    /// # Safety
    /// As for [`Self::put`].
    #[inline(always)]
    pub unsafe fn get<S: Simd<T = T>>(&self, row: usize, col: usize) -> [[S::V; 4]; 4] {
        // SAFETY: the caller's promise.
        unsafe {
            let mut places = [[S::splat(T::zero()); 4]; 4];
            for i in 0..4 {
                for j in 0..4 {
                    places[i][j] = S::load(self.at(4 * i + j, row).add(col));
                }
            }
            places
        }
    }

    /// Writes the transforms of the 4 x 4 pixels of a square, `channels` numbers each.
    ///
    /// # Safety
    /// Pixels may be read up to a whole number of vectors, which the grid's rows have.
    #[inline(always)]
    pub unsafe fn put_pixels<S: Simd<T = T>>(&self, row: usize, from: [[*const T; 4]; 4], channels: usize) {
        for c in (0..channels).step_by(S::LANES) {
            // SAFETY: the caller's promise.
            unsafe {
                let mut d = [[S::splat(T::zero()); 4]; 4];
                for i in 0..4 {
                    for j in 0..4 {
                        d[i][j] = S::load(from[i][j].add(c));
                    }
                }
                self.put::<S>(row, c, pixels::<S>(d));
            }
        }
    }
}

/// to (+)= bias + the convolution of x, for transformed weights.
pub(super) struct Filtering<'a, T> {
    /// What is read; what is written has as many pixels.
    pub shape: Shape,
    pub weights: &'a Packed<T>,
    /// Zeros for the channels of a pixel, a whole number of vectors.
    pub zeros: *const T,
    pub x: *const T,
    pub x_row: usize,
    /// A whole number of panels, or null.
    pub bias: *const T,
    pub to: *mut T,
    pub to_row: usize,
    pub add: bool,
    /// As many numbers as [`filtering_numbers`] says.
    pub room: *mut T,
    /// What is computed of it.
    pub part: Part,
}

impl<T: Real> Kernel<T> for Filtering<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd<T = T>>(self) {
        let (channels, width) = (self.shape.channels, PANEL_VECTORS * S::LANES);
        let Part { squares, columns } = self.part.clone();
        let mut at = Square::number(self.shape, squares.start);
        let read = Grid::new::<S>(self.room, GROUP, channels.next_multiple_of(S::LANES));
        let given = Grid::new::<S>(read.behind(), GROUP, width);
        assert!(PLACES * (read.place + given.place) <= filtering_numbers(channels));
        assert!(columns.start.is_multiple_of(width) && columns.end <= self.weights.n);
        assert!(columns.end == self.weights.n || columns.end.is_multiple_of(width));
        // SAFETY: the matrices have the pictures of these squares; pixels may be read up to whole vectors, because the
        // workspace has a panel behind its last matrix; the room holds both grids.
        unsafe {
            for first in squares.clone().step_by(GROUP) {
                let (count, begin) = (GROUP.min(squares.end - first), at);
                for t in 0..count {
                    let from = at.pixels(self.x.add(at.picture * self.x_row), channels, 1, self.zeros);
                    read.put_pixels::<S>(t, from, channels);
                    at.step();
                }
                for col in columns.clone().step_by(width) {
                    self.multiply::<S>(count, &read, col, &given);
                    let mut square = begin;
                    for t in 0..count {
                        self.write::<S>(square, &given, t, col);
                        square.step();
                    }
                }
            }
        }
    }
}

impl<T: Real> Filtering<'_, T> {
    /// Computes the products of `count` squares with the panel that begins at column `col`.
    #[inline(always)]
    unsafe fn multiply<S: Simd<T = T>>(&self, count: usize, read: &Grid<T>, col: usize, given: &Grid<T>) {
        let (k, width) = (self.shape.channels, PANEL_VECTORS * S::LANES);
        for place in 0..PLACES {
            // SAFETY: the panel has k rows for each place, the bias a whole number of panels, and the grids the squares.
            unsafe {
                let b = self.weights.data.as_ptr().add((col * PLACES + place * width) * k);
                let segment =
                    Segment { a: read.at(place, 0), a_row: read.row, a_col: 1, b, b_row: width, b_panel: 0, k };
                // What this place has is added to every pixel.
                let biased = place == CENTRE && !self.bias.is_null();
                let bias = if biased { self.bias.add(col) } else { ptr::null() };
                let c = given.at(place, 0);
                let output = Output { c, row: given.row, col: 1, padded: given.row, accumulate: false, bias };
                let n = width.min(self.weights.n - col);
                Gemm { m: count, n, segments: &[segment], output, epilogue: Plain }.run::<S>();
            }
        }
    }

    /// Writes the channels from `col` on of a square's pixels.
    #[inline(always)]
    unsafe fn write<S: Simd<T = T>>(&self, square: Square, given: &Grid<T>, row: usize, col: usize) {
        let n = self.weights.n;
        // SAFETY: the result has these pixels of n channels, and the grid this row.
        unsafe {
            let picture = self.to.add(square.picture * self.to_row);
            let to = square.pixels::<T, 2>(picture, n, 0, ptr::null());
            for c in (col..n.min(col + given.row)).step_by(S::LANES) {
                let y = sums::<S>(given.get::<S>(row, c - col));
                for i in 0..2 {
                    for j in 0..2 {
                        if !to[i][j].is_null() {
                            put::<S>(to[i][j].add(c).cast_mut(), y[i][j], n - c, self.add);
                        }
                    }
                }
            }
        }
    }
}

/// Writes, or adds, a vector, or its first `valid` numbers where it has more.
///
/// # Safety
/// As many numbers may be written.
#[inline(always)]
pub(super) unsafe fn put<S: Simd>(to: *mut S::T, x: S::V, valid: usize, add: bool) {
    // SAFETY: the caller's promise, and no vector has more lanes.
    unsafe {
        if valid >= S::LANES {
            S::store(to, if add { S::add(S::load(to), x) } else { x });
        } else {
            let mut lanes = [S::T::zero(); MOST_LANES];
            S::store(lanes.as_mut_ptr(), x);
            for i in 0..valid {
                *to.add(i) = if add { *to.add(i) + lanes[i] } else { lanes[i] };
            }
        }
    }
}
