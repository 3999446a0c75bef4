//! Layers on a GPU. A small layer is one kernel with the product and all that surrounds it, because a step of small
//! networks spends its time on launches. A large layer is a product of cublasLt with a kernel around it. Where the
//! system has no cublasLt, every layer is one kernel.

use super::block::CudaBlock;
use super::epilogue_grid::EpilogueGrid;
use super::forms::{
    ADJOINT, AFFINE, BACKWARD, Form, GRADIENT, NARROW, SILU, SOFTPLUS, TANGENT, TANH, TRANSPOSED, WIDE, tiles,
};
use super::gradient::{CudaGradient, CudaNet, GradientLines};
use super::kernels::{
    ActivationAdjoint, ActivationScale, ActivationSilu, Arguments, BiasAdd, ColumnSums, ColumnSumsFinish, Kernel,
    ProductAdjoint, ProductAffine, ProductBackward, ProductGradient, ProductSilu, ProductTangent, ProductTransposed,
};
use super::product::{Operand, Product};
use crate::device::Mat;
use crate::device::layout::{Layer, Map};
use crate::formulas::Activation;

/// The operation that follows a product with transposed weights, p = delta W^T.
pub(super) enum ProductKind {
    /// out = p.
    Plain,
    /// out = slope p; where given, curve *= p.
    Backward { slope: Mat, curve: Option<Mat> },
    /// out = slope p + curve.
    Adjoint { slope: Mat, curve: Mat },
}

impl CudaBlock {
    /// Queues a product with m x n results, `splits` times along the grid's second axis, by wide tiles where there are
    /// enough of them.
    pub(super) fn product<A: Arguments>(&mut self, form: &Form, m: usize, n: usize, splits: usize, arguments: &A) {
        let precision = self.gpu.precision();
        let tiles = tiles(precision);
        let tile = if tiles[WIDE].fills(m, n, splits) { WIDE } else { NARROW };
        let grid = [tiles[tile].count(m, n) as u32, splits as u32, 1];
        self.launch_as(form.kernel(precision, tile), grid, [tiles[tile].threads, 1, 1], arguments);
    }

    /// Queues x W, or delta W^T, into `out` by cublasLt.
    fn multiply_weights(&mut self, net: &CudaNet, layer: &Layer, x: Mat, out: Mat, transposed: bool) {
        let (address, stride) = (self.address(x), x.stride);
        let product = Product {
            m: x.rows,
            n: out.cols,
            k: x.cols,
            a: Operand { address, stride, transposed: false },
            b: Operand { address: weights(net, layer), stride: layer.outputs(), transposed },
            c: Operand { address: self.address(out), stride: out.stride, transposed: false },
            accumulate: false,
        };
        self.multiply(&product);
    }

    pub(super) fn layer_affine(&mut self, net: &CudaNet, layer: usize, x: Mat, out: Mat) {
        let layer = &net.layers[layer];
        if net.fused {
            return self.affine_fused(net, layer, x, out);
        }
        let (bias, (out_at, out_stride)) = (bias(net, layer), self.place(out));
        let (m, n) = (x.rows as u32, layer.outputs() as u32);
        self.multiply_weights(net, layer, x, out, false);
        let grid = EpilogueGrid::new(x.rows, layer.outputs());
        let arguments = BiasAdd { h: out_at, h_stride: out_stride, bias, rows: m, cols: n, chunk: grid.chunk };
        self.launch(grid.grid, grid.block, &arguments);
    }

    pub(super) fn affine_fused(&mut self, net: &CudaNet, layer: &Layer, x: Mat, out: Mat) {
        let (w, bias) = (weights(net, layer), bias(net, layer));
        let ((x_at, x_stride), (out_at, out_stride)) = (self.place(x), self.place(out));
        let (m, n, k) = (x.rows as u32, layer.outputs() as u32, layer.inputs() as u32);
        let arguments = ProductAffine { x: x_at, x_stride, w, bias, out: out_at, out_stride, m, n, k };
        self.product(&AFFINE, x.rows, layer.outputs(), 1, &arguments);
    }

