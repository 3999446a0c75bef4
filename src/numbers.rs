//! Lists with one number for each number of a sample. Reading one from an untrusted file takes memory that the system
//! may refuse, and stops at the largest dimension of a sample.

use crate::error::Error;
use crate::memory;
use serde::de::{Deserialize, Deserializer, Error as _, SeqAccess, Visitor};
use serde::{Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

/// The largest dimension of a sample, and the longest list: layers as wide as the sample must stay addressable.
pub(crate) const MAX_DIMENSION: usize = 1 << 20;
/// The beginning of a parser's message where memory was refused. No message begins with text of the file, so the
/// beginning tells the cause.
pub(crate) const REFUSED: &str = "the system has no memory for a list of numbers";

/// For `#[serde(deserialize_with)]`: a list.
pub(crate) fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    List::deserialize(from).map(|list| list.0)
}

/// A constant list with one number for each component of a sample. It may be long, so a clone shares the numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Numbers(Arc<Vec<f64>>);

impl Numbers {
    /// Takes all numbers of an iterator that knows how many there are.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn collect(numbers: impl ExactSizeIterator<Item = f64>) -> crate::error::Result<Self> {
        memory::collected("numbers of a sample's components", numbers).map(Self::from)
    }
}

impl From<Vec<f64>> for Numbers {
    fn from(numbers: Vec<f64>) -> Self {
        Self(Arc::new(numbers))
    }
}

impl Deref for Numbers {
    type Target = [f64];

    fn deref(&self) -> &[f64] {
        &self.0
    }
}

impl Serialize for Numbers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        list(from).map(|numbers: Vec<f64>| numbers.into())
    }
}

/// Returns the error of refused memory if that is what a parser's error says.
pub(crate) fn refusal(error: &serde_json::Error) -> Option<Error> {
    error.to_string().starts_with(REFUSED).then(|| Error::OutOfMemory(REFUSED.into()))
}

struct List<T>(Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(Items(PhantomData)).map(Self)
    }
}

struct Items<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<T> {
    type Value = Vec<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = items.next_element()? {
            if values.len() == MAX_DIMENSION {
                return Err(A::Error::custom(format_args!("a list has more than {MAX_DIMENSION} numbers")));
            }
            if values.len() == values.capacity() {
                let more = values.len().clamp(16, MAX_DIMENSION);
                memory::reserve(&mut values, "a list of numbers", more).map_err(|_| A::Error::custom(REFUSED))?;
            }
            values.push(value);
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Lists {
        #[serde(deserialize_with = "list")]
        shape: Vec<usize>,
        sides: [Numbers; 2],
    }

    #[test]
    fn lists_are_read_as_they_are_and_bounded() {
        let read = |text: &str| serde_json::from_str::<Lists>(text).map_err(|error| error.to_string());
        let lists = Lists { shape: vec![2, 3], sides: [vec![0.1; 100].into(), vec![].into()] };
        let text = format!(r#"{{"shape":[2,3],"sides":[{:?},[]]}}"#, vec![0.1; 100]);
        assert_eq!(read(&text).unwrap(), lists);
        for bad in
            [r#"{"shape":[-1],"sides":[[],[]]}"#, r#"{"shape":[],"sides":[[]]}"#, r#"{"shape":1,"sides":[[],[]]}"#]
        {
            read(bad).expect_err(bad);
        }
        let most = |n: usize| format!(r#"{{"shape":[{}1],"sides":[[],[]]}}"#, "1,".repeat(n - 1));
        assert_eq!(read(&most(MAX_DIMENSION)).unwrap().shape.len(), MAX_DIMENSION);
        let refused = read(&most(MAX_DIMENSION + 1)).unwrap_err();
        assert!(refused.contains("more than 1048576 numbers"), "{refused}");
    }
}
