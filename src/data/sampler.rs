//! Samplers: hosts that draw fresh samples instead of handing over a finite set.

use crate::error::{Error, Result};
use crate::float_mode;

/// A host's source of independent samples. Closures of the same signature are samplers.
///
/// A trainer calls it from one thread at a time, not always the same one. A step that was cancelled on the processor
/// keeps its samples until it is made. The trainer holds these, but its checkpoints do not.
pub trait Sampler: Send {
    /// Fills `batch` (`rows` x `dimension`, row-major, data units) with independent samples, or says why it cannot.
    ///
    /// `batch` comes filled with NaN, so a value that is not written is found and reported.
    fn fill(&mut self, batch: &mut [f32], rows: usize, dimension: usize) -> std::result::Result<(), String>;
}

impl<F> Sampler for F
where
    F: FnMut(&mut [f32], usize, usize) -> std::result::Result<(), String> + Send,
{
    fn fill(&mut self, batch: &mut [f32], rows: usize, dimension: usize) -> std::result::Result<(), String> {
        self(batch, rows, dimension)
    }
}

/// Draws one batch in data units; failure and values that are not finite become errors that name `side`.
pub(super) fn draw(sampler: &mut dyn Sampler, batch: &mut [f32], dimension: usize, side: &str) -> Result<()> {
    batch.fill(f32::NAN);
    float_mode::as_host(|| sampler.fill(batch, batch.len() / dimension, dimension))
        .map_err(|text| Error::Callback(format!("the {side} sampler reported failure: {text}")))?;
    match batch.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => Err(Error::invalid(format!(
            "the {side} sampler gave {} at row {}, component {}; it must write every value of the batch, and finite ones",
            batch[at],
            at / dimension,
            at % dimension
        ))),
    }
}
