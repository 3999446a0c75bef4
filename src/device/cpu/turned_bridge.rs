//! Bridges of components that have the axes of their peaks: a component's mean and deviations lie along these. Noise is
//! the same in every direction, so a point of a bridge is taken along the axes, and what it is away from the source
//! sample turned back.

use super::block::{CpuBlock, CpuNoise};
use super::method::{AxisVectors, times};
use super::simd::{Kernel, Real, Simd};
use super::turned::{Line, Turned};
use crate::device::{Bridge, Mat, Points};
use crate::formulas::axes::Part;
use crate::formulas::peaks::MOST_TURNED;
use crate::formulas::{Axes, Head, Tick};

struct BridgeKernel<'a, T> {
    block: &'a mut CpuBlock<T>,
    head: &'a Head,
    axes: &'a Axes<Vec<T>>,
    bridge: &'a Bridge<CpuNoise>,
    points: &'a Points,
}

impl<T: Real> Kernel<T> for BridgeKernel<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd<T = T>>(self) {
        let Self { block, head, axes, bridge, points } = self;
        let turned = Turned::<S>::of(axes);
        let d = turned.d;
        let which = bridge.which.expect("the numbers of components that have axes of their own");
        assert!(!head.deterministic);
        let timed = points.state.is_some() || points.drift.is_some();
        let (xi, eta) = (bridge.noise.xi, if timed { bridge.noise.eta } else { bridge.noise.xi });
        for (mat, cols) in [(bridge.x0, d), (bridge.raw, 2 * d), (xi, d), (eta, d)] {
            assert!(mat.rows == bridge.x0.rows && mat.cols == cols);
        }
        let [mut end, mut state, mut drift]: [Line<T>; 3] = [[T::zero(); MOST_TURNED]; 3];
        for r in 0..bridge.x0.rows {
            let component = block.row(which, r)[0].wide() as usize;
            let tick = if timed { Tick::of(block.row(bridge.time, r)) } else { Tick::of(&[T::one(); 3]) };
            let whole = d.next_multiple_of(S::LANES);
            let [xi, eta, raw] = [(xi, whole), (eta, whole), (bridge.raw, d + whole)].map(|(mat, reach)| {
                let (start, stride) = block.rows_of(mat, reach);
                start.wrapping_add(r * stride)
            });
            // SAFETY: rows are padded to whole vectors, and each has the numbers that are accessed here; those beyond
            // its columns are some number, which is not kept.
            unsafe {
                let along = AxisVectors::<S>::new(head, axes, d);
                for j in (0..d).step_by(S::LANES) {
                    let s = along.spread(raw, j).std;
                    let mean = S::load(raw.add(j));
                    let reach = S::mul(s, S::load(xi.add(j)));
                    let away = S::add(mean, reach);
                    S::store(end.as_mut_ptr().add(j), away);
                    if timed {
                        let sigma = along.part(Part::Sigma, j);
                        let [time, rest] = times::<S>(tick, along.part(Part::Rate, j));
                        let brown = S::mul(S::mul(sigma, S::sqrt(S::mul(time, rest))), S::load(eta.add(j)));
                        let (own, free) = (S::mul(s, s), S::mul(sigma, sigma));
                        let variance = S::fma(time, own, S::mul(rest, free));
                        let pull = S::div(S::sub(own, free), variance);
                        S::store(drift.as_mut_ptr().add(j), S::fma(pull, S::fma(time, reach, brown), mean));
                        S::store(state.as_mut_ptr().add(j), S::fma(time, away, brown));
                    }
                }
                let peak = component % turned.count;
                for (to, places, from, time) in [
                    (points.end, &mut end, Some(bridge.x0), T::one()),
                    (points.state, &mut state, Some(bridge.x0), tick.time),
                    (points.drift, &mut drift, None, T::zero()),
                ] {
                    let Some(to) = to else { continue };
                    places[d..].fill(T::zero());
                    match from {
                        Some(from) => {
                            let (out, x0) = block.two_rows(to, r, from, r);
                            out[..d].copy_from_slice(x0);
                        }
                        None => block.row_mut(to, r)[..d].fill(T::zero()),
                    }
                    let out = block.row_mut(to, r);
                    turned.add_across(peak, std::slice::from_ref(places), out);
                    if let Some(at) = out.get_mut(d) {
                        *at = time;
                    }
                }
            }
        }
    }
}

/// Adds points along the axes of each peak to x.
struct AcrossKernel<'a, T> {
    axes: &'a Axes<Vec<T>>,
    places: &'a [Line<T>],
    x: &'a mut [T],
}

impl<T: Real> Kernel<T> for AcrossKernel<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd<T = T>>(self) {
        let Self { axes, places, x } = self;
        let turned = Turned::<S>::of(axes);
        // SAFETY: this kernel's own promise.
        unsafe { turned.add_across(0, places, x) };
    }
}

impl<T: Real> CpuBlock<T> {
    pub(super) fn turned_bridge(
        &mut self,
        head: &Head,
        axes: &Axes<Vec<T>>,
        bridge: &Bridge<CpuNoise>,
        points: &Points,
    ) {
        let isa = self.isa;
        // SAFETY: the kernel checks the extents.
        unsafe { T::dispatch(isa, BridgeKernel { block: self, head, axes, bridge, points }) }
    }

    /// Adds points along the axes of each peak, in their order, to a row.
    pub(super) fn add_across(&mut self, axes: &Axes<Vec<T>>, places: &[Line<T>], to: Mat, row: usize) {
        let isa = self.isa;
        // SAFETY: the kernel checks the extents.
        unsafe { T::dispatch(isa, AcrossKernel { axes, places, x: self.row_mut(to, row) }) }
    }
}
