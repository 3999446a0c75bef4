//! The gradient of a convolution's weights: for each tap, the sum over pixels of the channels that the tap reads times the
//! gradient's channels. The pixels of which neither lies beyond an edge are listed once for all tiles of a tap.

use super::block::CpuBlock;
use super::conv_direct::scatter;
use super::dense::ColumnSums;
use super::gemm::PANEL_VECTORS;
use super::net::CpuGradient;
use super::simd::{Kernel, Real, Simd};
use super::winograd_gradient::{FilteringGradient, Pair, gradient_numbers};
use super::winograd_transforms::{is_filtered, squares};
use crate::device::Mat;
use crate::device::layout::Conv;

/// The length of a list: two kilobytes a pointer, and sums stay in registers for so many pixels.
const LISTED: usize = 256;

/// The largest number of squares for which minimal filtering takes longer: its sums are transformed back once, however few
/// they add up.
const FEW_SQUARES: usize = 16;

struct ConvolutionGradient<'a, T> {
    conv: Conv,
    pairs: &'a [Pair<T>],
    pictures: usize,
    /// Taps times inputs times outputs.
    weights: *mut T,
    /// Whether to add to what is there.
    add: bool,
}

/// Pixels of both, place by place.
struct List<T> {
    x: [*const T; LISTED],
    delta: [*const T; LISTED],
    len: usize,
}

impl<T: Real> Kernel<T> for ConvolutionGradient<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd<T = T>>(self) {
        let Self { conv, pairs, pictures, weights, mut add } = self;
        let (from, to, half) = (conv.from, conv.to(), conv.side / 2);
        let whole = conv.side * conv.side;
        let mut list = List { x: [std::ptr::null(); LISTED], delta: [std::ptr::null(); LISTED], len: 0 };
        for tap in 0..whole {
            let (i, j) = (tap / conv.side, tap % conv.side);
            // SAFETY: the gradient has this tap.
            let weights = unsafe { weights.add(tap * from.channels * conv.channels) };
            let before = add;
            for pair in pairs {
                for picture in 0..pictures {
                    // SAFETY: both matrices have these rows, and pictures these pixels.
                    unsafe {
                        let (x, delta) = (pair.x.add(picture * pair.x_row), pair.delta.add(picture * pair.delta_row));
                        for y in 0..to.height {
                            let Some(row) = (y * conv.stride + i).checked_sub(half).filter(|&row| row < from.height)
                            else {
                                continue;
                            };
                            for column in 0..to.width {
                                let read = (column * conv.stride + j).wrapping_sub(half);
                                if read >= from.width {
                                    continue;
                                }
                                list.x[list.len] = x.add((row * from.width + read) * from.channels);
                                list.delta[list.len] = delta.add((y * to.width + column) * conv.channels);
                                list.len += 1;
                                if list.len == LISTED {
                                    list.empty::<S>(conv, weights, add);
                                    add = true;
                                }
                            }
                        }
                    }
                }
            }
            // What no pixel reads has the gradient 0, which must be written too.
            if list.len > 0 || !add {
                // SAFETY: as above.
                unsafe { list.empty::<S>(conv, weights, add) }
            }
            add = before;
        }
    }
}

impl<T: Real> List<T> {
    /// Adds what is listed to a tap's gradient, or writes it.
    #[inline(always)]
    unsafe fn empty<S: Simd<T = T>>(&mut self, conv: Conv, weights: *mut T, add: bool) {
        let (inputs, outputs) = (conv.from.channels, conv.channels);
        macro_rules! heights {
            ($rows:expr, $narrow:expr, $row:expr, $col:expr, $($height:literal)+) => {
                match ($rows, $narrow) {
                    // SAFETY: the caller's promise.
                    $(($height, false) => unsafe { self.tile::<S, $height, 2>($row, $col, outputs, weights, add) },
                      ($height, true) => unsafe { self.tile::<S, $height, 1>($row, $col, outputs, weights, add) },)+
                    _ => unreachable!("a tile has at most TILE_ROWS rows"),
                }
            };
        }
        for col in (0..outputs).step_by(PANEL_VECTORS * S::LANES) {
            for row in (0..inputs).step_by(S::TILE_ROWS) {
                heights!(S::TILE_ROWS.min(inputs - row), outputs - col <= S::LANES, row, col, 1 2 3 4 5 6 7 8);
            }
        }
        self.len = 0;
    }

