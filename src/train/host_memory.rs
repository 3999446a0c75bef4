//! The memory that a training takes on the host, told before anything of it is allocated.

use crate::error::{Error, Result};
use crate::memory;

/// Bytes that a training takes on the host.
#[derive(Clone, Copy, Debug)]
pub(super) struct HostMemory {
    /// As long as the training lives.
    pub kept: usize,
    /// The most at a time while the training is made.
    pub making: usize,
    /// Of that, the weights that were read before any of it was told.
    pub weights: usize,
    /// Of that, what the samples are copied to.
    pub copies: usize,
}

impl HostMemory {
    /// Asks the system for all of it but the `present` bytes that are there already, and gives it back: a training that is far too large is refused before
    /// anything is allocated and before a sampler is called. A system that promises more memory than it has would otherwise
    /// end the process half way.
    pub fn ask(&self, sample_shape: &[usize], present: usize) -> Result<()> {
        let bytes = self.kept.max(self.making);
        memory::with_room::<u8>("a training", bytes.saturating_sub(present)).map(drop).map_err(|_| {
            Error::OutOfMemory(format!(
                "hidden_width, hidden_layers, batch_sources, components and samples of {} numbers give a \
                 training of {bytes} bytes, more than can be had; make them smaller, or pass fewer samples",
                sample_shape.iter().product::<usize>()
            ))
        })
    }
}
