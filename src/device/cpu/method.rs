//! Endpoint, bridge, dual and action terms on a block of rows. The first two run along the d columns by whole vectors.
//! The others take a few numbers a row, in plain loops.

use super::block::{CpuBlock, CpuNoise};
use super::simd::{Kernel, Real, Simd};
use crate::device::{ActionTerm, Bridge, DualTerm, Mat, MixtureLoss, Points, Sums};
use crate::formulas::axes::{self, Part};
use crate::formulas::head::{LOG_STD_RANGE, LOG_STD_ROOM};
use crate::formulas::{Axes, Conjugate, Head, Scalar, Tick};
use std::ptr;

/// The constants of the axes, which kernels read a vector at a time.
#[derive(Clone, Copy)]
pub(super) struct AxisVectors<S: Simd> {
    numbers: *const S::T,
    stride: usize,
    d: usize,
    deterministic: bool,
}

/// The standard deviations of a component along some axes, and their logarithms with the ends of the range in which
/// these are held.
#[derive(Clone, Copy)]
pub(super) struct Spread<S: Simd> {
    pub std: S::V,
    log: S::V,
    low: S::V,
    high: S::V,
}

impl<S: Simd> AxisVectors<S> {
    pub fn new(head: &Head, axes: &Axes<Vec<S::T>>, d: usize) -> Self {
        // A vector has no more numbers than a stride is a multiple of.
        assert!(S::LANES <= 16 && axes.numbers.len() >= axes::numbers(d));
        Self { numbers: axes.numbers.as_ptr(), stride: axes::stride(d), d, deterministic: head.deterministic }
    }

    /// Returns a constant of axes j, j + 1, ..
    ///
    /// # Safety
    /// As for [`Simd`]; j < d is a multiple of the lanes, and the axes that this was made from live.
    #[inline(always)]
    pub unsafe fn part(&self, part: Part, j: usize) -> S::V {
        // SAFETY: the caller's; j is a multiple of the vector's length, so the vector ends within the stride.
        unsafe { S::load(self.numbers.add(part as usize * self.stride + j)) }
    }

    /// Returns a component's standard deviations along axes j, j + 1, .. `raw` is a row of the generator's outputs.
    ///
    /// # Safety
    /// As for [`Self::part`]; a vector may be read at d + j of the row.
    #[inline(always)]
    pub unsafe fn spread(&self, raw: *const S::T, j: usize) -> Spread<S> {
        // SAFETY: the caller's.
        unsafe {
            if self.deterministic {
                let zero = S::splat(S::T::of(0.0));
                return Spread { std: zero, log: zero, low: zero, high: zero };
            }
            let offset = self.part(Part::LogStd, j);
            let log = S::add(S::load(raw.add(self.d + j)), offset);
            let of = |x: f64| S::splat(S::T::of(x));
            let ([low, high], [below, above]) = (LOG_STD_RANGE.map(of), LOG_STD_ROOM.map(of));
            let (low, high) = (S::min(low, S::sub(offset, below)), S::max(high, S::add(offset, above)));
            // The second operand is what a NaN gives: it must come through.
            Spread { std: S::exp(S::min(high, S::max(low, log))), log, low, high }
        }
    }
}

impl<S: Simd> Spread<S> {
    /// Returns `then` in lanes whose logarithm is inside the range, and 0 in others.
    ///
    /// # Safety
    /// As for [`Simd`].
    #[inline(always)]
    pub unsafe fn inside(&self, then: S::V) -> S::V {
        // SAFETY: the caller's.
        unsafe { S::within(self.log, self.low, self.high, then) }
    }
}

