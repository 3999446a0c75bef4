//! The generator's loss: log-density of x_t under the mixture of the K Gaussian bridge marginals of its x0, with its
//! gradient. Each x0 has K x K pairs of d numbers, which are streamed like the rows of an attention, so nothing of size
//! K x K x d is kept. Over the pairs, components lie along the vectors; elsewhere coordinates do.
//!
//! Which of its two unbiased forms the gradient takes is said in `euot::generator_step`.

use super::block::{CpuBlock, CpuNoise};
use super::method::{AxisVectors, times};
use super::simd::{Kernel, Real, Simd};
use crate::device::{Mat, MixtureLoss, Sums, Weighted, Workspace};
use crate::formulas::Tick;
use crate::formulas::axes::Part;
use crate::formulas::head::{extrapolation, half_of};

pub(super) struct Mixture<'a, T> {
    pub block: &'a mut CpuBlock<T>,
    pub loss: &'a MixtureLoss<'a, CpuNoise, Vec<T>>,
    pub sums: &'a mut Sums,
}

/// A distance so large that no sample belongs to the component: its log-density is far below every other's.
const NOBODY: f64 = 1e30;

impl<T: Real> Kernel<T> for Mixture<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd<T = T>>(self) {
        let Self { block, loss, sums } = self;
        let MixtureLoss { head, axes, bridge, xt, v, components, weighted, delta, scale, .. } = *loss;
        let g = loss.g.columns(0, xt.cols);
        let d = bridge.x0.cols;
        let rows = bridge.x0.rows;
        assert!(rows.is_multiple_of(components));
        for (mat, cols) in [(bridge.raw, head.raw(d)), (delta, head.raw(d)), (xt, d), (g, d), (v, 1)] {
            assert!(mat.rows == rows && mat.cols == cols);
        }
        assert!(!delta.view);
        assert!(weighted.is_none() || !head.deterministic);
        let padded = components.next_multiple_of(S::LANES);
        // SAFETY: this kernel's own promise, here and below.
        let group = unsafe { Group::<S>::new(block, loss) };
        let Group { tables, lines, .. } = group;
        let noise = T::of(axes.noise);
        let (one, half) = (T::one(), T::of(0.5));
        let half_components = half_of(head, weighted.is_some(), components);

        for first in (0..bridge.x0.rows).step_by(components) {
            let tick = Tick::of(block.row(bridge.time, first));
            unsafe { group.tabulate(block, first, tick, weighted) };

            let table = block.ptr(tables);
            let stride = tables.stride;
            let log_variance = block.ptr(lines);
            // SAFETY (of the vector accesses below): rows of the tables and lines hold `padded` elements.
            let share = unsafe { log_variance.add(lines.stride) };

            for k in 0..components {
                let row = first + k;
                let mut top = T::neg_infinity();
                unsafe {
                    for c in (0..padded).step_by(S::LANES) {
                        let mut q = S::load(log_variance.add(c));
                        for j in 0..d {
                            let x = S::splat(block.row(xt, row)[j]);
                            let diff = S::sub(x, S::load(table.add(j * stride + c)));
                            q = S::fma(S::mul(diff, diff), S::load(table.add((d + j) * stride + c)), q);
                        }
                        S::store(share.add(c), S::mul(q, S::splat(-half)));
                    }
                    for c in 0..components {
                        let l = *share.add(c);
                        // A NaN must come through.
                        top = if l > top || l.is_nan() { l } else { top };
                    }
                    let mut total = S::splat(T::zero());
                    for c in (0..padded).step_by(S::LANES) {
                        let e = S::exp(S::sub(S::load(share.add(c)), S::splat(top)));
                        S::store(share.add(c), e);
                        total = S::add(total, e);
                    }
                    let total = S::sum(total);
                    // The sample's own half of the components, whose estimate is taken off.
                    let own = if k < half_components { 0..half_components } else { half_components..components };
                    let mut part = T::zero();
                    for c in own.clone() {
                        part = part + *share.add(c);
                    }
                    let (by_all, by_own) = extrapolation(components, own.len());
                    let (by_all, by_own) = (T::of(by_all), T::of(by_own));
                    for c in own.clone() {
                        *share.add(c) = *share.add(c) * (one - by_own / by_all * (total / part));
                    }
                    let factor = S::splat(by_all / total);
                    for c in (0..padded).step_by(S::LANES) {
                        S::store(share.add(c), S::mul(S::load(share.add(c)), factor));
                    }

                    let mean_log = |sum: T, count: usize| top + sum.ln() - T::of((count as f64).ln());
                    let log_p = by_all * mean_log(total, components) - by_own * mean_log(part, own.len());
                    let mut log_w = T::zero();
                    for j in 0..d {
                        let x = block.row(xt, row)[j];
                        let away = x - block.row(bridge.x0, row)[j];
                        let reference = block.row(group.by_axis, INVERSE_REFERENCE)[j];
                        log_w = log_w - half * away * away * reference;
                        let mut pull = S::splat(T::zero());
                        for c in (0..padded).step_by(S::LANES) {
                            let inverse = S::load(table.add((d + j) * stride + c));
                            let diff = S::sub(S::splat(x), S::load(table.add(j * stride + c)));
                            let force = S::mul(S::load(share.add(c)), S::mul(diff, inverse));
                            pull = S::add(pull, force);
                            if head.deterministic {
                                let mean = table.add((2 * d + j) * stride + c);
                                S::store(mean, S::add(S::load(mean), force));
                            }
                        }
                        // Gradient with respect to x_t; it waits in delta for what is left.
                        let gx = block.row(g, row)[j] + noise * (away * reference - S::sum(pull));
                        block.row_mut(delta, row)[j] = gx;
                    }
                    let loss = block.row(v, row)[0] + noise * (log_p - log_w);
                    let mut weight = T::one();
                    if let Some(weighted) = weighted {
                        block.row_mut(weighted.loss, row)[0] = loss;
                        weight = block.row(weighted.log, row)[0].exp_lane();
                    }
                    sums.generator += (weight * loss).wide();
                }
            }

            for k in 0..components {
                let weight = weighted.map_or(one, |weighted| block.row(weighted.log, first + k)[0].exp_lane());
                let scale = T::of(scale) * weight;
                if head.deterministic {
                    for j in 0..d {
                        let mean = block.row(tables, 2 * d + j)[k];
                        let gx = block.row(delta, first + k)[j];
                        let time = block.row(group.by_axis, TIME)[j];
                        block.row_mut(delta, first + k)[j] = scale * time * (gx + noise * mean);
                    }
                } else {
                    // SAFETY: as above.
                    unsafe { group.gradient(block, first, k, scale, xt, delta) };
                }
            }
        }
    }
}

