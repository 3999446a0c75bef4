//! The kernels' tests on a GPU, where one is wanted: the buffers of a test are host memory that the GPU has mapped, so
//! that guard pages and gaps are looked at as on the host.

use super::simulator;
use crate::device::cuda::gpu::Gpu;
use crate::device::gpus::CudaConfig;
use cudarc::driver::sys::{self, CUresult};
use std::ffi::{CStr, c_void};
use std::ptr;
use std::sync::{Arc, OnceLock};

/// The GPU, with SFEUOT_TEST_REAL_GPU.
pub fn gpu() -> Option<&'static Arc<Gpu>> {
    static OPENED: OnceLock<Option<Arc<Gpu>>> = OnceLock::new();
    let open = || Gpu::open(&CudaConfig::default(), &mut |_, text| eprintln!("{text}")).expect("SFEUOT_TEST_REAL_GPU");
    OPENED.get_or_init(|| simulator::real_gpu().then(open)).as_ref()
}

/// Maps whole pages; returns their address on the GPU, which is theirs where there is none.
pub fn map(pages: *mut u8, bytes: usize) -> u64 {
    let Some(gpu) = gpu().filter(|_| bytes > 0) else { return pages.addr() as u64 };
    let _entered = gpu.enter().expect("a context");
    let mut address = 0;
    // SAFETY: the caller's pages.
    unsafe {
        let flags = sys::CU_MEMHOSTREGISTER_PORTABLE | sys::CU_MEMHOSTREGISTER_DEVICEMAP;
        assert_eq!(sys::cuMemHostRegister_v2(pages.cast(), bytes, flags), CUresult::CUDA_SUCCESS);
        assert_eq!(sys::cuMemHostGetDevicePointer_v2(&mut address, pages.cast(), 0), CUresult::CUDA_SUCCESS);
    }
    address
}

/// Undoes [`map`].
pub fn unmap(pages: *mut u8) {
    let Some(gpu) = gpu() else { return };
    let _entered = gpu.enter().expect("a context");
    // SAFETY: mapped before, and no kernel runs.
    unsafe { sys::cuMemHostUnregister(pages.cast()) };
}

/// Runs a kernel and waits for it.
pub fn launch(
    gpu: &Gpu,
    name: &CStr,
    grid: [u32; 3],
    block: [u32; 3],
    values: &mut [*mut c_void],
) -> Result<(), String> {
    let failed = |error: crate::Error| format!("{name:?}: {error}");
    let _entered = gpu.enter().map_err(failed)?;
    let function = gpu.function(name).map_err(failed)?;
    let ([x, y, z], [bx, by, bz]) = (grid, block);
    // SAFETY: one value a parameter, as the host's launcher checks for the same call.
    let status = unsafe {
        sys::cuLaunchKernel(function, x, y, z, bx, by, bz, 0, gpu.stream(), values.as_mut_ptr(), ptr::null_mut())
    };
    if status != CUresult::CUDA_SUCCESS {
        return Err(format!("{name:?}: {status:?}"));
    }
    gpu.synchronise().map_err(failed)
}
