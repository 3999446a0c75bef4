//! Where work runs: the device, its threads and the log sink, shared by trainers and models.

use crate::data::{ArrayLayout, Resident};
use crate::device::cpu::pool::Pool;
use crate::device::cpu::simd::Isa;
use crate::device::cuda::driver;
use crate::device::cuda::gpu::Gpu;
use crate::device::gpus::{CudaConfig, DeviceInfo, HostHandle};
use crate::error::{Error, Result};
use crate::log::{Log, LogLevel, LogSink};
use crate::{memory, process};
use std::sync::Arc;

/// The device that the host asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(i32)]
pub enum DeviceKind {
    /// An NVIDIA GPU where one can be used, otherwise the processor; the log says which and why.
    #[default]
    Auto = 0,
    /// The processor.
    Cpu = 1,
    /// An NVIDIA GPU.
    Cuda = 2,
}

/// How to make a [`Context`].
#[derive(Default)]
pub struct ContextConfig {
    /// The device that the host asks for.
    pub device: DeviceKind,
    /// The GPU to use, and the host's CUDA context and stream to work in, if it has them. Ignored on the processor.
    pub cuda: CudaConfig,
    /// Number of threads that work on a training step, with the calling one. 0 takes one thread a core, and
    /// [`MAX_THREADS`] is the most. Results are the same bits for any number. A GPU needs no other thread than the
    /// calling one.
    pub threads: usize,
    /// Where messages go; nowhere by default.
    pub log: Option<LogSink>,
    /// Messages above this level are dropped.
    pub log_level: LogLevel,
}

/// The largest number of threads that a context may ask for.
pub const MAX_THREADS: usize = 1024;

struct Inner {
    gpu: Option<Arc<Gpu>>,
    isa: Isa,
    pool: Arc<Pool>,
    log: Log,
}

/// Opens a GPU. Its messages reach the log after the host's CUDA context is current again.
fn open(config: &CudaConfig, log: &Log) -> Result<Arc<Gpu>> {
    let mut lines = Vec::new();
    let gpu = Gpu::open(config, &mut |level, text| lines.push((level, text.to_owned())));
    for (level, text) in lines {
        log.write(level, &text);
    }
    gpu
}

/// A device with its threads. Cloning gives another handle to the same one.
#[derive(Clone)]
pub struct Context(Arc<Inner>);

