//! Layers on a block of rows: products whose epilogues are the activation, its derivatives and the reverse rules.

use super::activation::activate;
use super::block::CpuBlock;
use super::gemm::{DotProducts, Epilogue, Gemm, Output, Plain, Segment};
use super::net::{CpuGradient, Form, Packed, PackedLayer};
use super::simd::{Kernel, Real, Simd};
use crate::device::Mat;
use crate::device::layout::Map;
use crate::formulas::Activation;
use std::ptr;

/// A matrix in the form that epilogues use.
#[derive(Clone, Copy)]
struct Rows<T> {
    start: *mut T,
    stride: usize,
}

impl<T> Rows<T> {
    #[inline(always)]
    unsafe fn at(&self, row: usize, col: usize) -> *mut T {
        unsafe { self.start.add(row * self.stride + col) }
    }

    fn is_null(&self) -> bool {
        self.start.is_null()
    }
}

/// a -> h = f(a), slope, curve. Slope and curve may be null.
struct Activate<T> {
    kind: Activation,
    h: Rows<T>,
    slope: Rows<T>,
    curve: Rows<T>,
}

impl<T: Real> Epilogue<T> for Activate<T> {
    #[inline(always)]
    unsafe fn apply<S: Simd<T = T>>(&self, row: usize, rows: usize, col: usize, cols: usize) {
        unsafe {
            // The branches stand outside the loops, so that each loop computes just what it stores.
            macro_rules! each {
                ($kind:expr, |$i:ident, $c:ident, $f:ident| $more:expr) => {
                    for $i in row..row + rows {
                        for $c in (col..col + cols).step_by(S::LANES) {
                            let h = self.h.at($i, $c);
                            let $f = activate::<S>($kind, S::load(h));
                            S::store(h, $f[0]);
                            $more
                        }
                    }
                };
            }
            macro_rules! wanted {
                ($kind:expr) => {
                    if self.slope.is_null() {
                        each!($kind, |i, c, f| ());
                    } else if self.curve.is_null() {
                        each!($kind, |i, c, f| S::store(self.slope.at(i, c), f[1]));
                    } else {
                        each!($kind, |i, c, f| {
                            S::store(self.slope.at(i, c), f[1]);
                            S::store(self.curve.at(i, c), f[2]);
                        });
                    }
                };
            }
            match self.kind {
                Activation::Silu => wanted!(Activation::Silu),
                Activation::Tanh => wanted!(Activation::Tanh),
                Activation::Softplus => wanted!(Activation::Softplus),
            }
        }
    }
}

/// p -> slope * p; curve *= p where it is not null.
struct Scale<T> {
    out: Rows<T>,
    slope: Rows<T>,
    curve: Rows<T>,
}

impl<T: Real> Epilogue<T> for Scale<T> {
    #[inline(always)]
    unsafe fn apply<S: Simd<T = T>>(&self, row: usize, rows: usize, col: usize, cols: usize) {
        unsafe {
            for i in row..row + rows {
                for c in (col..col + cols).step_by(S::LANES) {
                    let out = self.out.at(i, c);
                    let p = S::load(out);
                    S::store(out, S::mul(S::load(self.slope.at(i, c)), p));
                    if !self.curve.is_null() {
                        let curve = self.curve.at(i, c);
                        S::store(curve, S::mul(S::load(curve), p));
                    }
                }
            }
        }
    }
}

/// p -> slope * p + curve.
struct Adjoin<T>(Scale<T>);

impl<T: Real> Epilogue<T> for Adjoin<T> {
    #[inline(always)]
    unsafe fn apply<S: Simd<T = T>>(&self, row: usize, rows: usize, col: usize, cols: usize) {
        unsafe {
            for i in row..row + rows {
                for c in (col..col + cols).step_by(S::LANES) {
                    let out = self.0.out.at(i, c);
                    let sum = S::fma(S::load(self.0.slope.at(i, c)), S::load(out), S::load(self.0.curve.at(i, c)));
                    S::store(out, sum);
                }
            }
        }
    }
}

/// Computes column sums of a matrix into `sum`.
pub(super) struct ColumnSums<T> {
    x: Rows<T>,
    rows: usize,
    cols: usize,
    sum: *mut T,
    /// Whether to add to what is there.
    add: bool,
}

