//! Layers on a GPU. Small ones are one kernel each, product and all that surrounds it: there launches are what a step
//! spends its time on. Large ones are cublasLt's product with a kernel around it. Where the system has no cublasLt,
//! every layer is one kernel.

use super::around::Around;
use super::block::CudaBlock;
use super::gradient::{CudaGradient, CudaNet};
use super::kernels::{
    ActivationAdjoint, ActivationScale, ActivationSilu, Arguments, BiasAdd, ColumnSums, ColumnSumsFinish, Kernel,
    ProductAdjoint, ProductAffine, ProductBackward, ProductGradient, ProductSilu, ProductTangent, ProductTransposed,
};
use super::product::{Operand, Product};
use crate::device::Mat;
use crate::device::layout::Layer;
use crate::formulas::Activation;

/// Both tiles of the product kernels (cuda/product.cuh): side and threads.
const NARROW: (usize, u32) = (32, 256);
const WIDE: (usize, u32) = (64, 128);
/// Wide tiles that a product has at least where it takes them: about two for each multiprocessor of a large GPU. Not a
/// number of the device's, so that sums are in the same order on every one.
const LEAST_WIDE: usize = 256;

/// What follows a product with transposed weights, p = delta W^T.
pub(super) enum ProductKind {
    /// out = p.
    Plain,
    /// out = slope p; where given, curve *= p.
    Backward { slope: Mat, curve: Option<Mat> },
    /// out = slope p + curve.
    Adjoint { slope: Mat, curve: Mat },
}

/// A product kernel in its two tiles.
type Tiled = [Kernel; 2];

const AFFINE: Tiled = [Kernel::ProductAffine, Kernel::ProductAffineWide];
const SILU: Tiled = [Kernel::ProductSilu, Kernel::ProductSiluWide];
const TANH: Tiled = [Kernel::ProductTanh, Kernel::ProductTanhWide];
const SOFTPLUS: Tiled = [Kernel::ProductSoftplus, Kernel::ProductSoftplusWide];
const TANGENT: Tiled = [Kernel::ProductTangent, Kernel::ProductTangentWide];
const TRANSPOSED: Tiled = [Kernel::ProductTransposed, Kernel::ProductTransposedWide];
const BACKWARD: Tiled = [Kernel::ProductBackward, Kernel::ProductBackwardWide];
const ADJOINT: Tiled = [Kernel::ProductAdjoint, Kernel::ProductAdjointWide];
const GRADIENT: Tiled = [Kernel::ProductGradient, Kernel::ProductGradientWide];

impl CudaBlock {
    /// Queues a product with m x n results, `splits` times along the grid's second axis.
    fn product<A: Arguments>(&mut self, [narrow, wide]: Tiled, m: usize, n: usize, splits: usize, arguments: &A) {
        let tiles = |side: usize| m.div_ceil(side) * n.div_ceil(side);
        let (kernel, (side, threads)) =
            if tiles(WIDE.0) * splits >= LEAST_WIDE { (wide, WIDE) } else { (narrow, NARROW) };
        self.queue_as(kernel, [tiles(side) as u32, splits as u32, 1], [threads, 1, 1], arguments);
    }

    /// x W, or delta W^T, into `out` by cublasLt.
    fn multiply_weights(&mut self, net: &CudaNet, layer: &Layer, x: Mat, out: Mat, transposed: bool) {
        let (address, stride) = (self.address(x), x.stride);
        let product = Product {
            m: x.rows,
            n: out.cols,
            k: x.cols,
            a: Operand { address, stride, transposed: false },
            b: Operand { address: weights(net, layer), stride: layer.outputs, transposed },
            c: Operand { address: self.address(out), stride: out.stride, transposed: false },
            accumulate: false,
        };
        self.multiply(&product);
    }

