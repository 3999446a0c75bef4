//! Every call of the header with random arguments, but for those of sessions.

use std::ffi::{c_char, c_void};
use std::ptr::{null, null_mut, without_provenance_mut as at};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use sfeuot::abi::*;

use super::child;
use super::common::{DlpackTensor, init};
use super::host::{Held, Host, KINDS, Kind, Sound, find, progress, status_name};
use super::requests::Samples;
use super::world::{is_untouched, untouched};

pub type Operation = fn(&mut Host);

/// Operations that need no other thread to end them, each as often as it is listed.
pub const OPERATIONS: &[Operation] = &[
    inits,
    names,
    dlpack,
    context_create,
    context_queries,
    context_queries,
    references,
    references,
    release,
    trainer_create,
    trainer_create,
    trainer_step,
    trainer_step,
    trainer_step,
    trainer_run,
    trainer_run_for,
    trainer_metrics,
    trainer_model,
    trainer_model,
    trainer_save,
    trainer_load,
    model_file,
    model_file,
    model_info,
    session_create,
    session_create,
];

/// What makes a handle of each kind.
pub const MAKERS: [Operation; 4] = [context_create, trainer_create, trainer_model, session_create];

const STEPS: [i32; 3] = [SFEUOT_ERROR_DIVERGED, SFEUOT_ERROR_CANCELLED, SFEUOT_ERROR_CALLBACK];
const DEVICE: [i32; 2] = [SFEUOT_ERROR_UNSUPPORTED_DEVICE, SFEUOT_ERROR_DEVICE];
const FILE: [i32; 2] = [SFEUOT_ERROR_IO, SFEUOT_ERROR_FORMAT];

fn made<T>(function: &str, status: i32, handle: *mut T, wrong_place: bool) -> Option<usize> {
    let untouched = is_untouched(&[handle]);
    if (status == SFEUOT_OK) == untouched && !wrong_place {
        find(&format!("{function} does not write its handle on success only"), status_name(status));
    }
    (status == SFEUOT_OK && !untouched).then_some(handle.addr())
}

fn inits(host: &mut Host) {
    macro_rules! fill {
        ($type:ty, $function:ident) => {{
            let mut value: $type = untouched();
            let place = if host.spoil() { host.bad(null_mut()) } else { &raw mut value };
            // SAFETY: room for the struct, or NULL.
            host.call(stringify!($function), &[], format_args!("{place:?}"), || unsafe { $function(place) });
        }};
    }
    match host.random.below(7) {
        0 => fill!(SfeuotContextConfig, sfeuot_context_config_init),
        1 => fill!(SfeuotTensor, sfeuot_tensor_init),
        2 => fill!(SfeuotData, sfeuot_data_init),
        3 => fill!(SfeuotMetrics, sfeuot_metrics_init),
        4 => fill!(SfeuotModelInfo, sfeuot_model_info_init),
        5 => fill!(SfeuotTrainerConfig, sfeuot_trainer_config_init),
        _ => fill!(SfeuotDeviceInfo, sfeuot_device_info_init),
    }
}

fn names(host: &mut Host) {
    let status = host.random.of(&[0, 1, 13, 14, 15, -1, i32::MIN, i32::MAX]);
    if sfeuot_status_name(status).is_null() || sfeuot_last_error().is_null() {
        find("a text is NULL", &status.to_string());
    }
    if sfeuot_abi_version() != SFEUOT_ABI_VERSION || sfeuot_version() == 0 {
        find("the version changed", "");
    }
    let mut count = untouched();
    let place = host.output(&mut count);
    let name = "sfeuot_cuda_device_count";
    // SAFETY: a place, or what is refused.
    host.call(name, &DEVICE, format_args!("{place:?}"), || unsafe { sfeuot_cuda_device_count(place) });
    let mut info: SfeuotDeviceInfo = init(sfeuot_device_info_init);
    let info = host.sized(&mut info);
    let index = host.random.of(&[0, 1, 7, u32::MAX]);
    host.unsure(());
    // SAFETY: a struct, or what is refused.
    host.call("sfeuot_cuda_device_info", &DEVICE, format_args!("{index}"), || unsafe {
        sfeuot_cuda_device_info(index, info)
    });
}

