//! What version of the library runs, and whether a header fits it.

use super::panic::guard_value;

/// Versions of this header and of the binary interface. sfeuot_version and sfeuot_abi_version tell
/// those of the library that is running.
///
/// ---
///
/// Major number of this header's version.
pub const SFEUOT_VERSION_MAJOR: u32 = 0;
/// Minor number of this header's version.
pub const SFEUOT_VERSION_MINOR: u32 = 1;
/// Patch number of this header's version.
pub const SFEUOT_VERSION_PATCH: u32 = 0;
/// Version of the binary interface. It is also the number at the end of the shared library's SONAME.
/// A program built against a header runs with every library that has the same number and is at least
/// as new.
///
/// Structs are filled by their sfeuot_..._init function before use. It sets struct_size, which tells
/// the library how much of the struct the host knows. New fields are only ever appended, so a
/// program built against an older header runs unchanged with a newer library: the fields that its
/// header lacks have their defaults. A struct of a newer header is refused with
/// SFEUOT_ERROR_UNSUPPORTED_VERSION. Enums travel as int32_t, and a number that is no value of the
/// enum is refused.
pub const SFEUOT_ABI_VERSION: u32 = 0;

/// Returns the version of the library that is running: MAJOR << 16 | MINOR << 8 | PATCH.
#[unsafe(no_mangle)]
pub extern "C" fn sfeuot_version() -> u32 {
    guard_value(0, || SFEUOT_VERSION_MAJOR << 16 | SFEUOT_VERSION_MINOR << 8 | SFEUOT_VERSION_PATCH)
}

/// Returns the SFEUOT_ABI_VERSION of the library that is running. A host that loads the library by
/// hand (dlopen, LoadLibrary) compares it with the macro before any other call.
#[unsafe(no_mangle)]
pub extern "C" fn sfeuot_abi_version() -> u32 {
    guard_value(0, || SFEUOT_ABI_VERSION)
}