    pub(super) fn layer_affine(&mut self, net: &CudaNet, layer: usize, x: Mat, out: Mat) {
        let layer = &net.layers[layer];
        let (bias, (out_at, out_stride)) = (bias(net, layer), self.place(out));
        let (m, n, k) = (x.rows as u32, layer.outputs as u32, layer.inputs as u32);
        if net.fused {
            let (w, (x_at, x_stride)) = (weights(net, layer), self.place(x));
            let arguments = ProductAffine { x: x_at, x_stride, w, bias, out: out_at, out_stride, m, n, k };
            self.product(AFFINE, x.rows, layer.outputs, 1, &arguments);
            return;
        }
        self.multiply_weights(net, layer, x, out, false);
        let around = Around::new(x.rows, layer.outputs);
        let arguments = BiasAdd { h: out_at, h_stride: out_stride, bias, rows: m, cols: n, chunk: around.chunk };
        self.queue(around.grid, around.block, &arguments);
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
        let (m, n, k) = (x.rows as u32, layer.outputs as u32, layer.inputs as u32);
        if net.fused {
            let kernel = match activation {
                Activation::Silu => SILU,
                Activation::Tanh => TANH,
                Activation::Softplus => SOFTPLUS,
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
            self.product(kernel, x.rows, layer.outputs, 1, &arguments);
            return;
        }
        self.multiply_weights(net, layer, x, h, false);
        let kernel = match activation {
            Activation::Silu => Kernel::ActivationSilu,
            Activation::Tanh => Kernel::ActivationTanh,
            Activation::Softplus => Kernel::ActivationSoftplus,
        };
        let around = Around::new(x.rows, layer.outputs);
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
            chunk: around.chunk,
        };
        self.queue_as(kernel, around.grid, around.block, &arguments);
    }

