//! Contexts, memory, modules and launches.

use super::*;
use std::os::unix::process::ExitStatusExt;

/// Pinned floats, all bits set.
fn pinned(count: usize) -> *mut f32 {
    // SAFETY: a context is current.
    unsafe { result::malloc_host(4 * count, 0).unwrap().cast() }
}

fn read(at: *const f32, count: usize) -> Vec<f32> {
    // SAFETY: the callers read what `pinned` gave them.
    (0..count).map(|i| unsafe { at.add(i).read_volatile() }).collect()
}

#[test]
fn cudarc_uses_the_simulator() {
    let Some(_gpu) = Gpu::new() else { return };
    // SAFETY: the symbol is only looked for.
    unsafe {
        assert!(sys::culib().get::<unsafe extern "C" fn() -> u64>(b"sfeuot_sim_live").is_ok());
        let product = cudarc::cublaslt::sys::culib();
        assert!(product.get::<unsafe extern "C" fn() -> usize>(b"cublasLtGetVersion").is_ok());
    }
    assert_eq!(result::device::get_name(0).unwrap(), "Simulated GPU");
}

#[test]
fn a_child_finds_the_simulator_and_its_settings() {
    let name = "device::cuda::tests::simulated::driver::a_child_finds_the_simulator_and_its_settings";
    if simulator::real_gpu() || simulator::folder().is_none() {
        return;
    }
    let settings = [
        ("SFEUOT_SIM_DEVICES", "2"),
        ("SFEUOT_SIM_MEMORY", "1000000"),
        ("SFEUOT_SIM_DRIVER_VERSION", "11040"),
        ("SFEUOT_SIM_CAPABILITY", "52"),
        ("SFEUOT_SIM_NO_BINARY", "1"),
    ];
    if let Some(output) = simulator::in_child(name, &settings) {
        assert!(output.status.success(), "{output:?}");
        return;
    }
    // Nothing loaded it here: the loader finds it in the folder.
    result::init().unwrap();
    assert_eq!(result::device::get_count().unwrap(), 2);
    // SAFETY: device 1 is there; the calls come in order.
    unsafe {
        assert_eq!(result::device::total_mem(1).unwrap(), 1_000_000);
        let major = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR;
        assert_eq!(result::device::get_attribute(1, major).unwrap(), 5);
        let mut version = 0;
        assert_eq!(sys::cuDriverGetVersion(&mut version), CUDA_SUCCESS);
        assert_eq!(version, 11040);
        result::ctx::create_v4(null_mut(), 0, 1).unwrap();
        let loaded = result::module::load_data(simulator::IMAGE.as_ptr().cast());
        assert_eq!(loaded.unwrap_err().0, CUDA_ERROR_NO_BINARY_FOR_GPU);
    }
}

#[test]
fn nothing_works_before_initialisation_or_without_devices() {
    let name = "device::cuda::tests::simulated::driver::nothing_works_before_initialisation_or_without_devices";
    if simulator::real_gpu() || simulator::folder().is_none() {
        return;
    }
    if let Some(output) = simulator::in_child(name, &[("SFEUOT_SIM_DEVICES", "0")]) {
        assert!(output.status.success(), "{output:?}");
        return;
    }
    assert_eq!(result::device::get_count().unwrap_err().0, CUDA_ERROR_NOT_INITIALIZED);
    assert_eq!(result::init().unwrap_err().0, CUDA_ERROR_NO_DEVICE);
}

#[test]
fn kernels_run_when_somebody_waits() {
    let Some(gpu) = Gpu::new() else { return };
    const N: usize = 1001;
    let (device, host) = (gpu.alloc(N), pinned(N));
    gpu.draw(gpu.stream, c"philox_normals", device, N, 3);
    // SAFETY: both have room; the target outlives the copy.
    let copied = unsafe { sys::cuMemcpyDtoHAsync_v2(host.cast(), device, 4 * N, gpu.stream) };
    assert_eq!(copied, CUDA_SUCCESS);
    assert!(untouched(&read(host, N)));
    assert!(untouched(&gpu.download(device, N)), "a copy in the legacy stream waits for no non-blocking one");
    gpu.synchronise();
    assert_eq!(bits(&read(host, N)), bits(&normals(N, 3)));
}

