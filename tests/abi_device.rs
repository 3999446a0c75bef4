//! The GPUs of the machine and contexts on them, as far as it goes without one: what is refused, and what the CPU
//! answers instead.

mod common;

use std::ffi::c_void;
use std::ptr::{null, null_mut, without_provenance_mut};

use common::*;
use sfeuot::abi::*;

fn count() -> u32 {
    let mut count = u32::MAX;
    // SAFETY: a local output.
    ok(unsafe { sfeuot_cuda_device_count(&mut count) });
    count
}

/// A context made from the defaults and `change`; released at once.
fn create(change: impl FnOnce(&mut SfeuotContextConfig)) -> i32 {
    let mut config = init(sfeuot_context_config_init_2);
    config.threads = 1;
    change(&mut config);
    let mut context = null_mut();
    // SAFETY: local input and output; the config points to nothing that is followed without a driver.
    unsafe {
        let status = sfeuot_context_create(&config, &mut context);
        assert_eq!(status == SFEUOT_OK, !context.is_null());
        assert_eq!(sfeuot_context_release(context), SFEUOT_OK);
        status
    }
}

unsafe extern "C-unwind" fn keep(userdata: *mut c_void, level: i32, utf8: *const std::ffi::c_char, len: usize) {
    // SAFETY: the test passes a list of lines; the text has len bytes.
    let (lines, text) =
        unsafe { (&mut *userdata.cast::<Vec<(i32, String)>>(), std::slice::from_raw_parts(utf8.cast::<u8>(), len)) };
    lines.push((level, std::str::from_utf8(text).expect("UTF-8").to_owned()));
}

#[test]
fn devices_are_told_up_to_the_count_and_refused_beyond_it() {
    let mut info = init(sfeuot_device_info_init);
    for index in 0..count() {
        // SAFETY: a local output.
        ok(unsafe { sfeuot_cuda_device_info(index, &mut info) });
        assert!(info.index == index && info.memory > 0 && info.driver_version >= 11040 && info.capability_major > 0);
    }
    let before = info;
    for index in [count(), count() + 1, u32::MAX] {
        // SAFETY: a local output.
        let status = unsafe { sfeuot_cuda_device_info(index, &mut info) };
        refused(status, SFEUOT_ERROR_INVALID_ARGUMENT, &format!("index is {index}"));
    }
    assert_eq!((info.index, info.memory, info.name), (before.index, before.memory, before.name));
}

#[test]
fn fields_that_name_a_gpu_are_checked_on_every_device() {
    let uuid = [7u8; 16];
    for device in [SFEUOT_DEVICE_AUTO, SFEUOT_DEVICE_CPU, SFEUOT_DEVICE_CUDA] {
        for index in [-2, i32::MIN] {
            let status = create(|config| (config.device, config.cuda_device) = (device, index));
            refused(status, SFEUOT_ERROR_INVALID_ARGUMENT, &format!("config.cuda_device is {index}"));
        }
        for index in [0, i32::MAX] {
            let status = create(|config| {
                (config.device, config.cuda_device, config.cuda_uuid) = (device, index, uuid.as_ptr());
            });
            refused(status, SFEUOT_ERROR_INVALID_ARGUMENT, "config.cuda_uuid");
        }
        for products in [-1, 3] {
            let status = create(|config| (config.device, config.cuda_products) = (device, products));
            refused(status, SFEUOT_ERROR_INVALID_ARGUMENT, "SFEUOT_PRODUCTS_CUBLASLT (2)");
        }
        for precision in [-1, 3] {
            let status = create(|config| (config.device, config.cuda_precision) = (device, precision));
            refused(status, SFEUOT_ERROR_INVALID_ARGUMENT, "SFEUOT_PRECISION_BF16 (2)");
        }
        let status = create(|config| (config.device, config.reserved) = (device, 1));
        refused(status, SFEUOT_ERROR_INVALID_ARGUMENT, "config.reserved is 1");
    }
}

