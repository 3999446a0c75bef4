//! Context: a device and its threads.

use std::ffi::c_void;

use super::arguments::out;
use super::callbacks::{SFEUOT_LOG_WARN, SfeuotLogCallback, log_sink};
use super::config::{self, Versioned};
use super::handle::{self, Kind, Object};
use super::panic::guard;
use super::status::Outcome;
use crate::{Context, ContextConfig};

/// Devices, for SfeuotContextConfig.device.
///
/// The best device that this library can use here. This version has the CPU only.
pub const SFEUOT_DEVICE_AUTO: i32 = 0;
/// The CPU.
pub const SFEUOT_DEVICE_CPU: i32 = 1;
/// An NVIDIA GPU. This version has no such device and returns SFEUOT_ERROR_UNSUPPORTED_DEVICE.
pub const SFEUOT_DEVICE_CUDA: i32 = 2;

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
    /// CPU threads to train with, the calling one included: 0 for one a core, at most 1024. Results
    /// do not depend on it. Default 0.
    pub threads: u32,
    /// SFEUOT_LOG_*: the least urgent level that is passed on. Default SFEUOT_LOG_WARN.
    pub log_level: i32,
    /// Receives the log, or NULL for none. The library never writes to stdout or stderr of its own
    /// accord. Default NULL.
    pub log_callback: SfeuotLogCallback,
    /// Passed to log_callback; has to live as long as the context and everything made from it.
    pub log_userdata: *mut c_void,
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
        }
    }
}

impl SfeuotContextConfig {
    fn checked(self) -> Outcome<ContextConfig> {
        Ok(ContextConfig {
            device: self.device.try_into()?,
            cuda: crate::CudaConfig::default(),
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
/// SFEUOT_ERROR_UNSUPPORTED_VERSION, SFEUOT_ERROR_UNSUPPORTED_DEVICE.
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
        let created = handle::create(Context::new(config.checked()?)?)?;
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
