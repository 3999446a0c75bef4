//! One caller at a time, without a lock: whoever comes second is told so rather than made to wait.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU32, Ordering};

use super::status::{Failure, Outcome, SFEUOT_ERROR_BUSY, SFEUOT_ERROR_INTERNAL};
use crate::process;

const FREE: u32 = 0;
const BROKEN: u32 = 1;
/// With the generation of the process that the call is inside in, in the bits above.
const BUSY: u32 = 2;
const STATE_BITS: u32 = 2;

/// A value that one call at a time may change. Re-entry from a callback is refused like a second
/// thread. After a panic inside, when the value may be half changed, every later entry is refused
/// with `SFEUOT_ERROR_INTERNAL`; so it is in the child of a fork that found a call inside.
pub(super) struct Exclusive<T> {
    noun: &'static str,
    state: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: `enter` hands the value to one thread at a time, so sharing the cell is no more than sending the value.
unsafe impl<T: Send> Sync for Exclusive<T> {}

impl<T> Exclusive<T> {
    pub(super) fn new(noun: &'static str, value: T) -> Self {
        Self { noun, state: AtomicU32::new(FREE), value: UnsafeCell::new(value) }
    }

    /// Runs `body` alone on the value, or refuses.
    pub(super) fn enter<R>(&self, body: impl FnOnce(&mut T) -> Outcome<R>) -> Outcome<R> {
        let busy = process::generation() << STATE_BITS | BUSY;
        if let Err(state) = self.state.compare_exchange(FREE, busy, Ordering::Acquire, Ordering::Acquire) {
            return Err(if state == busy { self.busy() } else { self.lost(state) });
        }
        let mut leave = Leave { state: &self.state, next: BROKEN };
        // SAFETY: the exchange above succeeded, so no other call is between here and `leave`'s drop.
        let outcome = body(unsafe { &mut *self.value.get() });
        leave.next = FREE;
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

/// Ends an entry; `next` is `BROKEN` until the body has returned, so unwinding leaves that behind.
struct Leave<'a> {
    state: &'a AtomicU32,
    next: u32,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.state.store(self.next, Ordering::Release);
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
    fn what_a_fork_found_inside_a_call_is_refused() {
        let cell = Exclusive::new("session", 0);
        cell.state.store((process::generation() + 1) << STATE_BITS | BUSY, Ordering::Relaxed);
        let failure = cell.enter(|_| Ok(())).expect_err("a call that never ends");
        assert_eq!(failure.status, SFEUOT_ERROR_INTERNAL);
        assert!(failure.text.contains("session") && failure.text.contains("fork"), "{}", failure.text);
    }
}
