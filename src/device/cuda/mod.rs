//! The NVIDIA device: kernels of cuda/, driven through libraries that are loaded when they are first needed.

#[cfg(all(test, target_os = "linux"))]
mod tests;
