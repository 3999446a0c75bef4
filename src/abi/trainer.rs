//! Trainer: a problem, its networks and its data.

use std::ffi::{c_char, c_void};
use std::time::Duration;

use super::arguments::{Out, at_least_one, optional_out, out, path as file};
use super::callbacks::{Progress, SfeuotProgressCallback};
use super::config::{self, StructOut};
use super::context::SfeuotContext;
use super::data::{SfeuotData, read_sides};
use super::exclusive::Exclusive;
use super::handle::{self, Kind, Object};
use super::metrics::SfeuotMetrics;
use super::model::SfeuotModel;
use super::object_error;
use super::panic::guard;
use super::status::{Failure, Outcome};
use super::trainer_config::SfeuotTrainerConfig;
use crate::error::Error;
use crate::train::{Course, Goal, Next};
use crate::{CancelToken, Context, Control, Metrics, Model, Trainer, float_mode};

/// A problem with its networks and data, which steps train. SfeuotContext says how handles live.
pub struct SfeuotTrainer {
    _opaque: [u8; 0],
}

/// The trainer, and what a call may have while another one is inside it.
struct Shared {
    trainer: Exclusive<Trainer>,
    cancel: CancelToken,
    /// Bytes on the host and on the device.
    memory: (u64, u64),
}

impl Shared {
    /// A call that trains. The token is begun before the trainer is busy and ended after it is free again: whoever
    /// finds the trainer busy because of this call cancels this call.
    ///
    /// Between steps the trainer is open to calls that wait for it, and to all calls but those that train while the host
    /// is told of progress. Returns how many steps were made, and what the last one saw.
    fn train(&self, goal: Goal, progress: &mut Progress) -> Outcome<(u64, Metrics)> {
        let Some(running) = self.cancel.begin() else {
            return Err(self.trainer.busy());
        };
        let mut step = 0;
        let outcome = self.trainer.stay(|inside| {
            let mut course = inside.with(|trainer| Course::begin(trainer, goal));
            loop {
                let (next, metrics) = inside.with(|trainer| {
                    let next = course.go_on(trainer);
                    (next, trainer.metrics())
                });
                step = metrics.step;
                match next? {
                    Next::Steps => inside.let_in()?,
                    Next::Tell => {
                        let control = inside.open(|| float_mode::as_host(|| progress.tell(&metrics)))?;
                        if control == Control::Stop {
                            return Err(Error::Cancelled { step }.into());
                        }
                    }
                    Next::End => return Ok((inside.with(|trainer| course.made(trainer)), metrics)),
                }
            }
        });
        let cancelled = running.end();
        match progress.failure() {
            Some(failure) => Err(failure),
            None if cancelled && outcome.is_ok() => Err(Error::Cancelled { step }.into()),
            None => outcome,
        }
    }
}

impl Object for Shared {
    type Handle = SfeuotTrainer;
    const KIND: Kind = Kind::Trainer;
}

fn create(trainer: Trainer) -> Outcome<*mut SfeuotTrainer> {
    let (cancel, memory) = (trainer.cancel_token(), trainer.memory());
    handle::create(Shared { trainer: Exclusive::new("trainer", trainer), cancel, memory })
}

/// SAFETY: the promise of `config::optional_output` holds.
unsafe fn write_metrics(out: Option<StructOut<SfeuotMetrics>>, metrics: &Metrics) {
    if let Some(out) = out {
        // SAFETY: as promised.
        unsafe { out.write(&metrics.into()) };
    }
}

/// Makes a trainer with fresh networks. Samples of source and target must have the same shape.
/// Arrays are copied, and sample callbacks stay in use until the trainer is released. Errors:
/// SFEUOT_ERROR_INVALID_ARGUMENT (which names the field), SFEUOT_ERROR_UNSUPPORTED_VERSION,
/// SFEUOT_ERROR_CALLBACK, SFEUOT_ERROR_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_trainer_create(
    context: *mut SfeuotContext,
    config: *const SfeuotTrainerConfig,
    source: *const SfeuotData,
    target: *const SfeuotData,
    trainer: *mut *mut SfeuotTrainer,
) -> i32 {
    guard("sfeuot_trainer_create", || {
        let context = handle::pin::<Context>(context, "context")?;
        let trainer = out(trainer, "trainer")?;
        // SAFETY: config and what it points to are NULL or readable.
        let config = unsafe { config::read(config, "config")?.checked() }?;
        // Before any sample or weight is read.
        config.validate()?;
        let mut weights = Default::default();
        // SAFETY: source, target and what they point to are NULL or readable during the call.
        let (source, target) = unsafe { read_sides(&context, source, target, &mut weights) }?;
        let created = create(Trainer::new(&context, config, source, target)?)?;
        // SAFETY: trainer is writable.
        unsafe { trainer.write(created) };
        Ok(())
    })
}

