//! Linear maps without weights ([`Fixed`]): each is a list of runs of numbers that go from one place to another.

use super::block::CpuBlock;
use super::simd::{Kernel, Real, Simd};
use crate::device::layout::Shape;
use crate::device::{Fixed, Mat};
use std::slice;

/// Calls `run` with (place in what the map gives, place in what it takes, length) for all runs of a map.
#[inline(always)]
fn runs(map: &Fixed, numbers: usize, mut run: impl FnMut(usize, usize, usize)) {
    /// Calls `each` with (pixel, the pixel of the picture of half the size that lies over it, which of its four).
    #[inline(always)]
    fn quarters(shape: &Shape, mut each: impl FnMut(usize, usize, usize)) {
        for y in 0..shape.height {
            for x in 0..shape.width {
                each(y * shape.width + x, y / 2 * (shape.width / 2) + x / 2, y % 2 * 2 + x % 2);
            }
        }
    }
    match *map {
        Fixed::Times(_) => run(0, 0, numbers),
        Fixed::Interleave(shape) => {
            let pixels = shape.height * shape.width;
            for p in 0..pixels {
                for c in 0..shape.channels {
                    run(p * shape.channels + c, c * pixels + p, 1);
                }
            }
        }
        Fixed::Pool(shape) => {
            let c = shape.channels;
            quarters(&shape, |fine, coarse, _| run(coarse * c, fine * c, c));
        }
        Fixed::Enlarge(shape) => {
            let (c, fine) = (shape.channels, Shape { height: 2 * shape.height, width: 2 * shape.width, ..shape });
            quarters(&fine, |fine, coarse, _| run(fine * c, coarse * c, c));
        }
        Fixed::Fold(shape) => {
            let c = shape.channels;
            quarters(&shape, |fine, coarse, quarter| run((4 * coarse + quarter) * c, fine * c, c));
        }
        Fixed::Pad { part, to: [height, width] } => {
            let (line, top, left) = (part.width * part.channels, (height - part.height) / 2, (width - part.width) / 2);
            for y in 0..part.height {
                run(((top + y) * width + left) * part.channels, y * line, line);
            }
        }
        Fixed::Sum(shape) => {
            for p in 0..shape.height * shape.width {
                run(0, p * shape.channels, shape.channels);
            }
        }
        Fixed::Join { part, first, of } => {
            for p in 0..part.height * part.width {
                run(p * of + first, p * part.channels, part.channels);
            }
        }
    }
}

/// Returns whether several runs go to the same place, or none.
fn gathers(map: &Fixed, reverse: bool) -> bool {
    match map {
        // The edges of a padded picture are in no run, so it is cleared as a whole.
        Fixed::Pool(_) | Fixed::Sum(_) | Fixed::Pad { .. } => !reverse,
        Fixed::Enlarge(_) => reverse,
        _ => false,
    }
}

struct FixedMap<'a, T> {
    block: &'a mut CpuBlock<T>,
    map: &'a Fixed,
    reverse: bool,
    x: Mat,
    to: Mat,
    add: bool,
}

impl<T: Real> Kernel<T> for FixedMap<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd<T = T>>(self) {
        let Self { block, map, reverse, x, to, add } = self;
        let (takes, gives) = if reverse { (to.cols, x.cols) } else { (x.cols, to.cols) };
        assert!(map.ends().map_or(takes == gives, |ends| ends == [takes, gives]), "{map:?}: {takes} to {gives}");
        assert!(x.rows == to.rows && to.apart(&x));
        let factor = T::of(match *map {
            Fixed::Times(factor) => factor,
            Fixed::Pool(_) => 0.25,
            _ => 1.0,
        });
        let clears = !add && gathers(map, reverse);
        let (from_at, to_at) = (block.ptr(x), block.ptr(to));
        for r in 0..to.rows {
            // SAFETY: both matrices have these rows, and do not overlap.
            let (from, to) = unsafe {
                (
                    slice::from_raw_parts(from_at.add(r * x.stride), x.cols),
                    slice::from_raw_parts_mut(to_at.add(r * to.stride), to.cols),
                )
            };
            if clears {
                to.fill(T::zero());
            }
            runs(map, takes, |given, taken, len| {
                let (to_at, from_at) = if reverse { (taken, given) } else { (given, taken) };
                let (to, from) = (&mut to[to_at..to_at + len], &from[from_at..from_at + len]);
                if add || clears {
                    to.iter_mut().zip(from).for_each(|(to, &from)| *to = *to + factor * from);
                } else {
                    to.iter_mut().zip(from).for_each(|(to, &from)| *to = factor * from);
                }
            });
        }
    }
}

impl<T: Real> CpuBlock<T> {
    pub(super) fn fixed_map(&mut self, map: &Fixed, reverse: bool, x: Mat, to: Mat, add: bool) {
        let isa = self.isa;
        // SAFETY: the kernel checks the matrices' extents.
        unsafe { T::dispatch(isa, FixedMap { block: self, map, reverse, x, to, add }) }
    }
}
