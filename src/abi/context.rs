//! Context: a device, its threads, and on a GPU the stream of all work.

use std::ffi::{c_char, c_void};
use std::mem::offset_of;

use super::arguments::out;
use super::callbacks::{SFEUOT_LOG_WARN, SfeuotLogCallback, log_sink};
use super::config::{self, Versioned};
use super::device::SfeuotDeviceInfo;
use super::handle::{self, Kind, Object};
use super::object_error;
use super::panic::guard;
use super::status::{Failure, Outcome};
use crate::{Context, ContextConfig, CudaConfig, CudaDevice, DeviceKind, HostHandle};

/// Devices, for SfeuotContextConfig.device.
///
/// ---
///
/// An NVIDIA GPU where one can be used, otherwise the CPU. The log says which it is, and why it is
/// not a GPU: at SFEUOT_LOG_WARN where there is a driver or a cuda_ field names a GPU, otherwise at
/// SFEUOT_LOG_INFO.
pub const SFEUOT_DEVICE_AUTO: i32 = 0;
/// The CPU.
pub const SFEUOT_DEVICE_CPU: i32 = 1;
/// An NVIDIA GPU, or SFEUOT_ERROR_UNSUPPORTED_DEVICE where none can be used. SfeuotContextConfig
/// says in which order a GPU works. Its results differ from the CPU's in their last bits and, after
/// many steps, in all bits.
pub const SFEUOT_DEVICE_CUDA: i32 = 2;

/// Who multiplies matrices on a GPU, for SfeuotContextConfig.cuda_products.
///
/// ---
///
/// The library's fused kernels for hidden layers of up to 512 units, and cublasLt for networks of
/// larger ones where it is installed.
pub const SFEUOT_PRODUCTS_AUTO: i32 = 0;
/// The library's fused kernels for all layers.
pub const SFEUOT_PRODUCTS_FUSED: i32 = 1;
/// cublasLt for all layers, except those of convolutional networks, which have the library's own
/// kernels in any case. Where it is not installed, the context gets SFEUOT_ERROR_UNSUPPORTED_DEVICE
/// or, with SFEUOT_DEVICE_AUTO, the CPU.
pub const SFEUOT_PRODUCTS_CUBLASLT: i32 = 2;

/// The arithmetic of products of matrices on a GPU, for SfeuotContextConfig.cuda_precision. Sums,
/// weights, gradients and whatever is not multiplied as a matrix or a convolution have 32 bits in
/// any case.
///
/// ---
///
/// Numbers are multiplied as they are.
pub const SFEUOT_PRECISION_F32: i32 = 0;
/// On tensor cores: the numbers of a product are rounded to 11 significant bits. Needs compute
/// capability 8.0, without which the context gets SFEUOT_ERROR_UNSUPPORTED_DEVICE or, with
/// SFEUOT_DEVICE_AUTO, the CPU.
pub const SFEUOT_PRECISION_TF32: i32 = 1;
/// As SFEUOT_PRECISION_TF32, rounded to 8 significant bits.
pub const SFEUOT_PRECISION_BF16: i32 = 2;

/// Where work runs: a device, its threads, and where the log goes.
///
/// Ownership. Contexts, trainers, models, sessions and problems are opaque handles. Creating one
/// gives the host one reference, retain adds one, release takes one away, and the object ends with
/// the last one. An object keeps alive whatever it needs from the objects it was made from, so
/// handles may be released in any order. A handle is a number, not an address: one that was
/// released, is of another kind, or was never made is refused with SFEUOT_ERROR_INVALID_HANDLE. A
/// host must not dereference or free a handle, or save it to a file. Memory belongs to whoever
/// allocated it: the library frees nothing of the host's and hands out nothing to free. Arrays and
/// structs passed in are read during the call only, except for the device memory of
/// sfeuot_session_generate_tensor. What a callback needs (userdata) has to outlive the object that
/// calls it. A CUDA context or stream of the host's has to outlive everything made from the context.
///
/// Threads. Any handle may be used from any thread. Many threads may use a context or a model at
/// once. A trainer, session or problem does one call at a time: a second thread inside it, or a
/// callback that calls back into it, gets SFEUOT_ERROR_BUSY at once, unless it asks to wait for
/// some time (sfeuot_trainer_model_wait). Nothing else waits and nothing deadlocks. To generate on
/// several threads, give each thread its own session on the same model, or a session several
/// threads (SfeuotSessionConfig). A trainer is open while it tells of progress: see
/// sfeuot_trainer_run.
/// sfeuot_trainer_cancel, memory, retain and release are never busy. After a call returned, no
/// callback that it started runs any more. Callbacks must return: no C++ exception and no longjmp
/// may leave one.
///
/// Floating-point mode. The calling thread may be in any mode (rounding, flushing of tiny numbers,
/// traps). The library computes in the standard mode, callbacks run in the thread's own, and a
/// call returns with that mode, exception flags included.
pub struct SfeuotContext {
    _opaque: [u8; 0],
}

