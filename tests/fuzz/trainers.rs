//! The calls of a trainer with random arguments.

use std::ptr::{null_mut, without_provenance_mut as at};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use sfeuot::abi::*;

use super::child;
use super::common::init;
use super::host::{Held, Host, Kind, Sound, find, progress, status_name};
use super::operations::{FILE, made, make_room, pointer};
use super::requests::Samples;
use super::world::untouched;

const STEPS: [i32; 3] = [SFEUOT_ERROR_DIVERGED, SFEUOT_ERROR_CANCELLED, SFEUOT_ERROR_CALLBACK];

pub fn trainer_create(host: &mut Host) {
    if !make_room(host, Kind::Trainer) {
        return;
    }
    let mut request = host.trainer_config();
    let shape = host.sample_shape();
    let other = if host.random.once_in(50) { host.bad([&shape[..], &[2]].concat()) } else { shape.clone() };
    let (mut source, mut target) = (Samples::new(host, &shape), Samples::new(host, &other));
    let shown = format!("{:?}, samples of {shape:?}", request.config).replace("SfeuotTrainerConfig ", "");
    let config = host.sized(&mut request.config).cast_const();
    let context = host.handle(Kind::Context).address;
    let tame = host.sound == Sound::Good;
    let mut trainer: *mut SfeuotTrainer = untouched();
    let place = host.output(&mut trainer);
    let wrong = !std::ptr::eq(place, &raw const trainer);
    let (from, to) = (source.address(), target.address());
    let name = "sfeuot_trainer_create";
    let status = host.call(name, &[SFEUOT_ERROR_CALLBACK], format_args!("{shown}"), || {
        // SAFETY: whatever number, and local structs with all they point to, or what is refused.
        unsafe { sfeuot_trainer_create(at(context), config, from, to, place) }
    });
    if let Some(address) = made(name, status, trainer, wrong) {
        keep_trainer(
            host,
            address,
            &shape,
            tame,
            request.cost,
            request.config.latent_dimension > 0,
            [&source, &target],
        );
    }
}

fn keep_trainer(
    host: &mut Host,
    address: usize,
    shape: &[i64],
    tame: bool,
    cost: f64,
    latents: bool,
    sides: [&Samples; 2],
) {
    for side in sides {
        if let Some(caller) = &side.caller {
            caller.trainer.store(address, Relaxed);
        }
    }
    let dimension: usize = shape.iter().product::<i64>() as usize;
    let heavy = cost * dimension as f64 > 3e7;
    host.keep(Kind::Trainer, Held { address, dimension, tame, heavy, latents });
}

fn metrics() -> SfeuotMetrics {
    SfeuotMetrics { step: u64::MAX, ..init(sfeuot_metrics_init_2) }
}

/// A trainer whose steps can be waited for.
fn trainer(host: &mut Host) -> Option<Held> {
    let held = host.handle(Kind::Trainer);
    if held.heavy {
        host.sound = Sound::Good;
        return None;
    }
    if !held.tame {
        host.unsure(());
    }
    Some(held)
}

pub fn trainer_step(host: &mut Host) {
    let Some(held) = trainer(host) else { return };
    let steps = match host.random.below(60) {
        0 => host.bad(0),
        1 => u64::MAX,
        _ => host.random.between(1, 3) as u64,
    };
    let mut seen = metrics();
    let place = host.optional(&mut seen);
    let name = "sfeuot_trainer_step";
    let status = ended(host, held.address, steps == u64::MAX, |host| {
        host.call(name, &STEPS, format_args!("{:#x}, {steps}", held.address), || {
            // SAFETY: whatever number, and a struct or what is refused.
            unsafe { sfeuot_trainer_step(at(held.address), steps, place) }
        })
    });
    if !place.is_null() {
        host.check_metrics(name, status, &seen);
    }
}

/// Makes a call that goes on for ever until another thread has cancelled it.
fn ended(host: &mut Host, trainer: usize, for_ever: bool, call: impl FnOnce(&mut Host) -> i32) -> i32 {
    if !for_ever {
        return call(host);
    }
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let cancel = std::thread::Builder::new().spawn_scoped(scope, || {
            while !over.load(Relaxed) {
                child::sleep(1);
                // SAFETY: whatever number.
                unsafe { sfeuot_trainer_cancel(at(trainer)) };
            }
        });
        // Without the thread nobody would end the call.
        let status = if cancel.is_ok() { call(host) } else { SFEUOT_ERROR_CANCELLED };
        over.store(true, Relaxed);
        if status == SFEUOT_OK {
            find("a call that nothing but a cancellation ends succeeds", "");
        }
        status
    })
}

pub fn trainer_run(host: &mut Host) {
    let Some(held) = trainer(host) else { return };
    let caller = host.caller();
    caller.trainer.store(held.address, Relaxed);
    let told = host.random.once_in(2);
    let steps = if host.spoil() { host.bad(0) } else { host.random.between(1, 4) as u64 };
    let every = match host.random.below(20) {
        0 if told => host.bad(0),
        0 | 1 => u64::MAX,
        _ => host.random.between(1, 3) as u64,
    };
    let callback = told.then_some(progress as _);
    let mut seen = metrics();
    let place = host.optional(&mut seen);
    let name = "sfeuot_trainer_run";
    let status = host.call(name, &STEPS, format_args!("{:#x}, {steps}, {every}, {told}", held.address), || {
        let userdata = std::sync::Arc::as_ptr(&caller).cast_mut().cast();
        // SAFETY: whatever number, a caller that lives on, and a struct or what is refused.
        unsafe { sfeuot_trainer_run(at(held.address), steps, every, callback, userdata, place) }
    });
    if !place.is_null() {
        host.check_metrics(name, status, &seen);
    }
}

