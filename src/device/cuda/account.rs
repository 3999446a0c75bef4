//! The account of how much of a GPU's memory is taken.

use crate::error::{Error, Result};
use std::sync::atomic::{AtomicU64, Ordering};

/// The bytes that one context of the library has taken on one GPU, and their limit.
pub(crate) struct Account {
    limit: u64,
    device: String,
    used: AtomicU64,
}

impl Account {
    pub(super) fn new(limit: u64, device: &str) -> Self {
        Self { limit, device: device.to_owned(), used: AtomicU64::new(0) }
    }

    pub(super) fn take(&self, bytes: u64, what: &str) -> Result<()> {
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            let after = used.checked_add(bytes)?;
            (self.limit == 0 || after <= self.limit).then_some(after)
        });
        taken.map(|_| ()).map_err(|used| {
            Error::OutOfMemory(format!(
                "{what} takes {bytes} bytes of the memory of {}; with {used} taken before that is more than memory_limit, {}",
                self.device, self.limit
            ))
        })
    }

    pub(super) fn give(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Returns the bytes taken now.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Returns the bytes that may be taken in all.
    pub fn limit(&self) -> u64 {
        if self.limit == 0 { u64::MAX } else { self.limit }
    }

    /// Returns the bytes that the limit still allows.
    pub fn left(&self) -> u64 {
        self.limit().saturating_sub(self.used())
    }
}
