//! Context: a device, its threads, and on a GPU the stream of all work.

use std::ffi::c_void;

use super::arguments::out;
use super::callbacks::{SFEUOT_LOG_WARN, SfeuotLogCallback, log_sink};
use super::config::{self, Versioned};
use super::device::SfeuotDeviceInfo;
use super::handle::{self, Kind, Object};
use super::panic::guard;
use super::status::{Failure, Outcome};
use crate::{Context, ContextConfig, CudaConfig, CudaDevice, DeviceKind, HostHandle};

/// Devices, for SfeuotContextConfig.device.
///
/// An NVIDIA GPU where one can be used, otherwise the CPU; the log says which, and why it is not a
/// GPU: at SFEUOT_LOG_WARN where there is a driver or a cuda_ field names a GPU, else at
/// SFEUOT_LOG_INFO.
pub const SFEUOT_DEVICE_AUTO: i32 = 0;
/// The CPU.
pub const SFEUOT_DEVICE_CPU: i32 = 1;
/// An NVIDIA GPU, or SFEUOT_ERROR_UNSUPPORTED_DEVICE where none can be used.
pub const SFEUOT_DEVICE_CUDA: i32 = 2;

/// Who multiplies matrices on a GPU, for SfeuotContextConfig.cuda_products.
///
/// The library's fused kernels for networks of up to 256 units a layer; cublasLt for larger ones where
/// it is installed.
pub const SFEUOT_PRODUCTS_AUTO: i32 = 0;
/// The library's fused kernels for all layers.
pub const SFEUOT_PRODUCTS_FUSED: i32 = 1;
/// cublasLt for all layers, or SFEUOT_ERROR_UNSUPPORTED_DEVICE where it is not installed (with
/// SFEUOT_DEVICE_AUTO: the CPU).
pub const SFEUOT_PRODUCTS_CUBLASLT: i32 = 2;

/// Where work runs: a device, its threads, and where the log goes.
pub struct SfeuotContext {
    _opaque: [u8; 0],
}

/// How to make a context. Fill it with sfeuot_context_config_init, then change what you need.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SfeuotContextConfig {
    /// Set by sfeuot_context_config_init.
    pub struct_size: u32,
    /// SFEUOT_DEVICE_*. Default SFEUOT_DEVICE_AUTO.
    pub device: i32,
    /// CPU threads to train with, the calling one included: 0 for one a core (on a GPU for the
    /// calling one alone), at most 1024. Results do not depend on it. Default 0.
    pub threads: u32,
    /// SFEUOT_LOG_*: the least urgent level that is passed on. Default SFEUOT_LOG_WARN.
    pub log_level: i32,
    /// Receives the log, or NULL for none. The library never writes to stdout or stderr of its own
    /// accord. Default NULL.
    pub log_callback: SfeuotLogCallback,
    /// Passed to log_callback; has to live as long as the context and everything made from it.
    pub log_userdata: *mut c_void,
    /// Which GPU, by its number among those that the driver shows; -1 for the one of cuda_uuid,
    /// cuda_context or cuda_stream, or else the first. The cuda_ fields and memory_limit mean
    /// nothing to the CPU. Default -1.
    pub cuda_device: i32,
    /// SFEUOT_PRODUCTS_*. Default SFEUOT_PRODUCTS_AUTO.
    pub cuda_products: i32,
    /// Which GPU, by the 16 bytes of its UUID, copied; not together with a cuda_device. NULL for
    /// none. Default NULL.
    pub cuda_uuid: *const u8,
    /// A CUcontext of yours to work in; it has to outlive the context and everything made from it.
    /// NULL: that of cuda_stream, or else the primary context of the GPU, which the CUDA runtime
    /// uses as well. Default NULL.
    pub cuda_context: *mut c_void,
    /// A CUstream (cudaStream_t) of yours on which all work is queued; it has to outlive the context
    /// and everything made from it. CUDA's legacy default stream needs cuda_context beside it; the
    /// default stream per thread is refused, as it is another one on each thread. NULL: a stream
    /// that the library makes and that waits for no other. Default NULL.
    pub cuda_stream: *mut c_void,
    /// Bytes of device memory that the library takes through this context at most, or 0 for no limit
    /// but the GPU's; SFEUOT_ERROR_OUT_OF_MEMORY beyond it. What the driver needs for itself does
    /// not count. Default 0.
    pub memory_limit: u64,
}

