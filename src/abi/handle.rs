//! Opaque handles: made, pinned for a call, retained, released.
//!
//! A handle must be refused, not followed, once it was released, and a released one cannot be
//! recognised by reading the memory it used to own. So a handle is not an address but a number,
//! shaped like a pointer:
//!
//! ```text
//! 64-bit:  generation 23 | kind 3 | slot 20 | 1
//! 32-bit:  generation 16 | kind 3 | slot 12 | 1
//! ```
//!
//! 47 of 64 bits, because some hosts keep pointers in doubles or tag the upper bits.
//!
//! The slot indexes a table that only grows, in chunks that are never moved or freed, so looking a
//! handle up is two atomic loads. Nothing here takes a lock: one that another thread holds while
//! the process forks would stay taken in the child for ever. The low bit is set, which no pointer
//! to an object has. A slot is used again under its next generation and retired after its last one, so **no
//! handle value is ever given out twice** and a stale one is always told apart. Retiring costs 64
//! bytes for each 8 million handles.
//!
//! One atomic word per slot holds the stamp (generation and kind), the host's references and the
//! pins: calls that are using the object. Host references and pins are apart so that a host that
//! releases once too often, from another thread or from a callback, cannot pull the object from
//! under a call; the object goes when both are zero.

use std::ops::Deref;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use super::panic::shield;
use super::sentence::Sentence;
use super::status::{Failure, Outcome, SFEUOT_ERROR_INVALID_HANDLE, SFEUOT_ERROR_OUT_OF_MEMORY};
use super::used;
use crate::memory;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Context = 0,
    Trainer = 1,
    Model = 2,
    Session = 3,
    Problem = 4,
}

impl Kind {
    fn noun(self) -> &'static str {
        ["context", "trainer", "model", "session", "problem"][self as usize]
    }

    /// The kind of a stamp; `None` for one that was never given out.
    fn of(stamp: u64) -> Option<Self> {
        const KINDS: [Kind; 5] = [Kind::Context, Kind::Trainer, Kind::Model, Kind::Session, Kind::Problem];
        KINDS.get((stamp & ((1 << KIND_BITS) - 1)) as usize).copied()
    }
}

/// What a handle can stand for. `Handle` is the opaque type the header shows.
pub(super) trait Object: Send + Sync + 'static {
    type Handle;
    const KIND: Kind;
}

#[cfg(target_pointer_width = "64")]
const SLOT_BITS: u32 = 20;
#[cfg(target_pointer_width = "64")]
const GENERATION_BITS: u32 = 23;
#[cfg(target_pointer_width = "32")]
const SLOT_BITS: u32 = 12;
#[cfg(target_pointer_width = "32")]
const GENERATION_BITS: u32 = 16;
const KIND_BITS: u32 = 3;

/// Slots of the first chunk; each next chunk doubles.
const FIRST_CHUNK: usize = 64;
const CHUNKS: usize = (SLOT_BITS - FIRST_CHUNK.ilog2()) as usize;
const CAPACITY: usize = FIRST_CHUNK * ((1 << CHUNKS) - 1);

// The state word: stamp | references | pins.
const PIN: u64 = 1;
const PINS: u64 = 0xFFFF;
const REFERENCE: u64 = 1 << 16;
const REFERENCES: u64 = 0x3F_FFFF << 16;
const STAMP_SHIFT: u32 = 38;

/// What a slot's pointer leads to.
struct Held<T> {
    sentence: Sentence,
    object: T,
}

/// A cache line each, so that sessions on different threads do not slow one another down.
#[repr(align(64))]
struct Slot {
    index: usize,
    /// Keeps the stamp of the last object while there is none.
    state: AtomicU64,
    object: AtomicPtr<()>,
    /// While the slot is free: the next free one, as in [`FREE`].
    next: AtomicUsize,
}

/// Chunks, made when their first slot is used, and never moved or freed.
static TABLE: [AtomicPtr<Slot>; CHUNKS] = [const { AtomicPtr::new(ptr::null_mut()) }; CHUNKS];

/// How many slots were ever used.
static USED: AtomicUsize = AtomicUsize::new(0);

/// The free slots, a stack: the topmost one's index plus one, or 0 for none; above it a count of changes, without which
/// a slot that was taken and given back in between would look like one that never left.
static FREE: AtomicU64 = AtomicU64::new(0);
const FREE_BITS: u32 = 32;

fn chunk_of(slot: usize) -> (usize, usize) {
    let chunk = (slot / FIRST_CHUNK + 1).ilog2() as usize;
    (chunk, slot - FIRST_CHUNK * ((1 << chunk) - 1))
}

