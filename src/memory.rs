//! Memory that the system may refuse.
//!
//! What grows with an argument of the host or with a file is allocated here, so that a refusal is
//! [`Error::OutOfMemory`] and not the end of the process. What stays small whatever the arguments, such as the text of
//! a sentence, is allocated as usual.

use crate::error::{Error, Result};

/// Returns an empty vector with room for `length` elements. `what` says in an error what they are for.
pub(crate) fn with_room<T>(what: &str, length: usize) -> Result<Vec<T>> {
    let mut values = Vec::new();
    reserve(&mut values, what, length)?;
    Ok(values)
}

/// Makes room for `more` elements behind those that are there, and no further room.
pub(crate) fn reserve<T>(values: &mut Vec<T>, what: &str, more: usize) -> Result<()> {
    values.try_reserve_exact(more).map_err(|_| refused::<T>(what, values.len(), more))
}

/// Returns a vector of `length` copies of `value`.
pub(crate) fn filled<T: Clone>(what: &str, length: usize, value: T) -> Result<Vec<T>> {
    let mut values = with_room(what, length)?;
    values.resize(length, value);
    Ok(values)
}

/// Returns a copy of `from`.
pub(crate) fn copied<T: Clone>(what: &str, from: &[T]) -> Result<Vec<T>> {
    let mut values = with_room(what, from.len())?;
    values.extend_from_slice(from);
    Ok(values)
}

/// Returns all elements of an iterator that knows their number.
pub(crate) fn collected<T>(what: &str, from: impl ExactSizeIterator<Item = T>) -> Result<Vec<T>> {
    let length = from.len();
    let mut values = with_room(what, length)?;
    // An iterator that tells a wrong length must not make the vector grow.
    values.extend(from.take(length));
    Ok(values)
}

/// Returns `length` elements, each made by `make`, or the first error of it.
pub(crate) fn made<T>(what: &str, length: usize, mut make: impl FnMut(usize) -> Result<T>) -> Result<Vec<T>> {
    let mut values = with_room(what, length)?;
    for index in 0..length {
        values.push(make(index)?);
    }
    Ok(values)
}

/// Returns a value in a place of its own.
pub(crate) fn boxed<T>(what: &str, value: T) -> Result<Box<T>> {
    let mut one = with_room(what, 1)?;
    one.push(value);
    let one = Box::into_raw(one.into_boxed_slice());
    // SAFETY: a slice of one element was allocated as the element is, and nothing else owns it.
    Ok(unsafe { Box::from_raw(one.cast()) })
}

/// Makes `values` at least `length` long, with `value` where it was shorter.
pub(crate) fn grow<T: Clone>(values: &mut Vec<T>, what: &str, length: usize, value: T) -> Result<()> {
    if length > values.len() {
        let more = length - values.len();
        reserve(values, what, more)?;
        values.resize(length, value);
    }
    Ok(())
}

/// Whether the process may have `bytes` more of addresses, in one piece. It takes no memory. Where only memory is limited
/// and not addresses, always true.
#[cfg(unix)]
pub(crate) fn has_addresses(bytes: usize) -> bool {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANON;
    // SAFETY: new pages of nobody's, which are given back at once.
    unsafe {
        let pages = libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_NONE, flags, -1, 0);
        pages != libc::MAP_FAILED && libc::munmap(pages, bytes) == 0
    }
}

#[cfg(not(unix))]
pub(crate) fn has_addresses(_bytes: usize) -> bool {
    true
}

/// Returns the error that there is no room for `more` elements behind those `present`.
pub(crate) fn refused<T>(what: &str, present: usize, more: usize) -> Error {
    let bytes = (present as u128 + more as u128) * size_of::<T>() as u128;
    Error::OutOfMemory(format!("the system has no memory for {what} ({bytes} bytes)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_what_the_memory_was_for_and_changes_nothing() {
        let most = usize::MAX / 2;
        let mut values = vec![1u8, 2];
        let refused = [
            with_room::<f64>("the samples", most).map(drop),
            filled("the samples", most, 0f32).map(drop),
            collected("the samples", (0..most).map(|i| i as u64)).map(drop),
            reserve(&mut values, "the samples", most * 2 - 4),
        ];
        for refusal in refused {
            let Err(Error::OutOfMemory(text)) = refusal else { panic!("{refusal:?}") };
            assert!(text.starts_with("the system has no memory for the samples ("), "{text}");
        }
        assert_eq!(values, [1, 2]);
    }

    #[test]
    #[cfg(unix)]
    fn addresses_are_there_or_not() {
        assert!(has_addresses(1 << 20));
        assert!(!has_addresses(usize::MAX / 2));
    }

    #[test]
    fn vectors_hold_what_was_asked_for() {
        assert_eq!(filled("x", 3, 7).unwrap(), [7; 3]);
        assert_eq!(copied("x", &["a", "b"]).unwrap(), ["a", "b"]);
        let mut values = vec![1];
        grow(&mut values, "x", 3, 0).unwrap();
        grow(&mut values, "x", 2, 0).unwrap();
        assert_eq!(values, [1, 0, 0]);
        assert_eq!(collected("x", (1..4).map(|i| i * i)).unwrap(), [1, 4, 9]);
        assert!(with_room::<u8>("x", 10).unwrap().capacity() >= 10);
    }
}
