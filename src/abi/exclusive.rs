//! One caller at a time, without a lock: whoever comes second is told so rather than made to wait, unless it asks to wait for
//! some time. A long call lets others in where it may.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::status::{Failure, Outcome, SFEUOT_ERROR_BUSY, SFEUOT_ERROR_INTERNAL};
use crate::process;

const FREE: u32 = 0;
const BROKEN: u32 = 1;
/// With the generation of the process that the call is inside in, in the bits above.
const BUSY: u32 = 2;
/// The same for a call that was let in while another one works, and is gone soon.
const BRIEF: u32 = 3;
const STATE_BITS: u32 = 2;

/// Calls that wait are counted below the generation of their process.
const WAITING_BITS: u32 = 12;
/// How long a waiting call sleeps before it looks again.
const NAP: Duration = Duration::from_micros(100);
/// The longest time that a call waits for a brief one.
const BRIEFLY: Duration = Duration::from_secs(10);
/// How long a call leaves the door open for one that waits.
const OPEN: Duration = Duration::from_millis(5);

/// A value that one call at a time may change. Re-entry from a callback is refused like a second
/// thread. After a panic inside, when the value may be half changed, every later entry is refused
/// with `SFEUOT_ERROR_INTERNAL`; so it is in the child of a fork that found a call inside.
pub(super) struct Exclusive<T> {
    noun: &'static str,
    state: AtomicU32,
    /// One more than the generation of the process in which a call stays, also where it has opened; 0 for none.
    staying: AtomicU32,
    /// How many calls wait, and in which process.
    waiting: AtomicU32,
    /// One more than the generation of the process in which a call that has opened wants to come back; 0 for none.
    returning: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: `enter` hands the value to one thread at a time, so sharing the cell is no more than sending the value.
unsafe impl<T: Send> Sync for Exclusive<T> {}

impl<T> Exclusive<T> {
    pub(super) fn new(noun: &'static str, value: T) -> Self {
        let [state, staying, waiting, returning] = [FREE, 0, 0, 0].map(AtomicU32::new);
        Self { noun, state, staying, waiting, returning, value: UnsafeCell::new(value) }
    }

    /// Runs `body` alone on the value, or refuses.
    pub(super) fn enter<R>(&self, body: impl FnOnce(&mut T) -> Outcome<R>) -> Outcome<R> {
        self.alone(|inside| inside.with(body))
    }

    /// Does the same, and where another call is inside waits up to `patience` for it to end or to let others in.
    pub(super) fn enter_within<R>(&self, patience: Duration, body: impl FnOnce(&mut T) -> Outcome<R>) -> Outcome<R> {
        // Where the door is open nobody asks for the time: a system without threads may have none.
        if self.is_wanted_back() || self.shut(BRIEF)?.is_err() {
            let until = Instant::now().checked_add(patience);
            let waiting = Waiting::new(&self.waiting);
            while self.is_wanted_back() || self.shut(BRIEF)?.is_err() {
                if until.is_some_and(|until| Instant::now() >= until) {
                    return Err(self.busy());
                }
                std::thread::sleep(NAP);
            }
            drop(waiting);
        }
        self.inside(|inside| inside.with(body))
    }

    /// Runs `body` inside, alone but where it lets others in, or refuses. Another call that stays is refused as well where
    /// this one has opened.
    pub(super) fn stay<R>(&self, body: impl FnOnce(&mut Inside<'_, T>) -> Outcome<R>) -> Outcome<R> {
        struct Ends<'a>(&'a AtomicU32);
        impl Drop for Ends<'_> {
            fn drop(&mut self) {
                self.0.store(0, Ordering::Release);
            }
        }
        let mine = process::generation() + 1;
        if let Err(other) = self.staying.compare_exchange(0, mine, Ordering::Acquire, Ordering::Relaxed) {
            return Err(if other == mine { self.busy() } else { self.lost(BUSY) });
        }
        let _ends = Ends(&self.staying);
        self.alone(body)
    }