/// Tables of the components of one source sample at its time.
pub(super) struct Group<S: Simd> {
    axes: AxisVectors<S>,
    d: usize,
    components: usize,
    deterministic: bool,
    /// Whether means lie along axes of the components' own, away from x0.
    turned: bool,
    x0: Mat,
    raw: Mat,
    /// By components (rows): means at time t, inverse variances, and t^2 s^2 where log s is inside its range.
    /// [`Self::gradient`] replaces the last by the gradient by the deviations.
    pub means: Mat,
    pub inverses: Mat,
    pub moved: Mat,
    /// Numbers of each axis; which is in which row is said by the constants.
    pub by_axis: Mat,
    /// Means and inverse variances by coordinates (rows), and for a deterministic generator the gradient to the mean.
    tables: Mat,
    /// For each component, the sum of its log variances over the reference's, less twice the log of its weight; and a
    /// scratch line.
    pub lines: Mat,
}

/// Rows of [`Group::by_axis`]: one over the variance sigma^2 t of the reference, t, the bridge's sigma^2 t (1 - t), and
/// the variances of one component, each over that of the reference.
pub(super) const INVERSE_REFERENCE: usize = 0;
pub(super) const TIME: usize = 1;
const BROWN: usize = 2;
const RATIO: usize = 3;

/// Returns rows and columns of a group's matrices, in the order of its fields, for vectors of `lanes` numbers.
pub(super) fn tables(d: usize, components: usize, deterministic: bool, lanes: usize) -> [(usize, usize); 6] {
    let padded = components.next_multiple_of(lanes);
    let by_component = (components, d);
    [by_component, by_component, by_component, (4, d), (if deterministic { 3 * d } else { 2 * d }, padded), (2, padded)]
}

impl<T: Real, S: Simd<T = T>> Group<S> {
    /// # Safety
    /// As for [`Kernel::run`].
    #[inline(always)]
    pub unsafe fn new(block: &mut CpuBlock<T>, loss: &MixtureLoss<'_, CpuNoise, Vec<T>>) -> Self {
        let MixtureLoss { head, axes, bridge, components, .. } = *loss;
        let d = bridge.x0.cols;
        let [means, inverses, moved, by_axis, tables, lines] =
            tables(d, components, head.deterministic, S::LANES).map(|(rows, cols)| block.allocate(rows, cols));
        let group = Self {
            axes: AxisVectors::new(head, axes, d),
            d,
            components,
            deterministic: head.deterministic,
            turned: axes.turned,
            x0: bridge.x0,
            raw: bridge.raw,
            means,
            inverses,
            moved,
            by_axis,
            tables,
            lines,
        };
        block.fill(group.tables, 0.0);
        block.row_mut(group.lines, 0).fill(T::of(NOBODY));
        group
    }

    /// Returns the start of a row at number `from`. Whole vectors up to the d-th number may be accessed.
    #[inline(always)]
    fn row(&self, block: &mut CpuBlock<T>, mat: Mat, row: usize, from: usize) -> *mut T {
        assert!(row < mat.rows);
        let (start, stride) = block.rows_of(mat, from + self.d.next_multiple_of(S::LANES));
        start.wrapping_add(row * stride)
    }

