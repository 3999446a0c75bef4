//! What a host may rely on with any handle, live or stale, on any thread.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::*;

struct Counted(Arc<AtomicUsize>);
impl Object for Counted {
    type Handle = u8;
    const KIND: Kind = Kind::Model;
}
impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_stale_handle_is_refused_for_ever_and_values_never_repeat() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let mut seen = std::collections::HashSet::new();
    let mut before = Vec::new();
    for round in 0..500 {
        let handle = create(Counted(dropped.clone())).expect("a handle");
        assert!(seen.insert(handle.addr()) && handle.addr() & 1 == 1 && (handle.addr() as u64) >> 47 == 0);
        // Those whose slot this one took, too.
        for &stale in &before {
            assert!(pin::<Counted>(stale, "model").is_err());
        }
        before.push(handle);
        release::<Counted>(handle, "model").expect("the first release");
        assert_eq!(dropped.load(Ordering::SeqCst), round + 1);
        for stale in [
            pin::<Counted>(handle, "model").map(|_| ()),
            retain::<Counted>(handle, "model"),
            release::<Counted>(handle, "model"),
        ] {
            assert_eq!(stale.expect_err("stale").status, SFEUOT_ERROR_INVALID_HANDLE);
        }
    }
}

#[test]
fn chunks_tile_the_slots() {
    let mut expected = (0, 0);
    for slot in 0..5000 {
        assert_eq!(chunk_of(slot), expected, "slot {slot}");
        expected.1 += 1;
        if expected.1 == FIRST_CHUNK << expected.0 {
            expected = (expected.0 + 1, 0);
        }
    }
    assert_eq!(chunk_of(CAPACITY - 1).0, CHUNKS - 1);
    assert_eq!(chunk_of(CAPACITY).0, CHUNKS);
}

#[test]
fn a_release_during_calls_waits_for_them_and_drops_once() {
    for _ in 0..200 {
        let dropped = Arc::new(AtomicUsize::new(0));
        let handle = create(Counted(dropped.clone())).expect("a handle");
        retain::<Counted>(handle, "model").expect("a second reference");
        let address = handle.addr();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let handle: *mut u8 = std::ptr::without_provenance_mut(address);
                    if let Ok(object) = pin::<Counted>(handle, "model") {
                        assert_eq!(object.0.load(Ordering::SeqCst), 0);
                        // One release too many each, while pinned: the object has to outlive the pin.
                        let _ = release::<Counted>(handle, "model");
                        let _ = release::<Counted>(handle, "model");
                        assert_eq!(object.0.load(Ordering::SeqCst), 0);
                    }
                });
            }
        });
        assert_eq!(dropped.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn threads_that_make_and_release_handles_at_once_never_share_one() {
    let alive: Vec<AtomicUsize> = (0..4096).map(|_| AtomicUsize::new(0)).collect();
    let dropped = Arc::new(AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..500 {
                    let handles: Vec<*mut u8> =
                        (0..1 + round % 5).map(|_| create(Counted(dropped.clone())).expect("a handle")).collect();
                    let slots = handles.iter().map(|handle| handle.addr() >> 1 & ((1 << SLOT_BITS) - 1));
                    for slot in slots.clone() {
                        assert_eq!(alive[slot].fetch_add(1, Ordering::SeqCst), 0);
                    }
                    for (slot, handle) in slots.zip(&handles) {
                        alive[slot].fetch_sub(1, Ordering::SeqCst);
                        release::<Counted>(*handle, "model").expect("the first release");
                    }
                }
            });
        }
    });
    assert_eq!(dropped.load(Ordering::SeqCst), 4 * 500 * 3);
}
