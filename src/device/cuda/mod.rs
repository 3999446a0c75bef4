//! The NVIDIA device: kernels of cuda/, driven through libraries that are loaded when they are first needed.

#[cfg_attr(not(test), expect(dead_code, reason = "the device that loads it comes next"))]
pub(crate) mod image;
#[cfg(all(test, target_os = "linux"))]
mod tests;
