//! Cache-line aligned storage.

use super::simd::Real;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line<T>([T; 16]);

/// A vector of numbers that starts on a cache line, zero where never written.
pub struct Aligned<T> {
    lines: Vec<Line<T>>,
    len: usize,
}

impl<T: Real> Aligned<T> {
    /// `len` zeros.
    pub fn new(len: usize) -> Self {
        Self { lines: vec![Line([T::zero(); 16]); len.div_ceil(16)], len }
    }

    /// Makes room for `len` numbers; keeps what is there.
    pub fn grow(&mut self, len: usize) {
        if len > self.len {
            self.lines.resize(len.div_ceil(16), Line([T::zero(); 16]));
            self.len = len;
        }
    }

    /// Start.
    pub fn as_ptr(&self) -> *const T {
        self.lines.as_ptr().cast()
    }

    /// Start.
    pub fn as_mut_ptr(&mut self) -> *mut T {
        self.lines.as_mut_ptr().cast()
    }
}

impl<T: Real> std::ops::Deref for Aligned<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: the lines hold at least `len` initialised numbers without gaps (a line is a multiple of its alignment).
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.len) }
    }
}

impl<T: Real> std::ops::DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.as_mut_ptr(), self.len) }
    }
}
