//! Files on disk: writing that never leaves half a file.

pub(crate) mod atomic;
