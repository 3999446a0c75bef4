//! The library from its sources in the CMake project of a host, by add_subdirectory and FetchContent, and alone.
#![cfg(target_os = "linux")]

#[path = "common/place.rs"]
mod place;
#[path = "common/programs.rs"]
mod programs;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use place::{root, shared_library};
use programs::{has, succeed, succeeded};

/// A library of the host's between its program and libsfeuot, in a folder of its own, as in an engine.
const HOST: &str = r#"cmake_minimum_required(VERSION 3.16...3.25)
project(host C)
BRING
add_subdirectory(engine)
"#;
const ENGINE: &str = r#"foreach(kind sfeuot static)
  add_library(engine-${kind} STATIC "${CMAKE_CURRENT_SOURCE_DIR}/plugin.c")
  target_link_libraries(engine-${kind} PUBLIC sfeuot::${kind} m)
  add_executable(with-${kind} main.c)
  target_link_libraries(with-${kind} PRIVATE engine-${kind})
endforeach()
"#;
const MAIN: &str = r#"#include "plugin.h"

int main(void)
{
    SfeuotTrainer *trainer = plugin_start();
    if (plugin_train(trainer) != 10)
        return 1;
    plugin_finish(trainer);
    return 0;
}
"#;

/// The folder of a host whose CMakeLists.txt brings the library by these lines. Its name has a space.
fn host(test: &str, bring: &str) -> PathBuf {
    let folder = place::room().join(test).join("a host");
    let _ = fs::remove_dir_all(folder.parent().expect("it was joined"));
    let engine = folder.join("engine");
    fs::create_dir_all(&engine).expect("the folder is writable");
    let write = |path: PathBuf, text: &str| fs::write(path, text).expect("the folder is writable");
    write(folder.join("CMakeLists.txt"), &HOST.replace("BRING", bring));
    write(engine.join("CMakeLists.txt"), ENGINE);
    write(engine.join("main.c"), MAIN);
    for file in ["plugin.c", "plugin.h", "check.h"] {
        fs::copy(root().join("tests/c").join(file), engine.join(file)).expect("the folder is writable");
    }
    folder
}

/// Configures with cargo's folder and profile of this test run, and as its tests were built, so that there is nothing to build.
fn configure(source: &Path, build: &Path, options: &[&str]) -> Output {
    let library = shared_library();
    let folder = library.parent().expect("a library is in a folder");
    let folder = if folder.ends_with("deps") { folder.parent().expect("deps is in one") } else { folder };
    let target = folder.parent().expect("cargo's target folder");
    let profile = if folder.ends_with("debug") { "dev" } else { "release" };
    let mut cmake = Command::new("cmake");
    cmake.arg("-S").arg(source).arg("-B").arg(build).arg(format!("-DSFEUOT_TARGET_DIR={}", target.display()));
    cmake.arg(format!("-DSFEUOT_PROFILE={profile}")).arg("-DSFEUOT_CARGO_ARGUMENTS=--offline;--test;cmake");
    let cargo = env::var("CARGO").expect("cargo says where it is");
    cmake.arg(format!("-DSFEUOT_CARGO={cargo}")).args(options).output().expect("cmake starts")
}

fn build(folder: &Path) -> String {
    let mut cmake = Command::new("cmake");
    let output = succeed(cmake.arg("--build").arg(folder).args(["--parallel", "2"]));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn run_both(folder: &Path) {
    for kind in ["with-sfeuot", "with-static"] {
        succeed(Command::new(folder.join(kind)).env_remove("LD_LIBRARY_PATH"));
    }
}

fn generators() -> Vec<&'static str> {
    ["Unix Makefiles", "Ninja"].into_iter().filter(|generator| *generator != "Ninja" || has("ninja")).collect()
}

