//! Arrays in the memory of a GPU through the C ABI: they train and generate as those of the host do, in the order of
//! the context's stream, and what is not such memory is refused. Runs on the simulated driver, or with
//! SFEUOT_TEST_REAL_GPU on a real one, but for what takes a second GPU or counts the driver's calls.
#![cfg(target_os = "linux")]

mod common;

use std::ffi::{CString, c_void};
use std::path::Path;
use std::ptr::{null_mut, without_provenance, without_provenance_mut};

use common::*;
use cudarc::driver::sys;
use sfeuot::abi::*;

#[track_caller]
fn check(status: sys::CUresult) {
    assert_eq!(status, sys::CUresult::CUDA_SUCCESS);
}

/// A GPU's primary context, current on the test's thread as long as it lives.
struct Primary(i32);

impl Primary {
    /// `None` where there is no GPU, not even a simulated one.
    fn new(device: i32) -> Option<Self> {
        if !simulator::load_with_compiler() {
            return None;
        }
        let mut context = null_mut();
        // SAFETY: local outputs.
        unsafe {
            check(sys::cuInit(0));
            check(sys::cuDevicePrimaryCtxRetain(&mut context, device));
            check(sys::cuCtxPushCurrent_v2(context));
        }
        Some(Self(device))
    }
}

impl Drop for Primary {
    fn drop(&mut self) {
        // SAFETY: pushed and retained above.
        unsafe {
            sys::cuCtxPopCurrent_v2(&mut null_mut());
            sys::cuDevicePrimaryCtxRelease_v2(self.0);
        }
    }
}

/// Device memory of the current context.
struct Memory {
    address: u64,
    bytes: usize,
}

impl Memory {
    fn of<T: Copy>(values: &[T]) -> Self {
        let (mut address, bytes) = (0, size_of_val(values));
        // SAFETY: a context is current; there are as many bytes.
        unsafe {
            check(sys::cuMemAlloc_v2(&mut address, bytes));
            check(sys::cuMemcpyHtoD_v2(address, values.as_ptr().cast(), bytes));
            // The call may return when all of it is on its way, for which the library's own streams do not wait.
            check(sys::cuStreamSynchronize(null_mut()));
        }
        Self { address, bytes }
    }

    /// Managed memory, which the host and every GPU reach.
    fn managed<T: Copy>(values: &[T]) -> Self {
        let (mut address, bytes) = (0, size_of_val(values));
        let global = sys::CUmemAttach_flags::CU_MEM_ATTACH_GLOBAL as u32;
        // SAFETY: a context is current; there are as many bytes, and no GPU works on them yet.
        unsafe {
            check(sys::cuMemAllocManaged(&mut address, bytes, global));
            std::ptr::with_exposed_provenance_mut::<T>(address as usize)
                .copy_from_nonoverlapping(values.as_ptr(), values.len());
        }
        Self { address, bytes }
    }

    /// All of it, after what was queued on a stream.
    fn floats(&self, stream: sys::CUstream) -> Vec<f32> {
        let mut values = vec![0f32; self.bytes / 4];
        // SAFETY: there are as many bytes.
        unsafe {
            check(sys::cuMemcpyDtoHAsync_v2(values.as_mut_ptr().cast(), self.address, self.bytes, stream));
            check(sys::cuStreamSynchronize(stream));
        }
        values
    }

    fn at(&self, byte: usize) -> *const c_void {
        without_provenance(self.address as usize + byte)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated above.
        unsafe { sys::cuMemFree_v2(self.address) };
    }
}

/// Page-locked floats, which copies read and write when the stream comes to them.
fn pinned(values: &[f32]) -> *mut f32 {
    let mut at = null_mut();
    // SAFETY: room for as many.
    unsafe {
        check(sys::cuMemHostAlloc(&mut at, size_of_val(values), 0));
        at.cast::<f32>().copy_from_nonoverlapping(values.as_ptr(), values.len());
    }
    at.cast()
}

fn open(change: impl FnOnce(&mut SfeuotContextConfig)) -> *mut SfeuotContext {
    let mut config = init(sfeuot_context_config_init_2);
    config.device = SFEUOT_DEVICE_CUDA;
    config.cuda_products = SFEUOT_PRODUCTS_FUSED;
    change(&mut config);
    let mut context = null_mut();
    // SAFETY: local input and output.
    ok(unsafe { sfeuot_context_create(&config, &mut context) });
    context
}

fn stream_of(context: *const SfeuotContext) -> sys::CUstream {
    let mut stream = null_mut();
    // SAFETY: a local output.
    ok(unsafe { sfeuot_context_cuda_stream(context, &mut stream) });
    stream.cast()
}

