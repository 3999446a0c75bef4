//! The simulated CUDA driver of cuda/host, for tests on machines without a GPU.
//!
//! Builds shared objects in a folder beside the test's program: the kernels for the host, `libcuda.so`,
//! `libcublasLt.so` and `libnvrtc.so`. A test calls [`load`] before anything of cudarc: the loader then gives cudarc
//! the objects that are there by those names. A child process finds them through [`library_path`].
//!
//! Where `SFEUOT_TEST_REAL_GPU` is set, nothing is loaded and tests run on the real driver. Where `SFEUOT_SIM_STRICT`
//! is set, the kernels are those of the strict build: [`strictly`].
#![allow(dead_code, reason = "each test uses its part")]

#[path = "simulator_build.rs"]
pub mod build;
#[allow(clippy::duplicate_mod, reason = "a test may have it from elsewhere as well")]
#[path = "place.rs"]
pub mod place;

use std::ffi::{CStr, CString, OsString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// What `cuModuleLoadData` takes for an image of every kernel.
pub const IMAGE: &CStr = c"SFEUOT-SIMULATED";

pub fn real_gpu() -> bool {
    std::env::var_os("SFEUOT_TEST_REAL_GPU").is_some()
}

/// Whether tests run on the simulated driver. A test that looks at what the simulator alone shows asks this: on a real
/// GPU it is left out, and says so in a line by which scripts/gpu-check counts it as skipped.
pub fn simulated() -> bool {
    if real_gpu() {
        println!("skipped: only the simulated driver shows this");
    }
    !real_gpu()
}

/// Loads the simulated driver, once, unless a real one is wanted. False, with the reason printed, where there is no C++
/// compiler.
pub fn load() -> bool {
    static LOADED: OnceLock<bool> = OnceLock::new();
    *LOADED.get_or_init(|| {
        if real_gpu() {
            return true;
        }
        let Some(folder) = folder() else { return false };
        for name in ["libcuda.so", "libcublasLt.so"] {
            open(&folder.join(name), libc::RTLD_GLOBAL);
        }
        true
    })
}

/// As [`load`], with a run-time compiler whose image is that of every kernel, and its cache in a folder of the tests':
/// for whoever opens a GPU through the library, which may have no image embedded.
pub fn load_with_compiler() -> bool {
    static LOADED: OnceLock<bool> = OnceLock::new();
    *LOADED.get_or_init(|| {
        if !load() || real_gpu() {
            return real_gpu();
        }
        let folder = folder().expect("built by `load`");
        open(&folder.join("libnvrtc.so"), libc::RTLD_GLOBAL);
        // SAFETY: tests call this before they start threads that read the environment.
        unsafe { std::env::set_var("SFEUOT_CACHE_DIR", folder.join("cache")) };
        true
    })
}

/// Opens a shared object for as long as the process lives.
pub fn open(path: &Path, scope: c_int) -> *mut c_void {
    let path = CString::new(path.to_str().expect("a path in UTF-8")).expect("no NUL");
    // SAFETY: a string that ends with NUL; the objects' initialisers only fill tables.
    unsafe {
        let library = libc::dlopen(path.as_ptr(), libc::RTLD_NOW | scope);
        assert!(!library.is_null(), "{:?}", CStr::from_ptr(libc::dlerror()));
        library
    }
}

/// The folder that holds the shared objects, built where they are older than their sources. Without a compiler none,
/// and the reason is printed; in CI that is an error.
pub fn folder() -> Option<&'static Path> {
    folder_of(std::env::var_os(STRICT).is_some())
}

const STRICT: &str = "SFEUOT_SIM_STRICT";

fn folder_of(strict: bool) -> Option<&'static Path> {
    static FOLDERS: [OnceLock<Option<PathBuf>>; 2] = [OnceLock::new(), OnceLock::new()];
    let built = FOLDERS[usize::from(strict)].get_or_init(|| match build::build(strict) {
        Ok(folder) => Some(folder),
        Err(why) => {
            assert!(std::env::var_os("CI").is_none(), "no simulated GPU: {why}");
            eprintln!("skipped: the simulated GPU is not there ({why}).");
            None
        }
    });
    built.as_deref()
}

/// Whether the strict build of the kernels can run here; prints why not, which in CI is an error but on another
/// architecture. Their arithmetic is then a GPU's (products with sums contracted, functions off by what CUDA's
/// documentation allows), and every load and store is watched.
pub fn strict_is_possible() -> bool {
    if !simulated() {
        return false;
    }
    if !build::contracts() {
        let why = "the strict build of the kernels needs an x86-64 processor with fused multiply-adds (FMA)";
        assert!(std::env::var_os("CI").is_none() || cfg!(not(target_arch = "x86_64")), "{why}");
        println!("skipped: {why}.");
        return false;
    }
    folder_of(true).is_some()
}

/// Runs this program's tests with `tests` in their names, but for those with one of `skip`, on the strict build, in a
/// child process. Nothing where it cannot run.
pub fn strictly(tests: &str, skip: &[&str]) {
    if !strict_is_possible() {
        return;
    }
    let mut command = child(&[(STRICT, "1")]);
    command.arg(tests).args(skip.iter().flat_map(|name| ["--skip", name]));
    let output = command.output().expect("the test's own program starts");
    let [told, wrote] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "on the strict build: {}\n{told}\n{wrote}", output.status);
    assert!(!told.contains("running 0 tests"), "there are no tests {tests}: {told}");
}

