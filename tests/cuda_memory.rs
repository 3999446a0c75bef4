//! What a training says that it takes of a GPU's memory is what it takes, creation needs no more at any time, and one
//! that finds no room for it is refused before a sample is read or anything is allocated. On the simulated driver.
#![cfg(target_os = "linux")]

mod common;

use std::ffi::c_void;
use std::ptr::{null, null_mut, without_provenance};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use common::*;
use cudarc::driver::sys;
use sfeuot::abi::*;

/// What all trainings of a context share where cublasLt multiplies.
const CUBLASLT: u64 = 32 << 20;

fn open(products: i32, memory_limit: u64) -> *mut SfeuotContext {
    let mut config = init(sfeuot_context_config_init_2);
    (config.device, config.cuda_products, config.memory_limit) = (SFEUOT_DEVICE_CUDA, products, memory_limit);
    let mut context = null_mut();
    // SAFETY: local input and output.
    ok(unsafe { sfeuot_context_create(&config, &mut context) });
    context
}

fn taken(context: *const SfeuotContext) -> u64 {
    let mut bytes = 0;
    // SAFETY: a live handle and a local output.
    ok(unsafe { sfeuot_context_device_memory(context, &mut bytes) });
    bytes
}

fn told(trainer: *mut SfeuotTrainer) -> (u64, u64) {
    let (mut host, mut device) = (0, 0);
    // SAFETY: a live handle and local outputs.
    ok(unsafe { sfeuot_trainer_memory(trainer, &mut host, &mut device) });
    (host, device)
}

/// Calls of [`sample`].
static CALLS: AtomicU64 = AtomicU64::new(0);

unsafe extern "C-unwind" fn sample(_: *mut c_void, batch: *mut f32, rows: u64, dimension: u64) -> i32 {
    CALLS.fetch_add(1, Relaxed);
    for i in 0..(rows * dimension) as usize {
        // SAFETY: the batch has room for rows x dimension floats.
        unsafe { batch.add(i).write((i as f32 * 0.37).sin()) };
    }
    0
}

/// Where a side's samples come from.
#[derive(Clone, Copy, Debug)]
enum From {
    Host,
    HostWeighted,
    Device,
    DeviceWeighted,
    Callback,
}

/// A copy in the memory of the GPU whose context is current; never given back.
fn on_device(values: &[f32]) -> *const c_void {
    let mut address = 0;
    // SAFETY: a context is current, and there are as many bytes.
    unsafe {
        let bytes = size_of_val(values);
        assert_eq!(sys::cuMemAlloc_v2(&mut address, bytes), sys::CUresult::CUDA_SUCCESS);
        assert_eq!(sys::cuMemcpyHtoD_v2(address, values.as_ptr().cast(), bytes), sys::CUresult::CUDA_SUCCESS);
    }
    without_provenance(address as usize)
}

fn set(side: &mut Side, from: From, rows: usize, dimension: usize) {
    side.values = (0..rows * dimension).map(|i| (i as f32 * 0.37).sin()).collect();
    side.weight_values = (0..rows).map(|i| (i % 7) as f64).collect();
    (side.shape, side.weight_shape) = ([rows as i64, dimension as i64], [rows as i64, 1]);
    side.sample_shape = [dimension as i64];
    side.weights.data = side.weight_values.as_ptr().cast();
    side.samples.data = match from {
        From::Device | From::DeviceWeighted => {
            side.samples.memory = SFEUOT_MEMORY_CUDA;
            on_device(&side.values)
        }
        _ => side.values.as_ptr().cast(),
    };
    match from {
        From::HostWeighted | From::DeviceWeighted => (),
        From::Callback => side.use_callback(Some(sample), null_mut()),
        From::Host | From::Device => side.data.weights = null(),
    }
}

/// Makes a GPU's primary context current for good.
fn enter() {
    let mut context = null_mut();
    // SAFETY: local outputs.
    unsafe {
        assert_eq!(sys::cuInit(0), sys::CUresult::CUDA_SUCCESS);
        assert_eq!(sys::cuDevicePrimaryCtxRetain(&mut context, 0), sys::CUresult::CUDA_SUCCESS);
        assert_eq!(sys::cuCtxPushCurrent_v2(context), sys::CUresult::CUDA_SUCCESS);
    }
}

/// Numbers of a sample and samples of either side; width and hidden layers; source samples of a batch, components and
/// latents; where the samples come from.
type Shape = ((usize, [usize; 2]), (u32, u32), (u32, u32, u32), [From; 2]);

