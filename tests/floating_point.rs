//! A host's floating-point mode changes no result and comes back as it was: rounding, flushing of tiny numbers, traps and
//! exception flags, at the end of every call and for the length of every callback.
#![cfg(target_arch = "x86_64")]

mod common;
mod problems;

use std::arch::asm;
use std::ffi::{CString, c_char, c_void};
use std::path::Path;
use std::ptr::{null, null_mut};

use common::{DIMENSION, Problem, ROWS, init, ok};
use sfeuot::abi::*;
use sfeuot::*;

/// All exceptions masked.
const STANDARD: u32 = 0x1F80;
const FLUSH: u32 = 0x8000;
const TINY_INPUTS_ARE_ZERO: u32 = 0x0040;
/// Set when any result was not exact, which is most of the time.
const INEXACT: u32 = 0x0020;
/// The masks of invalid operations, divisions by zero and overflows.
const TRAPPED: u32 = 0x0680;

fn mode() -> u32 {
    let mut mode = 0u32;
    // SAFETY: writes the 32 bits.
    unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut mode, options(nostack)) };
    mode
}

fn set_mode(mode: u32) {
    // SAFETY: the tests compute nothing themselves before they set the standard mode again.
    unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const mode, options(nostack)) };
}

/// Calls the library in a mode, which has to be there still when it returns.
#[track_caller]
fn in_mode<R>(host: u32, call: impl FnOnce() -> R) -> R {
    set_mode(host);
    let result = call();
    let after = mode();
    set_mode(STANDARD);
    assert_eq!(after, host, "a call changed the host's mode {host:#x} to {after:#x}");
    result
}

/// Every rounding with and without flushing, with and without a flag that is set already; and traps.
fn modes() -> Vec<u32> {
    let mut modes = Vec::new();
    for rounding in 0..4 {
        for flushing in [0, FLUSH, TINY_INPUTS_ARE_ZERO, FLUSH | TINY_INPUTS_ARE_ZERO] {
            for flags in [0, INEXACT] {
                modes.push(STANDARD | rounding << 13 | flushing | flags);
            }
        }
    }
    modes.extend([STANDARD & !TRAPPED, (STANDARD & !TRAPPED) | FLUSH]);
    modes
}

/// What the callbacks of one training are given.
struct Host {
    mode: u32,
    calls: usize,
    drawn: u32,
}

impl Host {
    fn callback(&mut self) {
        self.calls += 1;
        assert_eq!(mode(), self.mode, "a callback runs in another mode than the host's");
    }
}

unsafe extern "C-unwind" fn log(host: *mut c_void, _: i32, _: *const c_char, _: usize) {
    // SAFETY: `train` passes a Host that outlives the context.
    unsafe { (*host.cast::<Host>()).callback() };
}

unsafe extern "C-unwind" fn progress(host: *mut c_void, _: *const SfeuotMetrics) -> i32 {
    // SAFETY: as above.
    unsafe { (*host.cast::<Host>()).callback() };
    SFEUOT_CONTINUE
}

unsafe extern "C-unwind" fn sample(host: *mut c_void, batch: *mut f32, rows: u64, dimension: u64) -> i32 {
    // SAFETY: as above, and there is room for so many numbers.
    let (host, batch) = unsafe {
        (&mut *host.cast::<Host>(), std::slice::from_raw_parts_mut(batch.cast::<u32>(), (rows * dimension) as usize))
    };
    host.callback();
    for bits in batch {
        // From 1 to 2, by whole numbers alone: this is not the standard mode.
        host.drawn = host.drawn.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        *bits = 0x3F80_0000 | host.drawn >> 9;
    }
    0
}

unsafe extern "C-unwind" fn write(host: *mut c_void, _: *const c_void, _: usize) -> i32 {
    // SAFETY: as above.
    unsafe { (*host.cast::<Host>()).callback() };
    0
}

fn bits(values: &[f32]) -> impl Iterator<Item = u32> {
    values.iter().map(|x| x.to_bits())
}

