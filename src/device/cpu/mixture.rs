//! The generator's loss: log-density of x_t under the mixture of the K Gaussian bridge marginals of its x0, with its
//! gradient. K x K pairs of d components for each x0, streamed like the rows of an attention: components lie along
//! the vectors, and nothing of size K x K x d is kept.
//!
//! Which of its two unbiased forms the gradient takes is said in `euot::generator_step`.

use super::block::{CpuBlock, CpuNoise};
use super::method::Spread;
use super::simd::{Kernel, Real, Simd};
use crate::device::{Bridge, Head, Mat, Sums, extrapolation, half_of};
use crate::euot::conditional::Weighted;

pub(super) struct Mixture<'a, T> {
    pub block: &'a mut CpuBlock<T>,
    pub head: &'a Head,
    pub bridge: &'a Bridge<CpuNoise>,
    pub xt: Mat,
    pub v: Mat,
    pub g: Mat,
    pub components: usize,
    pub weighted: Option<Weighted>,
    pub delta: Mat,
    pub scale: f64,
    pub sums: &'a mut Sums,
}

/// A component that no sample belongs to: its log-density is far below every other's.
const NOBODY: f64 = 1e30;

impl<T: Real> Kernel<T> for Mixture<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd<T = T>>(self) {
        let Self { block, head, bridge, xt, v, g, components, weighted, delta, scale, sums } = self;
        let d = bridge.x0.cols;
        assert!(bridge.x0.rows.is_multiple_of(components));
        assert!(weighted.is_none() || !head.deterministic);
        let padded = components.next_multiple_of(S::LANES);
        // Component tables, one row a coordinate: mean, inverse variance, and for a deterministic generator the gradient
        // to the mean.
        let tables = block.allocate(if head.deterministic { 3 * d } else { 2 * d }, padded);
        let lines = block.allocate(2, padded);
        let spread = Spread::<T>::new(head);
        let sigma = T::of(head.sigma);
        let sigma2 = sigma * sigma;
        let (one, half) = (T::one(), T::of(0.5));
        let half_components = half_of(head, weighted.is_some(), components);

        for group in 0..bridge.x0.rows / components {
            let first = group * components;
            let t = block.row(bridge.time, first)[0];
            let brown = sigma2 * t * (one - t);
            let reference = sigma2 * t;

            for k in 0..padded {
                let mut log_variance = T::zero();
                for j in 0..d {
                    let (mut mean, mut inverse) = (T::zero(), T::zero());
                    if k < components {
                        let raw = block.row(bridge.raw, first + k);
                        let x0 = block.row(bridge.x0, first + k)[j];
                        let ts = t * spread.std(raw, d, j).0;
                        let variance = ts * ts + brown;
                        mean = x0 + t * raw[j];
                        inverse = one / variance;
                        log_variance = log_variance + (variance / reference).ln();
                    }
                    block.row_mut(tables, j)[k] = mean;
                    block.row_mut(tables, d + j)[k] = inverse;
                    if head.deterministic {
                        block.row_mut(tables, 2 * d + j)[k] = T::zero();
                    }
                }
                let log_weight = match weighted {
                    Some(weighted) if k < components => block.row(weighted.log, first + k)[0],
                    _ => T::zero(),
                };
                block.row_mut(lines, 0)[k] =
                    if k < components { log_variance - T::of(2.0) * log_weight } else { T::of(NOBODY) };
            }

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
                        log_w = log_w - half * away * away / reference;
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
                        let gx = block.row(g, row)[j] - sigma2 * S::sum(pull) + away / t;
                        block.row_mut(delta, row)[j] = gx;
                    }
                    let loss = block.row(v, row)[0] + sigma2 * (log_p - log_w);
                    let mut weight = T::one();
                    if let Some(weighted) = weighted {
                        block.row_mut(weighted.loss, row)[0] = loss;
                        weight = block.row(weighted.log, row)[0].exp_lane();
                    }
                    sums.generator += (weight * loss).wide();
                }
            }

            for k in 0..components {
                let row = first + k;
                let weight = weighted.map_or(one, |weighted| block.row(weighted.log, row)[0].exp_lane());
                let scale = T::of(scale) * weight;
                for j in 0..d {
                    let gx = block.row(delta, row)[j];
                    if head.deterministic {
                        let mean = block.row(tables, 2 * d + j)[k];
                        block.row_mut(delta, row)[j] = scale * t * (gx + sigma2 * mean);
                        continue;
                    }
                    block.row_mut(delta, row)[j] = scale * t * gx;
                    let away = block.row(xt, row)[j] - block.row(tables, j)[k];
                    let (s, inside) = spread.std(block.row(bridge.raw, row), d, j);
                    // d x_t / d log s, for x_t as its mean and a multiple of its deviation.
                    let widen = t * t * s * s * (away * block.row(tables, d + j)[k]);
                    block.row_mut(delta, row)[d + j] = if inside { scale * gx * widen } else { T::zero() };
                }
            }
        }
    }
}