// SAFETY: repr(C), struct_size first; the callback is an Option, for which NULL is a value, and the host vouches for others.
unsafe impl Versioned for SfeuotContextConfig {
    const NAME: &'static str = "SfeuotContextConfig";
    const SIZES: &'static [usize] = &[size_of::<Self>()];

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
        }
    }
}

impl SfeuotContextConfig {
    /// SAFETY: cuda_uuid is NULL or readable.
    unsafe fn checked(self) -> Outcome<ContextConfig> {
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
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_context_config_init(config: *mut SfeuotContextConfig) -> i32 {
    // SAFETY: config is NULL or writable.
    guard("sfeuot_context_config_init", || unsafe { config::init(config, "config", SfeuotContextConfig::SIZES[0]) })
}

/// Makes a context. config NULL means all defaults. Errors: SFEUOT_ERROR_INVALID_ARGUMENT,
/// SFEUOT_ERROR_UNSUPPORTED_VERSION, SFEUOT_ERROR_UNSUPPORTED_DEVICE, SFEUOT_ERROR_DEVICE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_context_create(
    config: *const SfeuotContextConfig,
    context: *mut *mut SfeuotContext,
) -> i32 {
    guard("sfeuot_context_create", || {
        let context = out(context, "context")?;
        let config = if config.is_null() {
            SfeuotContextConfig::defaults()
        } else {
            // SAFETY: config is readable.
            unsafe { config::read(config, "config") }?
        };
        // SAFETY: the UUID is readable.
        let created = handle::create(Context::new(unsafe { config.checked() }?)?)?;
        // SAFETY: context is writable.
        unsafe { context.write(created) };
        Ok(())
    })
}

/// Writes the number of CPU threads the context uses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_context_threads(context: *const SfeuotContext, threads: *mut u32) -> i32 {
    guard("sfeuot_context_threads", || {
        let threads = out(threads, "threads")?;
        let context = handle::pin::<Context>(context, "context")?;
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
        let device = out(device, "device")?;
        let context = handle::pin::<Context>(context, "context")?;
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
        // SAFETY: info is NULL or writable.
        let info = unsafe { config::output(info, "info") }?;
        let context = handle::pin::<Context>(context, "context")?;
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
        let bytes = out(bytes, "bytes")?;
        let context = handle::pin::<Context>(context, "context")?;
        // SAFETY: bytes is writable.
        unsafe { bytes.write(context.device_memory()) };
        Ok(())
    })
}

/// Writes the CUstream (cudaStream_t) on which all work of this context and of what is made from it
/// is queued; NULL on the CPU. It is the host's own or ends with the last of these objects.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_context_cuda_stream(context: *const SfeuotContext, stream: *mut *mut c_void) -> i32 {
    guard("sfeuot_context_cuda_stream", || {
        let stream = out(stream, "stream")?;
        let context = handle::pin::<Context>(context, "context")?;
        // SAFETY: stream is writable.
        unsafe { stream.write(context.cuda_stream().0) };
        Ok(())
    })
}

/// Waits until all work that was queued on the context's stream is done; the CPU has none. Errors:
/// SFEUOT_ERROR_DEVICE when some of it failed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_context_synchronize(context: *const SfeuotContext) -> i32 {
    guard("sfeuot_context_synchronize", || {
        let context = handle::pin::<Context>(context, "context")?;
        Ok(context.synchronise()?)
    })
}

/// Adds a reference, for a second owner; it is given back with sfeuot_context_release.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_context_retain(context: *mut SfeuotContext) -> i32 {
    guard("sfeuot_context_retain", || handle::retain::<Context>(context, "context"))
}

/// Gives a reference back; with the last one the handle ends. Trainers, models and sessions made
/// from the context keep what they need of it. NULL is allowed and does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_context_release(context: *mut SfeuotContext) -> i32 {
    guard("sfeuot_context_release", || handle::release::<Context>(context, "context"))
}
