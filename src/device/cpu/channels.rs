//! A scale and a shift for each channel of a picture, which come from an embedding; and the features of the time that an
//! embedding is made of.

use super::block::CpuBlock;
use super::crew::{Shared, in_parts};
use super::simd::{Kernel, Real, Simd};
use crate::device::Mat;
use crate::device::layout::Shape;
use std::ops::Range;
use std::slice;

/// Some pixels of each row.
struct Modulate<T> {
    channels: usize,
    pixels: Range<usize>,
    rows: usize,
    x: (Shared<T>, usize),
    e: (Shared<T>, usize),
    shift: bool,
    to: (Shared<T>, usize),
    add: bool,
}

impl<T: Real> Kernel<T> for Modulate<T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd<T = T>>(self) {
        let Self { channels: c, pixels, rows, x, e, shift, to, add } = self;
        for r in 0..rows {
            // SAFETY: the matrices have these rows, and `to` overlaps none of the others. No other part has these pixels.
            let (x, e, to) = unsafe {
                let at = |(start, stride): (Shared<T>, usize), from: usize| start.get().add(r * stride + from);
                let (first, numbers) = (pixels.start * c, pixels.len() * c);
                (
                    slice::from_raw_parts(at(x, first), numbers),
                    slice::from_raw_parts(at(e, 0), 2 * c),
                    slice::from_raw_parts_mut(at(to, first), numbers),
                )
            };
            let (scale, offset) = e.split_at(c);
            for (x, to) in x.chunks_exact(c).zip(to.chunks_exact_mut(c)) {
                let pixel = to.iter_mut().zip(x).zip(scale);
                if shift {
                    pixel.zip(offset).for_each(|(((to, &x), &s), &h)| *to = x + s * x + h);
                } else if add {
                    pixel.for_each(|((to, &x), &s)| *to = *to + (x + s * x));
                } else {
                    pixel.for_each(|((to, &x), &s)| *to = x + s * x);
                }
            }
        }
    }
}

struct ModulateGradient<'a, T> {
    block: &'a mut CpuBlock<T>,
    shape: Shape,
    pairs: &'a [(Mat, Mat)],
    shift: Option<Mat>,
    to: Mat,
    add: bool,
}

impl<T: Real> Kernel<T> for ModulateGradient<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd<T = T>>(self) {
        let Self { block, shape, pairs, shift, to, add } = self;
        let c = shape.channels;
        assert!(to.cols == 2 * c);
        let row = |block: &mut CpuBlock<T>, mat: Mat, r: usize| {
            assert!(mat.cols == shape.numbers() && mat.rows == to.rows && to.apart(&mat));
            // SAFETY: the matrix has this row, and `to` is another.
            unsafe { slice::from_raw_parts(block.ptr(mat).add(r * mat.stride).cast_const(), mat.cols) }
        };
        let to_at = block.ptr(to);
        for r in 0..to.rows {
            // SAFETY: as above.
            let line = unsafe { slice::from_raw_parts_mut(to_at.add(r * to.stride), to.cols) };
            if !add {
                line.fill(T::zero());
            }
            let (scale, offset) = line.split_at_mut(c);
            for &(x, q) in pairs {
                let (x, q) = (row(block, x, r), row(block, q, r));
                for (x, q) in x.chunks_exact(c).zip(q.chunks_exact(c)) {
                    scale.iter_mut().zip(x).zip(q).for_each(|((sum, &x), &q)| *sum = *sum + x * q);
                }
            }
            if let Some(q) = shift {
                for q in row(block, q, r).chunks_exact(c) {
                    offset.iter_mut().zip(q).for_each(|(sum, &q)| *sum = *sum + q);
                }
            }
        }
    }
}

impl<T: Real> CpuBlock<T> {
    pub(super) fn channels_modulate(&mut self, shape: Shape, x: Mat, e: Mat, shift: bool, to: Mat, add: bool) {
        let channels = shape.channels;
        assert!(x.cols == shape.numbers() && to.cols == x.cols && e.cols == 2 * channels);
        assert!(x.rows == to.rows && e.rows == to.rows && to.apart(&x) && to.apart(&e));
        let (isa, rows, count) = (self.isa, to.rows, shape.height * shape.width);
        let [x, e, to] = [x, e, to].map(|mat| (Shared(self.ptr(mat)), mat.stride));
        in_parts(self.crew.as_deref(), count, 1, rows * channels, |pixels| {
            // SAFETY: the matrices' extents were checked.
            unsafe { T::dispatch(isa, Modulate { channels, pixels, rows, x, e, shift, to, add }) }
        });
    }

    pub(super) fn channels_gradient(
        &mut self,
        shape: Shape,
        pairs: &[(Mat, Mat)],
        shift: Option<Mat>,
        to: Mat,
        add: bool,
    ) {
        let isa = self.isa;
        // SAFETY: the kernel checks the matrices' extents.
        unsafe { T::dispatch(isa, ModulateGradient { block: self, shape, pairs, shift, to, add }) }
    }

    pub(super) fn time_waves(&mut self, t: Mat, to: Mat) {
        assert!(t.cols == 1 && to.cols == 3 && t.rows == to.rows && to.apart(&t));
        for r in 0..t.rows {
            let t = self.row(t, r)[0];
            let quarter = t * T::of(std::f64::consts::FRAC_PI_2);
            let waves = [t + t - T::one(), quarter.sin(), quarter.cos()];
            self.row_mut(to, r).copy_from_slice(&waves);
        }
    }
}
