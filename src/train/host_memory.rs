//! The memory that a training takes on the host, asked for at once before it is made.

use super::config::TrainerConfig;
use super::cpu_engine::CpuEngine;
use super::plan::outline;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::{data, memory};

/// How much a training takes.
pub(super) struct HostMemory {
    dimension: usize,
    bytes: usize,
}

impl HostMemory {
    /// All but the copies of the host's arrays.
    pub fn of(context: &Context, config: &TrainerConfig, sides: &data::Sides<'_, '_>) -> Result<Self> {
        let dimension = sides.sample_shape().iter().product();
        let outline = outline(config, dimension)?;
        let networks = match context.gpu() {
            // A state of four vectors on its way to the device.
            Some(_) => {
                (outline.value.layout.len() + outline.generator.layout.len()).saturating_mul(4 * size_of::<f32>())
            }
            None => CpuEngine::bytes(context, &outline),
        };
        let bytes = networks.saturating_add(sides.batch_bytes([config.batch_sources, config.batch_rows()]));
        Ok(Self { dimension, bytes })
    }

    /// With so many bytes more.
    pub fn with(self, bytes: usize) -> Self {
        Self { bytes: self.bytes.saturating_add(bytes), ..self }
    }

    /// Asks the system for all of it, and gives it back: a training that is far too large is refused before anything is
    /// allocated and before a sampler is called. A system that promises more memory than it has would otherwise end the
    /// process half way.
    pub fn ask(&self) -> Result<()> {
        let Self { dimension, bytes } = *self;
        memory::with_room::<u8>("a training", bytes).map(drop).map_err(|_| {
            Error::OutOfMemory(format!(
                "hidden_width, hidden_layers, batch_sources, components and samples of {dimension} numbers give a \
                 training of {bytes} bytes, more than can be had; make them smaller, or pass fewer samples"
            ))
        })
    }
}
