//! Structs that grow: `struct_size` first, fields only ever appended.
//!
//! * A host built against an older header passes a smaller struct. The sizes a struct had in
//!   released headers are listed in `SIZES`; one of those is read as a prefix, and what the host does
//!   not know of keeps its default.
//! * A larger one comes from a newer header. The library cannot know what the tail asks for, so it
//!   refuses.
//! * Any other size is a mistake, most often a struct that was never initialised.
//!
//! An `_init` function cannot know how large the host's struct is, so it writes the struct as it
//! was when that symbol was introduced, for ever. A struct that grows gets a further exported
//! `_init`, and the header maps the old name on it.

use super::status::{Failure, Outcome, SFEUOT_ERROR_UNSUPPORTED_VERSION};

/// A struct of the header that begins with its `struct_size`.
///
/// # Safety
/// `#[repr(C)]`, first field `struct_size: u32`, every bit pattern of the other fields is a value,
/// and `SIZES` ascends from at least 4 to the size of `Self`, each entry being the end of a field.
pub(super) unsafe trait Versioned: Copy {
    const NAME: &'static str;
    const SIZES: &'static [usize];
    /// All defaults, `struct_size` included.
    fn defaults() -> Self;
}

/// The size the host gave, when it is one the library knows.
unsafe fn known_size<T: Versioned>(pointer: *const T, argument: &str) -> Outcome<usize> {
    if pointer.is_null() {
        return Err(Failure::null(argument));
    }
    // SAFETY: the host's struct holds at least its size.
    let given = unsafe { pointer.cast::<u32>().read_unaligned() } as usize;
    let ours = size_of::<T>();
    let known = T::SIZES;
    if known.contains(&given) {
        Ok(given)
    } else if given > ours {
        let text = format!(
            "{argument}.struct_size is {given}, and the largest {} this library knows has {ours} \
             bytes; the header is newer than the library, or the struct was not initialised",
            T::NAME
        );
        Err(Failure::new(SFEUOT_ERROR_UNSUPPORTED_VERSION, text))
    } else {
        Err(Failure::argument(format!(
            "{argument}.struct_size is {given}, but a {} has {ours} bytes: the struct was not initialised \
             by its _init function",
            T::NAME
        )))
    }
}

/// Reads a struct of the host's, defaults in place of what an older header lacks.
///
/// SAFETY: `pointer` is NULL or readable for the `struct_size` it begins with.
pub(super) unsafe fn read<T: Versioned>(pointer: *const T, argument: &str) -> Outcome<T> {
    // SAFETY: as promised.
    let size = unsafe { known_size(pointer, argument) }?;
    let mut value = T::defaults();
    // SAFETY: `size` bytes are readable as promised and fit, being one of `SIZES`; every bit pattern is a value.
    unsafe { std::ptr::copy_nonoverlapping(pointer.cast::<u8>(), (&raw mut value).cast(), size) };
    Ok(value)
}

/// Reads a struct that may be left out: NULL gives the defaults.
///
/// SAFETY: `pointer` is NULL or readable for the `struct_size` it begins with.
pub(super) unsafe fn read_or_defaults<T: Versioned>(pointer: *const T, argument: &str) -> Outcome<T> {
    // SAFETY: as promised.
    if pointer.is_null() { Ok(T::defaults()) } else { unsafe { read(pointer, argument) } }
}

/// A struct to fill, checked before the work begins.
pub(super) struct StructOut<T> {
    pointer: *mut T,
    size: usize,
}

/// SAFETY: `pointer` is NULL or writable for the `struct_size` it begins with.
pub(super) unsafe fn output<T: Versioned>(pointer: *mut T, argument: &str) -> Outcome<StructOut<T>> {
    // SAFETY: as promised.
    let size = unsafe { known_size(pointer.cast_const(), argument) }?;
    Ok(StructOut { pointer, size })
}

/// SAFETY: as for `output`.
pub(super) unsafe fn optional_output<T: Versioned>(pointer: *mut T, argument: &str) -> Outcome<Option<StructOut<T>>> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: as promised.
    unsafe { output(pointer, argument) }.map(Some)
}

impl<T: Versioned> StructOut<T> {
    /// Writes the part the host knows of and leaves its `struct_size` alone.
    ///
    /// SAFETY: the promise of `output` still holds.
    pub(super) unsafe fn write(&self, value: &T) {
        let head = size_of::<u32>();
        // SAFETY: `size` bytes are writable as promised, and `value` has at least as many.
        unsafe {
            let from = std::ptr::from_ref(value).cast::<u8>().add(head);
            std::ptr::copy_nonoverlapping(from, self.pointer.cast::<u8>().add(head), self.size - head);
        }
    }
}

/// Fills the first `size` bytes with defaults; `size` is what the struct had when the `_init`
/// symbol was introduced.
///
/// SAFETY: `pointer` is NULL or writable for `size` bytes.
pub(super) unsafe fn init<T: Versioned>(pointer: *mut T, argument: &str, size: usize) -> Outcome<()> {
    if pointer.is_null() {
        return Err(Failure::null(argument));
    }
    let value = T::defaults();
    let given = size as u32;
    // SAFETY: writable as promised; `size` is one of `SIZES`, so `value` has as many bytes.
    unsafe {
        std::ptr::copy_nonoverlapping((&raw const value).cast::<u8>(), pointer.cast(), size);
        pointer.cast::<u32>().write_unaligned(given);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Grown {
        struct_size: u32,
        first: i32,
        second: f64,
        third: f64,
    }
    // SAFETY: repr(C), plain numbers, sizes at the ends of fields.
    unsafe impl Versioned for Grown {
        const NAME: &'static str = "Grown";
        const SIZES: &'static [usize] = &[8, 16, 24];
        fn defaults() -> Self {
            Self { struct_size: 24, first: 1, second: 2.0, third: 3.0 }
        }
    }

    #[test]
    fn older_structs_are_read_and_written_as_prefixes() {
        for size in [8, 16, 24] {
            let host = Grown { struct_size: size, first: -1, second: -2.0, third: -3.0 };
            // SAFETY: a whole struct is there.
            let read = unsafe { read(&host, "g") }.expect("a known size");
            let expected = [-1.0, if size >= 16 { -2.0 } else { 2.0 }, if size >= 24 { -3.0 } else { 3.0 }];
            assert_eq!([f64::from(read.first), read.second, read.third], expected);

            let mut written = host;
            // SAFETY: a whole struct is there.
            unsafe { output(&mut written, "g").expect("a known size").write(&Grown::defaults()) };
            assert_eq!(written.struct_size, size);
            let expected = [1.0, if size >= 16 { 2.0 } else { -2.0 }, if size >= 24 { 3.0 } else { -3.0 }];
            assert_eq!([f64::from(written.first), written.second, written.third], expected);

            let mut started = host;
            // SAFETY: a whole struct is there.
            unsafe { init(&mut started, "g", size as usize) }.expect("not NULL");
            assert_eq!(started, Grown { struct_size: size, ..written });
        }
    }

    #[test]
    fn every_other_size_is_refused_by_name_and_number() {
        for size in (0..64).filter(|size| ![8, 16, 24].contains(size)) {
            let host = Grown { struct_size: size, ..Grown::defaults() };
            // SAFETY: a whole struct is there.
            let refused = unsafe { read(&host, "g") }.expect_err("an unknown size");
            assert_eq!(refused.status, if size > 24 { SFEUOT_ERROR_UNSUPPORTED_VERSION } else { 1 });
            assert!(refused.text.contains(&format!("g.struct_size is {size}")) && refused.text.contains("24"));
        }
    }
}