/// The times of some axes at a tick of the clock: t and 1 - t.
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
pub(super) unsafe fn times<S: Simd>(tick: Tick<S::T>, rate: S::V) -> [S::V; 2] {
    // SAFETY: the caller's.
    unsafe {
        let against = S::splat(tick.against);
        let all = S::add(rate, against);
        [S::div(rate, all), S::div(against, all)]
    }
}

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
        let (rows, d) = (bridge.x0.rows, bridge.x0.cols);
        let timed = points.state.is_some() || points.drift.is_some();
        let whole = d.next_multiple_of(S::LANES);
        let numbers = head.raw(d);
        let mut reach = |mat: Mat, cols: usize, reach: usize| {
            assert!(mat.rows == rows && mat.cols == cols);
            block.rows_of(mat, reach)
        };
        let (x0, xi) = (reach(bridge.x0, d, whole), reach(bridge.noise.xi, d, whole));
        let eta = if timed { reach(bridge.noise.eta, d, whole) } else { xi };
        let raw = reach(bridge.raw, numbers, numbers - d + whole);
        let mut written = |mat: Option<Mat>, cols: usize| {
            mat.map_or((ptr::null_mut(), 0), |mat| {
                assert!(!mat.view);
                reach(mat, cols, whole.max(cols))
            })
        };
        let (end, state, drift) = (written(points.end, d + 1), written(points.state, d + 1), written(points.drift, d));
        // SAFETY: each matrix has these rows, and each row the numbers that are accessed here. Those beyond its columns
        // are some number that nobody reads, so they may be read and written.
        unsafe {
            let axes = AxisVectors::<S>::new(head, axes, d);
            for r in 0..rows {
                let tick = if timed { Tick::of(block.row(bridge.time, r)) } else { Tick::of(&[T::one(); 3]) };
                let row = |(start, stride): (*mut T, usize)| start.wrapping_add(r * stride);
                let (x0, raw, xi, eta) = (row(x0), row(raw), row(xi), row(eta));
                for j in (0..d).step_by(S::LANES) {
                    let s = axes.spread(raw, j).std;
                    let (from, mean) = (S::load(x0.add(j)), S::load(raw.add(j)));
                    let reach = S::mul(s, S::load(xi.add(j)));
                    let x1 = S::add(S::add(from, mean), reach);
                    if !end.0.is_null() {
                        S::store(row(end).add(j), x1);
                    }
                    if timed {
                        let sigma = axes.part(Part::Sigma, j);
                        let [time, rest] = times::<S>(tick, axes.part(Part::Rate, j));
                        let brown = S::mul(S::mul(sigma, S::sqrt(S::mul(time, rest))), S::load(eta.add(j)));
                        if !drift.0.is_null() {
                            let (own, free) = (S::mul(s, s), S::mul(sigma, sigma));
                            let variance = S::fma(time, own, S::mul(rest, free));
                            let pull = S::div(S::sub(own, free), variance);
                            S::store(row(drift).add(j), S::fma(pull, S::fma(time, reach, brown), mean));
                        }
                        if !state.0.is_null() {
                            S::store(row(state).add(j), S::fma(rest, from, S::fma(time, x1, brown)));
                        }
                    }
                }
                if !end.0.is_null() {
                    *row(end).add(d) = T::one();
                }
                if !state.0.is_null() {
                    *row(state).add(d) = tick.time;
                }
            }
        }
    }
}

/// Returns |a - b|^2. Squares are added in lanes, which compilers make vectors of.
fn squared_distance<T: Real>(a: &[T], b: &[T]) -> f64 {
    const LANES: usize = 8;
    let square = |a: &T, b: &T| (*a - *b).wide() * (*a - *b).wide();
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f64 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| square(a, b)).sum();
    let mut lanes = [0.0; LANES];
    for (a, b) in a.zip(b) {
        for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += square(a, b);
        }
    }
    rest + lanes.iter().sum::<f64>()
}

impl<T: Real> CpuBlock<T> {
    pub(super) fn method_bridge(
        &mut self,
        head: &Head,
        axes: &Axes<Vec<T>>,
        bridge: &Bridge<CpuNoise>,
        points: &Points,
    ) {
        let isa = self.isa;
        let kernel = BridgeKernel { block: self, head, axes, bridge, points };
        // SAFETY: the kernel checks the matrices' extents.
        unsafe { T::dispatch(isa, kernel) }
    }

