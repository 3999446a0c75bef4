//! Errors about single values, the same for samples in host and in device memory.

use crate::error::Error;

/// Returns the error that `value` is not finite. `at` is its number among all values, counted row by row.
pub(super) fn not_finite(argument: &str, value: f64, at: u64, dimension: usize) -> Error {
    Error::invalid(format!(
        "{argument} holds {value} at sample {}, component {}; every value must be finite",
        at / dimension as u64,
        at % dimension as u64
    ))
}

/// Returns the error that `value` is not finite once it is divided by `scale`. `at` is its number among all values,
/// counted row by row.
pub(super) fn beyond_range(argument: &str, value: f64, at: u64, dimension: usize, scale: f64) -> Error {
    Error::invalid(format!(
        "{argument} holds {value:e} at sample {}, component {}, which is beyond the 32-bit range once divided by the \
         samples' scale {scale:e}; leave such samples out",
        at / dimension as u64,
        at % dimension as u64
    ))
}
