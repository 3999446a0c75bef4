//! The CUDA driver: starts it, lists its devices, and turns its failures into errors of the crate.
//!
//! cudarc loads each function when it is first called and panics where the library or the function is missing, so
//! everything begins with [`require`].

use crate::device::gpus::DeviceInfo;
use crate::error::{Error, Result};
use crate::process;
use cudarc::driver::result::DriverError;
use cudarc::driver::sys::{self, CUdevice, CUdevice_attribute, CUresult};
use std::ffi::{CStr, c_char};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// CUDA version of the oldest driver with every function that is called here, as `cuDriverGetVersion` counts.
const OLDEST_DRIVER: i32 = 11040;

/// Turns a status into a result; `doing` completes "cannot ...".
pub(super) fn check(status: CUresult, doing: impl FnOnce() -> String) -> Result<()> {
    match status {
        CUresult::CUDA_SUCCESS => Ok(()),
        CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
            Err(Error::OutOfMemory(format!("cannot {}: the GPU has no memory left", doing())))
        }
        other => Err(Error::Device(format!("cannot {}: the CUDA driver reports {}", doing(), describe(other)))),
    }
}

/// Returns name and description of a status.
pub(super) fn describe(status: CUresult) -> String {
    let error = DriverError(status);
    let text = |text: std::result::Result<&CStr, DriverError>| text.ok().map(|t| t.to_string_lossy().into_owned());
    match (text(error.error_name()), text(error.error_string())) {
        (Some(name), Some(text)) => format!("{name} ({text})"),
        _ => format!("error {}", status as u32),
    }
}

/// Returns whether the system has a library of the driver's name.
pub(crate) fn is_there() -> bool {
    // SAFETY: loads a library by its well-known names.
    unsafe { sys::is_culib_present() }
}

/// Returns the error that a forked process cannot use the GPU.
pub(super) fn left_by_fork() -> Error {
    Error::Device(
        "the CUDA driver was in use when this process was forked, and does not work in the child; release here \
         what lives on the GPU, and use it in the parent or in a process that is started anew"
            .into(),
    )
}

/// Loads and starts the driver.
///
/// # Errors
/// [`Error::UnsupportedDevice`]: none is installed, it is too old, or it sees no GPU. [`Error::Device`] in a process
/// forked since the library started it.
pub(super) fn require() -> Result<()> {
    /// The generation of the process that started the driver, plus one; 0 for none.
    static STARTED: AtomicU32 = AtomicU32::new(0);
    /// How many threads are starting it, and above that the generation of their process, plus one.
    static STARTING: AtomicU64 = AtomicU64::new(0);
    process::watch()?;
    let here = process::generation() + 1;
    match STARTED.load(Ordering::Acquire) {
        0 => {}
        started if started == here => return Ok(()),
        _ => return Err(left_by_fork()),
    }
    if !is_there() {
        return Err(Error::UnsupportedDevice(
            "no NVIDIA driver was found (the system has no library libcuda.so, libcuda.so.1 or nvcuda.dll); a GPU \
             needs one installed"
                .into(),
        ));
    }
    // Without a lock, which a fork could leave taken: the driver may be started by several threads at once. One of them
    // that fails takes only itself back, and the driver is in use as long as another one is at it or has succeeded.
    let begin = |word: u64| match word as u32 {
        0 => Some(u64::from(here) << 32 | 1),
        _ => (word >> 32 == u64::from(here)).then_some(word + 1),
    };
    STARTING.fetch_update(Ordering::AcqRel, Ordering::Acquire, begin).map_err(|_| left_by_fork())?;
    let started = start();
    if started.is_ok() {
        STARTED.store(here, Ordering::Release);
    }
    STARTING.fetch_sub(1, Ordering::AcqRel);
    started
}

