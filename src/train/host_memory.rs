//! The memory that a training takes on the host, computed before any of it is allocated.

use crate::error::{Error, Result};
use crate::memory;

/// Bytes that a training takes on the host.
#[derive(Clone, Copy, Debug)]
pub(super) struct HostMemory {
    /// Bytes that are taken for as long as the training lives.
    pub kept: usize,
    /// The most bytes that are taken at a time while the training is made.
    pub making: usize,
    /// The part of `making` that weights take, which were read before this was computed.
    pub weights: usize,
    /// The part of `making` that the copies of the samples take.
    pub copies: usize,
}

impl HostMemory {
    /// Asks the system for all of it but the `present` bytes that are there already, and gives it back: a training that
    /// is far too large is refused before anything is allocated and before a sampler is called. A system that promises
    /// more memory than it has would otherwise end the process half way. `sizes` names the settings that it follows from.
    pub fn ask(&self, sizes: &str, sample_shape: &[usize], present: usize) -> Result<()> {
        let bytes = self.kept.max(self.making);
        memory::with_room::<u8>("a training", bytes.saturating_sub(present)).map(drop).map_err(|_| {
            Error::OutOfMemory(format!(
                "{sizes} and samples of {} numbers give a \
                 training of {bytes} bytes, more than can be had; make them smaller, or pass fewer samples",
                sample_shape.iter().product::<usize>()
            ))
        })
    }
}
