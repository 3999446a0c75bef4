//! Peaks with axes of their own: the part of V that they have, and their plan at source samples. A lane has a sample,
//! so that no vector is summed over its lanes, and none is empty where a sample has few numbers.

use super::block::CpuBlock;
use super::simd::{Kernel, MOST_LANES, Real, Simd};
use super::turned::Turned;
use crate::device::{Mat, PeaksTerm};
use crate::formulas::axes::Part as AxisPart;
use crate::formulas::peaks::{self, MOST_TURNED, PARTS, Part, Whole};
use crate::formulas::{Axes, Scalar, Tick};

/// A number of each of some samples, for each axis.
type Beside<T> = [[T; MOST_LANES]; MOST_TURNED];

/// Axes whose factors are multiplied before the logarithm is taken: a factor is from 1e-2 to 1e4.
const TOGETHER: usize = 8;
/// The rows of a peak's parts are behind its last axis, so a matrix may be read to this multiple of rows.
const ROWS: usize = 4;
const _: () = assert!(ROWS <= PARTS && TOGETHER.is_multiple_of(ROWS) && peaks::width(1).is_multiple_of(TOGETHER));
/// The logarithm of the least share of the largest.
const LEAST_LOG: f64 = -70.0;

impl<T: Real, S: Simd<T = T>> Turned<S> {
    /// Returns log w_k phi_k of a peak at the samples x, where so much noise is left at each. Writes the slopes
    /// (p z - h) / (1 + p n) along the peak's axes.
    ///
    /// # Safety
    /// As for [`Self::along`].
    #[inline(always)]
    unsafe fn log_at(&self, peak: usize, weight: T, x: &Beside<T>, noise: S::V, slopes: &mut Beside<T>) -> S::V {
        // SAFETY: the caller's. A peak's columns are padded to whole blocks, with zeros.
        unsafe {
            let (mut square, mut log) = (S::splat(T::zero()), S::splat(T::zero()));
            let mut j = 0;
            while j < self.d {
                let [squares, factors] = if self.d - j > ROWS {
                    self.along_some::<TOGETHER>(peak, j, x, noise, slopes)
                } else {
                    self.along_some::<ROWS>(peak, j, x, noise, slopes)
                };
                square = S::add(square, squares);
                log = S::add(log, S::ln(factors));
                j += TOGETHER;
            }
            S::fma(S::splat(T::of(-0.5)), S::add(square, log), S::splat(weight))
        }
    }

    /// Returns the sum of (p z^2 - 2 h z - n h^2) / (1 + p n) and the product of 1 + p n over N axes of a peak from the
    /// j-th on, and writes its slopes.
    ///
    /// # Safety
    /// As for [`Self::along`]; N axes are within the stride.
    #[inline(always)]
    unsafe fn along_some<const N: usize>(
        &self,
        peak: usize,
        j: usize,
        x: &Beside<T>,
        noise: S::V,
        slopes: &mut Beside<T>,
    ) -> [S::V; 2] {
        // SAFETY: the caller's.
        unsafe {
            let matrix = self.row(peak, 0).add(j);
            let mut places = [S::splat(T::zero()); N];
            for (i, x) in x[..self.d].iter().enumerate() {
                let (x, row) = (S::load(x.as_ptr()), matrix.add(i * self.stride));
                for (v, place) in places.iter_mut().enumerate() {
                    *place = S::fma(x, S::splat(*row.add(v)), *place);
                }
            }
            let [ps, centres, hs] =
                [Part::Precision, Part::Centre, Part::Tilt].map(|part| self.part(peak, part).add(j));
            let one = S::splat(T::one());
            let (mut squares, mut factors) = (S::splat(T::zero()), one);
            for (v, (place, to)) in places.into_iter().zip(&mut slopes[j..]).enumerate() {
                let (p, centre, h) = (S::splat(*ps.add(v)), S::splat(*centres.add(v)), S::splat(*hs.add(v)));
                let factor = S::fma(p, noise, one);
                let away = S::sub(place, centre);
                let slope = S::sub(S::mul(p, away), h);
                // p z^2 - 2 h z - n h^2.
                let square = S::sub(S::mul(slope, away), S::mul(h, S::fma(noise, h, away)));
                let inverse = S::div(one, factor);
                squares = S::fma(square, inverse, squares);
                factors = S::mul(factors, factor);
                S::store(to.as_mut_ptr(), S::mul(slope, inverse));
            }
            [squares, factors]
        }
    }

    /// Replaces x by `kept` times x and `added` times the point at these places along a peak's axes.
    ///
    /// # Safety
    /// As for [`Self::along`].
    #[inline(always)]
    unsafe fn across(&self, peak: usize, places: &Beside<T>, [kept, added]: [S::V; 2], x: &mut Beside<T>) {
        let mut i = 0;
        while i < self.d {
            // SAFETY: the caller's; a block of rows ends with those of the parts.
            unsafe {
                if i + TOGETHER <= self.d {
                    self.across_some::<TOGETHER>(peak, i, places, [kept, added], x);
                    i += TOGETHER;
                } else {
                    self.across_some::<ROWS>(peak, i, places, [kept, added], x);
                    i += ROWS;
                }
            }
        }
    }