/// Does the work of [`require`] once the library is there.
fn start() -> Result<()> {
    // These came last among the functions that are called: what has them has the others.
    for function in [c"cuDriverGetVersion", c"cuInit", c"cuDeviceGetUuid_v2", c"cuGraphInstantiateWithFlags"] {
        // SAFETY: the library is there; the function is only looked for.
        let found = unsafe { sys::culib().get::<unsafe extern "C" fn()>(function.to_bytes_with_nul()) };
        if found.is_err() {
            return Err(Error::UnsupportedDevice(format!(
                "the library libcuda that was found is no NVIDIA driver for CUDA {} or newer: it has no {}",
                dotted(OLDEST_DRIVER),
                function.to_string_lossy()
            )));
        }
    }
    let mut version = 0;
    // SAFETY: the library is there; neither call needs anything before it.
    let (asked, started) = unsafe {
        let asked = sys::cuDriverGetVersion(&mut version);
        (asked, if version >= OLDEST_DRIVER { sys::cuInit(0) } else { CUresult::CUDA_SUCCESS })
    };
    if asked != CUresult::CUDA_SUCCESS {
        return Err(Error::UnsupportedDevice(format!(
            "the NVIDIA driver cannot be used: asked for its version it reports {}",
            describe(asked)
        )));
    }
    if version < OLDEST_DRIVER {
        return Err(Error::UnsupportedDevice(format!(
            "the NVIDIA driver supports CUDA {}, but CUDA {} is needed at least; update the driver",
            dotted(version),
            dotted(OLDEST_DRIVER)
        )));
    }
    if started != CUresult::CUDA_SUCCESS {
        return Err(Error::UnsupportedDevice(format!(
            "the NVIDIA driver (CUDA {}) cannot be used: it reports {}",
            dotted(version),
            describe(started)
        )));
    }
    Ok(())
}

/// "12.4" for 12040.
pub(super) fn dotted(version: i32) -> String {
    format!("{}.{}", version / 1000, version % 1000 / 10)
}

/// Returns the GPUs that the driver shows, in its order. There are none where there is no driver, or it sees none.
///
/// # Errors
/// [`Error::Device`] when a device does not answer, and in a process forked since the library started the driver.
pub fn devices() -> Result<Vec<DeviceInfo>> {
    match require() {
        Err(Error::UnsupportedDevice(_)) => return Ok(Vec::new()),
        required => required?,
    }
    let mut count = 0;
    // SAFETY: the driver is ready.
    check(unsafe { sys::cuDeviceGetCount(&mut count) }, || "count the GPUs".into())?;
    (0..count).map(|index| info(device(index)?, index)).collect()
}

/// Returns the device of that number.
pub(super) fn device(index: i32) -> Result<CUdevice> {
    let mut device = 0;
    // SAFETY: the driver is ready.
    check(unsafe { sys::cuDeviceGet(&mut device, index) }, || format!("open GPU {index}"))?;
    Ok(device)
}

/// Returns the description of a device.
pub(super) fn info(device: CUdevice, index: i32) -> Result<DeviceInfo> {
    let mut name = [0 as c_char; 256];
    let mut uuid = sys::CUuuid { bytes: [0; 16] };
    let (mut memory, mut version) = (0, 0);
    // SAFETY: the driver is ready, and the outputs have the room that is said.
    unsafe {
        check(sys::cuDeviceGetName(name.as_mut_ptr(), name.len() as i32, device), || "read a GPU's name".into())?;
        check(sys::cuDeviceGetUuid_v2(&mut uuid, device), || "read a GPU's UUID".into())?;
        check(sys::cuDeviceTotalMem_v2(&mut memory, device), || "read a GPU's memory size".into())?;
        sys::cuDriverGetVersion(&mut version);
    }
    let capability = (
        attribute(device, CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
        attribute(device, CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
    );
    // SAFETY: the driver ends the name with a zero inside the array.
    let name = unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned();
    Ok(DeviceInfo {
        index: index as u32,
        name,
        uuid: uuid.bytes.map(|b| b as u8),
        capability,
        memory: memory as u64,
        driver_version: version as u32,
    })
}

fn attribute(device: CUdevice, which: CUdevice_attribute) -> Result<u32> {
    let mut value = 0;
    // SAFETY: the driver is ready.
    check(unsafe { sys::cuDeviceGetAttribute(&mut value, which, device) }, || "read an attribute of a GPU".into())?;
    Ok(value as u32)
}

/// "GPU-01234567-89ab-...", as nvidia-smi prints it.
pub fn uuid_text(uuid: &[u8; 16]) -> String {
    let hex: String = uuid.iter().map(|b| format!("{b:02x}")).collect();
    format!("GPU-{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
