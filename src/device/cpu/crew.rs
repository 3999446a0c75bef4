//! The threads that may share one operation on a block of rows.

use super::pool::Pool;
use std::ops::Range;
use std::sync::Arc;

/// Numbers of an operation that each thread has at least: fewer take no longer than it takes to hand them over.
const LEAST_NUMBERS: usize = 4096;

/// Some threads of a pool. See [`Pool::share`].
#[derive(Clone)]
pub struct Crew {
    pool: Arc<Pool>,
    threads: usize,
}

impl Crew {
    /// Takes up to `threads` threads of this pool, with the calling one.
    pub fn new(pool: &Arc<Pool>, threads: usize) -> Self {
        Self { pool: Arc::clone(pool), threads: threads.clamp(1, pool.threads()) }
    }

    /// Returns the largest number of threads that take part.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Calls `job(number, thread)` for every number below `jobs`, with the thread below [`Self::threads`].
    pub fn share(&self, jobs: usize, job: impl Fn(usize, usize) + Sync) {
        self.share_among(self.threads, jobs, job);
    }

    /// Does the same on fewer threads.
    pub fn share_among(&self, threads: usize, jobs: usize, job: impl Fn(usize, usize) + Sync) {
        self.pool.share(threads.min(self.threads), jobs, job);
    }

    /// Wakes the threads for work that is about to come.
    pub fn wake(&self) {
        self.pool.wake(self.threads);
    }
}

/// Calls `work` with ranges that together are `0..count`, one for each thread, where each element has so many numbers. All
/// but the last one have a multiple of `unit` elements.
pub(super) fn in_parts(
    crew: Option<&Crew>,
    count: usize,
    unit: usize,
    numbers: usize,
    work: impl Fn(Range<usize>) + Sync,
) {
    let most = count.saturating_mul(numbers) / LEAST_NUMBERS;
    match crew {
        Some(crew) if crew.threads > 1 && most > 1 => {
            let part = count.div_ceil(crew.threads.min(most)).next_multiple_of(unit);
            crew.share(count.div_ceil(part), |number, _| work(number * part..count.min((number + 1) * part)));
        }
        _ => work(0..count),
    }
}

/// A pointer that parts of an operation use at places of their own.
#[derive(Clone, Copy)]
pub(super) struct Shared<T>(pub *mut T);

// SAFETY: each part writes places that no other part reads or writes.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// Returns the pointer. A method, so that closures take the whole struct with them.
    pub fn get(self) -> *mut T {
        self.0
    }
}
