//! The generator's loss where components have the axes of their peaks: as in `mixture`, but a component's density at
//! x_t is a product along its own axes, so each row is turned to those of every peak, and the pull of all components on
//! it back.

use super::block::{CpuBlock, CpuNoise};
use super::mixture::{Group, INVERSE_REFERENCE, TIME};
use super::simd::{Kernel, Real, Simd};
use super::turned::Turned;
use crate::device::{MixtureLoss, Sums};
use crate::formulas::Tick;
use crate::formulas::peaks::{MOST_PEAKS, MOST_TURNED};

struct Mixture<'a, T> {
    block: &'a mut CpuBlock<T>,
    loss: &'a MixtureLoss<'a, CpuNoise, Vec<T>>,
    sums: &'a mut Sums,
}

impl<T: Real> Kernel<T> for Mixture<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd<T = T>>(self) {
        let Self { block, loss, sums } = self;
        let MixtureLoss { head, axes, bridge, xt, v, components, weighted, delta, scale, .. } = *loss;
        let turned = Turned::<S>::of(axes);
        let (d, peaks) = (turned.d, turned.count);
        let g = loss.g.columns(0, d);
        let rows = bridge.x0.rows;
        assert!(rows.is_multiple_of(components) && !delta.view);
        for (mat, cols) in [(bridge.raw, head.raw(d)), (delta, head.raw(d)), (bridge.x0, d), (xt, d), (v, 1)] {
            assert!(mat.rows == rows && mat.cols == cols);
        }
        let weighted = weighted.expect("components that are not equally likely");
        // SAFETY: this kernel's own promise.
        let group = unsafe { Group::<S>::new(block, loss) };
        let (noise, half) = (T::of(axes.noise), T::of(0.5));
        let even = (components as f64).ln();
        let padded = components.next_multiple_of(S::LANES);
        let whole = d.next_multiple_of(S::LANES);
        let [mut places, mut pulls] = [[[T::zero(); MOST_TURNED]; MOST_PEAKS]; 2];
        let [mut away, mut gx] = [[T::zero(); MOST_TURNED]; 2];
        for first in (0..rows).step_by(components) {
            let tick = Tick::of(block.row(bridge.time, first));
            // SAFETY: this kernel's own promise.
            unsafe { group.tabulate(block, first, tick, Some(weighted)) };
            let reference = block.row(group.by_axis, INVERSE_REFERENCE)[0];
            // SAFETY (of the vector accesses below): rows of these tables reach to whole vectors.
            let [(means, mean_row), (inverses, inverse_row)] =
                [group.means, group.inverses].map(|mat| block.rows_of(mat, whole));
            let (log_variance, line) = block.rows_of(group.lines, padded);
            let share = log_variance.wrapping_add(line);
            // What lies behind the last axis counts for nothing.
            for c in 0..components {
                for j in d..whole {
                    unsafe {
                        *means.add(c * mean_row + j) = T::zero();
                        *inverses.add(c * inverse_row + j) = T::zero();
                    }
                }
            }
            for k in 0..components {
                let row = first + k;
                for (j, away) in away[..d].iter_mut().enumerate() {
                    *away = block.row(xt, row)[j] - block.row(bridge.x0, row)[j];
                }
                let log_w = -half * reference * away[..d].iter().fold(T::zero(), |sum, away| sum + *away * *away);
                for (peak, (places, pulls)) in places[..peaks].iter_mut().zip(&mut pulls).enumerate() {
                    // SAFETY: this kernel's own promise.
                    unsafe { turned.along(peak, &away, places) };
                    pulls[..whole].fill(T::zero());
                }
                let mut top = T::neg_infinity();
                let total;
                unsafe {
                    let mut peak = 0;
                    for c in 0..components {
                        let mut square = S::splat(T::zero());
                        let mut j = 0;
                        while j < whole {
                            let mean = S::load(means.add(c * mean_row + j));
                            let diff = S::sub(S::load(places[peak].as_ptr().add(j)), mean);
                            square = S::fma(S::mul(diff, diff), S::load(inverses.add(c * inverse_row + j)), square);
                            j += S::LANES;
                        }
                        let log = -half * (*log_variance.add(c) + S::sum(square));
                        *share.add(c) = log;
                        // A NaN must come through.
                        top = if log > top || log.is_nan() { log } else { top };
                        peak = if peak + 1 == peaks { 0 } else { peak + 1 };
                    }
                    for c in components..padded {
                        *share.add(c) = -*log_variance.add(c);
                    }
                    let mut sum = S::splat(T::zero());
                    for c in (0..padded).step_by(S::LANES) {
                        let part = S::exp(S::sub(S::load(share.add(c)), S::splat(top)));
                        S::store(share.add(c), part);
                        sum = S::add(sum, part);
                    }
                    total = S::sum(sum);
                    peak = 0;
                    for c in 0..components {
                        // Negative, as the pull of all components is subtracted.
                        let part = S::splat(-*share.add(c) / total);
                        let pull = pulls[peak].as_mut_ptr();
                        let mut j = 0;
                        while j < whole {
                            let mean = S::load(means.add(c * mean_row + j));
                            let diff = S::sub(S::load(places[peak].as_ptr().add(j)), mean);
                            let force = S::mul(diff, S::load(inverses.add(c * inverse_row + j)));
                            S::store(pull.add(j), S::fma(part, force, S::load(pull.add(j))));
                            j += S::LANES;
                        }
                        peak = if peak + 1 == peaks { 0 } else { peak + 1 };
                    }
                }
                let log_p = top + total.ln() - T::of(even);
                let loss = block.row(v, row)[0] + noise * (log_p - log_w);
                let weight = block.row(weighted.log, row)[0].exp_lane();
                block.row_mut(weighted.loss, row)[0] = loss;
                sums.generator += (weight * loss).wide();

                // The gradient by x_t, and by the outputs along the component's own axes.
                gx[..d].fill(T::zero());
                // SAFETY: this kernel's own promise.
                unsafe { turned.add_across(0, &pulls[..peaks], &mut gx) };
                for (j, gx) in gx[..d].iter_mut().enumerate() {
                    *gx = block.row(g, row)[j] + noise * (away[j] * reference + *gx);
                }
                let own = k % peaks;
                // SAFETY: this kernel's own promise.
                unsafe { turned.along(own, &gx, &mut pulls[own]) };
                let scale = T::of(scale) * weight;
                for j in 0..d {
                    let [mean, inverse, moved] =
                        [group.means, group.inverses, group.moved].map(|mat| block.row(mat, k)[j]);
                    let (gx, time) = (scale * pulls[own][j], block.row(group.by_axis, TIME)[j]);
                    let out = block.row_mut(delta, row);
                    out[j] = time * gx;
                    // d x_t / d log s, for x_t as its mean and a multiple of its deviation.
                    out[d + j] = gx * moved * (places[own][j] - mean) * inverse;
                }
            }
        }
    }
}

impl<T: Real> CpuBlock<T> {
    pub(super) fn turned_mixture(&mut self, loss: &MixtureLoss<'_, CpuNoise, Vec<T>>, sums: &mut Sums) {
        let isa = self.isa;
        // SAFETY: the kernel checks the matrices' extents.
        unsafe { T::dispatch(isa, Mixture { block: self, loss, sums }) }
    }
}
