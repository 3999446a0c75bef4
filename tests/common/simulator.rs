//! The simulated CUDA driver of cuda/host, for tests on machines without a GPU.
//!
//! Builds shared objects in a folder beside the test's program: the kernels for the host, `libcuda.so`, `libcublasLt.so` and
//! `libnvrtc.so`. A test calls [`load`] before anything of cudarc: the loader then gives cudarc the objects that are there
//! by those names. A child process finds them through [`library_path`].
//!
//! Where `SFEUOT_TEST_REAL_GPU` is set, nothing is loaded and tests run on the real driver.
#![allow(dead_code, reason = "each test uses its part")]

#[allow(clippy::duplicate_mod, reason = "a test may have it from elsewhere as well")]
#[path = "place.rs"]
pub mod place;

use std::ffi::{CStr, CString, OsString, c_char, c_int, c_void};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, OnceLock};
use std::time::SystemTime;

/// What `cuModuleLoadData` takes for an image of every kernel.
pub const IMAGE: &CStr = c"SFEUOT-SIMULATED";

pub fn real_gpu() -> bool {
    std::env::var_os("SFEUOT_TEST_REAL_GPU").is_some()
}

/// Whether tests run on the simulated driver. A test that looks at what the simulator alone shows asks this: on a real GPU
/// it is left out, and says so in a line by which scripts/gpu-check counts it as skipped.
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

/// As [`load`], with a run-time compiler whose image is that of every kernel, and its cache in a folder of the tests': for
/// whoever opens a GPU through the library, which may have no image embedded.
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

/// The folder that holds the shared objects, built where they are older than their sources. Without a compiler none, and
/// the reason is printed; in CI that is an error.
pub fn folder() -> Option<&'static Path> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let built = FOLDER.get_or_init(|| match build() {
        Ok(folder) => Some(folder),
        Err(why) => {
            assert!(std::env::var_os("CI").is_none(), "no C++ compiler: {why}");
            eprintln!("skipped: the simulated GPU needs a C++ compiler ({why}).");
            None
        }
    });
    built.as_deref()
}

/// `LD_LIBRARY_PATH` for a child process that shall find the simulated driver; none with a real GPU.
pub fn library_path() -> Option<OsString> {
    let folder = if real_gpu() { None } else { folder() }?;
    Some(place::library_path([folder]))
}

/// Runs the test of this name (its path within the crate) alone in a child process with the given environment, or says
/// that this is that child: `let Some(output) = in_child(..) else { <the test>; return };`
pub fn in_child(test: &str, settings: &[(&str, &str)]) -> Option<Output> {
    if std::env::var("SFEUOT_TEST_CHILD").is_ok_and(|child| child == test) {
        return None;
    }
    let mut command = Command::new(std::env::current_exe().expect("the test's own path"));
    command.args(["--exact", test, "--nocapture"]).env("SFEUOT_TEST_CHILD", test).envs(settings.iter().copied());
    if let Some(path) = library_path() {
        command.env("LD_LIBRARY_PATH", path);
    }
    let output = command.output().expect("the test's own program starts");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("running 1 test"), "there is no test {test}: {told}");
    Some(output)
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

/// Calls of this process that waited for the device.
pub fn synchronisations() -> i32 {
    // SAFETY: as above.
    unsafe { control::<unsafe extern "C" fn() -> c_int>(c"sfeuot_sim_synchronisations")() }
}

/// The last graph that this process made ready to run: a line a node, with what it does and the numbers of the lines, from 0,
/// that it comes right after.
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

fn sources() -> PathBuf {
    place::root().join("cuda/host")
}

/// A shared object and the sources it is made of.
struct Library {
    name: &'static str,
    sources: Vec<PathBuf>,
    /// A library of the same folder.
    needs: Option<&'static str>,
    hidden: bool,
}

