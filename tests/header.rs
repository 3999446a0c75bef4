//! `include/sfeuot.h` is what cbindgen makes of `src/abi` today.

#[path = "common/place.rs"]
mod place;

use std::path::Path;

/// The header's order: what a reader meets first comes first.
const FILES: [&str; 28] = [
    "version",
    "status",
    "last_error",
    "object_error",
    "device",
    "context",
    "callbacks",
    "tensor",
    "dlpack",
    "data",
    "data_rows",
    "divergence",
    "activation",
    "network",
    "trainer_config",
    "metrics",
    "trainer",
    "model",
    "session_config",
    "session",
    "session_generate",
    "session_answers",
    "problem",
    "bridge",
    "loss",
    "conjugate",
    "lut",
    "onnx",
];

/// How cbindgen writes the `---` of a doc comment, which ends what is said about a whole group of constants. The header has
/// an empty line there, so that an editor shows with the first constant only what is said about it.
const AFTER_A_GROUP: &str = "\n//\n// ---\n//\n";

fn generate(root: &Path) -> String {
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml is valid");
    let mut builder = cbindgen::Builder::new().with_config(config);
    for file in FILES {
        builder = builder.with_src(root.join(format!("src/abi/{file}.rs")));
    }
    let mut text = Vec::new();
    builder.generate().expect("src/abi can be expressed in C").write(&mut text);
    String::from_utf8(text).expect("a header in UTF-8").replace(AFTER_A_GROUP, "\n\n")
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

#[test]
fn no_line_of_the_header_is_longer_than_100_columns() {
    let generated = generate(&place::root());
    let long: Vec<_> = generated.lines().filter(|line| line.chars().count() > 100).collect();
    assert!(long.is_empty(), "rewrap what src/abi or cbindgen.toml says here:\n{}", long.join("\n"));
}

#[test]
fn what_is_said_about_a_group_is_a_comment_of_its_own() {
    let generated = generate(&place::root());
    assert!(!generated.contains("// ---"), "a group's `---` needs an empty doc line before and after it");
    let group = "// Levels of the log, for SfeuotContextConfig.log_level and SfeuotLogCallback.\n\n// ";
    assert!(generated.contains(group), "a group's sentence and its first constant are one comment");
}
