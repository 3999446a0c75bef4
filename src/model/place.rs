//! Puts a model's networks on the context's device.

use super::cpu_pieces::CpuModel;
#[cfg(feature = "cuda")]
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
    #[cfg(feature = "cuda")]
    if let Some(gpu) = context.gpu() {
        return Ok(Arc::new(CudaModel::new(gpu, transport, weights)?));
    }
    Ok(Arc::new(CpuModel::new(context.isa(), context.pool(), transport, weights)?))
}
