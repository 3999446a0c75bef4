//! The simulated driver keeps what it promises, seen through cudarc.

mod capture;
mod driver;
mod faults;
mod plans;
mod product;

use super::simulator;
use crate::rng::{Sequence, Stream};
use cudarc::driver::{result, sys};
use std::ffi::{CStr, c_void};
use std::ptr::null_mut;
use sys::CUresult::{self, *};

/// A context of the simulated device, current in this thread, with a stream and the module of all kernels.
struct Gpu {
    context: sys::CUcontext,
    stream: sys::CUstream,
    module: sys::CUmodule,
}

impl Gpu {
    /// None without a C++ compiler, and with a real GPU, whose image is another.
    fn new() -> Option<Self> {
        if simulator::real_gpu() || !simulator::load() {
            return None;
        }
        result::init().unwrap();
        // SAFETY: the calls' preconditions are that they come in this order.
        unsafe {
            let context = result::ctx::create_v4(null_mut(), 0, 0).unwrap();
            let stream = result::stream::create(result::stream::StreamKind::NonBlocking).unwrap();
            let module = result::module::load_data(simulator::IMAGE.as_ptr().cast()).unwrap();
            Some(Self { context, stream, module })
        }
    }

    fn alloc(&self, floats: usize) -> sys::CUdeviceptr {
        // SAFETY: the context is current; it frees the memory in the end.
        unsafe { result::malloc_sync(4 * floats).unwrap() }
    }

    fn upload(&self, values: &[f32]) -> sys::CUdeviceptr {
        let at = self.alloc(values.len());
        // SAFETY: there is room for the values.
        unsafe { result::memcpy_htod_sync(at, values).unwrap() };
        at
    }

    /// What lies there now, without regard to what is queued in other streams.
    fn download(&self, at: sys::CUdeviceptr, floats: usize) -> Vec<f32> {
        let mut values = vec![0f32; floats];
        // SAFETY: the callers ask for what they allocated.
        unsafe { result::memcpy_dtoh_sync(&mut values, at).unwrap() };
        values
    }

    fn function(&self, name: &CStr) -> sys::CUfunction {
        // SAFETY: the module is loaded.
        unsafe { result::module::get_function(self.module, name.to_owned()).unwrap() }
    }

    /// One block of 64 threads.
    fn launch(&self, stream: sys::CUstream, name: &CStr, arguments: &mut [*mut c_void]) -> CUresult {
        // SAFETY: the callers give the kernel's arguments.
        unsafe {
            let function = self.function(name);
            sys::cuLaunchKernel(function, 1, 1, 1, 64, 1, 1, 0, stream, arguments.as_mut_ptr(), null_mut())
        }
    }

    /// Queues a kernel that draws `count` numbers of step `step`.
    fn draw(&self, stream: sys::CUstream, kernel: &CStr, out: sys::CUdeviceptr, count: usize, step: u64) {
        let mut out = out;
        let (mut rows, mut cols, mut stride) = (1u32, count as u32, count as u32);
        let (mut seed, mut counter, mut number) = (SEED, 0u64, step);
        let (mut purpose, mut first) = (Stream::Endpoint as u32, 0u64);
        let mut arguments: [*mut c_void; 9] = [
            (&raw mut out).cast(),
            (&raw mut rows).cast(),
            (&raw mut cols).cast(),
            (&raw mut stride).cast(),
            (&raw mut seed).cast(),
            (&raw mut counter).cast(),
            (&raw mut number).cast(),
            (&raw mut purpose).cast(),
            (&raw mut first).cast(),
        ];
        assert_eq!(self.launch(stream, kernel, &mut arguments), CUDA_SUCCESS);
    }

    fn synchronise(&self) {
        // SAFETY: the stream is the context's.
        unsafe { result::stream::synchronize(self.stream).unwrap() };
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        // SAFETY: nothing of the context is used any more.
        unsafe { assert_eq!(sys::cuCtxDestroy_v2(self.context), CUDA_SUCCESS) };
    }
}

const SEED: u64 = 7;

fn normals(count: usize, step: u64) -> Vec<f32> {
    let mut x = vec![0f32; count];
    Sequence::new(SEED, step, Stream::Endpoint).normals(0, &mut x);
    x
}

fn uniforms(count: usize, step: u64) -> Vec<f32> {
    let mut x = vec![0f32; count];
    Sequence::new(SEED, step, Stream::Endpoint).uniforms(0, &mut x);
    x
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// All bits set: memory that nobody has written.
fn untouched(x: &[f32]) -> bool {
    x.iter().all(|x| x.to_bits() == u32::MAX)
}
