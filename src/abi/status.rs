//! Status codes, their names, and why a call failed.

use std::ffi::CStr;

use crate::error::Error;

/// Statuses. Every call that can fail returns one of them. sfeuot_last_error says what holds after
/// a failure.
///
/// ---
///
/// The call did what it says.
pub const SFEUOT_OK: i32 = 0;
/// An argument is NULL, zero, out of range, not finite, or does not fit another one. Samples that
/// hold a NaN give this status too.
pub const SFEUOT_ERROR_INVALID_ARGUMENT: i32 = 1;
/// A handle was released, is of another kind, or was never made by this library.
pub const SFEUOT_ERROR_INVALID_HANDLE: i32 = 2;
/// A struct_size is larger than the library knows: the header is newer than the library.
pub const SFEUOT_ERROR_UNSUPPORTED_VERSION: i32 = 3;
/// The device asked for cannot be used here: there is no driver or no such GPU, or one of them is
/// too old; or the system starts fewer threads than were asked for.
pub const SFEUOT_ERROR_UNSUPPORTED_DEVICE: i32 = 4;
/// Memory ran out, on the host or on the device.
///
/// What grows with the arguments of a call or with a file is asked of the system before it is
/// needed. Where the system refuses, the call returns this status and nothing has changed. Limits
/// of arguments are checked before that. sfeuot_trainer_create asks for everything that a training
/// will take before it reads a sample, on a GPU within memory_limit too; sfeuot_trainer_memory
/// tells how much that was. On the CPU the steps allocate nothing. A session asks in its calls, but
/// not in one that another of its kind came before with the same latents and time_count and no
/// fewer rows. A model takes about 10 bytes for each of its parameters, where narrow layers count
/// as whole vectors. Loading a model takes up to twice the file's size beside that.
///
/// Small things are not asked for: an object's own struct, a thread's start, the text of an error.
/// They are below 4 KiB whatever the arguments. A system that refuses even these ends the process.
/// So may a system that promises more memory than it has (overcommit), when the memory is used.
pub const SFEUOT_ERROR_OUT_OF_MEMORY: i32 = 5;
/// The operating system refused to read or write a file.
pub const SFEUOT_ERROR_IO: i32 = 6;
/// A file is truncated, is not one of this library's, or was written by a newer version.
pub const SFEUOT_ERROR_FORMAT: i32 = 7;
/// A loss, a gradient or a new weight stopped being finite. The step it belonged to was not made.
/// Where a loss or a gradient was the first one on new weights, the step that led to them is taken
/// back too. The trainer is at the last weights that gave finite losses, sfeuot_trainer_metrics
/// tells their step, and the trainer stays usable.
pub const SFEUOT_ERROR_DIVERGED: i32 = 8;
/// sfeuot_trainer_cancel or the progress callback stopped the run. The steps done so far are kept,
/// and the text tells their number.
pub const SFEUOT_ERROR_CANCELLED: i32 = 9;
/// A callback of the host reported failure. The text holds the number that it returned.
pub const SFEUOT_ERROR_CALLBACK: i32 = 10;
/// Another call is inside this trainer, session or problem: on another thread, or on this one, where
/// a callback called back.
pub const SFEUOT_ERROR_BUSY: i32 = 11;
/// The library caught a bug of its own before it could reach the host. A trainer or session that
/// was in use answers this status from then on and has to be released; everything else stays
/// usable. In the child of a fork() a trainer or session answers it too if another thread was
/// inside of it then.
pub const SFEUOT_ERROR_INTERNAL: i32 = 12;
/// The device failed in the middle of its work: a GPU was reset, for example, or another program
/// made an illegal access in the same CUDA context. The text has the driver's reason. What lived on
/// the device is lost: release it, and make a new context.
pub const SFEUOT_ERROR_DEVICE: i32 = 13;
/// A result of a session is infinite or not a number. Either the model's weights are absurd, as
/// after a training that nearly diverged or in a file that was tampered with, or the row lies far
/// from the samples. The text names the row. No number that is not finite was written; rows before
/// that one may have been.
pub const SFEUOT_ERROR_NOT_FINITE: i32 = 14;

