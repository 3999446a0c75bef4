//! Compiles the simulated driver of cuda/host.

#[path = "../../cuda/build/flatten.rs"]
mod flatten;
#[path = "../../cuda/build/signatures.rs"]
pub mod signatures;

use super::place;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::SystemTime;

fn sources() -> PathBuf {
    place::root().join("cuda/host")
}

/// A shared object and the sources it is made of.
struct Library {
    name: &'static str,
    sources: Vec<PathBuf>,
    /// A library of the same folder.
    needs: Option<&'static str>,
    hidden: bool,
}

fn libraries() -> Vec<Library> {
    let folder = fs::read_dir(sources().join("driver")).expect("the driver's sources");
    let mut driver: Vec<_> = folder.map(|entry| entry.expect("a folder entry").path()).collect();
    driver.retain(|path| path.extension().is_some_and(|e| e == "cpp"));
    driver.sort();
    let of = |names: &[&str]| names.iter().map(|name| sources().join(name)).collect::<Vec<_>>();
    let machine = of(&["kernels.cpp", "machine.cpp", "mma.cpp", "signals.cpp", "watch.cpp"]);
    vec![
        Library { name: "sfeuot_host_kernels", sources: machine, needs: None, hidden: false },
        Library { name: "cuda", sources: driver, needs: Some("sfeuot_host_kernels"), hidden: true },
        Library { name: "cublasLt", sources: of(&["cublaslt.cpp"]), needs: Some("cuda"), hidden: true },
        Library { name: "nvrtc", sources: of(&["nvrtc.cpp"]), needs: None, hidden: true },
    ]
}

/// Whether the processor has what the strict build contracts products and sums to.
pub fn contracts() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("fma");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Builds what is older than its sources and gives the folder of the libraries. Processes that start together take
/// turns.
///
/// # Errors
/// A sentence where there is no compiler.
pub fn build(strict: bool) -> Result<PathBuf, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let common = program.parent().expect("a program lies in a folder").join("sfeuot-simulator");
    let folder = if strict { common.join("strict") } else { common.clone() };
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let lock = File::create(common.join("lock")).map_err(|error| error.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;
    write_table(&common.join("kernel_table.h"))?;
    let libraries = libraries();
    // The kernels alone are not the same in both builds.
    let object = |source: &Path| {
        let stem = source.file_stem().expect("a source has a name").to_str().expect("UTF-8");
        let folder = if stem == "kernels" { &folder } else { &common };
        folder.join(format!("{stem}.o"))
    };
    let units = |library: &Library| {
        let unit = |source: &PathBuf| Unit { source: source.clone(), object: object(source), hidden: library.hidden };
        library.sources.iter().map(unit).collect::<Vec<_>>()
    };
    let stale: Vec<_> = libraries.iter().flat_map(units).filter(|unit| !is_fresh(unit)).collect();
    compile_all(&stale, &common, strict)?;
    for library in &libraries {
        let objects: Vec<_> = library.sources.iter().map(|source| object(source)).collect();
        let made = folder.join(format!("lib{}.so", library.name));
        if time(&made) < objects.iter().filter_map(|object| time(object)).max() {
            link(library, &objects, &made)?;
        }
    }
    Ok(folder)
}

/// The rows of the kernels' table, from the heads of the kernels as build.rs reads them.
fn write_table(header: &Path) -> Result<(), String> {
    let text = flatten::flatten(&place::root().join("cuda"), "kernels.cu")?.text;
    let row = |kernel: &signatures::Kernel| format!("KERNEL({}, {}),\n", kernel.name, kernel.threads);
    let text: String = signatures::read(&text)?.iter().map(row).collect();
    if fs::read_to_string(header).is_ok_and(|old| old == text) {
        return Ok(());
    }
    fs::write(header, text).map_err(|error| error.to_string())
}

/// Builds a library of the kernels of `source` alone, a file kernels.cpp, and the machine that runs them. It lies beside
/// the source.
///
/// # Errors
/// A sentence where there is no compiler.
pub fn in_place_of_kernels(source: &Path) -> Result<PathBuf, String> {
    let common = build(false)?;
    let object = source.with_extension("o");
    compile_all(&[Unit { source: source.into(), object: object.clone(), hidden: false }], &common, false)?;
    let mut objects = ["machine.o", "mma.o", "signals.o", "watch.o"].map(|name| common.join(name)).to_vec();
    objects.push(object);
    let library = Library { name: "other_kernels", sources: Vec::new(), needs: None, hidden: false };
    let made = source.with_file_name("libother_kernels.so");
    link(&library, &objects, &made)?;
    Ok(made)
}

