//! What only C can get wrong: NULL, misaligned and overlapping pointers, sizes that overflow,
//! strings.

use std::ffi::{CStr, c_char};
use std::ops::Range;
use std::path::PathBuf;

use super::status::{Failure, Outcome};
use crate::data::{DType, TensorView, TensorViewMut};

pub(super) fn check_pointer<T>(pointer: *const T, argument: &str) -> Outcome<()> {
    if pointer.is_null() {
        return Err(Failure::null(argument));
    }
    if !pointer.is_aligned() {
        let align = align_of::<T>();
        return Err(Failure::argument(format!(
            "{argument} ({pointer:p}) is misaligned; its address must be a multiple of {align}"
        )));
    }
    Ok(())
}

/// A flag of C.
pub(super) fn switch(argument: &str, value: i32) -> Outcome<bool> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(Failure::argument(format!("{argument} is {other}; allowed are 0 and 1"))),
    }
}

/// Where a result goes, checked before the work begins.
pub(super) struct Out<T>(*mut T);

pub(super) fn out<T>(pointer: *mut T, argument: &str) -> Outcome<Out<T>> {
    check_pointer(pointer, argument)?;
    Ok(Out(pointer))
}

/// An output that the host may leave away.
pub(super) fn optional_out<T>(pointer: *mut T, argument: &str) -> Outcome<Option<Out<T>>> {
    if pointer.is_null() { Ok(None) } else { out(pointer, argument).map(Some) }
}

impl<T> Out<T> {
    /// SAFETY: the pointer `out` was given is writable.
    pub(super) unsafe fn write(self, value: T) {
        // SAFETY: aligned and not NULL as checked, writable as promised.
        unsafe { self.0.write(value) }
    }
}

/// Refuses an output that shares memory with another argument. Each comes with its name and its bytes.
pub(super) fn check_apart(output: (&str, Range<usize>), other: (&str, Range<usize>)) -> Outcome<()> {
    let ((output, ours), (other, theirs)) = (output, other);
    if ours.start < theirs.end && theirs.start < ours.end {
        return Err(Failure::argument(format!(
            "{output} overlaps {other}; an output must not share memory with another argument"
        )));
    }
    Ok(())
}

/// A host array of checked address and size, not yet a reference: overlaps come first.
pub(super) struct Array<T> {
    argument: &'static str,
    pointer: *mut T,
    count: usize,
}

/// An array of `rows` x `per_row` elements.
pub(super) fn array<T>(pointer: *const T, argument: &'static str, rows: u64, per_row: usize) -> Outcome<Array<T>> {
    check_pointer(pointer, argument)?;
    let count = usize::try_from(rows).ok().and_then(|rows| rows.checked_mul(per_row));
    let bytes = count.and_then(|count| count.checked_mul(size_of::<T>()));
    match (count, bytes.and_then(|bytes| pointer.addr().checked_add(bytes))) {
        (Some(count), Some(_)) if bytes <= Some(isize::MAX as usize) => {
            Ok(Array { argument, pointer: pointer.cast_mut(), count })
        }
        _ => Err(Failure::argument(format!(
            "{argument} of {rows} x {per_row} elements does not fit into the address space; lower \
             the number of rows"
        ))),
    }
}

impl<T> Array<T> {
    /// SAFETY: the array is readable, and nobody writes to it during `'a`.
    pub(super) unsafe fn read<'a>(&self) -> &'a [T] {
        // SAFETY: aligned, not NULL and of possible size as checked; readable as promised.
        unsafe { std::slice::from_raw_parts(self.pointer, self.count) }
    }

    /// SAFETY: the array is writable and nobody else touches it during `'a`. Host memory may be
    /// uninitialised, so the elements must be plain numbers that are written before they are read.
    pub(super) unsafe fn write<'a>(&self) -> &'a mut [T] {
        // SAFETY: as for `read`, and exclusive as promised.
        unsafe { std::slice::from_raw_parts_mut(self.pointer, self.count) }
    }
}

