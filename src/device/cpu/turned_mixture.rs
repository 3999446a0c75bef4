//! The generator's loss where components have the axes of their peaks: as in `mixture`, but a component's density at x_t is a
//! product along its own axes, so each row is turned to those of every peak, and the pull of all components on it back.

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
        let [mut places, mut pulls] = [[[T::zero(); MOST_TURNED]; MOST_PEAKS]; 2];
        let [mut away, mut gx] = [[T::zero(); MOST_TURNED]; 2];
        for first in (0..rows).step_by(components) {
            let tick = Tick::of(block.row(bridge.time, first));
            // SAFETY: this kernel's own promise.
            unsafe { group.tabulate(block, first, tick, Some(weighted)) };
            let reference = block.row(group.by_axis, INVERSE_REFERENCE)[0];
            for k in 0..components {
                let row = first + k;
                for (j, away) in away[..d].iter_mut().enumerate() {
                    *away = block.row(xt, row)[j] - block.row(bridge.x0, row)[j];
                }
                for (peak, places) in places[..peaks].iter_mut().enumerate() {
                    // SAFETY: this kernel's own promise.
                    unsafe { turned.along(peak, &away, places) };
                }
                let log_w = -half * reference * away[..d].iter().fold(T::zero(), |sum, away| sum + *away * *away);

                let mut top = T::neg_infinity();
                for c in 0..components {
                    let (means, inverses) = (block.row(group.means, c), block.row(group.inverses, c));
                    let square = weighted_square(&places[c % peaks][..d], means, inverses);
                    let log = -half * (block.row(group.lines, 0)[c] + square);
                    block.row_mut(group.lines, 1)[c] = log;
                    // A NaN must come through.
                    top = if log > top || log.is_nan() { log } else { top };
                }
                let mut total = T::zero();
                for share in &mut block.row_mut(group.lines, 1)[..components] {
                    *share = (*share - top).exp_lane();
                    total = total + *share;
                }
                pulls[..peaks].iter_mut().for_each(|pull| pull.fill(T::zero()));
                for c in 0..components {
                    let share = block.row(group.lines, 1)[c] / total;
                    let (means, inverses) = (block.row(group.means, c), block.row(group.inverses, c));
                    let along = places[c % peaks].iter().zip(means).zip(inverses);
                    for (pull, ((place, mean), inverse)) in pulls[c % peaks].iter_mut().zip(along) {
                        *pull = *pull + share * (*place - *mean) * *inverse;
                    }
                }
                let log_p = top + total.ln() - T::of(even);
                let loss = block.row(v, row)[0] + noise * (log_p - log_w);
                let weight = block.row(weighted.log, row)[0].exp_lane();
                block.row_mut(weighted.loss, row)[0] = loss;
                sums.generator += (weight * loss).wide();

                // The gradient by x_t, and by the outputs along the component's own axes.
                gx.fill(T::zero());
                for (peak, pulls) in pulls[..peaks].iter_mut().enumerate() {
                    pulls[..d].iter_mut().for_each(|pull| *pull = -*pull);
                    // SAFETY: this kernel's own promise.
                    unsafe { turned.add_across(peak, pulls, &mut gx) };
                }
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

/// Returns the sum of (x - mean)^2 inverse. Terms are added in lanes, which compilers make vectors of.
#[inline(always)]
fn weighted_square<T: Real>(places: &[T], means: &[T], inverses: &[T]) -> T {
    const LANES: usize = 16;
    let mut lanes = [T::zero(); LANES];
    let chunks = places.chunks(LANES).zip(means.chunks(LANES)).zip(inverses.chunks(LANES));
    for ((places, means), inverses) in chunks {
        let each = places.iter().zip(means).zip(inverses);
        for (lane, ((place, mean), inverse)) in lanes.iter_mut().zip(each) {
            let away = *place - *mean;
            *lane = *lane + away * away * *inverse;
        }
    }
    lanes.iter().fold(T::zero(), |sum, lane| sum + *lane)
}

impl<T: Real> CpuBlock<T> {
    pub(super) fn turned_mixture(&mut self, loss: &MixtureLoss<'_, CpuNoise, Vec<T>>, sums: &mut Sums) {
        let isa = self.isa;
        // SAFETY: the kernel checks the matrices' extents.
        unsafe { T::dispatch(isa, Mixture { block: self, loss, sums }) }
    }
}