impl<T> ColumnSums<T> {
    /// Sums `rows` rows of as many columns as `sum` has, `stride` apart from `x` on.
    pub fn new(x: *mut T, stride: usize, rows: usize, sum: &mut [T], add: bool) -> Self {
        Self { x: Rows { start: x, stride }, rows, cols: sum.len(), sum: sum.as_mut_ptr(), add }
    }
}

impl<T: Real> Kernel<T> for ColumnSums<T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd<T = T>>(self) {
        unsafe {
            let whole = self.cols / S::LANES * S::LANES;
            for c in (0..whole).step_by(S::LANES) {
                let mut sum = if self.add { S::load(self.sum.add(c)) } else { S::splat(T::zero()) };
                for r in 0..self.rows {
                    sum = S::add(sum, S::load(self.x.at(r, c)));
                }
                S::store(self.sum.add(c), sum);
            }
            for c in whole..self.cols {
                let mut sum = if self.add { *self.sum.add(c) } else { T::zero() };
                for r in 0..self.rows {
                    sum = sum + *self.x.at(r, c);
                }
                *self.sum.add(c) = sum;
            }
        }
    }
}

impl<T: Real> CpuBlock<T> {
    fn view(&mut self, mat: Mat) -> Rows<T> {
        Rows { start: self.ptr(mat), stride: mat.stride }
    }

    /// Returns an operand of an epilogue on `out`. The epilogue reads or writes whole vectors of it at the places of
    /// `out`.
    fn beside(&mut self, out: Mat, mat: Mat) -> Rows<T> {
        assert!(mat.rows == out.rows && mat.cols == out.cols && !mat.view);
        self.view(mat)
    }

    fn beside_or_null(&mut self, out: Mat, mat: Option<Mat>) -> Rows<T> {
        mat.map_or(Rows { start: ptr::null_mut(), stride: 0 }, |m| self.beside(out, m))
    }

    /// Computes out = bias + x B with an epilogue, for a packed B.
    fn product<E: Epilogue<T>>(&mut self, x: Mat, b: &Packed<T>, bias: *const T, out: Mat, epilogue: E) {
        self.product_onto(x, b, bias, out, epilogue, false);
    }

    /// Does the same, or with `accumulate` adds it to what `out` holds.
    pub(super) fn product_onto<E: Epilogue<T>>(
        &mut self,
        x: Mat,
        b: &Packed<T>,
        bias: *const T,
        out: Mat,
        epilogue: E,
        accumulate: bool,
    ) {
        assert!(x.cols == b.k && out.cols == b.n && x.rows == out.rows && !out.view && out.apart(&x));
        let isa = self.isa;
        match b.form {
            Form::Panels { width } => {
                let segment = Segment {
                    a: self.ptr(x),
                    a_row: x.stride,
                    a_col: 1,
                    b: b.data.as_ptr(),
                    b_row: width,
                    b_panel: width * b.k,
                    k: b.k,
                };
                // Scratch matrices are padded to whole panels of every instruction set.
                let padded = out.cols.next_multiple_of(32).min(out.stride);
                let output = Output { c: self.ptr(out), row: out.stride, col: 1, padded, accumulate, bias };
                let gemm = Gemm { m: x.rows, n: b.n, segments: &[segment], output, epilogue };
                // SAFETY: extents were checked, and that no number of x is one of out; panels of B, of the bias and of
                // out are whole.
                unsafe { gemm.execute(isa) }
            }
            Form::Rows { stride } => {
                let dot = DotProducts {
                    m: x.rows,
                    n: b.n,
                    k: b.k,
                    x: self.ptr(x),
                    x_row: x.stride,
                    w: b.data.as_ptr(),
                    w_row: stride,
                    y: self.ptr(out),
                    y_row: out.stride,
                    accumulate,
                    bias,
                };
                // SAFETY: extents were checked, and that no number of x is one of out; B's rows are k elements or longer.
                unsafe { T::dispatch(isa, dot) }
            }
        }
    }

    pub(super) fn layer_affine(&mut self, layer: &PackedLayer<T>, x: Mat, out: Mat) {
        self.product(x, &layer.forward, layer.bias.as_ptr(), out, Plain);
    }