/// How to make a context. Fill it with sfeuot_context_config_init, then change what you need.
///
/// Order on a GPU. A context on an NVIDIA GPU queues all of its work, and that of what is made from
/// it, on one stream in the order of the calls. The stream is yours (cuda_stream) or one that the
/// library makes. Device memory that the library reads has to be complete, or be written by work
/// that comes earlier on that stream. Device memory that the library writes is ready when the stream
/// has come past it: continue on the same stream, let another stream wait for an event recorded on
/// it (sfeuot_context_cuda_stream tells which it is), or call sfeuot_context_synchronize. Outputs in
/// host memory are ready when the call returns. sfeuot_session_generate_tensor on device memory is
/// the one call that returns before its work is done. A failure of such work is told by a later
/// call, as SFEUOT_ERROR_DEVICE. The CUDA context that was current on the calling thread is current
/// again when a call returns. Streams that record a graph (stream capture) cannot be used.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SfeuotContextConfig {
    /// Set by sfeuot_context_config_init.
    pub struct_size: u32,
    /// SFEUOT_DEVICE_*. Default SFEUOT_DEVICE_AUTO.
    pub device: i32,
    /// CPU threads to train with, the calling one included, from 1 to 1024. 0 takes one for each
    /// core, and on a GPU the calling thread alone. Results do not depend on it. Default 0.
    pub threads: u32,
    /// SFEUOT_LOG_*: the least urgent level that log_callback receives. Default SFEUOT_LOG_WARN.
    pub log_level: i32,
    /// Receives the log; NULL for no log. The library itself writes nothing to stdout, and to stderr
    /// only when it has caught a bug of its own. Default NULL.
    pub log_callback: SfeuotLogCallback,
    /// Passed to log_callback. It has to live as long as the context and everything made from it.
    pub log_userdata: *mut c_void,
    /// The GPU's number among those that the driver shows. -1 takes the GPU of cuda_uuid,
    /// cuda_context or cuda_stream, or else the first one. On the CPU the cuda_ fields and
    /// memory_limit mean nothing. Default -1.
    pub cuda_device: i32,
    /// SFEUOT_PRODUCTS_*. Default SFEUOT_PRODUCTS_AUTO.
    pub cuda_products: i32,
    /// The 16 bytes of the GPU's UUID, which are copied; NULL for none. It must be NULL where
    /// cuda_device is not -1. Default NULL.
    pub cuda_uuid: *const u8,
    /// A CUcontext of yours to work in. It has to outlive the context and everything made from it.
    /// NULL takes that of cuda_stream, or else the primary context of the GPU, which the CUDA
    /// runtime uses as well. Default NULL.
    pub cuda_context: *mut c_void,
    /// A CUstream (cudaStream_t) of yours on which all work is queued. It has to outlive the context
    /// and everything made from it. CUDA's legacy default stream needs cuda_context beside it. The
    /// default stream per thread is refused, because it is another one on each thread. NULL takes a
    /// stream that the library makes and that waits for no other; it is not the default stream.
    /// Default NULL.
    pub cuda_stream: *mut c_void,
    /// The most bytes of device memory that the library takes through this context; 0 for no limit
    /// but the GPU's. A call that needs more fails with
    /// SFEUOT_ERROR_OUT_OF_MEMORY. What the driver needs for
    /// itself does not count. Default 0.
    pub memory_limit: u64,
    /// SFEUOT_PRECISION_*. Default SFEUOT_PRECISION_F32.
    pub cuda_precision: i32,
    /// Always 0.
    pub reserved: u32,
}

// SAFETY: repr(C), struct_size first; the callback is an Option, for which NULL is a value, and the host vouches for
// others.
unsafe impl Versioned for SfeuotContextConfig {
    const NAME: &'static str = "SfeuotContextConfig";
    const SIZES: &'static [usize] = &[offset_of!(Self, cuda_precision), size_of::<Self>()];

    fn defaults() -> Self {
        Self {
            struct_size: size_of::<Self>() as u32,
            device: SFEUOT_DEVICE_AUTO,
            threads: 0,
            log_level: SFEUOT_LOG_WARN,
            log_callback: None,
            log_userdata: std::ptr::null_mut(),
            cuda_device: -1,
            cuda_products: SFEUOT_PRODUCTS_AUTO,
            cuda_uuid: std::ptr::null(),
            cuda_context: std::ptr::null_mut(),
            cuda_stream: std::ptr::null_mut(),
            memory_limit: 0,
            cuda_precision: SFEUOT_PRECISION_F32,
            reserved: 0,
        }
    }
}

