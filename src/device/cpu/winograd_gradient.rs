//! The gradient of 3 x 3 taps by Winograd's minimal filtering, which is the adjoint of the pass forward
//! ([`winograd`](super::winograd)). For a group of squares, what they read and the gradient by what they give are
//! transformed, and each of the 16 places adds up the products of both. The sums over all squares are transformed back.

use super::gemm::{Gemm, Output, PANEL_VECTORS, Plain, Segment};
use super::simd::{Kernel, Real, Simd};
use super::winograd::{Grid, Square, put};
use super::winograd_transforms::{PLACES, deltas, squares, taps};
use crate::device::layout::{Conv, Shape};
use std::ptr;

/// Squares of a group. Sums stay in registers for so many.
const GROUP: usize = 32;
/// The most channels of each side for which sums are held at a time, so that they stay in the second-level cache.
const PART: usize = 64;

/// Returns how many numbers [`FilteringGradient`] needs beside its matrices.
pub(super) fn gradient_numbers(conv: &Conv) -> usize {
    let [inputs, outputs] = [conv.from.channels, conv.channels].map(|channels| channels.min(PART).next_multiple_of(32));
    PLACES * (GROUP * (inputs + outputs) + inputs * outputs + 3 * 16) + PART
}

/// One pair of pictures and the gradient by what the convolution gives for them, by rows.
#[derive(Clone, Copy)]
pub(super) struct Pair<T> {
    pub x: *const T,
    pub x_row: usize,
    pub delta: *const T,
    pub delta_row: usize,
}

/// Writes, or adds, the gradient of the weights.
pub(super) struct FilteringGradient<'a, T> {
    pub conv: Conv,
    pub pairs: &'a [Pair<T>],
    pub pictures: usize,
    /// Taps times inputs times outputs.
    pub weights: *mut T,
    /// Whether to add to what is there.
    pub add: bool,
    /// As many numbers as [`gradient_numbers`] says.
    pub room: *mut T,
}

/// Some channels of what is read and of what is given.
#[derive(Clone, Copy)]
struct Part {
    inputs: [usize; 2],
    outputs: [usize; 2],
}

/// Transforms of a group, and the sums, whose rows are inputs.
struct Grids<T> {
    read: Grid<T>,
    given: Grid<T>,
    sums: Grid<T>,
    zeros: *const T,
}

impl<T: Real> Kernel<T> for FilteringGradient<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd<T = T>>(self) {
        let (inputs, outputs) = (self.conv.from.channels, self.conv.channels);
        for input in (0..inputs).step_by(PART) {
            for output in (0..outputs).step_by(PART) {
                let part =
                    Part { inputs: [input, inputs.min(input + PART)], outputs: [output, outputs.min(output + PART)] };
                // SAFETY: the caller's promise.
                unsafe { self.part::<S>(part) }
            }
        }
    }
}

