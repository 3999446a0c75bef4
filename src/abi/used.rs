//! Which objects the calling thread's call uses, so that the sentence of its failure reaches them.

use std::cell::Cell;

/// Gives the sentence to an object of some kind, if the handle still is one.
pub(super) type Tell = fn(usize, &[u8]);

/// No call uses more objects than these.
const MOST: usize = 2;

type Used = [Option<(usize, Tell)>; MOST];

thread_local! {
    // Without a destructor, as the text of the last error.
    static USED: Cell<Used> = const { Cell::new([None; MOST]) };
}

/// A call, until it is dropped. Inside it no object is used yet; calls of callbacks are inside of others.
pub(super) struct Call {
    outer: Used,
}

/// Begins a call.
pub(super) fn begin() -> Call {
    Call { outer: USED.replace([None; MOST]) }
}

impl Drop for Call {
    fn drop(&mut self) {
        USED.set(self.outer);
    }
}

/// Takes note that the call uses this object.
pub(super) fn note(handle: usize, tell: Tell) {
    let mut used = USED.get();
    if let Some(free) = used.iter_mut().find(|place| place.is_none()) {
        *free = Some((handle, tell));
    }
    USED.set(used);
}

/// Gives the sentence to the objects that the call uses.
pub(super) fn tell(text: &[u8]) {
    for (handle, tell) in USED.get().into_iter().flatten() {
        tell(handle, text);
    }
}
