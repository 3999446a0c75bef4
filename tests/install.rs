//! What `make install` puts down, and that C programs find it there: by pkg-config, by CMake, shared and static, and after
//! the folder was moved.
#![cfg(target_os = "linux")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{root, scratch, shared_library};
use sfeuot::abi::SFEUOT_ABI_VERSION;

/// A host that makes a context, so that the library has run, and finds it of its header's interface.
const HOST: &str = r#"#include "sfeuot.h"

int main(void)
{
    SfeuotContext *context;
    if (sfeuot_context_create(NULL, &context) != SFEUOT_OK || sfeuot_context_release(context) != SFEUOT_OK)
        return 1;
    return sfeuot_abi_version() == SFEUOT_ABI_VERSION ? 0 : 2;
}
"#;
const PREFIX: &str = "/opt/of nowhere";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Installs for `PREFIX` into `folder` and returns what stands there for it.
fn installed(folder: &Path, settings: &[(&str, &str)]) -> PathBuf {
    let mut install = Command::new(root().join("scripts/install"));
    install.arg(shared_library().parent().expect("a library is in a folder"));
    install.env("PREFIX", PREFIX).env("DESTDIR", folder).envs(settings.iter().copied());
    let stdout = succeeded("scripts/install", install.output());
    assert!(stdout.lines().count() == 6 && stdout.lines().all(|line| Path::new(line).is_file()), "{stdout}");
    folder.join(PREFIX.trim_start_matches('/'))
}

fn succeeded(what: &str, output: std::io::Result<Output>) -> String {
    let output = output.unwrap_or_else(|error| panic!("{what} does not start: {error}"));
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    assert!(output.status.success(), "{what}: {}\n{stdout}\n{stderr}", output.status);
    stdout
}

/// Whether a tool is there; in CI it has to be.
fn has(tool: &str) -> bool {
    let there = Command::new(tool).arg("--version").output().is_ok();
    assert!(there || std::env::var_os("CI").is_none(), "{tool} is needed; scripts/install-deps --tests gets it");
    if !there {
        eprintln!("skipped: {tool} is not installed");
    }
    there
}

fn host(folder: &Path) -> PathBuf {
    let source = folder.join("host.c");
    fs::write(&source, HOST).expect("the scratch folder is writable");
    source
}

fn runs(program: &Path, libraries: Option<&Path>) {
    let mut run = Command::new(program);
    if let Some(folder) = libraries {
        run.env("LD_LIBRARY_PATH", folder);
    }
    succeeded(&program.display().to_string(), run.output());
}

#[test]
fn everything_is_in_its_place_and_names_no_other() {
    let folder = scratch("install-places");
    let lib = installed(&folder, &[("LIBDIR", "/opt/of nowhere/lib/x86_64-linux-gnu")]).join("lib/x86_64-linux-gnu");
    let library = format!("libsfeuot.so.{VERSION}");
    for link in ["libsfeuot.so".to_owned(), format!("libsfeuot.so.{SFEUOT_ABI_VERSION}")] {
        let file = fs::canonicalize(lib.join(link)).expect("a link to the library");
        assert_eq!(file.file_name(), Some(library.as_ref()));
    }
    for text in ["pkgconfig/sfeuot.pc", "cmake/sfeuot/sfeuot-config.cmake", "cmake/sfeuot/sfeuot-config-version.cmake"]
    {
        let text = fs::read_to_string(lib.join(text)).expect("an installed file");
        assert!(
            !text.contains("nowhere") && !text.contains('@') && !text.contains(&*folder.to_string_lossy()),
            "{text}"
        );
    }
    // Headers are two folders up from there.
    let package = fs::read_to_string(lib.join("pkgconfig/sfeuot.pc")).expect("an installed file");
    assert!(package.contains("includedir=${libdir}/../../include\n"), "{package}");
    assert!(package.contains(&format!("Version: {VERSION}\n")), "{package}");
    assert!(lib.join("../../include/sfeuot.h").is_file());
}

#[test]
fn a_relative_prefix_and_a_folder_without_the_library_are_refused() {
    let folder = scratch("install-refused");
    let refusal = |prefix: &str, built: &Path| {
        let mut install = Command::new(root().join("scripts/install"));
        let output =
            install.arg(built).env("PREFIX", prefix).env("DESTDIR", folder.join("out")).output().expect("it starts");
        assert!(!output.status.success() && !folder.join("out").exists());
        String::from_utf8(output.stderr).expect("UTF-8")
    };
    let built = shared_library();
    let built = built.parent().expect("a library is in a folder");
    assert!(refusal("usr/local", built).contains("'usr/local' has to be an absolute path"));
    assert!(refusal("/usr/local", &folder).contains("libsfeuot.so' is not there"));
}

#[test]
fn pkg_config_finds_it_where_it_was_moved() {
    if !has("pkg-config") {
        return;
    }
    let folder = scratch("install-pkg-config");
    let moved = folder.join("moved");
    fs::rename(installed(&folder, &[("STRIP", "1")]), &moved).expect("a folder can be moved");
    let flags = |options: &[&str]| {
        let path = moved.join("lib/pkgconfig");
        let flags = Command::new("pkg-config").args(options).arg("sfeuot").env("PKG_CONFIG_PATH", path).output();
        succeeded("pkg-config", flags).split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(flags(&["--modversion"]), [VERSION]);
    let program = folder.join("host");
    let mut build = Command::new("cc");
    build.arg(host(&folder)).args(flags(&["--cflags", "--libs"])).arg("-o").arg(&program);
    succeeded("cc", build.output());
    runs(&program, Some(&moved.join("lib")));
}

#[test]
fn cmake_finds_both_targets_where_it_was_moved() {
    if !has("cmake") {
        return;
    }
    let folder = scratch("install-cmake");
    let moved = folder.join("moved");
    fs::rename(installed(&folder, &[]), &moved).expect("a folder can be moved");
    let (major, minor) =
        VERSION.split_once('.').map(|(a, b)| (a, b.split('.').next().unwrap_or(b))).expect("a version");
    let project = |version: &str| {
        format!(
            "cmake_minimum_required(VERSION 3.16)\nproject(host C)\nfind_package(sfeuot {version} CONFIG REQUIRED)\n\
             foreach(kind sfeuot static)\n  add_executable(with-${{kind}} \"{}\")\n  \
             target_link_libraries(with-${{kind}} PRIVATE sfeuot::${{kind}})\nendforeach()\n",
            host(&folder).display()
        )
    };
    let configure = |version: &str| {
        fs::create_dir_all(folder.join("project")).expect("the scratch folder is writable");
        fs::write(folder.join("project/CMakeLists.txt"), project(version)).expect("the scratch folder is writable");
        let mut cmake = Command::new("cmake");
        cmake.arg("-S").arg(folder.join("project")).arg("-B").arg(folder.join("build"));
        cmake.arg(format!("-DCMAKE_PREFIX_PATH={}", moved.display())).output()
    };
    let next = format!("{major}.{}", minor.parse::<u32>().expect("a number") + 1);
    let refused = configure(&next).expect("cmake starts");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("sfeuot-config.cmake, version:"), "{refused:?}");

    succeeded("configuring", configure(&format!("{major}.{minor}")));
    succeeded("building", Command::new("cmake").arg("--build").arg(folder.join("build")).output());
    runs(&folder.join("build/with-sfeuot"), None);
    fs::remove_dir_all(&moved).expect("a folder can be removed");
    runs(&folder.join("build/with-static"), None);
}
