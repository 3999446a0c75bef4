//! What `make install` puts down, and that C programs find it there: by pkg-config, by CMake, shared and static, and after
//! the folder was moved.
#![cfg(target_os = "linux")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::programs::{has, succeed, succeeded};
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

/// scripts/install for what this test run built, without what the caller's environment says about other folders.
fn install(folder: &Path, settings: &[(&str, &str)]) -> Output {
    let mut install = Command::new(root().join("scripts/install"));
    install.arg(shared_library().parent().expect("a library is in a folder"));
    for name in ["LIBDIR", "INCLUDEDIR", "STRIP"] {
        install.env_remove(name);
    }
    install.env("PREFIX", PREFIX).env("DESTDIR", folder).envs(settings.iter().copied());
    install.output().expect("scripts/install starts")
}

/// Installs into `folder` and returns what stands there for `PREFIX`.
fn installed(folder: &Path, settings: &[(&str, &str)]) -> PathBuf {
    let stdout = succeeded("scripts/install", &install(folder, settings));
    assert!(stdout.lines().count() == 8 && stdout.lines().all(|line| Path::new(line).is_file()), "{stdout}");
    folder.join(PREFIX.trim_start_matches('/'))
}

/// Installs into a fresh folder and moves what stands there, to a name with two spaces: both folders.
fn installed_and_moved(test: &str, settings: &[(&str, &str)]) -> (PathBuf, PathBuf) {
    let folder = scratch(test);
    let moved = folder.join("moved  here");
    fs::rename(installed(&folder, settings), &moved).expect("a folder can be moved");
    (folder, moved)
}

fn host(folder: &Path) -> PathBuf {
    let source = folder.join("host.c");
    fs::write(&source, HOST).expect("the scratch folder is writable");
    source
}

/// Runs a host with the libraries that it was linked to.
fn runs(program: &Path) {
    let mut run = Command::new(program);
    succeed(run.env_remove("LD_LIBRARY_PATH").env("SFEUOT_CACHE_DIR", program.with_file_name("cache")));
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
    fs::remove_dir_all(folder).expect("the scratch folder is writable");
}

#[test]
fn settings_that_mean_nothing_are_refused_by_name() {
    let folder = scratch("install-refused");
    for (name, value, why) in [
        ("PREFIX", "usr/local", "PREFIX is 'usr/local'; it has to be an absolute path"),
        ("LIBDIR", "lib64", "LIBDIR is 'lib64'; it has to be an absolute path"),
        ("INCLUDEDIR", "/opt/R&D", "INCLUDEDIR is '/opt/R&D'"),
        ("STRIP", "yes", "STRIP is 'yes'; it has to be 0 or 1"),
    ] {
        let refused = install(&folder.join("out"), &[(name, value)]);
        let text = String::from_utf8(refused.stderr).expect("UTF-8");
        assert!(!refused.status.success() && text.contains(why) && !folder.join("out").exists(), "{text}");
    }
    let nothing =
        Command::new(root().join("scripts/install")).arg(&folder).env("PREFIX", PREFIX).output().expect("it starts");
    let text = String::from_utf8(nothing.stderr).expect("UTF-8");
    assert!(!nothing.status.success() && text.contains("libsfeuot.so' is not there"), "{text}");
}

#[test]
fn pkg_config_finds_it_where_it_was_moved_by_the_lines_of_the_manual() {
    if !has("pkg-config") {
        return;
    }
    let (folder, moved) = installed_and_moved("install-pkg-config", &[]);
    fs::rename(host(&folder), folder.join("engine.c")).expect("the scratch folder is writable");
    let shell = |line: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-euc", line]).current_dir(&folder).env("PKG_CONFIG_PATH", moved.join("lib/pkgconfig"));
        succeed(&mut shell).stdout
    };
    assert_eq!(shell("pkg-config --modversion sfeuot").trim_ascii(), VERSION.as_bytes());
    let manual = fs::read_to_string(root().join("docs/install.md")).expect("the manual");
    let lines: Vec<_> = manual.lines().filter(|line| line.contains("$(pkg-config ")).collect();
    let [shared, archive] = lines[..] else { panic!("{lines:#?}") };
    for (line, program) in [(shared, "shared"), (archive, "archive")] {
        shell(line);
        fs::rename(folder.join("a.out"), folder.join(program)).expect("the compiler wrote it");
    }
    runs(&folder.join("shared"));
    fs::remove_dir_all(&moved).expect("a folder can be removed");
    runs(&folder.join("archive"));
}

#[test]
fn cmake_finds_both_targets_where_it_was_moved() {
    if !has("cmake") {
        return;
    }
    let (folder, moved) = installed_and_moved("install-cmake", &[("STRIP", "1")]);
    // As where /lib is a link to /usr/lib: the package is reached by a path that its relative paths do not hold from.
    let linked = folder.join("linked");
    fs::create_dir_all(linked.join("lib/cmake")).expect("the scratch folder is writable");
    std::os::unix::fs::symlink(moved.join("lib/cmake/sfeuot"), linked.join("lib/cmake/sfeuot"))
        .expect("a link can be made");

    let source = host(&folder);
    let configure = |version: &str, prefix: &Path, build: &str| {
        let project = folder.join("project");
        fs::create_dir_all(&project).expect("the scratch folder is writable");
        let text = format!(
            "cmake_minimum_required(VERSION 3.16...3.25)\nproject(host C)\nfind_package(sfeuot {version} CONFIG REQUIRED)\n\
             foreach(kind sfeuot static)\n  add_executable(with-${{kind}} \"{}\")\n  \
             target_link_libraries(with-${{kind}} PRIVATE sfeuot::${{kind}})\nendforeach()\n",
            source.display()
        );
        fs::write(project.join("CMakeLists.txt"), text).expect("the scratch folder is writable");
        let mut cmake = Command::new("cmake");
        cmake.arg("-S").arg(project).arg("-B").arg(folder.join(build));
        cmake.arg(format!("-DCMAKE_PREFIX_PATH={}", prefix.display())).arg("-DCMAKE_MAP_IMPORTED_CONFIG_DEBUG=Release");
        cmake.arg("-DCMAKE_BUILD_TYPE=Debug").output().expect("cmake starts")
    };
    let mut numbers = VERSION.split('.').map(|number| number.parse::<u32>().expect("a number"));
    let (major, minor) = (numbers.next().expect("a major version"), numbers.next().expect("a minor version"));
    for newer in [format!("{major}.{}", minor + 1), format!("{}", major + 1), format!("{VERSION}.1 EXACT")] {
        let refused = configure(&newer, &moved, "refused");
        let text = String::from_utf8_lossy(&refused.stderr);
        assert!(
            !refused.status.success() && text.contains(&format!("sfeuot-config.cmake, version: {VERSION}")),
            "{text}"
        );
    }
    for (version, prefix) in
        [(format!("{VERSION} EXACT"), &moved), (String::new(), &linked), (format!("{major}.{minor}"), &moved)]
    {
        succeeded("configuring", &configure(&version, prefix, "build"));
        succeed(Command::new("cmake").arg("--build").arg(folder.join("build")).arg("--clean-first"));
    }
    runs(&folder.join("build/with-sfeuot"));
    fs::remove_dir_all(&moved).expect("a folder can be removed");
    runs(&folder.join("build/with-static"));
}
