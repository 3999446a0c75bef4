//! NVIDIA's run-time compiler NVRTC. It is loaded when a device needs it, and needs no GPU itself.

use crate::device::gpus::Precision;
use crate::error::{Error, Result};
use cudarc::nvrtc::result::{self, NvrtcError};
use cudarc::nvrtc::sys::{self, nvrtcProgram, nvrtcResult};
use std::ffi::{CString, c_char};
use std::fmt;

type Answer<T> = std::result::Result<T, NvrtcError>;

/// Number of lines of the compiler's log that go into an error.
const LOG_LINES: usize = 5;

/// The compiler's library, loaded.
pub(super) struct Nvrtc {
    version: (i32, i32),
    /// The architectures that it compiles for, such as 86 for compute capability 8.6.
    architectures: Vec<u32>,
}

/// The result of a compilation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Machine code for one architecture.
    Machine(u32),
    /// PTX, which the driver compiles for its device.
    Ptx(u32),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine(architecture) => write!(f, "sm_{architecture}"),
            Self::Ptx(architecture) => write!(f, "compute_{architecture}"),
        }
    }
}

impl Target {
    /// Returns all options of the compilation. Rounding, denormals and division are the defaults of nvcc: no fast
    /// mathematics. Kernels for tensor cores are left out where `precision` needs none.
    pub(super) fn options(self, precision: Precision) -> Vec<String> {
        let mut options = vec![format!("--gpu-architecture={self}"), "--std=c++17".into()];
        if !precision.rounds() {
            options.push("--define-macro=SFEUOT_NO_TENSOR_CORES".into());
        }
        options
    }
}

impl fmt::Display for Nvrtc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NVRTC {}.{}", self.version.0, self.version.1)
    }
}

impl Nvrtc {
    /// Loads the library. `capability` goes into the error when that fails.
    ///
    /// # Errors
    /// `Error::UnsupportedDevice` when it is not there or is older than CUDA 11.2.
    pub(super) fn load(capability: (u32, u32)) -> Result<Self> {
        // SAFETY: loading runs the initialisation of NVIDIA's library. Whether it can be loaded is asked before any
        // call into it, because each of those panics where it cannot, or where its function is missing.
        unsafe {
            if !sys::is_culib_present() {
                return Err(Error::UnsupportedDevice(missing(capability)));
            }
            for function in [c"nvrtcGetSupportedArchs", c"nvrtcGetCUBIN"] {
                if sys::culib().get::<unsafe extern "C" fn()>(function.to_bytes_with_nul()).is_err() {
                    return Err(Error::UnsupportedDevice(format!(
                        "the kernels have to be compiled for this device, and the NVRTC that was found is too old: it has no {}, which came with CUDA 11.2",
                        function.to_string_lossy()
                    )));
                }
            }
            Self::ask().map_err(|NvrtcError(code)| {
                Error::UnsupportedDevice(format!(
                    "NVRTC, which compiles the kernels for this device, fails with {code:?}"
                ))
            })
        }
    }

    /// # Safety
    /// The library is loaded.
    unsafe fn ask() -> Answer<Self> {
        let (mut major, mut minor, mut count) = (0, 0, 0);
        // SAFETY: the pointers are to integers that outlive the calls, the last one to as many as the library asked
        // for.
        unsafe {
            sys::nvrtcVersion(&mut major, &mut minor).result()?;
            sys::nvrtcGetNumSupportedArchs(&mut count).result()?;
            let mut architectures = vec![0; usize::try_from(count).unwrap_or_default()];
            sys::nvrtcGetSupportedArchs(architectures.as_mut_ptr()).result()?;
            let architectures = architectures.into_iter().filter_map(|a| u32::try_from(a).ok()).collect();
            Ok(Self { version: (major, minor), architectures })
        }
    }

    pub(super) fn version(&self) -> (i32, i32) {
        self.version
    }

    /// Returns machine code where this NVRTC knows the architecture, else the newest PTX that the device understands.
    ///
    /// # Errors
    /// `Error::UnsupportedDevice` for a device that is older than all that it knows.
    pub(super) fn target(&self, (major, minor): (u32, u32)) -> Result<Target> {
        let device = major * 10 + minor;
        if self.architectures.contains(&device) {
            return Ok(Target::Machine(device));
        }
        match self.architectures.iter().filter(|&&architecture| architecture < device).max() {
            Some(&architecture) => Ok(Target::Ptx(architecture)),
            None => Err(Error::UnsupportedDevice(format!(
                "{self} compiles for the compute capabilities {:?} (in tenths), and this device has {major}.{minor}; an NVRTC of an older CUDA may know it",
                self.architectures
            ))),
        }
    }