/// The bits of everything that the C interface computes, called in a mode; `folder` is for files.
fn train(host_mode: u32, threads: u32, folder: &Path) -> Vec<u32> {
    let mut host = Host { mode: host_mode, calls: 0, drawn: 1 };
    let userdata: *mut c_void = (&raw mut host).cast();
    let mut problem = Problem::new();
    problem.config.components = 3;
    problem.target.use_callback(Some(sample), userdata);
    let mut config = init(sfeuot_context_config_init_2);
    (config.device, config.threads, config.log_level) = (SFEUOT_DEVICE_CPU, threads, SFEUOT_LOG_DEBUG);
    config.log_callback = Some(log);
    config.log_userdata = userdata;
    let path = |name: &str| CString::new(folder.join(name).to_str().expect("UTF-8")).expect("no zero inside");
    let (checkpoint, file) = (path("checkpoint"), path("model"));
    let mut metrics = init(sfeuot_metrics_init_2);
    let (mut context, mut trainer, mut again, mut model, mut loaded, mut session) =
        (null_mut(), null_mut(), null_mut(), null_mut(), null_mut(), null_mut());
    let x: Vec<f32> = (0..ROWS * DIMENSION).map(|i| (i * 29 % 64) as f32 / 50.0).collect();
    let (x, rows, times) = (x.as_ptr(), ROWS as u64, [0.1, 0.7, 1.0]);
    let mut out = vec![0f32; 3 * ROWS * DIMENSION];
    let mut results = Vec::new();
    let sides = (&raw const problem.source.data, &raw const problem.target.data);
    let call = |call: &mut dyn FnMut() -> i32| ok(in_mode(host_mode, call));
    // SAFETY: live handles, and arrays of the sizes the calls name.
    unsafe {
        call(&mut || sfeuot_context_create(&config, &mut context));
        call(&mut || sfeuot_trainer_create(context, &problem.config, sides.0, sides.1, &mut trainer));
        call(&mut || sfeuot_trainer_step(trainer, 60, null_mut()));
        call(&mut || sfeuot_trainer_save(trainer, checkpoint.as_ptr()));
        call(&mut || sfeuot_trainer_load(context, checkpoint.as_ptr(), sides.0, sides.1, &mut again));
        call(&mut || sfeuot_trainer_run(again, 60, 7, Some(progress), userdata, &mut metrics));
        let SfeuotMetrics { dual, generator_loss, value_gradient_norm, density_ratio_mean, .. } = metrics;
        for number in [dual, generator_loss, value_gradient_norm, density_ratio_mean] {
            results.extend([number.to_bits() as u32, (number.to_bits() >> 32) as u32]);
        }
        call(&mut || sfeuot_trainer_model(again, &mut model));
        call(&mut || sfeuot_model_save(model, file.as_ptr()));
        let graph = SfeuotOnnxConfig { write: Some(write), userdata, ..init(sfeuot_onnx_config_init) };
        call(&mut || sfeuot_model_export_onnx(model, &graph, null()));
        let bytes = std::fs::read(folder.join("model")).expect("the model was saved");
        call(&mut || sfeuot_model_load_memory(context, bytes.as_ptr().cast(), bytes.len(), &mut loaded));
        results.extend(bytes.into_iter().map(u32::from));
        call(&mut || sfeuot_session_create(loaded, &mut session));
        let y = out.as_mut_ptr();
        let mut calls: [&mut dyn FnMut() -> i32; 5] = [
            &mut || sfeuot_session_generate(session, x, rows, 1, 0, y),
            &mut || sfeuot_session_conditional_mean(session, x, rows, 9, 1, 0, y),
            &mut || sfeuot_session_trajectory(session, x, rows, times.as_ptr(), 3, 1, 0, y),
            &mut || sfeuot_session_drift(session, 0.3, x, rows, y),
            &mut || sfeuot_session_density_ratio(session, x, rows, y),
        ];
        for session_call in &mut calls {
            call(session_call);
            results.extend(bits(std::slice::from_raw_parts(y, 3 * ROWS * DIMENSION)));
        }
        call(&mut || sfeuot_trainer_run_for(again, 0.01, null_mut(), null_mut()));
        call(&mut || sfeuot_session_release(session));
        call(&mut || sfeuot_model_release(loaded));
        call(&mut || sfeuot_model_release(model));
        call(&mut || sfeuot_trainer_release(again));
        call(&mut || sfeuot_trainer_release(trainer));
        call(&mut || sfeuot_context_release(context));
    }
    assert!(host.calls > 2 * 60, "callbacks were not called");
    results
}

#[test]
fn the_c_interface_gives_the_same_bits_in_every_mode_for_any_number_of_threads() {
    let folder = common::scratch("floating_point");
    let expected = train(STANDARD, 1, &folder);
    for threads in 1..=3 {
        for mode in modes() {
            assert!(train(mode, threads, &folder) == expected, "mode {mode:#x}, {threads} threads");
        }
    }
}

type SessionCall<'a> = dyn Fn(&mut Session, &mut [f32]) -> Result<()> + 'a;

