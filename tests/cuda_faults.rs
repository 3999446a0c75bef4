//! Where a GPU cannot be used, or fails: a status and a sentence that says what was found and what is needed, and all
//! that was taken is given back. And whose contexts and streams are used. On the simulated driver alone.
#![cfg(target_os = "linux")]

mod problems;
#[path = "common/simulator.rs"]
mod simulator;

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::path::Path;
use std::process::Command;
use std::ptr::{null_mut, without_provenance_mut};
use std::sync::{Arc, Mutex};

use cudarc::driver::sys;
use problems::*;
use sfeuot::*;

const OUT_OF_MEMORY: i32 = 2;
const UNKNOWN: i32 = 999;
/// Of cublasLt.
const EXECUTION_FAILED: i32 = 13;

type Lines = Arc<Mutex<Vec<(LogLevel, String)>>>;

fn open(device: DeviceKind, cuda: CudaConfig) -> (Result<Context>, Vec<(LogLevel, String)>) {
    let lines = Lines::default();
    let sink = Arc::clone(&lines);
    let config = ContextConfig {
        device,
        cuda,
        threads: 1,
        log: Some(Box::new(move |level, text| sink.lock().unwrap().push((level, text.to_owned())))),
        log_level: LogLevel::Info,
    };
    let context = Context::new(config);
    let lines = lines.lock().unwrap().clone();
    (context, lines)
}

fn gpu(cuda: CudaConfig) -> Context {
    open(DeviceKind::Cuda, cuda).0.expect("a GPU")
}

fn with(products: Products) -> CudaConfig {
    CudaConfig { products, ..Default::default() }
}

/// A problem whose steps are a few launches of a few blocks.
fn tiny() -> TrainerConfig {
    TrainerConfig { hidden_width: 8, batch_sources: 3, components: 2, ..small() }
}

/// CUDA is refused and AUTO the CPU, both for a reason that has these parts; the CPU then trains.
fn cannot_be_used(parts: &[&str]) {
    let refused = open(DeviceKind::Cuda, CudaConfig::default()).0.expect_err("no GPU");
    assert!(matches!(refused, Error::UnsupportedDevice(_)), "{refused:?}");
    let (context, lines) = open(DeviceKind::Auto, CudaConfig::default());
    let context = context.expect("the CPU");
    assert!(context.gpu_info().is_none());
    let why: Vec<_> = lines.iter().filter(|(_, text)| text.starts_with("device AUTO is the CPU")).collect();
    assert_eq!(why.len(), 1, "{lines:?}");
    // Only where there is no driver may nobody care.
    let level = if parts.contains(&"no NVIDIA driver") { LogLevel::Info } else { LogLevel::Warn };
    assert_eq!(why[0].0, level, "{lines:?}");
    for part in parts {
        assert!(refused.to_string().contains(part), "{part:?} is not in {refused}");
        assert!(why[0].1.contains(part), "{part:?} is not in {lines:?}");
    }
    Clouds::new(1).trainer(&context, tiny()).step(1).expect("sound");
}

type Settings = &'static [(&'static str, &'static str)];

/// A GPU that cannot be used: the driver's settings, and what the sentence has to say.
const UNUSABLE: &[(Settings, &[&str])] = &[
    (&[("SFEUOT_SIM_DRIVER_VERSION", "11020")], &["CUDA 11.2", "CUDA 11.4", "update the driver"]),
    (&[("SFEUOT_SIM_DEVICES", "0")], &["CUDA 13.0", "CUDA_ERROR_NO_DEVICE"]),
    (
        &[("SFEUOT_SIM_NO_BINARY", "1")],
        &["Simulated GPU", "capability 9.0", "compiled here with CUDA_ERROR_NO_BINARY_FOR_GPU"],
    ),
    (&[("SFEUOT_SIM_UNSUPPORTED_PTX", "1")], &["CUDA 13.0", "compiled here with CUDA_ERROR_UNSUPPORTED_PTX_VERSION"]),
    (
        &[("SFEUOT_SIM_ONLY_COMPILED", "1"), ("SFEUOT_SIM_BROKEN_COMPILER", "1")],
        &["embedded", "NVRTC 13.0 does not compile", "broken on purpose"],
    ),
    (&[("SFEUOT_SIM_ONLY_COMPILED", "1"), ("SFEUOT_SIM_CAPABILITY", "30")], &["capability 3.0", "NVRTC 13.0", "75"]),
];

#[test]
fn what_cannot_be_used_says_why_and_auto_is_the_cpu() {
    for (number, (settings, _)) in UNUSABLE.iter().enumerate() {
        let number = number.to_string();
        let settings = [*settings, &[("SFEUOT_TEST_CASE", &number)]].concat();
        if !simulator::alone_and_simulated("what_cannot_be_used_says_why_and_auto_is_the_cpu", &settings) {
            continue;
        }
        let case = std::env::var("SFEUOT_TEST_CASE").unwrap().parse::<usize>().unwrap();
        // An image that another process had compiled would be found in its cache.
        let cache = scratch(&format!("cache_of_case{case}"));
        let _ = std::fs::remove_dir_all(&cache);
        // SAFETY: no other thread of this process reads the environment.
        unsafe { std::env::set_var("SFEUOT_CACHE_DIR", cache) };
        cannot_be_used(UNUSABLE[case].1);
        return;
    }
}

