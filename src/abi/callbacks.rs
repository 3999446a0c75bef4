//! The host's functions the library calls, each wrapped into what the core expects.

use std::ffi::{c_char, c_void};

use super::metrics::SfeuotMetrics;
use super::panic::shield;
use super::status::{Failure, SFEUOT_ERROR_CALLBACK};
use crate::data::Sampler;
use crate::{Control, LogLevel, LogSink, Metrics};

/// Levels of the log, for SfeuotContextConfig.log_level and SfeuotLogCallback.
///
/// ---
///
/// Something failed. The call returns the same as a status.
pub const SFEUOT_LOG_ERROR: i32 = 0;
/// Something works less well than it could.
pub const SFEUOT_LOG_WARN: i32 = 1;
/// What the library chose: device, threads, sizes.
pub const SFEUOT_LOG_INFO: i32 = 2;
/// Details for whoever works on the library.
pub const SFEUOT_LOG_DEBUG: i32 = 3;

/// Answers of a SfeuotProgressCallback.
///
/// ---
///
/// Go on.
pub const SFEUOT_CONTINUE: i32 = 0;
/// End the run with SFEUOT_ERROR_CANCELLED.
pub const SFEUOT_STOP: i32 = 1;

/// Receives one line of the log. level is one of SFEUOT_LOG_*. utf8 holds len bytes without a
/// terminating zero and is valid during the callback only. The library may call it from several
/// threads at once, and only while a call on the context or on something made from it runs.
pub type SfeuotLogCallback =
    Option<unsafe extern "C-unwind" fn(userdata: *mut c_void, level: i32, utf8: *const c_char, len: usize)>;

/// Fills batch with independent samples: rows of them, with dimension numbers each, row after row,
/// in data units, all finite. Returns 0, or any other number to end the call with
/// SFEUOT_ERROR_CALLBACK and that number in the text. It runs during calls on the trainer only, on
/// the thread that made the call. sfeuot_trainer_create asks for 4096 samples in all, to measure
/// their scale. Each step asks for batch_sources rows of the source, twice, and once for
/// batch_sources x components rows of the target. What it gave for a step that was cancelled on the
/// CPU is kept for that step, in the trainer but not in its checkpoints.
pub type SfeuotSampleCallback =
    Option<unsafe extern "C-unwind" fn(userdata: *mut c_void, batch: *mut f32, rows: u64, dimension: u64) -> i32>;

/// Is told about a run, on the thread that called sfeuot_trainer_run. metrics is valid during the
/// callback only. Returns SFEUOT_CONTINUE or SFEUOT_STOP; any other number ends the run with
/// SFEUOT_ERROR_CALLBACK and that number in the text.
pub type SfeuotProgressCallback =
    Option<unsafe extern "C-unwind" fn(userdata: *mut c_void, metrics: *const SfeuotMetrics) -> i32>;

/// The host's pointer, handed back to the host untouched.
#[derive(Clone, Copy)]
struct Userdata(*mut c_void);

// SAFETY: the library never follows the pointer; that the callback may run on other threads is part of its contract.
unsafe impl Send for Userdata {}
// SAFETY: as above.
unsafe impl Sync for Userdata {}

impl Userdata {
    /// A method, so that closures capture the whole wrapper and not the bare pointer.
    fn get(&self) -> *mut c_void {
        self.0
    }
}

/// A log that cannot be written has nobody to be reported to, so a callback that unwinds is
/// ignored.
pub(super) fn log_sink(callback: SfeuotLogCallback, userdata: *mut c_void) -> Option<LogSink> {
    let callback = callback?;
    let userdata = Userdata(userdata);
    Some(Box::new(move |level: LogLevel, text: &str| {
        // SAFETY: the host gave the callback for these arguments.
        let _ = shield(|| unsafe { callback(userdata.get(), level.into(), text.as_ptr().cast(), text.len()) });
    }))
}

struct HostSampler {
    side: &'static str,
    callback: unsafe extern "C-unwind" fn(*mut c_void, *mut f32, u64, u64) -> i32,
    userdata: Userdata,
}

/// The sampler of one side, `None` without a callback.
pub(super) fn sampler(
    side: &'static str,
    callback: SfeuotSampleCallback,
    userdata: *mut c_void,
) -> Option<Box<dyn Sampler>> {
    Some(Box::new(HostSampler { side, callback: callback?, userdata: Userdata(userdata) }))
}

impl Sampler for HostSampler {
    fn fill(&mut self, batch: &mut [f32], rows: usize, dimension: usize) -> Result<(), String> {
        // The host writes as many, whatever the core made room for.
        assert_eq!(batch.len(), rows * dimension);
        let side = self.side;
        // SAFETY: the host gave the callback for these arguments, and `batch` has room for them.
        let returned = shield(|| unsafe {
            (self.callback)(self.userdata.get(), batch.as_mut_ptr(), rows as u64, dimension as u64)
        });
        match returned {
            Ok(0) => Ok(()),
            Ok(number) => {
                Err(format!("the sample callback of the {side} returned {number}; 0 means that the batch is filled"))
            }
            Err(text) => Err(format!("the sample callback of the {side} panicked: {text}")),
        }
    }
}

/// A progress callback and, once it failed, why.
pub(super) struct Progress {
    callback: SfeuotProgressCallback,
    userdata: *mut c_void,
    failure: Option<Failure>,
}

impl Progress {
    pub(super) fn new(callback: SfeuotProgressCallback, userdata: *mut c_void) -> Self {
        Self { callback, userdata, failure: None }
    }

    /// Nobody is told.
    pub(super) fn none() -> Self {
        Self::new(None, std::ptr::null_mut())
    }

    pub(super) fn tell(&mut self, metrics: &Metrics) -> Control {
        let Some(callback) = self.callback else {
            return Control::Continue;
        };
        let metrics = SfeuotMetrics::from(metrics);
        // SAFETY: the host gave the callback for these arguments.
        let text = match shield(|| unsafe { callback(self.userdata, &metrics) }) {
            Ok(SFEUOT_CONTINUE) => return Control::Continue,
            Ok(SFEUOT_STOP) => return Control::Stop,
            Ok(number) => format!(
                "the progress callback returned {number}; allowed are SFEUOT_CONTINUE \
                 ({SFEUOT_CONTINUE}) and SFEUOT_STOP ({SFEUOT_STOP})"
            ),
            Err(text) => format!("the progress callback panicked: {text}"),
        };
        self.failure = Some(Failure::new(SFEUOT_ERROR_CALLBACK, text));
        Control::Stop
    }

    /// The failure of the callback, which explains the run's end better than that it was stopped.
    pub(super) fn failure(&mut self) -> Option<Failure> {
        self.failure.take()
    }
}
