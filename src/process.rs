//! Tells a process from its forked children. In a child only the thread that forked goes on.
//!
//! Work that other threads had begun is never finished in the child: a lock stays taken, and an object stays marked as
//! in use. So the library asks here whether a lock or a mark is of this process before it waits for it or believes it.

use crate::error::Result;

/// Returns the number of forks between the process where the library was first used and this one. Costs one load.
pub(crate) fn generation() -> u32 {
    forks::count()
}

/// Starts counting forks. It is called before there is any object that a fork could copy.
///
/// # Errors
/// [`crate::Error::OutOfMemory`] when the system has no memory to take note of it.
pub(crate) fn watch() -> Result<()> {
    forks::watch()
}

#[cfg(unix)]
mod forks {
    use crate::error::{Error, Result};
    use std::ffi::c_int;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    static COUNT: AtomicU32 = AtomicU32::new(0);
    static WATCHED: AtomicBool = AtomicBool::new(false);

    type Handler = Option<unsafe extern "C" fn()>;

    unsafe extern "C" {
        fn pthread_atfork(prepare: Handler, parent: Handler, child: Handler) -> c_int;
    }

    /// Runs in the child before `fork` returns there.
    unsafe extern "C" fn forked() {
        COUNT.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count() -> u32 {
        COUNT.load(Ordering::Relaxed)
    }

    pub(super) fn watch() -> Result<()> {
        // Without a lock, which a fork could leave taken: two threads at once register twice, and a fork then counts as
        // two.
        if WATCHED.load(Ordering::Relaxed) {
            return Ok(());
        }
        // SAFETY: the handler only counts, and stays where it is: the library is never unloaded.
        if unsafe { pthread_atfork(None, None, Some(forked)) } != 0 {
            return Err(Error::OutOfMemory("the system has no memory to register a fork handler".into()));
        }
        WATCHED.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// Systems without `fork` have only the process that loaded the library.
#[cfg(not(unix))]
mod forks {
    use crate::error::Result;

    pub(super) fn count() -> u32 {
        0
    }

    pub(super) fn watch() -> Result<()> {
        Ok(())
    }
}
