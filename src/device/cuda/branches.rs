//! Branches of a capture: streams that fork from the captured stream and come back to it. Forks and joins become edges
//! of the graph. At a replay the driver runs work side by side unless an edge orders it.

use super::driver::check;
use super::stream::new_stream;
use crate::error::Result;
use cudarc::driver::sys::{self, CUevent, CUstream};
use std::ptr;
use std::sync::{Mutex, PoisonError};

/// Number of streams on which branches are captured in turn. Branches on one stream follow each other.
const STREAMS: usize = 16;

/// See the module.
pub(crate) struct Branches {
    streams: Vec<CUstream>,
    /// The event of every fork and join. It is recorded anew each time, and a wait is for the record before it.
    event: CUevent,
    turn: Mutex<Turn>,
}

#[derive(Default)]
struct Turn {
    next: usize,
    /// Streams that have not been joined.
    open: Vec<CUstream>,
}

// SAFETY: streams and events may be used from any thread.
unsafe impl Send for Branches {}
// SAFETY: as above, and the rest has a lock.
unsafe impl Sync for Branches {}

impl Branches {
    /// Makes the streams before a capture begins, because none can be made inside of it. A context is current until
    /// they are dropped.
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

    /// Returns a stream whose work comes after the work queued on `from` so far.
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

    /// Makes work that follows on `stream` wait for the work queued on `before`.
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
