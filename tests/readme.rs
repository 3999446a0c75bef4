//! The README's C program is the one under tests/c, and it does what the README says.
#![cfg(target_os = "linux")]

mod common;

use std::process::Command;

use common::{library_path, root, scratch, shared_library};

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_readme_shows_the_program_that_is_tested() {
    let readme = read("README.md");
    let block = readme.split_once("```c\n").and_then(|(_, rest)| rest.split_once("```")).map(|(block, _)| block);
    assert_eq!(block, Some(read("tests/c/readme.c").as_str()));
}

#[test]
fn the_program_builds_without_warnings_and_carries_the_square() {
    let folder = scratch("readme");
    let library = shared_library();
    for link in ["libsfeuot.so".to_owned(), format!("libsfeuot.so.{}", sfeuot::abi::SFEUOT_ABI_VERSION)] {
        std::os::unix::fs::symlink(&library, folder.join(link)).expect("the scratch folder is writable");
    }
    let program = folder.join("readme");
    let build = Command::new("cc")
        .args(["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-I"])
        .arg(root().join("include"))
        .arg(root().join("tests/c/readme.c"))
        .arg("-L")
        .arg(&folder)
        .args(["-lsfeuot", "-o"])
        .arg(&program)
        .output()
        .expect("cc starts");
    assert!(build.status.success(), "{}", String::from_utf8_lossy(&build.stderr));

    let run = Command::new(&program)
        .env("LD_LIBRARY_PATH", library_path([folder.as_path()]))
        .output()
        .expect("the program starts");
    let text = String::from_utf8(run.stdout).expect("UTF-8");
    assert!(
        run.status.success() && run.stderr.is_empty(),
        "{}\n{text}{}",
        run.status,
        String::from_utf8_lossy(&run.stderr)
    );

    // The optimal map of the square onto the larger one is x -> 2 x + (5, 0); a draw lies about sigma around it.
    let numbers: Vec<f64> = text
        .split(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-'))
        .filter_map(|word| word.parse().ok())
        .collect();
    let [a, b, x, y] = numbers[..] else { panic!("{text}") };
    let error = (x - (5.0 + 2.0 * a)).hypot(y - 2.0 * b);
    assert!(error < 0.5, "{error} in\n{text}");
}
