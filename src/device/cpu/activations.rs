//! Activations by themselves, with their derivatives, as networks whose layers form a graph need them.

use super::activation::activate;
use super::block::CpuBlock;
use super::simd::{Kernel, Real, Simd};
use crate::device::Mat;
use crate::formulas::Activation;

/// What is computed at the activation's input a.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// f(a).
    Value,
    /// f'(a) x.
    Linear(Mat),
    /// f'(a) q + f''(a) a' delta.
    Adjoint { tangent: Mat, delta: Mat, q: Option<Mat> },
}

struct Activations<'a, T> {
    block: &'a mut CpuBlock<T>,
    kind: Activation,
    rule: Rule,
    a: Mat,
    to: Mat,
    add: bool,
}

impl<T: Real> Kernel<T> for Activations<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd<T = T>>(self) {
        match self.kind {
            Activation::Silu => unsafe { self.of::<S>(Activation::Silu) },
            Activation::Tanh => unsafe { self.of::<S>(Activation::Tanh) },
            Activation::Softplus => unsafe { self.of::<S>(Activation::Softplus) },
        }
    }
}

impl<T: Real> Activations<'_, T> {
    #[inline(always)]
    unsafe fn of<S: Simd<T = T>>(self, kind: Activation) {
        let Self { block, rule, a, to, add, .. } = self;
        let place = |block: &mut CpuBlock<T>, mat: Mat| {
            assert!(mat.rows == to.rows && mat.cols == to.cols && !mat.view);
            (block.ptr(mat).cast_const(), mat.stride)
        };
        let (a, out) = (place(block, a), place(block, to).0.cast_mut());
        let (x, tangent, q) = match rule {
            Rule::Value => (a, a, None),
            Rule::Linear(x) => (place(block, x), a, None),
            Rule::Adjoint { tangent, delta, q } => {
                (place(block, delta), place(block, tangent), q.map(|q| place(block, q)))
            }
        };
        for r in 0..to.rows {
            for c in (0..to.cols).step_by(S::LANES) {
                // SAFETY: rows of these matrices are padded to whole vectors; `to` may be one of them, at the same place.
                unsafe {
                    let at = |(start, stride): (*const T, usize)| S::load(start.add(r * stride + c));
                    let [f, slope, curve] = activate::<S>(kind, at(a));
                    let value = match rule {
                        Rule::Value => f,
                        Rule::Linear(_) => S::mul(slope, at(x)),
                        Rule::Adjoint { .. } => {
                            let bent = S::mul(curve, S::mul(at(tangent), at(x)));
                            q.map_or(bent, |q| S::fma(slope, at(q), bent))
                        }
                    };
                    let to = out.add(r * to.stride + c);
                    S::store(to, if add { S::add(S::load(to), value) } else { value });
                }
            }
        }
    }
}

impl<T: Real> CpuBlock<T> {
    pub(super) fn activation(&mut self, kind: Activation, rule: Rule, a: Mat, to: Mat, add: bool) {
        let isa = self.isa;
        // SAFETY: the kernel checks the matrices' extents.
        unsafe { T::dispatch(isa, Activations { block: self, kind, rule, a, to, add }) }
    }
}
