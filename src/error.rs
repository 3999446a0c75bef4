//! The one error type of the crate. Every message is a sentence that names the argument, its value and what is allowed.

use std::path::PathBuf;

/// What went wrong; the C ABI turns each variant into one `SFEUOT_ERROR_*` status.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument is missing, out of range, not finite, or does not fit another one.
    #[error("{0}")]
    InvalidArgument(String),
    /// The device asked for cannot be used.
    #[error("{0}")]
    UnsupportedDevice(String),
    /// The operating system refused to read or write a file.
    #[error("{action} '{}': {source}", crate::quote::path(path))]
    Io {
        /// What was being done, such as "cannot write".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file is truncated, is not one of ours, or was written by a newer version.
    #[error("{0}")]
    Format(String),
    /// A loss, a gradient or a new weight stopped being finite; the trainer is back at the last weights that gave
    /// finite ones.
    #[error(
        "training diverged in step {step}: {term} is {value:e}; the last weights with finite losses are kept (lower the learning rates, raise sigma, or set gradient_clip)"
    )]
    Diverged {
        /// The step that was not taken, counted from 1.
        step: u64,
        /// The quantity that is not finite.
        term: &'static str,
        /// Its value.
        value: f64,
    },
    /// A result is not finite: the model gives no usable number for that input.
    #[error("{0}")]
    NotFinite(String),
    /// The host asked the run to stop.
    #[error("the run was cancelled after step {step}")]
    Cancelled {
        /// Steps done so far.
        step: u64,
    },
    /// A callback of the host reported failure.
    #[error("{0}")]
    Callback(String),
    /// A device failed in the middle of its work.
    #[error("{0}")]
    Device(String),
    /// The system has no memory left for what was asked.
    #[error("{0}")]
    OutOfMemory(String),
}

/// The crate's result.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::InvalidArgument(message.into())
    }
}