/// All four objects on a GPU, the model after two steps.
fn handles(problem: &Problem, change: impl FnOnce(&mut SfeuotContextConfig)) -> Handles {
    let mut handles =
        Handles { context: open(change), trainer: null_mut(), model: null_mut(), session: null_mut(), own: null_mut() };
    // SAFETY: the outputs are fields, the inputs handles made here.
    unsafe {
        ok(problem.create(handles.context, &mut handles.trainer));
        ok(sfeuot_trainer_step(handles.trainer, 2, null_mut()));
        ok(sfeuot_trainer_model(handles.trainer, &mut handles.model));
        ok(sfeuot_session_create(handles.model, &mut handles.session));
    }
    handles
}

fn tensor(memory: i32, data: *const c_void, shape: &[i64], strides: Option<&[i64]>) -> SfeuotTensor {
    let mut tensor = init(sfeuot_tensor_init);
    (tensor.memory, tensor.data, tensor.rank) = (memory, data, shape.len() as u32);
    tensor.shape = shape.as_ptr();
    tensor.strides = strides.map_or(std::ptr::null(), <[i64]>::as_ptr);
    tensor
}

fn on_device(data: *const c_void, shape: &[i64]) -> SfeuotTensor {
    tensor(SFEUOT_MEMORY_CUDA, data, shape, None)
}

fn generate(session: *mut SfeuotSession, source: &SfeuotTensor, generated: &SfeuotTensor) -> i32 {
    // SAFETY: what the tensors point to lives in the test, or is what it broke on purpose.
    unsafe { sfeuot_session_generate_tensor(session, source, 3, 5, generated) }
}

/// What sfeuot_session_generate draws for the same seed and rows.
fn plain(session: *mut SfeuotSession, source: &[f32], dimension: usize) -> Vec<f32> {
    let mut generated = vec![0f32; source.len()];
    let rows = (source.len() / dimension) as u64;
    // SAFETY: a live handle and arrays of as many rows.
    ok(unsafe { sfeuot_session_generate(session, source.as_ptr(), rows, 3, 5, generated.as_mut_ptr()) });
    generated
}

fn saved(trainer: *mut SfeuotTrainer, path: &Path) -> Vec<u8> {
    let name = CString::new(path.to_str().expect("UTF-8")).expect("no NUL");
    // SAFETY: a live handle and a C string.
    ok(unsafe { sfeuot_trainer_save(trainer, name.as_ptr()) });
    std::fs::read(path).expect("the file was written")
}

/// A checkpoint before the first step, which has the data's fingerprint and scale, and what the first step gives.
fn beginning(context: *mut SfeuotContext, problem: &Problem, path: &Path) -> (Vec<u8>, [f64; 4]) {
    let (mut trainer, mut metrics) = (null_mut(), init(sfeuot_metrics_init_2));
    ok(problem.create(context, &mut trainer));
    let checkpoint = saved(trainer, path);
    let name = CString::new(path.to_str().expect("UTF-8")).expect("no NUL");
    let mut loaded = null_mut();
    // SAFETY: live handles, a C string, data of the problem's and local outputs.
    unsafe {
        let (source, target) = (&problem.source.data, &problem.target.data);
        ok(sfeuot_trainer_load(context, name.as_ptr(), source, target, &mut loaded));
        ok(sfeuot_trainer_release(loaded));
        ok(sfeuot_trainer_step(trainer, 1, &mut metrics));
        ok(sfeuot_trainer_release(trainer));
    }
    let SfeuotMetrics { dual, generator_loss, action, value_gradient_norm, .. } = metrics;
    (checkpoint, [dual, generator_loss, action, value_gradient_norm])
}

/// Small whole numbers in an element type.
fn encoded(dtype: i32, values: &[u8]) -> Vec<u8> {
    let each = |number: &u8| match dtype {
        SFEUOT_DTYPE_F32 => f32::from(*number).to_ne_bytes().to_vec(),
        SFEUOT_DTYPE_F64 => f64::from(*number).to_ne_bytes().to_vec(),
        SFEUOT_DTYPE_F16 => half::f16::from(*number).to_ne_bytes().to_vec(),
        SFEUOT_DTYPE_BF16 => half::bf16::from_f32(f32::from(*number)).to_ne_bytes().to_vec(),
        _ => vec![*number],
    };
    values.iter().flat_map(each).collect()
}

