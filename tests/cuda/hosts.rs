//! What a host does around a training on a GPU: it names a device, draws samples, stops a run, and works on other
//! threads and in other contexts.

use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::compare::*;
use crate::problems::*;
use crate::simulator;
use cudarc::driver::sys;
use sfeuot::*;

/// Begins trainings while another thread does something over and over.
fn begin_trainings_beside(products: Products, other: impl Fn() + Sync) {
    let (clouds, context, ended) = (Clouds::new(2), with(products), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                other();
            }
        });
        for _ in 0..10 {
            clouds.trainer(&context, small()).step(1).expect("a sound problem");
        }
        ended.store(true, Ordering::Relaxed);
    });
}

/// The driver refuses such a wait while a training step is captured, and spoils the capture. A real one may crash.
#[test]
fn a_training_begins_while_another_thread_waits_for_the_whole_context() {
    if !simulator::simulated() || !simulator::load_with_compiler() {
        return;
    }
    begin_trainings_beside(Products::Fused, || {
        let mut primary = null_mut();
        // SAFETY: local outputs; the context is given back and left as it was taken.
        unsafe {
            assert_eq!(sys::cuDevicePrimaryCtxRetain(&mut primary, 0), sys::CUresult::CUDA_SUCCESS);
            assert_eq!(sys::cuCtxPushCurrent_v2(primary), sys::CUresult::CUDA_SUCCESS);
            let told = sys::cuCtxSynchronize();
            let refused = sys::CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
            assert!([sys::CUresult::CUDA_SUCCESS, refused].contains(&told), "{told:?}");
            assert_eq!(sys::cuCtxPopCurrent_v2(&mut primary), sys::CUresult::CUDA_SUCCESS);
            assert_eq!(sys::cuDevicePrimaryCtxRelease_v2(0), sys::CUresult::CUDA_SUCCESS);
        }
        thread::sleep(Duration::from_micros(500));
    });
}

/// To make or end what cublasLt needs waits for the whole context, too.
#[test]
fn trainings_begin_while_other_contexts_come_and_go() {
    if simulator::load_with_compiler() {
        BOTH.into_iter().for_each(|products| begin_trainings_beside(products, || drop(with(Products::CublasLt))));
    }
}

#[test]
fn a_sampler_is_called_as_by_the_cpu() {
    if !simulator::load_with_compiler() {
        return;
    }
    let train = |context: &Context| {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let sampler = |side: &'static str, shift: f64| {
            let calls = Arc::clone(&calls);
            let mut seed = 1;
            move |batch: &mut [f32], rows: usize, dimension: usize| {
                calls.lock().unwrap().push((side, rows));
                seed += 1;
                for (to, x) in batch.iter_mut().zip(normals(rows * dimension, seed)) {
                    *to = (x + shift) as f32;
                }
                Ok(())
            }
        };
        let side = |name, shift| Data::Sampler { sample_shape: vec![2], sampler: Box::new(sampler(name, shift)) };
        let mut trainer = Trainer::new(context, small(), side("source", 0.0), side("target", 1.0)).expect("sound");
        let metrics = trainer.step(40).expect("sound");
        (calls.lock().unwrap().clone(), metrics)
    };
    let (expected, cpu) = train(&context(1));
    let (found, gpu) = train(&with(Products::Auto));
    assert_eq!(found, expected);
    assert!((cpu.dual - gpu.dual).abs() < 1e-3 * cpu.action.abs(), "{gpu:?}, expected {cpu:?}");
}

#[test]
fn a_failing_sampler_leaves_whole_steps() {
    if !simulator::load_with_compiler() {
        return;
    }
    let train = |context: &Context, fail_at: usize| {
        let calls = Arc::new(AtomicUsize::new(0));
        let sampler = move |batch: &mut [f32], rows: usize, dimension: usize| {
            if calls.fetch_add(1, Ordering::Relaxed) == fail_at {
                return Err("out of samples".into());
            }
            batch.iter_mut().zip(normals(rows * dimension, 7)).for_each(|(to, x)| *to = x as f32);
            Ok(())
        };
        let source = Data::Sampler { sample_shape: vec![2], sampler: Box::new(sampler) };
        let clouds = Clouds::new(2);
        let mut trainer = Trainer::new(context, small(), source, array(&clouds.target, 2)).expect("sound");
        let failure = trainer.step(20).expect_err("the sampler fails");
        assert!(matches!(failure, Error::Callback(_)), "{failure}");
        let step = trainer.metrics().step;
        trainer.step(2).expect("it goes on");
        (step, tensors(&mut trainer, "failing"))
    };
    for fail_at in [8, 9] {
        let (expected_step, expected) = train(&context(1), fail_at);
        let (step, found) = train(&with(Products::Auto), fail_at);
        assert_eq!(step, expected_step);
        for (name, expected) in expected.iter().filter(|(name, _)| name.ends_with("weights")) {
            assert!(difference(expected, &found[name]) < 1e-4, "{name}");
        }
    }
}

#[test]
fn a_run_is_cancelled_and_bounded_in_time() {
    if !simulator::load_with_compiler() {
        return;
    }
    let clouds = Clouds::new(2);
    let mut trainer = clouds.trainer(&with(Products::Auto), small());
    let stopped = trainer.run(1000, 5, &mut |m| if m.step >= 10 { Control::Stop } else { Control::Continue });
    assert!(matches!(stopped, Err(Error::Cancelled { step: 10 })), "{stopped:?}");
    let token = trainer.cancel_token();
    let cancelled = std::thread::scope(|scope| {
        let (told, begun) = std::sync::mpsc::channel();
        scope.spawn(move || {
            begun.recv().expect("the run begins");
            token.cancel();
        });
        trainer.run(100_000, 1, &mut |_| {
            let _ = told.send(());
            Control::Continue
        })
    });
    assert!(matches!(cancelled, Err(Error::Cancelled { .. })), "{cancelled:?}");
    let before = trainer.metrics().step;
    let (done, metrics) = trainer.run_for(Duration::from_millis(30)).expect("sound");
    assert!(done >= 1 && metrics.step == before + done);
}

#[test]
fn device_auto_takes_the_gpu_and_says_so() {
    if !simulator::load_with_compiler() {
        return;
    }
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let context = Context::new(ContextConfig {
        log: Some(Box::new(move |_, text| sink.lock().unwrap().push(text.to_owned()))),
        log_level: LogLevel::Info,
        ..Default::default()
    })
    .expect("a device");
    let info = context.gpu_info().expect("the GPU").clone();
    assert_eq!(devices().expect("devices")[info.index as usize], info);
    assert!(!info.name.is_empty() && info.memory > 0);
    assert!(lines.lock().unwrap().iter().any(|line| line.contains(&info.name)), "{lines:?}");
    for device in [CudaDevice::Index(info.index), CudaDevice::Uuid(info.uuid)] {
        assert_eq!(cuda(CudaConfig { device, ..Default::default() }).gpu_info(), Some(&info));
    }
    for device in [CudaDevice::Index(1000), CudaDevice::Uuid([7; 16])] {
        let config = ContextConfig {
            device: DeviceKind::Cuda,
            cuda: CudaConfig { device, ..Default::default() },
            ..Default::default()
        };
        let refused = Context::new(config).expect_err("no such device");
        assert!(
            matches!(refused, Error::UnsupportedDevice(_)) && refused.to_string().contains(&info.name),
            "{refused}"
        );
    }
}
