//! The library in programs as hosts link them: the archive beside other archives from Rust and in a plug-in, by gcc and
//! clang with and without link-time optimisation, and the shared library below a plug-in that is reloaded.
#![cfg(target_os = "linux")]

mod common;

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use common::programs::{has, succeed, succeeded};
use common::{declared_functions, root, scratch, shared_library};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _, SymbolScope};
use sfeuot::abi::SFEUOT_ABI_VERSION;

/// A library in Rust that shows one function: how many of its panics were caught, with what lived in between dropped.
const PANICS: &str = r#"
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

struct Dropped<'a>(&'a Cell<u32>);

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[inline(never)]
fn fall(depth: u32, dropped: &Cell<u32>) -> u32 {
    let _dropped = Dropped(dropped);
    if depth == 0 { panic!("at the bottom") } else { fall(depth - 1, dropped) + 1 }
}

fn caught(count: u32) -> u32 {
    let dropped = Cell::new(0);
    let caught = (0..count).filter(|depth| catch_unwind(AssertUnwindSafe(|| fall(*depth, &dropped))).is_err()).count();
    if dropped.get() == count * (count + 1) / 2 { caught as u32 } else { 0 }
}

#[unsafe(no_mangle)]
pub extern "C" fn NAME(count: u32) -> u32 {
    let here = caught(count);
    let there = std::thread::spawn(move || caught(count)).join().unwrap_or(0);
    let dies = std::thread::spawn(|| fall(3, &Cell::new(0))).join();
    if here == there && dies.is_err() { here } else { 0 }
}
"#;

/// A static library of [`PANICS`], whose function has that name.
fn rust_archive(folder: &Path, name: &str, options: &[&str]) -> PathBuf {
    let (source, archive) = (folder.join(format!("{name}.rs")), folder.join(format!("lib{name}.a")));
    fs::write(&source, PANICS.replace("NAME", name)).expect("the scratch folder is writable");
    let compiler = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut rustc = Command::new(compiler);
    rustc.args(["--edition=2024", "--crate-type=staticlib", "-Copt-level=1"]).args(options).arg("-o").arg(&archive);
    succeed(rustc.arg(source));
    archive
}

fn join_archive(from: &Path, to: &Path, options: &[&str]) {
    succeed(Command::new(root().join("scripts/join-archive")).args([from, to]).args(options));
}

/// The archive that scripts/install makes of the one that cargo built for this test run.
fn archive() -> &'static Path {
    static ARCHIVE: OnceLock<PathBuf> = OnceLock::new();
    ARCHIVE.get_or_init(|| {
        let archive = scratch("linking-archive").join("libsfeuot.a");
        join_archive(&shared_library().with_extension("a"), &archive, &["--strip-unneeded"]);
        archive
    })
}

fn compile(compiler: &[&str], sources: &[&str]) -> Command {
    let mut command = Command::new(compiler[0]);
    // check.h has helpers that a program may leave.
    let warnings = ["-Wall", "-Wextra", "-Wno-unused-function", "-Werror"];
    command.args(&compiler[1..]).arg("-O1").args(warnings).arg("-I").arg(root().join("include"));
    command.args(sources.iter().map(|source| root().join("tests/c").join(source)));
    command
}

/// Each compiler that is there, in CI both, as it links by default, with link-time optimisation, and with LLVM's
/// linker. Where neither has its name, the one that is called `cc`.
fn compilers() -> Vec<Vec<&'static str>> {
    let mut compilers: Vec<Vec<&str>> = Vec::new();
    for compiler in ["gcc", "clang"].into_iter().filter(|compiler| has(compiler)) {
        compilers.extend([vec![compiler], vec![compiler, "-flto"]]);
        if compiler == "clang" && has("ld.lld") {
            compilers.push(vec![compiler, "-flto", "-fuse-ld=lld"]);
        }
    }
    if compilers.is_empty() && has("cc") {
        compilers.push(vec!["cc"]);
    }
    assert!(!compilers.is_empty(), "there is no C compiler: scripts/install-deps gets one");
    compilers
}

#[test]
fn the_archive_links_beside_other_archives_from_rust() {
    let folder = scratch("linking-archives");
    // Optimised as a whole, so that its standard library is another one than ours. Bitcode would be its own trouble.
    let other = rust_archive(&folder, "other_panics", &["-Clto=fat", "-Ccodegen-units=1"]);
    let joined = folder.join("joined.a");
    join_archive(&rust_archive(&folder, "sfeuot_panics", &[]), &joined, &[]);
    for compiler in compilers() {
        for archives in [[archive(), &joined, &other], [&other, &joined, archive()]] {
            let program = folder.join("program");
            succeed(compile(&compiler, &["archives.c", "plugin.c"]).args(archives).arg("-lm").arg("-o").arg(&program));
            succeed(&mut Command::new(&program));
        }
    }
}

