//! The peaks of a value function on a block of rows, and their plan at source samples. A lane has a peak.

use super::block::CpuBlock;
use super::simd::{Kernel, Real, Simd};
use crate::device::{Mat, PeaksTerm};
use crate::formulas::axes::Part as AxisPart;
use crate::formulas::peaks::{self, MOST_PEAKS, Part, Whole};
use crate::formulas::{Axes, Scalar, Tick};

/// The most vectors that have a lane for each peak.
const MOST_VECTORS: usize = MOST_PEAKS / 8;
/// Axes whose factors are multiplied before the logarithm is taken: a factor is from 1e-2 to 1e4.
const TOGETHER: usize = 8;

/// Adds V and its gradient at states.
struct PeaksKernel<'a, T> {
    block: &'a mut CpuBlock<T>,
    term: &'a PeaksTerm<'a, Vec<T>>,
}

/// The numbers of the peaks, which kernels read a vector at a time.
#[derive(Clone, Copy)]
struct Table<S: Simd> {
    start: *const S::T,
    width: usize,
    d: usize,
}

/// A vector for each lane of the peaks; those beyond their width are not used.
type Lanes<S> = [<S as Simd>::V; MOST_VECTORS];

impl<S: Simd> Table<S> {
    /// # Safety
    /// As for [`Simd`]; j < d, and v a vector within the width.
    #[inline(always)]
    unsafe fn part(&self, j: usize, part: Part, v: usize) -> S::V {
        // SAFETY: the caller's.
        unsafe { S::load(self.start.add((peaks::PARTS * j + part as usize) * self.width + v * S::LANES)) }
    }

    /// Returns 1 + p n, p z - h and z of a vector of peaks at axis j, where a state is at x and so much noise is left.
    ///
    /// # Safety
    /// As for [`Self::part`].
    #[inline(always)]
    unsafe fn at(&self, j: usize, v: usize, x: S::V, noise: S::V) -> [S::V; 4] {
        // SAFETY: the caller's.
        unsafe {
            let [precision, centre, tilt] =
                [Part::Precision, Part::Centre, Part::Tilt].map(|part| self.part(j, part, v));
            let away = S::sub(x, centre);
            let factor = S::fma(precision, noise, S::splat(S::T::of(1.0)));
            [factor, S::sub(S::mul(precision, away), tilt), away, tilt]
        }
    }
}

