//! The calls of a model with random arguments.

use std::ptr::{null, without_provenance_mut as at};

use sfeuot::abi::*;

use super::common::init;
use super::host::{Held, Host, Kind, find, status_name};
use super::operations::{FILE, made, make_room, pointer};
use super::world::untouched;

pub fn model_file(host: &mut Host) {
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

pub fn model_info(host: &mut Host) {
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

pub fn session_create(host: &mut Host) {
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