#[test]
fn the_archive_shows_what_the_header_declares_and_holds_nothing_for_another_compiler() {
    let data = fs::read(archive()).expect("the joined archive");
    let members: Vec<_> = object::read::archive::ArchiveFile::parse(&*data).expect("an archive").members().collect();
    let [Ok(member)] = &members[..] else { panic!("{} members", members.len()) };
    let file = object::File::parse(member.data(&*data).expect("its bytes")).expect("an object");
    let mut shown = BTreeSet::new();
    for symbol in file.symbols().filter(|symbol| symbol.is_global() && !symbol.is_undefined()) {
        let name = symbol.name().expect("UTF-8");
        // Hidden: seen by what is linked with it, not by what loads the result.
        assert_eq!(symbol.scope(), SymbolScope::Linkage, "{name}");
        shown.insert(name.to_owned());
    }
    assert_eq!(shown, declared_functions().into_iter().collect());
    assert_eq!(file.comdats().count(), 0);
    for section in file.sections() {
        let name = section.name().expect("UTF-8");
        assert!(!name.starts_with(".llvm") && !name.starts_with(".gnu.lto"), "{name}");
    }
}

#[test]
fn a_plugin_with_the_archive_inside_exports_its_own_functions_alone() {
    let folder = scratch("linking-plugin");
    for compiler in compilers() {
        let plugin = folder.join("plugin.so");
        let mut link = compile(&compiler, &["plugin.c"]);
        succeed(link.args(["-fPIC", "-shared", "-Wl,--no-undefined"]).arg(archive()).arg("-lm").arg("-o").arg(&plugin));
        let bytes = fs::read(&plugin).expect("the plug-in");
        let plugin = object::File::parse(&*bytes).expect("a shared library");
        let exported = plugin.dynamic_symbols().filter(|symbol| !symbol.is_undefined() && !symbol.is_local());
        let exported: BTreeSet<_> = exported.map(|symbol| symbol.name().expect("UTF-8")).collect();
        assert!(exported.iter().eq(&["plugin_finish", "plugin_start", "plugin_train"]), "{exported:?}");
    }
}

#[test]
fn a_missing_tool_is_named_and_nothing_is_written() {
    let folder = scratch("linking-tools");
    let (tools, joined) = (folder.join("tools"), folder.join("joined.a"));
    fs::create_dir(&tools).expect("the scratch folder is writable");
    let paths: Vec<_> = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
    let names = ["bash", "sh", "awk", "sort", "sed", "grep", "head", "comm", "tr", "mktemp", "mv", "rm"];
    let binutils = ["readelf", "as", "ld", "objcopy", "ar"];
    for name in names.into_iter().chain(binutils) {
        let found = paths.iter().map(|path| path.join(name)).find(|path| path.exists());
        symlink(found.unwrap_or_else(|| panic!("{name} is not in PATH")), tools.join(name)).expect("a new link");
    }
    let join = || {
        let mut join = Command::new(root().join("scripts/join-archive"));
        join.arg(shared_library().with_extension("a")).arg(&joined).env("PATH", &tools);
        join.output().expect("it starts")
    };
    for name in binutils {
        fs::rename(tools.join(name), folder.join(name)).expect("a link can be moved");
        let output = join();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(&format!(" {name} ")), "{name}: {said}");
        assert!(said.contains("is needed to join the archive") && !joined.exists(), "{said}");
        fs::rename(folder.join(name), tools.join(name)).expect("a link can be moved");
    }
    succeeded("scripts/join-archive", &join());
    assert!(joined.is_file());
}

#[test]
fn a_reloaded_plugin_finds_the_library_and_its_trainer_as_they_were() {
    let folder = scratch("linking-reload");
    let soname = format!("libsfeuot.so.{SFEUOT_ABI_VERSION}");
    symlink(shared_library(), folder.join(&soname)).expect("the scratch folder is writable");
    let (plugin, program) = (folder.join("plugin.so"), folder.join("reload"));
    let run_path = {
        let mut option = OsString::from("-Wl,-rpath,");
        option.push(&folder);
        option
    };
    let mut link = compile(&["cc"], &["plugin.c"]);
    link.args(["-fPIC", "-shared"]).arg(folder.join(&soname)).arg("-lm").arg(&run_path).arg("-o").arg(&plugin);
    succeed(&mut link);
    // Not linked to the library itself, which would keep it.
    succeed(compile(&["cc"], &["reload.c"]).args(["-ldl", "-lpthread", "-o"]).arg(&program));
    succeed(Command::new(&program).arg(&plugin).arg(folder.join(&soname)));
}