fn find(slot: usize) -> Option<&'static Slot> {
    let (chunk, at) = chunk_of(slot);
    let first = TABLE.get(chunk)?.load(Ordering::Acquire);
    // SAFETY: a chunk that is there has as many slots as its number says, so this one too, for ever.
    (!first.is_null()).then(|| unsafe { &*first.add(at) })
}

/// [`find`], where the chunk is made if need be.
fn find_or_make(slot: usize) -> Outcome<&'static Slot> {
    let (chunk, at) = chunk_of(slot);
    if TABLE[chunk].load(Ordering::Acquire).is_null() {
        let empty = |i| Slot {
            index: slot - at + i,
            state: AtomicU64::new(0),
            object: AtomicPtr::default(),
            next: AtomicUsize::new(0),
        };
        let mut slots = memory::collected("the table of handles", (0..FIRST_CHUNK << chunk).map(empty))?;
        let (null, new) = (ptr::null_mut(), slots.as_mut_ptr());
        if TABLE[chunk].compare_exchange(null, new, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            std::mem::forget(slots);
        }
    }
    Ok(find(slot).expect("a chunk that is there has its slots"))
}

/// Puts a slot on the stack of free ones.
fn give(slot: &'static Slot) {
    let mut free = FREE.load(Ordering::Acquire);
    loop {
        slot.next.store(free as u32 as usize, Ordering::Relaxed);
        let changed = (free >> FREE_BITS).wrapping_add(1) << FREE_BITS | (slot.index as u64 + 1);
        match FREE.compare_exchange_weak(free, changed, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return,
            Err(now) => free = now,
        }
    }
}

/// A slot that no other object uses: one that was given back, or a new one.
fn take() -> Outcome<&'static Slot> {
    let mut free = FREE.load(Ordering::Acquire);
    while let Some(index) = (free as u32 as usize).checked_sub(1) {
        let slot = find(index).expect("slots that were used are there");
        let next = slot.next.load(Ordering::Relaxed) as u64;
        let changed = (free >> FREE_BITS).wrapping_add(1) << FREE_BITS | next;
        match FREE.compare_exchange_weak(free, changed, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return Ok(slot),
            Err(now) => free = now,
        }
    }
    let unused = |used| (used < CAPACITY).then_some(used + 1);
    match USED.fetch_update(Ordering::Relaxed, Ordering::Relaxed, unused) {
        Ok(slot) => find_or_make(slot).inspect_err(|_| {
            // The last one, unless others have gone on: then it is never used.
            let _ = USED.compare_exchange(slot + 1, slot, Ordering::Relaxed, Ordering::Relaxed);
        }),
        Err(_) => Err(Failure::new(
            SFEUOT_ERROR_OUT_OF_MEMORY,
            format!("{CAPACITY} handles are alive, which is as many as there can be; release some"),
        )),
    }
}

/// Puts `object` into a slot; the caller holds its one reference.
pub(super) fn create<T: Object>(object: T) -> Outcome<*mut T::Handle> {
    let held = memory::boxed("the object behind a handle", Held { sentence: Sentence::new(), object })?;
    let slot = take()?;
    // What is given back has a generation left.
    let generation = (slot.state.load(Ordering::Relaxed) >> STAMP_SHIFT >> KIND_BITS) + 1;
    let stamp = generation << KIND_BITS | T::KIND as u64;
    slot.object.store(Box::into_raw(held).cast(), Ordering::Relaxed);
    slot.state.store(stamp << STAMP_SHIFT | REFERENCE, Ordering::Release);
    let value = (stamp as usize) << (SLOT_BITS + 1) | slot.index << 1 | 1;
    Ok(std::ptr::without_provenance_mut(value))
}

/// The slot and stamp a handle of `T` names, if its value can be one.
fn decode<T: Object>(handle: *const T::Handle, argument: &str) -> Outcome<(&'static Slot, u64)> {
    let value = handle.addr();
    if value == 0 {
        return Err(Failure::null(argument));
    }
    let noun = T::KIND.noun();
    let stamp = (value >> (SLOT_BITS + 1)) as u64;
    match (find(value >> 1 & ((1 << SLOT_BITS) - 1)), Kind::of(stamp)) {
        (Some(slot), Some(kind)) if value & 1 == 1 && stamp >> (GENERATION_BITS + KIND_BITS) == 0 => {
            if kind == T::KIND {
                Ok((slot, stamp))
            } else {
                Err(Failure::new(
                    SFEUOT_ERROR_INVALID_HANDLE,
                    format!("{argument} is the handle of a {}; the handle of a {noun} is needed", kind.noun()),
                ))
            }
        }
        _ => Err(Failure::new(
            SFEUOT_ERROR_INVALID_HANDLE,
            format!("{argument} ({handle:p}) is no handle of this library; the handle of a {noun} is needed"),
        )),
    }
}