#[test]
fn samples_in_device_memory_train_as_the_hosts() {
    let Some(_primary) = Primary::new(0) else { return };
    let (context, folder) = (open(|_| ()), scratch("cuda_samples"));
    let path = folder.join("beginning");
    let room = 6 * ROWS;
    let numbers: Vec<u8> = (0..room).map(|i| (i * 37 % 101) as u8).collect();
    let weights: Vec<u8> = (0..2 * ROWS).map(|i| (i % 5) as u8).collect();
    // First element, and the distances of rows and of the numbers of a row.
    let layouts = [(0, None), (0, Some([3, 2])), (room - 1, Some([-3, -1])), (1, Some([2, 0])), (ROWS, Some([-1, 40]))];
    for dtype in [SFEUOT_DTYPE_F32, SFEUOT_DTYPE_F64, SFEUOT_DTYPE_F16, SFEUOT_DTYPE_BF16, SFEUOT_DTYPE_U8] {
        let size = encoded(dtype, &[0]).len();
        let host = [encoded(dtype, &numbers), encoded(dtype, &weights)];
        let [of, managed] = [Memory::of::<u8>, Memory::managed].map(|new| host.each_ref().map(|bytes| new(bytes)));
        for (first, strides) in layouts {
            let train = |memory: i32, device: &[Memory; 2]| {
                let at = |part: usize, element: usize| match memory {
                    SFEUOT_MEMORY_HOST => host[part][element * size..].as_ptr().cast(),
                    _ => device[part].at(element * size),
                };
                let mut problem = Problem::new();
                for (side, shift) in [(&mut problem.source, 0.5), (&mut problem.target, 2.5)] {
                    let samples = &mut side.samples;
                    (samples.memory, samples.dtype, samples.data) = (memory, dtype, at(0, first));
                    (samples.scale, samples.offset) = (0.125, shift);
                    samples.strides = strides.as_ref().map_or(std::ptr::null(), |s: &[i64; 2]| s.as_ptr());
                    // Every second weight, from behind.
                    (side.weights.memory, side.weights.dtype) = (memory, dtype);
                    side.weights.data = at(1, 2 * ROWS - 2);
                    side.weights.strides = const { &[-2i64] }.as_ptr();
                }
                beginning(context, &problem, &path)
            };
            let expected = train(SFEUOT_MEMORY_HOST, &of);
            for device in [&of, &managed] {
                let found = train(SFEUOT_MEMORY_CUDA, device);
                assert!(found.0 == expected.0, "dtype {dtype}, strides {strides:?}: another checkpoint");
                assert_eq!(found.1, expected.1, "dtype {dtype}, strides {strides:?}");
            }
        }
    }
    // SAFETY: a live handle.
    ok(unsafe { sfeuot_context_release(context) });
}

/// A side whose samples are these doubles, in rows of two.
fn use_doubles(side: &mut Side, memory: i32, data: *const c_void, rows: usize) {
    side.data.weights = std::ptr::null();
    side.shape = [rows as i64, 2];
    (side.samples.memory, side.samples.dtype, side.samples.data) = (memory, SFEUOT_DTYPE_F64, data);
}

#[test]
fn samples_of_many_blocks_train_as_the_hosts_and_are_refused_as_these() {
    let Some(_primary) = Primary::new(0) else { return };
    let (context, folder) = (open(|_| ()), scratch("cuda_blocks"));
    let path = folder.join("beginning");
    let rows = 5000;
    let values: Vec<f64> = (0..2 * rows).map(|i| (i as f64 * 0.37).sin() * 3.0 + 1e3).collect();
    let create = |values: &[f64], memory: i32, use_it: &mut dyn FnMut(&Problem)| {
        let device = Memory::of(values);
        let data = if memory == SFEUOT_MEMORY_HOST { values.as_ptr().cast() } else { device.at(0) };
        let mut problem = Problem::new();
        use_doubles(&mut problem.source, memory, data, rows);
        // As many weights, of which the first three thousand are zero.
        problem.source.weight_values = (0..rows).map(|i| if i < 3000 { 0.0 } else { (i % 7) as f64 }).collect();
        problem.source.weights.data = problem.source.weight_values.as_ptr().cast();
        problem.source.weight_shape = [rows as i64, 1];
        problem.source.data.weights = &raw const problem.source.weights;
        use_it(&problem);
    };
    let both = [SFEUOT_MEMORY_HOST, SFEUOT_MEMORY_CUDA];
    let found = both.map(|memory| {
        let mut found = None;
        create(&values, memory, &mut |problem| found = Some(beginning(context, problem, &path)));
        found.expect("it was called")
    });
    assert!(found[0] == found[1], "another checkpoint, or other steps");

    let refusals = |values: &[f64], status: i32, part: &str| {
        let found = both.map(|memory| {
            let mut text = String::new();
            create(values, memory, &mut |problem| {
                let mut trainer = null_mut();
                refused(problem.create(context, &mut trainer), status, part);
                text = last_error();
            });
            text
        });
        assert_eq!(found[0], found[1]);
    };
    for (at, value, part) in [
        (9001, f64::NAN, "source.samples holds NaN at sample 4500, component 1"),
        (10, f64::NEG_INFINITY, "source.samples holds -inf at sample 5, component 0"),
        // Without a weight, it has no part in the scale.
        (4001, 1e60, "source.samples holds 1e60 at sample 2000, component 1, which is beyond the 32-bit range"),
        (9001, 1e60, "both must be below"),
    ] {
        let mut values = values.clone();
        values[at] = value;
        refusals(&values, SFEUOT_ERROR_INVALID_ARGUMENT, part);
    }

    // A checkpoint of other samples, of which it has the fingerprint.
    let name = CString::new(path.to_str().expect("UTF-8")).expect("no NUL");
    let load = |values: &[f64], expected: i32| {
        create(values, SFEUOT_MEMORY_CUDA, &mut |problem| {
            let (source, target, mut loaded) = (&problem.source.data, &problem.target.data, null_mut());
            // SAFETY: a live handle, a C string, data of the problem's and a local output.
            let status = unsafe { sfeuot_trainer_load(context, name.as_ptr(), source, target, &mut loaded) };
            assert_eq!(status, expected, "{}", last_error());
            // SAFETY: NULL, or a live handle.
            ok(unsafe { sfeuot_trainer_release(loaded) });
        });
    };
    load(&values, SFEUOT_OK);
    let mut other = values;
    other[9999] += 1.0;
    load(&other, SFEUOT_ERROR_INVALID_ARGUMENT);
    assert!(last_error().contains("source holds other samples or weights"), "{}", last_error());
    // SAFETY: a live handle.
    ok(unsafe { sfeuot_context_release(context) });
}

