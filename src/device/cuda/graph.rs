//! Work that is captured once and replayed.

use super::branches::Branches;
use super::driver::check;
use super::gpu::Gpu;
use super::quiet;
use super::stream::new_stream;
use crate::error::Result;
use cudarc::driver::sys::{self, CUgraph, CUgraphExec, CUresult, CUstream, CUstreamCaptureMode};
use std::ptr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// A capture takes about a millisecond, and another thread spoils it by a wait for the whole context in that time.
const MOST_ATTEMPTS: u32 = 100;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(1);

/// A CUDA graph that is ready to run.
pub(crate) struct Graph {
    gpu: Arc<Gpu>,
    graph: CUgraphExec,
}

// SAFETY: used by one thread at a time, which the exclusive borrows of its owner see to.
unsafe impl Send for Graph {}

impl Graph {
    /// Captures the work that `work` queues on the given stream and its branches. These are new streams, so that no
    /// capture meets the host's work or another trainer's. The context is current, and nothing runs yet. Where another
    /// thread spoils the capture, `work` is queued again from its beginning.
    pub fn capture(gpu: &Arc<Gpu>, work: impl Fn(CUstream, &Arc<Branches>) -> Result<()>) -> Result<Self> {
        let mut attempts = 1;
        let captured = loop {
            // They must not end before the capture does.
            let branches = Arc::new(Branches::new()?);
            let stream = new_stream()?;
            let (captured, spoilt) = capture_on(stream, |stream| work(stream, &branches));
            // SAFETY: made above, and nothing is queued on it.
            unsafe { sys::cuStreamDestroy_v2(stream) };
            if captured.is_ok() || !spoilt || attempts == MOST_ATTEMPTS {
                break captured;
            }
            attempts += 1;
            thread::sleep(BETWEEN_ATTEMPTS);
        };
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

/// Returns the graph, and whether the driver says that the capture was invalidated, as it does where another thread waits
/// for the whole context in the meantime.
fn capture_on(stream: CUstream, work: impl FnOnce(CUstream) -> Result<()>) -> (Result<CUgraph>, bool) {
    let _capturing = quiet::capturing();
    // Only this thread's calls are held to what a capture allows: a host may use CUDA beside us.
    let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
    // SAFETY: a fresh stream.
    let status = unsafe { sys::cuStreamBeginCapture_v2(stream, mode) };
    if let Err(error) = check(status, || "begin to capture a training step".into()) {
        return (Err(error), false);
    }
    let done = work(stream);
    let mut captured = ptr::null_mut();
    // SAFETY: the capture begun above; it ends whatever happened in between.
    let status = unsafe { sys::cuStreamEndCapture(stream, &mut captured) };
    let ended = check(status, || "capture a training step".into());
    if let Err(error) = done.and(ended) {
        if !captured.is_null() {
            // SAFETY: captured above, used by nobody.
            unsafe { sys::cuGraphDestroy(captured) };
        }
        return (Err(error), status == CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    }
    (Ok(captured), false)
}
