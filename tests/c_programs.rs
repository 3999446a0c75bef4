//! Programs in C against the built library, as a host builds them: compile, link, run, and run once
//! more under valgrind.
#![cfg(target_os = "linux")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::programs::{has, succeed};
use common::{library_path, root, scratch, shared_library, simulator};

const WARNINGS: [&str; 8] =
    ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wshadow", "-Wconversion", "-Wstrict-aliasing", "-Wundef"];

#[test]
fn the_header_compiles_under_every_standard() {
    let folder = scratch("header_standards");
    // Twice, for the guard; alone, so that it brings its own includes.
    let text = "#include \"sfeuot.h\"\n#include \"sfeuot.h\"\nint main(void) { return (int)sfeuot_abi_version(); }\n";
    let compilers = [
        ("cc", "header.c", ["c99", "c11", "c17", "c2x"].as_slice()),
        ("c++", "header.cpp", ["c++98", "c++11", "c++14", "c++17", "c++20", "c++23"].as_slice()),
    ];
    for (compiler, name, standards) in compilers {
        let file = folder.join(name);
        std::fs::write(&file, text).expect("the scratch folder is writable");
        for standard in standards {
            succeed(
                Command::new(compiler)
                    .arg(format!("-std={standard}"))
                    .args(WARNINGS)
                    .args(["-fsyntax-only", "-I"])
                    .arg(root().join("include"))
                    .arg(&file),
            );
        }
    }
}

/// Builds tests/c/`name`.c against the library and returns the program and the folder where the
/// loader finds the library.
fn build(name: &str) -> (PathBuf, PathBuf) {
    build_as(name, name)
}

/// As [`build`], in a folder of that name.
fn build_as(name: &str, folder: &str) -> (PathBuf, PathBuf) {
    let folder = scratch(folder);
    let library = shared_library();
    for link in ["libsfeuot.so".to_owned(), format!("libsfeuot.so.{}", sfeuot::abi::SFEUOT_ABI_VERSION)] {
        std::os::unix::fs::symlink(&library, folder.join(link)).expect("the scratch folder is writable");
    }
    let program = folder.join(name);
    succeed(
        Command::new("cc")
            .args(["-std=c11", "-g", "-O1"])
            .args(WARNINGS)
            .arg("-I")
            .arg(root().join("include"))
            .arg(root().join("tests/c").join(format!("{name}.c")))
            .arg("-L")
            .arg(&folder)
            .args(["-lsfeuot", "-lm", "-o"])
            .arg(&program),
    );
    (program, folder)
}

fn run(program: &Path, folder: &Path, arguments: &[&Path]) {
    let output = succeed(Command::new(program).args(arguments).env("LD_LIBRARY_PATH", library_path([folder])));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.stdout.is_empty() && stderr.is_empty(), "the library writes to the host's streams: {stderr}");

    if !has("valgrind") {
        return;
    }
    succeed(
        Command::new("valgrind")
            .args(["--quiet", "--leak-check=full", "--error-exitcode=1"])
            // Rust's standard library keeps its handle of the main thread by a pointer into its middle: "possibly
            // lost" to valgrind.
            .arg("--errors-for-leak-kinds=definite")
            .arg(program)
            .args(arguments)
            .env("LD_LIBRARY_PATH", library_path([folder])),
    );
}

#[test]
fn a_program_lives_through_the_life_of_the_objects() {
    let (program, folder) = build("abi_smoke");
    run(&program, &folder, &[&folder]);
}

/// scripts/check-targets does the same from one system to another.
#[test]
fn what_a_program_writes_it_reads_again() {
    let (program, folder) = build("portable");
    run(&program, &folder, &[Path::new("write"), &folder]);
    run(&program, &folder, &[Path::new("read"), &folder]);
}

#[test]
fn a_program_that_misuses_everything_stays_alive() {
    let (program, folder) = build("abi_misuse");
    run(&program, &folder, &[]);
}

/// Without valgrind: what threads of the parent hold has no owner in a child.
#[test]
fn a_program_that_forks_goes_on_in_the_child() {
    let (program, folder) = build("fork");
    let output = succeed(Command::new(program).env("LD_LIBRARY_PATH", library_path([folder.as_path()])));
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "the library writes to the host's streams");
}

#[test]
fn a_program_lives_through_the_life_of_the_objects_on_a_gpu() {
    run_on_gpu("abi_smoke");
}

#[test]
fn a_program_that_forks_leaves_the_gpu_to_the_parent() {
    run_on_gpu("fork");
}

/// Runs a program with a folder for files and an argument more, which makes it use a GPU: the simulated one if need be.
fn run_on_gpu(name: &str) {
    let simulated = if simulator::real_gpu() { None } else { simulator::folder() };
    if !simulator::real_gpu() && simulated.is_none() {
        return;
    }
    let (program, folder) = build_as(name, &format!("{name}_gpu"));
    let output = succeed(
        Command::new(program)
            .arg(&folder)
            .arg("gpu")
            .env("LD_LIBRARY_PATH", library_path(std::iter::once(folder.as_path()).chain(simulated)))
            .env("SFEUOT_CACHE_DIR", folder.join("cache")),
    );
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "the library writes to the host's streams");
}