#[test]
fn no_driver_is_named_and_auto_is_the_cpu() {
    if std::env::var_os("SFEUOT_TEST_CHILD").is_none() {
        let output = Command::new(std::env::current_exe().expect("the test's own path"))
            .args(["--exact", "no_driver_is_named_and_auto_is_the_cpu", "--nocapture"])
            .env("SFEUOT_TEST_CHILD", "none")
            .env_remove("LD_LIBRARY_PATH")
            .output()
            .expect("the test's own program starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    // The machine may have a driver of its own.
    // SAFETY: loads a library by its well-known names.
    if unsafe { !sys::is_culib_present() } {
        assert_eq!(devices().expect("none"), []);
        cannot_be_used(&["no NVIDIA driver", "libcuda.so", "needs one installed"]);
    }
}

#[test]
fn an_image_that_the_driver_refuses_is_replaced_by_a_compiled_one() {
    let test = "an_image_that_the_driver_refuses_is_replaced_by_a_compiled_one";
    if !simulator::alone_and_simulated(test, &[("SFEUOT_SIM_ONLY_COMPILED", "1")]) {
        return;
    }
    let (context, lines) = open(DeviceKind::Auto, CudaConfig::default());
    let context = context.expect("a GPU");
    assert!(context.gpu_info().is_some());
    let told = |parts: [&str; 2]| lines.iter().any(|(_, text)| parts.iter().all(|part| text.contains(part)));
    assert!(told(["embedded", "compiling the kernels"]) && told(["device CUDA 0", "Simulated GPU"]), "{lines:?}");
    Clouds::new(1).trainer(&context, tiny()).step(1).expect("sound");
}

#[test]
fn a_gpu_without_the_tensor_cores_refuses_them_and_auto_is_the_cpu() {
    let test = "a_gpu_without_the_tensor_cores_refuses_them_and_auto_is_the_cpu";
    if !simulator::alone_and_simulated(test, &[("SFEUOT_SIM_CAPABILITY", "75")]) {
        return;
    }
    for (precision, name) in [(Precision::Tf32, "TF32"), (Precision::Bf16, "BF16")] {
        let cuda = || CudaConfig { precision, ..CudaConfig::default() };
        let refused = open(DeviceKind::Cuda, cuda()).0.expect_err("an older GPU");
        assert!(matches!(refused, Error::UnsupportedDevice(_)), "{refused}");
        for part in ["cuda_precision", name, "Simulated GPU", "compute capability 7.5", "8.0"] {
            assert!(refused.to_string().contains(part), "{part:?} is not in {refused}");
        }
        assert!(open(DeviceKind::Auto, cuda()).0.expect("the CPU").gpu_info().is_none());
    }
    let context = gpu(CudaConfig::default());
    Clouds::new(1).trainer(&context, tiny()).step(1).expect("sound");
}

#[test]
fn memory_that_runs_out_is_given_back() {
    if !simulator::alone_and_simulated("memory_that_runs_out_is_given_back", &[]) {
        return;
    }
    let context = gpu(with(Products::Fused));
    let clouds = Clouds::new(2);
    let state = || (context.device_memory(), simulator::live());
    let out = |error: Error| {
        assert!(matches!(error, Error::OutOfMemory(_)), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("GPU 0 (Simulated GPU)") && text.contains("no memory left"), "{text}");
    };
    let make = || Trainer::new(&context, tiny(), array(&clouds.source, 2), array(&clouds.target, 2));
    let before = state();
    for bytes in [1000, 10_000, 20_000] {
        simulator::set_memory(bytes);
        out(make().err().expect("no room"));
        assert_eq!(state(), before, "{bytes} bytes");
    }
    simulator::set_memory(1 << 30);
    let mut trainer = make().expect("room");
    trainer.step(2).expect("sound");

    for after in 0..3 {
        let before = state();
        simulator::fail_after(c"cuMemAlloc", after, OUT_OF_MEMORY);
        out(trainer.model().err().expect("no room"));
        assert_eq!(state(), before);
    }
    let model = trainer.model().expect("room");
    let mut session = Session::new(&model).expect("a workspace");
    let before = state();
    let x = floats(&clouds.source);
    let mut out_rows = vec![0.0; x.len()];
    simulator::fail_next(c"cuMemAlloc", OUT_OF_MEMORY);
    out(session.generate(&x, 1, 0, &mut out_rows).expect_err("no room"));
    assert_eq!(state(), before);
    session.generate(&x, 1, 0, &mut out_rows).expect("room");
    trainer.step(2).expect("sound");
    drop((session, model, trainer));
    assert_eq!(context.device_memory(), 0);
}

#[test]
fn where_halves_beside_each_other_do_not_fit_one_after_the_other_they_give_the_same_bits() {
    let test = "where_halves_beside_each_other_do_not_fit_one_after_the_other_they_give_the_same_bits";
    if !simulator::alone_and_simulated(test, &[]) {
        return;
    }
    let context = gpu(with(Products::Fused));
    let clouds = Clouds::new(2);
    for config in forms() {
        // On a GPU with so much memory: what the training takes of it, and what it gives.
        let train = |memory: u64| {
            simulator::set_memory(memory);
            let mut trainer = clouds.trainer(&context, config.clone());
            let taken = context.device_memory();
            simulator::set_memory(1 << 30);
            let batches = simulator::graph().lines().filter(|line| line.starts_with("batch_draw")).count();
            assert_eq!(batches, 2, "the batch is in one piece");
            let metrics = trainer.step(3).expect("sound");
            (taken, weights(&mut trainer), Metrics { steps_per_second: 0.0, ..metrics })
        };
        let (most, expected, metrics) = train(1 << 30);
        let (least, found, same) = train(most - 1);
        assert!(least < most, "{least} bytes of {most}");
        assert!(found == expected && same == metrics, "{config:?}");
        assert_eq!(context.device_memory(), 0);
    }
}

#[test]
fn memory_limit_is_kept_by_each_object_and_names_itself() {
    if !simulator::alone_and_simulated("memory_limit_is_kept_by_each_object_and_names_itself", &[]) {
        return;
    }
    let clouds = Clouds::new(2);
    let free = gpu(with(Products::Fused));
    let mut trainer = clouds.trainer(&free, tiny());
    let taken = free.device_memory();
    let path = scratch("limited.model");
    let model = trainer.model().expect("room");
    let of_model = free.device_memory() - taken;
    model.save(&path).expect("writable");

    let limited = |memory_limit| gpu(CudaConfig { memory_limit, ..with(Products::Fused) });
    let out = |context: &Context, before: (u64, u64), error: Error| {
        assert!(matches!(error, Error::OutOfMemory(_)), "{error:?}");
        assert!(error.to_string().contains("memory_limit"), "{error}");
        assert_eq!((context.device_memory(), simulator::live()), before);
    };
    let tight = limited(taken);
    let mut trainer = clouds.trainer(&tight, tiny());
    trainer.step(1).expect("sound");
    let before = (taken, simulator::live());
    out(&tight, before, trainer.model().err().expect("no room"));
    trainer.step(1).expect("sound");
    drop(trainer);
    Model::load(&tight, &path).expect("room again");

    let full = limited(of_model + 64);
    let model = Model::load(&full, &path).expect("room");
    let mut session = Session::new(&model).expect("a workspace");
    let x = floats(&clouds.source);
    let before = (of_model, simulator::live());
    out(&full, before, session.generate(&x, 1, 0, &mut vec![0.0; x.len()]).expect_err("no room"));

    // With room for a few rows a session takes many, a few at a time.
    let few = limited(of_model + 20_000);
    let mut session = Session::new(&Model::load(&few, &path).expect("room")).expect("a workspace");
    let mut whole = Session::new(&Model::load(&free, &path).expect("room")).expect("a workspace");
    let [mut a, mut b] = [0; 2].map(|_| vec![0.0; x.len()]);
    session.generate(&x, 1, 0, &mut a).expect("room");
    whole.generate(&x, 1, 0, &mut b).expect("room");
    assert!(a == b, "rows drawn in pieces are other bits");
    assert!(few.device_memory() <= of_model + 20_000);
}

/// The distance from one limit to the next.
const LIMITS: u64 = 97;

/// Takes every other limit from the `first` one on, and gives the least that are enough for a training and for a session;
/// all above these have to be.
fn least_limits(first: u64) -> [u64; 2] {
    let clouds = Clouds::new(2);
    let config = TrainerConfig { batch_sources: 64, ..tiny() };
    let limited = |memory_limit| gpu(CudaConfig { memory_limit, ..with(Products::Fused) });
    let fits = |context: &Context| {
        Trainer::new(context, config.clone(), array(&clouds.source, 2), array(&clouds.target, 2)).is_ok()
    };
    let free = limited(0);
    let trainer = clouds.trainer(&free, config.clone());
    let whole = free.device_memory();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("raised.model");
    Clouds::new(2).model(tiny(), 1).save(&path).expect("writable");
    let x = floats(&clouds.source);
    let (mut least, mut least_drawn) = (None, None);
    for limit in (whole / 8 + LIMITS * first..whole + 100).step_by(2 * LIMITS as usize) {
        let context = limited(limit);
        if fits(&context) {
            least.get_or_insert(limit);
        } else {
            assert_eq!(least, None, "{limit} bytes are too few");
        }
        assert_eq!(context.device_memory(), 0);
        let Ok(model) = Model::load(&context, &path) else { continue };
        let mut session = Session::new(&model).expect("a workspace");
        if session.generate(&x, 1, 0, &mut vec![0.0; x.len()]).is_ok() {
            least_drawn.get_or_insert(limit);
        } else {
            assert_eq!(least_drawn, None, "{limit} bytes are too few for a session");
        }
    }
    assert!(least.expect("some limit is enough") < whole && fits(&limited(whole)));
    drop(trainer);
    [least, least_drawn].map(|limit| limit.expect("some limit is enough"))
}

/// In two processes, as a simulated GPU does one thing after the other.
#[test]
fn a_memory_limit_that_is_enough_stays_so_when_it_is_raised() {
    if !simulator::simulated() || !simulator::load_with_compiler() {
        return;
    }
    const HALF: &str = "SFEUOT_TEST_HALF";
    if let Ok(half) = std::env::var(HALF) {
        let [training, session] = least_limits(half.parse().expect("0 or 1"));
        println!("least limits: {training} {session} bytes");
        return;
    }
    let name = "a_memory_limit_that_is_enough_stays_so_when_it_is_raised";
    let least = |half: &str| -> Vec<u64> {
        let output = simulator::in_child(name, &[(HALF, half)]).expect("this is the parent");
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
        let (_, limits) = told.split_once("least limits: ").expect("the child tells them");
        limits.split(' ').take(2).map(|limit| limit.parse().expect("a number")).collect()
    };
    let (even, odd) = std::thread::scope(|scope| {
        let odd = scope.spawn(|| least("1"));
        (least("0"), odd.join().expect("the other half"))
    });
    for (even, odd) in even.iter().zip(&odd) {
        assert_eq!(even.abs_diff(*odd), LIMITS, "all limits above the least one are enough");
    }
}

/// The driver's functions that the library's sources call, and those of cublasLt that the simulated one lets fail.
fn called() -> BTreeSet<CString> {
    fn visit(folder: &Path, texts: &mut String) {
        for entry in std::fs::read_dir(folder).expect("the sources") {
            let path = entry.expect("a folder entry").path();
            if path.is_dir() && !path.ends_with("tests") {
                visit(&path, texts);
            } else if path.extension().is_some_and(|e| e == "rs") {
                texts.push_str(&std::fs::read_to_string(path).expect("UTF-8"));
            }
        }
    }
    let mut text = String::new();
    visit(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut text);
    let names = text.split("sys::").skip(1).map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next());
    let of_driver = |name: &&str| name.len() > 3 && name.starts_with("cu") && name.as_bytes()[2].is_ascii_uppercase();
    let names: BTreeSet<&str> = names.flatten().filter(of_driver).collect();
    assert!(names.len() > 30 && names.contains("cuMemAlloc_v2"), "{names:?}");
    let library = ["Create", "MatmulDescCreate", "MatrixLayoutCreate", "MatmulPreferenceCreate", "Matmul"];
    let library = library.iter().copied().chain(["MatmulAlgoGetHeuristic"]).map(|name| format!("cublasLt{name}"));
    names.into_iter().map(str::to_owned).chain(library).map(|name| CString::new(name).expect("no NUL")).collect()
}

/// What a host does from beginning to end, with three rows of device memory and room for three; gives the bits of what
/// comes back to the host.
fn life(cuda: &CudaConfig, memory: u64, clouds: &Clouds) -> Result<Vec<u32>> {
    let (context, _) = open(DeviceKind::Cuda, cuda.clone());
    let context = context?;
    let pair = || (array(&clouds.source, 2), array(&clouds.target, 2));
    let (source, target) = pair();
    let mut trainer = Trainer::new(&context, tiny(), source, target)?;
    trainer.step(2)?;
    let model = trainer.model()?;
    let mut session = Session::new(&model)?;
    let x = floats(&clouds.source[..6]);
    let mut out = vec![0.0; 5 * x.len()];
    let (generated, rest) = out.split_at_mut(x.len());
    let (mean, rest) = rest.split_at_mut(x.len());
    let (drift, path) = rest.split_at_mut(x.len());
    session.generate(&x, 1, 0, generated)?;
    session.conditional_mean(&x, 2, 1, 0, mean)?;
    session.drift(0.5, &x, drift)?;
    session.trajectory(&x, &[0.5, 1.0], 1, 0, path)?;
    let rows = |first: u64| DeviceRows { address: memory + 8 * first, rows: 3, stride: 2 };
    // SAFETY: allocated by the caller, who waits.
    unsafe { session.generate_on_device(rows(0), 1, 0, rows(3))? };

    let sampler = |batch: &mut [f32], _: usize, _: usize| {
        batch.iter_mut().enumerate().for_each(|(i, x)| *x = (i * 7 % 5) as f32);
        Ok(())
    };
    let drawn = Data::Sampler { sample_shape: vec![2], sampler: Box::new(sampler) };
    let mut trainer = Trainer::new(&context, tiny(), drawn, pair().1)?;
    let metrics = trainer.step(2)?;
    assert_eq!(metrics.step, 2);
    context.synchronise()?;
    let numbers = [metrics.dual as f32, metrics.generator_loss as f32, metrics.action as f32];
    Ok(out.iter().chain(&numbers).map(|x| x.to_bits()).collect())
}

/// What they do not do when they fail is lost for as long as the context lives, on the real driver too.
fn gives_back(function: &CStr) -> bool {
    let name = function.to_str().expect("ASCII");
    ["Destroy", "Free", "Unload", "Release", "PushCurrent"].iter().any(|part| name.contains(part))
}

fn walk(test: &str, products: Products, hosts_own: bool) {
    if !simulator::alone_and_simulated(test, &[]) {
        return;
    }
    let clouds = Clouds::new(2);
    // Holds the primary context, so that what is left behind in it shows.
    let outer = gpu(with(Products::Fused));
    let mut context = null_mut();
    let (own, stream) = of_host(0);
    let mut memory = 0;
    // SAFETY: local outputs, a device that is there, and memory of twelve floats.
    unsafe {
        check(sys::cuDevicePrimaryCtxRetain(&mut context, 0));
        check(sys::cuCtxPushCurrent_v2(if hosts_own { own } else { context }));
        check(sys::cuMemAlloc_v2(&mut memory, 48));
        check(sys::cuMemsetD8_v2(memory, 0, 48));
        check(sys::cuCtxPopCurrent_v2(&mut null_mut()));
    }
    let place = if hosts_own { given(own, stream) } else { CudaConfig::default() };
    let cuda = CudaConfig { products, ..place };
    let life = || life(&cuda, memory, &clouds);
    let expected = life().expect("sound");
    for function in called() {
        // Early calls one by one, later ones less and less densely.
        let mut calls = 0;
        loop {
            let code = match function.to_bytes() {
                name if name.starts_with(b"cublasLt") => EXECUTION_FAILED,
                name if name.starts_with(b"cuMemAlloc") && calls % 2 == 0 => OUT_OF_MEMORY,
                _ => UNKNOWN,
            };
            let before = simulator::live();
            simulator::fail_after(&function, calls, code);
            // Of its own, as it may be left with another context.
            let result = std::thread::scope(|scope| scope.spawn(life).join());
            let missed = simulator::forget_failures();
            let what = format!("call {calls} of {function:?} fails");
            match result {
                Ok(Ok(found)) => assert!(found == expected, "{what}: other results"),
                Ok(Err(error)) => {
                    assert!(!missed, "{what}, which was not met: {error}");
                    let text = error.to_string();
                    // Where these fail, it is the host's handle that is not good.
                    let asks = ["cuStreamGetCtx", "cuPointerGetAttribute", "cuCtxPushCurrent_v2"];
                    let asks = asks.iter().any(|name| function.to_bytes() == name.as_bytes());
                    match error {
                        Error::OutOfMemory(_) => assert!(code == OUT_OF_MEMORY, "{what}: {text}"),
                        Error::Device(_) | Error::UnsupportedDevice(_) => {}
                        Error::InvalidArgument(_) if asks => {}
                        _ => panic!("{what}: {text}"),
                    }
                    assert!(text.len() > 30, "{what}: {text}");
                }
                Err(_) => panic!("{what}: a panic"),
            }
            let left = simulator::live();
            assert!(
                left == before || (gives_back(&function) && left > before),
                "{what}: {before} became {left} objects"
            );
            if missed {
                break;
            }
            calls += 1 + calls * 2 / 3;
        }
    }
    outer.synchronise().expect("it still works");
    assert!(life().expect("sound") == expected);
}

#[test]
fn a_failure_of_any_call_is_an_error_that_leaves_nothing_behind() {
    walk("a_failure_of_any_call_is_an_error_that_leaves_nothing_behind", Products::Fused, false);
}

#[test]
fn a_failure_of_any_call_is_an_error_with_cublaslt_in_a_hosts_context_too() {
    let test = "a_failure_of_any_call_is_an_error_with_cublaslt_in_a_hosts_context_too";
    walk(test, Products::CublasLt, true);
}

/// A source that a host draws, beside the target of these clouds.
fn drawn(context: &Context, clouds: &Clouds, config: TrainerConfig) -> Trainer {
    let mut seed = 0;
    let sampler = move |batch: &mut [f32], _: usize, _: usize| {
        seed += 1;
        batch.copy_from_slice(&floats(&normals(batch.len(), seed)));
        Ok(())
    };
    let source = Data::Sampler { sample_shape: vec![2], sampler: Box::new(sampler) };
    Trainer::new(context, config, source, array(&clouds.target, 2)).expect("sound")
}

/// The weights that a training holds now.
fn weights(trainer: &mut Trainer) -> Vec<u8> {
    bytes(&trainer.model().expect("sound"), "faults")
}

#[test]
fn a_step_that_cannot_be_queued_leaves_those_before_it() {
    if !simulator::alone_and_simulated("a_step_that_cannot_be_queued_leaves_those_before_it", &[]) {
        return;
    }
    let clouds = Clouds::new(2);
    let context = gpu(with(Products::Fused));
    let mut whole = clouds.trainer(&context, tiny());
    let mut trainer = clouds.trainer(&context, tiny());
    simulator::fail_after(c"cuGraphLaunch", 3, UNKNOWN);
    let failure = trainer.step(10).expect_err("a launch fails");
    assert!(matches!(failure, Error::Device(_)), "{failure}");
    assert_eq!(trainer.metrics().step, 3);
    whole.step(3).expect("sound");
    assert!(weights(&mut trainer) == weights(&mut whole));
    assert_eq!(trainer.step(2).expect("it goes on").step, 5);
    whole.step(2).expect("sound");
    assert!(weights(&mut trainer) == weights(&mut whole));

    // Each step of drawn batches is two graphs; none is half made.
    let [mut trainer, mut whole] = [0; 2].map(|_| drawn(&context, &clouds, tiny()));
    simulator::fail_after(c"cuGraphLaunch", 3, UNKNOWN);
    trainer.step(5).expect_err("a launch fails");
    assert_eq!(trainer.metrics().step, 1);
    whole.step(1).expect("sound");
    assert!(weights(&mut trainer) == weights(&mut whole));
}

#[test]
fn steps_that_cannot_be_read_end_the_trainer_and_nothing_else() {
    if !simulator::alone_and_simulated("steps_that_cannot_be_read_end_the_trainer_and_nothing_else", &[]) {
        return;
    }
    let clouds = Clouds::new(2);
    let context = gpu(with(Products::Fused));
    let [mut trainer, mut other] = [0; 2].map(|_| clouds.trainer(&context, tiny()));
    simulator::fail_next(c"cuMemcpyDtoHAsync", UNKNOWN);
    trainer.step(2).expect_err("a copy fails");
    // Weights of one step and metrics of another would make a checkpoint that lies.
    for refused in [trainer.step(1).err(), trainer.model().err(), trainer.save(&scratch("lost.checkpoint")).err()] {
        let refused = refused.expect("what it holds is not known");
        assert!(matches!(refused, Error::Device(_)) && refused.to_string().contains("checkpoint"), "{refused}");
    }
    other.step(2).expect("sound");
}

#[test]
fn an_update_that_overflows_is_a_divergence_and_leaves_finite_weights() {
    if !simulator::simulated() || !simulator::load_with_compiler() {
        return;
    }
    let clouds = Clouds::new(2);
    let context = gpu(with(Products::Fused));
    let x = floats(&clouds.source[..6]);
    // With the first rate weights are spoilt that give no finite loss; with the others they are not finite themselves.
    let networks = ["of the value function is", "of the generator is"];
    for (number, rate) in [1e38, 1e39, 1e300].into_iter().enumerate() {
        for (network, by_host) in [(0, false), (1, false), (0, true), (1, true)] {
            let mut config = tiny();
            *[&mut config.value_learning_rate, &mut config.generator_learning_rate][network] = rate;
            let what = format!("rate {rate:e} of network {network}, {by_host}");
            let mut trainer = if by_host { drawn(&context, &clouds, config) } else { clouds.trainer(&context, config) };
            let first = weights(&mut trainer);
            for _ in 0..2 {
                let failure = trainer.step(5).expect_err("weights overflow");
                assert!(matches!(failure, Error::Diverged { .. }), "{what}: {failure}");
                let of_update = failure.to_string().contains(&format!("moment {}", networks[network]));
                assert!(of_update || number == 0, "{what}: {failure}");
                assert_eq!(trainer.metrics().step, 0, "{what}");
                assert!(weights(&mut trainer) == first, "{what}: other weights");
            }
            trainer.save(&scratch("overflow.checkpoint")).expect("finite weights");
            let mut session = Session::new(&trainer.model().expect("sound")).expect("a workspace");
            let mut out = vec![0.0; x.len()];
            session.generate(&x, 1, 0, &mut out).expect("sound");
            assert!(out.iter().all(|x| x.is_finite()), "{what}: {out:?}");
        }
    }
}

fn check(status: sys::CUresult) {
    assert_eq!(status, sys::CUresult::CUDA_SUCCESS);
}

fn current() -> sys::CUcontext {
    let mut context = null_mut();
    // SAFETY: a local output.
    check(unsafe { sys::cuCtxGetCurrent(&mut context) });
    context
}

/// A context of the host's own on a device, with a stream; current on no thread.
fn of_host(device: i32) -> (sys::CUcontext, sys::CUstream) {
    let (mut context, mut stream) = (null_mut(), null_mut());
    // SAFETY: local outputs; the device is there.
    unsafe {
        check(sys::cuCtxCreate_v4(&mut context, null_mut(), 0, device));
        check(sys::cuStreamCreate(&mut stream, 1));
        check(sys::cuCtxPopCurrent_v2(&mut null_mut()));
    }
    (context, stream)
}

fn given(context: sys::CUcontext, stream: sys::CUstream) -> CudaConfig {
    CudaConfig { context: HostHandle(context.cast()), stream: HostHandle(stream.cast()), ..Default::default() }
}

#[test]
fn a_hosts_context_and_stream_are_used_and_others_are_refused() {
    let test = "a_hosts_context_and_stream_are_used_and_others_are_refused";
    if !simulator::alone_and_simulated(test, &[("SFEUOT_SIM_DEVICES", "2")]) {
        return;
    }
    let all = devices().expect("two");
    assert_eq!((all.len(), all[1].index), (2, 1));
    let ((first, stream), (same, beside), (second, far)) = (of_host(0), of_host(0), of_host(1));
    let clouds = Clouds::new(2);
    let expected = {
        let mut trainer = clouds.trainer(&gpu(CudaConfig::default()), tiny());
        trainer.step(3).expect("sound");
        weights(&mut trainer)
    };
    let works = |config: CudaConfig, index: u32| {
        let asked = config.stream;
        let context = gpu(config);
        assert_eq!(context.gpu_info().expect("a GPU").index, index);
        assert!(asked.0.is_null() || context.cuda_stream() == asked);
        assert!(!context.cuda_stream().0.is_null());
        let mut trainer = clouds.trainer(&context, tiny());
        trainer.step(3).expect("sound");
        assert!(weights(&mut trainer) == expected, "GPU {index}");
    };
    let legacy: sys::CUstream = without_provenance_mut(1);
    let per_thread: sys::CUstream = without_provenance_mut(2);
    let before = simulator::live();
    works(given(first, null_mut()), 0);
    works(given(first, stream), 0);
    works(given(second, far), 1);
    works(given(first, legacy), 0);
    works(CudaConfig { device: CudaDevice::Index(1), ..given(null_mut(), far) }, 1);
    works(CudaConfig { device: CudaDevice::Uuid(all[1].uuid), ..given(second, null_mut()) }, 1);
    works(CudaConfig { device: CudaDevice::Uuid(all[1].uuid), ..Default::default() }, 1);
    works(CudaConfig { device: CudaDevice::Index(1), ..Default::default() }, 1);
    // On a thread without a current context, and beside another one, a stream tells its context.
    for around in [null_mut(), same, second] {
        // SAFETY: null, or a live context.
        let set = |context| check(unsafe { sys::cuCtxSetCurrent(context) });
        set(around);
        works(given(null_mut(), stream), 0);
        works(given(null_mut(), far), 1);
        assert_eq!(current(), around);
        set(null_mut());
    }

    let address = |pointer: *mut std::ffi::c_void| format!("{pointer:p}");
    let (of_beside, of_far) = (address(beside.cast()), address(far.cast()));
    let refused: &[(CudaConfig, &[&str])] = &[
        (given(first, beside), &[&of_beside, &address(same.cast()), &address(first.cast()), "GPU 0"]),
        (given(first, far), &[&of_far, &address(second.cast()), &address(first.cast())]),
        (given(null_mut(), legacy), &["legacy default stream (1)", "cuda_context"]),
        (given(null_mut(), per_thread), &["per thread (2)"]),
        (given(first, per_thread), &["per thread (2)"]),
        (given(first, without_provenance_mut(64)), &["cuda_stream (0x40)", "CUDA_ERROR"]),
        (CudaConfig { device: CudaDevice::Index(1), ..given(first, stream) }, &["on GPU 0", "GPU 1 was asked for"]),
        (CudaConfig { device: CudaDevice::Uuid(all[0].uuid), ..given(null_mut(), far) }, &["on GPU 1", "GPU 0 was"]),
    ];
    for (config, parts) in refused {
        for device in [DeviceKind::Cuda, DeviceKind::Auto] {
            let refused = open(device, config.clone()).0.expect_err("not to be used");
            assert!(matches!(refused, Error::InvalidArgument(_)), "{refused:?}");
            for part in *parts {
                assert!(refused.to_string().contains(part), "{part} is not in {refused}");
            }
        }
    }
    for device in [CudaDevice::Index(2), CudaDevice::Uuid([7; 16])] {
        let refused = open(DeviceKind::Cuda, CudaConfig { device, ..Default::default() }).0.expect_err("not there");
        assert!(
            matches!(refused, Error::UnsupportedDevice(_)) && refused.to_string().contains("2: 0 (Simulated GPU, GPU-")
        );
    }
    assert_eq!(simulator::live(), before);
}

#[test]
fn the_current_context_stays_whatever_is_called() {
    if !simulator::alone_and_simulated("the_current_context_stays_whatever_is_called", &[]) {
        return;
    }
    devices().expect("the driver starts");
    let (own, _) = of_host(0);
    let clouds = Clouds::new(2);
    for around in [null_mut(), own] {
        // SAFETY: null, or a live context.
        check(unsafe { sys::cuCtxSetCurrent(around) });
        let stays = |what: &str| assert_eq!(current(), around, "after {what}");
        let context = gpu(CudaConfig::default());
        stays("a context is made");
        let far = CudaConfig { device: CudaDevice::Index(9), ..Default::default() };
        open(DeviceKind::Cuda, far).0.expect_err("not there");
        stays("a context is refused");
        simulator::fail_next(c"cuModuleLoadData", UNKNOWN);
        let _ = open(DeviceKind::Cuda, CudaConfig::default()).0;
        stays("an image is refused");
        let mut trainer = clouds.trainer(&context, tiny());
        stays("a trainer is made");
        trainer.step(2).expect("sound");
        stays("steps");
        let stopped = trainer.run(9, 3, &mut |_| {
            assert_eq!(current(), around);
            Control::Stop
        });
        assert!(matches!(stopped, Err(Error::Cancelled { .. })));
        stays("a stopped run");
        simulator::fail_next(c"cuGraphLaunch", UNKNOWN);
        trainer.step(1).expect_err("a launch fails");
        stays("a failed step");
        let path = scratch("current.checkpoint");
        trainer.save(&path).expect("writable");
        let loaded = Trainer::load(&context, &path, array(&clouds.source, 2), array(&clouds.target, 2));
        drop(loaded.expect("good"));
        stays("a checkpoint was loaded");
        let model = trainer.model().expect("sound");
        stays("a model is made");
        let mut session = Session::new(&model).expect("a workspace");
        let x = floats(&clouds.source);
        let mut out = vec![0.0; x.len()];
        session.generate(&x, 1, 0, &mut out).expect("sound");
        session.generate(&[f32::NAN; 2], 1, 0, &mut out[..2]).expect_err("not finite");
        simulator::fail_next(c"cuLaunchKernel", UNKNOWN);
        session.drift(0.5, &x, &mut out).expect_err("a launch fails");
        stays("a session's calls");
        context.synchronise().expect("sound");
        stays("a wait");
        drop((session, model, trainer, context));
        stays("all was dropped");
    }
}

#[test]
fn a_sampler_may_make_another_context_current() {
    if !simulator::alone_and_simulated("a_sampler_may_make_another_context_current", &[]) {
        return;
    }
    devices().expect("the driver starts");
    let (other, clouds, context) = (HostHandle(of_host(0).0.cast()), Clouds::new(2), gpu(CudaConfig::default()));
    let sampler = move |batch: &mut [f32], _: usize, _: usize| {
        let other = other;
        batch.iter_mut().enumerate().for_each(|(i, x)| *x = i as f32);
        // SAFETY: a live context.
        check(unsafe { sys::cuCtxSetCurrent(other.0.cast()) });
        Ok(())
    };
    let source = Data::Sampler { sample_shape: vec![2], sampler: Box::new(sampler) };
    let mut trainer = Trainer::new(&context, tiny(), source, array(&clouds.target, 2)).expect("sound");
    trainer.step(3).expect("sound");
    assert_eq!(current(), other.0.cast(), "what the host does itself stays done");
}

/// As a fault of another program's kernel in the same context: from then on the driver answers every call with it.
fn spoil(context: sys::CUcontext) {
    let (mut stream, mut graph, mut program) = (null_mut(), null_mut(), null_mut());
    let mut memory = [0; 2];
    // SAFETY: local outputs; that the copy reads what is gone by then is the point.
    unsafe {
        check(sys::cuCtxPushCurrent_v2(context));
        memory.iter_mut().for_each(|memory| check(sys::cuMemAlloc_v2(memory, 64)));
        check(sys::cuStreamCreate(&mut stream, 1));
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        check(sys::cuStreamBeginCapture_v2(stream, mode));
        check(sys::cuMemcpyDtoDAsync_v2(memory[0], memory[1], 64, stream));
        check(sys::cuStreamEndCapture(stream, &mut graph));
        check(sys::cuGraphInstantiateWithFlags(&mut program, graph, 0));
        check(sys::cuMemFree_v2(memory[1]));
        check(sys::cuGraphLaunch(program, stream));
        assert_eq!(sys::cuStreamSynchronize(stream), sys::CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
        check(sys::cuGraphExecDestroy(program));
        check(sys::cuGraphDestroy(graph));
        check(sys::cuCtxPopCurrent_v2(&mut null_mut()));
    }
}

#[test]
fn a_context_that_a_fault_has_hit_is_told_and_left_for_a_new_one() {
    if !simulator::alone_and_simulated("a_context_that_a_fault_has_hit_is_told_and_left_for_a_new_one", &[]) {
        return;
    }
    devices().expect("the driver starts");
    let (clouds, before) = (Clouds::new(2), simulator::live());
    let x = floats(&clouds.source);
    let mut out = vec![0.0; x.len()];
    for _ in 0..2 {
        let context = gpu(with(Products::Fused));
        let mut trainer = clouds.trainer(&context, tiny());
        trainer.step(2).expect("sound");
        let mut session = Session::new(&trainer.model().expect("sound")).expect("a workspace");
        session.generate(&x, 1, 0, &mut out).expect("sound");
        let mut primary = null_mut();
        // SAFETY: a local output; given back at once, as the library holds the context too.
        unsafe {
            check(sys::cuDevicePrimaryCtxRetain(&mut primary, 0));
            check(sys::cuDevicePrimaryCtxRelease_v2(0));
        }
        spoil(primary);
        let path = scratch("fault.checkpoint");
        let failures = [
            trainer.step(3).err(),
            trainer.model().err(),
            trainer.save(&path).err(),
            session.generate(&x, 1, 0, &mut out).err(),
            session.drift(0.5, &x, &mut out).err(),
            context.synchronise().err(),
            Trainer::new(&context, tiny(), array(&clouds.source, 2), array(&clouds.target, 2)).err(),
        ];
        for (number, failure) in failures.into_iter().enumerate() {
            let failure = failure.unwrap_or_else(|| panic!("call {number} did not fail"));
            assert!(matches!(failure, Error::Device(_)), "{failure}");
            let told = ["CUDA_ERROR_ILLEGAL_ADDRESS", "what the trainer holds is not known"];
            assert!(told.iter().any(|part| failure.to_string().contains(part)), "{failure}");
        }
        assert!(!path.exists(), "a checkpoint of nothing");
        assert_eq!(trainer.metrics().step, 2);
        drop((session, trainer));
        assert_eq!(context.device_memory(), 0);
        drop(context);
        assert!(current().is_null());
        // With its last owner the primary context ended, and the next one is another.
        assert_eq!(simulator::live(), before);
    }
}

#[test]
fn objects_end_on_any_thread_and_in_any_order() {
    if !simulator::alone_and_simulated("objects_end_on_any_thread_and_in_any_order", &[]) {
        return;
    }
    devices().expect("the driver starts");
    let before = simulator::live();
    let clouds = Clouds::new(2);
    for order in 0..2 {
        let context = gpu(CudaConfig::default());
        let mut trainer = clouds.trainer(&context, tiny());
        trainer.step(2).expect("sound");
        let model = trainer.model().expect("sound");
        let mut session = Session::new(&model).expect("a workspace");
        let mut out = vec![0.0; 2];
        session.generate(&[0.0, 1.0], 1, 0, &mut out).expect("sound");
        std::thread::spawn(move || {
            if order == 0 {
                drop((context, trainer, model));
                session.generate(&[0.0, 1.0], 1, 0, &mut out).expect("it keeps what it needs");
                drop(session);
            } else {
                drop((session, model, trainer, context));
            }
            assert!(current().is_null());
        })
        .join()
        .expect("no panic");
        assert_eq!(simulator::live(), before);
    }
}
