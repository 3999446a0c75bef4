//! Where work runs: the device, its threads and the log sink, shared by trainers and models.

use crate::device::cpu::pool::Pool;
use crate::device::cpu::simd::Isa;
use crate::error::{Error, Result};
use std::sync::Arc;

/// Device asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(i32)]
pub enum DeviceKind {
    /// The best device that is there.
    #[default]
    Auto = 0,
    /// The processor.
    Cpu = 1,
    /// An NVIDIA GPU.
    Cuda = 2,
}

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
    /// For the library's developers.
    Debug = 3,
}

/// Receives log messages, from any thread of the host that is inside the library.
pub type LogSink = Box<dyn Fn(LogLevel, &str) + Send + Sync>;

/// How to make a [`Context`].
#[derive(Default)]
pub struct ContextConfig {
    /// Device asked for.
    pub device: DeviceKind,
    /// Threads that work on a training step, the calling one included; 0 means one a core. Results do not depend on
    /// it, not even in the last bit.
    pub threads: usize,
    /// Where messages go; nowhere by default.
    pub log: Option<LogSink>,
    /// Messages above this level are dropped.
    pub log_level: LogLevel,
}

/// Threads a context may ask for.
pub const MAX_THREADS: usize = 1024;

struct Inner {
    isa: Isa,
    pool: Pool,
    log: Option<LogSink>,
    log_level: LogLevel,
}

/// A device with its threads. Cloning gives another handle to the same one.
#[derive(Clone)]
pub struct Context(Arc<Inner>);

impl Context {
    /// Starts the threads.
    ///
    /// # Errors
    /// More than [`MAX_THREADS`] threads, a device that is not there, or threads the system refuses to start.
    pub fn new(config: ContextConfig) -> Result<Self> {
        if config.device == DeviceKind::Cuda {
            return Err(Error::UnsupportedDevice(
                "device is CUDA, but this build of the library has no CUDA backend; use AUTO or CPU".into(),
            ));
        }
        if config.threads > MAX_THREADS {
            return Err(Error::invalid(format!(
                "threads is {}, but must be at most {MAX_THREADS}, or 0 for one a core",
                config.threads
            )));
        }
        let threads = match config.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS),
            n => n,
        };
        let pool = Pool::new(threads).map_err(|e| {
            Error::UnsupportedDevice(format!("threads is {threads}, but the system starts no more of them: {e}"))
        })?;
        let context = Self(Arc::new(Inner { isa: Isa::detect(), pool, log: config.log, log_level: config.log_level }));
        let isa = match context.isa() {
            Isa::Avx512 => "AVX-512",
            Isa::Avx2 => "AVX2",
            Isa::Portable => "portable vectors",
        };
        context.log(LogLevel::Info, &format!("device CPU, {isa}, {threads} threads"));
        Ok(context)
    }

    /// Threads that work on a training step.
    pub fn threads(&self) -> usize {
        self.0.pool.threads()
    }

    /// Sends a message to the sink when its level is wanted.
    pub fn log(&self, level: LogLevel, message: &str) {
        if let Some(sink) = &self.0.log
            && level <= self.0.log_level
        {
            sink(level, message);
        }
    }

    pub(crate) fn isa(&self) -> Isa {
        self.0.isa
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.0.pool
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("isa", &self.isa()).field("threads", &self.threads()).finish()
    }
}
