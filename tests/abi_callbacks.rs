//! Callbacks of the host: what they are told, what their failure does, when they run, and what they
//! may call.

mod common;

use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::mpsc;

use common::*;
use sfeuot::abi::*;

/// Fills a batch and counts the calls; returns `answer`, and panics for `PANIC`.
#[derive(Default)]
struct Sampler {
    calls: AtomicU64,
    answer: AtomicI32,
}

const PANIC: i32 = i32::MIN;

unsafe extern "C-unwind" fn sample(userdata: *mut c_void, batch: *mut f32, rows: u64, dimension: u64) -> i32 {
    // SAFETY: the tests pass a Sampler that outlives the trainer.
    let sampler = unsafe { &*userdata.cast::<Sampler>() };
    let call = sampler.calls.fetch_add(1, Ordering::SeqCst);
    assert_eq!(dimension, DIMENSION as u64);
    // SAFETY: the batch has room for rows x dimension floats.
    let batch = unsafe { std::slice::from_raw_parts_mut(batch, (rows * dimension) as usize) };
    for (i, value) in batch.iter_mut().enumerate() {
        *value = ((i as u64 * 31 + call * 17) % 64) as f32 / 64.0;
    }
    match sampler.answer.load(Ordering::SeqCst) {
        PANIC => panic!("a sampler's panic"),
        answer => answer,
    }
}

#[test]
fn a_failing_sampler_ends_the_call_and_the_trainer_goes_on_after_it() {
    let sampler = Sampler::default();
    let mut problem = Problem::new();
    problem.target.use_callback(Some(sample), (&raw const sampler).cast_mut().cast());
    let handles = Handles::new(&problem);
    let mut metrics = init(sfeuot_metrics_init_2);
    // SAFETY: live handles and local outputs.
    unsafe {
        ok(sfeuot_trainer_step(handles.trainer, 2, &mut metrics));
        assert_eq!(metrics.step, 2);
        for (answer, part) in [(7, "returned 7"), (-1, "returned -1"), (PANIC, "a sampler's panic")] {
            sampler.answer.store(answer, Ordering::SeqCst);
            let status = sfeuot_trainer_step(handles.trainer, 1000, &mut metrics);
            refused(status, SFEUOT_ERROR_CALLBACK, part);
            assert!(last_error().contains("target"), "{}", last_error());
            assert_eq!(metrics.step, 2, "outputs are written on success only");
        }
        sampler.answer.store(0, Ordering::SeqCst);
        ok(sfeuot_trainer_step(handles.trainer, 1, &mut metrics));
        let calls = sampler.calls.load(Ordering::SeqCst);
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert_eq!(sampler.calls.load(Ordering::SeqCst), calls, "a callback ran after the call had returned");
    }
}

/// Runs a closure as progress callback.
unsafe extern "C-unwind" fn progress(userdata: *mut c_void, metrics: *const SfeuotMetrics) -> i32 {
    // SAFETY: `run` passes the closure, and metrics is valid during the callback.
    unsafe { (*userdata.cast::<&mut dyn FnMut(&SfeuotMetrics) -> i32>())(&*metrics) }
}

fn run(trainer: *mut SfeuotTrainer, steps: u64, every: u64, mut told: &mut dyn FnMut(&SfeuotMetrics) -> i32) -> i32 {
    // SAFETY: the closure outlives the call.
    unsafe { sfeuot_trainer_run(trainer, steps, every, Some(progress), (&raw mut told).cast(), null_mut()) }
}

