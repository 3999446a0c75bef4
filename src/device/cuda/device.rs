//! The device trait on a GPU's workspace.

use super::block::{CudaBlock, CudaNoise, THREADS, reduction_blocks};
use super::gradient::{CudaGradient, CudaNet};
use super::kernels::{
    ActionTerms, BridgeSample, ComponentsChoose, ComponentsFold, DualTerms, Kernel, Mixture16, MixtureDensity,
    MixtureGradient, MixtureParameters, SquaresForward, SquaresReverse, SquaresTangent,
};
use super::layers::ProductKind;
use super::sums::{ACTION, CONJUGATE, CudaSums, DENSITY_RATIO, GENERATED, GENERATOR};
use crate::device::{Bridge, Layers, Mat, Method, Points, Squares, Weighted, Workspace};
use crate::formulas::{Activation, Conjugate, Head, Quadratic};
use cudarc::driver::sys;

/// Samples and components of a tile of the mixture kernels for many components.
const MIXTURE_TILE: usize = 64;

/// The head as kernels take it: offset, ends of the range, whether deterministic.
fn head_arguments(head: &Head) -> (f32, f32, f32, u32) {
    let (low, high) = head.log_std_range();
    (head.log_std_offset() as f32, low as f32, high as f32, u32::from(head.deterministic))
}

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

impl Layers for CudaBlock {
    type Net = CudaNet;
    type Gradient = CudaGradient;

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

impl Method for CudaBlock {
    type Noise = CudaNoise;
    /// Device address.
    type Slope = u64;
    type Sums = CudaSums;

    fn choose(&mut self, outputs: Mat, noise: Option<&CudaNoise>, raw: Mat, log: Option<Mat>) {
        let components = outputs.components(raw.cols);
        let each = outputs.each(raw, components, noise.is_some());
        let none = CudaNoise { seed: 0, counter: 0, number: 0, first_row: 0 };
        let CudaNoise { seed, counter, number, first_row } = *noise.unwrap_or(&none);
        let ((from, outputs_stride), (out, out_stride)) = (self.place(outputs), self.place(raw));
        let arguments = ComponentsChoose {
            outputs: from,
            outputs_stride,
            sources: outputs.rows as u32,
            each: each as u32,
            components: components as u32,
            raw: raw.cols as u32,
            drawn: u32::from(noise.is_some()),
            seed,
            counter,
            number,
            first_source: first_row / each as u64,
            out,
            out_stride,
            weights: log.map_or(0, |log| self.address(log)),
        };
        // A warp a source sample.
        self.launch_over(32 * outputs.rows as u64, &arguments);
    }

    fn fold(&mut self, outputs: Mat, delta: Mat, loss: Mat, scale: f64, to: Mat) {
        let components = outputs.components(delta.cols);
        outputs.each(delta, components, false);
        let ((from, outputs_stride), (delta_at, delta_stride)) = (self.place(outputs), self.place(delta));
        let (to, to_stride) = self.place(to);
        let arguments = ComponentsFold {
            outputs: from,
            outputs_stride,
            sources: outputs.rows as u32,
            components: components as u32,
            raw: delta.cols as u32,
            delta: delta_at,
            delta_stride,
            loss: self.address(loss),
            scale,
            to,
            to_stride,
        };
        self.launch_over(32 * outputs.rows as u64, &arguments);
    }

    fn bridge(&mut self, head: &Head, bridge: &Bridge<CudaNoise>, points: &Points) {
        let Bridge { x0, raw, noise, time } = *bridge;
        let (x0_at, x0_stride) = self.place(x0);
        let (raw_at, raw_stride) = self.place(raw);
        let (x1, x1_stride) = self.optional(points.end);
        let (xt, xt_stride) = self.optional(points.state);
        let [of_end, of_state] = [points.end, points.state].map(|mat| mat.map_or(Squares::NONE, |mat| mat.squares));
        assert!(of_end.centre == 0 || of_state.centre == 0 || of_end.centre == of_state.centre);
        let (drift, drift_stride) = self.optional(points.drift);
        let (log_std_offset, log_std_low, log_std_high, deterministic) = head_arguments(head);
        let arguments = BridgeSample {
            x0: x0_at,
            x0_stride,
            raw: raw_at,
            raw_stride,
            time: self.address(time),
            rows: x0.rows as u32,
            d: x0.cols as u32,
            sigma: head.sigma as f32,
            log_std_offset,
            log_std_low,
            log_std_high,
            deterministic,
            seed: noise.seed,
            counter: noise.counter,
            number: noise.number,
            first_row: noise.first_row,
            x1,
            x1_stride,
            x1_squares: of_end.count as u32,
            xt,
            xt_stride,
            xt_squares: of_state.count as u32,
            centre: of_end.centre.max(of_state.centre),
            drift,
            drift_stride,
            // Values and time go behind the points.
            append: 1,
        };
        // The kernel's contract: a thread takes four elements.
        self.launch_over((x0.rows * x0.cols).div_ceil(4) as u64, &arguments);
    }