    pub(super) fn layer_tangent(&mut self, net: &CudaNet, layer: usize, x: Mat, slope: Mat, out: Mat, curve: Mat) {
        let layer = &net.layers[layer];
        let ((slope, slope_stride), (curve, curve_stride)) = (self.place(slope), self.place(curve));
        let (out_at, out_stride) = self.place(out);
        let (m, n, k) = (x.rows as u32, layer.outputs as u32, layer.inputs as u32);
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
            self.product(TANGENT, x.rows, layer.outputs, 1, &arguments);
            return;
        }
        self.multiply_weights(net, layer, x, out, false);
        self.scale(out, (slope, slope_stride), (curve, curve_stride));
    }

    pub(super) fn layer_reverse(&mut self, net: &CudaNet, layer: usize, delta: Mat, out: Mat, kind: ProductKind) {
        let layer = &net.layers[layer];
        let w = weights(net, layer);
        let ((delta_at, delta_stride), (out_at, out_stride)) = (self.place(delta), self.place(out));
        let (m, n, k) = (delta.rows as u32, layer.inputs as u32, layer.outputs as u32);
        let fused = net.fused;
        if !fused {
            self.multiply_weights(net, layer, delta, out, true);
        }
        let (rows, cols) = (delta.rows, layer.inputs);
        match kind {
            ProductKind::Plain if fused => {
                let arguments =
                    ProductTransposed { delta: delta_at, delta_stride, w, out: out_at, out_stride, m, n, k };
                self.product(TRANSPOSED, rows, cols, 1, &arguments);
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
                    self.product(BACKWARD, rows, cols, 1, &arguments);
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
                    self.product(ADJOINT, rows, cols, 1, &arguments);
                } else {
                    let around = Around::new(out.rows, out.cols);
                    let arguments = ActivationAdjoint {
                        p: out_at,
                        p_stride: out_stride,
                        slope,
                        slope_stride,
                        curve,
                        curve_stride,
                        rows: m,
                        cols: n,
                        chunk: around.chunk,
                        sums: 0,
                    };
                    self.queue(around.grid, around.block, &arguments);
                }
            }
        }
    }

    /// Around a product in `p`: curve *= p (where there is one), then p *= slope.
    fn scale(&mut self, p: Mat, (slope, slope_stride): (u64, u32), (curve, curve_stride): (u64, u32)) {
        let (p_at, p_stride) = self.place(p);
        let around = Around::new(p.rows, p.cols);
        let arguments = ActivationScale {
            p: p_at,
            p_stride,
            slope,
            slope_stride,
            curve,
            curve_stride,
            rows: p.rows as u32,
            cols: p.cols as u32,
            chunk: around.chunk,
            sums: 0,
            sum_curve: 0,
        };
        self.queue(around.grid, around.block, &arguments);
    }

    pub(super) fn layer_gradient(
        &mut self,
        gradient: &mut CudaGradient,
        layer: usize,
        pairs: &[(Mat, Mat)],
        bias: Option<Mat>,
    ) {
        let (place, chunk) = gradient.take(layer, pairs[0].0.rows);
        let (layer, pitch) = (gradient.layers[layer], gradient.pitch());
        if gradient.fused {
            // Nothing that follows waits for it.
            self.aside(|block| block.gradient_fused(&layer, place, pitch, chunk, pairs, bias));
        } else {
            self.gradient_by_library(&layer, place, pairs, bias);
        }
    }

    /// Weights and biases lie behind each other, so one product gives both.
    fn gradient_fused(
        &mut self,
        layer: &Layer,
        place: u64,
        pitch: usize,
        chunk: usize,
        pairs: &[(Mat, Mat)],
        bias: Option<Mat>,
    ) {
        let rows = pairs[0].0.rows;
        let with_bias = bias.is_some_and(|bias| bias.offset == pairs[0].1.offset);
        assert!(with_bias || bias.is_none(), "the bias' gradient sums what the first pair multiplies");
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
            rows: rows as u32,
            inputs: layer.inputs as u32,
            outputs: layer.outputs as u32,
            bias: u32::from(with_bias),
            chunk: chunk as u32,
            lines: place,
            pitch: pitch as u64,
        };
        self.product(GRADIENT, layer.inputs, layer.outputs, rows.div_ceil(chunk), &arguments);
    }

    fn gradient_by_library(&mut self, layer: &Layer, place: u64, pairs: &[(Mat, Mat)], bias: Option<Mat>) {
        for (number, &(x, delta)) in pairs.iter().enumerate() {
            let product = Product {
                m: layer.inputs,
                n: layer.outputs,
                k: x.rows,
                a: Operand { address: self.address(x), stride: x.stride, transposed: true },
                b: Operand { address: self.address(delta), stride: delta.stride, transposed: false },
                c: Operand { address: place, stride: layer.outputs, transposed: false },
                accumulate: number > 0,
            };
            self.multiply(&product);
        }
        let biases = place + (layer.inputs * layer.outputs * size_of::<f32>()) as u64;
        let Some(delta) = bias else {
            self.clear(biases, layer.outputs);
            return;
        };
        let around = Around::new(delta.rows, delta.cols);
        let tiles = around.grid[1];
        let (sums, (x, x_stride)) = (self.scratch_address(tiles as usize * delta.cols), self.place(delta));
        let (rows, cols) = (delta.rows as u32, delta.cols as u32);
        self.queue(around.grid, around.block, &ColumnSums { x, x_stride, rows, cols, chunk: around.chunk, sums });
        let arguments = ColumnSumsFinish { sums, tiles, cols, out: biases, accumulate: 0 };
        self.queue([cols.div_ceil(32), 1, 1], [32, 8, 1], &arguments);
    }

    /// Zeros at an address.
    fn clear(&mut self, address: u64, floats: usize) {
        self.attempt(|block| {
            // SAFETY: memory of the caller's.
            let status = unsafe { cudarc::driver::sys::cuMemsetD32Async(address, 0, floats, block.stream) };
            super::driver::check(status, || "clear a gradient".into())
        });
    }
}

fn weights(net: &CudaNet, layer: &Layer) -> u64 {
    net.weights + (layer.offset * size_of::<f32>()) as u64
}

fn bias(net: &CudaNet, layer: &Layer) -> u64 {
    net.weights + (layer.bias() * size_of::<f32>()) as u64
}
