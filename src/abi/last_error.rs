//! What a host can ask about a call that failed.

use std::ffi::c_char;

use super::error_text;
use super::panic::guard_value;
use super::status::status_name;

/// Why the last failing call on this thread failed: one sentence in UTF-8 that starts with the
/// function and names the argument, its value and what is allowed. Never NULL; "" when no call has
/// failed on this thread. The text is the library's, belongs to the calling thread and stays until
/// the next call on it fails: calls that succeed leave it alone, so a host may release what it
/// holds before it prints.
#[unsafe(no_mangle)]
pub extern "C" fn sfeuot_last_error() -> *const c_char {
    guard_value(c"".as_ptr(), error_text::get)
}

/// The name of a status, such as "SFEUOT_ERROR_BUSY", or "unknown status". A constant of the
/// library, never NULL.
#[unsafe(no_mangle)]
pub extern "C" fn sfeuot_status_name(status: i32) -> *const c_char {
    guard_value(c"".as_ptr(), || status_name(status).as_ptr())
}
