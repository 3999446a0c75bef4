//! The floating-point mode of a thread: how results are rounded, whether tiny numbers become zero, and which exceptions
//! trap.
//!
//! Engines flush tiny numbers to zero, and some hosts round otherwise or trap. Results must not depend on that, so the
//! library computes in the standard mode (to nearest, nothing flushed, nothing trapped) and gives the host its own
//! back, exception flags included: at the end of a call, and for the length of each callback.
//!
//! Every entry to the library that computes holds an [`Inside`]. All that is computed is then covered, whatever it
//! calls, and the threads of a pool [`settle`] once.

use std::cell::Cell;
use std::marker::PhantomData;

thread_local! {
    /// The host's mode, to be restored, while this thread is inside the library.
    static HOST: Cell<Option<Mode>> = const { Cell::new(None) };
}

/// Keeps this thread in the standard mode until it is dropped.
#[must_use]
pub(crate) struct Inside {
    /// Calls nest: the C interface calls the Rust one. The outermost gives the host's mode back.
    outermost: bool,
    /// Keeps the value on its thread, because the mode is the thread's.
    thread: PhantomData<*const ()>,
}

/// Begins a call of the host.
pub(crate) fn enter() -> Inside {
    let outermost = HOST.get().is_none();
    if outermost {
        HOST.set(Some(standardise()));
    }
    Inside { outermost, thread: PhantomData }
}

impl Drop for Inside {
    fn drop(&mut self) {
        if self.outermost
            && let Some(host) = HOST.take()
        {
            restore(host);
        }
    }
}

/// Runs a callback in the host's mode. A mode that the callback leaves behind is the host's from then on.
pub(crate) fn as_host<R>(callback: impl FnOnce() -> R) -> R {
    let Some(host) = HOST.take() else {
        return callback();
    };
    restore(host);
    // Dropped when the callback unwinds, too.
    struct Back;
    impl Drop for Back {
        fn drop(&mut self) {
            HOST.set(Some(standardise()));
        }
    }
    let _back = Back;
    callback()
}

/// Puts one of the library's own threads into the standard mode. Otherwise it has the mode of the thread that started
/// it.
pub(crate) fn settle() {
    standardise();
}

fn standardise() -> Mode {
    let before = registers::read();
    if !registers::is_standard(before) {
        registers::write(registers::STANDARD);
    }
    before
}

fn restore(mode: Mode) {
    if registers::read() != mode {
        registers::write(mode);
    }
}

use registers::Mode;

/// The mode on x86-64 is the MXCSR register. The x87 unit has a mode of its own, but nothing here computes with it.
#[cfg(any(target_arch = "x86_64", all(target_arch = "x86", target_feature = "sse")))]
mod registers {
    use std::arch::asm;

    pub(super) type Mode = u32;
    /// All exceptions masked, everything else off.
    pub(super) const STANDARD: Mode = 0x1F80;
    /// Exceptions that have happened.
    const FLAGS: Mode = 0x3F;

    pub(super) fn is_standard(mode: Mode) -> bool {
        mode & !FLAGS == STANDARD
    }

    pub(super) fn read() -> Mode {
        let mut mode = 0;
        // SAFETY: writes the 32 bits.
        unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut mode, options(nostack, preserves_flags)) };
        mode
    }

    pub(super) fn write(mode: Mode) {
        // SAFETY: a value that was read, or the standard one; no computation of this crate lies between leaving the
        // standard mode and coming back to it.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const mode, options(nostack, preserves_flags)) };
    }
}

/// The mode on AArch64 is the two registers FPCR and FPSR.
#[cfg(target_arch = "aarch64")]
mod registers {
    use std::arch::asm;

    /// The control bits, and the exceptions that have happened.
    pub(super) type Mode = (u64, u64);
    pub(super) const STANDARD: Mode = (0, 0);

    pub(super) fn is_standard((control, _): Mode) -> bool {
        control == 0
    }

    pub(super) fn read() -> Mode {
        let (control, status);
        // SAFETY: reads two registers of this thread.
        unsafe { asm!("mrs {}, fpcr", "mrs {}, fpsr", out(reg) control, out(reg) status, options(nostack)) };
        (control, status)
    }

    pub(super) fn write((control, status): Mode) {
        // SAFETY: values that were read, or the standard ones; no computation of this crate lies between leaving the
        // standard mode and coming back to it.
        unsafe { asm!("msr fpcr, {}", "msr fpsr, {}", in(reg) control, in(reg) status, options(nostack)) };
    }
}

/// Other processors stay in the mode that the host has chosen.
#[cfg(not(any(target_arch = "x86_64", all(target_arch = "x86", target_feature = "sse"), target_arch = "aarch64")))]
mod registers {
    pub(super) type Mode = ();
    pub(super) const STANDARD: Mode = ();

    pub(super) fn is_standard((): Mode) -> bool {
        true
    }

    pub(super) fn read() -> Mode {}

    pub(super) fn write((): Mode) {}
}
