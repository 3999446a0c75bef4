//! The kernels in a form that a driver loads: machine code from the build of the library, or code compiled for the
//! device in use.

mod cache;
#[cfg(all(test, target_os = "linux"))]
mod contents;
mod nvrtc;
#[cfg(test)]
mod tests;

use crate::device::gpus::Precision;
use crate::error::Result;
use crate::log::LogLevel;
use nvrtc::Nvrtc;
use std::path::Path;
use std::time::Instant;

/// All kernels as one text that includes nothing, made by build.rs.
const SOURCE: &str = include_str!(concat!(env!("OUT_DIR"), "/kernels.cu"));

/// Drivers read a fatbin's header as words.
#[repr(C, align(16))]
struct Aligned<T: ?Sized>(T);

static FATBIN: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/kernels.fatbin")));

/// Returns a fatbin with machine code for several architectures and PTX for newer ones; `None` where the library was
/// built without nvcc.
pub(crate) fn embedded() -> Option<&'static [u8]> {
    (!FATBIN.0.is_empty()).then_some(&FATBIN.0)
}

/// Returns the kernels for a device of compute capability (major, minor), compiled by NVRTC: machine code (ELF) where
/// NVRTC knows the architecture, otherwise PTX with a NUL at its end. The driver takes both from memory. Kernels that
/// `precision` does not use may do nothing in it.
///
/// Compiled kernels are kept in the folder `cache`, by default the one of [`cache::default_folder`]. The next call with
/// the same sources, NVRTC and architecture takes them from there. A damaged file is replaced. A folder that cannot be
/// written gives a message.
///
/// # Errors
/// `Error::UnsupportedDevice` when NVRTC is not installed, is too old, does not know the device, or does not compile
/// the sources; the sentence has the first lines of its log.
pub(crate) fn compiled(
    capability: (u32, u32),
    precision: Precision,
    cache: Option<&Path>,
    log: &mut dyn FnMut(LogLevel, &str),
) -> Result<Vec<u8>> {
    let compiler = Nvrtc::load(capability)?;
    let target = compiler.target(capability)?;
    let options = target.options(precision);
    let folder = cache.map(Path::to_owned).or_else(cache::default_folder);
    let entry = folder.map(|folder| cache::Entry::new(&folder, SOURCE, compiler.version(), &options));
    let compile = || {
        let start = Instant::now();
        let image = compiler.compile(SOURCE, target, &options)?;
        Ok((image, format!("by {compiler} in {:.1?}", start.elapsed())))
    };
    kept(entry, &target.to_string(), compile, log)
}

/// Returns the image of the cache, or what `compile` returns, whose second part says how it was made.
fn kept(
    entry: Option<cache::Entry>,
    target: &str,
    compile: impl FnOnce() -> Result<(Vec<u8>, String)>,
    log: &mut dyn FnMut(LogLevel, &str),
) -> Result<Vec<u8>> {
    if let Some(image) = entry.as_ref().and_then(cache::Entry::read) {
        log(LogLevel::Debug, &format!("kernels for {target} taken from the cache"));
        return Ok(image);
    }
    let (image, how) = compile()?;
    log(LogLevel::Info, &format!("kernels compiled for {target} {how}"));
    if let Some(Err(error)) = entry.map(|entry| entry.write(&image)) {
        log(LogLevel::Info, &format!("compiled kernels are not kept for the next time: {error}"));
    }
    Ok(image)
}