    #[inline(always)]
    unsafe fn tile<S: Simd<T = T>, const ROWS: usize, const VECTORS: usize>(
        &self,
        row: usize,
        col: usize,
        outputs: usize,
        weights: *mut T,
        add: bool,
    ) {
        // SAFETY: pixels have the channels that are read, and the workspace a panel behind its last matrix; of the weights
        // only those of this tap are written.
        unsafe {
            let mut acc = [[S::splat(T::zero()); VECTORS]; ROWS];
            for at in 0..self.len {
                let (x, delta) = (self.x[at].add(row), self.delta[at].add(col));
                let mut right = [S::splat(T::zero()); VECTORS];
                for v in 0..VECTORS {
                    right[v] = S::load(delta.add(v * S::LANES));
                }
                for i in 0..ROWS {
                    let left = S::splat(*x.add(i));
                    for v in 0..VECTORS {
                        acc[i][v] = S::fma(left, right[v], acc[i][v]);
                    }
                }
            }
            if col + VECTORS * S::LANES <= outputs {
                for i in 0..ROWS {
                    for v in 0..VECTORS {
                        let at = weights.add((row + i) * outputs + col + v * S::LANES);
                        S::store(at, if add { S::add(S::load(at), acc[i][v]) } else { acc[i][v] });
                    }
                }
            } else {
                let mut lanes = [T::zero(); 8 * 2 * 16];
                for i in 0..ROWS {
                    for v in 0..VECTORS {
                        S::store(lanes.as_mut_ptr().add((i * VECTORS + v) * S::LANES), acc[i][v]);
                    }
                }
                let to = weights.add(row * outputs + col);
                scatter(&lanes, VECTORS * S::LANES, ROWS, outputs - col, to, outputs, add);
            }
        }
    }
}

impl<T: Real> CpuBlock<T> {
    pub(super) fn conv_gradient(
        &mut self,
        conv: Conv,
        gradient: &mut CpuGradient<T>,
        index: usize,
        pairs: &[(Mat, Mat)],
        bias: Option<Mat>,
    ) {
        let (isa, pictures) = (self.isa, pairs[0].0.rows);
        assert!((1..=2).contains(&pairs.len()));
        let place = |block: &mut Self, (x, delta): (Mat, Mat)| {
            assert!(x.cols == conv.from.numbers() && delta.cols == conv.to().numbers());
            assert!(x.rows == pictures && delta.rows == pictures);
            Pair { x: block.ptr(x), x_row: x.stride, delta: block.ptr(delta), delta_row: delta.stride }
        };
        let first = place(self, pairs[0]);
        let places = [first, pairs.get(1).map_or(first, |&pair| place(self, pair))];
        let (weights, add) = gradient.weights(index);
        let weights = weights.as_mut_ptr();
        let pairs = &places[..pairs.len()];
        // SAFETY: extents were checked; the gradient has taps times inputs times outputs numbers there, and the room as
        // many as are needed.
        unsafe {
            if is_filtered(&conv) && pairs.len() * pictures * squares(conv.from) > FEW_SQUARES {
                let (room, _) = self.room(gradient_numbers(&conv));
                T::dispatch(isa, FilteringGradient { conv, pairs, pictures, weights, add, room });
            } else {
                T::dispatch(isa, ConvolutionGradient { conv, pairs, pictures, weights, add });
            }
        }
        let Some(delta) = bias else { return };
        let (biases, mut add) = gradient.biases(index);
        assert!(delta.cols == conv.to().numbers() && biases.len() == conv.channels);
        let rows = conv.to().height * conv.to().width;
        for picture in 0..delta.rows {
            let start = self.ptr(delta.rows(picture, picture + 1));
            let sums = ColumnSums::new(start, conv.channels, rows, biases, add);
            // SAFETY: a picture has so many pixels of so many channels.
            unsafe { T::dispatch(isa, sums) }
            add = true;
        }
    }
}
