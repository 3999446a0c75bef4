//! Group norm ([`Maps::group_norm`](crate::device::Maps::group_norm)) and its reverse rule, which measures the groups
//! again.

use super::block::CpuBlock;
use super::crew::{Shared, in_parts};
use super::simd::{Kernel, Real, Simd};
use crate::device::{Groups, Mat, NORM_EPSILON};
use std::ops::Range;
use std::slice;

/// Channels whose sums are taken side by side.
const LANES: usize = 16;

/// Some groups of each row.
struct GroupNorm<T> {
    groups: Groups,
    part: Range<usize>,
    rows: usize,
    x: (Shared<T>, usize),
    /// The gradient by what the norm gives, in the reverse pass.
    delta: Option<(Shared<T>, usize)>,
    to: (Shared<T>, usize),
    add: bool,
}

/// Returns the sum of `term` over some channels of all pixels of two pictures.
#[inline(always)]
fn sum<T: Real>(x: &[T], q: &[T], all: usize, channels: Range<usize>, term: impl Fn(T, T) -> T) -> T {
    let mut total = T::zero();
    for first in channels.clone().step_by(LANES) {
        let mut sums = [T::zero(); LANES];
        let some = first..channels.end.min(first + LANES);
        for (x, q) in x.chunks_exact(all).zip(q.chunks_exact(all)) {
            let pixel = x[some.clone()].iter().zip(&q[some.clone()]);
            sums.iter_mut().zip(pixel).for_each(|(sum, (&x, &q))| *sum = *sum + term(x, q));
        }
        total = sums.iter().fold(total, |total, &sum| total + sum);
    }
    total
}

impl<T: Real> Kernel<T> for GroupNorm<T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd<T = T>>(self) {
        let Self { groups, part, rows, x, delta, to, add } = self;
        let (all, numbers) = (groups.shape.channels, groups.shape.numbers());
        let each = T::one() / T::of((numbers / groups.count) as f64);
        let epsilon = T::of(NORM_EPSILON);
        for r in 0..rows {
            // SAFETY: the matrices have these rows, and `to` overlaps none of the others.
            let row = |(start, stride): (Shared<T>, usize)| unsafe {
                slice::from_raw_parts(start.get().add(r * stride), numbers)
            };
            let x = row(x);
            let q = delta.map_or(x, row);
            for channels in part.clone().map(|group| groups.channels(group)) {
                let mean = each * sum(x, x, all, channels.clone(), |x, _| x);
                let square = each * sum(x, x, all, channels.clone(), |x, _| (x - mean) * (x - mean));
                let scale = T::one() / (square + epsilon).sqrt();
                let unit = |x: T| scale * (x - mean);
                let (shift, along) = match delta {
                    Some(_) => (
                        each * sum(x, q, all, channels.clone(), |_, q| q),
                        each * sum(x, q, all, channels.clone(), |x, q| q * unit(x)),
                    ),
                    None => (T::zero(), T::zero()),
                };
                for first in (channels.start..numbers).step_by(all) {
                    let pixel = first..first + channels.len();
                    // SAFETY: as above. No other part has these channels.
                    let to = unsafe { slice::from_raw_parts_mut(to.0.get().add(r * to.1 + first), channels.len()) };
                    let taken = to.iter_mut().zip(&x[pixel.clone()]).zip(&q[pixel]);
                    if delta.is_none() {
                        taken.for_each(|((to, &x), _)| *to = unit(x));
                    } else if add {
                        taken.for_each(|((to, &x), &q)| *to = *to + scale * (q - shift - along * unit(x)));
                    } else {
                        taken.for_each(|((to, &x), &q)| *to = scale * (q - shift - along * unit(x)));
                    }
                }
            }
        }
    }
}

impl<T: Real> CpuBlock<T> {
    /// The norm, or with `delta` its reverse rule.
    pub(super) fn norm_of_groups(&mut self, groups: &Groups, x: Mat, delta: Option<Mat>, to: Mat, add: bool) {
        for mat in [x, delta.unwrap_or(x), to] {
            assert!(mat.cols == groups.shape.numbers() && mat.rows == to.rows);
        }
        assert!(to.apart(&x) && delta.is_none_or(|delta| to.apart(&delta)) && (delta.is_some() || !add));
        let (isa, rows, groups) = (self.isa, to.rows, *groups);
        let mut at = |mat: Mat| (Shared(self.ptr(mat)), mat.stride);
        let (x, delta, to) = (at(x), delta.map(&mut at), at(to));
        let numbers = rows * groups.shape.numbers() / groups.count;
        in_parts(self.crew.as_deref(), groups.count, 1, numbers, |part| {
            // SAFETY: the matrices' extents were checked.
            unsafe { T::dispatch(isa, GroupNorm { groups, part, rows, x, delta, to, add }) }
        });
    }
}