/// The same through the Rust interface.
fn train_in_rust(host_mode: u32, threads: usize) -> Vec<u32> {
    let clouds = problems::Clouds::new(2);
    let config = TrainerConfig { batch_sources: 40, ..problems::with_latents() };
    let path = problems::scratch("floating_point.checkpoint");
    let context = in_mode(host_mode, || problems::context(threads));
    let side = |values| problems::array(values, 2);
    let (source, target) = (side(&clouds.source), side(&clouds.target));
    let mut trainer = in_mode(host_mode, || Trainer::new(&context, config, source, target)).expect("a sound problem");
    in_mode(host_mode, || trainer.step(40)).expect("a sound problem");
    in_mode(host_mode, || trainer.save(&path)).expect("the target folder is writable");
    let (source, target) = (side(&clouds.source), side(&clouds.target));
    let mut trainer = in_mode(host_mode, || Trainer::load(&context, &path, source, target)).expect("the same data");
    let metrics = in_mode(host_mode, || {
        trainer.run(40, 3, &mut |_| {
            assert_eq!(mode(), host_mode);
            Control::Continue
        })
    });
    let dual = metrics.expect("a sound problem").dual.to_bits();
    let mut results = vec![dual as u32, (dual >> 32) as u32];
    let model = in_mode(host_mode, || trainer.model()).expect("a model");
    let file = problems::bytes(&model, "floating_point");
    let model = in_mode(host_mode, || Model::load_memory(&context, &file)).expect("the file of a model");
    results.extend(file.into_iter().map(u32::from));
    let mut session = Session::new(&model).expect("a workspace");
    let x = problems::floats(&clouds.target);
    let mut out = vec![0f32; 2 * x.len()];
    let half = x.len();
    let calls: [&SessionCall; 5] = [
        &|session, out| session.generate(&x, 1, 0, &mut out[..half]),
        &|session, out| session.conditional_mean(&x, 5, 1, 0, &mut out[..half]),
        &|session, out| session.trajectory(&x, &[0.2, 0.9], 1, 0, out),
        &|session, out| session.drift(0.5, &x, &mut out[..half]),
        &|session, out| session.density_ratio(&x, &mut out[..half / 2]),
    ];
    for call in calls {
        in_mode(host_mode, || call(&mut session, &mut out)).expect("finite rows");
        results.extend(bits(&out));
    }
    results
}

#[test]
fn the_rust_interface_gives_the_same_bits_in_every_mode_for_any_number_of_threads() {
    let expected = train_in_rust(STANDARD, 1);
    for threads in 1..=3 {
        for mode in modes() {
            assert!(train_in_rust(mode, threads) == expected, "mode {mode:#x}, {threads} threads");
        }
    }
}

#[test]
fn a_mode_that_a_callback_leaves_is_the_hosts_from_then_on() {
    let chosen = STANDARD | FLUSH | INEXACT;
    let mut trainer = problems::Clouds::new(2).trainer(&problems::context(2), problems::small());
    let mut seen = Vec::new();
    let run = trainer.run(3, 1, &mut |_| {
        seen.push(mode());
        set_mode(chosen);
        Control::Continue
    });
    let after = mode();
    set_mode(STANDARD);
    run.expect("a sound problem");
    assert_eq!(seen[1..], [chosen; 2]);
    assert_eq!(after, chosen);
}

#[test]
fn a_call_from_a_callback_and_one_that_panics_leave_the_mode_alone() {
    let host = STANDARD | 3 << 13;
    let clouds = problems::Clouds::new(2);
    let x = problems::floats(&clouds.source);
    let mut session = Session::new(&clouds.model(problems::small(), 2)).expect("a workspace");
    let mut trainer = clouds.trainer(&problems::context(1), problems::small());
    let mut draw = |mode| {
        let mut out = vec![0f32; x.len()];
        in_mode_kept(mode, || session.generate(&x, 3, 0, &mut out)).expect("finite rows");
        out
    };
    let expected = draw(STANDARD);
    let panicked = in_mode(host, || {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            trainer.run(5, 1, &mut |_| {
                let inside = draw(host);
                assert!(inside != expected, "the panic of this test");
                Control::Continue
            })
        }))
    });
    let text = panicked.expect_err("the results are the same");
    assert_eq!(text.downcast_ref::<&str>().copied(), Some("the panic of this test"));
}

/// As [`in_mode`], for a thread that is in that mode before and after.
fn in_mode_kept<R>(host: u32, call: impl FnOnce() -> R) -> R {
    set_mode(host);
    let result = call();
    assert_eq!(mode(), host);
    result
}
