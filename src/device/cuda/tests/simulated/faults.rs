//! Faults of kernels and graphs that only the driver can find.

use super::*;
use result::stream::{StreamKind, begin_capture, end_capture, wait_event};
use sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;

/// What the simulator writes in a child that runs this test, on the strict build where `strict`. None in the child.
fn told_by(name: &str, strict: bool) -> Option<String> {
    let name = format!("device::cuda::tests::simulated::faults::{name}");
    let settings: &[_] = if strict { &[("SFEUOT_SIM_STRICT", "1")] } else { &[] };
    let output = simulator::in_child(&name, settings)?;
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8_lossy(&output.stderr).into_owned())
}

fn is_possible(strict: bool) -> bool {
    !simulator::real_gpu() && simulator::folder().is_some() && (!strict || simulator::strict_is_possible())
}

/// Whether what is queued runs.
fn ends(gpu: &Gpu) -> CUresult {
    // SAFETY: the stream is the context's.
    unsafe { sys::cuStreamSynchronize(gpu.stream) }
}

#[test]
fn a_parameter_must_be_memory_of_the_device() {
    if !is_possible(false) {
        return;
    }
    if let Some(told) = told_by("a_parameter_must_be_memory_of_the_device", false) {
        assert!(told.contains("fault_write: parameter 0 is an address of no memory of the device"), "{told}");
        return;
    }
    let values = [0f32; 64];
    let mut host = values.as_ptr();
    let gpu = Gpu::new().unwrap();
    assert_eq!(gpu.launch(gpu.stream, c"fault_write", &mut [(&raw mut host).cast()]), CUDA_SUCCESS);
    assert_eq!(ends(&gpu), CUDA_ERROR_ILLEGAL_ADDRESS);
}

#[test]
fn kernels_touch_no_memory_of_the_host() {
    if !is_possible(true) {
        return;
    }
    if let Some(told) = told_by("kernels_touch_no_memory_of_the_host", true) {
        assert!(told.contains("fault_pointer") && told.contains("touches memory that is not the device's"), "{told}");
        return;
    }
    let values = [0f32; 64];
    let mut host = values.as_ptr();
    let gpu = Gpu::new().unwrap();
    let mut out = gpu.alloc(64);
    let mut arguments = [(&raw mut out).cast(), (&raw mut host).cast()];
    assert_eq!(gpu.launch(gpu.stream, c"fault_pointer", &mut arguments), CUDA_SUCCESS);
    assert_eq!(ends(&gpu), CUDA_ERROR_LAUNCH_FAILED);
}

#[test]
fn kernels_touch_no_byte_beyond_an_allocation() {
    if !is_possible(true) {
        return;
    }
    if let Some(told) = told_by("kernels_touch_no_byte_beyond_an_allocation", true) {
        assert!(told.contains("fault_pointer") && told.contains("touches memory beside an allocation"), "{told}");
        return;
    }
    let gpu = Gpu::new().unwrap();
    // The 64th float is read. The driver aligns what follows an allocation to 256 bytes.
    for (floats, expected) in [(64, CUDA_SUCCESS), (63, CUDA_ERROR_LAUNCH_FAILED)] {
        let (mut out, mut last) = (gpu.alloc(64), gpu.alloc(floats) + 4 * 63);
        let mut arguments = [(&raw mut out).cast(), (&raw mut last).cast()];
        assert_eq!(gpu.launch(gpu.stream, c"fault_pointer", &mut arguments), CUDA_SUCCESS);
        assert_eq!(ends(&gpu), expected, "{floats} floats");
    }
}

#[test]
fn a_block_is_not_larger_than_its_kernel_was_made_for() {
    let Some(gpu) = Gpu::new() else { return };
    let mut out = gpu.alloc(64);
    let launched = gpu.launch(gpu.stream, c"fault_bounds", &mut [(&raw mut out).cast()]);
    assert_eq!(launched, CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
    let most = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK;
    let mut threads = 0;
    // SAFETY: a function of the module.
    unsafe { assert_eq!(sys::cuFuncGetAttribute(&mut threads, most, gpu.function(c"fault_bounds")), CUDA_SUCCESS) };
    assert_eq!(threads, 32);
}

/// A graph of two launches of `fault_write`, to `first` and to `second`, with an edge between them where `ordered`.
fn pair(gpu: &Gpu, ordered: bool, mut first: sys::CUdeviceptr, mut second: sys::CUdeviceptr) -> CUresult {
    // SAFETY: handles of the current context; memory that lives.
    unsafe {
        let other = result::stream::create(StreamKind::NonBlocking).unwrap();
        let event = result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING).unwrap();
        let follow = |stream, before| {
            result::event::record(event, before).unwrap();
            wait_event(stream, event, sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT).unwrap();
        };
        begin_capture(gpu.stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).unwrap();
        if !ordered {
            follow(other, gpu.stream);
        }
        assert_eq!(gpu.launch(gpu.stream, c"fault_write", &mut [(&raw mut first).cast()]), CUDA_SUCCESS);
        if ordered {
            follow(other, gpu.stream);
        }
        assert_eq!(gpu.launch(other, c"fault_write", &mut [(&raw mut second).cast()]), CUDA_SUCCESS);
        follow(gpu.stream, other);
        let graph = end_capture(gpu.stream).unwrap();
        let flags = sys::CUgraphInstantiate_flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH;
        let program = result::graph::instantiate(graph, flags).unwrap();
        result::graph::launch(program, gpu.stream).unwrap();
        ends(gpu)
    }
}

#[test]
fn nodes_that_no_edge_keeps_apart_touch_no_bytes_that_one_writes() {
    if !is_possible(true) {
        return;
    }
    if let Some(told) = told_by("nodes_that_no_edge_keeps_apart_touch_no_bytes_that_one_writes", true) {
        let said = told.contains("node 0 of a graph, fault_write, and node 1, fault_write, touch the same bytes");
        assert!(said, "{told}");
        return;
    }
    let gpu = Gpu::new().unwrap();
    let at = gpu.alloc(128);
    assert_eq!(pair(&gpu, true, at, at), CUDA_SUCCESS);
    assert_eq!(pair(&gpu, false, at, at + 256), CUDA_SUCCESS);
    // The last word of one is the first of the other.
    assert_eq!(pair(&gpu, false, at, at + 252), CUDA_ERROR_LAUNCH_FAILED);
}
