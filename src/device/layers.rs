//! The operations of a network: passes through layers. They alone know weights.

use super::maps::Maps;
use super::mat::{Mat, Squares};
use crate::formulas::Activation;

/// Passes through layers that follow each other. `net` and `layer` name weights W (inputs x outputs) and bias b; h, slope
/// and curve are f(a), f'(a), f''(a) of an activation.
pub trait Layers: Maps {
    /// Returns the squares that a matrix for this network has behind its columns: all that the network sees where the
    /// device takes squares along, else none.
    fn squares_seen(_net: &Self::Net) -> Squares {
        Squares::NONE
    }
    /// Returns a scratch matrix that this network will see, with room for [`Self::squares_seen`].
    fn scratch_seen(&mut self, _net: &Self::Net, rows: usize, cols: usize) -> Mat {
        self.scratch(rows, cols)
    }
    /// to = \[x, s\], s the squares ([`crate::formulas::squares`]) of as many of the first columns as `to` has room
    /// for, counted from the network's centre at the time in the column behind those, or at 0 where there is none. (A
    /// latent there does nothing: the centre of a generator does not change.)
    fn squares(&mut self, net: &Self::Net, x: Mat, to: Mat);
    /// The gradient by x (of the shape of `x`), given `g` by \[x, s\], the time in s held: to = g_x + s' g_s.
    fn squares_reverse(&mut self, x: Mat, g: Mat, to: Mat);
    /// The same for [`Method::action`](super::Method::action) and [`Method::mixture`](super::Method::mixture), which
    /// add s' g_s themselves where the device takes squares along.
    fn squares_gradient(&mut self, x: Mat, g: Mat) -> Mat {
        let to = self.scratch(g.rows, x.cols);
        self.squares_reverse(x, g, to);
        to
    }
    /// The tangent of \[x, s\] along `w`, the time in s held: to = \[w, s' w\].
    fn squares_tangent(&mut self, x: Mat, w: Mat, to: Mat);
    /// out = x W + b.
    fn affine(&mut self, net: &Self::Net, layer: usize, x: Mat, out: Mat);
    /// a = x W + b; h = f(a), and where asked slope = f'(a), curve = f''(a).
    #[allow(clippy::too_many_arguments)]
    fn activated(
        &mut self,
        net: &Self::Net,
        layer: usize,
        activation: Activation,
        x: Mat,
        h: Mat,
        slope: Option<Mat>,
        curve: Option<Mat>,
    );
    /// out = delta W^T.
    fn transposed(&mut self, net: &Self::Net, layer: usize, delta: Mat, out: Mat);
    /// p = delta W^T; out = slope * p; where given, curve *= p.
    fn backward(&mut self, net: &Self::Net, layer: usize, delta: Mat, slope: Mat, out: Mat, curve: Option<Mat>);
    /// a' = x' W (the tangent); out = slope * a'; curve *= a'.
    fn tangent(&mut self, net: &Self::Net, layer: usize, xdot: Mat, slope: Mat, out: Mat, curve: Mat);
    /// out = slope * (delta W^T) + curve: reverse through the primal of a tangent.
    fn tangent_backward(&mut self, net: &Self::Net, layer: usize, delta: Mat, slope: Mat, curve: Mat, out: Mat);
    /// Adds sum over pairs of x^T delta to the gradient of W, and the column sums of `bias` to that of b.
    fn gradient(&mut self, gradient: &mut Self::Gradient, layer: usize, pairs: &[(Mat, Mat)], bias: Option<Mat>);
}
