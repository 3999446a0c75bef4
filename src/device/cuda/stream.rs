//! Streams that the library makes for itself.

use super::driver::check;
use crate::error::Result;
use cudarc::driver::sys::{self, CUstream};
use std::ptr;

/// Returns a new stream that waits for no other. A context is current.
pub(super) fn new_stream() -> Result<CUstream> {
    let mut stream = ptr::null_mut();
    let flags = sys::CUstream_flags::CU_STREAM_NON_BLOCKING as u32;
    // SAFETY: a context is current.
    check(unsafe { sys::cuStreamCreate(&mut stream, flags) }, || "make a stream".into())?;
    Ok(stream)
}