fn dlpack(host: &mut Host) {
    let mut values = [0.5f32; 24];
    let mut shape: Vec<i64> = (0..host.random.between(1, 8)).map(|_| host.random.between(1, 2) as i64).collect();
    shape[0] = 1;
    let mut strides = vec![0i64; shape.len()];
    let mut tensor = DlpackTensor::new(&mut values, &mut shape);
    match host.random.below(30) {
        0 => tensor.major = host.bad_of(&[0, 2, u32::MAX]),
        1 => tensor.minor = u32::MAX,
        2 => (tensor.device_type, _) = (host.random.of(&[2, 3, 13, 0, -1, 99]), host.unsure(())),
        3 => (tensor.code, _) = (host.random.of(&[0, 1, 3, 4, 5, 255]), host.unsure(())),
        4 => (tensor.bits, _) = (host.random.of(&[0, 8, 16, 64, 255]), host.unsure(())),
        5 => tensor.lanes = host.bad_of(&[0, 2, u16::MAX]),
        6 => tensor.ndim = host.bad_of(&[0, -1, 9, i32::MIN, i32::MAX]),
        7 => tensor.shape = host.bad(null_mut()),
        8 => tensor.data = host.bad(null_mut()),
        9 => (tensor.byte_offset, _) = (host.random.of(&[4, 1, 1 << 63, u64::MAX]), host.unsure(())),
        10 => tensor.strides = strides.as_mut_ptr(),
        11 => (tensor.flags, _) = (host.random.next(), host.unsure(())),
        12 => shape[0] = host.bad_of(&[-1, i64::MIN, i64::MAX]),
        13 => shape[0] = host.unsure(0),
        _ => {}
    }
    let mut view: SfeuotTensor = init(sfeuot_tensor_init);
    let view = host.sized(&mut view);
    let pointer = if host.spoil() { host.bad(null()) } else { (&raw const tensor).cast::<c_void>() };
    let shown = format!("ndim {}, shape {shape:?}", tensor.ndim);
    host.call("sfeuot_tensor_from_dlpack", &[], format_args!("{shown}"), || {
        // SAFETY: both live, or are what is refused.
        unsafe { sfeuot_tensor_from_dlpack(pointer, view) }
    });
}

fn context_create(host: &mut Host) {
    if host.live[Kind::Context as usize].len() > 3 {
        return release(host);
    }
    let mut config = host.context_config();
    let shown = format!("{:?}", (config.device, config.threads, config.log_level, config.cuda_device));
    let config = host.optional(&mut config);
    if config.is_null() {
        // All defaults, which may be a GPU.
        host.sound = Sound::Unsure;
    }
    let mut context: *mut SfeuotContext = untouched();
    let place = host.output(&mut context);
    let wrong = !std::ptr::eq(place, &raw const context);
    let name = "sfeuot_context_create";
    // SAFETY: local memory, or what is refused.
    let status = host.call(name, &DEVICE, format_args!("{shown}"), || unsafe { sfeuot_context_create(config, place) });
    if let Some(address) = made(name, status, context, wrong) {
        host.keep(Kind::Context, Held { address, dimension: 0, tame: true, heavy: false, latents: false });
    }
}

fn context_queries(host: &mut Host) {
    let context = host.handle(Kind::Context).address;
    let pointer: *const SfeuotContext = at::<SfeuotContext>(context).cast_const();
    let arguments = format!("{context:#x}");
    macro_rules! ask {
        ($function:ident, $type:ty) => {{
            let mut value: $type = untouched();
            let place = host.output(&mut value);
            // SAFETY: whatever number, and a place or what is refused.
            let ask = || unsafe { $function(pointer, place) };
            let status = host.call(stringify!($function), &[], format_args!("{arguments}"), ask);
            if status != SFEUOT_OK && !is_untouched(&[value]) {
                find(concat!(stringify!($function), " writes its output and fails"), status_name(status));
            }
        }};
    }
    match host.random.below(6) {
        0 => ask!(sfeuot_context_threads, u32),
        1 => ask!(sfeuot_context_device, i32),
        2 => ask!(sfeuot_context_device_memory, u64),
        3 => ask!(sfeuot_context_cuda_stream, *mut c_void),
        4 => {
            let name = "sfeuot_context_synchronize";
            // SAFETY: whatever number.
            host.call(name, &DEVICE, format_args!("{arguments}"), || unsafe { sfeuot_context_synchronize(pointer) });
        }
        _ => {
            let mut info: SfeuotDeviceInfo = init(sfeuot_device_info_init);
            let info = host.sized(&mut info);
            host.unsure(());
            let name = "sfeuot_context_device_info";
            // SAFETY: whatever number, and a struct or what is refused.
            let ask = || unsafe { sfeuot_context_device_info(pointer, info) };
            host.call(name, &DEVICE, format_args!("{arguments}"), ask);
        }
    }
}

