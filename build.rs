//! Gives the shared library its SONAME, so that programs find a library of the ABI they were built against, keeps it
//! loaded for the life of the process, and puts the CUDA kernels into it.

#[path = "cuda/build/arguments.rs"]
mod arguments;
#[path = "cuda/build/flatten.rs"]
mod flatten;
#[path = "cuda/build/nvcc.rs"]
mod nvcc;
#[allow(dead_code, reason = "tests alone need the bounds")]
#[path = "cuda/build/signatures.rs"]
mod signatures;

use std::path::PathBuf;
use std::{env, fs, process};

/// `SFEUOT_ABI_VERSION` of `src/abi/version.rs`; a test compares the built library with the header.
const ABI_VERSION: u32 = 0;

fn main() {
    for file in ["build.rs", "cuda/build"] {
        println!("cargo::rerun-if-changed={file}");
    }
    name_library();
    keep_library();
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    if let Err(error) = embed_kernels() {
        for line in error.lines() {
            println!("cargo::error={line}");
        }
        process::exit(1);
    }
}

fn name_library() {
    match env::var("CARGO_CFG_TARGET_OS").as_deref() {
        Ok("linux" | "android" | "freebsd" | "netbsd" | "openbsd") => {
            println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libsfeuot.so.{ABI_VERSION}");
        }
        Ok("macos" | "ios") => {
            println!("cargo::rustc-cdylib-link-arg=-Wl,-install_name,@rpath/libsfeuot.{ABI_VERSION}.dylib");
        }
        _ => {}
    }
}

/// Makes `dlclose` leave the library where it is. Its threads and the destructors of thread-local values run code of
/// it, and handles outlive a `dlclose` as long as the library does. Without the flag that depends on which threads of
/// the host live.
fn keep_library() {
    if let Ok("linux" | "android" | "freebsd" | "netbsd" | "openbsd") = env::var("CARGO_CFG_TARGET_OS").as_deref() {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}

/// Writes what `src/device/cuda/image.rs` includes: kernels.cu, their sources as one text, and kernels.fatbin, their
/// machine code, which is empty where there is no nvcc. And what `src/device/cuda/kernels.rs` includes: kernels.rs, their
/// names and parameters.
fn embed_kernels() -> Result<(), String> {
    let folder = |name: &str| env::var_os(name).map(PathBuf::from).expect("cargo sets it for build scripts");
    let (root, out) = (folder("CARGO_MANIFEST_DIR"), folder("OUT_DIR"));
    let sources = root.join("cuda");
    let flat = flatten::flatten(&sources, "kernels.cu")?;
    for file in &flat.files {
        println!("cargo::rerun-if-changed={}", file.display());
    }
    let write = |name: &str, text: &str| {
        let path = out.join(name);
        fs::write(&path, text).map_err(|error| format!("cannot write '{}': {error}", path.display()))
    };
    write("kernels.cu", &flat.text)?;
    write("kernels.rs", &arguments::write(&signatures::read(&flat.text)?))?;
    match nvcc::find(&root)? {
        Some(nvcc) => nvcc::compile(&nvcc, &sources.join("kernels.cu"), &flat.text, &out.join("kernels.fatbin")),
        None => write("kernels.report", "").and_then(|()| write("kernels.fatbin", "")),
    }
}
