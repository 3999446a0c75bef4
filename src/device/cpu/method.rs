//! Endpoint, bridge, dual and action terms on a block of rows. The first two run along the d columns by whole vectors.
//! The others take a few numbers a row, in plain loops.

use super::block::{CpuBlock, CpuNoise};
use super::simd::{Kernel, Real, Simd};
use crate::device::{Bridge, DualTerm, Mat, Points, Sums};
use crate::formulas::{Head, Quadratic, Scalar};
use std::ptr;

/// The generator's head: standard deviations from raw outputs, a vector at a time.
#[derive(Clone, Copy)]
pub(super) struct Spread<S: Simd> {
    offset: S::V,
    low: S::V,
    high: S::V,
    deterministic: bool,
}

impl<S: Simd> Spread<S> {
    /// # Safety
    /// As for [`Simd`].
    #[inline(always)]
    pub(super) unsafe fn new(head: &Head) -> Self {
        let (low, high) = head.log_std_range();
        // SAFETY: the caller's.
        unsafe {
            Self {
                offset: S::splat(S::T::of(head.log_std_offset())),
                low: S::splat(S::T::of(low)),
                high: S::splat(S::T::of(high)),
                deterministic: head.deterministic,
            }
        }
    }

    /// Returns the standard deviations of numbers j.. of d, and their logarithms before these are clamped to the range.
    /// `raw` is a row of the generator's outputs.
    ///
    /// # Safety
    /// As for [`Simd`]; a vector may be read at d + j of the row.
    #[inline(always)]
    pub(super) unsafe fn at(&self, raw: *const S::T, d: usize, j: usize) -> (S::V, S::V) {
        // SAFETY: the caller's.
        unsafe {
            if self.deterministic {
                let zero = S::splat(S::T::of(0.0));
                return (zero, zero);
            }
            let log = S::add(S::load(raw.add(d + j)), self.offset);
            // The second operand is what a NaN gives: it must come through.
            (S::exp(S::min(self.high, S::max(self.low, log))), log)
        }
    }

    /// Returns `then` in lanes whose logarithm is inside the range, and 0 in others.
    ///
    /// # Safety
    /// As for [`Simd`].
    #[inline(always)]
    pub(super) unsafe fn inside(&self, log: S::V, then: S::V) -> S::V {
        // SAFETY: the caller's.
        unsafe { S::within(log, self.low, self.high, then) }
    }
}

struct BridgeKernel<'a, T> {
    block: &'a mut CpuBlock<T>,
    head: &'a Head,
    bridge: &'a Bridge<CpuNoise>,
    points: &'a Points,
}

