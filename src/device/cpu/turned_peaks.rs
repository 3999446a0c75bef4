//! Peaks with axes of their own: the part of V that they have, and their plan at source samples.

use super::block::CpuBlock;
use super::simd::{Kernel, Real, Simd};
use super::turned::{Line, Turned};
use crate::device::{Mat, PeaksTerm};
use crate::formulas::axes::Part as AxisPart;
use crate::formulas::peaks::{self, MOST_PEAKS, MOST_TURNED, Part, Whole};
use crate::formulas::{Axes, Tick};

/// Vectors of factors that are multiplied before the logarithm is taken: a factor is from 1e-2 to 1e4.
const TOGETHER: usize = 8;

impl<T: Real, S: Simd<T = T>> Turned<S> {
    /// Returns the sum over a peak's axes of (p z^2 - 2 h z - n h^2) / (1 + p n) + log(1 + p n) at x, where so much noise is left,
    /// and writes (p z - h) / (1 + p n) of each.
    ///
    /// # Safety
    /// As for [`Self::along`].
    #[inline(always)]
    unsafe fn slopes(&self, peak: usize, x: &[T], noise: T, slopes: &mut Line<T>) -> T {
        let mut places = [T::zero(); MOST_TURNED];
        // SAFETY: the caller's.
        unsafe {
            self.along(peak, x, &mut places);
            let (one, noise) = (S::splat(T::one()), S::splat(noise));
            let (mut sum, mut factors) = (S::splat(T::zero()), one);
            for (v, j) in (0..self.d).step_by(S::LANES).enumerate() {
                let [p, centre, h] = [Part::Precision, Part::Centre, Part::Tilt].map(|part| self.part(peak, part, j));
                let away = S::sub(S::load(places.as_ptr().add(j)), centre);
                let (factor, slope) = (S::fma(p, noise, one), S::sub(S::mul(p, away), h));
                let square = S::sub(S::mul(slope, away), S::mul(h, S::fma(noise, h, away)));
                sum = S::add(sum, S::div(square, factor));
                S::store(slopes.as_mut_ptr().add(j), S::div(slope, factor));
                factors = S::mul(factors, factor);
                if v % TOGETHER == TOGETHER - 1 || j + S::LANES >= self.d {
                    sum = S::add(sum, S::map(factors, num_traits::Float::ln));
                    factors = one;
                }
            }
            S::sum(sum)
        }
    }
}

/// Adds V and its gradient at states.
struct TermKernel<'a, T> {
    block: &'a mut CpuBlock<T>,
    term: &'a PeaksTerm<'a, Vec<T>>,
}

impl<T: Real> Kernel<T> for TermKernel<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd<T = T>>(self) {
        let Self { block, term: &PeaksTerm { axes, time, x, v, g } } = self;
        let turned = Turned::<S>::of(axes);
        let (d, count) = (turned.d, turned.count);
        assert!(x.cols >= d);
        let weights = peaks::whole(axes.peak_numbers(), peaks::width(count), d, Whole::Weight);
        // Along all axes noise and time are the same.
        let (sigma, rate) = (axes.part(AxisPart::Sigma)[0], axes.part(AxisPart::Rate)[0]);
        let epsilon = T::of(axes.noise);
        let mut slopes = [[T::zero(); MOST_TURNED]; MOST_PEAKS];
        let mut shares = [T::zero(); MOST_PEAKS];
        for r in 0..x.rows {
            let against = time.map_or(T::zero(), |time| Tick::of(block.row(time, r)).against);
            let noise = sigma * sigma * (against / (rate + against));
            let each = shares[..count].iter_mut().zip(&mut slopes).zip(weights).enumerate();
            for (k, ((share, slopes), weight)) in each {
                // SAFETY: this kernel's own promise.
                *share = *weight - T::of(0.5) * unsafe { turned.slopes(k, block.row(x, r), noise, slopes) };
            }
            let top = shares[..count].iter().fold(T::neg_infinity(), |top, &log| top.max(log));
            let mut total = T::zero();
            for share in &mut shares[..count] {
                *share = (*share - top).exp_lane();
                total = total + *share;
            }
            if let Some(v) = v {
                let to = &mut block.row_mut(v, r)[0];
                *to = *to - epsilon * (top + total.ln());
            }
            let Some(g) = g else { continue };
            for (k, (share, slopes)) in shares[..count].iter().zip(&mut slopes).enumerate() {
                let part = *share * (epsilon / total);
                slopes[..d].iter_mut().for_each(|slope| *slope = *slope * part);
                // SAFETY: this kernel's own promise.
                unsafe { turned.add_across(k, slopes, block.row_mut(g, r)) };
            }
        }
    }
}

/// Adds the plan of the peaks to a generator's outputs for source samples.
struct PlanKernel<'a, T> {
    block: &'a mut CpuBlock<T>,
    axes: &'a Axes<Vec<T>>,
    x0: Mat,
    outputs: Mat,
}

impl<T: Real> Kernel<T> for PlanKernel<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd<T = T>>(self) {
        let Self { block, axes, x0, outputs } = self;
        let turned = Turned::<S>::of(axes);
        let (d, count) = (turned.d, turned.count);
        let (numbers, width) = (axes.peak_numbers(), peaks::width(count));
        let weights = peaks::whole(numbers, width, d, Whole::Weight);
        let components = outputs.components(2 * d);
        let sigma = axes.part(AxisPart::Sigma)[0];
        let noise = sigma * sigma;
        let mut slopes = [T::zero(); MOST_TURNED];
        for r in 0..x0.rows {
            let (out, x0) = block.two_rows(outputs, r, x0, r);
            for (k, weight) in weights[..count.min(components)].iter().enumerate() {
                // SAFETY: this kernel's own promise.
                let sum = unsafe { turned.slopes(k, x0, noise, &mut slopes) };
                let alike = (components - k).div_ceil(count);
                let share = *weight - T::of(0.5) * sum - T::of((alike as f64).ln());
                for component in (k..components).step_by(count) {
                    let raw = &mut out[2 * d * component..][..2 * d];
                    let (means, logs) = raw.split_at_mut(d);
                    means.iter_mut().zip(&slopes).for_each(|(mean, slope)| *mean = *mean - noise * *slope);
                    for (j, log) in logs.iter_mut().enumerate() {
                        *log = *log + peaks::part(numbers, width, j, Part::LogStd)[k];
                    }
                    let logit = &mut out[2 * d * components + component];
                    *logit = *logit + share;
                }
            }
        }
    }
}

impl<T: Real> CpuBlock<T> {
    pub(super) fn turned_peaks_term(&mut self, term: &PeaksTerm<'_, Vec<T>>) {
        let isa = self.isa;
        // SAFETY: the kernel checks the extents.
        unsafe { T::dispatch(isa, TermKernel { block: self, term }) }
    }

    pub(super) fn turned_plan(&mut self, axes: &Axes<Vec<T>>, x0: Mat, outputs: Mat) {
        let isa = self.isa;
        // SAFETY: the kernel checks the extents.
        unsafe { T::dispatch(isa, PlanKernel { block: self, axes, x0, outputs }) }
    }
}
