//! Activations by themselves, with their derivatives, as networks whose layers form a graph need them.

use super::activation::activate;
use super::block::CpuBlock;
use super::crew::{Shared, in_parts};
use super::simd::{Kernel, Real, Simd};
use crate::device::Mat;
use crate::formulas::Activation;
use std::ops::Range;

/// What an activation takes, in numbers that are copied.
const COST: usize = 4;

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

/// Where a matrix lies: its start, and the distance of its rows.
type Place<T> = (Shared<T>, usize);

/// The operands of a rule.
#[derive(Clone, Copy)]
enum Operands<T> {
    Value,
    Linear(Place<T>),
    Adjoint { tangent: Place<T>, delta: Place<T>, q: Option<Place<T>> },
}

/// Some columns of all rows.
struct Activations<T> {
    kind: Activation,
    operands: Operands<T>,
    a: Place<T>,
    to: Place<T>,
    rows: usize,
    cols: Range<usize>,
    add: bool,
}

impl<T: Real> Kernel<T> for Activations<T> {
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

impl<T: Real> Activations<T> {
    #[inline(always)]
    unsafe fn of<S: Simd<T = T>>(self, kind: Activation) {
        let Self { operands, a, to, rows, cols, add, .. } = self;
        for r in 0..rows {
            for c in cols.clone().step_by(S::LANES) {
                // SAFETY: rows of these matrices are padded to whole vectors; `to` may be one of them, at the same place.
                unsafe {
                    let place = |(start, stride): Place<T>| start.get().add(r * stride + c);
                    let at = |from: Place<T>| S::load(place(from).cast_const());
                    let [f, slope, curve] = activate::<S>(kind, at(a));
                    let value = match operands {
                        Operands::Value => f,
                        Operands::Linear(x) => S::mul(slope, at(x)),
                        Operands::Adjoint { tangent, delta, q } => {
                            let bent = S::mul(curve, S::mul(at(tangent), at(delta)));
                            q.map_or(bent, |q| S::fma(slope, at(q), bent))
                        }
                    };
                    let to = place(to);
                    S::store(to, if add { S::add(S::load(to), value) } else { value });
                }
            }
        }
    }
}

impl<T: Real> CpuBlock<T> {
    pub(super) fn activation(&mut self, kind: Activation, rule: Rule, a: Mat, to: Mat, add: bool) {
        let mut place = |mat: Mat| {
            assert!(mat.rows == to.rows && mat.cols == to.cols && !mat.view);
            (Shared(self.ptr(mat)), mat.stride)
        };
        let operands = match rule {
            Rule::Value => Operands::Value,
            Rule::Linear(x) => Operands::Linear(place(x)),
            Rule::Adjoint { tangent, delta, q } => {
                Operands::Adjoint { tangent: place(tangent), delta: place(delta), q: q.map(&mut place) }
            }
        };
        let (a, out, rows, isa) = (place(a), place(to), to.rows, self.isa);
        in_parts(self.crew.as_deref(), to.cols, Mat::PART, rows * COST, |cols| {
            // SAFETY: the matrices' extents were checked, and parts are whole vectors apart.
            unsafe { T::dispatch(isa, Activations { kind, operands, a, to: out, rows, cols, add }) }
        });
    }
}
