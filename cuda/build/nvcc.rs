//! Machine code of the kernels for every architecture, in one fatbin.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What gets machine code. A GPU runs that of its own major number up to its minor one, and PTX otherwise.
/// `scripts/check-kernels` reads this line.
const ARCHITECTURES: [u32; 7] = [75, 80, 86, 89, 90, 100, 120];
/// What gets PTX: the least with the tensor cores of all kernels. No GPU without machine code is older.
const PTX: u32 = 80;

/// The compiler: what `SFEUOT_NVCC` names, or the first in `PATH`, `CUDA_HOME`, `CUDA_PATH`, and NVIDIA's wheels in
/// `.venv-nvcc` of the repository `root` or in the active `VIRTUAL_ENV`. `None` where there is none, or where
/// `SFEUOT_NVCC` is `none`.
///
/// # Errors
/// A sentence when `SFEUOT_NVCC` names no file.
pub fn find(root: &Path) -> Result<Option<PathBuf>, String> {
    // Not PATH: every shell and editor has its own, and each change would compile the whole library anew.
    for name in ["SFEUOT_NVCC", "CUDA_HOME", "CUDA_PATH", "VIRTUAL_ENV"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let folder = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let found = match folder("SFEUOT_NVCC") {
        Some(path) if path == Path::new("none") => None,
        Some(path) if path.is_file() => Some(path),
        Some(path) => {
            return Err(format!(
                "SFEUOT_NVCC is '{}', which is no file; it is the path of an nvcc, or `none` for a library without \
                 machine code of the kernels",
                path.display()
            ));
        }
        None => {
            let path = env::var_os("PATH").unwrap_or_default();
            let toolkits = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(folder).map(|home| home.join("bin"));
            let environments = [Some(root.join(".venv-nvcc")), folder("VIRTUAL_ENV")].into_iter().flatten();
            env::split_paths(&path)
                .chain(toolkits)
                .chain(environments.flat_map(|environment| wheels(&environment)))
                .map(|folder| folder.join(format!("nvcc{}", env::consts::EXE_SUFFIX)))
                .find(|nvcc| nvcc.is_file())
        }
    };
    if let Some(nvcc) = &found {
        println!("cargo::rerun-if-changed={}", nvcc.display());
    }
    Ok(found)
}

/// Where NVIDIA's wheels put programs in a Python environment.
fn wheels(environment: &Path) -> Vec<PathBuf> {
    let pythons = fs::read_dir(environment.join("lib")).into_iter().flatten().flatten().map(|entry| entry.path());
    let pythons = pythons.filter(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("python3")));
    // On Windows there is no folder for the version.
    let libraries = pythons.chain([environment.join("Lib")]);
    libraries.map(|library| library.join("site-packages/nvidia/cu13/bin")).collect()
}

/// Compiles `source`, a file whose text with all that it includes is `text`, into `fatbin`. Beside it goes a file .report,
/// in which `scripts/check-kernels` reads what each kernel takes. A fatbin of the same text, compiler and options stays.
///
/// # Errors
/// What nvcc wrote.
pub fn compile(nvcc: &Path, source: &Path, text: &str, fatbin: &Path) -> Result<(), String> {
    let options = options(nvcc)?;
    let version = output(nvcc, ["--version"])?.written;
    let made_of = format!("{}{version}\n{options:?}\n{text}", nvcc.display());
    let record = fatbin.with_extension("made-of");
    let made = fs::metadata(fatbin).is_ok_and(|file| file.len() > 0);
    if made && fs::read_to_string(&record).is_ok_and(|old| old == made_of) {
        return Ok(());
    }
    let failed = |error| format!("cannot write beside '{}': {error}", fatbin.display());
    let report = fatbin.with_extension("report");
    // No record is left of a file that is about to change.
    for file in [&record, &report] {
        fs::write(file, "").map_err(failed)?;
    }
    let jobs = env::var("NUM_JOBS").unwrap_or_else(|_| "1".into());
    let files = [OsStr::new("--threads"), jobs.as_ref(), "-o".as_ref(), fatbin.as_ref(), source.as_ref()];
    let compiled = output(nvcc, options.iter().map(OsStr::new).chain(files))?;
    fs::write(report, compiled.told).map_err(failed)?;
    fs::write(&record, made_of).map_err(failed)
}

/// The options that decide what comes out. Warns of architectures that this nvcc does not know.
fn options(nvcc: &Path) -> Result<Vec<String>, String> {
    let listed = output(nvcc, ["--list-gpu-arch"])?.written;
    let (known, unknown): (Vec<u32>, Vec<u32>) = ARCHITECTURES
        .iter()
        .partition(|architecture| listed.split_whitespace().any(|word| word == format!("compute_{architecture}")));
    if !known.contains(&PTX) {
        return Err(format!(
            "{} does not know the architecture {PTX}; SFEUOT_NVCC=none builds without it",
            nvcc.display()
        ));
    }
    if !unknown.is_empty() {
        println!(
            "cargo::warning={} does not know the architectures {unknown:?}; the fatbin has only PTX for GPUs of these",
            nvcc.display()
        );
    }
    // The option for compression that every nvcc has. With the newer --compress-mode=size the fatbin is smaller, but
    // CUDA 12 then needs a driver of its last releases.
    let mut options: Vec<String> =
        ["-std=c++17", "-fatbin", "-Werror=all-warnings", "-Xfatbin=-compress-all", "-Xptxas=-v"]
            .map(String::from)
            .into();
    options.extend(known.iter().map(|a| format!("-gencode=arch=compute_{a},code=sm_{a}")));
    options.push(format!("-gencode=arch=compute_{PTX},code=compute_{PTX}"));
    Ok(options)
}

/// What a program wrote to its output, and to its error output.
struct Output {
    written: String,
    told: String,
}

fn output<A: AsRef<OsStr>>(nvcc: &Path, arguments: impl IntoIterator<Item = A>) -> Result<Output, String> {
    let mut command = Command::new(nvcc);
    let output = command.args(arguments).output().map_err(|error| format!("cannot run {}: {error}", nvcc.display()))?;
    let [written, told] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    if output.status.success() {
        return Ok(Output { written, told });
    }
    Err(format!("{command:?} failed ({}); SFEUOT_NVCC=none builds without it\n{written}{told}", output.status))
}