    #[allow(clippy::too_many_arguments)]
    pub(super) fn layer_activated(
        &mut self,
        net: &CudaNet,
        layer: usize,
        activation: Activation,
        x: Mat,
        h: Mat,
        slope: Option<Mat>,
        curve: Option<Mat>,
    ) {
        let layer = &net.layers[layer];
        let (bias, (h_at, h_stride)) = (bias(net, layer), self.place(h));
        let ((slope, slope_stride), (curve, curve_stride)) = (self.optional(slope), self.optional(curve));
        let (m, n, k) = (x.rows as u32, layer.outputs() as u32, layer.inputs() as u32);
        if net.fused {
            let form = match activation {
                Activation::Silu => &SILU,
                Activation::Tanh => &TANH,
                Activation::Softplus => &SOFTPLUS,
            };
            let (x_at, x_stride) = self.place(x);
            let arguments = ProductSilu {
                x: x_at,
                x_stride,
                w: weights(net, layer),
                bias,
                h: h_at,
                h_stride,
                slope,
                slope_stride,
                curve,
                curve_stride,
                m,
                n,
                k,
            };
            self.product(form, x.rows, layer.outputs(), 1, &arguments);
            return;
        }
        self.multiply_weights(net, layer, x, h, false);
        let kernel = match activation {
            Activation::Silu => Kernel::ActivationSilu,
            Activation::Tanh => Kernel::ActivationTanh,
            Activation::Softplus => Kernel::ActivationSoftplus,
        };
        let grid = EpilogueGrid::new(x.rows, layer.outputs());
        let arguments = ActivationSilu {
            h: h_at,
            h_stride,
            bias,
            slope,
            slope_stride,
            curve,
            curve_stride,
            rows: m,
            cols: n,
            chunk: grid.chunk,
        };
        self.launch_as(kernel, grid.grid, grid.block, &arguments);
    }

    pub(super) fn layer_tangent(&mut self, net: &CudaNet, layer: usize, x: Mat, slope: Mat, out: Mat, curve: Mat) {
        let layer = &net.layers[layer];
        let ((slope, slope_stride), (curve, curve_stride)) = (self.place(slope), self.place(curve));
        let (out_at, out_stride) = self.place(out);
        let (m, n, k) = (x.rows as u32, layer.outputs() as u32, layer.inputs() as u32);
        if net.fused {
            let (x_at, x_stride) = self.place(x);
            let arguments = ProductTangent {
                x: x_at,
                x_stride,
                w: weights(net, layer),
                slope,
                slope_stride,
                out: out_at,
                out_stride,
                curve,
                curve_stride,
                m,
                n,
                k,
            };
            self.product(&TANGENT, x.rows, layer.outputs(), 1, &arguments);
            return;
        }
        self.multiply_weights(net, layer, x, out, false);
        self.scale(out, (slope, slope_stride), (curve, curve_stride));
    }

    pub(super) fn layer_reverse(&mut self, net: &CudaNet, layer: usize, delta: Mat, out: Mat, kind: ProductKind) {
        let layer = &net.layers[layer];
        let w = weights(net, layer);
        let ((delta_at, delta_stride), (out_at, out_stride)) = (self.place(delta), self.place(out));
        let (m, n, k) = (delta.rows as u32, layer.inputs() as u32, layer.outputs() as u32);
        let fused = net.fused;
        if !fused {
            self.multiply_weights(net, layer, delta, out, true);
        }
        let (rows, cols) = (delta.rows, layer.inputs());
        match kind {
            ProductKind::Plain if fused => {
                let arguments =
                    ProductTransposed { delta: delta_at, delta_stride, w, out: out_at, out_stride, m, n, k };
                self.product(&TRANSPOSED, rows, cols, 1, &arguments);
            }
            ProductKind::Plain => {}
            ProductKind::Backward { slope, curve } => {
                let ((slope, slope_stride), (curve, curve_stride)) = (self.place(slope), self.optional(curve));
                if fused {
                    let arguments = ProductBackward {
                        delta: delta_at,
                        delta_stride,
                        w,
                        slope,
                        slope_stride,
                        out: out_at,
                        out_stride,
                        curve,
                        curve_stride,
                        m,
                        n,
                        k,
                    };
                    self.product(&BACKWARD, rows, cols, 1, &arguments);
                } else {
                    self.scale(out, (slope, slope_stride), (curve, curve_stride));
                }
            }
            ProductKind::Adjoint { slope, curve } => {
                let ((slope, slope_stride), (curve, curve_stride)) = (self.place(slope), self.place(curve));
                if fused {
                    let arguments = ProductAdjoint {
                        delta: delta_at,
                        delta_stride,
                        w,
                        slope,
                        slope_stride,
                        curve,
                        curve_stride,
                        out: out_at,
                        out_stride,
                        m,
                        n,
                        k,
                    };
                    self.product(&ADJOINT, rows, cols, 1, &arguments);
                } else {
                    let grid = EpilogueGrid::new(out.rows, out.cols);
                    let arguments = ActivationAdjoint {
                        p: out_at,
                        p_stride: out_stride,
                        slope,
                        slope_stride,
                        curve,
                        curve_stride,
                        rows: m,
                        cols: n,
                        chunk: grid.chunk,
                        sums: 0,
                    };
                    self.launch(grid.grid, grid.block, &arguments);
                }
            }
        }
    }

