//! Linear maps without weights ([`Fixed`]): each is a list of runs of numbers that go from one place to another.

use super::block::CpuBlock;
use super::crew::{Shared, in_parts};
use super::simd::{Kernel, Real, Simd};
use crate::device::layout::Shape;
use crate::device::{Fixed, Mat};
use std::ops::Range;
use std::slice;

/// What is no list of runs.
const WEIGHTED: &str = "its runs have weights of their own";

/// Numbers of a line of a map that keeps the order of numbers.
const LINE: usize = 256;

/// Returns into how many lines the runs of a map fall, which takes so many numbers. Lines of a map that does not gather go
/// to places of their own, in both directions.
fn lines(map: &Fixed, numbers: usize) -> usize {
    match *map {
        Fixed::Times(_) => numbers.div_ceil(LINE),
        Fixed::Pool(shape) | Fixed::Fold(shape) | Fixed::Interleave(shape) | Fixed::Sum(shape) => shape.height,
        Fixed::Enlarge(shape) => 2 * shape.height,
        Fixed::Bilinear(_) => unreachable!("{WEIGHTED}"),
        Fixed::Pad { part, .. } | Fixed::Join { part, .. } => part.height,
    }
}

/// Calls `run` with (place in what the map gives, place in what it takes, length) for all runs of some lines of a map.
#[inline(always)]
fn runs(map: &Fixed, numbers: usize, lines: Range<usize>, mut run: impl FnMut(usize, usize, usize)) {
    /// Calls `each` with (pixel, the pixel of the picture of half the size that lies over it, which of its four).
    #[inline(always)]
    fn quarters(shape: &Shape, lines: Range<usize>, mut each: impl FnMut(usize, usize, usize)) {
        for y in lines {
            for x in 0..shape.width {
                each(y * shape.width + x, y / 2 * (shape.width / 2) + x / 2, y % 2 * 2 + x % 2);
            }
        }
    }
    match *map {
        Fixed::Times(_) => {
            let (from, to) = (lines.start * LINE, numbers.min(lines.end * LINE));
            run(from, from, to - from);
        }
        Fixed::Interleave(shape) => {
            let pixels = shape.height * shape.width;
            for p in lines.start * shape.width..lines.end * shape.width {
                for c in 0..shape.channels {
                    run(p * shape.channels + c, c * pixels + p, 1);
                }
            }
        }
        Fixed::Pool(shape) => {
            let c = shape.channels;
            quarters(&shape, lines, |fine, coarse, _| run(coarse * c, fine * c, c));
        }
        Fixed::Enlarge(shape) => {
            let (c, fine) = (shape.channels, Shape { height: 2 * shape.height, width: 2 * shape.width, ..shape });
            quarters(&fine, lines, |fine, coarse, _| run(fine * c, coarse * c, c));
        }
        Fixed::Bilinear(_) => unreachable!("{WEIGHTED}"),
        Fixed::Fold(shape) => {
            let c = shape.channels;
            quarters(&shape, lines, |fine, coarse, quarter| run((4 * coarse + quarter) * c, fine * c, c));
        }
        Fixed::Pad { part, to: [height, width] } => {
            let (line, top, left) = (part.width * part.channels, (height - part.height) / 2, (width - part.width) / 2);
            for y in lines {
                run(((top + y) * width + left) * part.channels, y * line, line);
            }
        }
        Fixed::Sum(shape) => {
            for p in lines.start * shape.width..lines.end * shape.width {
                run(0, p * shape.channels, shape.channels);
            }
        }
        Fixed::Join { part, first, of } => {
            for p in lines.start * part.width..lines.end * part.width {
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

/// Some lines of a map, for all rows.
struct FixedMap<'a, T> {
    map: &'a Fixed,
    reverse: bool,
    lines: Range<usize>,
    x: Mat,
    to: Mat,
    /// Where the two matrices begin.
    starts: [Shared<T>; 2],
    add: bool,
}

impl<T: Real> Kernel<T> for FixedMap<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd<T = T>>(self) {
        let Self { map, reverse, lines, x, to, starts: [x_at, to_at], add } = self;
        let takes = if reverse { to.cols } else { x.cols };
        let factor = T::of(match *map {
            Fixed::Times(factor) => factor,
            Fixed::Pool(_) => 0.25,
            _ => 1.0,
        });
        let clears = !add && gathers(map, reverse);
        for r in 0..to.rows {
            // SAFETY: both matrices have these rows, and do not overlap.
            let from = unsafe { slice::from_raw_parts(x_at.get().add(r * x.stride), x.cols) };
            let row = to_at.get().wrapping_add(r * to.stride);
            if clears {
                // SAFETY: as above; a map that gathers is done by one thread.
                unsafe { slice::from_raw_parts_mut(row, to.cols) }.fill(T::zero());
            }
            runs(map, takes, lines.clone(), |given, taken, len| {
                let (to_at, from_at) = if reverse { (taken, given) } else { (given, taken) };
                assert!(to_at + len <= to.cols);
                // SAFETY: as above; no other thread has runs that go here.
                let to = unsafe { slice::from_raw_parts_mut(row.add(to_at), len) };
                let from = &from[from_at..from_at + len];
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
        let (takes, gives) = if reverse { (to.cols, x.cols) } else { (x.cols, to.cols) };
        assert!(map.ends().map_or(takes == gives, |ends| ends == [takes, gives]), "{map:?}: {takes} to {gives}");
        assert!(x.rows == to.rows && to.apart(&x));
        if let Fixed::Bilinear(coarse) = *map {
            return self.bilinear(coarse, reverse, x, to, add);
        }
        let (isa, starts) = (self.isa, [x, to].map(|mat| Shared(self.ptr(mat))));
        let lines = lines(map, takes);
        let work = |lines: Range<usize>| {
            let kernel = FixedMap { map, reverse, lines, x, to, starts, add };
            // SAFETY: the matrices' extents were checked.
            unsafe { T::dispatch(isa, kernel) }
        };
        if gathers(map, reverse) {
            work(0..lines);
        } else {
            in_parts(self.crew.as_deref(), lines, 1, to.rows * takes.max(gives) / lines.max(1), work);
        }
    }
}
