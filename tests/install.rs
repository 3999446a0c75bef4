//! What `make install` puts down, and that C programs find it there: by pkg-config, by CMake, shared and static, and after
//! the folder was moved. What it puts down of builds for Windows and macOS; scripts/check-targets links to a DLL.
#![cfg(target_os = "linux")]

mod common;

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
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
    install_from(shared_library().parent().expect("a library is in a folder"), folder, settings)
}

/// The same for what lies in `built`.
fn install_from(built: &Path, folder: &Path, settings: &[(&str, &str)]) -> Output {
    let mut install = Command::new(root().join("scripts/install"));
    install.arg(built);
    for name in ["LIBDIR", "INCLUDEDIR", "BINDIR", "STRIP"] {
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
        ("BINDIR", "bin", "BINDIR is 'bin'; it has to be an absolute path"),
        ("INCLUDEDIR", "/opt/R&D", "INCLUDEDIR is '/opt/R&D', '../../R&D' from LIBDIR"),
        ("STRIP", "yes", "STRIP is 'yes'; it has to be 0 or 1"),
    ] {
        let refused = install(&folder.join("out"), &[(name, value)]);
        let text = String::from_utf8(refused.stderr).expect("UTF-8");
        assert!(!refused.status.success() && text.contains(why) && !folder.join("out").exists(), "{text}");
    }
}

#[test]
fn folders_with_no_library_or_with_a_part_of_one_are_refused() {
    let cases: [(&[&str], &str); 3] = [
        (&[], "has no libsfeuot.so, libsfeuot.dylib or sfeuot.dll"),
        (&["sfeuot.dll"], "has sfeuot.dll without libsfeuot.dll.a or sfeuot.dll.lib"),
        (&["sfeuot.dll", "libsfeuot.dll.a", "libsfeuot.dylib"], "libraries of several systems"),
    ];
    for (files, why) in cases {
        let folder = scratch("install-parts");
        let refused = install_from(&built(&folder, files), &folder.join("out"), &[]);
        let text = String::from_utf8(refused.stderr).expect("UTF-8");
        assert!(!refused.status.success() && text.contains(why) && !folder.join("out").exists(), "{text}");
    }
}

/// A folder with files of these names, as cargo leaves it for another system. Each holds its own name.
fn built(folder: &Path, files: &[&str]) -> PathBuf {
    let built = folder.join("built");
    fs::create_dir(&built).expect("the scratch folder is writable");
    for file in files {
        fs::write(built.join(file), file).expect("the scratch folder is writable");
    }
    built
}

/// The files below a folder by their path, links with what they lead to.
fn listed(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.strip_prefix(folder).expect("below it").display().to_string();
            match fs::read_link(&path) {
                Ok(target) => found.push(format!("{name} -> {}", target.display())),
                Err(_) if path.is_dir() => folders.push(path),
                Err(_) => found.push(name),
            }
        }
    }
    found.sort();
    found
}

/// What is installed on every system, with LIBDIR's name in place of `lib`, and what else is.
fn expected(lib: &str, more: &[&str]) -> Vec<String> {
    let everywhere = [
        "include/sfeuot.h".to_owned(),
        "share/doc/sfeuot/LICENSE-APACHE".to_owned(),
        "share/doc/sfeuot/LICENSE-MIT".to_owned(),
        format!("{lib}/cmake/sfeuot/sfeuot-config-version.cmake"),
        format!("{lib}/cmake/sfeuot/sfeuot-config.cmake"),
        format!("{lib}/pkgconfig/sfeuot.pc"),
    ];
    let mut all: Vec<_> = everywhere.into_iter().chain(more.iter().map(|&name| name.to_owned())).collect();
    all.sort();
    all
}

/// What CMake knows of sfeuot::sfeuot in an installed folder, for a project of that system: location, import library and
/// SONAME. Empty where there is no CMake.
fn target(system: &str, prefix: &Path) -> Option<[String; 3]> {
    if !has("cmake") {
        return None;
    }
    let project = prefix.with_file_name("project");
    fs::create_dir_all(&project).expect("the scratch folder is writable");
    let properties = ["LOCATION", "IMPLIB", "SONAME"];
    let mut text =
        "cmake_minimum_required(VERSION 3.16...3.25)\nproject(host NONE)\nfind_package(sfeuot CONFIG REQUIRED)\n\
         if(TARGET sfeuot::static)\n  message(FATAL_ERROR \"there is no archive\")\nendif()\n"
            .to_owned();
    for property in properties {
        text += &format!(
            "get_target_property(found sfeuot::sfeuot IMPORTED_{property}_RELEASE)\nmessage(STATUS \"{property}=${{found}}\")\n"
        );
    }
    fs::write(project.join("CMakeLists.txt"), text).expect("the scratch folder is writable");
    let mut cmake = Command::new("cmake");
    cmake.arg("-S").arg(&project).arg("-B").arg(project.join("build")).arg(format!("-DCMAKE_SYSTEM_NAME={system}"));
    let output = succeed(cmake.arg(format!("-DCMAKE_PREFIX_PATH={}", prefix.display())));
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    Some(properties.map(|property| {
        let line = said.lines().find_map(|line| line.strip_prefix(&format!("-- {property}="))).expect("it was printed");
        line.to_owned()
    }))
}