    pub(super) fn method_dual(&mut self, term: &DualTerm<'_, Vec<T>>, sums: &mut Sums) {
        let DualTerm { conjugate, tau_at, axes, ends, v, delta, scale, .. } = *term;
        let conjugate = Conjugate { tau: conjugate.tau * tau_at.factor(), ..*conjugate };
        let half = v.rows / 2;
        for r in 0..half {
            let known = axes.known(self.row(ends, r));
            sums.generated += self.row(v, r)[0].wide() + known;
            sums.action += known;
            self.row_mut(delta, r)[0] = T::of(-scale);
            let known = axes.known(self.row(ends, half + r));
            let there = self.row(v, half + r)[0].wide() + known;
            let (value, slope) = conjugate.evaluate(there);
            sums.target += there;
            sums.conjugate += value;
            sums.density_ratio += slope;
            sums.ratio_squares += slope * slope;
            self.row_mut(delta, half + r)[0] = T::of(scale * slope);
        }
        for (sum, from) in sums.distances.iter_mut().zip([0, half]) {
            for (r, other) in (0..half).filter_map(|r| Some((r, term.pair(r)?))) {
                *sum += squared_distance(self.row(ends, from + r), self.row(ends, from + other));
            }
        }
        if term.is_held() {
            self.pair_held(term, sums);
        }
    }

    /// Adds the distances between the rows of this block's only source sample and those of the one before, or keeps the
    /// rows for the next block. Blocks of one source sample come in their order.
    fn pair_held(&mut self, term: &DualTerm<'_, Vec<T>>, sums: &mut Sums) {
        let DualTerm { ends, components, first_source, .. } = *term;
        let mut held = std::mem::take(&mut self.held.ends);
        if first_source.is_multiple_of(2) {
            held.clear();
            (0..ends.rows).for_each(|r| held.extend_from_slice(self.row(ends, r)));
            self.held.source = first_source;
        } else if self.held.source + 1 == first_source && held.len() == ends.rows * ends.cols {
            for (r, before) in held.chunks_exact(ends.cols).enumerate() {
                sums.distances[r / components] += squared_distance(before, self.row(ends, r));
            }
        }
        self.held.ends = held;
    }

    pub(super) fn method_atoms(&mut self, loss: &MixtureLoss<'_, CpuNoise, Vec<T>>, sums: &mut Sums) {
        let MixtureLoss { head, axes, bridge, v, g, components, delta, scale, .. } = *loss;
        assert!(head.deterministic && components == 1 && delta.cols == bridge.raw.cols);
        let (scale, noise, half) = (T::of(scale), T::of(axes.noise), T::of(0.5));
        let (sigma, rate) = (axes.part(Part::Sigma), axes.part(Part::Rate));
        for r in 0..delta.rows {
            let tick = Tick::of(self.row(bridge.time, r));
            let mut cost = T::zero();
            for j in 0..delta.cols {
                let (g, m) = (self.row(g, r)[j], self.row(bridge.raw, r)[j]);
                let [time, ..] = tick.along(rate[j]);
                let pull = noise / (sigma[j] * sigma[j]) * m;
                cost = cost + half * time * pull * m;
                self.row_mut(delta, r)[j] = scale * time * (g + pull);
            }
            sums.generator += self.row(v, r)[0].wide() + cost.wide();
        }
    }

    pub(super) fn method_action(&mut self, term: &ActionTerm<'_, Vec<T>>, sums: &mut Sums) {
        let ActionTerm { axes, time, g, b, w, scale, counts, .. } = *term;
        let (half, scale, noise) = (T::of(0.5), T::of(scale), T::of(axes.noise));
        let (sigma, rate) = (axes.part(Part::Sigma), axes.part(Part::Rate));
        for r in 0..b.rows {
            let tick = Tick::of(self.row(time, r));
            let mut row = T::zero();
            for j in 0..b.cols {
                let (g, b) = (self.row(g, r)[j], self.row(b, r)[j]);
                let [.., speed] = tick.along(rate[j]);
                let share = sigma[j] * sigma[j] / noise * g;
                row = row + speed * g * (half * share + b);
                self.row_mut(w, r)[j] = scale * speed * (share + b);
            }
            self.row_mut(w, r)[b.cols] = T::zero();
            if counts {
                sums.action += row.wide();
            }
        }
    }
}
