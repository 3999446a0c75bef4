//! One value for each axis of an array, held without an allocation.

use std::fmt;
use std::ops::Deref;

/// The largest number of axes that a [`TensorView`](super::TensorView) may have, with the sample axis.
pub const MAX_RANK: usize = 8;

/// A list of up to [`MAX_RANK`] values.
#[derive(Clone, Copy)]
pub(crate) struct PerAxis<T> {
    values: [T; MAX_RANK],
    rank: usize,
}

impl<T: Copy + Default> PerAxis<T> {
    /// Makes a list without values.
    pub fn new() -> Self {
        Self { values: [T::default(); MAX_RANK], rank: 0 }
    }

    /// Puts a value behind the others.
    pub fn push(&mut self, value: T) {
        self.values[self.rank] = value;
        self.rank += 1;
    }

    /// Returns the last value, to be changed.
    pub fn last_mut(&mut self) -> Option<&mut T> {
        self.values[..self.rank].last_mut()
    }

    /// Sorts the values by a key.
    pub fn sort_by_key<K: Ord>(&mut self, key: impl FnMut(&T) -> K) {
        self.values[..self.rank].sort_unstable_by_key(key);
    }
}

impl<T: Copy + Default> FromIterator<T> for PerAxis<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut list = Self::new();
        values.into_iter().for_each(|value| list.push(value));
        list
    }
}

impl<T> Deref for PerAxis<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.values[..self.rank]
    }
}

impl<T: fmt::Debug> fmt::Debug for PerAxis<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