/// `LD_LIBRARY_PATH` for a child process that shall find the simulated driver; none with a real GPU.
pub fn library_path() -> Option<OsString> {
    let folder = if real_gpu() { None } else { folder() }?;
    Some(place::library_path([folder]))
}

/// This program, to be run with the given environment and the simulated driver that it asks for.
fn child(settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the test's own path"));
    command.envs(settings.iter().copied());
    let strict = std::env::var_os(STRICT).is_some() || settings.iter().any(|(name, _)| *name == STRICT);
    let folder = if real_gpu() { None } else { folder_of(strict) };
    if let Some(folder) = folder {
        command.env("LD_LIBRARY_PATH", place::library_path([folder]));
    }
    command
}

/// Runs the test of this name (its path within the crate) alone in a child process with the given environment, or says
/// that this is that child: `let Some(output) = in_child(..) else { <the test>; return };`
pub fn in_child(test: &str, settings: &[(&str, &str)]) -> Option<Output> {
    if std::env::var("SFEUOT_TEST_CHILD").is_ok_and(|child| child == test) {
        return None;
    }
    let mut command = child(settings);
    command.args(["--exact", test, "--nocapture"]).env("SFEUOT_TEST_CHILD", test);
    let output = command.output().expect("the test's own program starts");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("running 1 test"), "there is no test {test}: {told}");
    Some(output)
}

/// Returns whether this process runs the test of this name alone, with the given environment. Any other process starts
/// that one and asserts that it succeeds: `if !alone(..) { return; }`.
pub fn alone(test: &str, settings: &[(&str, &str)]) -> bool {
    let Some(output) = in_child(test, settings) else { return true };
    assert!(output.status.success(), "{settings:?}\n{}", String::from_utf8_lossy(&output.stderr));
    false
}

/// As [`alone`], on the simulated driver; false as well where that is not to be had.
pub fn alone_and_simulated(test: &str, settings: &[(&str, &str)]) -> bool {
    simulated() && load_with_compiler() && alone(test, settings)
}

/// The size of the device's memory, for the whole process.
pub fn set_memory(bytes: u64) {
    // SAFETY: the type that cuda/host/driver/control.h gives the function; so below.
    unsafe { control::<unsafe extern "C" fn(u64)>(c"sfeuot_sim_set_memory")(bytes) }
}

/// Makes the next call of a driver's or cublasLt's function, in whichever thread, give `code` and do nothing.
pub fn fail_next(function: &CStr, code: i32) {
    // SAFETY: as above.
    unsafe { control::<unsafe extern "C" fn(*const c_char, c_int)>(c"sfeuot_sim_fail_next")(function.as_ptr(), code) }
}

/// As [`fail_next`], for the call after so many others.
pub fn fail_after(function: &CStr, calls: i32, code: i32) {
    let control = control::<unsafe extern "C" fn(*const c_char, c_int, c_int)>(c"sfeuot_sim_fail_after");
    // SAFETY: as above.
    unsafe { control(function.as_ptr(), calls, code) }
}

/// Forgets the failures that no call has met; whether there were any.
pub fn forget_failures() -> bool {
    // SAFETY: as above.
    unsafe { control::<unsafe extern "C" fn() -> c_int>(c"sfeuot_sim_forget_failures")() != 0 }
}

/// Kernels and products that have run in this process.
pub fn launches() -> u64 {
    // SAFETY: as above.
    unsafe { control::<unsafe extern "C" fn() -> u64>(c"sfeuot_sim_launches")() }
}

/// Allocations and other objects that live in this process.
pub fn live() -> u64 {
    // SAFETY: as above.
    unsafe { control::<unsafe extern "C" fn() -> u64>(c"sfeuot_sim_live")() }
}

/// Bytes of device memory that copies have brought to this process so far.
pub fn bytes_to_host() -> u64 {
    // SAFETY: as above.
    unsafe { control::<unsafe extern "C" fn() -> u64>(c"sfeuot_sim_to_host")() }
}

/// Calls of this process that waited for the device.
pub fn synchronisations() -> i32 {
    // SAFETY: as above.
    unsafe { control::<unsafe extern "C" fn() -> c_int>(c"sfeuot_sim_synchronisations")() }
}

/// The last graph that this process made ready to run: a line a node, with what it does and the numbers of the lines,
/// from 0, that it comes right after.
pub fn graph() -> String {
    let mut text = vec![0u8; 1 << 20];
    // SAFETY: as above; there is as much room.
    let length = unsafe {
        control::<unsafe extern "C" fn(*mut c_char, usize) -> usize>(c"sfeuot_sim_graph")(
            text.as_mut_ptr().cast(),
            text.len(),
        )
    };
    text.truncate(length);
    String::from_utf8(text).expect("ASCII")
}

/// A function of the loaded simulator as a pointer of type `F`.
fn control<F: Copy>(name: &CStr) -> F {
    assert!(size_of::<F>() == size_of::<*mut c_void>());
    // SAFETY: the object stays loaded; the callers give the function's type.
    unsafe {
        let symbol = libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr());
        assert!(!symbol.is_null(), "{name:?}: the simulated driver is not loaded");
        std::mem::transmute_copy(&symbol)
    }
}