impl SfeuotContextConfig {
    /// SAFETY: cuda_uuid is NULL or readable.
    unsafe fn checked(self) -> Outcome<ContextConfig> {
        if self.reserved != 0 {
            return Err(Failure::argument(format!("config.reserved is {}, but must be 0", self.reserved)));
        }
        let device = match u32::try_from(self.cuda_device) {
            Ok(index) if self.cuda_uuid.is_null() => CudaDevice::Index(index),
            Ok(index) => {
                return Err(Failure::argument(format!(
                    "config.cuda_device is {index} and config.cuda_uuid is set; only one of them may name the GPU"
                )));
            }
            Err(_) if self.cuda_device != -1 => {
                return Err(Failure::argument(format!(
                    "config.cuda_device is {}; it must be the number of a GPU, or -1 for none in particular",
                    self.cuda_device
                )));
            }
            Err(_) if self.cuda_uuid.is_null() => CudaDevice::First,
            // SAFETY: 16 bytes, as promised.
            Err(_) => CudaDevice::Uuid(unsafe { self.cuda_uuid.cast::<[u8; 16]>().read() }),
        };
        Ok(ContextConfig {
            device: self.device.try_into()?,
            cuda: CudaConfig {
                device,
                context: HostHandle(self.cuda_context),
                stream: HostHandle(self.cuda_stream),
                memory_limit: self.memory_limit,
                products: self.cuda_products.try_into()?,
                precision: self.cuda_precision.try_into()?,
            },
            threads: self.threads as usize,
            log: log_sink(self.log_callback, self.log_userdata),
            log_level: self.log_level.try_into()?,
        })
    }
}

impl Object for Context {
    type Handle = SfeuotContext;
    const KIND: Kind = Kind::Context;
}

/// Fills config with the defaults.
///
/// In C and C++ call this name: a macro below makes it sfeuot_context_config_init_2. The symbol
/// itself is for programs that were built when the struct ended with memory_limit, and fills no
/// more than that.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_context_config_init(config: *mut SfeuotContextConfig) -> i32 {
    // SAFETY: config is NULL or writable.
    guard("sfeuot_context_config_init", || unsafe { config::init(config, "config", SfeuotContextConfig::SIZES[0]) })
}

/// The function that sfeuot_context_config_init names in C and C++. Bindings to other languages
/// call it themselves, with a struct as the header has it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_context_config_init_2(config: *mut SfeuotContextConfig) -> i32 {
    // SAFETY: config is NULL or writable.
    guard("sfeuot_context_config_init_2", || unsafe { config::init(config, "config", SfeuotContextConfig::SIZES[1]) })
}

/// Makes a context. config NULL means all defaults. Errors: SFEUOT_ERROR_INVALID_ARGUMENT,
/// SFEUOT_ERROR_UNSUPPORTED_VERSION, SFEUOT_ERROR_UNSUPPORTED_DEVICE, SFEUOT_ERROR_DEVICE.
///
/// After a fork() the child may use and release what it inherited, and make objects of its own. On
/// the CPU results have the same bits as in the parent. A context starts its threads anew in the
/// child, and works on the calling thread alone if the system starts none. A trainer or session that
/// another thread of the parent was inside of at the fork may be half changed. It answers
/// SFEUOT_ERROR_INTERNAL in the child: release it. A GPU that was in use does not follow into the
/// child: what lives on it answers SFEUOT_ERROR_DEVICE there at once, and is released without a call
/// of the driver. A child made by other means than fork() (vfork, _Fork, clone) may not call the
/// library.
///
/// dlclose never unloads the shared library: handles stay valid over it. A host may reload a plug-in
/// that is linked to the library, once it has released or cancelled what calls back into the plug-in
/// (samplers, progress, log).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_context_create(
    config: *const SfeuotContextConfig,
    context: *mut *mut SfeuotContext,
) -> i32 {
    guard("sfeuot_context_create", || {
        let context = out(context, "context")?;
        // SAFETY: config is NULL or readable.
        let config = unsafe { config::read_or_defaults(config, "config") }?;
        // SAFETY: the UUID is readable.
        let created = handle::create(Context::new(unsafe { config.checked() }?)?)?;
        // SAFETY: context is writable.
        unsafe { context.write(created) };
        Ok(())
    })
}