/// A source, and what is made of it.
struct Unit {
    source: PathBuf,
    object: PathBuf,
    hidden: bool,
}

fn time(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|m| m.modified()).ok()
}

/// Whether an object was made of this source (and not that of another checkout), after all that the compiler read for
/// it and this file, which holds the flags, were written.
fn is_fresh(unit: &Unit) -> bool {
    let rule = fs::read_to_string(unit.object.with_extension("d")).unwrap_or_default();
    let flags = place::root().join("tests/common/simulator_build.rs");
    let Some((made, (_, read))) = time(&unit.object).zip(rule.split_once(": ")) else { return false };
    let read: Vec<_> = read.split_whitespace().filter(|word| *word != "\\").map(Path::new).collect();
    let older = |path: &Path| time(path).is_some_and(|time| time < made);
    read.contains(&unit.source.as_path()) && read.iter().all(|path| older(path)) && older(&flags)
}

fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    // A compiler that is there must succeed.
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn compiler() -> Command {
    Command::new(std::env::var("CXX").unwrap_or_else(|_| "c++".into()))
}

/// For the kernels alone. The machine knows barriers and exchanges by where they are called, so that no call may become
/// two, or two one. Strictly, products with sums are contracted, and the compiler tells of every load, store and odd
/// address.
fn flags_of_kernels(clang: bool, strict: bool) -> Vec<&'static str> {
    let mut flags =
        vec![if strict { "-ffp-contract=fast" } else { "-ffp-contract=off" }, "-fno-optimize-sibling-calls"];
    if !clang {
        flags.extend(["-fno-thread-jumps", "-freorder-blocks-algorithm=simple", "-fno-crossjumping"]);
        flags.extend(["-fno-tree-tail-merge", "-fno-ipa-icf"]);
    }
    if strict {
        flags.extend(["-mfma", "-DSFEUOT_AS_HARDWARE", "-fno-threadsafe-statics"]);
        flags.extend(["-fsanitize=thread", "-fsanitize=alignment"]);
        let volatiles: &[_] =
            if clang { &["-mllvm", "-tsan-distinguish-volatile"] } else { &["--param=tsan-distinguish-volatile=1"] };
        flags.extend(volatiles);
    }
    flags
}

/// One compiler a core.
fn compile_all(stale: &[Unit], common: &Path, strict: bool) -> Result<(), String> {
    if stale.is_empty() {
        return Ok(());
    }
    let clang = run(compiler().arg("--version"))?.contains("clang");
    let next = Mutex::new(stale.iter());
    let work = || {
        loop {
            let Some(Unit { source, object, hidden }) = next.lock().expect("no thread panics here").next() else {
                return Ok(());
            };
            let kernels = source.file_stem().is_some_and(|stem| stem == "kernels");
            run(compiler()
                .args(["-std=c++17", "-O2", "-g", "-Wall", "-Wextra", "-Werror"])
                // nvcc's pragmas; and products with sums stay two roundings where the kernels say so.
                .args(["-Wno-unknown-pragmas", "-ffp-contract=off", "-DSFEUOT_HOST"])
                .args(["-fPIC", if *hidden { "-fvisibility=hidden" } else { "-fvisibility=default" }])
                .args(if kernels { flags_of_kernels(clang, strict) } else { Vec::new() })
                .args(["-MMD", "-c", "-I"])
                .arg(common)
                .arg("-o")
                .arg(object)
                .arg(source))?;
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(stale.len());
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        running.into_iter().try_for_each(|thread| thread.join().expect("the sources compile"))
    })
}

/// Beside its place first: a process may still run the old one.
fn link(library: &Library, objects: &[PathBuf], made: &Path) -> Result<(), String> {
    let folder = made.parent().expect("a file lies in a folder");
    let fresh = made.with_extension("so.tmp");
    let mut command = compiler();
    command.args(["-shared", "-Wl,-z,defs", "-Wl,-rpath,$ORIGIN"]);
    command.arg(format!("-Wl,-soname,lib{}.so", library.name)).arg("-o").arg(&fresh).args(objects);
    command.arg("-Wl,-rpath-link").arg(format!("-Wl,{}", folder.display())).arg("-L").arg(folder);
    command.args(library.needs.map(|name| format!("-l{name}")));
    run(&mut command)?;
    fs::rename(&fresh, made).map_err(|error| error.to_string())
}
