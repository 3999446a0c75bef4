//! The layers of graphs on a block of rows: dense ones, and convolutions of pictures. Those of 3 x 3 taps go by minimal
//! filtering ([`winograd`](super::winograd)), others by their definition ([`conv_direct`](super::conv_direct)).

use super::block::CpuBlock;
use super::conv_direct::{Convolution, Reading};
use super::crew::{Shared, in_parts};
use super::dense::reverse;
use super::gemm::{Gemm, Output, PANEL_VECTORS, Plain, Segment};
use super::net::{Form, Packed, PackedLayer};
use super::simd::Real;
use super::winograd::{Filtering, filtering_numbers};
use super::winograd_cuts::Cuts;
use super::winograd_transforms::{PLACES, is_filtered, squares};
use crate::device::Mat;
use crate::device::layout::{Map, Shape};
use std::ptr;

/// Products of a convolution below which threads do not share it.
const LEAST_PRODUCTS: usize = 1 << 18;

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

    /// Computes to (+)= bias + the convolution of x, or its transpose.
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
        let Reading { conv, .. } = reading;
        let [[from_height, from_width], [height, width]] = reading.sides();
        let filtered = is_filtered(&conv);
        let channels = weights.k / if filtered { PLACES } else { conv.taps() };
        assert!(matches!(weights.form, Form::Panels { width } if width == PANEL_VECTORS * T::lanes(self.isa)));
        assert!(x.cols == from_height * from_width * channels && to.cols == height * width * weights.n);
        assert!(
            x.rows == to.rows && to.apart(&x) && layer.zeros.len() >= channels.next_multiple_of(T::lanes(self.isa))
        );
        if conv.side == 1 && conv.stride == 1 {
            return self.convolve_pixels(weights, x, bias, to, add);
        }
        let (isa, pictures, x_row, to_row) = (self.isa, x.rows, x.stride, to.stride);
        let zeros = layer.zeros.as_ptr();
        if !filtered {
            let (x, to) = (self.ptr(x), self.ptr(to));
            let kernel = Convolution { reading, weights, channels, zeros, pictures, x, x_row, bias, to, to_row, add };
            // SAFETY: extents were checked; the bias is padded to whole panels.
            return unsafe { T::dispatch(isa, kernel) };
        }
        let shape = Shape { channels, ..conv.from };
        let squares = pictures * squares(shape);
        let products = squares.saturating_mul(PLACES * channels).saturating_mul(weights.n);
        let threads = match &self.crew {
            Some(crew) if products >= LEAST_PRODUCTS => crew.threads(),
            _ => 1,
        };
        let Form::Panels { width } = weights.form else { unreachable!("checked above") };
        let cuts = Cuts::new(squares, weights.n, width, threads);
        let (room, apart) = self.room(filtering_numbers(channels));
        let (room, x, to) = (Shared(room), Shared(self.ptr(x)), Shared(self.ptr(to)));
        let (zeros, bias) = (Shared(zeros.cast_mut()), Shared(bias.cast_mut()));
        let work = |number: usize, thread: usize| {
            let (x, to, bias, zeros) = (x.get(), to.get(), bias.get(), zeros.get());
            // SAFETY: extents were checked; the bias is padded to whole panels; the thread's room is as large as it has to
            // be; parts write numbers of their own. Beyond the channels of the last pixel, which no product takes, a vector
            // may have read what another part is about to write.
            unsafe {
                let (room, part) = (room.get().add(thread * apart), cuts.part(number));
                let kernel = Filtering { shape, weights, zeros, x, x_row, bias, to, to_row, add, room, part };
                T::dispatch(isa, kernel);
            }
        };
        match &self.crew {
            Some(crew) if threads > 1 => crew.share(cuts.count(), work),
            _ => work(0, 0),
        }
    }

    /// Does the same for a convolution of one tap, a product over the pixels of each picture.
    fn convolve_pixels(&mut self, weights: &Packed<T>, x: Mat, bias: *const T, to: Mat, add: bool) {
        let &Packed { k, n, form: Form::Panels { width }, .. } = weights else { unreachable!("it has panels") };
        assert!(x.rows == to.rows && x.cols / k == to.cols / n && to.apart(&x));
        for picture in 0..x.rows {
            let from = self.ptr(x.rows(picture, picture + 1));
            let (b, b_panel) = (weights.data.as_ptr(), width * k);
            let to_start = self.ptr(to.rows(picture, picture + 1));
            let (isa, from, to_start) = (self.isa, Shared(from), Shared(to_start));
            let (b, bias) = (Shared(b.cast_mut()), Shared(bias.cast_mut()));
            in_parts(self.crew.as_deref(), to.cols / n, 8, k * n / 16, |pixels| {
                // SAFETY: both pictures have these pixels; the weights and the bias are padded to whole panels.
                unsafe {
                    let (a, b, bias) = (from.get().add(pixels.start * k), b.get(), bias.get());
                    let segment = Segment { a, a_row: k, a_col: 1, b, b_row: width, b_panel, k };
                    let c = to_start.get().add(pixels.start * n);
                    let output = Output { c, row: n, col: 1, padded: n, accumulate: add, bias };
                    Gemm { m: pixels.len(), n, segments: &[segment], output, epilogue: Plain }.execute(isa);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests;