const RETAIN: [(&str, fn(usize) -> i32); 4] = [
    // SAFETY: here and below whatever number.
    ("sfeuot_context_retain", |handle| unsafe { sfeuot_context_retain(at(handle)) }),
    ("sfeuot_trainer_retain", |handle| unsafe { sfeuot_trainer_retain(at(handle)) }),
    ("sfeuot_model_retain", |handle| unsafe { sfeuot_model_retain(at(handle)) }),
    ("sfeuot_session_retain", |handle| unsafe { sfeuot_session_retain(at(handle)) }),
];

const RELEASE: [(&str, fn(usize) -> i32); 4] = [
    ("sfeuot_context_release", |handle| unsafe { sfeuot_context_release(at(handle)) }),
    ("sfeuot_trainer_release", |handle| unsafe { sfeuot_trainer_release(at(handle)) }),
    ("sfeuot_model_release", |handle| unsafe { sfeuot_model_release(at(handle)) }),
    ("sfeuot_session_release", |handle| unsafe { sfeuot_session_release(at(handle)) }),
];

fn references(host: &mut Host) {
    let kind = host.random.of(&KINDS);
    if host.live[kind as usize].len() > 6 {
        return release_one(host, kind);
    }
    let held = host.handle(kind);
    let (name, retain) = RETAIN[kind as usize];
    if host.call(name, &[], format_args!("{:#x}", held.address), || retain(held.address)) == SFEUOT_OK {
        let same = host.live[kind as usize].iter().find(|other| other.address == held.address).copied();
        host.keep(kind, same.unwrap_or(held));
    }
}

fn release(host: &mut Host) {
    let kind = host.random.of(&KINDS);
    release_one(host, kind);
}

fn release_one(host: &mut Host, kind: Kind) {
    let held = host.handle(kind);
    let (name, release) = RELEASE[kind as usize];
    if held.address == 0 {
        // Nothing to release, which is allowed.
        host.sound = Sound::Good;
    }
    if host.call(name, &[], format_args!("{:#x}", held.address), || release(held.address)) == SFEUOT_OK {
        host.gone(kind, held.address);
    }
}

/// Releases all there is, in random order.
pub fn release_all(host: &mut Host) {
    while let Some(kind) = KINDS.into_iter().find(|&kind| !host.live[kind as usize].is_empty()) {
        let kind = match host.random.of(&KINDS) {
            other if !host.live[other as usize].is_empty() => other,
            _ => kind,
        };
        let held = host.random.of(&host.live[kind as usize]);
        let (name, release) = RELEASE[kind as usize];
        host.call(name, &[], format_args!("{:#x}", held.address), || release(held.address));
        host.gone(kind, held.address);
    }
    for kind in KINDS {
        for address in std::mem::take(&mut host.dead[kind as usize]) {
            host.sound = Sound::Bad;
            let (name, retain) = RETAIN[kind as usize];
            host.call(name, &[], format_args!("{address:#x}, released"), || retain(address));
        }
    }
}

fn make_room(host: &mut Host, kind: Kind) -> bool {
    let full = host.live[kind as usize].len() > 6;
    if full {
        release_one(host, kind);
    }
    !full
}