impl Context {
    /// Opens the device, or starts the threads.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for more than [`MAX_THREADS`] threads, or a stream that does not fit its CUDA
    /// context; [`Error::UnsupportedDevice`] for a device that is not there or cannot be used, or threads the system
    /// refuses to start; [`Error::OutOfMemory`].
    pub fn new(config: ContextConfig) -> Result<Self> {
        if config.threads > MAX_THREADS {
            return Err(Error::invalid(format!(
                "threads is {}, but must be at most {MAX_THREADS}, or 0 for one a core",
                config.threads
            )));
        }
        process::watch()?;
        let log = Log { sink: config.log, level: config.log_level };
        let gpu = match config.device {
            DeviceKind::Cpu => None,
            DeviceKind::Cuda => Some(open(&config.cuda, &log)?),
            DeviceKind::Auto => match open(&config.cuda, &log) {
                Ok(gpu) => Some(gpu),
                // Arguments are wrong on every device.
                Err(error @ Error::InvalidArgument(_)) => return Err(error),
                Err(error) => {
                    // Whoever has a driver, or named a GPU, likely expects one.
                    let expected = driver::is_there() || config.cuda.names_a_gpu();
                    let level = if expected { LogLevel::Warn } else { LogLevel::Info };
                    log.write(level, &format!("device AUTO is the CPU: {error}"));
                    None
                }
            },
        };
        let threads = match config.threads {
            // The calling one alone: a GPU's host has nothing to share out.
            0 if gpu.is_some() => 1,
            0 => std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS),
            n => n,
        };
        let pool = Arc::new(Pool::new(threads)?);
        let on_cpu = gpu.is_none();
        let context = Self(Arc::new(Inner { gpu, isa: Isa::detect(), pool, log }));
        if on_cpu {
            let isa = context.isa().name();
            context.log(LogLevel::Info, &format!("device CPU, {isa}, {threads} threads"));
        }
        Ok(context)
    }

    /// The GPU that work runs on; `None` for the processor.
    pub fn gpu_info(&self) -> Option<&DeviceInfo> {
        self.0.gpu.as_ref().map(|gpu| gpu.info())
    }

    /// Returns the bytes of device memory that the library has taken through this context, which it counts against
    /// [`CudaConfig::memory_limit`]. 0 on the processor.
    pub fn device_memory(&self) -> u64 {
        self.0.gpu.as_ref().map_or(0, |gpu| gpu.account().used())
    }

    /// The `CUstream` that all of this context's work on the GPU is queued on, in the order of the calls; null on the
    /// processor.
    pub fn cuda_stream(&self) -> HostHandle {
        HostHandle(self.0.gpu.as_ref().map_or(std::ptr::null_mut(), |gpu| gpu.stream().cast()))
    }

    /// Waits until everything that was queued on the GPU is done. Returns at once on the processor.
    ///
    /// # Errors
    /// [`Error::Device`] when some of it failed.
    pub fn synchronise(&self) -> Result<()> {
        let Some(gpu) = &self.0.gpu else {
            return Ok(());
        };
        let _entered = gpu.enter()?;
        gpu.synchronise()
    }

    /// Returns the GPU if `bytes` bytes from `address` on are its memory. `name` is the argument that errors name.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`], on the processor always.
    fn check_device(&self, name: &str, address: u64, bytes: usize) -> Result<&Arc<Gpu>> {
        let Some(gpu) = &self.0.gpu else {
            return Err(Error::invalid(format!(
                "{name} (0x{address:x}) is device memory, but the context is on the CPU; use a context with a GPU, or pass host memory"
            )));
        };
        let _entered = gpu.enter()?;
        gpu.check_pointer(name, address, bytes as u64)?;
        Ok(gpu)
    }

    /// Copies `bytes` bytes of this GPU's memory, after all work queued so far, into words that are aligned for any
    /// element. `name` is the argument that errors name.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] on the processor, and for an address that is not such memory or has less;
    /// [`Error::OutOfMemory`] when the host has no room for the copy.
    pub(crate) fn read_device(&self, name: &str, address: u64, bytes: usize) -> Result<Vec<u64>> {
        let gpu = self.check_device(name, address, bytes)?;
        let length = bytes.div_ceil(size_of::<u64>());
        let mut words = memory::filled(&format!("a copy of {name}"), length, 0u64)?;
        let _entered = gpu.enter()?;
        // SAFETY: the words hold at least as many bytes, and every byte is a value.
        gpu.read(address, unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), bytes) })?;
        Ok(words)
    }

    /// Returns the samples of a side ("source" or "target") that lie in this GPU's memory: `bytes` bytes from `start`
    /// on, with the first element at `data`. `name` is the argument that errors name.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] on the processor, and for an address that is not such memory or has less.
    ///
    /// # Safety
    /// Every element that the layout reaches from `data` lies in these bytes. As long as the result lives, they stay
    /// allocated and nobody writes them.
    pub(crate) unsafe fn resident<'a>(
        &self,
        side: &'static str,
        name: &str,
        (start, bytes): (u64, usize),
        data: u64,
        layout: ArrayLayout,
    ) -> Result<Box<dyn Resident + 'a>> {
        let gpu = self.check_device(name, start, bytes)?;
        // SAFETY: memory of this GPU, as just checked; the rest is promised.
        Ok(unsafe { gpu.resident(side, data, layout) })
    }

    pub(crate) fn gpu(&self) -> Option<&Arc<Gpu>> {
        self.0.gpu.as_ref()
    }

    /// Threads that work on a training step.
    pub fn threads(&self) -> usize {
        self.0.pool.threads()
    }

    /// Sends a message to the sink when its level is wanted.
    pub fn log(&self, level: LogLevel, message: &str) {
        self.0.log.write(level, message);
    }

    pub(crate) fn isa(&self) -> Isa {
        self.0.isa
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.0.pool
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("isa", &self.isa())
            .field("threads", &self.threads())
            .field("gpu", &self.0.gpu)
            .finish()
    }
}
