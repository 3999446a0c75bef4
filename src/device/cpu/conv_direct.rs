//! Convolutions by their definition.
//!
//! A register tile has some pixels of the result and two vectors of its channels. For each tap it goes through the
//! channels of the pixels that the tap reads, each of which has a pointer of its own; beyond the edges that is a row of
//! zeros. So pictures are neither copied nor padded (the indirect convolution of Dukhan, *The Indirect Convolution
//! Algorithm*, 2019). A tap that reads no pixel for the whole tile is left out. The reverse pass is the same with the taps
//! turned around and transposed weights.

use super::gemm::PANEL_VECTORS;
use super::net::Packed;
use super::simd::{Kernel, Real, Simd};
use crate::device::layout::Conv;

/// The largest number of taps along a side, of all taps, and of rows of a tile.
const MOST_SIDE: usize = 3;
const MOST_TAPS: usize = MOST_SIDE * MOST_SIDE;
const MOST_ROWS: usize = 8;

/// The pixels that a convolution reads for those that it writes, forward or in reverse.
#[derive(Clone, Copy)]
pub(super) struct Reading {
    pub conv: Conv,
    pub reverse: bool,
}

impl Reading {
    /// Returns rows and columns of the picture that is read, and of the one that is written.
    pub fn sides(&self) -> [[usize; 2]; 2] {
        let sides = [self.conv.from, self.conv.to()].map(|shape| [shape.height, shape.width]);
        if self.reverse { [sides[1], sides[0]] } else { sides }
    }

    /// Returns the distance of pixels that the same taps write, if no edge is near.
    fn step(&self) -> usize {
        if self.reverse { self.conv.stride } else { 1 }
    }

    /// Returns the coordinates that the taps along a side read for the coordinate `at`. Those of `extent` or more are no
    /// pixels.
    #[inline(always)]
    fn coordinates(&self, at: usize) -> [usize; MOST_SIDE] {
        let (half, stride) = (self.conv.side / 2, self.conv.stride);
        let mut read = [usize::MAX; MOST_SIDE];
        for tap in 0..self.conv.side {
            if !self.reverse {
                read[tap] = (at * stride + tap).wrapping_sub(half);
            } else {
                let behind = (at + half).wrapping_sub(tap);
                // Strides are 1 or 2.
                if behind & (stride - 1) == 0 {
                    read[tap] = behind >> (stride / 2);
                }
            }
        }
        read
    }
}

/// to (+)= bias + the convolution of x, for packed weights of `taps` times `channels` rows.
pub(super) struct Convolution<'a, T> {
    pub reading: Reading,
    pub weights: &'a Packed<T>,
    /// Channels of what is read.
    pub channels: usize,
    /// As many zeros as there are channels.
    pub zeros: *const T,
    pub pictures: usize,
    pub x: *const T,
    pub x_row: usize,
    /// A whole number of panels, or null.
    pub bias: *const T,
    pub to: *mut T,
    pub to_row: usize,
    pub add: bool,
}

/// Some pixels of the result.
struct Tile<T> {
    rows: usize,
    to: [*mut T; MOST_ROWS],
    /// The taps that read pixels, and which.
    taps: [usize; MOST_TAPS],
    from: [[*const T; MOST_ROWS]; MOST_TAPS],
    count: usize,
}

/// A pixel of the result, and how far the next one is that the same taps write.
struct Place {
    picture: usize,
    y: usize,
    x: usize,
}

