//! The products of self-attention ([`Maps::attention`](crate::device::Maps::attention)), and the softmax of its lines.

use super::block::CpuBlock;
use super::crew::{Shared, in_parts};
use super::simd::{Kernel, Real, Simd};
use crate::device::{Attention, AttentionProduct, Mat};
use std::ops::Range;
use std::slice;

/// Numbers of a sum that are added side by side.
const LANES: usize = 16;

/// Some lines of a product, for all rows and heads: a line belongs to a pixel.
struct Product<T> {
    of: Attention,
    product: AttentionProduct,
    rows: usize,
    pixels: Range<usize>,
    a: (Shared<T>, usize),
    b: (Shared<T>, usize),
    factor: T,
    to: (Shared<T>, usize),
    add: bool,
}

#[inline(always)]
fn dot<T: Real>(x: &[T], y: &[T]) -> T {
    let mut sums = [T::zero(); LANES];
    for (x, y) in x.chunks(LANES).zip(y.chunks(LANES)) {
        sums.iter_mut().zip(x.iter().zip(y)).for_each(|(sum, (&x, &y))| *sum = *sum + x * y);
    }
    sums.iter().fold(T::zero(), |total, &sum| total + sum)
}

impl<T: Real> Kernel<T> for Product<T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd<T = T>>(self) {
        let Self { of, product, rows, pixels, a, b, factor, to, add } = self;
        let (count, all, width) = (of.positions(), of.shape.channels, of.width());
        let scores = product == AttentionProduct::Scores;
        let (a_numbers, line) = if scores { (of.shape.numbers(), count) } else { (of.weights(), width) };
        for (r, head) in (0..rows).flat_map(|r| (0..of.heads).map(move |head| (r, head))) {
            // SAFETY: the matrices have these rows, and `to` overlaps none of the others.
            let row = |(start, stride): (Shared<T>, usize), numbers: usize| unsafe {
                slice::from_raw_parts(start.get().add(r * stride), numbers)
            };
            let (a, b) = (row(a, a_numbers), row(b, of.shape.numbers()));
            // The channels of a head in a pixel, and the line of a pixel among a head's weights.
            let channels = |pixel: usize| pixel * all + head * width..pixel * all + (head + 1) * width;
            let weights = |pixel: usize| (head * count + pixel) * count;
            for pixel in pixels.clone() {
                let first = if scores { weights(pixel) } else { channels(pixel).start };
                // SAFETY: as above. No other part has these lines.
                let to = unsafe { slice::from_raw_parts_mut(to.0.get().add(r * to.1 + first), line) };
                if !add {
                    to.fill(T::zero());
                }
                for other in 0..count {
                    let theirs = &b[channels(other)];
                    let weight = match product {
                        AttentionProduct::Scores => {
                            to[other] = to[other] + factor * dot(&a[channels(pixel)], theirs);
                            continue;
                        }
                        AttentionProduct::Mix => a[weights(pixel) + other],
                        AttentionProduct::MixTransposed => a[weights(other) + pixel],
                    };
                    let weight = factor * weight;
                    to.iter_mut().zip(theirs).for_each(|(to, &x)| *to = *to + weight * x);
                }
            }
        }
    }
}

/// The softmax of each line of so many numbers, or with `weights`, which it gave, its reverse rule.
struct Softmax<'a, T> {
    block: &'a mut CpuBlock<T>,
    length: usize,
    weights: Option<Mat>,
    to: Mat,
}

impl<T: Real> Kernel<T> for Softmax<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd<T = T>>(self) {
        let Self { block, length, weights, to } = self;
        assert!(to.cols.is_multiple_of(length));
        let to_at = block.ptr(to);
        for r in 0..to.rows {
            // SAFETY: the matrix has this row, and the weights are another.
            let row = unsafe { slice::from_raw_parts_mut(to_at.add(r * to.stride), to.cols) };
            let Some(weights) = weights else {
                row.chunks_exact_mut(length).for_each(softmax);
                continue;
            };
            let weights = block.row(weights, r);
            for (line, weights) in row.chunks_exact_mut(length).zip(weights.chunks_exact(length)) {
                let mean = dot(line, weights);
                line.iter_mut().zip(weights).for_each(|(to, &weight)| *to = weight * (*to - mean));
            }
        }
    }
}

#[inline(always)]
fn softmax<T: Real>(line: &mut [T]) {
    let top = line.iter().fold(line[0], |top, &x| if x > top { x } else { top });
    line.iter_mut().for_each(|x| *x = (*x - top).exp_lane());
    let scale = T::one() / line.iter().fold(T::zero(), |total, &x| total + x);
    line.iter_mut().for_each(|x| *x = *x * scale);
}

impl<T: Real> CpuBlock<T> {
    pub(super) fn attention_product(
        &mut self,
        of: &Attention,
        product: AttentionProduct,
        (a, b): (Mat, Mat),
        factor: f64,
        to: Mat,
        add: bool,
    ) {
        of.check(product, [a, b, to]);
        let (isa, rows, of, factor) = (self.isa, to.rows, *of, T::of(factor));
        let [a, b, to] = [a, b, to].map(|mat| (Shared(self.ptr(mat)), mat.stride));
        let numbers = rows * of.positions() * of.shape.channels;
        in_parts(self.crew.as_deref(), of.positions(), 1, numbers, |pixels| {
            // SAFETY: the matrices' extents were checked.
            unsafe { T::dispatch(isa, Product { of, product, rows, pixels, a, b, factor, to, add }) }
        });
    }

    pub(super) fn softmax_lines(&mut self, length: usize, weights: Option<Mat>, to: Mat) {
        assert!(weights.is_none_or(|mat| (mat.rows, mat.cols) == (to.rows, to.cols) && to.apart(&mat)));
        let isa = self.isa;
        // SAFETY: the matrices' extents were checked.
        unsafe { T::dispatch(isa, Softmax { block: self, length, weights, to }) }
    }
}