#[test]
fn samples_in_device_memory_stay_there_until_a_checkpoint_asks_for_their_fingerprint() {
    let test = "samples_in_device_memory_stay_there_until_a_checkpoint_asks_for_their_fingerprint";
    // Alone, as the driver's copies are counted.
    if !simulator::alone_and_simulated(test, &[]) {
        return;
    }
    let _primary = Primary::new(0).expect("a GPU");
    let (context, path) = (open(|_| ()), scratch("cuda_stay").join("checkpoint"));
    // Of so many, only a part is brought to the host for the covariances.
    let rows = 400_000;
    let values: Vec<f64> = (0..2 * rows).map(|i| (i as f64 * 0.37).sin()).collect();
    let device = Memory::of(&values);
    let mut problem = Problem::new();
    use_doubles(&mut problem.source, SFEUOT_MEMORY_CUDA, device.at(0), rows);
    let mut trainer = null_mut();
    let before = simulator::bytes_to_host();
    ok(problem.create(context, &mut trainer));
    let created = simulator::bytes_to_host() - before;
    let normalised = 2 * rows as u64 * 4;
    assert!(created < normalised / 2, "{created} bytes of {normalised} came to the host");
    // The samples are the trainer's now.
    drop(device);
    for expected in [normalised, 0] {
        let before = simulator::bytes_to_host();
        saved(trainer, &path);
        let copied = simulator::bytes_to_host() - before;
        assert!((expected..expected + normalised / 2).contains(&copied), "{copied} bytes came to the host");
    }
    // SAFETY: live handles.
    unsafe {
        ok(sfeuot_trainer_step(trainer, 1, null_mut()));
        ok(sfeuot_trainer_release(trainer));
        ok(sfeuot_context_release(context));
    }
}

#[test]
fn a_gpu_that_fails_while_it_reads_samples_gives_back_what_was_taken() {
    let test = "a_gpu_that_fails_while_it_reads_samples_gives_back_what_was_taken";
    // Alone, as the driver's objects are counted.
    if !simulator::alone_and_simulated(test, &[]) {
        return;
    }
    let _primary = Primary::new(0).expect("a GPU");
    let context = open(|_| ());
    let values: Vec<f64> = (0..2 * ROWS).map(|i| (i as f64 * 0.37).sin()).collect();
    let device = Memory::of(&values);
    let mut problem = Problem::new();
    use_doubles(&mut problem.target, SFEUOT_MEMORY_CUDA, device.at(0), ROWS);
    // What is taken for good is taken by the first.
    let mut trainer = null_mut();
    ok(problem.create(context, &mut trainer));
    // SAFETY: a live handle.
    ok(unsafe { sfeuot_trainer_release(trainer) });
    let before = simulator::live();
    for (function, most) in [
        (c"cuMemAlloc", 10),
        (c"cuMemcpyHtoDAsync", 4),
        (c"cuMemcpyDtoHAsync", 4),
        (c"cuLaunchKernel", 3),
        (c"cuMemsetD8Async", 2),
    ] {
        for calls in 0..most {
            simulator::fail_after(function, calls, 999);
            let mut trainer = null_mut();
            let status = problem.create(context, &mut trainer);
            assert!(!simulator::forget_failures(), "{function:?} is called more than {calls} times");
            assert_eq!(status, SFEUOT_ERROR_DEVICE, "{function:?} after {calls}: {}", last_error());
            assert_eq!(simulator::live(), before, "{function:?} after {calls}");
        }
    }
    ok(problem.create(context, &mut trainer));
    // SAFETY: live handles.
    unsafe {
        ok(sfeuot_trainer_release(trainer));
        ok(sfeuot_context_release(context));
    }
}

