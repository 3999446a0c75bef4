//! Fork-join over a fixed set of threads: jobs are numbered, any thread takes the next one, the caller works too.
//!
//! A step is a few rounds with almost nothing between them. So a thread without work watches for the next round for
//! some microseconds before it sleeps.
//!
//! What a job computes may depend on its number alone, never on the thread or the order: that is what makes results
//! bitwise equal for any thread count. A call allocates nothing.

use crate::error::{Error, Result};
use crate::{float_mode, memory, process};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

type Job = *const (dyn Fn(usize, usize) + Sync);

struct Round {
    job: Option<SendJob>,
    jobs: usize,
    /// Number of the round, by which a sleeping worker recognises a new one.
    number: u64,
    /// Number of workers that have not finished this round.
    running: usize,
    stop: bool,
}

#[derive(Clone, Copy)]
struct SendJob(Job);
// SAFETY: the closure behind it is Sync and outlives the round (see `run`).
unsafe impl Send for SendJob {}

struct Shared {
    round: Mutex<Round>,
    /// Copies of the round's number and running count, to be watched without the lock.
    number: AtomicU64,
    running: AtomicUsize,
    started: Condvar,
    finished: Condvar,
    next: AtomicUsize,
    panicked: AtomicBool,
}

/// The threads of a context. Rounds of several callers take turns.
pub struct Pool {
    threads: usize,
    /// The team of the process that used the pool last; never null.
    team: AtomicPtr<Team>,
}

/// The threads of one process, and the data that they share. After a fork the child has a copy without threads, whose
/// locks may be taken for ever. The child never touches it and makes a team of its own.
struct Team {
    generation: u32,
    shared: Arc<Shared>,
    turn: Mutex<()>,
    workers: Vec<JoinHandle<()>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    /// Starts `threads` - 1 threads; the caller of `run` is one more. `threads` is 1 or more.
    ///
    /// # Errors
    /// [`Error::UnsupportedDevice`] when the system starts fewer; [`Error::OutOfMemory`].
    pub fn new(threads: usize) -> Result<Self> {
        let (team, refusal) = Team::start(threads - 1);
        match refusal {
            Some(refusal) => Err(refusal),
            None => Ok(Self { threads, team: AtomicPtr::new(Box::into_raw(Box::new(team))) }),
        }
    }

    /// Returns the largest number of threads that take part in a round.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Calls `job(number, worker)` for every number below `jobs`, worker below [`Self::threads`], and returns when
    /// all are done. A panic in a job is raised again here.
    pub fn run<F: Fn(usize, usize) + Sync>(&self, jobs: usize, job: F) {
        if self.threads == 1 || jobs <= 1 {
            return (0..jobs).for_each(|number| job(number, 0));
        }
        self.team().run(jobs, job);
    }

    /// Returns the team of this process.
    fn team(&self) -> &Team {
        // SAFETY: never null, and only dropped with the pool.
        let team = unsafe { &*self.team.load(Ordering::Acquire) };
        if team.generation == process::generation() { team } else { self.renew(team) }
    }