impl<T: Real> Kernel<T> for Convolution<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd<T = T>>(self) {
        let ([_, [height, width]], step) = (self.reading.sides(), self.reading.step());
        let mut tile = Tile {
            rows: 0,
            to: [self.to; MOST_ROWS],
            taps: [0; MOST_TAPS],
            from: [[self.zeros; MOST_ROWS]; MOST_TAPS],
            count: 0,
        };
        for phase in 0..step * step {
            let (y, x) = (phase / step, phase % step);
            let of_picture = height.saturating_sub(y).div_ceil(step) * width.saturating_sub(x).div_ceil(step);
            let pixels = self.pictures * of_picture;
            let mut place = Place { picture: 0, y, x };
            for first in (0..pixels).step_by(S::TILE_ROWS) {
                tile.rows = S::TILE_ROWS.min(pixels - first);
                // SAFETY: the matrices have so many pictures, and the result these pixels.
                unsafe {
                    self.find(&mut place, [y, x], step, &mut tile);
                    self.tiles::<S>(&tile);
                }
            }
        }
    }
}

impl<T: Real> Convolution<'_, T> {
    /// Finds what the taps read for the pixels of a tile, from a pixel on. `begin` is where the pixels of a picture begin.
    #[inline(always)]
    unsafe fn find(&self, place: &mut Place, begin: [usize; 2], step: usize, tile: &mut Tile<T>) {
        let (side, [[from_height, from_width], [height, width]]) = (self.reading.conv.side, self.reading.sides());
        let mut used = 0usize;
        for row in 0..tile.rows {
            let rows = self.reading.coordinates(place.y);
            let columns = self.reading.coordinates(place.x);
            // SAFETY: the matrices have this picture, and pictures the pixels whose coordinates are below their sides.
            unsafe {
                let x = self.x.add(place.picture * self.x_row);
                for i in 0..side {
                    for j in 0..side {
                        let inside = rows[i] < from_height && columns[j] < from_width;
                        let at = rows[i].wrapping_mul(from_width).wrapping_add(columns[j]).wrapping_mul(self.channels);
                        tile.from[i * side + j][row] = if inside { x.add(at) } else { self.zeros };
                        used |= usize::from(inside) << (i * side + j);
                    }
                }
                let to = self.to.add(place.picture * self.to_row);
                tile.to[row] = to.add((place.y * width + place.x) * self.weights.n);
            }
            place.x += step;
            if place.x >= width {
                (place.x, place.y) = (begin[1], place.y + step);
            }
            if place.y >= height {
                (place.y, place.picture) = (begin[0], place.picture + 1);
            }
        }
        tile.count = 0;
        for tap in 0..side * side {
            tile.from[tile.count] = tile.from[tap];
            tile.taps[tile.count] = tap;
            tile.count += used >> tap & 1;
        }
    }

    /// Computes all channels of some pixels.
    #[inline(always)]
    unsafe fn tiles<S: Simd<T = T>>(&self, tile: &Tile<T>) {
        let (width, n) = (PANEL_VECTORS * S::LANES, self.weights.n);
        macro_rules! heights {
            ($first:expr, $narrow:expr, $($height:literal)+) => {
                match (tile.rows, $narrow) {
                    // SAFETY: the caller's promise.
                    $(($height, false) => unsafe { self.tile::<S, $height, 2>(tile, $first) },
                      ($height, true) => unsafe { self.tile::<S, $height, 1>(tile, $first) },)+
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
    unsafe fn tile<S: Simd<T = T>, const ROWS: usize, const VECTORS: usize>(&self, tile: &Tile<T>, first: usize) {
        let (width, n) = (PANEL_VECTORS * S::LANES, self.weights.n);
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
            let panel = self.weights.data.as_ptr().add(first * self.weights.k);
            for t in 0..tile.count {
                let mut b = panel.add(tile.taps[t] * self.channels * width);
                let mut from = [self.zeros; ROWS];
                from.copy_from_slice(&tile.from[t][..ROWS]);
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
            if first + VECTORS * S::LANES <= n {
                for i in 0..ROWS {
                    for v in 0..VECTORS {
                        let at = tile.to[i].add(first + v * S::LANES);
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
                for i in 0..ROWS {
                    let line = &lanes[i * VECTORS * S::LANES..];
                    scatter(line, VECTORS * S::LANES, 1, n - first, tile.to[i].add(first), n, self.add);
                }
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
