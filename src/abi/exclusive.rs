//! One caller at a time, without a lock: whoever comes second is told so rather than made to wait.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU8, Ordering};

use super::status::{Failure, Outcome, SFEUOT_ERROR_BUSY, SFEUOT_ERROR_INTERNAL};

const FREE: u8 = 0;
const BUSY: u8 = 1;
const BROKEN: u8 = 2;

/// A value that one call at a time may change. Re-entry from a callback is refused like a second
/// thread, and after a panic inside, when the value may be half changed, every later entry is
/// refused with `SFEUOT_ERROR_INTERNAL`.
pub(super) struct Exclusive<T> {
    noun: &'static str,
    state: AtomicU8,
    value: UnsafeCell<T>,
}

// SAFETY: `enter` hands the value to one thread at a time, so sharing the cell is no more than sending the value.
unsafe impl<T: Send> Sync for Exclusive<T> {}

impl<T> Exclusive<T> {
    pub(super) fn new(noun: &'static str, value: T) -> Self {
        Self { noun, state: AtomicU8::new(FREE), value: UnsafeCell::new(value) }
    }

    /// Whether a call is inside right now.
    pub(super) fn is_busy(&self) -> bool {
        self.state.load(Ordering::Acquire) == BUSY
    }

    /// Runs `body` alone on the value, or refuses.
    pub(super) fn enter<R>(&self, body: impl FnOnce(&mut T) -> Outcome<R>) -> Outcome<R> {
        match self.state.compare_exchange(FREE, BUSY, Ordering::Acquire, Ordering::Acquire) {
            Ok(_) => {}
            Err(BUSY) => {
                return Err(Failure::new(
                    SFEUOT_ERROR_BUSY,
                    format!(
                        "the {} is inside another call (another thread, or a callback calling \
                         back); one call at a time is allowed",
                        self.noun
                    ),
                ));
            }
            Err(_) => {
                return Err(Failure::new(
                    SFEUOT_ERROR_INTERNAL,
                    format!("the {} was left half changed by an earlier SFEUOT_ERROR_INTERNAL; release it", self.noun),
                ));
            }
        }
        let mut leave = Leave { state: &self.state, next: BROKEN };
        // SAFETY: the exchange above succeeded, so no other call is between here and `leave`'s drop.
        let outcome = body(unsafe { &mut *self.value.get() });
        leave.next = FREE;
        outcome
    }
}

/// Ends an entry; `next` is `BROKEN` until the body has returned, so unwinding leaves that behind.
struct Leave<'a> {
    state: &'a AtomicU8,
    next: u8,
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
        assert!(!cell.is_busy());
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
}