const SHAPES: [Shape; 10] = [
    ((1, [40, 40]), (8, 1), (1, 1, 0), [From::Host, From::Host]),
    ((2, [100, 300]), (32, 2), (70, 4, 0), [From::Callback, From::Callback]),
    ((2, [5000, 9000]), (24, 2), (7, 5, 0), [From::Device, From::DeviceWeighted]),
    ((2, [50_000, 100]), (8, 1), (3, 2, 0), [From::DeviceWeighted, From::Host]),
    ((3, [30_000, 2000]), (16, 2), (16, 8, 0), [From::HostWeighted, From::Device]),
    ((3, [32, 32]), (40, 3), (33, 3, 4), [From::Host, From::Callback]),
    ((64, [200, 1000]), (32, 2), (4, 2, 0), [From::Device, From::Device]),
    ((64, [64, 100]), (128, 1), (2, 64, 0), [From::Callback, From::DeviceWeighted]),
    ((700, [300, 200]), (32, 1), (2, 2, 0), [From::Device, From::Host]),
    ((3072, [20, 30]), (16, 1), (2, 1, 0), [From::DeviceWeighted, From::Callback]),
];

fn problem(&((dimension, rows), (width, layers), (sources, components, latents), from): &Shape) -> Problem {
    let mut problem = Problem::new();
    let config = &mut problem.config;
    (config.hidden_width, config.hidden_layers) = (width, layers);
    (config.batch_sources, config.components, config.latent_dimension) = (sources, components, latents);
    set(&mut problem.source, from[0], rows[0], dimension);
    set(&mut problem.target, from[1], rows[1], dimension);
    problem
}

#[test]
fn a_training_takes_the_device_memory_that_it_tells_and_no_more_while_it_is_made() {
    if !simulator::alone_and_simulated(
        "a_training_takes_the_device_memory_that_it_tells_and_no_more_while_it_is_made",
        &[],
    ) {
        return;
    }
    enter();
    for products in [SFEUOT_PRODUCTS_FUSED, SFEUOT_PRODUCTS_CUBLASLT] {
        let shared = if products == SFEUOT_PRODUCTS_CUBLASLT { CUBLASLT } else { 0 };
        for shape in &SHAPES {
            let problem = problem(shape);
            let context = open(products, 0);
            let mut trainer = null_mut();
            ok(problem.create(context, &mut trainer));
            // SAFETY: a live handle.
            ok(unsafe { sfeuot_trainer_step(trainer, 3, null_mut()) });
            let (host, device) = told(trainer);
            let found = taken(context) - shared;
            println!("cublasLt {}: {shape:?}: told {device}, taken {found}, told of the host {host}", shared > 0);
            assert_eq!(device, found, "{shape:?}");

            // Creation never takes more than a limit of so many bytes allows.
            let tight = open(products, device + shared);
            let mut same = null_mut();
            ok(problem.create(tight, &mut same));
            assert_eq!((told(same), taken(tight)), ((host, device), device + shared), "{shape:?}");
            // SAFETY: live handles.
            unsafe {
                ok(sfeuot_trainer_release(trainer));
                ok(sfeuot_trainer_release(same));
                assert_eq!((taken(context), taken(tight)), (shared, shared));
                ok(sfeuot_context_release(context));
                ok(sfeuot_context_release(tight));
            }
        }
    }
}

#[test]
fn a_training_without_room_is_refused_before_a_sample_is_read_or_anything_allocated() {
    if !simulator::alone_and_simulated(
        "a_training_without_room_is_refused_before_a_sample_is_read_or_anything_allocated",
        &[],
    ) {
        return;
    }
    enter();
    for products in [SFEUOT_PRODUCTS_FUSED, SFEUOT_PRODUCTS_CUBLASLT] {
        for shape in &SHAPES {
            let problem = problem(shape);
            let context = open(products, 20_000);
            let state = || (taken(context), simulator::live(), simulator::launches(), CALLS.load(Relaxed));
            let before = state();
            let mut trainer = null_mut();
            refused(problem.create(context, &mut trainer), SFEUOT_ERROR_OUT_OF_MEMORY, "memory_limit, 20000");
            let text = last_error();
            assert!(text.contains(" bytes of the memory of GPU 0"), "{text}");
            assert_eq!(state(), before, "{shape:?}");
            // SAFETY: a live handle.
            ok(unsafe { sfeuot_context_release(context) });
        }
    }
    // A GPU that is too small.
    simulator::set_memory(100_000);
    let problem = problem(&SHAPES[1]);
    let context = open(SFEUOT_PRODUCTS_FUSED, 0);
    let before = simulator::live();
    refused(problem.create(context, &mut null_mut()), SFEUOT_ERROR_OUT_OF_MEMORY, "the 100000 that it has");
    assert_eq!((taken(context), simulator::live()), (0, before));
    // SAFETY: a live handle.
    ok(unsafe { sfeuot_context_release(context) });
}
