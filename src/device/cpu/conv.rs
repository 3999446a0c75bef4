//! The layers of graphs on a block of rows: dense ones, and convolutions of pictures. Those of 3 x 3 taps go by minimal
//! filtering ([`winograd`](super::winograd)), others by their definition ([`conv_direct`](super::conv_direct)).

use super::block::CpuBlock;
use super::conv_direct::{Convolution, Reading};
use super::dense::reverse;
use super::gemm::{Gemm, Output, PANEL_VECTORS, Plain, Segment};
use super::net::{Form, Packed, PackedLayer};
use super::simd::Real;
use super::winograd::{Filtering, filtering_numbers};
use super::winograd_transforms::{PLACES, is_filtered};
use crate::device::Mat;
use crate::device::layout::{Map, Shape};
use std::ptr;

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
        let room = if filtered { self.room(filtering_numbers(channels)) } else { ptr::null_mut() };
        let (isa, zeros, pictures, x_row, to_row) = (self.isa, layer.zeros.as_ptr(), x.rows, x.stride, to.stride);
        let (x, to) = (self.ptr(x), self.ptr(to));
        // SAFETY: extents were checked; the bias is padded to whole panels, and the room is as large as it has to be.
        unsafe {
            if filtered {
                let shape = Shape { channels, ..conv.from };
                let kernel = Filtering { shape, weights, zeros, pictures, x, x_row, bias, to, to_row, add, room };
                T::dispatch(isa, kernel);
            } else {
                let kernel =
                    Convolution { reading, weights, channels, zeros, pictures, x, x_row, bias, to, to_row, add };
                T::dispatch(isa, kernel);
            }
        }
    }

    /// Does the same for a convolution of one tap, a product over the pixels of each picture.
    fn convolve_pixels(&mut self, weights: &Packed<T>, x: Mat, bias: *const T, to: Mat, add: bool) {
        let &Packed { k, n, form: Form::Panels { width }, .. } = weights else { unreachable!("it has panels") };
        assert!(x.rows == to.rows && x.cols / k == to.cols / n && to.apart(&x));
        for picture in 0..x.rows {
            let from = self.ptr(x.rows(picture, picture + 1));
            let (b, b_panel) = (weights.data.as_ptr(), width * k);
            let segment = Segment { a: from, a_row: k, a_col: 1, b, b_row: width, b_panel, k };
            let c = self.ptr(to.rows(picture, picture + 1));
            let output = Output { c, row: n, col: 1, padded: n, accumulate: add, bias };
            let gemm = Gemm { m: to.cols / n, n, segments: &[segment], output, epilogue: Plain };
            // SAFETY: both pictures have so many pixels; the weights and the bias are padded to whole panels.
            unsafe { gemm.execute(self.isa) }
        }
    }
}

#[cfg(test)]
mod tests;
