//! Text that grows while it is written, in memory that the system may refuse.

use std::io::{self, Write};

use super::kind::{FileKind, cannot_save};
use crate::error::Error;

/// A writer into memory.
pub(super) struct Growing {
    bytes: Vec<u8>,
    what: &'static str,
}

impl Growing {
    /// Starts with no text. `what` says in an error what the memory was for.
    pub fn new(what: &'static str) -> Self {
        Self { bytes: Vec::new(), what }
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Returns the error for which nothing more could be written.
    pub fn fault(&self, kind: FileKind, error: impl Into<io::Error>) -> Error {
        let error = error.into();
        if error.kind() == io::ErrorKind::OutOfMemory {
            return Error::OutOfMemory(format!("the system has no memory for {}", self.what));
        }
        cannot_save(kind, format_args!("{} cannot be written as JSON: {error}", self.what))
    }
}

impl Write for Growing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.try_reserve(bytes.len()).map_err(|_| io::ErrorKind::OutOfMemory)?;
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
