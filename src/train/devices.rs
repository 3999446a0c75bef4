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

/// Returns the host memory that a training of this configuration takes. Reads the sizes of the samples, not the
/// samples.
///
/// # Errors
/// As for [`outline`].
pub(super) fn host_memory(context: &Context, config: &TrainerConfig, sides: &Sides<'_, '_>) -> Result<HostMemory> {
    let plan = outline(config, sides.sample_shape().iter().product())?;
    let numbers = |rows: usize| rows.saturating_mul(plan.dimension).saturating_mul(size_of::<f32>());
    let (mut copies, mut batches) = (0usize, 0usize);
    for (set, rows) in sides.sizes().iter().zip(plan.halves.batch_rows()) {
        match set {
            Some(set) => copies = copies.saturating_add(set.bytes(plan.dimension)),
            None => batches = batches.saturating_add(numbers(rows)),
        }
    }
    if context.gpu().is_some() {
        let layouts = [&plan.halves.value, &plan.halves.generator].map(|network| network.layout.len());
        // On their way to the device.
        let states = layouts.map(NetworkState::bytes).into_iter().fold(copies, usize::saturating_add);
        return Ok(HostMemory { kept: batches, passing: states });
    }
    let own = CpuEngine::bytes(context, &plan);
    Ok(HostMemory { kept: own.saturating_add(copies).saturating_add(batches), passing: 0 })
}