/// Writes the number of CPU threads that the context uses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_context_threads(context: *const SfeuotContext, threads: *mut u32) -> i32 {
    guard("sfeuot_context_threads", || {
        let context = handle::pin::<Context>(context, "context")?;
        let threads = out(threads, "threads")?;
        // SAFETY: threads is writable.
        unsafe { threads.write(u32::try_from(context.threads()).unwrap_or(u32::MAX)) };
        Ok(())
    })
}

/// Writes the device that work runs on, SFEUOT_DEVICE_CPU or SFEUOT_DEVICE_CUDA: what
/// SFEUOT_DEVICE_AUTO became.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_context_device(context: *const SfeuotContext, device: *mut i32) -> i32 {
    guard("sfeuot_context_device", || {
        let context = handle::pin::<Context>(context, "context")?;
        let device = out(device, "device")?;
        let kind = if context.gpu_info().is_some() { DeviceKind::Cuda } else { DeviceKind::Cpu };
        // SAFETY: device is writable.
        unsafe { device.write(kind.into()) };
        Ok(())
    })
}

/// Writes what the GPU of the context is. A context on the CPU has none and gets
/// SFEUOT_ERROR_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_context_device_info(context: *const SfeuotContext, info: *mut SfeuotDeviceInfo) -> i32 {
    guard("sfeuot_context_device_info", || {
        let context = handle::pin::<Context>(context, "context")?;
        // SAFETY: info is NULL or writable.
        let info = unsafe { config::output(info, "info") }?;
        let Some(device) = context.gpu_info() else {
            return Err(Failure::argument(
                "context is on the CPU; one on a GPU is needed, and sfeuot_context_device tells them apart",
            ));
        };
        // SAFETY: info is writable.
        unsafe { info.write(&device.into()) };
        Ok(())
    })
}

/// Writes how many bytes of device memory the library has taken through this context, which is what
/// memory_limit bounds; 0 on the CPU.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_context_device_memory(context: *const SfeuotContext, bytes: *mut u64) -> i32 {
    guard("sfeuot_context_device_memory", || {
        let context = handle::pin::<Context>(context, "context")?;
        let bytes = out(bytes, "bytes")?;
        // SAFETY: bytes is writable.
        unsafe { bytes.write(context.device_memory()) };
        Ok(())
    })
}

/// Writes the CUstream (cudaStream_t) on which all work of this context and of what is made from it
/// is queued; NULL on the CPU. The stream is the host's own, or it ends with the last of these
/// objects.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_context_cuda_stream(context: *const SfeuotContext, stream: *mut *mut c_void) -> i32 {
    guard("sfeuot_context_cuda_stream", || {
        let context = handle::pin::<Context>(context, "context")?;
        let stream = out(stream, "stream")?;
        // SAFETY: stream is writable.
        unsafe { stream.write(context.cuda_stream().0) };
        Ok(())
    })
}

/// Waits until all work that was queued on the context's stream is done. On the CPU there is none.
/// Errors: SFEUOT_ERROR_DEVICE when some of the work failed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_context_synchronize(context: *const SfeuotContext) -> i32 {
    guard("sfeuot_context_synchronize", || {
        let context = handle::pin::<Context>(context, "context")?;
        Ok(context.synchronise()?)
    })
}

/// Copies the sentence of the last call that failed on this context: what sfeuot_last_error returned
/// for it on its own thread. Hosts whose calls move between threads, such as tasks and goroutines,
/// read it here, where no other object's call can take its place. A call that makes something of the
/// context is a call on it, so the reason of a creation that failed is here. "" where no call has
/// failed. SFEUOT_ERROR_BUSY and refused handles leave the sentence alone, and so does this
/// function, which may be called from any thread at any time.
///   buffer  size bytes; gets a C string in UTF-8, cut at a character where it is too short
///   size    1 or more; SFEUOT_TEXT_SIZE is always enough
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_context_error(context: *mut SfeuotContext, buffer: *mut c_char, size: usize) -> i32 {
    // SAFETY: buffer is NULL or has room for size bytes.
    guard("sfeuot_context_error", || unsafe { object_error::copy::<Context>(context, "context", buffer, size) })
}

/// Adds a reference, for a second owner. sfeuot_context_release gives it back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_context_retain(context: *mut SfeuotContext) -> i32 {
    guard("sfeuot_context_retain", || handle::retain::<Context>(context, "context"))
}

/// Gives a reference back. With the last one the handle ends. Trainers, models and sessions made
/// from the context keep what they need of it. NULL is allowed and does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_context_release(context: *mut SfeuotContext) -> i32 {
    guard("sfeuot_context_release", || handle::release::<Context>(context, "context"))
}
