//! The device traits `Workspace`, `Maps` and `Layers` on a GPU's workspace.

use super::block::CudaBlock;
use super::gradient::{CudaGradient, CudaNet};
use super::kernels::{SquaresForward, SquaresReverse, SquaresTangent};
use super::layers::ProductKind;
use crate::device::layout::Shape;
use crate::device::{
    ActivationRule, Attention, AttentionProduct, Fixed, Groups, Layers, Maps, Mat, Squares, Workspace,
};
use crate::formulas::Activation;
use cudarc::driver::sys;

impl Workspace for CudaBlock {
    const OVERLAPS: bool = true;

    fn both<S>(
        &mut self,
        state: &mut S,
        first: impl FnOnce(&mut Self, &mut S),
        second: impl FnOnce(&mut Self, &mut S),
    ) {
        self.aside(|block| first(block, state));
        second(self, state);
    }

    fn scratch(&mut self, rows: usize, cols: usize) -> Mat {
        self.allocate(rows, cols)
    }

    fn ones(&mut self, rows: usize) -> Mat {
        if let Some(ones) = self.ones
            && rows <= ones.rows
        {
            return ones.rows(0, rows);
        }
        let one = self.scratch(rows, 1);
        self.fill(one, 1.0);
        one
    }

    fn fill(&mut self, to: Mat, value: f64) {
        let (address, bits) = (self.address(to), (value as f32).to_bits());
        self.attempt(|block| {
            // SAFETY: a matrix of the workspace.
            let status = unsafe {
                if to.stride == to.cols {
                    sys::cuMemsetD32Async(address, bits, to.rows * to.cols, block.stream)
                } else {
                    let pitch = to.stride * size_of::<f32>();
                    sys::cuMemsetD2D32Async(address, pitch, bits, to.cols, to.rows, block.stream)
                }
            };
            super::driver::check(status, || "fill a matrix".into())
        });
    }

    fn mark(&self) -> usize {
        self.used()
    }

    fn reset(&mut self, mark: usize) {
        self.release(mark);
    }
}

impl Maps for CudaBlock {
    type Net = CudaNet;
    type Gradient = CudaGradient;

    fn map(&mut self, net: &CudaNet, layer: usize, x: Mat, bias: bool, to: Mat) {
        self.layer_map(net, layer, x, bias, to);
    }

    fn map_reverse(&mut self, net: &CudaNet, layer: usize, delta: Mat, to: Mat, add: bool) {
        self.layer_map_reverse(net, layer, delta, to, add);
    }

    fn map_gradient(&mut self, gradient: &mut CudaGradient, layer: usize, pairs: &[(Mat, Mat)], bias: Option<Mat>) {
        self.layer_gradient(gradient, layer, pairs, bias);
    }

    fn fixed(&mut self, map: &Fixed, reverse: bool, x: Mat, to: Mat, add: bool) {
        self.fixed_map(map, reverse, x, to, add);
    }

    fn activate(&mut self, activation: Activation, a: Mat, to: Mat) {
        self.apply(activation, a, to);
    }

    fn activate_linear(&mut self, activation: Activation, a: Mat, x: Mat, to: Mat, add: bool) {
        self.apply_linear(activation, a, x, to, add);
    }

    fn activate_adjoint(&mut self, activation: Activation, rule: &ActivationRule, to: Mat, add: bool) {
        self.apply_adjoint(activation, rule, to, add);
    }

    fn modulate(&mut self, shape: Shape, x: Mat, e: Mat, shift: bool, to: Mat, add: bool) {
        self.channels_modulate(shape, x, e, shift, to, add);
    }

    fn modulate_gradient(&mut self, shape: Shape, pairs: &[(Mat, Mat)], shift: Option<Mat>, to: Mat, add: bool) {
        self.channels_gradient(shape, pairs, shift, to, add);
    }

    fn group_norm(&mut self, groups: &Groups, x: Mat, to: Mat) {
        self.norm_of_groups(groups, x, to);
    }

    fn group_norm_reverse(&mut self, groups: &Groups, x: Mat, delta: Mat, to: Mat, add: bool) {
        self.norm_of_groups_reverse(groups, x, delta, to, add);
    }

    fn attention(
        &mut self,
        of: &Attention,
        product: AttentionProduct,
        operands: (Mat, Mat),
        factor: f64,
        to: Mat,
        add: bool,
    ) {
        self.attention_product(of, product, operands, factor, to, add);
    }

