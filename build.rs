//! Gives the shared library its SONAME, so that programs find a library of the ABI they were built against.

/// `SFEUOT_ABI_VERSION` of `src/abi/version.rs`; a test compares the built library with the header.
const ABI_VERSION: u32 = 0;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    match std::env::var("CARGO_CFG_TARGET_OS").as_deref() {
        Ok("linux" | "android" | "freebsd" | "netbsd" | "openbsd") => {
            println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libsfeuot.so.{ABI_VERSION}");
        }
        Ok("macos" | "ios") => {
            println!("cargo::rustc-cdylib-link-arg=-Wl,-install_name,@rpath/libsfeuot.{ABI_VERSION}.dylib");
        }
        _ => {}
    }
}