#[test]
fn the_legacy_stream_and_blocking_ones_wait_for_each_other() {
    let Some(gpu) = Gpu::new() else { return };
    let device = gpu.alloc(100);
    let blocking = result::stream::create(result::stream::StreamKind::Default).unwrap();
    gpu.draw(blocking, c"philox_normals", device, 100, 3);
    gpu.draw(null_mut(), c"philox_uniforms", device, 50, 4);
    gpu.draw(blocking, c"philox_normals", device, 25, 5);
    let found = gpu.download(device, 100);
    assert_eq!(bits(&found[..25]), bits(&normals(25, 5)));
    assert_eq!(bits(&found[25..50]), bits(&uniforms(50, 4)[25..]));
    assert_eq!(bits(&found[50..]), bits(&normals(100, 3)[50..]));
}

#[test]
fn events_order_streams() {
    let Some(gpu) = Gpu::new() else { return };
    let (first, second) = (gpu.alloc(64), gpu.alloc(64));
    let other = result::stream::create(result::stream::StreamKind::NonBlocking).unwrap();
    let event = result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT).unwrap();
    // SAFETY: everything belongs to the current context.
    unsafe {
        gpu.draw(gpu.stream, c"philox_normals", first, 64, 1);
        result::event::record(event, gpu.stream).unwrap();
        gpu.draw(gpu.stream, c"philox_normals", first, 64, 2);
        let wait = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        result::stream::wait_event(other, event, wait).unwrap();
        assert_eq!(sys::cuMemcpyDtoDAsync_v2(second, first, 256, other), CUDA_SUCCESS);
        assert_eq!(sys::cuEventQuery(event), CUDA_ERROR_NOT_READY);
        result::stream::synchronize(other).unwrap();
        assert_eq!(sys::cuEventQuery(event), CUDA_SUCCESS);
    }
    assert_eq!(bits(&gpu.download(second, 64)), bits(&normals(64, 1)));
    assert_eq!(bits(&gpu.download(first, 64)), bits(&normals(64, 1)));
    gpu.synchronise();
    assert_eq!(bits(&gpu.download(first, 64)), bits(&normals(64, 2)));
}

#[test]
fn each_thread_has_a_stack_of_contexts() {
    let Some(gpu) = Gpu::new() else { return };
    let inner = Gpu::new().unwrap();
    let mut popped = null_mut();
    // SAFETY: handles that live, or calls that must refuse.
    unsafe {
        assert_eq!(result::ctx::get_current().unwrap(), Some(inner.context));
        assert_eq!(sys::cuStreamSynchronize(gpu.stream), CUDA_ERROR_INVALID_HANDLE);
        let at = inner.alloc(1);
        assert_eq!(sys::cuCtxPopCurrent_v2(&mut popped), CUDA_SUCCESS);
        assert_eq!(popped, inner.context);
        assert_eq!(sys::cuMemFree_v2(at), CUDA_ERROR_INVALID_VALUE);
        let elsewhere = std::thread::spawn(|| result::mem_get_info().unwrap_err().0);
        assert_eq!(elsewhere.join().unwrap(), CUDA_ERROR_INVALID_CONTEXT);
        assert_eq!(sys::cuCtxPushCurrent_v2(inner.context), CUDA_SUCCESS);
        drop(inner);
        assert_eq!(result::ctx::get_current().unwrap(), Some(gpu.context));
        assert_eq!(sys::cuCtxPushCurrent_v2(popped), CUDA_ERROR_INVALID_CONTEXT);
    }
}

#[test]
fn images_and_kernels_are_checked() {
    let Some(gpu) = Gpu::new() else { return };
    // SAFETY: calls that must refuse, and one that reads a kernel's parameters.
    unsafe {
        let loaded = result::module::load_data(c"nothing known".as_ptr().cast());
        assert_eq!(loaded.unwrap_err().0, CUDA_ERROR_NO_BINARY_FOR_GPU);
        let found = result::module::get_function(gpu.module, c"no_such_kernel".to_owned());
        assert_eq!(found.unwrap_err().0, CUDA_ERROR_NOT_FOUND);
        let function = gpu.function(c"philox_normals");
        let mut places = Vec::new();
        let (mut offset, mut size) = (0, 0);
        while sys::cuFuncGetParamInfo(function, places.len(), &mut offset, &mut size) == CUDA_SUCCESS {
            places.push((offset, size));
        }
        assert_eq!(places, [(0, 8), (8, 4), (12, 4), (16, 4), (24, 8), (32, 8), (40, 8), (48, 4), (56, 8)]);
        for (grid, block) in [(0, 1), (1, 1025)] {
            let launched = sys::cuLaunchKernel(
                function,
                grid,
                1,
                1,
                block,
                1,
                1,
                0,
                gpu.stream,
                [null_mut(); 9].as_mut_ptr(),
                null_mut(),
            );
            assert_eq!(launched, CUDA_ERROR_INVALID_VALUE);
        }
    }
}

