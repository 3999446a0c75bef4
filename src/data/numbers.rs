//! Numbers of a sample's components, one each: as many as a sample has, so they are shared rather than copied.

use crate::error::Result;
use crate::memory;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;

/// Samples of at most this many numbers: layers as wide as the sample must stay addressable.
pub(crate) const MAX_DIMENSION: usize = 1 << 20;

/// A vector that never changes; a clone is another reference to it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Numbers(Arc<Vec<f64>>);

impl Numbers {
    /// All numbers of an iterator that knows how many there are.
    ///
    /// # Errors
    /// [`OutOfMemory`](crate::Error::OutOfMemory).
    pub fn collect(numbers: impl ExactSizeIterator<Item = f64>) -> Result<Self> {
        memory::collected("numbers of a sample's components", numbers).map(Self::from)
    }
}

impl From<Vec<f64>> for Numbers {
    fn from(numbers: Vec<f64>) -> Self {
        Self(Arc::new(numbers))
    }
}

impl std::ops::Deref for Numbers {
    type Target = [f64];
    fn deref(&self) -> &[f64] {
        &self.0
    }
}

impl Serialize for Numbers {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_seq(Read)
    }
}

/// Reads as many numbers as a sample may have, into memory that may be refused.
struct Read;

impl<'de> Visitor<'de> for Read {
    type Value = Numbers;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "at most {MAX_DIMENSION} numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> std::result::Result<Numbers, A::Error> {
        use serde::de::Error as _;
        let mut numbers = Vec::new();
        while let Some(number) = from.next_element()? {
            if numbers.len() == MAX_DIMENSION {
                return Err(A::Error::invalid_length(MAX_DIMENSION + 1, &self));
            }
            if numbers.len() == numbers.capacity() {
                let more = numbers.len().max(64);
                memory::reserve(&mut numbers, "a file's numbers", more).map_err(A::Error::custom)?;
            }
            numbers.push(number);
        }
        Ok(numbers.into())
    }
}
