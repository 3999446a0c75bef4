//! Makes the engine of a context's device, and tells how much memory a training takes there. No other place in `train`
//! tells devices apart.

use super::config::TrainerConfig;
use super::cpu::CpuEngine;
use super::engine::Engine;
use super::gpu::GpuEngine;
use super::halves::Steps;
use super::host_memory::HostMemory;
use super::plan::{Plan, outline};
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
    Ok(match context.gpu() {
        Some(gpu) => Box::new(Steps::new(GpuEngine::new(gpu, &plan, &networks, sets, step)?, samplers)),
        None => Box::new(Steps::new(CpuEngine::new(context, plan, networks, sets)?, samplers)),
    })
}

/// Refuses a training of this configuration that the context's device has no memory of its own for. Of the samples only the
/// sizes are read, and nothing is allocated on the device.
///
/// # Errors
/// [`Error::OutOfMemory`](crate::Error::OutOfMemory), [`Error::Device`](crate::Error::Device), and those of [`outline`].
pub(super) fn check_room(context: &Context, config: &TrainerConfig, sides: &Sides<'_, '_>) -> Result<()> {
    match context.gpu() {
        Some(gpu) => {
            let plan = outline(config, sides.sample_shape().iter().product())?;
            GpuEngine::check_room(gpu, &plan, sides.sizes())
        }
        None => Ok(()),
    }
}

/// Returns the host memory that a training of this configuration takes. Reads the sizes of the samples, not the
/// samples.
///
/// # Errors
/// As for [`outline`].
pub(super) fn host_memory(context: &Context, config: &TrainerConfig, sides: &Sides<'_, '_>) -> Result<HostMemory> {
    let plan = outline(config, sides.sample_shape().iter().product())?;
    let numbers = |rows: usize| rows.saturating_mul(plan.dimension).saturating_mul(size_of::<f32>());
    let (mut copies, mut batches, mut fingerprints) = (0usize, 0usize, 0usize);
    for (set, rows) in sides.sizes().iter().zip(plan.halves.batch_rows()) {
        match set {
            Some(set) => {
                copies = copies.saturating_add(set.bytes(plan.dimension));
                fingerprints = fingerprints.saturating_add(set.fingerprint_bytes());
            }
            None => batches = batches.saturating_add(numbers(rows)),
        }
    }
    let (samples, weights) = (sides.bytes_while_made(), sides.weight_bytes());
    if context.gpu().is_some() {
        let engine = size_of::<Steps<GpuEngine>>() + plan.bytes();
        let kept = batches.saturating_add(fingerprints).saturating_add(engine);
        let layouts = [&plan.halves.value, &plan.halves.generator].map(|network| network.layout.len());
        // Copies and networks on their way to the device.
        let passing = layouts.map(NetworkState::bytes).into_iter().fold(copies, usize::saturating_add);
        return Ok(HostMemory { kept, making: kept.saturating_add(passing).max(samples), weights, copies });
    }
    let engine = size_of::<Steps<CpuEngine>>() + plan.bytes();
    let kept = CpuEngine::bytes(context, &plan).saturating_add(engine).saturating_add(copies).saturating_add(batches);
    Ok(HostMemory { kept, making: kept.max(samples), weights, copies })
}