    pub(super) fn layer_activated(
        &mut self,
        layer: &PackedLayer<T>,
        kind: Activation,
        x: Mat,
        h: Mat,
        slope: Option<Mat>,
        curve: Option<Mat>,
    ) {
        let epilogue = Activate {
            kind,
            h: self.view(h),
            slope: self.beside_or_null(h, slope),
            curve: self.beside_or_null(h, curve),
        };
        self.product(x, &layer.forward, layer.bias.as_ptr(), h, epilogue);
    }

    pub(super) fn layer_transposed(&mut self, layer: &PackedLayer<T>, delta: Mat, out: Mat) {
        self.product(delta, reverse(layer), ptr::null(), out, Plain);
    }

    pub(super) fn layer_backward(
        &mut self,
        layer: &PackedLayer<T>,
        delta: Mat,
        slope: Mat,
        out: Mat,
        curve: Option<Mat>,
    ) {
        let epilogue =
            Scale { out: self.view(out), slope: self.beside(out, slope), curve: self.beside_or_null(out, curve) };
        self.product(delta, reverse(layer), ptr::null(), out, epilogue);
    }

    pub(super) fn layer_tangent(&mut self, layer: &PackedLayer<T>, xdot: Mat, slope: Mat, out: Mat, curve: Mat) {
        let epilogue = Scale { out: self.view(out), slope: self.beside(out, slope), curve: self.beside(out, curve) };
        self.product(xdot, &layer.forward, ptr::null(), out, epilogue);
    }

    pub(super) fn layer_tangent_backward(
        &mut self,
        layer: &PackedLayer<T>,
        delta: Mat,
        slope: Mat,
        curve: Mat,
        out: Mat,
    ) {
        let epilogue =
            Adjoin(Scale { out: self.view(out), slope: self.beside(out, slope), curve: self.beside(out, curve) });
        self.product(delta, reverse(layer), ptr::null(), out, epilogue);
    }

    pub(super) fn layer_gradient(
        &mut self,
        gradient: &mut CpuGradient<T>,
        index: usize,
        pairs: &[(Mat, Mat)],
        bias: Option<Mat>,
    ) {
        let (inputs, outputs) = match gradient.layers[index].map {
            Map::Dense { inputs, outputs } => (inputs, outputs),
            Map::Conv(conv) => return self.conv_gradient(conv, gradient, index, pairs, bias),
        };
        let isa = self.isa;
        let width = super::gemm::PANEL_VECTORS * T::lanes(isa);
        // With few outputs the transposed product fills the vectors: B is x, and C is written by columns.
        let swap = outputs < T::lanes(isa) && inputs > outputs;
        assert!(pairs.len() <= 2);
        let segment = |block: &mut Self, (x, delta): (Mat, Mat)| {
            assert!(x.cols == inputs && delta.cols == outputs && x.rows == delta.rows);
            let (a, b) = if swap { (delta, x) } else { (x, delta) };
            Segment {
                a: block.ptr(a),
                a_row: 1,
                a_col: a.stride,
                b: block.ptr(b),
                b_row: b.stride,
                b_panel: width,
                k: a.rows,
            }
        };
        let first = segment(self, pairs[0]);
        let segments = [first, pairs.get(1).map_or(first, |&p| segment(self, p))];
        let segments = &segments[..pairs.len()];
        let (weights, accumulate) = gradient.weights(index);
        let c = weights.as_mut_ptr();
        let (m, n) = if swap { (outputs, inputs) } else { (inputs, outputs) };
        let (row, col) = if swap { (1, outputs) } else { (outputs, 1) };
        let output = Output { c, row, col, padded: n, accumulate, bias: ptr::null() };
        // SAFETY: the gradient has inputs x outputs elements there; the matrices' rows are padded to whole panels.
        unsafe { Gemm { m, n, segments, output, epilogue: Plain }.execute(isa) };
        if let Some(delta) = bias {
            let (biases, add) = gradient.biases(index);
            assert_eq!(delta.cols, outputs);
            let sums = ColumnSums::new(self.ptr(delta), delta.stride, delta.rows, biases, add);
            // SAFETY: the gradient has as many elements there as delta has columns.
            unsafe { T::dispatch(isa, sums) }
        }
    }
}

pub(super) fn reverse<T>(layer: &PackedLayer<T>) -> &Packed<T> {
    layer.transposed.as_ref().expect("a network packed for reverse passes")
}