#[test]
fn device_memory_is_read_after_what_the_stream_has_to_do_before() {
    let Some(_primary) = Primary::new(0) else { return };
    let problem = Problem::new();
    let handles = handles(&problem, |_| ());
    let (stream, folder) = (stream_of(handles.context), scratch("cuda_order"));
    let values = problem.source.values.clone();
    let from = pinned(&values);
    let memory = Memory::of(&vec![0f32; values.len()]);
    // SAFETY: both have as many bytes.
    let fill = || check(unsafe { sys::cuMemcpyHtoDAsync_v2(memory.address, from.cast(), memory.bytes, stream) });

    let expected = beginning(handles.context, &problem, &folder.join("host"));
    let mut on_gpu = Problem::new();
    (on_gpu.source.samples.memory, on_gpu.source.samples.data) = (SFEUOT_MEMORY_CUDA, memory.at(0));
    fill();
    assert!(beginning(handles.context, &on_gpu, &folder.join("device")) == expected);

    let expected = plain(handles.session, &values, DIMENSION);
    // SAFETY: both have as many bytes.
    check(unsafe { sys::cuMemsetD8Async(memory.address, 0, memory.bytes, stream) });
    fill();
    let rows = on_device(memory.at(0), &[ROWS as i64, 2]);
    ok(generate(handles.session, &rows, &rows));
    assert!(memory.floats(stream) == expected, "in place");
    // SAFETY: allocated above, and nothing is queued on it.
    check(unsafe { sys::cuMemFreeHost(from.cast()) });
}

/// A context that is not the primary one, with memory in it.
fn foreign(device: i32) -> (sys::CUcontext, u64) {
    let (mut context, mut address) = (null_mut(), 0);
    // SAFETY: local outputs.
    unsafe {
        check(sys::cuCtxCreate_v4(&mut context, null_mut(), 0, device));
        check(sys::cuMemAlloc_v2(&mut address, 4096));
        check(sys::cuCtxPopCurrent_v2(&mut null_mut()));
    }
    (context, address)
}

