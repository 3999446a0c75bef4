//! Layers of networks that form a graph: convolutions, and dense layers without what follows them.

use super::block::{CudaBlock, THREADS};
use super::forms::{
    CONV_FORWARD, CONV_GRADIENT, CONV_REVERSE, Form, LINEAR, NARROW, TALL, TRANSPOSED_ADD, WIDE, tiles,
};
use super::gradient::{CudaNet, GradientLines};
use super::kernels::{
    Arguments, ConvForward, ConvGradient, ConvParameters, ConvReverse, ProductFew, ProductLinear, ProductTransposed,
};
use super::layers::{ProductKind, bias, weights};
use crate::device::Mat;
use crate::device::layout::{Conv, Map};

/// Outputs and inputs of a layer for which a block computes a row.
const FEW: usize = 4;
const MANY: usize = 256;

/// Returns what the kernels divide by: see cuda/divisor.cuh.
fn inverse(by: usize) -> u32 {
    u32::MAX / count(by)
}

/// Returns a number as kernels take it, and panics where they would count beyond 32 bits: no GPU has memory for that.
fn count(n: usize) -> u32 {
    u32::try_from(n).expect("a number of 32 bits")
}

/// Returns a kernel's numbers, where the product reads so many channels and counts by these pixels.
fn parameters(conv: &Conv, rows: usize, channels: usize, line: usize, picture: usize) -> ConvParameters {
    assert!(rows.checked_mul(picture).is_some_and(|pixels| u32::try_from(pixels).is_ok()), "pixels of 32 bits");
    ConvParameters {
        rows: count(rows),
        height: count(conv.from.height),
        width: count(conv.from.width),
        channels: count(conv.from.channels),
        outputs: count(conv.channels),
        side: count(conv.side),
        step: count(conv.stride),
        places: inverse(channels),
        picture: inverse(picture),
        line: inverse(line),
    }
}

/// As [`parameters`], for what counts by the pixels that a convolution takes.
pub(super) fn by_takings(conv: &Conv, rows: usize) -> ConvParameters {
    let from = conv.from;
    parameters(conv, rows, conv.channels, from.width, from.height * from.width)
}

/// As [`parameters`], for what counts by the pixels that a convolution gives.
pub(super) fn by_results(conv: &Conv, rows: usize) -> ConvParameters {
    let to = conv.to();
    parameters(conv, rows, conv.from.channels, to.width, to.height * to.width)
}

impl CudaBlock {
    /// Queues a product with m x n results, `splits` times along the grid's second axis, by the largest tile of which
    /// there are enough; a wide one only where its columns are not half empty.
    fn convolve<A: Arguments>(&mut self, form: &Form, m: usize, n: usize, splits: usize, arguments: &A) {
        let precision = self.gpu.precision();
        let tiles = tiles(precision);
        let fits = |&tile: &usize| (tile == TALL || n > tiles[TALL].cols) && tiles[tile].fills(m, n, splits);
        let tile = [WIDE, TALL].into_iter().find(fits).unwrap_or(NARROW);
        let grid = [count(tiles[tile].count(m, n)), count(splits), 1];
        self.launch_as(form.kernel(precision, tile), grid, [tiles[tile].threads, 1, 1], arguments);
    }

    pub(super) fn layer_map(&mut self, net: &CudaNet, layer: usize, x: Mat, with_bias: bool, to: Mat) {
        let layer = &net.layers[layer];
        assert!(x.cols == layer.inputs() && to.cols == layer.outputs() && x.rows == to.rows && to.apart(&x));
        let w = weights(net, layer);
        let ((x_at, x_stride), (out, out_stride)) = (self.place(x), self.place(to));
        match layer.map {
            Map::Dense { inputs, outputs } if outputs <= FEW && inputs >= MANY => {
                let bias = if with_bias { bias(net, layer) } else { 0 };
                let (n, k) = (count(outputs), count(inputs));
                let arguments = ProductFew { x: x_at, x_stride, w, bias, out, out_stride, n, k };
                self.launch([count(x.rows), 1, 1], [THREADS, 1, 1], &arguments);
            }
            Map::Dense { inputs, outputs } if !with_bias => {
                let (m, n, k) = (count(x.rows), count(outputs), count(inputs));
                let arguments = ProductLinear { x: x_at, x_stride, w, out, out_stride, m, n, k };
                self.product(&LINEAR, x.rows, outputs, 1, &arguments);
            }
            Map::Dense { .. } => self.affine_fused(net, layer, x, to),
            Map::Conv(conv) => {
                let bias = if with_bias { bias(net, layer) } else { 0 };
                let numbers = by_results(&conv, x.rows);
                let arguments = ConvForward { x: x_at, x_stride, w, bias, out, out_stride, conv: numbers };
                let pixels = conv.to().height * conv.to().width;
                self.convolve(&CONV_FORWARD, x.rows * pixels, conv.channels, 1, &arguments);
            }
        }
    }

    pub(super) fn layer_map_reverse(&mut self, net: &CudaNet, index: usize, delta: Mat, to: Mat, add: bool) {
        let layer = &net.layers[index];
        assert!(delta.cols == layer.outputs() && to.cols == layer.inputs());
        assert!(delta.rows == to.rows && to.apart(&delta));
        let w = weights(net, layer);
        let ((delta_at, delta_stride), (out, out_stride)) = (self.place(delta), self.place(to));
        match layer.map {
            Map::Dense { .. } if !add => self.layer_reverse(net, index, delta, to, ProductKind::Plain),
            Map::Dense { inputs, outputs } => {
                let (m, n, k) = (count(delta.rows), count(inputs), count(outputs));
                let arguments = ProductTransposed { delta: delta_at, delta_stride, w, out, out_stride, m, n, k };
                self.product(&TRANSPOSED_ADD, delta.rows, inputs, 1, &arguments);
            }
            Map::Conv(conv) => {
                let pixels = conv.from.height * conv.from.width;
                let numbers = by_takings(&conv, delta.rows);
                let arguments = ConvReverse {
                    delta: delta_at,
                    delta_stride,
                    w,
                    out,
                    out_stride,
                    conv: numbers,
                    add: u32::from(add),
                };
                self.convolve(&CONV_REVERSE, delta.rows * pixels, conv.from.channels, 1, &arguments);
            }
        }
    }

    /// Queues a contribution to the gradient of a convolution.
    pub(super) fn conv_gradient(&mut self, conv: &Conv, lines: &GradientLines, pairs: &[(Mat, Mat)], with_bias: bool) {
        let rows = pairs[0].0.rows;
        for (x, delta) in pairs {
            assert!(x.cols == conv.from.numbers() && delta.cols == conv.to().numbers());
            assert!(x.rows == rows && delta.rows == rows);
        }
        let ((x, x_stride), (delta, delta_stride)) = (self.place(pairs[0].0), self.place(pairs[0].1));
        let second = pairs.get(1);
        let (x2, x2_stride) = self.optional(second.map(|pair| pair.0));
        let (delta2, delta2_stride) = self.optional(second.map(|pair| pair.1));
        let arguments = ConvGradient {
            x,
            x_stride,
            delta,
            delta_stride,
            x2,
            x2_stride,
            delta2,
            delta2_stride,
            conv: by_results(conv, rows),
            bias: u32::from(with_bias),
            chunk: count(lines.chunk),
            lines: lines.place,
            pitch: lines.pitch as u64,
        };
        self.convolve(&CONV_GRADIENT, conv.taps() * conv.from.channels, conv.channels, lines.count, &arguments);
    }
}