fn trainer_create(host: &mut Host) {
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
    SfeuotMetrics { step: u64::MAX, ..init(sfeuot_metrics_init) }
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

fn trainer_step(host: &mut Host) {
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

fn trainer_run(host: &mut Host) {
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

fn trainer_run_for(host: &mut Host) {
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

fn trainer_metrics(host: &mut Host) {
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

fn trainer_model(host: &mut Host) {
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

fn pointer(path: &Option<std::ffi::CString>) -> *const c_char {
    path.as_ref().map_or(null(), |path| path.as_ptr())
}

fn trainer_save(host: &mut Host) {
    let held = host.handle(Kind::Trainer);
    let path = host.path();
    host.unsure(());
    host.call("sfeuot_trainer_save", &[SFEUOT_ERROR_IO], format_args!("{:#x}, {path:?}", held.address), || {
        // SAFETY: whatever number, and a C string or NULL.
        unsafe { sfeuot_trainer_save(at(held.address), pointer(&path)) }
    });
}

fn trainer_load(host: &mut Host) {
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

fn model_file(host: &mut Host) {
    if !make_room(host, Kind::Model) {
        return;
    }
    if host.random.once_in(2) {
        let held = host.handle(Kind::Model);
        let path = host.path();
        host.unsure(());
        host.call("sfeuot_model_save", &[SFEUOT_ERROR_IO], format_args!("{:#x}, {path:?}", held.address), || {
            // SAFETY: whatever number, and a C string or NULL.
            unsafe { sfeuot_model_save(at(held.address), pointer(&path)) }
        });
        return;
    }
    let context = host.handle(Kind::Context).address;
    host.unsure(());
    let mut model: *mut SfeuotModel = untouched();
    let place = host.output(&mut model);
    let wrong = !std::ptr::eq(place, &raw const model);
    let bytes = std::fs::read(host.folder.join("file-1")).ok();
    let (name, status) = match bytes.filter(|bytes| !bytes.is_empty() && host.random.once_in(2)) {
        Some(bytes) => {
            let name = "sfeuot_model_load_memory";
            let size = if host.spoil() { host.bad(0) } else { bytes.len() };
            let memory = if host.spoil() { host.bad(null()) } else { bytes.as_ptr() };
            let load = || {
                // SAFETY: whatever number, and bytes and a place, or what is refused.
                unsafe { sfeuot_model_load_memory(at(context), memory.cast(), size, place) }
            };
            (name, host.call(name, &[SFEUOT_ERROR_FORMAT], format_args!("{size} bytes"), load))
        }
        None => {
            let path = host.path();
            let name = "sfeuot_model_load";
            // SAFETY: whatever number, and a C string, NULL, a place, or what is refused.
            let load = || unsafe { sfeuot_model_load(at(context), pointer(&path), place) };
            (name, host.call(name, &FILE, format_args!("{path:?}"), load))
        }
    };
    if let Some(address) = made(name, status, model, wrong) {
        let mut info: SfeuotModelInfo = init(sfeuot_model_info_init);
        // SAFETY: a live handle and a local struct.
        unsafe { sfeuot_model_info(at(address), &mut info) };
        let latents = info.latent_dimension > 0;
        let heavy = info.parameters > 1 << 20;
        host.keep(Kind::Model, Held { address, dimension: info.dimension as usize, tame: false, heavy, latents });
    }
}

fn model_info(host: &mut Host) {
    let held = host.handle(Kind::Model);
    let mut info = SfeuotModelInfo { steps: u64::MAX, ..init(sfeuot_model_info_init) };
    let place = host.sized(&mut info);
    let name = "sfeuot_model_info";
    let status = host.call(name, &[], format_args!("{:#x}", held.address), || {
        // SAFETY: whatever number, and a struct or what is refused.
        unsafe { sfeuot_model_info(at(held.address), place) }
    });
    if (status == SFEUOT_OK) == (info.steps == u64::MAX) {
        find("sfeuot_model_info does not write on success only", status_name(status));
    }
    if status == SFEUOT_OK && ![info.sigma, info.tau, info.data_scale].iter().all(|x| x.is_finite() && *x > 0.0) {
        find("sfeuot_model_info gives numbers that are not finite or not above 0", &format!("{info:?}"));
    }
    let held = host.handle(Kind::Model);
    let capacity = host.random.of(&[8, 8, 8, 0, 1, 9, u32::MAX]);
    host.unsure(());
    let mut shape = [-1i64; 9];
    // SAFETY: whatever number; no sample has more axes than there is room for.
    host.call("sfeuot_model_sample_shape", &[], format_args!("{:#x}, {capacity}", held.address), || unsafe {
        sfeuot_model_sample_shape(at(held.address), capacity, shape.as_mut_ptr())
    });
    if shape[8] != -1 {
        find("sfeuot_model_sample_shape writes more than SFEUOT_MAX_RANK numbers", &format!("{shape:?}"));
    }
}

fn session_create(host: &mut Host) {
    if !make_room(host, Kind::Session) {
        return;
    }
    let held = host.handle(Kind::Model);
    let mut session: *mut SfeuotSession = untouched();
    let place = host.output(&mut session);
    let wrong = !std::ptr::eq(place, &raw const session);
    let name = "sfeuot_session_create";
    let status = host.call(name, &[], format_args!("{:#x}", held.address), || {
        // SAFETY: whatever number, and a place or what is refused.
        unsafe { sfeuot_session_create(at(held.address), place) }
    });
    if let Some(address) = made(name, status, session, wrong) {
        host.keep(Kind::Session, Held { address, ..held });
    }
}
