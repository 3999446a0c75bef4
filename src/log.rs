//! Messages for the host: their weights, and the sink that receives them.

use crate::float_mode;

/// Weight of a log message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i32)]
pub enum LogLevel {
    /// Something failed.
    Error = 0,
    /// Something is likely not as meant.
    #[default]
    Warn = 1,
    /// What was chosen, once.
    Info = 2,
    /// A detail for the library's developers.
    Debug = 3,
}

/// Receives log messages, from any thread of the host that is inside the library.
pub type LogSink = Box<dyn Fn(LogLevel, &str) + Send + Sync>;

/// A sink, if there is one, and the level it wants.
pub(crate) struct Log {
    pub sink: Option<LogSink>,
    pub level: LogLevel,
}

impl Log {
    /// Sends a message to the sink when its level is wanted.
    pub fn write(&self, level: LogLevel, message: &str) {
        if let Some(sink) = &self.sink
            && level <= self.level
        {
            float_mode::as_host(|| sink(level, message));
        }
    }
}