    /// Compiles `source`, whose messages name the files that it gives in `#line`.
    ///
    /// # Errors
    /// `Error::UnsupportedDevice` with the first lines of the compiler's log.
    ///
    /// # Panics
    /// When `source` or an option holds a NUL.
    pub(super) fn compile(&self, source: &str, target: Target, options: &[String]) -> Result<Vec<u8>> {
        let source = CString::new(source).expect("kernels are text");
        let failed = |NvrtcError(code), log: &str| {
            let lines: Vec<&str> = log.lines().map(str::trim).filter(|line| !line.is_empty()).take(LOG_LINES).collect();
            let log = if lines.is_empty() { String::new() } else { format!(": {}", lines.join(" | ")) };
            Error::UnsupportedDevice(format!("{self} does not compile the kernels for {target} ({code:?}){log}"))
        };
        let program = result::create_program(&source, Some(c"kernels.cu")).map_err(|error| failed(error, ""))?;
        let program = Program(program);
        // SAFETY: the program is valid until it is dropped, after the last use here, and so is its source.
        unsafe {
            if let Err(error) = result::compile_program(program.0, options) {
                let log = program.output(sys::nvrtcGetProgramLogSize, sys::nvrtcGetProgramLog).unwrap_or_default();
                return Err(failed(error, String::from_utf8_lossy(&log).trim_end_matches('\0')));
            }
            match target {
                Target::Machine(_) => program.output(sys::nvrtcGetCUBINSize, sys::nvrtcGetCUBIN),
                Target::Ptx(_) => program.output(sys::nvrtcGetPTXSize, sys::nvrtcGetPTX),
            }
            .map_err(|error| failed(error, ""))
        }
    }
}

struct Program(nvrtcProgram);

impl Program {
    /// Returns one of the program's outputs, given the function that tells its size and the one that writes it.
    ///
    /// # Safety
    /// The functions belong together, and the program is past what they need.
    unsafe fn output(
        &self,
        size: unsafe fn(nvrtcProgram, *mut usize) -> nvrtcResult,
        write: unsafe fn(nvrtcProgram, *mut c_char) -> nvrtcResult,
    ) -> Answer<Vec<u8>> {
        let mut length = 0;
        // SAFETY: `write` fills as many bytes as `size` says.
        unsafe {
            size(self.0, &mut length).result()?;
            let mut bytes = vec![0u8; length];
            write(self.0, bytes.as_mut_ptr().cast()).result()?;
            Ok(bytes)
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: the program was created and is not used again. A refusal leaves memory behind, no more.
        let _ = unsafe { result::destroy_program(self.0) };
    }
}

fn missing((major, minor): (u32, u32)) -> String {
    // The loader's other candidates are the names of the other system.
    let names: Vec<String> = cudarc::get_lib_name_candidates("nvrtc")
        .into_iter()
        .filter(|name| name.contains("64_") == cfg!(windows))
        .collect();
    format!(
        "the kernels have to be compiled for this device (compute capability {major}.{minor}), and NVRTC was not found (looked for {}); install it (CUDA toolkit, or the Python wheel nvidia-cuda-nvrtc) where the system's loader looks, or a driver that takes the library's own machine code, or build the library where nvcc is",
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_code_where_it_is_known_and_ptx_below_otherwise() {
        let compiler = Nvrtc { version: (13, 0), architectures: vec![75, 80, 86, 90, 100, 103, 120, 121] };
        let target = |major, minor| compiler.target((major, minor));
        assert_eq!(target(8, 6).unwrap(), Target::Machine(86));
        assert_eq!(target(10, 3).unwrap(), Target::Machine(103));
        assert_eq!(target(8, 9).unwrap(), Target::Ptx(86));
        assert_eq!(target(9, 9).unwrap(), Target::Ptx(90));
        assert_eq!(target(12, 9).unwrap(), Target::Ptx(121));
        let error = target(7, 0).unwrap_err().to_string();
        assert!(error.contains("NVRTC 13.0") && error.contains("7.0") && error.contains("75"), "{error}");
    }

    #[test]
    fn what_is_missing_is_named() {
        let sentence = missing((8, 6));
        for part in ["8.6", "nvidia-cuda-nvrtc", "nvcc", if cfg!(windows) { "nvrtc64_130_0.dll" } else { "nvrtc" }] {
            assert!(sentence.contains(part), "{sentence}");
        }
    }
}
