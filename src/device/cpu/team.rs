//! The threads of a pool, and the rounds in which they share jobs.
//!
//! A round is over when its jobs are done. A thread that wakes up late finds none left, and nobody waits for it. One word
//! has the round's number and how many jobs are left. Whoever takes a job exchanges it, so the round cannot be over before
//! that job is done, and what is written about the round stays until then.

use crate::error::{Error, Result};
use crate::{float_mode, memory, process};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::JoinHandle;

/// How often a thread looks before it sleeps: for some tens of microseconds.
const LOOKS: usize = 2000;

/// A thread's stack, and what the system maps beside it while the thread begins: glibc 64 MiB of addresses for the
/// thread's heap, found within 128 MiB; some pages for signals and for its name.
const STACK: usize = 2 << 20;
const THREAD_ROOM: usize = if cfg!(target_pointer_width = "64") { 144 << 20 } else { 4 << 20 };

type Call = unsafe fn(*const (), usize, usize);

/// Whether a thread sleeps or is about to. On a line of its own, as the others watch the round.
#[repr(align(64))]
struct Bed {
    asleep: AtomicBool,
}

/// The number of the round, and how many of its jobs have not been taken, on a line of its own.
#[repr(align(64))]
struct Claims(AtomicU64);

const ROUND_SHIFT: u32 = 32;

fn round_of(claims: u64) -> u32 {
    (claims >> ROUND_SHIFT) as u32
}

struct Shared {
    claims: Claims,
    /// What the round is: how many jobs, how many threads may take some, the function and its data. Written between rounds.
    jobs: AtomicUsize,
    threads: AtomicUsize,
    call: AtomicPtr<()>,
    data: AtomicPtr<()>,
    done: AtomicUsize,
    panicked: AtomicBool,
    stop: AtomicBool,
    /// Whether the caller sleeps until all jobs are done.
    waiting: AtomicBool,
    /// How many threads have started.
    started: AtomicUsize,
    lock: Mutex<()>,
    finished: Condvar,
    beds: Vec<Bed>,
}

/// The threads of one process, and the data that they share. After a fork the child has a copy without threads, whose
/// locks may be taken for ever. The child never touches it and makes a team of its own.
pub(super) struct Team {
    pub generation: u32,
    shared: Arc<Shared>,
    /// Taken by calls of [`Self::run`], before their turn: whoever has the turn besides them is in [`Self::try_run`].
    queue: Mutex<()>,
    turn: Mutex<()>,
    workers: Vec<JoinHandle<()>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Team {
    /// Starts up to `workers` threads. Returns them with the error for which there are fewer, if any.
    pub fn start(workers: usize) -> (Self, Option<Error>) {
        let mut beds = Vec::new();
        let room = memory::reserve(&mut beds, "the threads of a context", workers);
        if room.is_ok() {
            beds.extend((0..workers).map(|_| Bed { asleep: AtomicBool::new(false) }));
        }
        let shared = Arc::new(Shared {
            claims: Claims(AtomicU64::new(0)),
            jobs: AtomicUsize::new(0),
            threads: AtomicUsize::new(0),
            call: AtomicPtr::default(),
            data: AtomicPtr::default(),
            done: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            waiting: AtomicBool::new(false),
            started: AtomicUsize::new(0),
            lock: Mutex::new(()),
            finished: Condvar::new(),
            beds,
        });
        let generation = process::generation();
        let mut team = Self { generation, shared, queue: Mutex::new(()), turn: Mutex::new(()), workers: Vec::new() };
        let refusal = room.and_then(|()| team.hire(workers)).err();
        (team, refusal)
    }

    /// Starts threads one after the other, each when the one before runs: a thread that finds no addresses for its memory as it
    /// begins ends the process. So there have to be some before, which another thread of the host may still take in between.
    fn hire(&mut self, workers: usize) -> Result<()> {
        memory::reserve(&mut self.workers, "the threads of a context", workers)?;
        for worker in 1..=workers {
            if !memory::has_addresses(STACK + THREAD_ROOM) {
                let (threads, started) = (workers + 1, worker);
                return Err(Error::UnsupportedDevice(format!(
                    "threads is {threads}, but the process has addresses left to start {started} of them"
                )));
            }
            self.spawn(worker, workers)?;
            let mut guard = lock(&self.shared.lock);
            while self.shared.started.load(Ordering::SeqCst) < worker {
                guard = self.shared.finished.wait(guard).unwrap_or_else(PoisonError::into_inner);
            }
        }
        Ok(())
    }

    fn spawn(&mut self, worker: usize, workers: usize) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let builder = std::thread::Builder::new().name(format!("sfeuot-{worker}")).stack_size(STACK);
        match builder.spawn(move || work(&shared, worker)) {
            Ok(thread) => self.workers.push(thread),
            Err(refusal) => {
                let threads = workers + 1;
                return Err(Error::UnsupportedDevice(format!(
                    "threads is {threads}, but the system starts no more of them: {refusal}"
                )));
            }
        }
        Ok(())
    }

    /// Calls `job(number, worker)` for every number below `jobs` on up to `threads` threads, and returns when all are done.
    /// It waits for rounds of its kind that came first, but not for one of [`Self::try_run`], which may be long: then it does
    /// nothing and returns false.
    pub fn run<F: Fn(usize, usize) + Sync>(&self, threads: usize, jobs: usize, job: &F) -> bool {
        let _queue = lock(&self.queue);
        self.try_run(threads, jobs, job)
    }