    /// Runs `body` inside, or refuses. It waits for a call that was let in by [`Self::enter_within`]: whoever waits must not
    /// make those busy that it waits for.
    fn alone<R>(&self, body: impl FnOnce(&mut Inside<'_, T>) -> Outcome<R>) -> Outcome<R> {
        if self.is_wanted_back() {
            return Err(self.busy());
        }
        let mut until = None;
        loop {
            match self.shut(BUSY)? {
                Ok(()) => return self.inside(body),
                Err(BRIEF) if Instant::now() < *until.get_or_insert_with(|| Instant::now() + BRIEFLY) => {
                    std::thread::sleep(NAP);
                }
                Err(_) => return Err(self.busy()),
            }
        }
    }

    /// Whether a call that has opened wants to come back. All others let it: without that, one that asks again and again would
    /// keep it out.
    fn is_wanted_back(&self) -> bool {
        self.returning.load(Ordering::Relaxed) == process::generation() + 1
    }

    /// Shuts the door behind a call of this kind, or returns the kind of the one that is inside.
    fn shut(&self, kind: u32) -> Outcome<Result<(), u32>> {
        let generation = process::generation() << STATE_BITS;
        match self.state.compare_exchange(FREE, generation | kind, Ordering::Acquire, Ordering::Acquire) {
            Ok(_) => Ok(Ok(())),
            Err(state) => match state ^ generation {
                inside @ (BUSY | BRIEF) => Ok(Err(inside)),
                _ => Err(self.lost(state)),
            },
        }
    }

    /// Runs `body` behind the shut door.
    fn inside<R>(&self, body: impl FnOnce(&mut Inside<'_, T>) -> Outcome<R>) -> Outcome<R> {
        let mut inside = Inside { door: self, has_shut: true, next: BROKEN };
        let outcome = body(&mut inside);
        inside.next = FREE;
        outcome
    }

    /// The refusal of a second call.
    pub(super) fn busy(&self) -> Failure {
        Failure::new(
            SFEUOT_ERROR_BUSY,
            format!(
                "the {} is inside another call (another thread, or a callback calling \
                 back); one call at a time is allowed",
                self.noun
            ),
        )
    }

    fn lost(&self, state: u32) -> Failure {
        let why = match state {
            BROKEN => "was left half changed by an earlier SFEUOT_ERROR_INTERNAL",
            _ => "was inside a call when this process was forked, so it may be half changed here",
        };
        Failure::new(SFEUOT_ERROR_INTERNAL, format!("the {} {why}; release it", self.noun))
    }
}

/// A call inside. `next` is `BROKEN` until the body has returned, so unwinding leaves that behind.
pub(super) struct Inside<'a, T> {
    door: &'a Exclusive<T>,
    /// Whether the door is shut because of this call.
    has_shut: bool,
    next: u32,
}

impl<T> Inside<'_, T> {
    /// Runs `body` on the value.
    pub(super) fn with<R>(&mut self, body: impl FnOnce(&mut T) -> R) -> R {
        assert!(self.has_shut, "a call that could not come back has no value");
        // SAFETY: the door is shut because of this call, and `self` is borrowed, so nobody else has the value.
        body(unsafe { &mut *self.door.value.get() })
    }

    /// Lets other calls in while `during` runs, and waits until the last one of them has left.
    pub(super) fn open<R>(&mut self, during: impl FnOnce() -> R) -> Outcome<R> {
        self.has_shut = false;
        self.door.state.store(FREE, Ordering::Release);
        let result = during();
        let shut = loop {
            match self.door.shut(BUSY) {
                Ok(Err(_)) => {
                    self.door.returning.store(process::generation() + 1, Ordering::Relaxed);
                    std::thread::sleep(NAP);
                }
                shut => break shut,
            }
        };
        self.door.returning.store(0, Ordering::Relaxed);
        shut?.expect("the loop ends with a shut door");
        self.has_shut = true;
        Ok(result)
    }

    /// Lets a call in that waits, if one does.
    pub(super) fn let_in(&mut self) -> Outcome<()> {
        let door = self.door;
        if waiting(door.waiting.load(Ordering::Relaxed)) == 0 {
            return Ok(());
        }
        let until = Instant::now() + OPEN;
        self.open(|| {
            while door.state.load(Ordering::Relaxed) == FREE
                && waiting(door.waiting.load(Ordering::Relaxed)) > 0
                && Instant::now() < until
            {
                std::thread::yield_now();
            }
        })
    }
}

impl<T> Drop for Inside<'_, T> {
    fn drop(&mut self) {
        if self.has_shut {
            self.door.state.store(self.next, Ordering::Release);
        }
    }
}

/// How many calls of this process wait.
fn waiting(word: u32) -> u32 {
    if word >> WAITING_BITS == process::generation() { word & ((1 << WAITING_BITS) - 1) } else { 0 }
}

