//! The time that a call has taken, where the system has a clock. WebAssembly without a system has none.

use std::time::Duration;

/// See the module.
pub(super) struct Stopwatch {
    #[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
    start: std::time::Instant,
}

impl Stopwatch {
    /// Begins to measure.
    pub fn start() -> Self {
        Self {
            #[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
            start: std::time::Instant::now(),
        }
    }

    /// Returns the time since the start, if there is a clock.
    pub fn elapsed(&self) -> Option<Duration> {
        #[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
        return Some(self.start.elapsed());
        #[cfg(all(target_family = "wasm", target_os = "unknown"))]
        None
    }

    /// Returns how many of `steps` steps were made in a second, or 0 where nobody knows.
    pub fn rate(&self, steps: u64) -> f64 {
        self.elapsed().map_or(0.0, |time| steps as f64 / time.as_secs_f64().max(1e-9))
    }
}
