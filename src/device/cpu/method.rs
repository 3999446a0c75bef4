//! Endpoint, bridge, dual and action terms on a block of rows. A few numbers a row: plain loops over the d columns,
//! compiled with the processor's vectors.

use super::block::{CpuBlock, CpuNoise};
use super::simd::{Kernel, Real, Simd};
use crate::device::{Bridge, Head, Mat, Points, Quadratic, Sums};
use crate::euot::divergence::Conjugate;

/// The generator's head for one element: standard deviation, and whether its logarithm was inside the range.
#[derive(Clone, Copy)]
pub(super) struct Spread<T> {
    offset: T,
    low: T,
    high: T,
    deterministic: bool,
}

impl<T: Real> Spread<T> {
    pub(super) fn new(head: &Head) -> Self {
        let (low, high) = head.log_std_range();
        Self {
            offset: T::of(head.log_std_offset()),
            low: T::of(low),
            high: T::of(high),
            deterministic: head.deterministic,
        }
    }

    /// `raw` is one row of the generator's outputs.
    #[inline(always)]
    pub(super) fn std(&self, raw: &[T], d: usize, j: usize) -> (T, bool) {
        if self.deterministic {
            return (T::zero(), false);
        }
        let log = raw[d + j] + self.offset;
        // Written so that a NaN stays one.
        let clamped = if log < self.low {
            self.low
        } else if log > self.high {
            self.high
        } else {
            log
        };
        (clamped.exp_lane(), log > self.low && log < self.high)
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
        let d = bridge.x0.cols;
        let spread = Spread::new(head);
        let sigma = T::of(head.sigma);
        let timed = points.state.is_some() || points.drift.is_some();
        for r in 0..bridge.x0.rows {
            let t = if timed { block.row(bridge.time, r)[0] } else { T::one() };
            let rest = T::one() - t;
            let noise = sigma * (t * rest).sqrt();
            for j in 0..d {
                let raw = block.row(bridge.raw, r);
                let (s, _) = spread.std(raw, d, j);
                let x0 = block.row(bridge.x0, r)[j];
                let (mean, reach) = (raw[j], s * block.row(bridge.noise.xi, r)[j]);
                let x1 = x0 + mean + reach;
                if let Some(end) = points.end {
                    block.row_mut(end, r)[j] = x1;
                }
                if timed {
                    let eta = block.row(bridge.noise.eta, r)[j];
                    if let Some(drift) = points.drift {
                        let (own, free) = (s * s, sigma * sigma);
                        let pull = (own - free) / (t * own + rest * free);
                        block.row_mut(drift, r)[j] = mean + pull * (t * reach + noise * eta);
                    }
                    if let Some(state) = points.state {
                        block.row_mut(state, r)[j] = rest * x0 + t * x1 + noise * eta;
                    }
                }
            }
            if let Some(end) = points.end {
                block.row_mut(end, r)[d] = T::one();
            }
            if let Some(state) = points.state {
                block.row_mut(state, r)[d] = t;
            }
        }
    }
}

impl<T: Real> Quadratic<Vec<T>> {
    /// In the processor's numbers.
    pub(crate) fn of(quadratic: &Quadratic<Vec<f64>>) -> Self {
        let Quadratic { curvature, ref slope, level } = *quadratic;
        Self { curvature, slope: slope.iter().map(|&x| T::of(x)).collect(), level }
    }

    /// Its value, in 64 bits: conjugates raise it to a power.
    pub(crate) fn at(&self, x: &[T]) -> f64 {
        let half = 0.5 * self.curvature;
        x.iter().zip(&self.slope).fold(self.level, |sum, (x, slope)| sum + x.wide() * (half * x.wide() + slope.wide()))
    }
}

impl<T: Real> CpuBlock<T> {
    pub(super) fn method_bridge(&mut self, head: &Head, bridge: &Bridge<CpuNoise>, points: &Points) {
        let isa = self.isa;
        let kernel = BridgeKernel { block: self, head, bridge, points };
        // SAFETY: the kernel indexes rows with checks.
        unsafe { T::dispatch(isa, kernel) }
    }

    #[allow(clippy::too_many_arguments)]
    pub(super) fn method_dual(
        &mut self,
        conjugate: &Conjugate,
        quadratic: &Quadratic<Vec<T>>,
        ends: Mat,
        v: Mat,
        delta: Mat,
        scale: f64,
        sums: &mut Sums,
    ) {
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
