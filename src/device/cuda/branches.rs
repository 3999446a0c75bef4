//! Branches of a capture: streams that fork from the captured one and come back to it. They make edges of the graph; at
//! a replay the driver runs side by side whatever no edge keeps apart.

use super::driver::check;
use super::stream::new_stream;
use crate::error::Result;
use cudarc::driver::sys::{self, CUevent, CUstream};
use std::ptr;
use std::sync::{Mutex, PoisonError};

/// Streams that branches are captured on in turn: those of one stream follow each other.
const STREAMS: usize = 16;

/// See the module.
pub(crate) struct Branches {
    streams: Vec<CUstream>,
    /// Recorded and waited for anew each time: a wait is for the record before it.
    event: CUevent,
    turn: Mutex<Turn>,
}

#[derive(Default)]
struct Turn {
    next: usize,
    /// Streams that have not come back.
    open: Vec<CUstream>,
}

// SAFETY: streams and events may be used from any thread.
unsafe impl Send for Branches {}
// SAFETY: as above, and the rest has a lock.
unsafe impl Sync for Branches {}

impl Branches {
    /// Before a capture begins, inside which streams are not made. A context is current, and stays so until they are
    /// dropped.
    pub fn new() -> Result<Self> {
        let mut branches = Self { streams: Vec::new(), event: ptr::null_mut(), turn: Mutex::default() };
        let flags = sys::CUevent_flags::CU_EVENT_DISABLE_TIMING as u32;
        // SAFETY: a context is current.
        check(unsafe { sys::cuEventCreate(&mut branches.event, flags) }, || "make an event".into())?;
        for _ in 0..STREAMS {
            branches.streams.push(new_stream()?);
        }
        Ok(branches)
    }

    /// A stream whose work comes after what was queued on `from` so far.
    pub fn fork(&self, from: CUstream) -> Result<CUstream> {
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // A branch does not fork into itself.
        if self.streams[turn.next] == from {
            turn.next = (turn.next + 1) % STREAMS;
        }
        let stream = self.streams[turn.next];
        turn.next = (turn.next + 1) % STREAMS;
        self.after(stream, from)?;
        if !turn.open.contains(&stream) {
            turn.open.push(stream);
        }
        Ok(stream)
    }

    /// Makes `into` wait for all branches.
    pub fn join(&self, into: CUstream) -> Result<()> {
        let open = std::mem::take(&mut self.turn.lock().unwrap_or_else(PoisonError::into_inner).open);
        open.into_iter().try_for_each(|stream| self.after(into, stream))
    }

    /// What follows on `stream` waits for what was queued on `before`.
    fn after(&self, stream: CUstream, before: CUstream) -> Result<()> {
        // SAFETY: the streams and the event are alive.
        unsafe {
            check(sys::cuEventRecord(self.event, before), || "record an event".into())?;
            check(sys::cuStreamWaitEvent(stream, self.event, 0), || "wait for an event".into())
        }
    }
}

impl Drop for Branches {
    fn drop(&mut self) {
        // SAFETY: made by us, once; a graph keeps what it captured.
        unsafe {
            if !self.event.is_null() {
                sys::cuEventDestroy_v2(self.event);
            }
            for &stream in &self.streams {
                sys::cuStreamDestroy_v2(stream);
            }
        }
    }
}
