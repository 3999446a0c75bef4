//! The threads that may share one operation on a block of rows.

use super::pool::Pool;
use crate::error::Result;
use crate::memory;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Numbers of an operation that each thread has at least: fewer take no longer than it takes to hand them over.
const LEAST_NUMBERS: usize = 4096;

/// The next job of a thread's own, on a line of its own.
#[repr(align(64))]
struct Lane(AtomicUsize);

/// Some threads of a pool, for one call at a time. See [`Pool::share`].
pub struct Crew {
    pool: Arc<Pool>,
    lanes: Vec<Lane>,
}

impl Crew {
    /// Takes up to `threads` threads of this pool, with the calling one.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub fn new(pool: &Arc<Pool>, threads: usize) -> Result<Self> {
        let lanes = memory::made("the threads of a session", threads.clamp(1, pool.threads()), |_| {
            Ok(Lane(AtomicUsize::new(0)))
        })?;
        Ok(Self { pool: Arc::clone(pool), lanes })
    }

    /// Returns the largest number of threads that take part.
    pub fn threads(&self) -> usize {
        self.lanes.len()
    }

    /// Calls `job(number, thread)` for every number below `jobs`, in ascending order where one thread does all, on up to
    /// `threads` threads.
    pub fn in_order(&self, threads: usize, jobs: usize, job: impl Fn(usize, usize) + Sync) {
        self.pool.share(threads.min(self.threads()), jobs, job);
    }

    /// Calls `job(number, thread)` for every number below `jobs`. Each thread begins with numbers that follow each other, the
    /// same in every call, so that it finds in its own cache what it left there; then it helps the others.
    pub fn share(&self, jobs: usize, job: impl Fn(usize, usize) + Sync) {
        let threads = self.threads();
        if threads == 1 {
            return (0..jobs).for_each(|number| job(number, 0));
        }
        let begin = |lane: usize| lane * jobs / threads;
        for (number, lane) in self.lanes.iter().enumerate() {
            lane.0.store(begin(number), Ordering::Relaxed);
        }
        self.pool.share(threads, threads, |_, thread| {
            for lane in (thread..threads).chain(0..thread) {
                let end = begin(lane + 1);
                // Without a look at it first, lanes that are done would be written again and again.
                while self.lanes[lane].0.load(Ordering::Relaxed) < end {
                    let number = self.lanes[lane].0.fetch_add(1, Ordering::Relaxed);
                    if number < end {
                        job(number, thread);
                    }
                }
            }
        });
    }

    /// Wakes the threads for work that is about to come.
    pub fn wake(&self) {
        self.pool.wake(self.threads());
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
        Some(crew) if crew.threads() > 1 && most > 1 => {
            let part = count.div_ceil(crew.threads().min(most)).next_multiple_of(unit);
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