/// Takes steps training steps (at least 1) and writes what the last one saw. metrics may be NULL. A
/// training ends at 2^53 steps, and a call for more is SFEUOT_ERROR_INVALID_ARGUMENT. Errors:
/// SFEUOT_ERROR_DIVERGED, SFEUOT_ERROR_CANCELLED, SFEUOT_ERROR_CALLBACK, SFEUOT_ERROR_BUSY. The
/// steps done before one of the first three are kept, except for the last one before a divergence;
/// sfeuot_trainer_metrics tells their number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_trainer_step(
    trainer: *mut SfeuotTrainer,
    steps: u64,
    metrics: *mut SfeuotMetrics,
) -> i32 {
    guard("sfeuot_trainer_step", || {
        let shared = handle::pin::<Shared>(trainer, "trainer")?;
        // SAFETY: metrics is NULL or writable.
        let metrics = unsafe { config::optional_output(metrics, "metrics") }?;
        at_least_one("steps", steps)?;
        let (_, seen) = shared.train(Goal::Steps { steps, every: 0 }, &mut Progress::none())?;
        // SAFETY: metrics is writable.
        unsafe { write_metrics(metrics, &seen) };
        Ok(())
    })
}

/// Trains like sfeuot_trainer_step, and calls progress after every that many steps (at least 1) and
/// after the last one. With progress NULL nobody is told, and every is ignored. While progress runs,
/// calls on this trainer that train are SFEUOT_ERROR_BUSY, on any thread. All others work:
/// sfeuot_trainer_model gives what has been learnt so far, so a training can show itself.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_trainer_run(
    trainer: *mut SfeuotTrainer,
    steps: u64,
    every: u64,
    progress: SfeuotProgressCallback,
    userdata: *mut c_void,
    metrics: *mut SfeuotMetrics,
) -> i32 {
    guard("sfeuot_trainer_run", || {
        let shared = handle::pin::<Shared>(trainer, "trainer")?;
        // SAFETY: metrics is NULL or writable.
        let metrics = unsafe { config::optional_output(metrics, "metrics") }?;
        at_least_one("steps", steps)?;
        if progress.is_some() {
            at_least_one("every", every)?;
        }
        let every = if progress.is_some() { every } else { 0 };
        let (_, seen) = shared.train(Goal::Steps { steps, every }, &mut Progress::new(progress, userdata))?;
        // SAFETY: metrics is writable.
        unsafe { write_metrics(metrics, &seen) };
        Ok(())
    })
}

/// Takes steps for about milliseconds (finite, > 0), for a host that trains inside its frame. It
/// takes at least one step, and starts none that is expected to end past the time, by how long the
/// one before it took. It writes how many steps this call did and what the last one saw; both
/// outputs may be NULL. Errors are those of sfeuot_trainer_step. After one, SFEUOT_ERROR_CANCELLED
/// included, sfeuot_trainer_metrics tells the steps so far.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_trainer_run_for(
    trainer: *mut SfeuotTrainer,
    milliseconds: f64,
    steps_done: *mut u64,
    metrics: *mut SfeuotMetrics,
) -> i32 {
    guard("sfeuot_trainer_run_for", || {
        let shared = handle::pin::<Shared>(trainer, "trainer")?;
        let steps_done = optional_out(steps_done, "steps_done")?;
        // SAFETY: metrics is NULL or writable.
        let metrics = unsafe { config::optional_output(metrics, "metrics") }?;
        let budget = match Duration::try_from_secs_f64(milliseconds / 1e3) {
            Ok(budget) if milliseconds > 0.0 => budget,
            _ => {
                return Err(Failure::argument(format!(
                    "milliseconds is {milliseconds}; it must be finite and greater than 0"
                )));
            }
        };
        let (done, seen) = shared.train(Goal::Time(budget), &mut Progress::none())?;
        // SAFETY: steps_done and metrics are writable.
        unsafe {
            if let Some(steps_done) = steps_done {
                steps_done.write(done);
            }
            write_metrics(metrics, &seen);
        }
        Ok(())
    })
}