impl Array<f32> {
    /// Rows of so many numbers each to read.
    ///
    /// SAFETY: the array is readable, and nobody writes to it during `'a`, the call's own output excepted.
    pub(super) unsafe fn view<'a>(&self, per_row: usize) -> Outcome<TensorView<'a>> {
        let shape = [self.count / per_row, per_row];
        // SAFETY: as promised.
        Ok(unsafe { TensorView::from_raw(DType::F32, self.pointer.cast(), &shape, None, 1.0, 0.0) }?)
    }

    /// Rows of so many numbers each to write.
    ///
    /// SAFETY: the array is writable, and nobody else touches it during `'a`, the call's own input excepted.
    pub(super) unsafe fn view_mut<'a>(&self, per_row: usize) -> Outcome<TensorViewMut<'a>> {
        let shape = [self.count / per_row, per_row];
        // SAFETY: as promised.
        Ok(unsafe { TensorViewMut::from_raw(DType::F32, self.pointer.cast(), &shape, None, 1.0, 0.0) }?)
    }
}

impl<T> Array<T> {
    /// Whether both are the same memory.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.pointer == other.pointer && self.count == other.count
    }

    /// Refuses an output that shares memory with another argument: the core reads its input while it writes its output.
    pub(super) fn apart_from<U>(&self, other: &Array<U>) -> Outcome<()> {
        check_apart(self.place(), other.place())
    }

    /// The argument's name and its bytes.
    pub(super) fn place(&self) -> (&'static str, Range<usize>) {
        (self.argument, self.bytes())
    }

    fn bytes(&self) -> Range<usize> {
        let start = self.pointer.addr();
        start..start + self.count * size_of::<T>()
    }
}

/// A count that may not be zero.
pub(super) fn at_least_one(argument: &str, value: u64) -> Outcome<()> {
    if value == 0 { Err(Failure::argument(format!("{argument} is 0; it must be at least 1"))) } else { Ok(()) }
}

/// Bytes of a path at most. No system opens a longer one.
const MOST_OF_PATH: usize = if cfg!(windows) { 3 * 32767 } else { 4095 };

/// A file path: UTF-8 on Windows, bytes as the system takes them elsewhere.
///
/// SAFETY: `path` is NULL or a C string.
pub(super) unsafe fn path(path: *const c_char, argument: &str) -> Outcome<PathBuf> {
    check_pointer(path, argument)?;
    // SAFETY: a C string, as promised.
    let bytes = unsafe { CStr::from_ptr(path) }.to_bytes();
    if bytes.is_empty() {
        return Err(Failure::argument(format!("{argument} is empty; it must name a file")));
    }
    if bytes.len() > MOST_OF_PATH {
        return Err(Failure::argument(format!(
            "{argument} has {} bytes; a path may have at most {MOST_OF_PATH}",
            bytes.len()
        )));
    }
    #[cfg(unix)]
    let path = PathBuf::from(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(bytes));
    #[cfg(not(unix))]
    let path = PathBuf::from(std::str::from_utf8(bytes).map_err(|error| {
        Failure::argument(format!("{argument} is not UTF-8 from byte {}; paths are UTF-8 here", error.valid_up_to()))
    })?);
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;

    #[test]
    fn a_path_longer_than_any_system_takes_is_refused() {
        let of = |length: usize| {
            let text = CString::new("p".repeat(length)).expect("no zero inside");
            // SAFETY: a C string.
            unsafe { path(text.as_ptr(), "path") }
        };
        assert_eq!(of(MOST_OF_PATH).expect("the longest one").as_os_str().len(), MOST_OF_PATH);
        let refused = of(MOST_OF_PATH + 1).expect_err("longer");
        let expected = format!("path has {} bytes; a path may have at most {MOST_OF_PATH}", MOST_OF_PATH + 1);
        assert_eq!(refused.text, expected);
    }
}
