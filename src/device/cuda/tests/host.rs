//! Launches the kernels: those that are compiled for the host, or on a GPU where one is wanted.

use super::guarded::Buffer;
use super::{real, simulator};
use crate::device::cuda::kernels::{Arguments, Kernel};
use std::collections::BTreeSet;
use std::ffi::{CStr, CString, c_char, c_void};
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

type LaunchFn =
    unsafe extern "C" fn(*const c_char, *const u32, u64, *mut *mut c_void, *const usize, usize) -> *const c_char;

/// Names a library that takes the place of the kernels' own.
pub const OTHER_KERNELS: &str = "SFEUOT_TEST_KERNELS";

/// A function of the kernels' library.
fn symbol(name: &CStr) -> Option<*mut c_void> {
    let own = simulator::folder()?.join("libsfeuot_host_kernels.so");
    let object = std::env::var_os(OTHER_KERNELS).map_or(own, PathBuf::from);
    let library = simulator::open(&object, libc::RTLD_LOCAL);
    // SAFETY: the name ends with NUL.
    let symbol = unsafe { libc::dlsym(library, name.as_ptr()) };
    assert!(!symbol.is_null());
    Some(symbol)
}

fn launcher() -> Option<LaunchFn> {
    static LAUNCHER: OnceLock<Option<LaunchFn>> = OnceLock::new();
    *LAUNCHER.get_or_init(|| {
        // SAFETY: the symbol has the type that cuda/host/kernels.cpp gives it.
        symbol(c"sfeuot_host_launch").map(|symbol| unsafe { std::mem::transmute::<*mut c_void, LaunchFn>(symbol) })
    })
}

/// What a kernel is called with.
#[derive(Debug, PartialEq)]
pub struct Signature {
    /// Number, offset and size of each parameter.
    pub parameters: Vec<(usize, usize, usize)>,
    /// Threads that its `__launch_bounds__` allow.
    pub max_threads: usize,
}

/// As `host::Kernel` of cuda/host/kernels.h.
#[repr(C)]
struct HostKernel {
    name: *const c_char,
    launch: *const c_void,
    sizes: *const usize,
    offsets: *const usize,
    pointers: *const bool,
    count: usize,
    max_threads: u32,
}

/// A kernel of the host's table. None, with the reason printed, without a C++ compiler.
pub fn signature(name: &str) -> Option<Signature> {
    let symbol = symbol(c"sfeuot_host_kernel")?;
    let name = CString::new(name).expect("no NUL");
    // SAFETY: the symbol has the type that cuda/host/kernels.h gives it; rows of the table live as long as the process,
    // and their arrays have `count` numbers.
    unsafe {
        let find: unsafe extern "C" fn(*const c_char) -> *const HostKernel = std::mem::transmute(symbol);
        let kernel = find(name.as_ptr()).as_ref().unwrap_or_else(|| panic!("{name:?} is not in the host's table"));
        let parameters = (0..kernel.count).map(|i| (i, *kernel.offsets.add(i), *kernel.sizes.add(i))).collect();
        Some(Signature { parameters, max_threads: kernel.max_threads as usize })
    }
}

/// Whether kernels can be run; prints why not.
pub fn available() -> bool {
    real::gpu().is_some() || launcher().is_some()
}

/// One argument of a kernel, as bytes.
#[derive(Clone)]
pub struct Argument(Vec<u8>);

macro_rules! arguments {
    ($($t:ty)+) => {$(
        impl From<$t> for Argument {
            fn from(x: $t) -> Self {
                Self(x.to_ne_bytes().to_vec())
            }
        }
    )+};
}

arguments!(u32 u64 f32 f64);

impl<T> From<&Buffer<T>> for Argument {
    fn from(buffer: &Buffer<T>) -> Self {
        Self::from(buffer.address() as u64)
    }
}

impl<T> From<Option<&Buffer<T>>> for Argument {
    fn from(buffer: Option<&Buffer<T>>) -> Self {
        buffer.map_or(Self::from(0u64), Self::from)
    }
}

/// Runs a kernel with the arguments that the library launches it with.
pub fn launch_with<A: Arguments>(kernel: Kernel, grid: [u32; 3], block: [u32; 3], seed: u64, arguments: &A) {
    assert!(A::KERNELS.contains(&kernel));
    let mut list: Vec<Argument> = arguments.list().as_ref().iter().map(|x| Argument(x.bytes().to_vec())).collect();
    launch(Kernel::NAMES[kernel as usize].to_str().expect("ASCII"), grid, block, seed, &mut list);
}

/// Makes a list of arguments of what can be one.
macro_rules! arguments_of {
    ($($x:expr),* $(,)?) => { &mut [$($crate::device::cuda::tests::host::Argument::from($x)),*] };
}
pub(super) use arguments_of;

/// Runs a kernel on a grid of blocks, threads ordered by `seed`.
pub fn launch(name: &str, grid: [u32; 3], block: [u32; 3], seed: u64, arguments: &mut [Argument]) {
    if let Err(fault) = try_launch(name, grid, block, seed, arguments) {
        panic!("{fault}");
    }
}