/// Makes the step, run or run_for call that is inside this trainer return SFEUOT_ERROR_CANCELLED. It
/// may be called from any thread, also from a callback, and returns at once.
///
/// On the CPU the step in progress is left when each thread has come to the end of its block of rows
/// (64, or components where that is more). The step is then not made: nothing of it stays but the
/// samples that callbacks gave for it, which it takes when it is made later. A training that goes on
/// has the bits of one that was never cancelled. On a GPU the steps that are queued already, up to
/// 32, are made first. A callback that runs is waited for, and sfeuot_trainer_create cannot be
/// cancelled.
///
/// After SFEUOT_ERROR_BUSY it stops whichever call is inside by then, also when that is not the one
/// that made the trainer busy. Without one inside nothing happens: a call that begins later is not
/// cancelled.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_trainer_cancel(trainer: *mut SfeuotTrainer) -> i32 {
    guard("sfeuot_trainer_cancel", || {
        let shared = handle::pin::<Shared>(trainer, "trainer")?;
        shared.cancel.cancel();
        Ok(())
    })
}

/// Writes what the last step saw; zeros before the first step.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_trainer_metrics(trainer: *mut SfeuotTrainer, metrics: *mut SfeuotMetrics) -> i32 {
    guard("sfeuot_trainer_metrics", || {
        let shared = handle::pin::<Shared>(trainer, "trainer")?;
        // SAFETY: metrics is NULL or writable.
        let metrics = unsafe { config::output(metrics, "metrics") }?;
        let seen = shared.trainer.enter(|trainer| Ok(trainer.metrics()))?;
        // SAFETY: metrics is writable.
        unsafe { metrics.write(&(&seen).into()) };
        Ok(())
    })
}

/// Writes how many bytes the training takes of host memory, and of the GPU's memory (0 on the CPU).
/// Either output may be NULL. sfeuot_trainer_create works both numbers out before it reads a
/// sample, and refuses a training that finds no room for them. The trainer takes all of it when it
/// is made, so the numbers never change. This call is never SFEUOT_ERROR_BUSY.
///
/// Counted are the trainer's copies of arrays, both networks with their gradients and the state of
/// the optimiser, the workspaces of all threads, and the batches of callbacks. On a GPU all of it
/// lies in the GPU's memory but for these batches, about 70 bytes for each component of a sample,
/// and 8 bytes for each weight of samples in device memory.
///
/// Not counted are what the process had before, such as your arrays and the context with its
/// threads; on a GPU what the driver takes, and 32 MiB for cublasLt that the trainings of a context
/// share; models and sessions; and what a call takes while it runs. sfeuot_trainer_save and
/// sfeuot_trainer_model take about 16 bytes for each parameter of both networks for a while.
/// sfeuot_trainer_create measures and copies the samples before it takes anything else. For that it
/// takes 40 bytes for each weighted sample beside the copies, and for a callback 12 bytes for
/// each number of 4096 samples, but at most 12 MiB. Of samples of up to 512 numbers it keeps up
/// to 65,536 a side (4,194,304 numbers) for a while, with 8 bytes a number and 9 a sample, and of
/// the target then three times 32,768 (2,097,152 numbers) in place of the source's. Of balanced
/// trainings that may begin with clusters (up to 128 numbers, two components or more, no
/// latents) it keeps up to 262,144 a side beside these. Creation asks the system for the larger
/// of that and host_bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_trainer_memory(
    trainer: *mut SfeuotTrainer,
    host_bytes: *mut u64,
    device_bytes: *mut u64,
) -> i32 {
    guard("sfeuot_trainer_memory", || {
        let shared = handle::pin::<Shared>(trainer, "trainer")?;
        let host_bytes = optional_out(host_bytes, "host_bytes")?;
        let device_bytes = optional_out(device_bytes, "device_bytes")?;
        let (host, device) = shared.memory;
        for (place, bytes) in [(host_bytes, host), (device_bytes, device)] {
            if let Some(place) = place {
                // SAFETY: host_bytes and device_bytes are writable.
                unsafe { place.write(bytes) };
            }
        }
        Ok(())
    })
}

/// Makes a model from what has been learnt so far: a copy of the averaged generator and of the
/// averaged value network. Further training does not change it, and is not changed by it: it goes on
/// with the same bits. While another call is inside the trainer this is SFEUOT_ERROR_BUSY at once;
/// sfeuot_trainer_model_wait waits for the end of a step.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_trainer_model(trainer: *mut SfeuotTrainer, model: *mut *mut SfeuotModel) -> i32 {
    guard("sfeuot_trainer_model", || {
        let shared = handle::pin::<Shared>(trainer, "trainer")?;
        let model = out(model, "model")?;
        let made = shared.trainer.enter(|trainer| Ok((trainer.copied()?, trainer.context().clone())))?;
        hand_out(made, model)
    })
}

