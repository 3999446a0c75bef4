//! The system's allocator, which counts what it hands out on all threads. A program that wants its numbers includes this
//! file and runs its tests itself: a test runner's threads allocate when they like.
#![allow(dead_code, reason = "each program uses its part")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
/// Bytes handed out and not given back; wraps.
static HELD: AtomicUsize = AtomicUsize::new(0);
/// The most of them since [`peak_from_here`].
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// Allocations made so far.
pub fn allocations() -> usize {
    ALLOCATIONS.load(Relaxed)
}

/// Bytes that are allocated now.
pub fn held() -> usize {
    HELD.load(Relaxed)
}

/// Lets [`peak`] begin anew.
pub fn peak_from_here() {
    PEAK.store(held(), Relaxed);
}

/// The most bytes that were allocated at a time since the last call of [`peak_from_here`].
pub fn peak() -> usize {
    PEAK.load(Relaxed)
}

struct Counting;

impl Counting {
    fn took(&self, bytes: usize) {
        ALLOCATIONS.fetch_add(1, Relaxed);
        let held = HELD.fetch_add(bytes, Relaxed).wrapping_add(bytes);
        PEAK.fetch_max(held, Relaxed);
    }
}

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's.
        let memory = unsafe { System.alloc(layout) };
        if !memory.is_null() {
            self.took(layout.size());
        }
        memory
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's.
        let memory = unsafe { System.alloc_zeroed(layout) };
        if !memory.is_null() {
            self.took(layout.size());
        }
        memory
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's.
        let moved = unsafe { System.realloc(memory, layout, size) };
        if !moved.is_null() {
            self.took(size.wrapping_sub(layout.size()));
        }
        moved
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
