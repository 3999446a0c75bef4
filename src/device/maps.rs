//! The operations of networks whose layers form a graph: pictures go through convolutions, are joined, added and
//! resampled. A row of a matrix holds one picture ([`Shape`]) or one vector.
//!
//! Every operation comes with what the reverse passes need of it. What is linear in x is its own tangent. With `add`, a
//! result is added to what `to` holds, else it takes its place.

use super::attention::{Attention, AttentionProduct};
use super::layout::Shape;
use super::mat::Mat;
use super::workspace::Workspace;
use crate::formulas::Activation;
use std::ops::Range;

/// A linear map without weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fixed {
    /// Multiplies by a number.
    Times(f64),
    /// From channels one after the other (channels, rows, columns) to those of a pixel beside each other.
    Interleave(Shape),
    /// Takes the mean of each square of 2 x 2 pixels. Sides are even.
    Pool(Shape),
    /// Repeats each pixel in a square of 2 x 2.
    Enlarge(Shape),
    /// Doubles the sides by linear interpolation along each: a pixel is 3/4 of the one that it lies in and 1/4 of that
    /// one's neighbour on its side, in place of which an edge has itself.
    Bilinear(Shape),
    /// Puts the pixels of each square of 2 x 2 beside each other as channels. Sides are even.
    Fold(Shape),
    /// Puts a picture into the middle of a larger one of zeros.
    Pad {
        /// What is put there.
        part: Shape,
        /// Rows and columns of the whole.
        to: [usize; 2],
    },
    /// Sums over pixels.
    Sum(Shape),
    /// Puts the channels of a picture behind `first` channels of a picture with `of` channels, whose other channels are
    /// left alone.
    Join {
        /// What is put there.
        part: Shape,
        /// Channels before it.
        first: usize,
        /// Channels of the whole.
        of: usize,
    },
}

impl Fixed {
    /// Returns how many numbers of a row it takes and gives; `None` for either means any number, the same for both.
    pub fn ends(&self) -> Option<[usize; 2]> {
        match *self {
            Self::Times(_) => None,
            Self::Interleave(from) | Self::Fold(from) => Some([from.numbers(); 2]),
            Self::Pool(from) => Some([from.numbers(), from.numbers() / 4]),
            Self::Enlarge(from) | Self::Bilinear(from) => Some([from.numbers(), from.numbers() * 4]),
            Self::Sum(from) => Some([from.numbers(), from.channels]),
            Self::Pad { part, to: [height, width] } => Some([part.numbers(), height * width * part.channels]),
            Self::Join { part, of, .. } => Some([part.numbers(), part.height * part.width * of]),
        }
    }
}

/// Groups of neighbouring channels of a picture, all of the same size, whose numbers are normalised together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Groups {
    /// The picture.
    pub shape: Shape,
    /// How many groups its channels make.
    pub count: usize,
}

impl Groups {
    /// Returns the channels of a group.
    pub fn channels(&self, group: usize) -> Range<usize> {
        let each = self.shape.channels / self.count;
        group * each..(group + 1) * each
    }
}

/// What the mean square deviation of a group is raised by, so that a group without any gives 0.
pub const NORM_EPSILON: f64 = 1e-5;

/// See the module. `net` and `layer` name the weights and biases of a layer, a linear map of any kind.
pub trait Maps: Workspace {
    /// Weights of one network as the device keeps them.
    type Net;
    /// Gradient accumulators of one network.
    type Gradient;

    /// to = W x + b, or W x without `bias`.
    fn map(&mut self, net: &Self::Net, layer: usize, x: Mat, bias: bool, to: Mat);
    /// to (+)= W^T delta.
    fn map_reverse(&mut self, net: &Self::Net, layer: usize, delta: Mat, to: Mat, add: bool);
    /// Adds the gradient of W, the sum over one or two pairs (x, delta) of what map_reverse's delta gives for x, and with
    /// `bias` that of b by this delta.
    fn map_gradient(&mut self, gradient: &mut Self::Gradient, layer: usize, pairs: &[(Mat, Mat)], bias: Option<Mat>);

    /// to (+)= F x, or F^T x with `reverse`.
    fn fixed(&mut self, map: &Fixed, reverse: bool, x: Mat, to: Mat, add: bool);

    /// to = f(a).
    fn activate(&mut self, activation: Activation, a: Mat, to: Mat);
    /// to (+)= f'(a) x: the tangent and the reverse rule.
    fn activate_linear(&mut self, activation: Activation, a: Mat, x: Mat, to: Mat, add: bool);
    /// to (+)= f'(a) q + f''(a) a' delta, where a' is the tangent and delta the gradient by f(a): the adjoint of the
    /// primal of a tangent.
    fn activate_adjoint(&mut self, activation: Activation, rule: &ActivationRule, to: Mat, add: bool);

    /// to = (1 + e_s) x + e_h in each channel, where e = \[e_s, e_h\] has two numbers for each channel, or without
    /// `shift` (1 + e_s) x; the latter (+)= with `add`.
    fn modulate(&mut self, shape: Shape, x: Mat, e: Mat, shift: bool, to: Mat, add: bool);
    /// The gradient by e: to (+)= \[sum over pixels and pairs (x, q) of x q, sum over pixels of `shift`\]; without
    /// `shift` its second half gets (+)= 0.
    fn modulate_gradient(&mut self, shape: Shape, pairs: &[(Mat, Mat)], shift: Option<Mat>, to: Mat, add: bool);

    /// to = y = s (x - m), where m is the mean of a group's numbers in one picture and s = (their mean square deviation +
    /// [`NORM_EPSILON`])^-1/2 (Wu, He, *Group Normalization*, 2018).
    fn group_norm(&mut self, groups: &Groups, x: Mat, to: Mat);
    /// The gradient by x, given that by y: to (+)= s (delta - mean of delta - y mean of (delta y)).
    fn group_norm_reverse(&mut self, groups: &Groups, x: Mat, delta: Mat, to: Mat, add: bool);

    /// to (+)= `factor` times the product of two operands, for each head.
    fn attention(
        &mut self,
        of: &Attention,
        product: AttentionProduct,
        operands: (Mat, Mat),
        factor: f64,
        to: Mat,
        add: bool,
    );
    /// Lets each line of so many numbers in a row become e^x over the line's sum of that.
    fn softmax(&mut self, length: usize, to: Mat);
    /// Lets `delta`, the gradient by what the softmax gave, become that by what it took: w (delta - sum over the line of w
    /// delta) with the weights w that it gave.
    fn softmax_reverse(&mut self, length: usize, weights: Mat, delta: Mat);

    /// to = \[2 t - 1, sin(pi t / 2), cos(pi t / 2)\] for the column t.
    fn waves(&mut self, t: Mat, to: Mat);
}

/// What [`Maps::activate_adjoint`] reads.
#[derive(Clone, Copy, Debug)]
pub struct ActivationRule {
    /// The activation's input.
    pub a: Mat,
    /// Its tangent.
    pub tangent: Mat,
    /// The gradient by the activation's output.
    pub delta: Mat,
    /// The adjoint of the output; none where it is zero.
    pub q: Option<Mat>,
}