/// A call that waits, as long as this lives.
struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    fn new(word: &'a AtomicU32) -> Self {
        Self::change(word, |count| count + 1);
        Self(word)
    }

    /// Those of the process before a fork are gone.
    fn change(word: &AtomicU32, to: impl Fn(u32) -> u32) {
        let next = |now| Some(process::generation() << WAITING_BITS | to(waiting(now)));
        let _ = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        Self::change(self.0, |count| count.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::panic::guard;
    use crate::abi::status::SFEUOT_OK;

    #[test]
    fn re_entry_is_busy_failure_frees_and_panic_closes() {
        let cell = Exclusive::new("trainer", 0);
        let call = |body: &dyn Fn(&mut i32) -> Outcome<()>| guard("sfeuot_f", || cell.enter(body));
        assert_eq!(call(&|_| cell.enter(|_| Ok(()))), SFEUOT_ERROR_BUSY);
        assert_eq!(call(&|_| Err(Failure::null("x"))), 1);
        assert_eq!(
            call(&|value| {
                *value += 1;
                Ok(())
            }),
            SFEUOT_OK
        );
        assert_eq!(call(&|_| panic!("half way")), SFEUOT_ERROR_INTERNAL);
        assert_eq!(call(&|_| Ok(())), SFEUOT_ERROR_INTERNAL);
    }

    #[test]
    fn a_call_that_opens_lets_others_in_and_comes_back() {
        let cell = Exclusive::new("trainer", 1);
        let outcome = cell.stay(|inside| {
            assert_eq!(cell.enter(|_| Ok(())).expect_err("shut").status, SFEUOT_ERROR_BUSY);
            inside.open(|| {
                cell.enter(|value| {
                    *value += 1;
                    Ok(())
                })
                .expect("open");
                assert_eq!(cell.stay(|_| Ok(())).expect_err("one stays").status, SFEUOT_ERROR_BUSY);
            })?;
            assert_eq!(cell.enter(|_| Ok(())).expect_err("shut again").status, SFEUOT_ERROR_BUSY);
            // What another call leaves half changed this one does not touch.
            let panicked = inside.open(|| call(&cell))?;
            assert_eq!(panicked, SFEUOT_ERROR_INTERNAL);
            inside.with(|value| Ok(*value))
        });
        fn call(cell: &Exclusive<i32>) -> i32 {
            guard("sfeuot_f", || cell.enter(|_| -> Outcome<()> { panic!("half way") }))
        }
        assert_eq!(outcome.expect_err("broken").status, SFEUOT_ERROR_INTERNAL);
        assert_eq!(cell.enter(|_| Ok(())).expect_err("broken").status, SFEUOT_ERROR_INTERNAL);
    }

    /// While a call that has opened wants to come back all others let it: those that ask are busy, those that wait wait on.
    #[test]
    fn a_call_that_has_opened_comes_back_before_others() {
        let cell = Exclusive::new("trainer", 0u64);
        let soon = Duration::from_millis(1);
        cell.returning.store(process::generation() + 1, Ordering::Relaxed);
        for refused in [cell.enter(|_| Ok(())), cell.enter_within(soon, |_| Ok(())), cell.stay(|_| Ok(()))] {
            assert_eq!(refused.expect_err("another wants to come back").status, SFEUOT_ERROR_BUSY);
        }
        cell.returning.store(0, Ordering::Relaxed);
        // One that finds the door shut asks for that, and for nothing more when it is back.
        std::thread::scope(|scope| {
            let came_back = cell.stay(|inside| {
                inside.open(|| {
                    let (entered, is_inside) = std::sync::mpsc::channel();
                    let cell = &cell;
                    scope.spawn(move || {
                        cell.enter(|_| {
                            entered.send(()).expect("it listens");
                            while !cell.is_wanted_back() {
                                std::thread::yield_now();
                            }
                            Ok(())
                        })
                    });
                    is_inside.recv().expect("it enters");
                })
            });
            came_back.expect("it comes back");
        });
        assert!(!cell.is_wanted_back() && cell.enter(|_| Ok(())).is_ok());
    }

    #[test]
    fn a_call_that_waits_is_let_in_or_refused_when_its_time_is_over() {
        let cell = Exclusive::new("trainer", 0u64);
        std::thread::scope(|scope| {
            let long = cell.stay(|inside| {
                let soon = Duration::from_millis(1);
                assert_eq!(cell.enter_within(soon, |_| Ok(())).expect_err("shut").status, SFEUOT_ERROR_BUSY);
                let waits = scope.spawn(|| cell.enter_within(Duration::from_secs(600), |value| Ok(*value)));
                let mut rounds = 0u64;
                while !waits.is_finished() {
                    inside.with(|value| *value += 1);
                    inside.let_in()?;
                    rounds += 1;
                }
                assert!((1..=rounds).contains(&waits.join().expect("no panic").expect("let in")));
                inside.with(|value| Ok(*value))
            });
            assert!(long.is_ok());
        });
        assert_eq!(waiting(cell.waiting.load(Ordering::Relaxed)), 0);
        cell.enter_within(Duration::ZERO, |_| Ok(())).expect("free");
    }

    #[test]
    fn a_call_waits_for_one_that_was_let_in_and_for_no_other() {
        let cell = Exclusive::new("trainer", 0u64);
        std::thread::scope(|scope| {
            let long = || scope.spawn(|| cell.enter(|value| Ok(*value)));
            let waits = cell.enter_within(Duration::ZERO, |value| {
                let waits = long();
                std::thread::sleep(Duration::from_millis(2));
                *value = 7;
                Ok(waits)
            });
            assert_eq!(waits.expect("free").join().expect("no panic").expect("after it"), 7);
            let refused = cell.enter(|_| Ok(long().join().expect("no panic"))).expect("free");
            assert_eq!(refused.expect_err("busy").status, SFEUOT_ERROR_BUSY);
        });
    }

    #[test]
    fn what_a_fork_found_inside_a_call_is_refused() {
        let cell = Exclusive::new("session", 0);
        cell.state.store((process::generation() + 1) << STATE_BITS | BUSY, Ordering::Relaxed);
        let failure = cell.enter(|_| Ok(())).expect_err("a call that never ends");
        assert_eq!(failure.status, SFEUOT_ERROR_INTERNAL);
        assert!(failure.text.contains("session") && failure.text.contains("fork"), "{}", failure.text);
    }
}
