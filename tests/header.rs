//! `include/sfeuot.h` is what cbindgen makes of `src/abi` today.

#[path = "common/place.rs"]
mod place;

use std::path::Path;

/// The header's order: what a reader meets first comes first.
const FILES: [&str; 15] = [
    "version",
    "status",
    "last_error",
    "device",
    "context",
    "callbacks",
    "tensor",
    "dlpack",
    "data",
    "divergence",
    "trainer_config",
    "metrics",
    "trainer",
    "model",
    "session",
];

fn generate(root: &Path) -> String {
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml is valid");
    let mut builder = cbindgen::Builder::new().with_config(config);
    for file in FILES {
        builder = builder.with_src(root.join(format!("src/abi/{file}.rs")));
    }
    let mut text = Vec::new();
    builder.generate().expect("src/abi can be expressed in C").write(&mut text);
    String::from_utf8(text).expect("a header in UTF-8")
}

/// Fails on drift; with SFEUOT_WRITE_HEADER=1 (`make header`) it writes the header first.
#[test]
fn the_header_is_up_to_date() {
    let root = place::root();
    let path = root.join("include/sfeuot.h");
    let generated = generate(&root);
    if std::env::var_os("SFEUOT_WRITE_HEADER").is_some() {
        std::fs::write(&path, &generated).expect("include/ is writable");
    }
    let checked_in = std::fs::read_to_string(&path).expect("include/sfeuot.h exists").replace("\r\n", "\n");
    if let Some((line, (ours, theirs))) =
        checked_in.lines().zip(generated.lines()).enumerate().find(|(_, (ours, theirs))| ours != theirs)
    {
        panic!(
            "include/sfeuot.h is out of date (run `make header`): line {} is {ours:?}, expected {theirs:?}",
            line + 1
        );
    }
    assert_eq!(checked_in.len(), generated.len(), "include/sfeuot.h is out of date: run `make header`");
}