impl<T: Real> Kernel<T> for BridgeKernel<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd<T = T>>(self) {
        let Self { block, head, bridge, points } = self;
        let (rows, d) = (bridge.x0.rows, bridge.x0.cols);
        let timed = points.state.is_some() || points.drift.is_some();
        let sigma = T::of(head.sigma);
        let whole = d.next_multiple_of(S::LANES);
        let numbers = head.raw(d);
        let mut reach = |mat: Mat, cols: usize, reach: usize| {
            assert!(mat.rows == rows && mat.cols == cols);
            block.rows_of(mat, reach)
        };
        let (x0, xi) = (reach(bridge.x0, d, whole), reach(bridge.noise.xi, d, whole));
        let eta = if timed { reach(bridge.noise.eta, d, whole) } else { xi };
        let raw = reach(bridge.raw, numbers, numbers - d + whole);
        let mut written = |mat: Option<Mat>, cols: usize| {
            mat.map_or((ptr::null_mut(), 0), |mat| {
                assert!(!mat.view);
                reach(mat, cols, whole.max(cols))
            })
        };
        let (end, state, drift) = (written(points.end, d + 1), written(points.state, d + 1), written(points.drift, d));
        // SAFETY: each matrix has these rows, and each row the numbers that are accessed here. Those beyond its columns
        // are some number that nobody reads, so they may be read and written.
        unsafe {
            let spread = Spread::<S>::new(head);
            let free = S::splat(sigma * sigma);
            for r in 0..rows {
                let t = if timed { block.row(bridge.time, r)[0] } else { T::one() };
                let noise = S::splat(sigma * (t * (T::one() - t)).sqrt());
                let (time, rest) = (S::splat(t), S::splat(T::one() - t));
                let row = |(start, stride): (*mut T, usize)| start.wrapping_add(r * stride);
                let (x0, raw, xi, eta) = (row(x0), row(raw), row(xi), row(eta));
                for j in (0..d).step_by(S::LANES) {
                    let (s, _) = spread.at(raw, d, j);
                    let (from, mean) = (S::load(x0.add(j)), S::load(raw.add(j)));
                    let reach = S::mul(s, S::load(xi.add(j)));
                    let x1 = S::add(S::add(from, mean), reach);
                    if !end.0.is_null() {
                        S::store(row(end).add(j), x1);
                    }
                    if timed {
                        let brown = S::mul(noise, S::load(eta.add(j)));
                        if !drift.0.is_null() {
                            let own = S::mul(s, s);
                            let variance = S::fma(time, own, S::mul(rest, free));
                            let pull = S::div(S::sub(own, free), variance);
                            S::store(row(drift).add(j), S::fma(pull, S::fma(time, reach, brown), mean));
                        }
                        if !state.0.is_null() {
                            S::store(row(state).add(j), S::fma(rest, from, S::fma(time, x1, brown)));
                        }
                    }
                }
                if !end.0.is_null() {
                    *row(end).add(d) = T::one();
                }
                if !state.0.is_null() {
                    *row(state).add(d) = t;
                }
            }
        }
    }
}

impl<T: Real> Quadratic<Vec<T>> {
    /// Returns the quadratic in the processor's type of numbers.
    #[cfg(test)]
    pub(crate) fn of(quadratic: &Quadratic<Vec<f64>>) -> Self {
        let Quadratic { curvature, ref slope, level } = *quadratic;
        Self { curvature, slope: slope.iter().map(|&x| T::of(x)).collect(), level }
    }

    /// Returns the value at x, in 64 bits because conjugates raise it to a power.
    pub(crate) fn at(&self, x: &[T]) -> f64 {
        let half = 0.5 * self.curvature;
        x.iter().zip(&self.slope).fold(self.level, |sum, (x, slope)| sum + x.wide() * (half * x.wide() + slope.wide()))
    }
}

impl<T: Real> CpuBlock<T> {
    pub(super) fn method_bridge(&mut self, head: &Head, bridge: &Bridge<CpuNoise>, points: &Points) {
        let isa = self.isa;
        let kernel = BridgeKernel { block: self, head, bridge, points };
        // SAFETY: the kernel checks the matrices' extents.
        unsafe { T::dispatch(isa, kernel) }
    }

    pub(super) fn method_dual(&mut self, term: &DualTerm<'_, Vec<T>>, sums: &mut Sums) {
        let DualTerm { conjugate, quadratic, ends, v, delta, scale } = *term;
        let half = v.rows / 2;
        for r in 0..half {
            let known = quadratic.at(self.row(ends, r));
            sums.generated += self.row(v, r)[0].wide() + known;
            sums.action += known;
            self.row_mut(delta, r)[0] = T::of(-scale);
            let known = quadratic.at(self.row(ends, half + r));
            let (value, slope) = conjugate.evaluate(self.row(v, half + r)[0].wide() + known);
            sums.conjugate += value;
            sums.density_ratio += slope;
            self.row_mut(delta, half + r)[0] = T::of(scale * slope);
        }
    }

    pub(super) fn method_action(&mut self, g: Mat, b: Mat, w: Mat, scale: f64, sums: &mut Sums) {
        let (half, scale) = (T::of(0.5), T::of(scale));
        for r in 0..g.rows {
            let mut row = T::zero();
            for j in 0..g.cols {
                let (g, b) = (self.row(g, r)[j], self.row(b, r)[j]);
                row = row + g * (half * g + b);
                self.row_mut(w, r)[j] = scale * (g + b);
            }
            self.row_mut(w, r)[g.cols] = T::zero();
            sums.action += row.wide();
        }
    }
}