#[test]
fn progress_is_told_every_so_many_steps_and_can_end_the_run() {
    let handles = Handles::new(&Problem::new());
    let mut steps = Vec::new();
    let status = run(handles.trainer, 7, 3, &mut |metrics| {
        assert_eq!(metrics.struct_size as usize, size_of::<SfeuotMetrics>());
        steps.push(metrics.step);
        SFEUOT_CONTINUE
    });
    ok(status);
    assert_eq!(steps, [3, 6, 7]);

    refused(run(handles.trainer, 100, 1, &mut |_| SFEUOT_STOP), SFEUOT_ERROR_CANCELLED, "cancelled");
    refused(run(handles.trainer, 100, 1, &mut |_| 42), SFEUOT_ERROR_CALLBACK, "returned 42");
    refused(run(handles.trainer, 100, 1, &mut |_| panic!("a host's panic")), SFEUOT_ERROR_CALLBACK, "a host's panic");
    let mut metrics = init(sfeuot_metrics_init_2);
    // SAFETY: a live handle and a local output.
    unsafe { ok(sfeuot_trainer_metrics(handles.trainer, &mut metrics)) };
    assert_eq!(metrics.step, 10, "steps before the end of a run are kept");
}

#[test]
fn a_progress_callback_may_not_train_but_look_cancel_and_release() {
    let mut handles = Handles::new(&Problem::new());
    let trainer = handles.trainer;
    let path = scratch("busy").join("trainer");
    let c_path = std::ffi::CString::new(path.to_str().expect("UTF-8")).expect("no zero inside");
    let mut calls = 0;
    // SAFETY: live handles and local outputs.
    let status = run(trainer, 10, 1, &mut |_| unsafe {
        calls += 1;
        let mut metrics = init(sfeuot_metrics_init_2);
        let mut model = null_mut();
        refused(sfeuot_trainer_step(trainer, 1, null_mut()), SFEUOT_ERROR_BUSY, "trainer");
        refused(sfeuot_trainer_run_for(trainer, 1.0, null_mut(), null_mut()), SFEUOT_ERROR_BUSY, "trainer");
        refused(run(trainer, 1, 1, &mut |_| SFEUOT_CONTINUE), SFEUOT_ERROR_BUSY, "trainer");
        ok(sfeuot_trainer_metrics(trainer, &mut metrics));
        assert_eq!(metrics.step, 1);
        ok(sfeuot_trainer_model(trainer, &mut model));
        ok(sfeuot_model_release(model));
        ok(sfeuot_trainer_model_wait(trainer, 0.0, &mut model));
        ok(sfeuot_model_release(model));
        ok(sfeuot_trainer_save(trainer, c_path.as_ptr()));
        let mut bytes = [0; 2];
        ok(sfeuot_trainer_memory(trainer, &mut bytes[0], &mut bytes[1]));
        assert!(bytes[0] > 0 && bytes[1] == 0, "{bytes:?}");
        ok(sfeuot_trainer_memory(trainer, null_mut(), null_mut()));
        ok(sfeuot_trainer_cancel(trainer));
        SFEUOT_CONTINUE
    });
    refused(status, SFEUOT_ERROR_CANCELLED, "cancelled");
    assert_eq!(calls, 1);
    assert!(path.exists());
    // SAFETY: live handles; the last release inside the callback leaves the object to the call that is inside it.
    unsafe {
        ok(sfeuot_trainer_step(trainer, 1, null_mut()));
        handles.trainer = null_mut();
        let status = run(trainer, 3, 3, &mut |_| {
            ok(sfeuot_trainer_release(trainer));
            refused(sfeuot_trainer_release(trainer), SFEUOT_ERROR_INVALID_HANDLE, "released");
            SFEUOT_CONTINUE
        });
        ok(status);
        refused(sfeuot_trainer_step(trainer, 1, null_mut()), SFEUOT_ERROR_INVALID_HANDLE, "released");
    }
}

/// The steps of a model, which is released.
fn steps(model: *mut SfeuotModel) -> u64 {
    let mut info = init(sfeuot_model_info_init);
    // SAFETY: a live handle, and a struct of the test.
    unsafe {
        ok(sfeuot_model_info(model, &mut info));
        ok(sfeuot_model_release(model));
    }
    info.steps
}