fn libraries() -> Vec<Library> {
    let folder = fs::read_dir(sources().join("driver")).expect("the driver's sources");
    let mut driver: Vec<_> = folder.map(|entry| entry.expect("a folder entry").path()).collect();
    driver.retain(|path| path.extension().is_some_and(|e| e == "cpp"));
    driver.sort();
    let one = |name: &str| vec![sources().join(name)];
    vec![
        Library { name: "sfeuot_host_kernels", sources: one("kernels.cpp"), needs: None, hidden: false },
        Library { name: "cuda", sources: driver, needs: Some("sfeuot_host_kernels"), hidden: true },
        Library { name: "cublasLt", sources: one("cublaslt.cpp"), needs: Some("cuda"), hidden: true },
        Library { name: "nvrtc", sources: one("nvrtc.cpp"), needs: None, hidden: true },
    ]
}

fn time(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|m| m.modified()).ok()
}

/// Builds what is older than its sources. Processes that start together take turns.
fn build() -> Result<PathBuf, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let folder = program.parent().expect("a program lies in a folder").join("sfeuot-simulator");
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let lock = File::create(folder.join("lock")).map_err(|error| error.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;
    let libraries = libraries();
    let object = |source: &Path| {
        let stem = source.file_stem().expect("a source has a name").to_str().expect("UTF-8");
        folder.join(format!("{stem}.o"))
    };
    let stale: Vec<_> = libraries
        .iter()
        .flat_map(|library| library.sources.iter().map(|source| (source, object(source), library.hidden)))
        .filter(|(source, object, _)| !is_fresh(object, source))
        .collect();
    compile_all(&stale)?;
    for library in &libraries {
        let objects: Vec<_> = library.sources.iter().map(|source| object(source)).collect();
        let made = folder.join(format!("lib{}.so", library.name));
        if time(&made) < objects.iter().filter_map(|object| time(object)).max() {
            link(library, &objects, &made)?;
        }
    }
    Ok(folder)
}

/// Whether an object was made of this source (and not that of another checkout), after all that the compiler read for it
/// and this file, which holds the flags, were written.
fn is_fresh(object: &Path, source: &Path) -> bool {
    let rule = fs::read_to_string(object.with_extension("d")).unwrap_or_default();
    let flags = place::root().join("tests/common/simulator.rs");
    let Some((made, (_, read))) = time(object).zip(rule.split_once(": ")) else { return false };
    let read: Vec<_> = read.split_whitespace().filter(|word| *word != "\\").map(Path::new).collect();
    let older = |path: &Path| time(path).is_some_and(|time| time < made);
    read.contains(&source) && read.iter().all(|path| older(path)) && older(&flags)
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    // A compiler that is there must succeed.
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn compiler() -> Command {
    Command::new(std::env::var("CXX").unwrap_or_else(|_| "c++".into()))
}

/// One compiler a core.
fn compile_all(stale: &[(&PathBuf, PathBuf, bool)]) -> Result<(), String> {
    let next = Mutex::new(stale.iter());
    let work = || {
        loop {
            let Some((source, object, hidden)) = next.lock().expect("no thread panics here").next() else {
                return Ok(());
            };
            run(compiler()
                .args(["-std=c++17", "-O2", "-g", "-Wall", "-Wextra", "-Werror"])
                // nvcc's pragmas; and products with sums stay two roundings where the kernels say so.
                .args(["-Wno-unknown-pragmas", "-ffp-contract=off", "-DSFEUOT_HOST"])
                .args(["-fPIC", if *hidden { "-fvisibility=hidden" } else { "-fvisibility=default" }])
                .args(["-MMD", "-c", "-o"])
                .arg(object)
                .arg(source))?;
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(stale.len());
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        running.into_iter().try_for_each(|thread| thread.join().expect("the sources compile"))
    })
}

/// Beside its place first: a process may still run the old one.
fn link(library: &Library, objects: &[PathBuf], made: &Path) -> Result<(), String> {
    let folder = made.parent().expect("a file lies in a folder");
    let fresh = made.with_extension("so.tmp");
    let mut command = compiler();
    command.args(["-shared", "-Wl,-z,defs", "-Wl,-rpath,$ORIGIN"]);
    command.arg(format!("-Wl,-soname,lib{}.so", library.name)).arg("-o").arg(&fresh).args(objects);
    command.arg("-Wl,-rpath-link").arg(format!("-Wl,{}", folder.display())).arg("-L").arg(folder);
    command.args(library.needs.map(|name| format!("-l{name}")));
    run(&mut command)?;
    fs::rename(&fresh, made).map_err(|error| error.to_string())
}
