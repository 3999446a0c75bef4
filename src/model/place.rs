//! Puts a model's networks on the context's device.

use super::cpu_pieces::CpuModel;
use super::cuda_pieces::CudaModel;
use super::pieces::Placed;
use crate::context::Context;
use crate::error::Result;
use crate::euot::answers::Transport;
use std::sync::Arc;

/// Copies the weights of both networks to the context's device, and returns the networks there.
///
/// # Errors
/// [`Error::OutOfMemory`](crate::Error::OutOfMemory), [`Error::Device`](crate::Error::Device).
pub(super) fn place(context: &Context, transport: &Arc<Transport>, weights: [&[f32]; 2]) -> Result<Arc<dyn Placed>> {
    Ok(match context.gpu() {
        Some(gpu) => Arc::new(CudaModel::new(gpu, transport, weights)?),
        None => Arc::new(CpuModel::new(context.isa(), context.pool(), transport, weights)?),
    })
}
