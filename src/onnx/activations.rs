//! Activations and their derivatives as operators.

use super::builder::{Builder, Tensor};
use crate::formulas::Activation;

/// An activation's input and output, and what its derivative is made of.
#[derive(Clone, Copy)]
pub(super) struct Activated {
    kind: Activation,
    a: Tensor,
    /// f(a).
    pub f: Tensor,
    /// The logistic function of a, where f is made of it.
    logistic: Option<Tensor>,
}

impl Activated {
    pub fn new(b: &mut Builder, kind: Activation, a: Tensor) -> Self {
        let (f, logistic) = match kind {
            Activation::Silu => {
                let s = b.plain("Sigmoid", &[a]);
                (b.mul(a, s), Some(s))
            }
            Activation::Tanh => (b.plain("Tanh", &[a]), None),
            Activation::Softplus => (b.plain("Softplus", &[a]), None),
        };
        Self { kind, a, f, logistic }
    }

    /// Returns f'(a) times a gradient.
    pub fn backward(&self, b: &mut Builder, gradient: Tensor) -> Tensor {
        let slope = match self.kind {
            // s + f (1 - s).
            Activation::Silu => {
                let s = self.logistic.expect("the activation is made of it");
                let (both, product) = (b.add(s, self.f), b.mul(s, self.f));
                b.sub(both, product)
            }
            Activation::Tanh => {
                let (one, square) = (b.number(1.0), b.mul(self.f, self.f));
                b.sub(one, square)
            }
            Activation::Softplus => b.plain("Sigmoid", &[self.a]),
        };
        b.mul(slope, gradient)
    }
}
