//! Cancelling the call that trains.

use crate::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Stops a trainer's current call from any thread. On the processor, each thread finishes its block of rows (64, or
/// `components` where that is more), and the step in progress is then not made. Its samples are kept until it is made.
/// On a GPU, up to 32 steps that are queued already are made first. A callback that runs is waited for.
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<AtomicU32>);

// A word is the process's generation and one of these states. A cancellation only ever turns a running call into a
// cancelled one, and the end of the call takes either away in one exchange: none is lost, and none waits for the next
// call.
const IDLE: u32 = 0;
const RUNNING: u32 = 1;
const CANCELLED: u32 = 2;
const STATE_BITS: u32 = 2;

fn state(word: u32) -> u32 {
    word & ((1 << STATE_BITS) - 1)
}

fn word(state: u32) -> u32 {
    process::generation() << STATE_BITS | state
}

impl CancelToken {
    /// The call in progress returns [`Error::Cancelled`](crate::Error::Cancelled); when none is in progress nothing
    /// happens.
    pub fn cancel(&self) {
        let cancel = |word| (state(word) == RUNNING).then_some(word ^ RUNNING ^ CANCELLED);
        let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, cancel);
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        state(self.0.load(Ordering::Relaxed)) == CANCELLED
    }

    /// Begins a call, which can be cancelled from now on. Returns `None` inside another call. A call of a thread that a
    /// fork left behind does not count.
    pub(crate) fn begin(&self) -> Option<Running<'_>> {
        let begin = |now| {
            let inside = state(now) != IDLE && now >> STATE_BITS == process::generation();
            (!inside).then(|| word(RUNNING))
        };
        let begun = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, begin);
        begun.ok().map(|before| Running { token: self, before })
    }
}

/// A call in progress, which also ends when this is dropped.
pub(crate) struct Running<'a> {
    token: &'a CancelToken,
    /// The word that this call replaced. After a fork inside a callback, a call goes on in the child around this one.
    before: u32,
}

impl Running<'_> {
    /// Ends the call and returns whether it was cancelled. A later cancellation concerns a later call.
    pub(crate) fn end(self) -> bool {
        let cancelled = state(self.token.0.swap(self.before, Ordering::AcqRel)) == CANCELLED;
        // The next call may have begun already.
        std::mem::forget(self);
        cancelled
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.token.0.store(self.before, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a thread does next: begins a call, ends it, or cancels.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Act {
        Begin,
        End,
        Cancel,
    }

    type Order = [(usize, Act)];

    /// Every order of the acts of several threads.
    fn interleavings(threads: &[&[Act]], so_far: &mut Vec<(usize, Act)>, check: &mut dyn FnMut(&Order)) {
        if threads.iter().all(|acts| acts.is_empty()) {
            return check(so_far);
        }
        for (thread, acts) in threads.iter().enumerate() {
            if let Some((&act, rest)) = acts.split_first() {
                let mut others = threads.to_vec();
                others[thread] = rest;
                so_far.push((thread, act));
                interleavings(&others, so_far, check);
                so_far.pop();
            }
        }
    }

    #[test]
    fn a_cancellation_is_of_the_call_in_progress_and_of_no_other_in_any_order() {
        use Act::{Begin, Cancel, End};
        let calls = [Begin, End, Begin, End];
        let mut orders = 0;
        interleavings(&[&calls, &[Begin, End], &[Cancel, Cancel]], &mut Vec::new(), &mut |order| {
            orders += 1;
            let token = CancelToken::default();
            let mut running: [Option<Running>; 3] = [None, None, None];
            // Which thread is inside, and whether a cancellation has come since it is.
            let mut expected: Option<(usize, bool)> = None;
            for &(thread, act) in order {
                match act {
                    Begin => {
                        running[thread] = token.begin();
                        assert_eq!(running[thread].is_some(), expected.is_none(), "{order:?}");
                        expected.get_or_insert((thread, false));
                    }
                    Cancel => {
                        token.cancel();
                        expected = expected.map(|(thread, _)| (thread, true));
                    }
                    End => {
                        if let Some(call) = running[thread].take() {
                            assert_eq!(Some((thread, token.is_cancelled())), expected, "{order:?}");
                            assert_eq!(Some((thread, call.end())), expected, "{order:?}");
                            expected = None;
                        }
                    }
                }
            }
            assert!(token.begin().is_some_and(|call| !call.end()), "{order:?}");
        });
        assert_eq!(orders, 420);
    }

    #[test]
    fn a_call_that_a_fork_left_behind_is_none() {
        for left in [RUNNING, CANCELLED] {
            let token = CancelToken::default();
            token.0.store((process::generation() + 1) << STATE_BITS | left, Ordering::Relaxed);
            let call = token.begin().expect("nobody is inside");
            assert!(token.begin().is_none());
            token.cancel();
            assert!(call.end());
        }
    }

    #[test]
    fn a_call_that_goes_on_after_a_fork_is_cancelled_after_one_inside_it_too() {
        let outer = (process::generation() + 1) << STATE_BITS | RUNNING;
        for dropped in [false, true] {
            let token = CancelToken::default();
            token.0.store(outer, Ordering::Relaxed);
            let inner = token.begin().expect("the outer call began in another process");
            if dropped {
                drop(inner)
            } else {
                assert!(!inner.end())
            }
            assert!(!token.is_cancelled());
            token.cancel();
            assert!(token.is_cancelled());
            assert!(token.begin().is_some_and(|inner| !inner.end()));
            assert!(token.is_cancelled(), "an earlier cancellation is not lost either");
        }
    }
}