#[test]
fn pointers_are_known() {
    let Some(gpu) = Gpu::new() else { return };
    let (device, host) = (gpu.alloc(10), pinned(10));
    let kind = |at: u64| {
        let mut kind = 0u32;
        let attribute = sys::CUpointer_attribute::CU_POINTER_ATTRIBUTE_MEMORY_TYPE;
        // SAFETY: room for the attribute.
        let code = unsafe { sys::cuPointerGetAttribute((&raw mut kind).cast(), attribute, at) };
        (code, kind)
    };
    assert_eq!(kind(device + 39), (CUDA_SUCCESS, 2));
    assert_eq!(kind(host as u64), (CUDA_SUCCESS, 1));
    assert_eq!(kind(device + 40).0, CUDA_ERROR_INVALID_VALUE);
    assert_eq!(kind((&raw const device) as u64).0, CUDA_ERROR_INVALID_VALUE);
}

#[test]
fn a_kernels_fault_stays() {
    let Some(gpu) = Gpu::new() else { return };
    let mut out = gpu.alloc(64);
    assert_eq!(gpu.launch(gpu.stream, c"fault_barrier", &mut [(&raw mut out).cast()]), CUDA_SUCCESS);
    // SAFETY: calls that must refuse.
    unsafe {
        assert_eq!(sys::cuStreamSynchronize(gpu.stream), CUDA_ERROR_LAUNCH_FAILED);
        assert_eq!(result::malloc_sync(4).unwrap_err().0, CUDA_ERROR_LAUNCH_FAILED);
        assert_eq!(sys::cuStreamDestroy_v2(gpu.stream), CUDA_ERROR_LAUNCH_FAILED);
    }
}

#[test]
fn the_host_may_not_touch_device_memory() {
    let name = "device::cuda::tests::simulated::driver::the_host_may_not_touch_device_memory";
    if Gpu::new().is_none() {
        return;
    }
    if let Some(output) = simulator::in_child(name, &[]) {
        assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("device memory"), "{output:?}");
        return;
    }
    let gpu = Gpu::new().unwrap();
    let at = gpu.upload(&[1.0]) as *const f32;
    // SAFETY: not at all; the process ends here.
    eprintln!("{}", unsafe { at.read_volatile() });
}

#[test]
fn memory_ends_and_nothing_leaks() {
    let name = "device::cuda::tests::simulated::driver::memory_ends_and_nothing_leaks";
    if simulator::real_gpu() || simulator::folder().is_none() {
        return;
    }
    // Alone, as the numbers are those of the process.
    if let Some(output) = simulator::in_child(name, &[]) {
        assert!(output.status.success(), "{output:?}");
        return;
    }
    simulator::load();
    assert_eq!(simulator::live(), 0);
    let gpu = Gpu::new().unwrap();
    simulator::set_memory(1 << 20);
    // SAFETY: everything is freed once.
    unsafe {
        let first = result::malloc_sync(1 << 19).unwrap();
        assert_eq!(result::malloc_sync((1 << 19) + 1).unwrap_err().0, CUDA_ERROR_OUT_OF_MEMORY);
        assert_eq!(result::mem_get_info().unwrap(), (1 << 19, 1 << 20));
        let second = result::malloc_sync(1 << 19).unwrap();
        simulator::fail_next(c"cuMemAlloc", CUDA_ERROR_UNKNOWN as i32);
        assert_eq!(result::malloc_sync(1).unwrap_err().0, CUDA_ERROR_UNKNOWN);
        let (before, waits) = (simulator::launches(), simulator::synchronisations());
        gpu.draw(gpu.stream, c"philox_normals", first, 10, 0);
        assert_eq!((simulator::launches(), simulator::synchronisations()), (before, waits));
        assert_eq!(simulator::live(), 4);
        result::free_sync(first).unwrap();
        assert_eq!((simulator::launches(), simulator::synchronisations()), (before + 1, waits + 1));
        result::free_sync(second).unwrap();
        result::stream::destroy(gpu.stream).unwrap();
        result::module::unload(gpu.module).unwrap();
        assert_eq!(simulator::live(), 0);
    }
    drop(gpu);
    let gpu = Gpu::new().unwrap();
    gpu.alloc(1);
    assert_eq!(simulator::live(), 3);
    drop(gpu);
    assert_eq!(simulator::live(), 0, "a context takes along what belongs to it");
}
