//! Makes the engine of a context's device, and tells how much memory a training takes there. No other place in `train`
//! tells devices apart.

use super::config::TrainerConfig;
use super::cpu::CpuEngine;
use super::engine::Engine;
#[cfg(feature = "cuda")]
use super::gpu::GpuEngine;
use super::halves::Steps;
use super::host_memory::HostMemory;
use super::plan::{Plan, most_peaks, outline};
use super::side::Samplers;
use crate::context::Context;
use crate::data::{DataSource, Sides};
use crate::device::training::NetworkState;
use crate::error::Result;

/// Returns an engine that goes on at step `step` with `networks`, the state of the value function and of the generator,
/// and with the samples of source and target.
pub(super) fn engine(
    context: &Context,
    plan: Plan,
    networks: [NetworkState; 2],
    data: [DataSource; 2],
    step: u64,
) -> Result<Box<dyn Engine>> {
    let (samplers, sets) = Samplers::part(data, plan.halves.batch_rows())?;
    #[cfg(feature = "cuda")]
    if let Some(gpu) = context.gpu() {
        return Ok(Box::new(Steps::new(GpuEngine::new(gpu, &plan, &networks, sets, step)?, samplers)));
    }
    // Where a processor's engine goes on follows from its state.
    let _ = step;
    Ok(Box::new(Steps::new(CpuEngine::new(context, plan, networks, sets)?, samplers)))
}

/// Returns the host memory that a training takes which is made of samples, and refuses one that the host or the context's device
/// has none for, before anything is allocated.
///
/// # Errors
/// Too many components for the samples' numbers; [`Error::OutOfMemory`](crate::Error::OutOfMemory),
/// [`Error::Device`](crate::Error::Device).
pub(super) fn room(context: &Context, config: &TrainerConfig, sides: &Sides<'_, '_>) -> Result<HostMemory> {
    let shape = sides.sample_shape();
    let outline = outline(config, shape.iter().product())?;
    let many = most_peaks(config, outline.dimension, 0).is_some();
    let memory = host_memory(context, &outline, sides, sides.bytes_while_made(many));
    memory.ask(config.sizes(), shape, memory.weights)?;
    check_room(context, &outline, sides)?;
    Ok(memory)
}

/// Refuses a training that the context's device has no memory of its own for. Reads an [`outline`] and the sizes of the
/// samples, and allocates nothing on the device.
///
/// [`outline`]: super::plan::outline
///
/// # Errors
/// [`Error::OutOfMemory`](crate::Error::OutOfMemory), [`Error::Device`](crate::Error::Device).
pub(super) fn check_room(context: &Context, outline: &Plan, sides: &Sides<'_, '_>) -> Result<()> {
    #[cfg(feature = "cuda")]
    if let Some(gpu) = context.gpu() {
        return GpuEngine::check_room(gpu, outline, sides.sizes());
    }
    let _ = (context, outline, sides);
    Ok(())
}

/// Returns the host memory that a training takes, which takes `samples` bytes until both sides are prepared. Reads an
/// [`outline`] and the sizes of the samples.
///
/// [`outline`]: super::plan::outline
pub(super) fn host_memory(context: &Context, outline: &Plan, sides: &Sides<'_, '_>, samples: usize) -> HostMemory {
    let numbers = |rows: usize| rows.saturating_mul(outline.dimension).saturating_mul(size_of::<f32>());
    let (mut copies, mut batches, mut fingerprints) = (0usize, 0usize, 0usize);
    for (set, rows) in sides.sizes().iter().zip(outline.halves.batch_rows()) {
        match set {
            Some(set) => {
                copies = copies.saturating_add(set.bytes(outline.dimension));
                fingerprints = fingerprints.saturating_add(set.fingerprint_bytes());
            }
            None => batches = batches.saturating_add(numbers(rows)),
        }
    }
    let weights = sides.weight_bytes();
    #[cfg(feature = "cuda")]
    if context.gpu().is_some() {
        let engine = size_of::<Steps<GpuEngine>>() + outline.bytes();
        let kept = batches.saturating_add(fingerprints).saturating_add(engine);
        let layouts = [&outline.halves.value, &outline.halves.generator].map(|network| network.layout.len());
        // Copies and networks on their way to the device.
        let passing = layouts.map(NetworkState::bytes).into_iter().fold(copies, usize::saturating_add);
        return HostMemory { kept, making: kept.saturating_add(passing).max(samples), weights, copies };
    }
    let engine = size_of::<Steps<CpuEngine>>() + outline.bytes();
    let kept = CpuEngine::bytes(context, outline).saturating_add(engine).saturating_add(copies).saturating_add(batches);
    HostMemory { kept, making: kept.max(samples), weights, copies }
}