    /// Does the same unless another caller has a round; then it does nothing and returns false.
    pub fn try_run<F: Fn(usize, usize) + Sync>(&self, threads: usize, jobs: usize, job: &F) -> bool {
        let Some(turn) = self.try_turn() else { return false };
        self.round(threads, jobs, job);
        drop(turn);
        true
    }

    fn try_turn(&self) -> Option<MutexGuard<'_, ()>> {
        match self.turn.try_lock() {
            Ok(turn) => Some(turn),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Wakes threads for rounds that are about to come.
    pub fn wake(&self, threads: usize) {
        for (bed, worker) in self.shared.beds.iter().zip(&self.workers).take(threads.saturating_sub(1)) {
            if bed.asleep.load(Ordering::SeqCst) && bed.asleep.swap(false, Ordering::SeqCst) {
                worker.thread().unpark();
            }
        }
    }

    fn round<F: Fn(usize, usize) + Sync>(&self, threads: usize, jobs: usize, job: &F) {
        unsafe fn call<F: Fn(usize, usize)>(data: *const (), number: usize, worker: usize) {
            // SAFETY: the data of a round is its job, which lives until all jobs are done.
            unsafe { (*data.cast::<F>())(number, worker) }
        }
        let shared = &*self.shared;
        assert!(u32::try_from(jobs).is_ok());
        shared.jobs.store(jobs, Ordering::Relaxed);
        shared.threads.store(threads, Ordering::Relaxed);
        shared.call.store(call::<F> as Call as *mut (), Ordering::Relaxed);
        shared.data.store(std::ptr::from_ref(job).cast_mut().cast(), Ordering::Relaxed);
        shared.done.store(0, Ordering::Relaxed);
        shared.panicked.store(false, Ordering::Relaxed);
        let number = round_of(shared.claims.0.load(Ordering::Relaxed)).wrapping_add(1);
        shared.claims.0.store(u64::from(number) << ROUND_SHIFT | jobs as u64, Ordering::SeqCst);
        self.wake(threads.min(jobs));
        let mut mine = Ok(());
        shared.drain(number, 0, |data, call, job| {
            // SAFETY: as for `Shared::drain`.
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| unsafe { call(data, job, 0) })) {
                mine = Err(panic);
            }
        });
        shared.wait(jobs);
        if let Err(panic) = mine {
            resume_unwind(panic);
        }
        assert!(!shared.panicked.load(Ordering::Relaxed), "a worker thread panicked");
    }

    #[cfg(test)]
    pub fn workers(&self) -> usize {
        self.workers.len()
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.wake(usize::MAX);
        for worker in self.workers.drain(..) {
            // A worker catches its jobs' panics, so there is nothing to report here.
            let _ = worker.join();
        }
    }
}

impl Shared {
    /// Takes jobs of this round until none is left, and calls `each(data, call, job)` for each of them.
    fn drain(&self, round: u32, worker: usize, mut each: impl FnMut(*const (), Call, usize)) {
        loop {
            let claims = self.claims.0.load(Ordering::Acquire);
            let left = claims as u32 as usize;
            if round_of(claims) != round || left == 0 || worker >= self.threads.load(Ordering::Relaxed) {
                return;
            }
            if self.claims.0.compare_exchange_weak(claims, claims - 1, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                let (jobs, data) = (self.jobs.load(Ordering::Relaxed), self.data.load(Ordering::Relaxed));
                // SAFETY: a pointer to a function of this type, stored for this round.
                let call = unsafe { std::mem::transmute::<*mut (), Call>(self.call.load(Ordering::Relaxed)) };
                each(data, call, jobs - left);
                let done = self.done.fetch_add(1, Ordering::SeqCst) + 1;
                if done == jobs && self.waiting.load(Ordering::SeqCst) {
                    drop(lock(&self.lock));
                    self.finished.notify_one();
                }
            }
        }
    }

    /// Waits until all jobs are done.
    fn wait(&self, jobs: usize) {
        let done = || self.done.load(Ordering::SeqCst) == jobs;
        if watch(done) {
            return;
        }
        self.waiting.store(true, Ordering::SeqCst);
        let mut guard = lock(&self.lock);
        while !done() {
            guard = self.finished.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.waiting.store(false, Ordering::Relaxed);
    }
}

/// Looks for some tens of microseconds whether `ready` is.
fn watch(ready: impl Fn() -> bool) -> bool {
    for _ in 0..LOOKS {
        if ready() {
            return true;
        }
        std::hint::spin_loop();
    }
    ready()
}

fn work(shared: &Shared, worker: usize) {
    float_mode::settle();
    {
        let _guard = lock(&shared.lock);
        shared.started.fetch_add(1, Ordering::SeqCst);
        shared.finished.notify_one();
    }
    let bed = &shared.beds[worker - 1];
    let mut seen = 0;
    loop {
        let ready = || round_of(shared.claims.0.load(Ordering::SeqCst)) != seen || shared.stop.load(Ordering::SeqCst);
        while !watch(ready) {
            // Whoever begins a round after this sees it and wakes the thread; a round that began before it is seen here.
            bed.asleep.store(true, Ordering::SeqCst);
            if ready() {
                bed.asleep.store(false, Ordering::SeqCst);
            }
            while bed.asleep.load(Ordering::SeqCst) {
                std::thread::park();
            }
        }
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        seen = round_of(shared.claims.0.load(Ordering::SeqCst));
        shared.drain(seen, worker, |data, call, job| {
            // SAFETY: the job was taken from the round whose data this is, and its caller waits until it is done.
            if catch_unwind(AssertUnwindSafe(|| unsafe { call(data, job, worker) })).is_err() {
                shared.panicked.store(true, Ordering::Relaxed);
            }
        });
    }
}
