//! Keeps captures apart from calls that spoil them. To make or end a handle of cublasLt waits for the whole context, which
//! invalidates what any thread captures there; that the driver (580) was also seen to crash in such a wait is why the
//! capture is not merely begun again.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static CAPTURES: RwLock<()> = RwLock::new(());

/// Lets captures happen, any number at once, until the guard is dropped.
pub(super) fn capturing() -> RwLockReadGuard<'static, ()> {
    CAPTURES.read().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for the captures under way, and holds others back until the guard is dropped. No capture is this thread's.
pub(super) fn spoiling() -> RwLockWriteGuard<'static, ()> {
    CAPTURES.write().unwrap_or_else(PoisonError::into_inner)
}
