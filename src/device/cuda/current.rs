//! Makes a CUDA context current on a thread, and gives the host its own back after every call.

use super::driver::check;
use crate::error::Result;
use cudarc::driver::sys::{self, CUcontext, CUstreamCaptureMode};
use std::marker::PhantomData;
use std::ptr;

/// Keeps a context current on this thread, where no capture of another thread forbids its calls. The former state comes
/// back when this is dropped.
pub(crate) struct Entered<'a> {
    context: PhantomData<&'a ()>,
    mode: CUstreamCaptureMode,
    /// Keeps the value on its thread, because a context is current on one thread.
    thread: PhantomData<*const ()>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let mut context = ptr::null_mut();
        // SAFETY: pushed by `enter`. A failure of earlier work may be reported here; the next call reports it again.
        unsafe {
            sys::cuThreadExchangeStreamCaptureMode(&mut self.mode);
            sys::cuCtxPopCurrent_v2(&mut context);
        }
    }
}

/// Makes a context current until the guard is dropped.
pub(super) fn push(context: CUcontext) -> Result<Entered<'static>> {
    // SAFETY: a live context: ours, or the host's by its promise.
    check(unsafe { sys::cuCtxPushCurrent_v2(context) }, || "make the CUDA context current".into())?;
    // A capture that a host has begun in global mode would forbid every other thread to allocate.
    let mut entered = Entered { context: PhantomData, mode: THREAD_LOCAL, thread: PhantomData };
    // SAFETY: exchanges this thread's mode for the one that is there.
    unsafe { sys::cuThreadExchangeStreamCaptureMode(&mut entered.mode) };
    Ok(entered)
}

const THREAD_LOCAL: CUstreamCaptureMode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
