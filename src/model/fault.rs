//! The first of several jobs that failed, for jobs that threads take in ascending order.

use crate::error::{Error, Result};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// See the module. It is the same one whatever the threads: jobs before it were taken before it and are done.
pub(super) struct FirstFault {
    /// The least number of a job that failed.
    least: AtomicUsize,
    error: Mutex<Option<(usize, Error)>>,
}

impl Default for FirstFault {
    fn default() -> Self {
        Self { least: AtomicUsize::new(usize::MAX), error: Mutex::new(None) }
    }
}

impl FirstFault {
    /// Does a job, unless one before it has failed.
    pub fn unless_before(&self, number: usize, job: impl FnOnce() -> Result<()>) {
        if self.least.load(Ordering::Relaxed) < number {
            return;
        }
        if let Err(error) = job() {
            self.least.fetch_min(number, Ordering::Relaxed);
            let mut first = self.error.lock().unwrap_or_else(PoisonError::into_inner);
            if first.as_ref().is_none_or(|(other, _)| number < *other) {
                *first = Some((number, error));
            }
        }
    }

    /// Returns the error of the first job that failed.
    pub fn end(self) -> Result<()> {
        let first = self.error.into_inner().unwrap_or_else(PoisonError::into_inner);
        first.map_or(Ok(()), |(_, error)| Err(error))
    }
}