/// Changes the state of a live handle's slot; `next` says how, or why not. Returns the new state.
fn update<T: Object>(
    handle: *const T::Handle,
    argument: &str,
    next: impl Fn(u64) -> Result<u64, &'static str>,
) -> Outcome<(&'static Slot, u64)> {
    let (slot, stamp) = decode::<T>(handle, argument)?;
    let mut state = slot.state.load(Ordering::Acquire);
    loop {
        let refused =
            if state >> STAMP_SHIFT != stamp || state & REFERENCES == 0 { Err("was released") } else { next(state) };
        let changed = refused.map_err(|why| {
            let noun = T::KIND.noun();
            Failure::new(SFEUOT_ERROR_INVALID_HANDLE, format!("{argument} ({handle:p}) {why}; a live {noun} is needed"))
        })?;
        match slot.state.compare_exchange_weak(state, changed, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return Ok((slot, changed)),
            Err(now) => state = now,
        }
    }
}

/// An object that stays alive while this does: for the length of one call.
pub(super) struct Pinned<T: Object> {
    slot: &'static Slot,
    held: *const Held<T>,
}

/// Looks a handle up for a call, whose failure's sentence the object keeps. Takes no lock and allocates nothing unless the
/// handle is refused.
pub(super) fn pin<T: Object>(handle: *const T::Handle, argument: &str) -> Outcome<Pinned<T>> {
    let pinned = pin_quietly(handle, argument)?;
    used::note(handle.addr(), |handle, text| {
        // One that was released meanwhile has nobody to read it.
        if let Ok(pinned) = pin_quietly::<T>(ptr::without_provenance(handle), "") {
            pinned.sentence().set(text);
        }
    });
    Ok(pinned)
}

/// Looks a handle up for a call that leaves its sentence alone.
pub(super) fn pin_quietly<T: Object>(handle: *const T::Handle, argument: &str) -> Outcome<Pinned<T>> {
    let (slot, _) = update::<T>(handle, argument, |state| {
        if state & PINS == PINS { Err("is inside too many calls at once") } else { Ok(state + PIN) }
    })?;
    Ok(Pinned { slot, held: slot.object.load(Ordering::Relaxed).cast_const().cast() })
}

impl<T: Object> Pinned<T> {
    /// The sentence of the last call that failed on the object.
    pub(super) fn sentence(&self) -> &Sentence {
        // SAFETY: as for `deref`.
        unsafe { &(*self.held).sentence }
    }
}

impl<T: Object> Deref for Pinned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the stamp matched, so the slot holds a `T`; while pinned it is not dropped.
        unsafe { &(*self.held).object }
    }
}

impl<T: Object> Drop for Pinned<T> {
    fn drop(&mut self) {
        let state = self.slot.state.fetch_sub(PIN, Ordering::AcqRel) - PIN;
        destroy_if_unused::<T>(self.slot, state);
    }
}

/// Adds one reference of the host's.
pub(super) fn retain<T: Object>(handle: *const T::Handle, argument: &str) -> Outcome<()> {
    update::<T>(handle, argument, |state| {
        if state & REFERENCES == REFERENCES { Err("is retained too often") } else { Ok(state + REFERENCE) }
    })
    .map(|_| ())
}

/// Takes one reference of the host's away; NULL is nothing to release.
pub(super) fn release<T: Object>(handle: *const T::Handle, argument: &str) -> Outcome<()> {
    if handle.is_null() {
        return Ok(());
    }
    let (slot, state) = update::<T>(handle, argument, |state| Ok(state - REFERENCE))?;
    destroy_if_unused::<T>(slot, state);
    Ok(())
}

/// Drops the object after the change that left neither references nor pins. Only one change can:
/// without references no pin and no reference is ever added.
fn destroy_if_unused<T: Object>(slot: &'static Slot, state: u64) {
    if state & (REFERENCES | PINS) != 0 {
        return;
    }
    let object: *mut Held<T> = slot.object.swap(std::ptr::null_mut(), Ordering::Relaxed).cast();
    // SAFETY: the pointer came from `create::<T>` (the stamp says so), and this is the one time it is taken back.
    let object = unsafe { Box::from_raw(object) };
    // Caught here rather than in `guard`: the object may go while another panic unwinds, and the slot is to be freed.
    let _ = shield(|| drop(object));
    let next = (state >> STAMP_SHIFT >> KIND_BITS) + 1;
    if next >> GENERATION_BITS == 0 {
        give(slot);
    }
}

#[cfg(test)]
mod tests;