impl<T: Real> Kernel<T> for PeaksKernel<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd<T = T>>(self) {
        let Self { block, term: &PeaksTerm { axes, time, x, v, g } } = self;
        let (d, count) = (axes.dimension, axes.peaks);
        let numbers = axes.peak_numbers();
        let width = peaks::width(count);
        let vectors = width / S::LANES;
        assert!((1..=MOST_PEAKS).contains(&count) && width <= MOST_PEAKS && vectors <= MOST_VECTORS);
        assert!(numbers.len() == peaks::numbers(count, d) && x.cols >= d);
        let (sigma, rate) = (axes.part(AxisPart::Sigma), axes.part(AxisPart::Rate));
        let weights = peaks::whole(numbers, width, d, Whole::Weight);
        let epsilon = T::of(axes.noise);
        let table = Table::<S> { start: numbers.as_ptr(), width, d };
        let mut shares = [T::zero(); MOST_PEAKS];
        for r in 0..x.rows {
            let against = time.map_or(T::zero(), |time| Tick::of(block.row(time, r)).against);
            let left = |j: usize| sigma[j] * sigma[j] * (against / (rate[j] + against));
            // SAFETY: the table has these axes and vectors.
            unsafe {
                let (zero, one) = (S::splat(T::zero()), S::splat(T::one()));
                let (mut sums, mut logs, mut factors): (Lanes<S>, Lanes<S>, Lanes<S>) =
                    ([zero; MOST_VECTORS], [zero; MOST_VECTORS], [one; MOST_VECTORS]);
                let row = block.row(x, r);
                for j in 0..table.d {
                    let (place, noise) = (S::splat(row[j]), S::splat(left(j)));
                    for v in 0..vectors {
                        let [factor, slope, away, tilt] = table.at(j, v, place, noise);
                        // p z^2 - 2 h z - n h^2.
                        let low = S::mul(tilt, S::fma(noise, tilt, away));
                        let square = S::sub(S::mul(slope, away), low);
                        sums[v] = S::add(sums[v], S::div(square, factor));
                        factors[v] = S::mul(factors[v], factor);
                        if j % TOGETHER == TOGETHER - 1 || j + 1 == table.d {
                            logs[v] = S::add(logs[v], S::ln(factors[v]));
                            factors[v] = one;
                        }
                    }
                }
                for v in 0..vectors {
                    let weight = S::load(weights.as_ptr().add(v * S::LANES));
                    let log = S::fma(S::splat(T::of(-0.5)), S::add(sums[v], logs[v]), weight);
                    S::store(shares.as_mut_ptr().add(v * S::LANES), log);
                }
                let top = shares[..count].iter().fold(T::neg_infinity(), |top, &log| top.max(log));
                let mut total = T::zero();
                for share in &mut shares[..count] {
                    *share = (*share - top).exp_lane();
                    total = total + *share;
                }
                shares[count..].fill(T::zero());
                if let Some(v) = v {
                    let to = &mut block.row_mut(v, r)[0];
                    *to = *to - epsilon * (top + total.ln());
                }
                let Some(g) = g else { continue };
                let mut parts = [zero; MOST_VECTORS];
                for (v, part) in parts[..vectors].iter_mut().enumerate() {
                    *part = S::mul(S::load(shares.as_ptr().add(v * S::LANES)), S::splat(epsilon / total));
                }
                for j in 0..table.d {
                    let (place, noise) = (S::splat(block.row(x, r)[j]), S::splat(left(j)));
                    let mut sum = zero;
                    for (v, part) in parts[..vectors].iter().enumerate() {
                        let [factor, slope, ..] = table.at(j, v, place, noise);
                        sum = S::fma(*part, S::div(slope, factor), sum);
                    }
                    let to = &mut block.row_mut(g, r)[j];
                    *to = *to + S::sum(sum);
                }
            }
        }
    }
}

impl<T: Real> CpuBlock<T> {
    pub(super) fn peaks_term(&mut self, term: &PeaksTerm<'_, Vec<T>>) {
        let isa = self.isa;
        let kernel = PeaksKernel { block: self, term };
        // SAFETY: the kernel checks the extents.
        unsafe { T::dispatch(isa, kernel) }
    }

    /// Adds the plan of the peaks to a generator's outputs for source samples.
    pub(super) fn peaks_plan_of(&mut self, axes: &Axes<Vec<T>>, x0: Mat, outputs: Mat) {
        let (d, count) = (axes.dimension, axes.peaks);
        let (numbers, width, sigma) = (axes.peak_numbers(), peaks::width(count), axes.part(AxisPart::Sigma));
        let components = outputs.components(2 * d);
        let weights = peaks::whole(numbers, width, d, Whole::WeightAtStart);
        for r in 0..x0.rows {
            let (out, x0) = self.two_rows(outputs, r, x0, r);
            for component in 0..components {
                let k = component % count;
                let of = |j, part| peaks::part(numbers, width, j, part)[k];
                let mut sum = T::zero();
                for j in 0..d {
                    let [p, h, log] = [Part::Precision, Part::Tilt, Part::LogStd].map(|part| of(j, part));
                    let (away, noise) = (x0[j] - of(j, Part::Centre), sigma[j] * sigma[j]);
                    let (slope, factor) = (p * away - h, T::one() + p * noise);
                    sum = sum + (slope * away - h * (away + noise * h)) / factor;
                    let at = 2 * d * component + j;
                    out[at] = out[at] - noise * slope / factor;
                    out[at + d] = out[at + d] + log;
                }
                let alike = (components - k).div_ceil(count);
                let logit = &mut out[2 * d * components + component];
                *logit = *logit + weights[k] - T::of(0.5) * sum - T::of((alike as f64).ln());
            }
        }
    }
}