impl<T: Real> FilteringGradient<'_, T> {
    #[inline(always)]
    unsafe fn part<S: Simd<T = T>>(&self, part: Part) {
        let [inputs, outputs] = [part.inputs, part.outputs].map(|[from, to]| to - from);
        let row = outputs.next_multiple_of(PANEL_VECTORS * S::LANES);
        let read = Grid::new::<S>(self.room, GROUP, inputs.next_multiple_of(S::LANES));
        let given = Grid::new::<S>(read.behind(), GROUP, row);
        let sums = Grid::new::<S>(given.behind(), inputs, row);
        let zeros = sums.behind();
        assert!(PLACES * (read.place + given.place + sums.place) + PART <= gradient_numbers(&self.conv));
        // SAFETY: the room holds the grids and the zeros behind them.
        unsafe {
            for c in (0..PART).step_by(S::LANES) {
                S::store(zeros.add(c), S::splat(T::zero()));
            }
            let grids = Grids { read, given, sums, zeros };
            let (mut filled, mut add) = (0, false);
            for pair in self.pairs {
                let mut at = Square::first(self.conv.from);
                for _ in 0..self.pictures * squares(self.conv.from) {
                    self.read::<S>(part, pair, at, filled, &grids);
                    at.step();
                    filled += 1;
                    if filled == GROUP {
                        Self::multiply::<S>([inputs, outputs], filled, add, &grids);
                        (filled, add) = (0, true);
                    }
                }
            }
            if filled > 0 || !add {
                Self::multiply::<S>([inputs, outputs], filled, add, &grids);
            }
            self.write::<S>(part, &grids.sums);
        }
    }

    /// Transforms what a square reads, and the gradient by what it gives.
    #[inline(always)]
    unsafe fn read<S: Simd<T = T>>(&self, part: Part, pair: &Pair<T>, at: Square, row: usize, grids: &Grids<T>) {
        let Shape { channels, .. } = self.conv.from;
        let ([input, input_end], [output, output_end]) = (part.inputs, part.outputs);
        // SAFETY: the pair has these pictures; pixels may be read up to whole vectors, because the workspace has a panel
        // behind its last matrix, and the zeros are as many as a part has channels.
        unsafe {
            let (x, delta) = (pair.x.add(at.picture * pair.x_row), pair.delta.add(at.picture * pair.delta_row));
            let outside = grids.zeros.wrapping_sub(input);
            let mut from = at.pixels(x, channels, 1, outside);
            for i in 0..4 {
                for j in 0..4 {
                    from[i][j] = from[i][j].wrapping_add(input);
                }
            }
            grids.read.put_pixels::<S>(row, from, input_end - input);
            let from = at.pixels::<T, 2>(delta, self.conv.channels, 0, grids.zeros.wrapping_sub(output));
            for c in (output..output_end).step_by(S::LANES) {
                let mut y = [[S::splat(T::zero()); 2]; 2];
                for i in 0..2 {
                    for j in 0..2 {
                        y[i][j] = S::load(from[i][j].wrapping_add(c));
                    }
                }
                grids.given.put::<S>(row, c - output, deltas::<S>(y));
            }
        }
    }

    /// Adds the products of a group's squares to the sums, or writes them.
    #[inline(always)]
    unsafe fn multiply<S: Simd<T = T>>([m, n]: [usize; 2], k: usize, accumulate: bool, grids: &Grids<T>) {
        let Grids { read, given, sums, .. } = grids;
        let b_panel = PANEL_VECTORS * S::LANES;
        for place in 0..PLACES {
            // SAFETY: the grids have k rows, the sums m; rows of both have whole panels.
            unsafe {
                let (a, b, c) = (read.at(place, 0), given.at(place, 0), sums.at(place, 0));
                let segment = Segment { a, a_row: 1, a_col: read.row, b, b_row: given.row, b_panel, k };
                let output = Output { c, row: sums.row, col: 1, padded: sums.row, accumulate, bias: ptr::null() };
                Gemm { m, n, segments: &[segment], output, epilogue: Plain }.run::<S>();
            }
        }
    }

    /// Transforms the sums back.
    #[inline(always)]
    unsafe fn write<S: Simd<T = T>>(&self, part: Part, sums: &Grid<T>) {
        let (inputs, outputs) = (self.conv.from.channels, self.conv.channels);
        let ([input, input_end], [output, output_end]) = (part.inputs, part.outputs);
        // SAFETY: the gradient has nine taps of inputs x outputs numbers, and the grid these rows.
        unsafe {
            let half = S::splat(T::of(0.5));
            for i in input..input_end {
                for o in (output..output_end).step_by(S::LANES) {
                    let gradient = taps::<S>(sums.get::<S>(i - input, o - output), half);
                    for tap in 0..9 {
                        let to = self.weights.add((tap * inputs + i) * outputs + o);
                        put::<S>(to, gradient[tap / 3][tap % 3], output_end - o, self.add);
                    }
                }
            }
        }
    }
}