#[test]
fn a_host_builds_it_by_add_subdirectory_and_its_programs_run_where_they_are_built() {
    if !has("cmake") {
        return;
    }
    let bring = format!(
        "set(VERSION mine)\nadd_subdirectory(\"{}\" sfeuot)\nif(NOT VERSION STREQUAL \"mine\" OR DEFINED built)\n  \
         message(FATAL_ERROR \"names of the library's own project are seen in the host's\")\nendif()",
        root().display()
    );
    let source = host("cmake-subdirectory", &bring);
    for (generator, kind) in generators().into_iter().zip(["Debug", "Release"]) {
        let folder = source.join(generator);
        let options = ["-G", generator, &format!("-DCMAKE_BUILD_TYPE={kind}")];
        succeeded("configuring", &configure(&source, &folder, &options));
        build(&folder);
        run_both(&folder.join("engine"));
        // Cargo is asked again, and nothing else is done.
        let again = build(&folder);
        assert!(!again.contains("Linking") && !again.contains("Copying"), "{again}");
        // What the library's own project installs is nothing of the host's.
        let installed = source.join("installed");
        succeed(Command::new("cmake").arg("--install").arg(&folder).arg("--prefix").arg(&installed));
        assert!(!installed.join("lib").exists());
    }
}

#[test]
fn a_host_with_several_configurations_fetches_it() {
    if !has("cmake") || !has("ninja") {
        return;
    }
    let bring = format!(
        "include(FetchContent)\nFetchContent_Declare(sfeuot SOURCE_DIR \"{}\")\nFetchContent_MakeAvailable(sfeuot)",
        root().display()
    );
    let source = host("cmake-fetch", &bring);
    let folder = source.join("build");
    succeeded("configuring", &configure(&source, &folder, &["-G", "Ninja Multi-Config"]));
    build(&folder);
    run_both(&folder.join("engine/Debug"));
}

#[test]
fn alone_it_installs_what_make_install_does() {
    if !has("cmake") {
        return;
    }
    let folder = place::room().join("cmake-alone");
    let _ = fs::remove_dir_all(&folder);
    let (built, prefix, staged) = (folder.join("build"), folder.join("a prefix"), folder.join("staged"));
    succeeded("configuring", &configure(&root(), &built, &["-DCMAKE_INSTALL_LIBDIR=lib64"]));
    build(&built);
    succeed(Command::new("cmake").arg("--install").arg(&built).arg("--prefix").arg(&prefix).env("DESTDIR", &staged));
    let mut install = Command::new(root().join("scripts/install"));
    install.arg(shared_library().parent().expect("a library is in a folder"));
    install.env("PREFIX", folder.join("b prefix")).env("LIBDIR", folder.join("b prefix/lib64")).env("DESTDIR", &staged);
    succeed(install.env_remove("INCLUDEDIR").env_remove("STRIP"));

    let files = |prefix: &str| {
        let mut found = Vec::new();
        let folder = staged.join(folder.strip_prefix("/").expect("an absolute path")).join(prefix);
        list(&folder, &folder, &mut found);
        found.sort();
        found
    };
    let (by_cmake, by_make) = (files("a prefix"), files("b prefix"));
    assert!(by_cmake.len() == 10 && by_cmake == by_make, "{by_cmake:?}\n{by_make:?}");
}

/// The files below `folder`, by their path from `root`, with their content's length.
fn list(folder: &Path, root: &Path, found: &mut Vec<(PathBuf, u64)>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            list(&path, root, found);
        } else {
            let length = fs::metadata(&path).expect("a file, or a link to one").len();
            found.push((path.strip_prefix(root).expect("below it").to_owned(), length));
        }
    }
}

#[test]
fn a_missing_cargo_is_named() {
    if !has("cmake") {
        return;
    }
    let source = host("cmake-without-cargo", &format!("add_subdirectory(\"{}\" sfeuot)", root().display()));
    let refused = configure(&source, &source.join("build"), &["-DSFEUOT_CARGO=/nowhere/cargo"]);
    let said = String::from_utf8_lossy(&refused.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(!refused.status.success() && said.contains("cargo, which builds it, was not found"), "{said}");
    assert!(said.contains("'/nowhere/cargo'") && said.contains("Install Rust 1."), "{said}");
}