    fn softmax(&mut self, length: usize, to: Mat) {
        self.softmax_of_lines(length, to);
    }

    fn softmax_reverse(&mut self, length: usize, weights: Mat, delta: Mat) {
        self.softmax_of_lines_reverse(length, weights, delta);
    }

    fn waves(&mut self, t: Mat, to: Mat) {
        self.time_waves(t, to);
    }
}

impl Layers for CudaBlock {
    fn squares_seen(net: &CudaNet) -> Squares {
        net.squares
    }

    fn scratch_seen(&mut self, net: &CudaNet, rows: usize, cols: usize) -> Mat {
        self.scratch_with(rows, cols, net.squares)
    }

    fn squares(&mut self, net: &CudaNet, x: Mat, to: Mat) {
        let n = to.cols - x.cols;
        assert!(to.rows == x.rows && n <= x.cols && (n == 0 || n == net.squares.count));
        let ((x_at, x_stride), (out, out_stride)) = (self.place(x), self.place(to));
        let arguments = SquaresForward {
            x: x_at,
            x_stride,
            rows: x.rows as u32,
            cols: x.cols as u32,
            n: n as u32,
            centre: net.squares.centre,
            out,
            out_stride,
        };
        self.launch_over((x.rows * x.cols) as u64, &arguments);
    }

    fn squares_reverse(&mut self, x: Mat, g: Mat, to: Mat) {
        let n = g.cols - x.cols;
        assert!(to.cols == x.cols && n <= x.cols && g.rows == x.rows && to.rows == x.rows);
        let ((x_at, x_stride), (g, g_stride), (out, out_stride)) = (self.place(x), self.place(g), self.place(to));
        let (rows, cols, n) = (x.rows as u32, x.cols as u32, n as u32);
        let arguments = SquaresReverse { x: x_at, x_stride, g, g_stride, rows, cols, n, out, out_stride };
        self.launch_over((x.rows * x.cols) as u64, &arguments);
    }

    fn squares_gradient(&mut self, x: Mat, g: Mat) -> Mat {
        g.before_squares(Squares { count: g.cols - x.cols, centre: 0 })
    }

    fn squares_tangent(&mut self, x: Mat, w: Mat, to: Mat) {
        let n = to.cols - x.cols;
        assert!(w.cols == x.cols && n <= x.cols && w.rows == x.rows && to.rows == x.rows);
        let ((x_at, x_stride), (w, w_stride), (out, out_stride)) = (self.place(x), self.place(w), self.place(to));
        let (rows, cols, n) = (x.rows as u32, x.cols as u32, n as u32);
        let arguments = SquaresTangent { x: x_at, x_stride, w, w_stride, rows, cols, n, out, out_stride };
        self.launch_over((x.rows * x.cols) as u64, &arguments);
    }

    fn affine(&mut self, net: &CudaNet, layer: usize, x: Mat, out: Mat) {
        self.layer_affine(net, layer, x, out);
    }

    fn activated(
        &mut self,
        net: &CudaNet,
        layer: usize,
        activation: Activation,
        x: Mat,
        h: Mat,
        slope: Option<Mat>,
        curve: Option<Mat>,
    ) {
        self.layer_activated(net, layer, activation, x, h, slope, curve);
    }

    fn transposed(&mut self, net: &CudaNet, layer: usize, delta: Mat, out: Mat) {
        self.layer_reverse(net, layer, delta, out, ProductKind::Plain);
    }

    fn backward(&mut self, net: &CudaNet, layer: usize, delta: Mat, slope: Mat, out: Mat, curve: Option<Mat>) {
        self.layer_reverse(net, layer, delta, out, ProductKind::Backward { slope, curve });
    }

    fn tangent(&mut self, net: &CudaNet, layer: usize, xdot: Mat, slope: Mat, out: Mat, curve: Mat) {
        self.layer_tangent(net, layer, xdot, slope, out, curve);
    }

    fn tangent_backward(&mut self, net: &CudaNet, layer: usize, delta: Mat, slope: Mat, curve: Mat, out: Mat) {
        self.layer_reverse(net, layer, delta, out, ProductKind::Adjoint { slope, curve });
    }

    fn gradient(&mut self, gradient: &mut CudaGradient, layer: usize, pairs: &[(Mat, Mat)], bias: Option<Mat>) {
        self.layer_gradient(gradient, layer, pairs, bias);
    }
}
