//! Fork-join over a fixed set of threads: jobs are numbered, any thread takes the next one, the caller works too.
//!
//! A step is a few rounds with almost nothing between them. So a thread without work watches for the next round for
//! some microseconds before it sleeps.
//!
//! What a job computes may depend on its number alone, never on the thread or the order: that is what makes results
//! bitwise equal for any thread count. A call allocates nothing.

use super::team::Team;
use crate::error::Result;
use crate::process;
use std::sync::atomic::{AtomicPtr, Ordering};

/// The threads of a context. Rounds of several callers take turns.
pub struct Pool {
    threads: usize,
    /// The team of the process that used the pool last; never null.
    team: AtomicPtr<Team>,
}

impl Pool {
    /// Starts `threads` - 1 threads; the caller of `run` is one more. `threads` is 1 or more.
    ///
    /// # Errors
    /// [`crate::Error::UnsupportedDevice`] when the system starts fewer; [`crate::Error::OutOfMemory`].
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
    /// all are done. A panic in a job is raised again here. While a call of [`Self::share`] has the threads, the calling one
    /// does all jobs itself, as number 0.
    pub fn run<F: Fn(usize, usize) + Sync>(&self, jobs: usize, job: F) {
        if self.threads == 1 || jobs <= 1 || !self.team().run(self.threads, jobs, &job) {
            (0..jobs).for_each(|number| job(number, 0));
        }
    }

    /// Does the same on up to `threads` threads, and does not wait for other callers: while one of them has the threads, the
    /// calling one does all jobs itself, as number 0.
    pub fn share<F: Fn(usize, usize) + Sync>(&self, threads: usize, jobs: usize, job: F) {
        let threads = threads.min(self.threads);
        if threads <= 1 || jobs <= 1 || !self.team().try_run(threads, jobs, &job) {
            (0..jobs).for_each(|number| job(number, 0));
        }
    }

    /// Wakes up to `threads` - 1 threads for calls of [`Self::share`] that are about to come.
    pub fn wake(&self, threads: usize) {
        self.team().wake(threads.min(self.threads));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::cpu::crew::Crew;
    use crate::error::Error;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::time::{Duration, Instant};

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
        assert!(team.workers() == 0 && matches!(refusal, Some(Error::OutOfMemory(_))), "{refusal:?}");
    }

    #[test]
    fn a_team_of_fewer_threads_than_asked_for_does_all_jobs() {
        for started in 0..3 {
            let team = Team::start(started).0;
            let sum = AtomicUsize::new(0);
            team.run(9, 100, &|number, worker| {
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

    #[test]
    fn a_call_takes_as_many_threads_as_it_asks_for_and_works_alone_while_others_have_them() {
        let pool = Pool::new(4).unwrap();
        let sum = AtomicUsize::new(0);
        for most in 0..6 {
            pool.share(most, 50, |number, worker| {
                assert!(worker < most.clamp(1, 4));
                sum.fetch_add(number, Ordering::Relaxed);
            });
        }
        pool.run(3, |_, _| {
            pool.share(4, 50, |number, worker| {
                assert_eq!(worker, 0);
                sum.fetch_add(number, Ordering::Relaxed);
            });
        });
        // And nobody waits for them.
        pool.share(3, 3, |_, _| {
            pool.run(50, |number, worker| {
                assert_eq!(worker, 0);
                sum.fetch_add(number, Ordering::Relaxed);
            });
        });
        assert_eq!(sum.into_inner(), 12 * 1225);
    }

    #[test]
    fn threads_work_at_the_same_time() {
        let pool = Arc::new(Pool::new(2).unwrap());
        let crew = Crew::new(&pool, 2).unwrap();
        let (present, met) = (AtomicUsize::new(0), AtomicUsize::new(0));
        // Each of two jobs waits for the other one.
        let meet = |_: usize, _: usize| {
            let until = Instant::now() + Duration::from_secs(60);
            present.fetch_add(1, Ordering::SeqCst);
            while present.load(Ordering::SeqCst) % 2 == 1 && Instant::now() < until {
                std::thread::yield_now();
            }
            met.fetch_add(usize::from(present.load(Ordering::SeqCst) % 2 == 0), Ordering::SeqCst);
        };
        pool.run(2, meet);
        pool.share(2, 2, meet);
        crew.share(2, meet);
        crew.in_order(2, 2, meet);
        assert_eq!(met.into_inner(), 8);
    }

    /// Short rounds one after the other: threads come late to some, sleep between others, and see none twice.
    #[test]
    fn rounds_that_follow_each_other_do_all_their_jobs() {
        let pool = Pool::new(3).unwrap();
        for round in 0..20_000 {
            let count: [AtomicUsize; 5] = Default::default();
            let jobs = 2 + round % 4;
            pool.share(3, jobs, |number, _| {
                count[number].fetch_add(1, Ordering::Relaxed);
            });
            assert!(count.iter().enumerate().all(|(i, c)| c.load(Ordering::Relaxed) == usize::from(i < jobs)));
            if round % 5000 == 0 {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
    }
}
