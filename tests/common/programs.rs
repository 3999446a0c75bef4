//! Programs that tests start: compilers, tools, and what was built with them.
#![allow(dead_code, reason = "each test uses its part")]

use std::process::{Command, Output};

/// Whether a tool is there. In CI it has to be: a test that skips itself there would go unseen.
pub fn has(tool: &str) -> bool {
    let there = Command::new(tool).arg("--version").output().is_ok();
    assert!(there || std::env::var_os("CI").is_none(), "{tool} is needed; scripts/install-deps --tests gets it");
    if !there {
        eprintln!("skipped: {tool} is not installed (scripts/install-deps --tests gets it)");
    }
    there
}

/// Runs a program that has to succeed.
#[track_caller]
pub fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    succeeded(&format!("{command:?}"), &output);
    output
}

/// What a program that has to have succeeded wrote.
#[track_caller]
pub fn succeeded(what: &str, output: &Output) -> String {
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    assert!(output.status.success(), "{what}: {}\n{stdout}\n{stderr}", output.status);
    stdout
}