/// The file of the trainer's model.
fn file(trainer: *mut SfeuotTrainer, name: &str) -> Vec<u8> {
    let path = scratch(name).join("model");
    let c_path = std::ffi::CString::new(path.to_str().expect("UTF-8")).expect("no zero inside");
    let mut model = null_mut();
    // SAFETY: live handles and a C string.
    unsafe {
        ok(sfeuot_trainer_model(trainer, &mut model));
        ok(sfeuot_model_save(model, c_path.as_ptr()));
        ok(sfeuot_model_release(model));
    }
    std::fs::read(path).expect("it was written")
}

#[test]
fn a_model_can_be_taken_while_another_thread_trains_and_changes_nothing() {
    const STEPS: u64 = 3000;
    let (alone, watched) = (Handles::new(&Problem::new()), Handles::new(&Problem::new()));
    // SAFETY: here and below live handles and local outputs.
    ok(unsafe { sfeuot_trainer_step(alone.trainer, STEPS, null_mut()) });
    let address = watched.trainer.addr();
    let trainer = || std::ptr::without_provenance_mut::<SfeuotTrainer>(address);
    let mut seen = vec![];
    std::thread::scope(|scope| {
        let training = scope.spawn(|| {
            let mut shown = vec![];
            let status = run(trainer(), STEPS, 1000, &mut |_| {
                let mut model = null_mut();
                ok(unsafe { sfeuot_trainer_model(trainer(), &mut model) });
                shown.push(steps(model));
                SFEUOT_CONTINUE
            });
            (status, shown)
        });
        while !training.is_finished() {
            let mut model = null_mut();
            ok(unsafe { sfeuot_trainer_model_wait(trainer(), 600_000.0, &mut model) });
            seen.push(steps(model));
        }
        assert_eq!(training.join().expect("no panic"), (SFEUOT_OK, vec![1000, 2000, 3000]));
    });
    assert!(seen.is_sorted() && !seen.is_empty(), "{seen:?}");
    assert!(file(watched.trainer, "watched") == file(alone.trainer, "alone"));
}

#[test]
fn a_wait_for_a_call_that_does_not_open_ends_with_its_time() {
    let mut problem = Problem::new();
    let mut waited = 0;
    let mut trainer: *mut SfeuotTrainer = null_mut();
    struct Asks<'a> {
        trainer: &'a mut *mut SfeuotTrainer,
        waited: &'a mut u32,
    }
    unsafe extern "C-unwind" fn draw(userdata: *mut c_void, batch: *mut f32, rows: u64, dimension: u64) -> i32 {
        // SAFETY: what the test handed over, and a batch of this size.
        let (asks, batch) = unsafe {
            (&mut *userdata.cast::<Asks>(), std::slice::from_raw_parts_mut(batch, (rows * dimension) as usize))
        };
        batch.iter_mut().enumerate().for_each(|(i, x)| *x = (i as f32 * 0.7).sin());
        if !asks.trainer.is_null() {
            let mut model = null_mut();
            // SAFETY: a live handle and a local output. The step that this is inside of cannot end.
            refused(unsafe { sfeuot_trainer_model_wait(*asks.trainer, 2.0, &mut model) }, SFEUOT_ERROR_BUSY, "trainer");
            *asks.waited += 1;
        }
        0
    }
    let mut asks = Asks { trainer: &mut trainer, waited: &mut waited };
    problem.source.use_callback(Some(draw), (&raw mut asks).cast());
    let handles = Handles::new(&problem);
    *asks.trainer = handles.trainer;
    // SAFETY: a live handle.
    ok(unsafe { sfeuot_trainer_step(handles.trainer, 2, null_mut()) });
    assert!(waited > 0);
}