    /// Does that for N numbers from the i-th on.
    ///
    /// # Safety
    /// As for [`Self::along`]; the matrix has N rows there.
    #[inline(always)]
    unsafe fn across_some<const N: usize>(
        &self,
        peak: usize,
        i: usize,
        places: &Beside<T>,
        [kept, added]: [S::V; 2],
        x: &mut Beside<T>,
    ) {
        // SAFETY: the caller's.
        unsafe {
            let matrix = self.row(peak, i);
            let mut sums = [S::splat(T::zero()); N];
            for (j, place) in places[..self.d].iter().enumerate() {
                let place = S::load(place.as_ptr());
                for (v, sum) in sums.iter_mut().enumerate() {
                    *sum = S::fma(place, S::splat(*matrix.add(v * self.stride + j)), *sum);
                }
            }
            for (x, sum) in x[i..].iter_mut().zip(sums) {
                S::store(x.as_mut_ptr(), S::fma(kept, S::load(x.as_ptr()), S::mul(added, sum)));
            }
        }
    }
}

/// Puts rows of a matrix side by side, from the first one on. Returns how many there are; lanes behind these keep what
/// they have.
#[inline(always)]
fn put_beside<T: Real>(block: &CpuBlock<T>, x: Mat, first: usize, lanes: usize, d: usize, to: &mut Beside<T>) -> usize {
    let count = lanes.min(x.rows - first);
    for lane in 0..count {
        let row = &block.row(x, first + lane)[..d];
        to.iter_mut().zip(row).for_each(|(to, x)| to[lane] = *x);
    }
    count
}

/// Returns e^x, or 0 where that is so little that products with it would be subnormal, which take many times as long.
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
unsafe fn share_of<S: Simd>(x: S::V) -> S::V {
    // SAFETY: the caller's.
    unsafe { S::within(x, S::splat(S::T::of(LEAST_LOG)), S::splat(S::T::of(1.0)), S::exp(x)) }
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
        let [mut places, mut slopes, mut pull] = [[[T::zero(); MOST_LANES]; MOST_TURNED]; 3];
        let [mut noise, mut value] = [[T::zero(); MOST_LANES]; 2];
        for first in (0..x.rows).step_by(S::LANES) {
            let lanes = put_beside(block, x, first, S::LANES, d, &mut places);
            for (lane, noise) in noise[..lanes].iter_mut().enumerate() {
                let against = time.map_or(T::zero(), |time| Tick::of(block.row(time, first + lane)).against);
                *noise = sigma * sigma * (against / (rate + against));
            }
            pull[..d].iter_mut().for_each(|pull| *pull = [T::zero(); MOST_LANES]);
            // SAFETY: this kernel's own promise.
            unsafe {
                let noise = S::load(noise.as_ptr());
                let (mut top, mut total) = (S::splat(T::neg_infinity()), S::splat(T::zero()));
                for (k, weight) in weights[..count].iter().enumerate() {
                    let log = turned.log_at(k, *weight, &places, noise, &mut slopes);
                    // Where a higher peak comes, what there is counts less. A NaN of the row or of its time
                    // is one of every peak's, and so of the last.
                    let higher = S::max(top, log);
                    let (kept, share) = (share_of::<S>(S::sub(top, higher)), share_of::<S>(S::sub(log, higher)));
                    total = S::fma(total, kept, share);
                    if g.is_some() {
                        turned.across(k, &slopes, [kept, share], &mut pull);
                    }
                    top = higher;
                }
                if v.is_some() {
                    S::store(value.as_mut_ptr(), S::add(top, S::ln(total)));
                }
                if g.is_some() {
                    let part = S::div(S::splat(epsilon), total);
                    for pull in &mut pull[..d] {
                        S::store(pull.as_mut_ptr(), S::mul(part, S::load(pull.as_ptr())));
                    }
                }
            }
            for lane in 0..lanes {
                if let Some(v) = v {
                    let to = &mut block.row_mut(v, first + lane)[0];
                    *to = *to - epsilon * value[lane];
                }
                if let Some(g) = g {
                    let to = block.row_mut(g, first + lane);
                    to.iter_mut().zip(&pull[..d]).for_each(|(to, pull)| *to = *to + pull[lane]);
                }
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
        let [mut places, mut slopes] = [[[T::zero(); MOST_LANES]; MOST_TURNED]; 2];
        let mut shares = [T::zero(); MOST_LANES];
        for first in (0..x0.rows).step_by(S::LANES) {
            let lanes = put_beside(block, x0, first, S::LANES, d, &mut places);
            for k in 0..count.min(components) {
                let alike = T::of((components - k).div_ceil(count) as f64).ln();
                // SAFETY: this kernel's own promise.
                unsafe {
                    let log = turned.log_at(k, weights[k] - alike, &places, S::splat(noise), &mut slopes);
                    S::store(shares.as_mut_ptr(), log);
                }
                for (lane, share) in shares[..lanes].iter().enumerate() {
                    let out = block.row_mut(outputs, first + lane);
                    for component in (k..components).step_by(count) {
                        let raw = &mut out[2 * d * component..][..2 * d];
                        let (means, logs) = raw.split_at_mut(d);
                        means.iter_mut().zip(&slopes).for_each(|(mean, slope)| *mean = *mean - noise * slope[lane]);
                        for (j, log) in logs.iter_mut().enumerate() {
                            *log = *log + peaks::part(numbers, width, j, Part::LogStd)[k];
                        }
                        let logit = &mut out[2 * d * components + component];
                        *logit = *logit + *share;
                    }
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