#[test]
fn a_gpu_that_is_not_there_is_unsupported() {
    let uuid = [7u8; 16];
    let cuda = |change: &dyn Fn(&mut SfeuotContextConfig)| {
        create(|config| {
            config.device = SFEUOT_DEVICE_CUDA;
            change(config);
        })
    };
    let unsupported = |status| refused(status, SFEUOT_ERROR_UNSUPPORTED_DEVICE, "driver");
    unsupported(cuda(&|config| config.cuda_device = i32::MAX));
    unsupported(cuda(&|config| config.cuda_uuid = uuid.as_ptr()));
    if count() == 0 {
        unsupported(cuda(&|_| ()));
        unsupported(cuda(&|config| config.cuda_device = 0));
        // Neither is followed.
        unsupported(cuda(&|config| config.cuda_stream = without_provenance_mut(64)));
        unsupported(cuda(&|config| config.cuda_context = without_provenance_mut(64)));
        unsupported(cuda(&|config| config.memory_limit = 1));
    }
}

#[test]
fn the_cpu_minds_no_field_of_a_gpu() {
    let uuid = [7u8; 16];
    ok(create(|config| {
        config.device = SFEUOT_DEVICE_CPU;
        config.cuda_uuid = uuid.as_ptr();
        config.cuda_products = SFEUOT_PRODUCTS_CUBLASLT;
        config.cuda_precision = SFEUOT_PRECISION_BF16;
        config.cuda_context = without_provenance_mut(64);
        config.cuda_stream = without_provenance_mut(64);
        config.memory_limit = 1;
    }));
}

#[test]
fn auto_is_the_cpu_where_no_gpu_can_be_used_and_says_why() {
    let mut lines: Vec<(i32, String)> = Vec::new();
    let mut config = init(sfeuot_context_config_init_2);
    config.threads = 1;
    config.cuda_device = i32::MAX;
    config.log_level = SFEUOT_LOG_INFO;
    config.log_callback = Some(keep);
    config.log_userdata = (&raw mut lines).cast();
    let mut context = null_mut();
    // SAFETY: local inputs and outputs.
    unsafe {
        ok(sfeuot_context_create(&config, &mut context));
        let mut device = -1;
        ok(sfeuot_context_device(context, &mut device));
        assert_eq!(device, SFEUOT_DEVICE_CPU);
        ok(sfeuot_context_release(context));
    }
    // Whoever names a GPU is warned.
    let why =
        |(level, text): &(i32, String)| *level == SFEUOT_LOG_WARN && text.contains("AUTO") && text.contains("driver");
    assert_eq!(lines.iter().filter(|line| why(line)).count(), 1, "{lines:?}");
    assert!(lines.iter().all(|line| why(line) || line.0 >= SFEUOT_LOG_INFO), "{lines:?}");
}

#[test]
fn a_context_on_the_cpu_has_no_gpu_no_stream_and_nothing_to_wait_for() {
    let handles = Handles::new(&Problem::new());
    let mut info = init(sfeuot_device_info_init);
    let (mut device, mut bytes, mut stream) = (-1, u64::MAX, without_provenance_mut::<c_void>(64));
    // SAFETY: a live handle and local outputs.
    unsafe {
        ok(sfeuot_context_device(handles.context, &mut device));
        ok(sfeuot_context_device_memory(handles.context, &mut bytes));
        ok(sfeuot_context_cuda_stream(handles.context, &mut stream));
        ok(sfeuot_context_synchronize(handles.context));
        refused(sfeuot_context_device_info(handles.context, &mut info), SFEUOT_ERROR_INVALID_ARGUMENT, "on the CPU");
        refused(sfeuot_context_device_info(handles.context, null_mut()), SFEUOT_ERROR_INVALID_ARGUMENT, "info");
        refused(sfeuot_context_device(null(), &mut device), SFEUOT_ERROR_INVALID_ARGUMENT, "context");
    }
    assert_eq!((device, bytes, stream.is_null()), (SFEUOT_DEVICE_CPU, 0, true));
}