#[test]
fn a_dll_is_installed_with_the_import_library_of_either_compiler() {
    for (import, place) in [("libsfeuot.dll.a", "libsfeuot.dll.a"), ("sfeuot.dll.lib", "sfeuot.lib")] {
        let folder = scratch("install-dll");
        // Cargo's folder also has the static archive, as libsfeuot.a or sfeuot.lib: it is none that could be installed.
        let built = built(&folder, &["sfeuot.dll", import, "libsfeuot.a", "sfeuot.lib"]);
        let stdout = succeeded("scripts/install", &install_from(&built, &folder, &[]));
        assert!(stdout.lines().count() == 8 && stdout.lines().all(|line| Path::new(line).is_file()), "{stdout}");
        let moved = folder.join("moved");
        fs::rename(folder.join(PREFIX.trim_start_matches('/')), &moved).expect("a folder can be moved");
        assert_eq!(listed(&moved), expected("lib", &["bin/sfeuot.dll", &format!("lib/{place}")]));
        assert_eq!(fs::read_to_string(moved.join("lib").join(place)).expect("an installed file"), import);
        let package = fs::read_to_string(moved.join("lib/pkgconfig/sfeuot.pc")).expect("an installed file");
        assert!(package.contains("\nLibs: -L${libdir} -lsfeuot\nLibs.private:\n"), "{package}");
        if let Some([location, implib, soname]) = target("Windows", &moved) {
            assert_eq!(fs::read_to_string(location).expect("the DLL"), "sfeuot.dll");
            assert_eq!(fs::read_to_string(implib).expect("the import library"), import);
            assert!(soname.ends_with("NOTFOUND"), "{soname}");
        }
    }
}

#[test]
fn a_dll_goes_where_bindir_says() {
    let folder = scratch("install-bindir");
    let built = built(&folder, &["sfeuot.dll", "libsfeuot.dll.a"]);
    let settings = [("LIBDIR", "/opt/of nowhere//lib/./x86_64/"), ("BINDIR", "/opt/of nowhere/lib/../runtime/x86_64")];
    succeeded("scripts/install", &install_from(&built, &folder, &settings));
    let prefix = folder.join(PREFIX.trim_start_matches('/'));
    assert_eq!(listed(&prefix), expected("lib/x86_64", &["lib/x86_64/libsfeuot.dll.a", "runtime/x86_64/sfeuot.dll"]));
    let package = fs::read_to_string(prefix.join("lib/x86_64/cmake/sfeuot/sfeuot-config.cmake")).expect("a file");
    assert!(package.contains("\"${sfeuot_libdir}/../../runtime/x86_64/sfeuot.dll\""), "{package}");
}

#[test]
fn a_dylib_is_installed_under_the_names_of_its_versions_where_otool_finds_its_own() {
    let folder = scratch("install-dylib");
    let built = built(&folder, &["libsfeuot.dylib", "libsfeuot.a"]);
    let own_name = format!("@rpath/libsfeuot.{SFEUOT_ABI_VERSION}.dylib");
    // An otool that gives this name.
    let install_where_otool_says = |name: &str| {
        let otool = folder.join("otool");
        fs::write(&otool, format!("#!/bin/sh\necho \"$2:\"\necho {name}\n")).expect("the scratch folder is writable");
        fs::set_permissions(&otool, fs::Permissions::from_mode(0o755)).expect("its own file");
        let paths = env::var_os("PATH").unwrap_or_default();
        let paths = env::join_paths([folder.clone()].into_iter().chain(env::split_paths(&paths))).expect("no colons");
        install_from(&built, &folder.join("out"), &[("PATH", paths.to_str().expect("UTF-8"))])
    };
    let refused = install_where_otool_says("@rpath/libsfeuot.dylib");
    let text = String::from_utf8(refused.stderr).expect("UTF-8");
    assert!(
        text.contains(&format!("has the name '@rpath/libsfeuot.dylib' and the header's is '{own_name}'")),
        "{text}"
    );
    assert!(!refused.status.success() && !folder.join("out").exists());

    let stdout = succeeded("scripts/install", &install_where_otool_says(&own_name));
    assert_eq!(stdout.lines().count(), 7, "{stdout}");
    let prefix = folder.join("out").join(PREFIX.trim_start_matches('/'));
    let library = format!("libsfeuot.{VERSION}.dylib");
    let link = format!("libsfeuot.{SFEUOT_ABI_VERSION}.dylib");
    let files =
        [format!("lib/{library}"), format!("lib/{link} -> {library}"), format!("lib/libsfeuot.dylib -> {link}")];
    assert_eq!(listed(&prefix), expected("lib", &files.each_ref().map(String::as_str)));
    if let Some([location, implib, soname]) = target("Darwin", &prefix) {
        assert!(fs::read_to_string(&location).is_ok_and(|text| text == "libsfeuot.dylib"), "{location}");
        assert!(implib.ends_with("NOTFOUND") && soname == own_name, "{implib}, {soname}");
    }
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