#[test]
fn what_is_not_memory_of_the_context_is_refused() {
    let test = "what_is_not_memory_of_the_context_is_refused";
    if !simulator::alone_and_simulated(test, &[("SFEUOT_SIM_DEVICES", "2")]) {
        return;
    }
    let _primary = Primary::new(0).expect("a GPU");
    let problem = Problem::new();
    let handles = handles(&problem, |_| ());
    let values = problem.source.values.clone();
    let (good, other) = (Memory::of(&values), Memory::of(&values));
    let managed = Memory::managed(&values);
    let gone = Memory::of(&values).at(0);
    let host = pinned(&values);
    let ((_, beside), (_, far)) = (foreign(0), foreign(1));
    let there = |address: u64| without_provenance::<c_void>(address as usize);
    const NOT: &str = "is not device memory";
    let rows = ROWS as i64;
    let broken: &[(*const c_void, i64, &str)] = &[
        (good.at(0), rows + 1, "has 256 bytes up to the end of its allocation, but 264 are needed"),
        (good.at(8), rows, "has 248 bytes"),
        (managed.at(0), rows + 1, "has 256 bytes up to the end of its allocation, but 264 are needed"),
        (managed.at(8), rows, "has 248 bytes"),
        (good.at(good.bytes), 1, NOT),
        (values.as_ptr().cast(), rows, NOT),
        (host.cast_const().cast(), rows, NOT),
        (gone, rows, NOT),
        (without_provenance(64), rows, NOT),
        (there(beside), rows, "is memory of another CUDA context"),
        (there(far), rows, "is memory of GPU 1"),
    ];
    for &(data, rows, part) in broken {
        let shape = [rows, 2];
        let (bad, fine) = (on_device(data, &shape), on_device(other.at(0), &shape));
        for (source, generated, name) in [(&bad, &fine, "source"), (&fine, &bad, "generated")] {
            // The shorter of the two is refused.
            let name = if rows as usize > ROWS { "source" } else { name };
            refused(generate(handles.session, source, generated), SFEUOT_ERROR_INVALID_ARGUMENT, part);
            assert!(
                last_error().contains(&format!("{name} (0x")) && last_error().contains("GPU 0"),
                "{}",
                last_error()
            );
        }
        let mut trainer = null_mut();
        for weights in [false, true] {
            let mut problem = Problem::new();
            let (side, shape) = (&mut problem.target, [rows, 2]);
            let name = if weights {
                if rows as usize != ROWS || part.contains("248") {
                    continue;
                }
                (side.weights.memory, side.weights.dtype, side.weights.data) = (SFEUOT_MEMORY_CUDA, 0, data);
                "target.weights.data (0x"
            } else {
                // Shapes are compared before memory is looked at, so weights would have to fit.
                side.data.weights = std::ptr::null();
                (side.samples.memory, side.samples.data, side.samples.shape) =
                    (SFEUOT_MEMORY_CUDA, data, shape.as_ptr());
                "target.samples.data (0x"
            };
            refused(problem.create(handles.context, &mut trainer), SFEUOT_ERROR_INVALID_ARGUMENT, part);
            assert!(trainer.is_null() && last_error().contains(name), "{}", last_error());
        }
    }
    // Strides that leave the allocation on its lower side.
    let mut problem = Problem::new();
    (problem.source.samples.memory, problem.source.samples.data) = (SFEUOT_MEMORY_CUDA, good.at(8));
    problem.source.samples.strides = const { &[-2i64, 1] }.as_ptr();
    refused(problem.create(handles.context, &mut null_mut()), SFEUOT_ERROR_INVALID_ARGUMENT, "source.samples.data (0x");
    // A DLPack tensor of the other GPU is seen to be there when it is used.
    let mut shape = [rows, 2];
    let mut dlpack = DlpackTensor::new(&mut [], &mut shape);
    (dlpack.device_type, dlpack.device_id, dlpack.data) = (2, 1, without_provenance_mut(far as usize));
    let mut view = init(sfeuot_tensor_init);
    // SAFETY: a DLPack tensor and a tensor that was filled.
    ok(unsafe { sfeuot_tensor_from_dlpack((&raw const dlpack).cast(), &mut view) });
    refused(generate(handles.session, &view, &view), SFEUOT_ERROR_INVALID_ARGUMENT, "is memory of GPU 1");
    // On the context that it belongs to, it is fine.
    let second = open(|config| config.cuda_device = 1);
    // SAFETY: a live handle.
    ok(unsafe { sfeuot_context_release(second) });

    let fine = on_device(other.at(0), &shape);
    ok(generate(handles.session, &fine, &fine));
    // SAFETY: allocated above, and nothing is queued on it.
    check(unsafe { sys::cuMemFreeHost(host.cast()) });
}

#[test]
fn rows_on_the_device_give_the_bits_of_rows_of_the_host_without_a_wait() {
    let test = "rows_on_the_device_give_the_bits_of_rows_of_the_host_without_a_wait";
    // Alone, as the driver's calls are counted.
    if !simulator::load_with_compiler() || !simulator::alone(test, &[]) {
        return;
    }
    let _primary = Primary::new(0).expect("a GPU");
    let problem = Problem::new();
    let rows = ROWS as i64;
    for products in [SFEUOT_PRODUCTS_FUSED, SFEUOT_PRODUCTS_CUBLASLT] {
        let handles = handles(&problem, |config| config.cuda_products = products);
        let (session, stream) = (handles.session, stream_of(handles.context));
        let values = &problem.source.values;
        let expected = plain(session, values, DIMENSION);
        let (source, to) = (Memory::of(values), Memory::of(&vec![0f32; values.len()]));
        let shape = [rows, 2];
        let counts =
            || if simulator::real_gpu() { (0, 0) } else { (simulator::synchronisations(), simulator::launches()) };
        let before = counts();
        ok(generate(session, &on_device(source.at(0), &shape), &on_device(to.at(0), &shape)));
        // Nothing has run either: the call has only queued.
        assert_eq!(counts(), before);
        assert!(to.floats(stream) == expected, "{products}");
        assert!(source.floats(stream) == *values, "the source is only read");

        // In place, and in every second row of a wider array that source and output share.
        let both = on_device(source.at(0), &shape);
        ok(generate(session, &both, &both));
        assert!(source.floats(stream) == expected, "in place");
        let wide: Vec<f32> = values.chunks(2).flat_map(|row| [row[0], row[1], 7.0, 8.0, 9.0]).collect();
        let wide = Memory::of(&wide);
        let strides = [5, 1];
        let strided = |first: usize| tensor(SFEUOT_MEMORY_CUDA, wide.at(4 * first), &shape, Some(&strides));
        ok(generate(session, &strided(0), &strided(2)));
        for (row, (source, expected)) in wide.floats(stream).chunks(5).zip(values.chunks(2).zip(expected.chunks(2))) {
            assert!(row[..2] == *source && row[2..4] == *expected && row[4] == 9.0, "{row:?}");
        }

        // A call with more rows takes memory anew, and leaves what is queued on the old.
        let mut fresh = null_mut();
        // SAFETY: a live handle and a local output.
        ok(unsafe { sfeuot_session_create(handles.model, &mut fresh) });
        let (from, to) = (Memory::of(values), Memory::of(&vec![0f32; values.len()]));
        for rows in [1, 3, rows] {
            ok(generate(fresh, &on_device(from.at(0), &[rows, 2]), &on_device(to.at(0), &[rows, 2])));
            let back = Memory::of(&vec![0f32; 2 * rows as usize]);
            ok(generate(fresh, &on_device(from.at(0), &[rows, 2]), &on_device(back.at(0), &[rows, 2])));
            assert!(back.floats(stream) == expected[..2 * rows as usize], "{rows} rows");
        }
        assert!(to.floats(stream) == expected);
        // SAFETY: a live handle.
        ok(unsafe { sfeuot_session_release(fresh) });

        // Host tensors go the other way, and the two do not mix.
        let mut out = vec![0f32; values.len()];
        let host = tensor(SFEUOT_MEMORY_HOST, values.as_ptr().cast(), &shape, None);
        ok(generate(session, &host, &tensor(SFEUOT_MEMORY_HOST, out.as_mut_ptr().cast(), &shape, None)));
        assert_eq!(out, expected);
        refused(generate(session, &host, &both), SFEUOT_ERROR_INVALID_ARGUMENT, "SFEUOT_MEMORY_CUDA (1)");
        // Doubles that lie apart from each other become the same floats.
        let mut doubles = vec![0f64; 4 * values.len()];
        values.iter().enumerate().for_each(|(i, &value)| doubles[2 * i] = value.into());
        let mut strided = tensor(SFEUOT_MEMORY_HOST, doubles.as_ptr().cast(), &shape, Some(&[4, 2]));
        strided.dtype = SFEUOT_DTYPE_F64;
        out.fill(0.0);
        ok(generate(session, &strided, &tensor(SFEUOT_MEMORY_HOST, out.as_mut_ptr().cast(), &shape, None)));
        assert_eq!(out, expected);
        ok(generate(session, &strided, &strided));
        assert!(expected.iter().enumerate().all(|(i, &value)| doubles[2 * i] == f64::from(value)));
    }
}

