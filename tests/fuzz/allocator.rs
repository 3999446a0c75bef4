//! The program's allocator: it counts the bytes that are held and their peak, and refuses one allocation of the
//! library's when it is told to.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Smaller allocations are never refused: what stays small whatever the arguments is allocated as usual.
const SMALLEST_REFUSED: usize = 4096;

struct Watched;

#[global_allocator]
static ALLOCATOR: Watched = Watched;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static COUNTING: AtomicBool = AtomicBool::new(false);
static COUNT: AtomicU64 = AtomicU64::new(0);
/// Which counted allocation is refused; 0 for none.
static REFUSED: AtomicU64 = AtomicU64::new(0);

fn refuse(size: usize) -> bool {
    size >= SMALLEST_REFUSED && COUNTING.load(Relaxed) && COUNT.fetch_add(1, Relaxed) + 1 == REFUSED.load(Relaxed)
}

fn took(bytes: usize) {
    PEAK.fetch_max(HELD.fetch_add(bytes, Relaxed) + bytes, Relaxed);
}

// SAFETY: the system's allocator does the work, and NULL is what a refusal is.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if refuse(layout.size()) {
            return null_mut();
        }
        // SAFETY: the caller's.
        let memory = unsafe { System.alloc(layout) };
        if !memory.is_null() {
            took(layout.size());
        }
        memory
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if refuse(layout.size()) {
            return null_mut();
        }
        // SAFETY: the caller's.
        let memory = unsafe { System.alloc_zeroed(layout) };
        if !memory.is_null() {
            took(layout.size());
        }
        memory
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if size > layout.size() && refuse(size) {
            return null_mut();
        }
        // SAFETY: the caller's.
        let moved = unsafe { System.realloc(memory, layout, size) };
        if !moved.is_null() {
            HELD.fetch_sub(layout.size(), Relaxed);
            took(size);
        }
        moved
    }
}

/// Bytes handed out and not given back.
pub fn held() -> usize {
    HELD.load(Relaxed)
}

/// What a call did with memory.
pub struct Use {
    /// Allocations that could have been refused.
    pub allocations: u64,
    /// Most bytes held at once beyond those before the call.
    pub peak: usize,
}

/// Makes a call during which the allocation of this number is refused, on whichever thread; 0 refuses none.
pub fn watch<R>(refused: u64, call: impl FnOnce() -> R) -> (R, Use) {
    let before = held();
    PEAK.store(before, Relaxed);
    COUNT.store(0, Relaxed);
    REFUSED.store(refused, Relaxed);
    COUNTING.store(true, Relaxed);
    let result = call();
    stop();
    (result, Use { allocations: COUNT.load(Relaxed), peak: PEAK.load(Relaxed).saturating_sub(before) })
}

/// Refuses nothing from now on. For whoever tells about a fault.
pub fn stop() {
    COUNTING.store(false, Relaxed);
}

/// Runs the program's own part inside of a watched call: nothing is refused, nothing counted.
pub fn unwatched<R>(own: impl FnOnce() -> R) -> R {
    let counting = COUNTING.swap(false, Relaxed);
    let result = own();
    COUNTING.store(counting, Relaxed);
    result
}
