//! The engine of a context's device, and what a training takes there: the one place that tells devices apart.

use super::cpu::CpuEngine;
use super::engine::Engine;
use super::gpu::GpuEngine;
use super::halves::Steps;
use super::host_memory::HostMemory;
use super::plan::Plan;
use super::side::Samplers;
use crate::context::Context;
use crate::data::{DataSource, SetSize};
use crate::device::training::NetworkState;
use crate::error::Result;

/// Takes up a training at step `step` and `networks`, the value function's and the generator's state, with the samples of
/// source and target.
pub(super) fn engine(
    context: &Context,
    plan: Plan,
    networks: [NetworkState; 2],
    data: [DataSource; 2],
    step: u64,
) -> Result<Box<dyn Engine>> {
    let (samplers, arrays) = Samplers::part(data, plan.halves.batch_rows())?;
    Ok(match context.gpu() {
        Some(gpu) => Box::new(Steps::new(GpuEngine::new(gpu, &plan, &networks, arrays, step)?, samplers)),
        None => Box::new(Steps::new(CpuEngine::new(context, plan, networks, arrays)?, samplers)),
    })
}

/// What a training of this plan takes of the host's memory, with sets of these sizes or sides that the host draws.
pub(super) fn memory(context: &Context, plan: &Plan, sets: [Option<SetSize>; 2]) -> HostMemory {
    let numbers = |rows: usize| rows.saturating_mul(plan.dimension).saturating_mul(size_of::<f32>());
    let (mut copies, mut batches) = (0usize, 0usize);
    for (set, rows) in sets.iter().zip(plan.halves.batch_rows()) {
        match set {
            Some(set) => copies = copies.saturating_add(set.bytes(plan.dimension)),
            None => batches = batches.saturating_add(numbers(rows)),
        }
    }
    if context.gpu().is_some() {
        let layouts = [&plan.halves.value, &plan.halves.generator].map(|network| network.layout.len());
        // On their way to the device.
        let states = layouts.map(NetworkState::bytes).into_iter().fold(copies, usize::saturating_add);
        return HostMemory { kept: batches, passing: states };
    }
    let own = CpuEngine::bytes(context, plan);
    HostMemory { kept: own.saturating_add(copies).saturating_add(batches), passing: 0 }
}