#[test]
fn more_rows_than_are_carried_at_once_are_the_same_rows() {
    let Some(_primary) = Primary::new(0) else { return };
    let mut problem = Problem::new();
    let shape = [2 * ROWS as i64, 1];
    for side in [&mut problem.source, &mut problem.target] {
        side.samples.shape = shape.as_ptr();
        side.data.weights = std::ptr::null();
    }
    (problem.config.hidden_width, problem.config.hidden_layers, problem.config.latent_dimension) = (4, 1, 1);
    let handles = handles(&problem, |_| ());
    let rows = (1 << 16) + 77;
    let values: Vec<f32> = (0..rows).map(|i| (i % 1000) as f32 / 1000.0).collect();
    let memory = Memory::of(&values);
    let tensor = on_device(memory.at(0), const { &[(1 << 16) + 77] });
    let expected = plain(handles.session, &values, 1);
    ok(generate(handles.session, &tensor, &tensor));
    assert!(memory.floats(stream_of(handles.context)) == expected);
    // The rows behind the first piece, alone.
    let (mut alone, from) = (vec![0f32; 77], 1usize << 16);
    let first = 5 + from as u64;
    let tail = &values[from..];
    // SAFETY: arrays of as many rows.
    ok(unsafe { sfeuot_session_generate(handles.session, tail.as_ptr(), 77, 3, first, alone.as_mut_ptr()) });
    assert_eq!(alone, expected[from..]);
}

#[test]
fn work_that_is_queued_outlives_what_it_was_queued_by() {
    let Some(_primary) = Primary::new(0) else { return };
    let problem = Problem::new();
    let mut stream = null_mut();
    // SAFETY: a local output.
    check(unsafe { sys::cuStreamCreate(&mut stream, 1) });
    for own in [false, true] {
        let handles = handles(&problem, |config| {
            config.cuda_stream = if own { stream.cast() } else { null_mut() };
        });
        let expected = plain(handles.session, &problem.source.values, DIMENSION);
        let (source, to) = (Memory::of(&problem.source.values), Memory::of(&[0f32; ROWS * DIMENSION]));
        let shape = [ROWS as i64, 2];
        ok(generate(handles.session, &on_device(source.at(0), &shape), &on_device(to.at(0), &shape)));
        drop(handles);
        assert!(to.floats(stream) == expected, "own stream: {own}");
    }
    // SAFETY: made above; nothing is queued on it.
    check(unsafe { sys::cuStreamDestroy_v2(stream) });
}