pub fn trainer_run_for(host: &mut Host) {
    let Some(held) = trainer(host) else { return };
    let (milliseconds, for_ever) = match host.random.below(40) {
        0 => (host.bad_of(&[0.0, -1.0, f64::NAN, f64::INFINITY, -f64::MIN_POSITIVE]), false),
        1 => (f64::MIN_POSITIVE, false),
        2 => (1e15, true),
        3 => (host.unsure(f64::MAX), true),
        _ => (0.02, false),
    };
    let mut seen = metrics();
    let mut done = u64::MAX;
    let place = host.optional(&mut seen);
    let steps = if host.random.once_in(4) { null_mut() } else { &raw mut done };
    let name = "sfeuot_trainer_run_for";
    let status = ended(host, held.address, for_ever, |host| {
        host.call(name, &STEPS, format_args!("{:#x}, {milliseconds}", held.address), || {
            // SAFETY: whatever number, and local outputs or what is refused.
            unsafe { sfeuot_trainer_run_for(at(held.address), milliseconds, steps, place) }
        })
    });
    if !place.is_null() {
        host.check_metrics(name, status, &seen);
    }
    if !steps.is_null() && (status == SFEUOT_OK) == (done == u64::MAX) {
        find("sfeuot_trainer_run_for does not write its steps on success only", status_name(status));
    }
}

pub fn trainer_metrics(host: &mut Host) {
    let held = host.handle(Kind::Trainer);
    let mut seen = metrics();
    let place = host.sized(&mut seen);
    let name = "sfeuot_trainer_metrics";
    let status = host.call(name, &[], format_args!("{:#x}", held.address), || {
        // SAFETY: whatever number, and a struct or what is refused.
        unsafe { sfeuot_trainer_metrics(at(held.address), place) }
    });
    host.check_metrics(name, status, &seen);
    if host.random.once_in(4) {
        let held = host.handle(Kind::Trainer);
        let name = "sfeuot_trainer_cancel";
        // SAFETY: whatever number.
        host.call(name, &[], format_args!("{:#x}", held.address), || unsafe {
            sfeuot_trainer_cancel(at(held.address))
        });
    }
}

pub fn trainer_memory(host: &mut Host) {
    let held = host.handle(Kind::Trainer);
    let mut bytes = [u64::MAX; 2];
    let places = bytes.each_mut().map(|bytes| if host.random.once_in(4) { null_mut() } else { &raw mut *bytes });
    let name = "sfeuot_trainer_memory";
    let status = host.call(name, &[], format_args!("{:#x}", held.address), || {
        // SAFETY: whatever number, and local outputs or NULL.
        unsafe { sfeuot_trainer_memory(at(held.address), places[0], places[1]) }
    });
    for (place, bytes) in places.into_iter().zip(bytes) {
        if !place.is_null() && (status == SFEUOT_OK) == (bytes == u64::MAX) {
            find("sfeuot_trainer_memory does not write its bytes on success only", status_name(status));
        }
    }
}

pub fn trainer_model(host: &mut Host) {
    if !make_room(host, Kind::Model) {
        return;
    }
    let held = host.handle(Kind::Trainer);
    if !held.tame {
        host.unsure(());
    }
    let mut model: *mut SfeuotModel = untouched();
    let place = host.output(&mut model);
    let wrong = !std::ptr::eq(place, &raw const model);
    let name = "sfeuot_trainer_model";
    let status = host.call(name, &[], format_args!("{:#x}", held.address), || {
        // SAFETY: whatever number, and a place or what is refused.
        unsafe { sfeuot_trainer_model(at(held.address), place) }
    });
    if let Some(address) = made(name, status, model, wrong) {
        host.keep(Kind::Model, Held { address, ..held });
    }
}

pub fn trainer_save(host: &mut Host) {
    let held = host.handle(Kind::Trainer);
    let path = host.path();
    host.unsure(());
    host.call("sfeuot_trainer_save", &[SFEUOT_ERROR_IO], format_args!("{:#x}, {path:?}", held.address), || {
        // SAFETY: whatever number, and a C string or NULL.
        unsafe { sfeuot_trainer_save(at(held.address), pointer(&path)) }
    });
}

pub fn trainer_load(host: &mut Host) {
    if !make_room(host, Kind::Trainer) {
        return;
    }
    let context = host.handle(Kind::Context).address;
    let path = host.path();
    let shape = host.sample_shape();
    let (mut source, mut target) = (Samples::new(host, &shape), Samples::new(host, &shape));
    host.unsure(());
    let mut trainer: *mut SfeuotTrainer = untouched();
    let place = host.output(&mut trainer);
    let wrong = !std::ptr::eq(place, &raw const trainer);
    let (from, to) = (source.address(), target.address());
    let documented = [&FILE[..], &[SFEUOT_ERROR_CALLBACK]].concat();
    let name = "sfeuot_trainer_load";
    let status = host.call(name, &documented, format_args!("{path:?}, samples of {shape:?}"), || {
        // SAFETY: whatever number, and local structs with all they point to, or what is refused.
        unsafe { sfeuot_trainer_load(at(context), pointer(&path), from, to, place) }
    });
    if let Some(address) = made(name, status, trainer, wrong) {
        // How large its batches are is not known: the file may be that of a heavy one.
        keep_trainer(host, address, &shape, false, 1e9, true, [&source, &target]);
    }
}
