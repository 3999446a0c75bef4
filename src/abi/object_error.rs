//! Errors that stay with their object, for hosts whose calls move between threads.

use std::ffi::c_char;

use super::arguments::{array, at_least_one};
use super::error_text::TEXT_SIZE;
use super::handle::{self, Object};
use super::status::{Failure, Outcome};

/// Bytes that are enough for every sentence about an error, with its terminating zero.
pub const SFEUOT_TEXT_SIZE: usize = 2048;

const _: () = assert!(SFEUOT_TEXT_SIZE == TEXT_SIZE);

/// Copies the sentence of the last call that failed on the object.
///
/// SAFETY: `buffer` is NULL or has room for `size` bytes.
pub(super) unsafe fn copy<T: Object>(
    handle: *const T::Handle,
    argument: &str,
    buffer: *mut c_char,
    size: usize,
) -> Outcome<()> {
    let object = handle::pin_quietly::<T>(handle, argument)?;
    at_least_one("size", size as u64)?;
    if size > isize::MAX as usize {
        return Err(Failure::argument(format!("size is {size}, but no buffer is as large")));
    }
    let buffer = array::<u8>(buffer.cast_const().cast(), "buffer", size as u64, 1)?;
    // SAFETY: as promised; bytes are written before they are read.
    object.sentence().copy(unsafe { buffer.write() });
    Ok(())
}
