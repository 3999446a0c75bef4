//! Divergences are listed once, in src/formulas. What has to list them by hand beside it lists every one.

#[path = "common/place.rs"]
mod place;

use sfeuot::Divergence;

fn read(path: &str) -> String {
    std::fs::read_to_string(place::root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn names() -> Vec<String> {
    Divergence::ALL.map(|each| format!("{each:?}").to_lowercase()).into()
}

/// The rows of the first table after `start`, each its first cell in lower case.
fn rows(text: &str, start: &str) -> Vec<String> {
    let (_, rest) = text.split_once(start).unwrap_or_else(|| panic!("there is no {start:?}"));
    let table = rest.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let table = table.take_while(|line| line.starts_with('|'));
    table.map(|row| row.split('|').nth(1).expect("a cell").trim().to_lowercase()).collect()
}

#[test]
fn the_python_binding_knows_every_divergence() {
    let numbered: Vec<_> = names().iter().enumerate().map(|(number, name)| format!("\"{name}\": {number}")).collect();
    let line = format!("DIVERGENCES = {{{}}}\n", numbered.join(", "));
    assert!(read("bench/sfeuot_ctypes.py").contains(&line), "bench/sfeuot_ctypes.py lacks {line}");
}

#[test]
fn the_guide_explains_every_divergence() {
    let found = rows(&read("docs/guide.md"), "## Choosing the divergence");
    assert_eq!(found.len(), Divergence::ALL.len(), "{found:?}");
    for (row, name) in found.iter().zip(names()) {
        assert!(row.starts_with(&format!("`{name}`")), "a row of docs/guide.md begins with {row}, expected {name}");
    }
}

#[test]
fn the_method_has_the_conjugate_of_every_divergence() {
    let found = rows(&read("docs/method.md"), "Conjugates, all nondecreasing");
    let expected: Vec<_> = names().into_iter().map(|name| name.replace("chi2", "chi squared")).collect();
    assert_eq!(found, expected);
}

#[test]
fn every_divergence_has_a_case_of_its_own_among_the_kernels() {
    let text = read("cuda/divergence.cuh");
    for (number, name) in names().iter().map(|name| name.to_uppercase()).enumerate() {
        assert!(
            text.contains(&format!("{name} = {number}")),
            "the enum of cuda/divergence.cuh lacks {name} = {number}"
        );
        assert_eq!(text.matches(&format!("case {name}:")).count(), 1, "cuda/divergence.cuh has one case {name}");
    }
}
