//! Self-attention between the pixels of a picture (Vaswani et al., *Attention Is All You Need*, 2017): every pixel takes
//! from all pixels, by weights that are the softmax of products of its channels with theirs.

use super::layout::Shape;
use super::mat::Mat;

/// Between the pixels of pictures of one shape. Each head has its own channels, neighbours in a pixel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attention {
    /// Pictures that are compared, taken from and made.
    pub shape: Shape,
    /// How many heads share the channels.
    pub heads: usize,
}

/// A product of the matrices of each head: pictures (pixels x channels of the head), or weights (pixels x pixels).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttentionProduct {
    /// A B^T of two pictures: numbers for each two pixels.
    Scores,
    /// A B of weights and a picture.
    Mix,
    /// A^T B of weights and a picture.
    MixTransposed,
}

impl Attention {
    /// Returns how many pixels are compared with each other.
    pub fn positions(&self) -> usize {
        self.shape.height * self.shape.width
    }

    /// Returns the channels of a head.
    pub fn width(&self) -> usize {
        self.shape.channels / self.heads
    }

    /// Returns how many weights a picture has: heads x pixels x pixels, the last the one that is taken from.
    pub fn weights(&self) -> usize {
        self.heads * self.positions() * self.positions()
    }

    /// Returns the factor of the scores, by which their variance is about that of a number.
    pub fn scale(&self) -> f64 {
        1.0 / (self.width() as f64).sqrt()
    }

    /// Checks the extents of a product's operands and result.
    pub(crate) fn check(&self, product: AttentionProduct, [a, b, to]: [Mat; 3]) {
        let (picture, weights) = (self.shape.numbers(), self.weights());
        let [first, result] = match product {
            AttentionProduct::Scores => [picture, weights],
            AttentionProduct::Mix | AttentionProduct::MixTransposed => [weights, picture],
        };
        assert!([a.cols, b.cols, to.cols] == [first, picture, result] && a.rows == to.rows && b.rows == to.rows);
        assert!(to.apart(&a) && to.apart(&b));
    }
}
