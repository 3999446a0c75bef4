//! A divergence that has no case among the kernels does not pass the tests.

use super::{host, simulator};
use crate::formulas::Divergence;
use std::fs;
use std::path::Path;

/// The library's functions for one kernel, as kernels.cpp has them for all.
const ONE_KERNEL: &str = r#"
#include "../dual.cu"

#include "launch.h"

template <class... P>
static const char* launch_kernel(const char* name, void (*kernel)(P...), const unsigned* geometry, uint64_t seed,
                                 void** arguments, const size_t* sizes, size_t count) {
    return host::launch(name, 1024, kernel, geometry, seed, arguments, sizes, count, std::index_sequence_for<P...>());
}

extern "C" const char* sfeuot_host_launch(const char* name, const unsigned* geometry, uint64_t seed, void** arguments,
                                          const size_t* sizes, size_t count) {
    return launch_kernel(name, dual_terms, geometry, seed, arguments, sizes, count);
}

extern "C" bool sfeuot_host_watches() { return false; }
"#;

/// Copies the files of `from` with one of these extensions.
fn copy(from: &Path, to: &Path, extensions: &[&str]) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extensions.iter().any(|wanted| extension == *wanted)) {
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}

/// The text of divergence.cuh without the case of one divergence.
fn without(text: &str, divergence: Divergence) -> String {
    let case = format!("case {}:", format!("{divergence:?}").to_uppercase());
    let (before, rest) = text.split_once(&case).unwrap();
    let (_, after) = rest.split_once("break;").unwrap();
    format!("{before}{after}")
}

#[test]
fn a_divergence_without_a_case_fails_the_comparison() {
    if !simulator::simulated() || !host::available() || std::env::var_os("SFEUOT_SIM_STRICT").is_some() {
        return;
    }
    let sources = simulator::place::root().join("cuda");
    let folder = tempfile::tempdir().unwrap();
    copy(&sources, folder.path(), &["cu", "cuh"]);
    copy(&sources.join("host"), &folder.path().join("host"), &["h"]);
    let text = fs::read_to_string(sources.join("divergence.cuh")).unwrap();
    let forgotten = Divergence::Softplus;
    for (text, complete) in [(text.clone(), true), (without(&text, forgotten), false)] {
        fs::write(folder.path().join("divergence.cuh"), text).unwrap();
        let source = folder.path().join("host/kernels.cpp");
        fs::write(&source, ONE_KERNEL).unwrap();
        let library = simulator::build::in_place_of_kernels(&source).unwrap();
        let test = "device::cuda::tests::dual::terms_of_every_divergence";
        let settings = [(host::OTHER_KERNELS, library.to_str().unwrap())];
        let output = simulator::in_child(test, &settings).expect("another test than this one");
        let told = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text)).concat();
        assert_eq!(output.status.success(), complete, "{told}");
        assert!(complete || told.contains(&format!("{forgotten:?}: conjugate: NaN, expected")), "{told}");
    }
}
