//! What a host can ask about a call that failed.

use std::ffi::c_char;

use super::error_text;
use super::panic::guard_value;
use super::status::status_name;

/// Returns why the last failing call on this thread failed: one sentence in UTF-8 that starts with
/// the function and names the argument, its value and what is allowed. The result is never NULL; it
/// is "" when no call has failed on this thread. The text is the library's. It belongs to the
/// calling thread and stays until the next call on this thread fails. Calls that succeed leave it
/// alone, so a host may release what it holds before it prints. A host whose calls move between
/// threads asks the object instead: sfeuot_context_error, and its likes for trainers, models,
/// sessions and problems.
///
/// What holds after a failure. Every call that can fail returns a status, SFEUOT_OK (0) or one of
/// SFEUOT_ERROR_*. A call that failed changed nothing, unless its description says so. Outputs are
/// the last arguments and are written on success only; after a failure they hold what they held
/// before. The arrays of session calls are the exception: after SFEUOT_ERROR_INTERNAL,
/// SFEUOT_ERROR_DEVICE and SFEUOT_ERROR_NOT_FINITE some of their rows may be written, the first ones
/// where one thread works. Numbers that a call writes to host memory are finite whenever it returns
/// SFEUOT_OK.
///
/// Some statuses may come from any call and are not repeated at each: SFEUOT_ERROR_INVALID_ARGUMENT,
/// SFEUOT_ERROR_INVALID_HANDLE, SFEUOT_ERROR_UNSUPPORTED_VERSION, SFEUOT_ERROR_OUT_OF_MEMORY and
/// SFEUOT_ERROR_INTERNAL; for trainers, sessions and problems SFEUOT_ERROR_BUSY; for calls that
/// write rows SFEUOT_ERROR_NOT_FINITE; and on a GPU SFEUOT_ERROR_DEVICE.
#[unsafe(no_mangle)]
pub extern "C" fn sfeuot_last_error() -> *const c_char {
    guard_value(c"".as_ptr(), error_text::get)
}

/// Returns the name of a status, such as "SFEUOT_ERROR_BUSY", or "unknown status". The text is a
/// constant of the library and never NULL.
#[unsafe(no_mangle)]
pub extern "C" fn sfeuot_status_name(status: i32) -> *const c_char {
    guard_value(c"".as_ptr(), || status_name(status).as_ptr())
}
