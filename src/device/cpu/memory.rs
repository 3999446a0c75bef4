//! Cache-line aligned storage.

use super::simd::Real;
use crate::error::Result;
use crate::memory;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line<T>([T; 16]);

/// A vector of numbers that starts on a cache line, zero where never written.
pub struct Aligned<T> {
    lines: Vec<Line<T>>,
    len: usize,
}

impl<T: Real> Aligned<T> {
    /// Returns an empty vector.
    pub fn empty() -> Self {
        Self { lines: Vec::new(), len: 0 }
    }

    /// Bytes of `len` numbers, which take whole cache lines.
    pub fn bytes(len: usize) -> usize {
        len.div_ceil(16).saturating_mul(size_of::<Line<T>>())
    }

    /// `len` zeros; `what` says what they are for where the system has no memory for them.
    pub fn zeros(what: &str, len: usize) -> Result<Self> {
        Ok(Self { lines: memory::filled(what, len.div_ceil(16), Line([T::zero(); 16]))?, len })
    }

    /// Makes room for `len` numbers and keeps those that are there.
    pub fn grow(&mut self, what: &str, len: usize) -> Result<()> {
        if len > self.len {
            let lines = len.div_ceil(16);
            let more = lines - self.lines.len();
            memory::reserve(&mut self.lines, what, more)?;
            self.lines.resize(lines, Line([T::zero(); 16]));
            self.len = len;
        }
        Ok(())
    }

    /// Returns the start.
    pub fn as_ptr(&self) -> *const T {
        self.lines.as_ptr().cast()
    }

    /// Returns the start.
    pub fn as_mut_ptr(&mut self) -> *mut T {
        self.lines.as_mut_ptr().cast()
    }
}

impl<T: Real> std::ops::Deref for Aligned<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: the lines hold at least `len` initialised numbers without gaps (a line is a multiple of its
        // alignment).
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.len) }
    }
}

impl<T: Real> std::ops::DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.as_mut_ptr(), self.len) }
    }
}