/// Why a call failed: a status and the sentence that `sfeuot_last_error` will hold.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: i32,
    pub(super) text: String,
}

impl Failure {
    pub(super) fn new(status: i32, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }

    pub(super) fn argument(text: impl Into<String>) -> Self {
        Self::new(SFEUOT_ERROR_INVALID_ARGUMENT, text)
    }

    pub(super) fn null(argument: &str) -> Self {
        Self::argument(format!("{argument} is NULL"))
    }

    /// The same with `prefix` in front of the field that the sentence begins with.
    pub(super) fn of(self, prefix: std::fmt::Arguments<'_>) -> Self {
        Self::new(self.status, format!("{prefix}{}", self.text))
    }
}

pub(super) type Outcome<T> = std::result::Result<T, Failure>;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::InvalidArgument(_) => SFEUOT_ERROR_INVALID_ARGUMENT,
            Error::UnsupportedDevice(_) => SFEUOT_ERROR_UNSUPPORTED_DEVICE,
            Error::Device(_) => SFEUOT_ERROR_DEVICE,
            Error::Io { source, .. } if source.kind() == std::io::ErrorKind::OutOfMemory => SFEUOT_ERROR_OUT_OF_MEMORY,
            Error::Io { .. } => SFEUOT_ERROR_IO,
            Error::Format(_) => SFEUOT_ERROR_FORMAT,
            Error::NotFinite(_) => SFEUOT_ERROR_NOT_FINITE,
            Error::Diverged { .. } => SFEUOT_ERROR_DIVERGED,
            Error::Cancelled { .. } => SFEUOT_ERROR_CANCELLED,
            Error::Callback(_) => SFEUOT_ERROR_CALLBACK,
            Error::OutOfMemory(_) => SFEUOT_ERROR_OUT_OF_MEMORY,
        };
        Self::new(status, error.to_string())
    }
}

/// The name of a status, or "unknown status".
pub(super) fn status_name(status: i32) -> &'static CStr {
    match status {
        SFEUOT_OK => c"SFEUOT_OK",
        SFEUOT_ERROR_INVALID_ARGUMENT => c"SFEUOT_ERROR_INVALID_ARGUMENT",
        SFEUOT_ERROR_INVALID_HANDLE => c"SFEUOT_ERROR_INVALID_HANDLE",
        SFEUOT_ERROR_UNSUPPORTED_VERSION => c"SFEUOT_ERROR_UNSUPPORTED_VERSION",
        SFEUOT_ERROR_UNSUPPORTED_DEVICE => c"SFEUOT_ERROR_UNSUPPORTED_DEVICE",
        SFEUOT_ERROR_OUT_OF_MEMORY => c"SFEUOT_ERROR_OUT_OF_MEMORY",
        SFEUOT_ERROR_IO => c"SFEUOT_ERROR_IO",
        SFEUOT_ERROR_FORMAT => c"SFEUOT_ERROR_FORMAT",
        SFEUOT_ERROR_DIVERGED => c"SFEUOT_ERROR_DIVERGED",
        SFEUOT_ERROR_CANCELLED => c"SFEUOT_ERROR_CANCELLED",
        SFEUOT_ERROR_CALLBACK => c"SFEUOT_ERROR_CALLBACK",
        SFEUOT_ERROR_BUSY => c"SFEUOT_ERROR_BUSY",
        SFEUOT_ERROR_INTERNAL => c"SFEUOT_ERROR_INTERNAL",
        SFEUOT_ERROR_DEVICE => c"SFEUOT_ERROR_DEVICE",
        SFEUOT_ERROR_NOT_FINITE => c"SFEUOT_ERROR_NOT_FINITE",
        _ => c"unknown status",
    }
}