    /// Queues the kernel after a product in `p`: curve *= p (where there is one), then p *= slope.
    fn scale(&mut self, p: Mat, (slope, slope_stride): (u64, u32), (curve, curve_stride): (u64, u32)) {
        let (p_at, p_stride) = self.place(p);
        let grid = EpilogueGrid::new(p.rows, p.cols);
        let arguments = ActivationScale {
            p: p_at,
            p_stride,
            slope,
            slope_stride,
            curve,
            curve_stride,
            rows: p.rows as u32,
            cols: p.cols as u32,
            chunk: grid.chunk,
            sums: 0,
            sum_curve: 0,
        };
        self.launch(grid.grid, grid.block, &arguments);
    }

    pub(super) fn layer_gradient(
        &mut self,
        gradient: &mut CudaGradient,
        layer: usize,
        pairs: &[(Mat, Mat)],
        bias: Option<Mat>,
    ) {
        let lines = gradient.take(layer, pairs[0].0.rows);
        let layer = gradient.layers[layer];
        let with_bias = bias.is_some_and(|bias| bias.offset == pairs[0].1.offset);
        assert!(with_bias || bias.is_none() || !gradient.fused, "a bias' gradient sums what the first pair multiplies");
        match layer.map {
            // Nothing that follows waits for them.
            Map::Conv(conv) => self.aside(|block| block.conv_gradient(&conv, &lines, pairs, with_bias)),
            Map::Dense { .. } if gradient.fused => {
                self.aside(|block| block.gradient_fused(&layer, &lines, pairs, with_bias));
            }
            Map::Dense { .. } => self.gradient_by_library(&layer, lines.place, pairs, bias),
        }
    }

    /// Queues the gradient of weights and biases by one fused product, because biases lie behind the weights.
    fn gradient_fused(&mut self, layer: &Layer, lines: &GradientLines, pairs: &[(Mat, Mat)], with_bias: bool) {
        let (inputs, outputs) = (layer.inputs(), layer.outputs());
        let ((x, x_stride), (delta, delta_stride)) = (self.place(pairs[0].0), self.place(pairs[0].1));
        let second = pairs.get(1);
        let (x2, x2_stride) = self.optional(second.map(|pair| pair.0));
        let (delta2, delta2_stride) = self.optional(second.map(|pair| pair.1));
        let arguments = ProductGradient {
            x,
            x_stride,
            delta,
            delta_stride,
            x2,
            x2_stride,
            delta2,
            delta2_stride,
            rows: pairs[0].0.rows as u32,
            inputs: inputs as u32,
            outputs: outputs as u32,
            bias: u32::from(with_bias),
            // A multiple of what is staged at a time: the last lines may be of no rows, and zero.
            chunk: lines.chunk.next_multiple_of(32) as u32,
            lines: lines.place,
            pitch: lines.pitch as u64,
        };
        self.product(&GRADIENT, inputs, outputs, lines.count, &arguments);
    }

    fn gradient_by_library(&mut self, layer: &Layer, place: u64, pairs: &[(Mat, Mat)], bias: Option<Mat>) {
        let (inputs, outputs) = (layer.inputs(), layer.outputs());
        for (number, &(x, delta)) in pairs.iter().enumerate() {
            let product = Product {
                m: inputs,
                n: outputs,
                k: x.rows,
                a: Operand { address: self.address(x), stride: x.stride, transposed: true },
                b: Operand { address: self.address(delta), stride: delta.stride, transposed: false },
                c: Operand { address: place, stride: outputs, transposed: false },
                accumulate: number > 0,
            };
            self.multiply(&product);
        }
        let biases = place + (layer.weights().len() * size_of::<f32>()) as u64;
        let Some(delta) = bias else {
            self.clear(biases, outputs);
            return;
        };
        let grid = EpilogueGrid::new(delta.rows, delta.cols);
        let tiles = grid.grid[1];
        let (sums, (x, x_stride)) = (self.scratch_address(tiles as usize * delta.cols), self.place(delta));
        let (rows, cols) = (delta.rows as u32, delta.cols as u32);
        self.launch(grid.grid, grid.block, &ColumnSums { x, x_stride, rows, cols, chunk: grid.chunk, sums });
        let arguments = ColumnSumsFinish { sums, tiles, cols, out: biases, accumulate: 0 };
        self.launch([cols.div_ceil(32), 1, 1], [32, 8, 1], &arguments);
    }

    /// Queues zeros at an address.
    fn clear(&mut self, address: u64, floats: usize) {
        self.attempt(|block| {
            // SAFETY: memory of the caller's.
            let status = unsafe { cudarc::driver::sys::cuMemsetD32Async(address, 0, floats, block.stream) };
            super::driver::check(status, || "clear a gradient".into())
        });
    }
}

/// Returns the address of a layer's weights.
pub(super) fn weights(net: &CudaNet, layer: &Layer) -> u64 {
    net.weights + (layer.offset * size_of::<f32>()) as u64
}

pub(super) fn bias(net: &CudaNet, layer: &Layer) -> u64 {
    net.weights + (layer.biases().start * size_of::<f32>()) as u64
}
