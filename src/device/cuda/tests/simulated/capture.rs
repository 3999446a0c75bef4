//! Capture of streams and replay of graphs.

use super::*;
use result::stream::{StreamKind, begin_capture, end_capture, is_capturing, wait_event};
use sys::CUstreamCaptureMode::*;
use sys::CUstreamCaptureStatus::*;

const WAIT: sys::CUevent_wait_flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;

/// Instantiates a graph and takes it away.
fn instance(graph: sys::CUgraph) -> sys::CUgraphExec {
    // SAFETY: the graph lives, and is destroyed once.
    unsafe {
        let flags = sys::CUgraphInstantiate_flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH;
        let program = result::graph::instantiate(graph, flags).unwrap();
        result::graph::destroy(graph).unwrap();
        program
    }
}

#[test]
fn a_graph_replays_launches_and_fills() {
    let Some(gpu) = Gpu::new() else { return };
    let at = gpu.alloc(96);
    // SAFETY: handles of the current context; memory that lives.
    unsafe {
        begin_capture(gpu.stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).unwrap();
        assert_eq!(is_capturing(gpu.stream).unwrap(), CU_STREAM_CAPTURE_STATUS_ACTIVE);
        gpu.draw(gpu.stream, c"philox_normals", at, 64, 1);
        gpu.draw(gpu.stream, c"philox_uniforms", at, 32, 2);
        assert_eq!(sys::cuMemsetD32Async(at + 4 * 64, 1f32.to_bits(), 32, gpu.stream), CUDA_SUCCESS);
        let graph = end_capture(gpu.stream).unwrap();
        let mut nodes = 0;
        assert_eq!(sys::cuGraphGetNodes(graph, null_mut(), &mut nodes), CUDA_SUCCESS);
        assert_eq!(nodes, 3);
        gpu.synchronise();
        assert!(untouched(&gpu.download(at, 96)));

        let program = instance(graph);
        for _ in 0..2 {
            assert_eq!(sys::cuMemsetD8Async(at, 0xFF, 4 * 96, gpu.stream), CUDA_SUCCESS);
            result::graph::launch(program, gpu.stream).unwrap();
            gpu.synchronise();
            let found = gpu.download(at, 96);
            assert_eq!(bits(&found[..32]), bits(&uniforms(32, 2)));
            assert_eq!(bits(&found[32..64]), bits(&normals(64, 1)[32..]));
            assert_eq!(found[64..], [1.0; 32]);
        }
        result::graph::exec_destroy(program).unwrap();
    }
}

#[test]
fn a_capture_forks_and_joins() {
    let Some(gpu) = Gpu::new() else { return };
    let (first, second, both) = (gpu.alloc(8), gpu.alloc(8), gpu.alloc(16));
    // SAFETY: handles of the current context; memory that lives.
    unsafe {
        let other = result::stream::create(StreamKind::NonBlocking).unwrap();
        let event = result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING).unwrap();
        let fork = || {
            begin_capture(gpu.stream, CU_STREAM_CAPTURE_MODE_GLOBAL).unwrap();
            result::event::record(event, gpu.stream).unwrap();
            wait_event(other, event, WAIT).unwrap();
            gpu.draw(other, c"philox_normals", first, 8, 1);
            gpu.draw(gpu.stream, c"philox_normals", second, 8, 2);
        };
        fork();
        assert_eq!(end_capture(gpu.stream).unwrap_err().0, CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
        fork();
        assert_eq!(end_capture(other).unwrap_err().0, CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
        assert_eq!(end_capture(gpu.stream).unwrap_err().0, CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
        fork();
        result::event::record(event, other).unwrap();
        assert_eq!(sys::cuEventQuery(event), CUDA_ERROR_CAPTURED_EVENT);
        assert_eq!(end_capture(gpu.stream).unwrap_err().0, CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
        fork();
        result::event::record(event, other).unwrap();
        wait_event(gpu.stream, event, WAIT).unwrap();
        for (at, from) in [(both, first), (both + 32, second)] {
            assert_eq!(sys::cuMemcpyDtoDAsync_v2(at, from, 32, gpu.stream), CUDA_SUCCESS);
        }
        let program = instance(end_capture(gpu.stream).unwrap());
        assert_eq!(is_capturing(other).unwrap(), CU_STREAM_CAPTURE_STATUS_NONE);
        // In another order each time.
        for _ in 0..8 {
            assert_eq!(sys::cuMemsetD8Async(both, 0xFF, 64, other), CUDA_SUCCESS);
            result::graph::launch(program, other).unwrap();
            result::stream::synchronize(other).unwrap();
            let expected = [normals(8, 1), normals(8, 2)].concat();
            assert_eq!(bits(&gpu.download(both, 16)), bits(&expected));
        }
        result::graph::exec_destroy(program).unwrap();
    }
}

#[test]
fn what_a_capture_forbids_ends_it() {
    let Some(gpu) = Gpu::new() else { return };
    let at = gpu.alloc(4);
    let mut values = [0f32; 4];
    let mut forbidden: [(&str, &mut dyn FnMut() -> CUresult); 5] = [
        // SAFETY: handles of the current context, memory with room; all must refuse.
        ("cuStreamSynchronize", &mut || unsafe { sys::cuStreamSynchronize(gpu.stream) }),
        ("cuCtxSynchronize", &mut || unsafe { sys::cuCtxSynchronize() }),
        ("cuMemAlloc", &mut || unsafe { sys::cuMemAlloc_v2(&mut 0, 4) }),
        ("cuMemcpyHtoD", &mut || unsafe { sys::cuMemcpyHtoD_v2(at, [0f32].as_ptr().cast(), 4) }),
        ("cuMemcpyDtoHAsync", &mut || unsafe {
            sys::cuMemcpyDtoHAsync_v2(values.as_mut_ptr().cast(), at, 16, gpu.stream)
        }),
    ];
    for (name, call) in &mut forbidden {
        // SAFETY: as above.
        unsafe {
            begin_capture(gpu.stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).unwrap();
            assert_eq!(call(), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "{name}");
            assert_eq!(is_capturing(gpu.stream).unwrap(), CU_STREAM_CAPTURE_STATUS_INVALIDATED, "{name}");
            let filled = sys::cuMemsetD32Async(at, 0, 4, gpu.stream);
            assert_eq!(filled, CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "{name}");
            assert_eq!(end_capture(gpu.stream).unwrap_err().0, CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "{name}");
        }
    }
    // SAFETY: as above.
    unsafe {
        begin_capture(gpu.stream, CU_STREAM_CAPTURE_MODE_RELAXED).unwrap();
        assert_ne!(gpu.alloc(4), 0);
        let graph = end_capture(gpu.stream).unwrap();
        result::graph::destroy(graph).unwrap();
        assert_eq!(
            begin_capture(null_mut(), CU_STREAM_CAPTURE_MODE_RELAXED).unwrap_err().0,
            CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED
        );
    }
}