#[test]
fn what_is_not_finite_stays_in_its_row() {
    let Some(_primary) = Primary::new(0) else { return };
    let problem = Problem::new();
    for products in [SFEUOT_PRODUCTS_FUSED, SFEUOT_PRODUCTS_CUBLASLT] {
        let handles = handles(&problem, |config| config.cuda_products = products);
        let mut values = problem.source.values.clone();
        let expected = plain(handles.session, &values, DIMENSION);
        let spoilt = [(3, f32::NAN), (10, f32::INFINITY), (ROWS - 1, f32::NEG_INFINITY)];
        for (row, value) in spoilt {
            values[row * DIMENSION] = value;
        }
        let memory = Memory::of(&values);
        let tensor = on_device(memory.at(0), const { &[ROWS as i64, 2] });
        ok(generate(handles.session, &tensor, &tensor));
        let found = memory.floats(stream_of(handles.context));
        for (row, (found, expected)) in found.chunks(DIMENSION).zip(expected.chunks(DIMENSION)).enumerate() {
            if spoilt.iter().any(|&(bad, _)| bad == row) {
                assert!(found.iter().any(|x| !x.is_finite()), "row {row}: {found:?}");
            } else {
                assert_eq!(found, expected, "row {row}");
            }
        }
        // SAFETY: a live handle.
        ok(unsafe { sfeuot_context_synchronize(handles.context) });
    }
}

#[test]
fn dlpack_tensors_on_the_gpu_are_views_of_it() {
    let Some(_primary) = Primary::new(0) else { return };
    let problem = Problem::new();
    let handles = handles(&problem, |_| ());
    let expected = plain(handles.session, &problem.source.values, DIMENSION);
    let mut shape = [ROWS as i64, 2];
    let memory = Memory::of(&problem.source.values);
    let mut dlpack = DlpackTensor::new(&mut [], &mut shape);
    let view = |dlpack: &DlpackTensor| {
        let mut view = init(sfeuot_tensor_init);
        // SAFETY: a DLPack tensor and a tensor that was filled.
        ok(unsafe { sfeuot_tensor_from_dlpack((&raw const *dlpack).cast(), &mut view) });
        view
    };
    dlpack.device_type = 2;
    // The offset of a slice: the view begins where the rows do.
    dlpack.data = without_provenance_mut(memory.address as usize - 64);
    dlpack.byte_offset = 64;
    let writable = view(&dlpack);
    assert_eq!((writable.memory, writable.data), (SFEUOT_MEMORY_CUDA, memory.at(0)));
    dlpack.flags = 1;
    let read_only = view(&dlpack);
    refused(
        generate(handles.session, &writable, &read_only),
        SFEUOT_ERROR_INVALID_ARGUMENT,
        "generated.read_only is 1",
    );
    ok(generate(handles.session, &read_only, &writable));
    assert!(memory.floats(stream_of(handles.context)) == expected);

    // Pinned memory is the host's.
    let (from, to) = (pinned(&problem.source.values), pinned(&[0f32; ROWS * DIMENSION]));
    let mut host = DlpackTensor::new(&mut [], &mut shape);
    host.device_type = 3;
    host.data = from.cast();
    let source = view(&host);
    host.data = to.cast();
    ok(generate(handles.session, &source, &view(&host)));
    // SAFETY: there when the call returned.
    assert!(unsafe { std::slice::from_raw_parts(to, ROWS * DIMENSION) } == expected);
    for at in [from, to] {
        // SAFETY: allocated above, and nothing is queued on it.
        check(unsafe { sys::cuMemFreeHost(at.cast()) });
    }
}

#[test]
fn a_failed_call_reads_its_pinned_source_no_more() {
    let test = "a_failed_call_reads_its_pinned_source_no_more";
    if !simulator::alone_and_simulated(test, &[]) {
        return;
    }
    let _primary = Primary::new(0).expect("a GPU");
    let problem = Problem::new();
    let handles = handles(&problem, |_| ());
    let source = pinned(&problem.source.values);
    let mut out = vec![0f32; ROWS * DIMENSION];
    simulator::fail_next(c"cuLaunchKernel", 999);
    // SAFETY: arrays of as many rows.
    let status = unsafe { sfeuot_session_generate(handles.session, source, ROWS as u64, 3, 5, out.as_mut_ptr()) };
    refused(status, SFEUOT_ERROR_DEVICE, "CUDA_ERROR_UNKNOWN");
    // The simulated driver ends the process where a copy comes to memory that is gone.
    // SAFETY: allocated above, and nothing is queued on it.
    check(unsafe { sys::cuMemFreeHost(source.cast()) });
    ok(unsafe { sfeuot_context_synchronize(handles.context) });
    assert!(plain(handles.session, &problem.source.values, DIMENSION).iter().all(|x| x.is_finite()));
}
