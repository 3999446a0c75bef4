//! What a host calls: contexts, references and structs here, the rest in files of their own.

use std::ffi::{c_char, c_void};
use std::ptr::{null, null_mut, without_provenance_mut as at};

use sfeuot::abi::*;

use super::common::{DlpackTensor, init};
use super::host::{Held, Host, KINDS, Kind, Sound, find, status_name};
use super::models::*;
use super::trainers::*;
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
    trainer_memory,
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

const DEVICE: [i32; 2] = [SFEUOT_ERROR_UNSUPPORTED_DEVICE, SFEUOT_ERROR_DEVICE];
pub const FILE: [i32; 2] = [SFEUOT_ERROR_IO, SFEUOT_ERROR_FORMAT];

pub fn made<T>(function: &str, status: i32, handle: *mut T, wrong_place: bool) -> Option<usize> {
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
    match host.random.below(12) {
        0 => fill!(SfeuotContextConfig, sfeuot_context_config_init),
        1 => fill!(SfeuotTensor, sfeuot_tensor_init),
        2 => fill!(SfeuotData, sfeuot_data_init),
        3 => fill!(SfeuotMetrics, sfeuot_metrics_init),
        4 => fill!(SfeuotModelInfo, sfeuot_model_info_init),
        5 => fill!(SfeuotTrainerConfig, sfeuot_trainer_config_init),
        6 => fill!(SfeuotTrainerConfig, sfeuot_trainer_config_init_4),
        7 => fill!(SfeuotNetwork, sfeuot_network_init),
        8 => fill!(SfeuotNetwork, sfeuot_network_init_3),
        9 => fill!(SfeuotMetrics, sfeuot_metrics_init_2),
        10 => fill!(SfeuotContextConfig, sfeuot_context_config_init_2),
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

/// A function and its call.
type Named = (&'static str, fn(usize) -> i32);

const RETAIN: [Named; 4] = [
    // SAFETY: here and below whatever number.
    ("sfeuot_context_retain", |handle| unsafe { sfeuot_context_retain(at(handle)) }),
    ("sfeuot_trainer_retain", |handle| unsafe { sfeuot_trainer_retain(at(handle)) }),
    ("sfeuot_model_retain", |handle| unsafe { sfeuot_model_retain(at(handle)) }),
    ("sfeuot_session_retain", |handle| unsafe { sfeuot_session_retain(at(handle)) }),
];

const RELEASE: [Named; 4] = [
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

/// Whether there is room for another handle; otherwise one is released.
pub fn make_room(host: &mut Host, kind: Kind) -> bool {
    let full = host.live[kind as usize].len() > 6;
    if full {
        release_one(host, kind);
    }
    !full
}

pub fn pointer(path: &Option<std::ffi::CString>) -> *const c_char {
    path.as_ref().map_or(null(), |path| path.as_ptr())
}
