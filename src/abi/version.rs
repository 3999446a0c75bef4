//! What version of the library runs, and whether a header fits it.

use super::panic::guard_value;

/// Versions.
///
/// Version of this header: major number.
pub const SFEUOT_VERSION_MAJOR: u32 = 0;
/// Version of this header: minor number.
pub const SFEUOT_VERSION_MINOR: u32 = 1;
/// Version of this header: patch number.
pub const SFEUOT_VERSION_PATCH: u32 = 0;
/// Version of the binary interface, also the number at the end of the shared library's SONAME.
/// Programs built against a header run with every library of the same number that is at least as
/// new.
pub const SFEUOT_ABI_VERSION: u32 = 0;

/// The version of the library that is running: MAJOR << 16 | MINOR << 8 | PATCH.
#[unsafe(no_mangle)]
pub extern "C" fn sfeuot_version() -> u32 {
    guard_value(0, || SFEUOT_VERSION_MAJOR << 16 | SFEUOT_VERSION_MINOR << 8 | SFEUOT_VERSION_PATCH)
}

/// The SFEUOT_ABI_VERSION of the library that is running. A host that loads the library by hand
/// (dlopen, LoadLibrary) compares it with the macro before any other call.
#[unsafe(no_mangle)]
pub extern "C" fn sfeuot_abi_version() -> u32 {
    guard_value(0, || SFEUOT_ABI_VERSION)
}
