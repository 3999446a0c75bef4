//! The text of the last failure on each thread.

use std::cell::UnsafeCell;
use std::ffi::c_char;

/// Room for one sentence and a long path, with the terminating zero.
pub(super) const TEXT_SIZE: usize = 2048;

thread_local! {
    // A plain array: no destructor, so the library can be unloaded and the text read while a thread ends; and no heap,
    // so that reporting an error cannot fail.
    static LAST_ERROR: UnsafeCell<[u8; TEXT_SIZE]> = const { UnsafeCell::new([0; TEXT_SIZE]) };
}

/// Replaces the thread's text. Longer ones are cut at a character; a zero byte inside would end the
/// C string early and becomes a question mark. The function is named once, also where the text is that
/// of a call to it further in.
pub(super) fn set(function: &str, text: &str) {
    let mut text = text;
    while let Some(rest) = text.strip_prefix(function).and_then(|rest| rest.strip_prefix(": ")) {
        text = rest;
    }
    LAST_ERROR.with(|cell| {
        // SAFETY: the cell belongs to this thread, and nothing below calls out while the reference lives.
        let buffer = unsafe { &mut *cell.get() };
        let mut end = 0;
        for character in function.chars().chain(": ".chars()).chain(text.chars()) {
            let character = if character == '\0' { '?' } else { character };
            if end + character.len_utf8() >= TEXT_SIZE {
                break;
            }
            end += character.encode_utf8(&mut buffer[end..]).len();
        }
        buffer[end] = 0;
    });
}

/// A copy of the calling thread's text, and its length.
pub(super) fn copy() -> ([u8; TEXT_SIZE], usize) {
    // SAFETY: the cell belongs to this thread, and no reference to it outlives a function of this file.
    let text = LAST_ERROR.with(|cell| unsafe { *cell.get() });
    (text, text.iter().position(|&byte| byte == 0).unwrap_or(0))
}

/// The calling thread's text: a C string that stays until [`set`] is called on this thread again.
pub(super) fn get() -> *const c_char {
    LAST_ERROR.with(|cell| cell.get().cast_const().cast())
}