    /// Fills the tables from the components in the rows from `first` on.
    ///
    /// # Safety
    /// As for [`Kernel::run`].
    #[inline(always)]
    pub unsafe fn tabulate(&self, block: &mut CpuBlock<T>, first: usize, tick: Tick<T>, weighted: Option<Weighted>) {
        let [reference, time, brown, ratio] =
            [INVERSE_REFERENCE, TIME, BROWN, RATIO].map(|row| self.row(block, self.by_axis, row, 0));
        // SAFETY: the rows were asked for at this reach.
        unsafe {
            for j in (0..self.d).step_by(S::LANES) {
                let sigma = self.axes.part(Part::Sigma, j);
                let [t, rest] = times::<S>(tick, self.axes.part(Part::Rate, j));
                let variance = S::mul(S::mul(sigma, sigma), t);
                S::store(reference.add(j), S::div(S::splat(T::one()), variance));
                S::store(time.add(j), t);
                S::store(brown.add(j), S::mul(variance, rest));
            }
        }
        for k in 0..self.components {
            let raw = self.row(block, self.raw, first + k, if self.deterministic { 0 } else { self.d });
            let x0 = self.row(block, self.x0, first + k, 0);
            let to = [self.means, self.inverses, self.moved].map(|mat| self.row(block, mat, k, 0));
            // SAFETY: the rows were asked for at this reach.
            unsafe {
                for j in (0..self.d).step_by(S::LANES) {
                    let (spread, time) = (self.axes.spread(raw, j), S::load(time.add(j)));
                    let reach = S::mul(time, spread.std);
                    let own = S::mul(reach, reach);
                    let variance = S::add(own, S::load(brown.add(j)));
                    let from = if self.turned { S::splat(T::zero()) } else { S::load(x0.add(j)) };
                    S::store(to[0].add(j), S::fma(time, S::load(raw.add(j)), from));
                    S::store(to[1].add(j), S::div(S::splat(T::one()), variance));
                    S::store(to[2].add(j), spread.inside(own));
                    S::store(ratio.add(j), S::mul(variance, S::load(reference.add(j))));
                }
            }
            // Components with axes of their own are not read a component in each lane.
            let tabled = if self.turned { 0 } else { self.d };
            for j in 0..tabled {
                let (mean, inverse) = (block.row(self.means, k)[j], block.row(self.inverses, k)[j]);
                block.row_mut(self.tables, j)[k] = mean;
                block.row_mut(self.tables, self.d + j)[k] = inverse;
                if self.deterministic {
                    block.row_mut(self.tables, 2 * self.d + j)[k] = T::zero();
                }
            }
            let log_weight = weighted.map_or(T::zero(), |weighted| block.row(weighted.log, first + k)[0]);
            let log_variance = T::of(log_of_product(block.row(self.by_axis, RATIO)));
            block.row_mut(self.lines, 0)[k] = log_variance - T::of(2.0) * log_weight;
        }
    }

    /// Replaces the gradient by x_t, in the row of component `k` of `delta`, by `scale` times the gradient by its raw
    /// outputs.
    ///
    /// # Safety
    /// As for [`Kernel::run`].
    #[inline(always)]
    unsafe fn gradient(&self, block: &mut CpuBlock<T>, first: usize, k: usize, scale: T, xt: Mat, delta: Mat) {
        let time = self.row(block, self.by_axis, TIME, 0);
        let (xt, delta) = (self.row(block, xt, first + k, 0), self.row(block, delta, first + k, self.d));
        let [mean, inverse, moved] = [self.means, self.inverses, self.moved].map(|mat| self.row(block, mat, k, 0));
        // SAFETY: the rows were asked for at this reach. What a vector of the gradient to the means writes beyond d,
        // the gradient to the deviations overwrites, so that one waits.
        unsafe {
            for j in (0..self.d).step_by(S::LANES) {
                let gx = S::mul(S::splat(scale), S::load(delta.add(j)));
                // d x_t / d log s, for x_t as its mean and a multiple of its deviation.
                let away = S::sub(S::load(xt.add(j)), S::load(mean.add(j)));
                let widen = S::mul(S::load(moved.add(j)), S::mul(away, S::load(inverse.add(j))));
                S::store(moved.add(j), S::mul(gx, widen));
                S::store(delta.add(j), S::mul(S::load(time.add(j)), gx));
            }
            for j in (0..self.d).step_by(S::LANES) {
                S::store(delta.add(self.d + j), S::load(moved.add(j)));
            }
        }
    }
}

/// Returns the log of the product of positive numbers. A logarithm costs more than many products, and 64 bits hold the
/// product of any eight 32-bit numbers.
#[inline(always)]
fn log_of_product<T: Real>(factors: &[T]) -> f64 {
    factors.chunks(8).map(|part| part.iter().map(|x| x.wide()).product::<f64>().ln()).sum()
}
