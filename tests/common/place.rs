//! Where tests find the repository, the built library and room of their own. Cargo's places are compiled in; test
//! programs that scripts/gpu-pack took to another machine are told by the environment:
//!
//! SFEUOT_TEST_ROOT      the repository there;
//! SFEUOT_TEST_LIBRARY   the folder of the shared library, with the folder of the built examples beside it.
#![allow(dead_code, reason = "each test uses its part")]

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

fn told(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).map(PathBuf::from)
}

/// The repository.
pub fn root() -> PathBuf {
    told("SFEUOT_TEST_ROOT").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into())
}

/// A folder for what tests write; it may not be there yet.
pub fn room() -> PathBuf {
    match option_env!("CARGO_TARGET_TMPDIR") {
        Some(folder) if told("SFEUOT_TEST_ROOT").is_none() => folder.into(),
        _ => env::temp_dir().join("sfeuot-tests"),
    }
}

/// The shared library cargo built for this test run: beside the test, or one folder up, where `cargo build` puts it.
pub fn shared_library() -> PathBuf {
    let name = format!("{}sfeuot{}", env::consts::DLL_PREFIX, env::consts::DLL_SUFFIX);
    let test = env::current_exe().expect("the test's own path");
    let folders = told("SFEUOT_TEST_LIBRARY").into_iter().chain(test.ancestors().skip(1).take(2).map(PathBuf::from));
    let library = folders.map(|folder| folder.join(&name)).find(|path| path.exists());
    library.unwrap_or_else(|| panic!("{name} is not beside {}", test.display()))
}

/// `LD_LIBRARY_PATH` for a child process: these folders, then those that this process was given. A driver may be found
/// through the latter alone, so no test replaces them.
pub fn library_path<'a>(first: impl IntoIterator<Item = &'a Path>) -> OsString {
    let rest = env::var_os("LD_LIBRARY_PATH").filter(|rest| !rest.is_empty());
    let all = first.into_iter().map(PathBuf::from).chain(rest.iter().flat_map(env::split_paths));
    env::join_paths(all).expect("no colon in a folder's path")
}

/// The C and C++ examples, where they were built elsewhere.
pub fn packed_examples() -> Option<PathBuf> {
    told("SFEUOT_TEST_LIBRARY").map(|library| library.with_file_name("examples"))
}