#[test]
fn a_second_thread_is_busy_and_can_cancel_the_first() {
    let handles = Handles::new(&Problem::new());
    let address = handles.trainer.addr();
    let trainer = || std::ptr::without_provenance_mut::<SfeuotTrainer>(address);
    let (inside, is_inside) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let first = scope.spawn(move || {
            let mut waited = false;
            run(trainer(), u64::MAX, 1, &mut |_| {
                if !waited {
                    inside.send(()).expect("the second thread waits");
                    may_go_on.recv().expect("the second thread answers");
                    waited = true;
                }
                SFEUOT_CONTINUE
            })
        });
        is_inside.recv().expect("the first thread comes inside");
        // SAFETY: a live handle.
        unsafe {
            refused(sfeuot_trainer_step(trainer(), 1, null_mut()), SFEUOT_ERROR_BUSY, "trainer");
            go_on.send(()).expect("the first thread waits");
            ok(sfeuot_trainer_cancel(trainer()));
        }
        assert_eq!(first.join().expect("no panic"), SFEUOT_ERROR_CANCELLED);
    });
    // SAFETY: a live handle; a cancel with no call inside is forgotten.
    unsafe {
        ok(sfeuot_trainer_cancel(trainer()));
        ok(sfeuot_trainer_step(trainer(), 1, null_mut()));
    }
}

#[test]
fn whoever_finds_a_trainer_busy_with_training_cancels_that_call() {
    let handles = Handles::new(&Problem::new());
    let address = handles.trainer.addr();
    let trainer = || std::ptr::without_provenance_mut::<SfeuotTrainer>(address);
    let mut metrics = init(sfeuot_metrics_init_2);
    for _ in 0..200 {
        std::thread::scope(|scope| {
            let training = scope.spawn(|| {
                loop {
                    // SAFETY: here and below a live handle; no metrics are wanted.
                    let status = unsafe { sfeuot_trainer_step(trainer(), u64::MAX, null_mut()) };
                    // The other thread may be inside just now.
                    if status != SFEUOT_ERROR_BUSY {
                        return status;
                    }
                }
            });
            // SAFETY: a local output.
            while unsafe { sfeuot_trainer_metrics(trainer(), &mut metrics) } != SFEUOT_ERROR_BUSY {
                std::hint::spin_loop();
            }
            // SAFETY: as above. Once is enough: were it lost, the call would not end.
            ok(unsafe { sfeuot_trainer_cancel(trainer()) });
            assert_eq!(training.join().expect("no panic"), SFEUOT_ERROR_CANCELLED);
        });
    }
    // SAFETY: as above.
    ok(unsafe { sfeuot_trainer_step(trainer(), 1, null_mut()) });
}

unsafe extern "C-unwind" fn log(userdata: *mut c_void, level: i32, utf8: *const std::ffi::c_char, len: usize) {
    // SAFETY: the test passes a counter that outlives the context; the text has len bytes.
    let (count, text) = unsafe { (&*userdata.cast::<AtomicU64>(), std::slice::from_raw_parts(utf8.cast::<u8>(), len)) };
    count.fetch_add(1, Ordering::SeqCst);
    assert!((SFEUOT_LOG_ERROR..=SFEUOT_LOG_DEBUG).contains(&level));
    assert!(!std::str::from_utf8(text).expect("UTF-8").is_empty());
    panic!("a log sink's panic");
}

#[test]
fn a_panicking_log_sink_disturbs_nothing() {
    let count = AtomicU64::new(0);
    let mut config = init(sfeuot_context_config_init_2);
    config.device = SFEUOT_DEVICE_CPU;
    config.log_level = SFEUOT_LOG_DEBUG;
    config.log_callback = Some(log);
    config.log_userdata = (&raw const count).cast_mut().cast();
    let (mut context, mut trainer) = (null_mut(), null_mut());
    // SAFETY: local inputs and outputs.
    unsafe {
        ok(sfeuot_context_create(&config, &mut context));
        ok(Problem::new().create(context, &mut trainer));
        ok(sfeuot_trainer_run(trainer, 3, 0, None, null_mut(), null_mut()));
        ok(sfeuot_trainer_release(trainer));
        ok(sfeuot_context_release(context));
    }
    assert!(count.load(Ordering::SeqCst) > 0, "nothing was logged at level debug");
}
