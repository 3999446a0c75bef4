//! Endpoint, bridge, dual and action terms on a block of rows. A few numbers a row: plain loops over the d columns,
//! compiled with the processor's vectors.

use super::block::CpuBlock;
use super::simd::{Kernel, Real, Simd};
use crate::device::{Bridge, Head, Mat, Sums};
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
    bridge: &'a Bridge,
    /// x1 when no time is given, else x_t.
    out: Mat,
    drift: Option<Mat>,
    timed: bool,
}

impl<T: Real> Kernel<T> for BridgeKernel<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd<T = T>>(self) {
        let Self { block, head, bridge, out, drift, timed } = self;
        let d = bridge.x0.cols;
        let spread = Spread::new(head);
        let sigma = T::of(head.sigma);
        for r in 0..bridge.x0.rows {
            let (mut keep, mut along, mut noise, mut back) = (T::zero(), T::one(), T::zero(), T::zero());
            if timed {
                let t = block.row(bridge.time, r)[0];
                let rest = T::one() - t;
                keep = rest;
                along = t;
                noise = sigma * (t * rest).sqrt();
                back = sigma * (t / rest).sqrt();
            }
            for j in 0..d {
                let raw = block.row(bridge.raw, r);
                let (s, _) = spread.std(raw, d, j);
                let x0 = block.row(bridge.x0, r)[j];
                let x1 = x0 + raw[j] + s * block.row(bridge.xi, r)[j];
                let eta = block.row(bridge.eta, r)[j];
                if let Some(drift) = drift {
                    block.row_mut(drift, r)[j] = x1 - x0 - back * eta;
                }
                block.row_mut(out, r)[j] = keep * x0 + along * x1 + noise * eta;
            }
        }
    }
}

impl<T: Real> CpuBlock<T> {
    pub(super) fn method_endpoint(&mut self, head: &Head, bridge: &Bridge, x1: Mat) {
        let isa = self.isa;
        let kernel = BridgeKernel { block: self, head, bridge, out: x1, drift: None, timed: false };
        // SAFETY: the kernel indexes rows with checks.
        unsafe { T::dispatch(isa, kernel) }
    }

    pub(super) fn method_bridge(&mut self, head: &Head, bridge: &Bridge, xt: Mat, drift: Option<Mat>) {
        let isa = self.isa;
        let kernel = BridgeKernel { block: self, head, bridge, out: xt, drift, timed: true };
        // SAFETY: as above.
        unsafe { T::dispatch(isa, kernel) }
    }

    pub(super) fn method_dual(&mut self, conjugate: &Conjugate, v: Mat, delta: Mat, scale: f64, sums: &mut Sums) {
        let half = v.rows / 2;
        for r in 0..half {
            sums.generated += self.row(v, r)[0].wide();
            self.row_mut(delta, r)[0] = T::of(-scale);
            let (value, slope) = conjugate.evaluate(self.row(v, half + r)[0].wide());
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
            sums.action += row.wide();
        }
    }
}
