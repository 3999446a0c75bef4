//! The panic boundary: the only place of the crate that catches unwinding.
//!
//! A panic is a bug of the library. It must not cross into C, where unwinding is undefined, and
//! must not end the host, so `panic = "abort"` is out for this crate. The default hook prints the
//! panic to stderr; the library installs no hook of its own, because hooks are global to the
//! process.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::status::{Failure, Outcome, SFEUOT_ERROR_BUSY, SFEUOT_ERROR_INTERNAL, SFEUOT_OK};
use super::{error_text, used};
use crate::float_mode;

// A module of WebAssembly traps instead, which its host catches.
#[cfg(not(any(panic = "unwind", target_family = "wasm")))]
compile_error!("sfeuot's C ABI promises that no panic ends the host; build it with panic = \"unwind\"");

/// Runs the body of an exported function and turns its outcome into a status and, on failure, the
/// thread's error text. What a panic leaves half done is not the boundary's concern:
/// [`super::exclusive`] closes what was being changed.
pub(super) fn guard(function: &'static str, body: impl FnOnce() -> Outcome<()>) -> i32 {
    // What is computed with the arguments here is to be independent of the host's mode as well.
    let _inside = float_mode::enter();
    let _call = used::begin();
    let outcome = shield(|| body().map_err(|failure| report(function, &failure))).unwrap_or_else(|text| {
        let text = format!("the library panicked: {text}; this is a bug in libsfeuot");
        Err(report(function, &Failure::new(SFEUOT_ERROR_INTERNAL, text)))
    });
    match outcome {
        Ok(()) => SFEUOT_OK,
        Err(status) => status,
    }
}

/// The boundary of functions that return a value rather than a status.
pub(super) fn guard_value<T>(fallback: T, body: impl FnOnce() -> T) -> T {
    shield(body).unwrap_or(fallback)
}

/// Runs `body` and catches a panic, whose message is the error. Callbacks of the host go through it
/// as well, so that one that unwinds (a host written in Rust) looks to the core like one that
/// returned a failure.
pub(super) fn shield<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    // Unwind safety: whatever `body` changes in place is behind `exclusive` or atomic.
    catch_unwind(AssertUnwindSafe(body)).map_err(message)
}

fn message(payload: Box<dyn Any + Send>) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        return (*text).to_owned();
    }
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => {
            // Its destructor could panic again, outside of any boundary.
            std::mem::forget(payload);
            "the panic carries no message".to_owned()
        }
    }
}

fn report(function: &str, failure: &Failure) -> i32 {
    error_text::set(function, &failure.text);
    // Whoever finds an object busy learns nothing of it, and must not take the place of the call that is inside.
    if failure.status != SFEUOT_ERROR_BUSY {
        let (text, length) = error_text::copy();
        used::tell(&text[..length]);
    }
    failure.status
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::last_error::sfeuot_last_error;

    fn last_error() -> String {
        // SAFETY: the function returns a C string of this thread.
        unsafe { std::ffi::CStr::from_ptr(sfeuot_last_error()) }.to_str().expect("UTF-8").to_owned()
    }

    #[test]
    fn every_kind_of_panic_becomes_a_status_and_a_sentence() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("the payload's own panic");
            }
        }
        type Body = fn() -> Outcome<()>;
        let panics: [(Body, &str); 3] = [
            (|| panic!("literal"), "literal"),
            (|| panic!("formatted {}", 1), "formatted 1"),
            (|| std::panic::panic_any(Bomb), "no message"),
        ];
        for (body, part) in panics {
            assert_eq!(guard("sfeuot_f", body), SFEUOT_ERROR_INTERNAL);
            let text = last_error();
            assert!(text.starts_with("sfeuot_f: ") && text.contains(part), "{text}");
        }
        assert_eq!(guard_value(7, || panic!("no status to return")), 7);
    }

    #[test]
    fn a_sentence_names_its_function_once() {
        let nested = || {
            guard("sfeuot_f", || Err(Failure::null("x")));
            Err(Failure::argument(last_error()))
        };
        guard("sfeuot_f", nested);
        assert_eq!(last_error(), "sfeuot_f: x is NULL");
        guard("sfeuot_f", || Err(Failure::argument("sfeuot_f: sfeuot_f: y is 1")));
        assert_eq!(last_error(), "sfeuot_f: y is 1");
        // Another function is part of the reason.
        guard("sfeuot_g", nested);
        assert_eq!(last_error(), "sfeuot_g: sfeuot_f: x is NULL");
    }

    #[test]
    fn the_text_is_a_c_string_of_whole_characters_and_survives_success() {
        let long = format!("nul\0inside {}", "\u{3c3}".repeat(5000));
        assert_eq!(guard("sfeuot_f", || Err(Failure::argument(long))), 1);
        let text = last_error();
        assert!(text.starts_with("sfeuot_f: nul?inside \u{3c3}") && text.ends_with('\u{3c3}'));
        assert_eq!(guard("sfeuot_g", || Ok(())), SFEUOT_OK);
        assert_eq!(last_error(), text);
    }
}
