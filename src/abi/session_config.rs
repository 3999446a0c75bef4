//! Settings of a session.

use super::config::{self, Versioned};
use super::panic::guard;
use super::status::Outcome;
use crate::SessionConfig;

/// Settings of a session. Fill it with sfeuot_session_config_init, then change what you need.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SfeuotSessionConfig {
    /// Set by sfeuot_session_config_init.
    pub struct_size: u32,
    /// The most threads that work on a call, with the calling one. They are those of the context
    /// that the model was made on, and no more than it has. 0 takes all of them; the largest number
    /// is 1024. Default 1, which leaves all other cores to the host. Results are the same bits for
    /// any number. Ignored where the model is on a GPU.
    ///
    /// Each thread takes rows of its own, from about 2^20 multiply-adds on. Pictures that are too
    /// few for all threads are computed one after the other by all threads together, so a single
    /// one takes less time as well. While another call or a training works with the context's
    /// threads, a call does not wait for them and works on its own thread alone; so does a training
    /// while a call has them.
    pub threads: u32,
}

// SAFETY: repr(C), struct_size first, a plain number.
unsafe impl Versioned for SfeuotSessionConfig {
    const NAME: &'static str = "SfeuotSessionConfig";
    const SIZES: &'static [usize] = &[size_of::<Self>()];

    fn defaults() -> Self {
        let SessionConfig { threads } = SessionConfig::default();
        Self { struct_size: size_of::<Self>() as u32, threads: threads as u32 }
    }
}

impl SfeuotSessionConfig {
    /// The settings that `pointer` describes, defaults for NULL.
    ///
    /// SAFETY: `pointer` is NULL or readable for the `struct_size` it begins with.
    pub(super) unsafe fn read(pointer: *const Self) -> Outcome<SessionConfig> {
        // SAFETY: as promised.
        let config = unsafe { config::read_or_defaults(pointer, "config") }?;
        Ok(SessionConfig { threads: config.threads as usize })
    }
}

/// Fills config with the defaults.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_session_config_init(config: *mut SfeuotSessionConfig) -> i32 {
    // SAFETY: config is NULL or writable.
    guard("sfeuot_session_config_init", || unsafe { config::init(config, "config", SfeuotSessionConfig::SIZES[0]) })
}