/// As [`launch`], with what is wrong as a sentence.
pub fn try_launch(
    name: &str,
    grid: [u32; 3],
    block: [u32; 3],
    seed: u64,
    arguments: &mut [Argument],
) -> Result<(), String> {
    // The host's machine is one.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let name = CString::new(name).expect("no NUL");
    let geometry = [grid, block].concat();
    let sizes: Vec<usize> = arguments.iter().map(|a| a.0.len()).collect();
    let mut pointers: Vec<*mut c_void> = arguments.iter_mut().map(|a| a.0.as_mut_ptr().cast()).collect();
    if let Some(gpu) = real::gpu() {
        return real::launch(gpu, &name, grid, block, &mut pointers);
    }
    let launcher = launcher().expect("tests ask `available` first");
    // SAFETY: one pointer and size an argument; the buffers that arguments point at outlive the call, and an access
    // beyond them meets a guard page.
    unsafe {
        let fault =
            launcher(name.as_ptr(), geometry.as_ptr(), seed, pointers.as_mut_ptr(), sizes.as_ptr(), pointers.len());
        if fault.is_null() { Ok(()) } else { Err(CStr::from_ptr(fault).to_string_lossy().into_owned()) }
    }
}

#[test]
fn every_kernel_is_in_the_table() {
    if launcher().is_some() {
        for name in Kernel::NAMES {
            assert!(signature(name.to_str().unwrap()).is_some());
        }
    }
}

#[test]
fn the_machine_finds_faults() {
    // They are the host's: a GPU does not survive all of them.
    if real::gpu().is_some() || !available() {
        return;
    }
    let out = Buffer::<f32>::new(64);
    let run = |name: &str, order: u64| {
        let ran = try_launch(name, [1; 3], [64, 1, 1], order, arguments_of![&out]);
        ran.map(|()| out.iter().map(|x| x.to_bits()).collect::<Vec<_>>())
    };
    // What is not ended differs from run to run.
    let runs = [1, 2].map(|order| run("fault_race", order));
    assert!(runs[0] != runs[1] || runs[0].is_err());
    for (name, sentence) in [
        ("fault_barrier", "a barrier or a warp's exchange is not reached by all threads"),
        ("fault_barriers", "threads of a block are in different __syncthreads"),
        ("fault_exchanges", "lanes of a warp are in different exchanges"),
        ("fault_masks", "lanes of a warp exchange under different masks"),
        ("fault_outside_mask", "a lane reads what a lane outside its mask holds"),
        ("fault_bounds", "a block of 64 threads, where its __launch_bounds__ allow 32"),
        ("fault_shared", "writes outside the shared array x"),
        ("no_such_kernel", "no kernel of this name"),
    ] {
        let fault = run(name, 1).expect_err(name);
        assert!(fault.contains(sentence), "{fault}");
    }
    let fault = try_launch("fault_race", [1; 3], [64, 1, 1], 1, arguments_of![1u32]).unwrap_err();
    assert!(fault.contains("arguments"), "{fault}");
}

#[test]
fn blocks_run_in_every_order_and_two_at_a_time() {
    if real::gpu().is_some() || !available() || std::env::var_os("SFEUOT_SIM_STRICT").is_some() {
        return;
    }
    let results = |name: &str| -> BTreeSet<u32> {
        let run = |order| {
            let out = Buffer::of(&[0f32; 64]);
            launch(name, [3, 1, 1], [64, 1, 1], order, arguments_of![&out]);
            out[0] as u32
        };
        (0..60).map(run).collect()
    };
    // 2 (2 (2 0 + first) + second) + third.
    let orders = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)];
    let of_orders: BTreeSet<u32> = orders.map(|(a, b, c)| 4 * a + 2 * b + c).into();
    assert!(results("fault_blocks").is_superset(&of_orders));
    assert!(!results("fault_lost").is_subset(&of_orders));
}

#[test]
fn the_strict_build_finds_what_each_thread_does() {
    let name = "device::cuda::tests::host::the_strict_build_finds_what_each_thread_does";
    if !simulator::strict_is_possible() {
        return;
    }
    if let Some(output) = simulator::in_child(name, &[("SFEUOT_SIM_STRICT", "1")]) {
        assert!(output.status.success(), "{output:?}");
        return;
    }
    for (name, sentence) in [
        ("fault_race", "another thread touches, with no barrier between"),
        ("fault_blocks", "another block of the launch touches"),
        ("fault_alignment", "no multiple of 8"),
        ("fault_quad", "no multiple of 16"),
        ("fault_volatile", "volatile memory"),
        ("fault_spin", "goes on and on between two barriers"),
    ] {
        let out = Buffer::of(&[0f32; 64]);
        let fault = try_launch(name, [3, 1, 1], [64, 1, 1], 1, arguments_of![&out]).expect_err(name);
        assert!(fault.contains(sentence), "{fault}");
    }
}

/// On the strict build, in two processes: a simulated GPU does one thing after the other.
#[test]
fn a_strict_build_of_products_holds() {
    if std::env::var_os("SFEUOT_SIM_STRICT").is_none() {
        simulator::strictly("device::cuda::tests::product", &[]);
    }
}

#[test]
fn a_strict_build_of_other_kernels_holds() {
    if std::env::var_os("SFEUOT_SIM_STRICT").is_none() {
        simulator::strictly("device::cuda::tests", &["a_strict_build", "tests::product"]);
    }
}
