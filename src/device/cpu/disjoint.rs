//! Shared access to a slice whose parts different jobs own.

use std::marker::PhantomData;

/// A mutable slice handed to several threads, each of which takes parts that no other takes.
pub(crate) struct Disjoint<'a, T> {
    start: *mut T,
    len: usize,
    lifetime: PhantomData<&'a mut [T]>,
}

// SAFETY: it only hands out exclusive references, to parts that do not overlap by the contract of `part`.
unsafe impl<T: Send> Sync for Disjoint<'_, T> {}

impl<'a, T> Disjoint<'a, T> {
    pub fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), lifetime: PhantomData }
    }

    /// Returns elements `from..to`.
    ///
    /// # Safety
    /// While the reference lives, no other one to any of these elements is taken.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn part(&self, from: usize, to: usize) -> &mut [T] {
        assert!(from <= to && to <= self.len);
        // SAFETY: inside the slice, and exclusive by contract.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(from), to - from) }
    }

    /// Returns element `index`.
    ///
    /// # Safety
    /// As for [`Self::part`].
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn one(&self, index: usize) -> &mut T {
        // SAFETY: by contract.
        unsafe { &mut self.part(index, index + 1)[0] }
    }
}
