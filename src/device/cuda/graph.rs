//! Work that is captured once and replayed.

use super::branches::Branches;
use super::driver::check;
use super::gpu::Gpu;
use super::stream::new_stream;
use crate::error::Result;
use cudarc::driver::sys::{self, CUgraph, CUgraphExec, CUstream, CUstreamCaptureMode};
use std::ptr;
use std::sync::Arc;

/// A CUDA graph that is ready to run.
pub(crate) struct Graph {
    gpu: Arc<Gpu>,
    graph: CUgraphExec,
}

// SAFETY: used by one thread at a time, which the exclusive borrows of its owner see to.
unsafe impl Send for Graph {}

impl Graph {
    /// Captures the work that `work` queues on the given stream and its branches. These are new streams, so that no
    /// capture meets the host's work or another trainer's. The context is current, and nothing runs yet.
    pub fn capture(gpu: &Arc<Gpu>, work: impl FnOnce(CUstream, &Arc<Branches>) -> Result<()>) -> Result<Self> {
        // They must not end before the capture does.
        let branches = Arc::new(Branches::new()?);
        let stream = new_stream()?;
        let captured = capture_on(stream, |stream| work(stream, &branches));
        // SAFETY: made above, and nothing is queued on it.
        unsafe { sys::cuStreamDestroy_v2(stream) };
        let captured = captured?;
        let mut graph = ptr::null_mut();
        // SAFETY: the graph captured.
        let status = unsafe { sys::cuGraphInstantiateWithFlags(&mut graph, captured, 0) };
        // SAFETY: captured above; what was instantiated does not need it.
        unsafe { sys::cuGraphDestroy(captured) };
        check(status, || "prepare a captured training step".into())?;
        let graph = Self { gpu: Arc::clone(gpu), graph };
        // SAFETY: a live graph and stream. Moves it to the device now rather than at its first launch.
        check(unsafe { sys::cuGraphUpload(graph.graph, gpu.stream()) }, || "upload a training step".into())?;
        Ok(graph)
    }

    /// Queues the graph on the stream of all work. The context is current.
    pub fn launch(&self) -> Result<()> {
        // SAFETY: a live graph and stream.
        check(unsafe { sys::cuGraphLaunch(self.graph, self.gpu.stream()) }, || "start a training step".into())
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        if let Ok(_entered) = self.gpu.enter() {
            // SAFETY: made by us; the driver lets launches that were queued end.
            unsafe { sys::cuGraphExecDestroy(self.graph) };
        }
    }
}

fn capture_on(stream: CUstream, work: impl FnOnce(CUstream) -> Result<()>) -> Result<CUgraph> {
    // Only this thread's calls are held to what a capture allows: a host may use CUDA beside us.
    let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
    // SAFETY: a fresh stream.
    check(unsafe { sys::cuStreamBeginCapture_v2(stream, mode) }, || "begin to capture a training step".into())?;
    let done = work(stream);
    let mut captured = ptr::null_mut();
    // SAFETY: the capture begun above; it ends whatever happened in between.
    let status = unsafe { sys::cuStreamEndCapture(stream, &mut captured) };
    let ended = check(status, || "capture a training step".into());
    match done.and(ended) {
        Ok(()) => Ok(captured),
        Err(error) => {
            if !captured.is_null() {
                // SAFETY: captured above, used by nobody.
                unsafe { sys::cuGraphDestroy(captured) };
            }
            Err(error)
        }
    }
}