/// Makes the same while another thread trains. Where a call is inside the trainer, it waits for the
/// end of the current step, up to milliseconds, and then the training goes on. On a GPU that is the
/// end of up to 32 steps that are queued at once. SFEUOT_ERROR_BUSY tells that the time was over: a
/// step took longer, or the call that is inside is not one that trains. A callback of samples is
/// inside a step, so there it waits in vain; a progress callback is between steps, and there it need
/// not wait. Other calls wait for this one rather than be SFEUOT_ERROR_BUSY because of it, for up to
/// ten seconds.
///   milliseconds  finite, 0 or more; about the time, as it looks every tenth of one
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_trainer_model_wait(
    trainer: *mut SfeuotTrainer,
    milliseconds: f64,
    model: *mut *mut SfeuotModel,
) -> i32 {
    guard("sfeuot_trainer_model_wait", || {
        let shared = handle::pin::<Shared>(trainer, "trainer")?;
        let model = out(model, "model")?;
        let Ok(patience) = Duration::try_from_secs_f64(milliseconds / 1e3) else {
            return Err(Failure::argument(format!("milliseconds is {milliseconds}; it must be finite and at least 0")));
        };
        let copy = |trainer: &mut Trainer| Ok((trainer.copied()?, trainer.context().clone()));
        hand_out(shared.trainer.enter_within(patience, copy)?, model)
    })
}

/// Gives a model to the host, and tells the log of one that knows nothing. The trainer is free again by now: the log's callback
/// may call it.
fn hand_out((made, context): (Model, Context), model: Out<*mut SfeuotModel>) -> Outcome<()> {
    Trainer::tell_of(&context, &made);
    let created = handle::create(made)?;
    // SAFETY: model is writable.
    unsafe { model.write(created) };
    Ok(())
}

/// Writes a checkpoint: settings, networks, averages, optimiser, step number and a fingerprint of
/// the samples, but not the samples. The file is replaced as sfeuot_model_save says. Errors:
/// SFEUOT_ERROR_IO, SFEUOT_ERROR_FORMAT (a weight or another number is not finite, so that the file
/// could not be loaded), SFEUOT_ERROR_OUT_OF_MEMORY, SFEUOT_ERROR_BUSY, and SFEUOT_ERROR_DEVICE on a
/// GPU.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_trainer_save(trainer: *mut SfeuotTrainer, path: *const c_char) -> i32 {
    guard("sfeuot_trainer_save", || {
        let shared = handle::pin::<Shared>(trainer, "trainer")?;
        // SAFETY: path is NULL or a C string.
        let path = unsafe { file(path, "path") }?;
        shared.trainer.enter(|trainer| Ok(trainer.save(&path)?))
    })
}

/// Makes a trainer from a checkpoint and goes on where it was: with the same data and device, bit
/// for bit. Arrays that hold other samples or weights than before, or have another flip or crop, are
/// refused with SFEUOT_ERROR_INVALID_ARGUMENT. A callback is the host's to rewind to where its
/// samples go on. The file need not be trusted, as with sfeuot_model_load. Errors: SFEUOT_ERROR_IO,
/// SFEUOT_ERROR_FORMAT, and those of sfeuot_trainer_create.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_trainer_load(
    context: *mut SfeuotContext,
    path: *const c_char,
    source: *const SfeuotData,
    target: *const SfeuotData,
    trainer: *mut *mut SfeuotTrainer,
) -> i32 {
    guard("sfeuot_trainer_load", || {
        let context = handle::pin::<Context>(context, "context")?;
        let trainer = out(trainer, "trainer")?;
        // SAFETY: path is NULL or a C string.
        let path = unsafe { file(path, "path") }?;
        let mut weights = Default::default();
        // SAFETY: source, target and what they point to are NULL or readable during the call.
        let (source, target) = unsafe { read_sides(&context, source, target, &mut weights) }?;
        let created = create(Trainer::load(&context, &path, source, target)?)?;
        // SAFETY: trainer is writable.
        unsafe { trainer.write(created) };
        Ok(())
    })
}

/// Copies the sentence of the last call that failed on this trainer, sfeuot_trainer_model included.
/// See sfeuot_context_error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_trainer_error(trainer: *mut SfeuotTrainer, buffer: *mut c_char, size: usize) -> i32 {
    // SAFETY: buffer is NULL or has room for size bytes.
    guard("sfeuot_trainer_error", || unsafe { object_error::copy::<Shared>(trainer, "trainer", buffer, size) })
}

/// Adds a reference, for a second owner. sfeuot_trainer_release gives it back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_trainer_retain(trainer: *mut SfeuotTrainer) -> i32 {
    guard("sfeuot_trainer_retain", || handle::retain::<Shared>(trainer, "trainer"))
}

/// Gives a reference back. With the last one the handle ends, and the trainer with it or, when a
/// call is inside it, with that call. No callback runs for it any more then. NULL is allowed and
/// does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_trainer_release(trainer: *mut SfeuotTrainer) -> i32 {
    guard("sfeuot_trainer_release", || handle::release::<Shared>(trainer, "trainer"))
}