    /// Returns a new team in place of one whose threads a fork has left behind. Where the system starts fewer threads,
    /// those do all the work, and jobs give the same results.
    #[cold]
    fn renew(&self, left: &Team) -> &Team {
        let new = Box::into_raw(Box::new(Team::start(self.threads - 1).0));
        let left = std::ptr::from_ref(left).cast_mut();
        match self.team.compare_exchange(left, new, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: made above, and dropped with the pool. The one before is leaked: see its drop.
            Ok(_) => unsafe { &*new },
            Err(other) => {
                // SAFETY: made above, and seen by nobody else; the other one was made by a thread of this process.
                unsafe {
                    drop(Box::from_raw(new));
                    &*other
                }
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let team = *self.team.get_mut();
        // SAFETY: never null, and nobody uses the pool any more.
        if unsafe { (*team).generation } == process::generation() {
            // SAFETY: made by `Box::into_raw`, and taken back once.
            drop(unsafe { Box::from_raw(team) });
        }
        // One from before a fork is leaked: there are no threads to wait for, and the system has given their memory
        // away.
    }
}

impl Team {
    /// Starts up to `workers` threads. Returns them with the error for which there are fewer, if any.
    fn start(workers: usize) -> (Self, Option<Error>) {
        let shared = Arc::new(Shared {
            round: Mutex::new(Round { job: None, jobs: 0, number: 0, running: 0, stop: false }),
            number: AtomicU64::new(0),
            running: AtomicUsize::new(0),
            started: Condvar::new(),
            finished: Condvar::new(),
            next: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
        });
        let generation = process::generation();
        let mut team = Self { generation, shared, turn: Mutex::new(()), workers: Vec::new() };
        if let Err(refusal) = memory::reserve(&mut team.workers, "the threads of a context", workers) {
            return (team, Some(refusal));
        }
        for worker in 1..=workers {
            let shared = Arc::clone(&team.shared);
            match std::thread::Builder::new().name(format!("sfeuot-{worker}")).spawn(move || work(&shared, worker)) {
                Ok(thread) => team.workers.push(thread),
                Err(refusal) => {
                    let threads = workers + 1;
                    return (
                        team,
                        Some(Error::UnsupportedDevice(format!(
                            "threads is {threads}, but the system starts no more of them: {refusal}"
                        ))),
                    );
                }
            }
        }
        (team, None)
    }

    fn run<F: Fn(usize, usize) + Sync>(&self, jobs: usize, job: F) {
        let _turn = lock(&self.turn);
        let erased: *const (dyn Fn(usize, usize) + Sync + '_) = &job;
        // SAFETY: only the lifetime is erased. The pointer is used until this round's workers have all finished,
        // which the wait below sees, also when a job panics.
        let erased: Job = unsafe { std::mem::transmute(erased) };
        self.shared.next.store(0, Ordering::Relaxed);
        self.shared.panicked.store(false, Ordering::Relaxed);
        {
            let mut round = lock(&self.shared.round);
            round.job = Some(SendJob(erased));
            round.jobs = jobs;
            round.number += 1;
            round.running = self.workers.len();
            self.shared.running.store(round.running, Ordering::Relaxed);
            self.shared.number.store(round.number, Ordering::Relaxed);
        }
        self.shared.started.notify_all();
        let mine = catch_unwind(AssertUnwindSafe(|| drain(&self.shared, jobs, 0, &job)));
        watch(|| self.shared.running.load(Ordering::Relaxed) == 0);
        let mut round = lock(&self.shared.round);
        while round.running > 0 {
            round = self.shared.finished.wait(round).unwrap_or_else(PoisonError::into_inner);
        }
        round.job = None;
        drop(round);
        if let Err(panic) = mine {
            resume_unwind(panic);
        }
        assert!(!self.shared.panicked.load(Ordering::Relaxed), "a worker thread panicked");
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        lock(&self.shared.round).stop = true;
        self.shared.started.notify_all();
        for worker in self.workers.drain(..) {
            // A worker catches its jobs' panics, so there is nothing to report here.
            let _ = worker.join();
        }
    }
}

/// Watches `ready` for some tens of microseconds. This is only a hint: the lock decides.
fn watch(ready: impl Fn() -> bool) {
    for _ in 0..1000 {
        if ready() {
            return;
        }
        std::hint::spin_loop();
    }
}

fn drain<F: Fn(usize, usize) + Sync + ?Sized>(shared: &Shared, jobs: usize, worker: usize, job: &F) {
    loop {
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        if number >= jobs {
            return;
        }
        job(number, worker);
    }
}

fn work(shared: &Shared, worker: usize) {
    float_mode::settle();
    let mut seen = 0;
    loop {
        watch(|| shared.number.load(Ordering::Relaxed) != seen);
        let (job, jobs) = {
            let mut round = lock(&shared.round);
            while round.number == seen && !round.stop {
                round = shared.started.wait(round).unwrap_or_else(PoisonError::into_inner);
            }
            if round.stop {
                return;
            }
            seen = round.number;
            (round.job.expect("a round in progress has a job"), round.jobs)
        };
        // SAFETY: the caller of this round waits for us before its closure goes away.
        let job = unsafe { &*job.0 };
        if catch_unwind(AssertUnwindSafe(|| drain(shared, jobs, worker, job))).is_err() {
            shared.panicked.store(true, Ordering::Relaxed);
        }
        let mut round = lock(&shared.round);
        round.running -= 1;
        shared.running.store(round.running, Ordering::Relaxed);
        if round.running == 0 {
            drop(round);
            shared.finished.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_runs_once_on_any_number_of_threads() {
        for threads in 1..=4 {
            let pool = Pool::new(threads).unwrap();
            for jobs in [0, 1, 2, 7, 100] {
                let count: Vec<AtomicUsize> = (0..jobs).map(|_| AtomicUsize::new(0)).collect();
                pool.run(jobs, |number, worker| {
                    assert!(worker < threads);
                    count[number].fetch_add(1, Ordering::Relaxed);
                });
                assert!(count.iter().all(|c| c.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn threads_that_memory_cannot_list_are_refused() {
        let (team, refusal) = Team::start(usize::MAX / 2);
        assert!(team.workers.is_empty() && matches!(refusal, Some(Error::OutOfMemory(_))), "{refusal:?}");
    }

    #[test]
    fn a_team_of_fewer_threads_than_asked_for_does_all_jobs() {
        for started in 0..3 {
            let team = Team::start(started).0;
            let sum = AtomicUsize::new(0);
            team.run(100, |number, worker| {
                assert!(worker <= started);
                sum.fetch_add(number, Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), 4950);
        }
    }

    #[test]
    fn a_panicking_job_reaches_the_caller_and_the_pool_lives_on() {
        let pool = Pool::new(3).unwrap();
        let outcome = catch_unwind(AssertUnwindSafe(|| pool.run(50, |number, _| assert!(number != 31))));
        assert!(outcome.is_err());
        let sum = AtomicUsize::new(0);
        pool.run(10, |number, _| {
            sum.fetch_add(number, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 45);
    }
}
