//! The paths of files that pages and comments name.

use std::path::Path;

/// Folders whose files are checked when a text names them from the root of the repository.
const FOLDERS: [&str; 5] = ["src/", "cuda/", "tests/", "include/", "examples/"];

/// The part of a line that is read: a whole line of a page, and the comment of a line of code.
fn read<'a>(name: &str, line: &'a str) -> &'a str {
    if name.ends_with(".md") { line } else { line.find("//").map_or("", |at| &line[at..]) }
}

/// The paths below [`FOLDERS`] that a text names, without the `../` that a page may put in front.
fn named(text: &str) -> impl Iterator<Item = &str> {
    let belongs = |c: char| c.is_ascii_alphanumeric() || "_./-*".contains(c);
    text.split(move |c| !belongs(c)).filter_map(|word| {
        let word = word.trim_start_matches("../").trim_end_matches(['.', '-', '/']);
        // A pattern or a placeholder names no file.
        (FOLDERS.iter().any(|folder| word.starts_with(folder)) && !word.contains('*') && !word.contains("NAME"))
            .then_some(word)
    })
}

/// Where `text`, the content of the file `name`, names a path for which `exists` is false.
pub fn missing(name: &str, text: &str, exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let lines = text.lines().enumerate();
    lines
        .flat_map(|(number, line)| named(read(name, line)).map(move |path| (number + 1, path)))
        .filter(|(_, path)| !exists(Path::new(path)))
        .map(|(number, path)| format!("{name}:{number} names {path}, which does not exist"))
        .collect()
}

#[test]
fn paths_that_do_not_exist_are_found() {
    let exists = |path: &Path| [Path::new("src/here.rs"), Path::new("tests/folder")].contains(&path);
    let page = "See `src/here.rs`, [this](../tests/folder/) and src/gone.rs.\nhttps://example.org/src/other.rs\n";
    assert_eq!(missing("docs/page.md", page, exists), ["docs/page.md:1 names src/gone.rs, which does not exist"]);
    let code = "let path = \"src/gone.rs\";\nwork(); // as src/here.rs and cuda/gone.cu say, and cuda/*.cu\n";
    assert_eq!(missing("src/a.rs", code, exists), ["src/a.rs:2 names cuda/gone.cu, which does not exist"]);
}