    fn dual(
        &mut self,
        conjugate: &Conjugate,
        quadratic: &Quadratic<u64>,
        ends: Mat,
        v: Mat,
        delta: Mat,
        scale: f64,
        sums: &mut CudaSums,
    ) {
        let rows = v.rows / 2;
        // A warp a row.
        let grid = reduction_blocks(32 * rows as u64);
        let d = ends.cols as u32;
        let ((ends, ends_stride), (v, v_stride), (delta, delta_stride)) =
            (self.place(ends), self.place(v), self.place(delta));
        let terms = [GENERATED, CONJUGATE, DENSITY_RATIO, ACTION];
        let [generated, psi, density_ratio, action] = terms.map(|term| sums.take(term, grid as usize));
        let arguments = DualTerms {
            v,
            v_stride,
            rows: rows as u32,
            ends,
            ends_stride,
            d,
            curvature: quadratic.curvature,
            slope_of: quadratic.slope,
            level: quadratic.level,
            divergence: conjugate.divergence as u32,
            tau: conjugate.tau,
            scale,
            delta,
            delta_stride,
            generated,
            conjugate: psi,
            density_ratio,
            action,
        };
        self.launch([grid, 1, 1], [THREADS, 1, 1], &arguments);
    }

    fn action(&mut self, x: Mat, g: Mat, b: Mat, w: Mat, scale: f64, sums: &mut CudaSums) {
        assert!(g.squares.count == w.squares.count && [x, g, w].iter().all(|mat| mat.cols == b.cols + 1));
        let (rows, d, squares) = (b.rows, b.cols, w.squares.count);
        let ((x, x_stride), (g, g_stride)) = (self.place(x), self.place(g));
        let ((b, b_stride), (w, w_stride)) = (self.place(b), self.place(w));
        let grid = reduction_blocks((rows * d).div_ceil(4) as u64);
        let action = sums.take(ACTION, grid as usize);
        let arguments = ActionTerms {
            x,
            x_stride,
            g,
            g_stride,
            b,
            b_stride,
            w,
            w_stride,
            rows: rows as u32,
            d: d as u32,
            n: squares as u32,
            scale: scale as f32,
            append: 1,
            action,
        };
        self.launch([grid, 1, 1], [THREADS, 1, 1], &arguments);
    }

    fn mixture(
        &mut self,
        head: &Head,
        bridge: &Bridge<CudaNoise>,
        xt: Mat,
        v: Mat,
        g: Mat,
        components: usize,
        weighted: Option<Weighted>,
        delta: Mat,
        scale: f64,
        sums: &mut CudaSums,
    ) {
        // V's output comes from aside.
        self.join();
        let (d, squares) = (xt.cols, g.squares.count as u32);
        let groups = xt.rows / components;
        assert!(weighted.is_none() || !head.deterministic);
        let (x0, x0_stride) = self.place(bridge.x0);
        let (raw, raw_stride) = self.place(bridge.raw);
        let ((xt, xt_stride), (v, v_stride), (g, g_stride)) = (self.place(xt), self.place(v), self.place(g));
        let (delta, delta_stride) = self.place(delta);
        let [log_weight, row_losses] =
            weighted.map_or([0; 2], |weighted| [weighted.log, weighted.loss].map(|mat| self.address(mat)));
        let (log_std_offset, log_std_low, log_std_high, deterministic) = head_arguments(head);
        let mixture = MixtureParameters {
            x0,
            x0_stride,
            raw,
            raw_stride,
            time: self.address(bridge.time),
            xt,
            xt_stride,
            v,
            v_stride,
            g,
            g_stride,
            squares,
            components: components as u32,
            d: d as u32,
            sigma: head.sigma as f32,
            log_std_offset,
            log_std_low,
            log_std_high,
            deterministic,
            scale: scale as f32,
            log_weight,
            row_losses,
            delta,
            delta_stride,
        };
        let whole = match components {
            0..=16 => Some(Kernel::Mixture16),
            17..=32 => Some(Kernel::Mixture32),
            33..=64 => Some(Kernel::Mixture64),
            _ => None,
        };
        if let Some(kernel) = whole {
            let losses = sums.take(GENERATOR, groups);
            self.launch_as(kernel, [groups as u32, 1, 1], [THREADS, 1, 1], &Mixture16 { mixture, losses });
            return;
        }
        let tiles = components.div_ceil(MIXTURE_TILE);
        let losses = sums.take(GENERATOR, groups * tiles);
        let density = self.scratch_address(3 * groups * components);
        let grid = [tiles as u32, groups as u32, 1];
        self.launch(grid, [THREADS, 1, 1], &MixtureDensity { mixture, density, losses });
        self.launch(grid, [THREADS, 1, 1], &MixtureGradient { mixture, density });
    }
}
