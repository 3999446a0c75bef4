//! The sources keep to the map of layers in src/lib.rs: who uses whom, without circles, and kernels are launched by
//! src/device alone. The paths that pages and comments name exist.

mod circles;
mod imports;
mod made_up;
mod map;
mod paths;
#[path = "../common/place.rs"]
mod place;
mod tokens;

use imports::{Arrow, Module, Sources};
use std::fs;
use std::path::Path;

/// The trait of vectors, and its forms for each processor: the one chooses among the others, which implement it.
const VECTORS: (&str, &str) = ("src/device/cpu/simd.rs", "src/device/cpu/simd_");

/// The list of kernels.
const KERNELS: &str = "src/device/cuda/kernels.rs";

/// The names below `folder` of all files that end like one of `endings`.
fn names(folder: &Path, below: &str, endings: &[&str], found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name in UTF-8");
        if path.is_dir() {
            names(&path, &format!("{below}{name}/"), endings, found);
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            found.push(format!("{below}{name}"));
        }
    }
}

fn sources() -> Sources {
    let folder = place::root().join("src");
    let mut found = Vec::new();
    names(&folder, "", &[".rs"], &mut found);
    let texts: Vec<_> = found.iter().map(|name| fs::read_to_string(folder.join(name)).expect("a source")).collect();
    Sources::new(found.iter().map(String::as_str).zip(texts.iter().map(String::as_str)))
}

fn none(faults: Vec<String>) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn modules_use_what_the_map_allows() {
    let root = fs::read_to_string(place::root().join("src/lib.rs")).expect("src/lib.rs");
    let sources = sources();
    none(map::faults(&map::read(&root).expect("a map"), &sources, &sources.arrows()));
}

#[test]
fn no_files_use_each_other() {
    let sources = sources();
    let (choice, forms) = VECTORS;
    let is_choice = |arrow: &Arrow| sources.file(&arrow.from) == choice && sources.file(&arrow.to).starts_with(forms);
    let (chosen, arrows): (Vec<_>, Vec<_>) = sources.arrows().into_iter().partition(is_choice);
    assert!(!chosen.is_empty(), "{choice} no longer uses its forms: {forms} needs no exception");
    none(circles::faults(&sources, &arrows));
}

/// Where code outside of src/device uses the list of kernels or launches one.
fn launches(sources: &Sources) -> Vec<String> {
    let outside = |module: &Module| module.first().is_some_and(|top| top != "device");
    let mut found = Vec::new();
    for arrow in sources.arrows().iter().filter(|arrow| outside(&arrow.from)) {
        if sources.file(&arrow.to) == KERNELS {
            found.push(format!("{}:{} uses {KERNELS}", sources.file(&arrow.from), arrow.line));
        }
    }
    for (module, tokens) in sources.iter().filter(|(module, _)| outside(module)) {
        for part in tokens.windows(3) {
            let [name, open, argument] = part else { continue };
            // A graph is launched without arguments.
            if name.text.starts_with("launch") && open.text == "(" && argument.text != ")" {
                found.push(format!("{}:{} calls {}", sources.file(module), name.line, name.text));
            }
        }
    }
    found
}

#[test]
fn kernels_are_launched_by_the_device() {
    let sources = sources();
    assert!(sources.iter().any(|(module, _)| sources.file(module) == KERNELS), "there is no {KERNELS}");
    none(launches(&sources));
}

#[test]
fn every_formula_has_its_twin_among_the_kernels() {
    let root = place::root();
    let mut formulas = Vec::new();
    names(&root.join("src/formulas"), "", &[".rs"], &mut formulas);
    // Scalar is what the others are written over.
    formulas.retain(|name| !["mod.rs", "scalar.rs"].contains(&name.as_str()));
    assert!(formulas.len() > 1);
    for formula in formulas {
        let twin = format!("cuda/{}.cuh", formula.trim_end_matches(".rs"));
        let text = fs::read_to_string(root.join(&twin)).unwrap_or_else(|error| panic!("{twin}: {error}"));
        assert!(
            text.contains(&format!("src/formulas/{formula}")),
            "{twin} does not say that src/formulas/{formula} is its twin"
        );
    }
}

#[test]
fn paths_that_pages_and_comments_name_exist() {
    let root = place::root();
    let mut texts = vec!["README.md".to_owned(), "CONTRIBUTING.md".to_owned()];
    names(&root.join("docs"), "docs/", &[".md"], &mut texts);
    for folder in ["src/", "cuda/"] {
        names(&root.join(folder), folder, &[".rs", ".cu", ".cuh", ".h", ".cpp"], &mut texts);
    }
    assert!(texts.len() > 100);
    let missing = |name: &String| {
        let text = fs::read_to_string(root.join(name)).expect("a text in UTF-8");
        paths::missing(name, &text, |path| root.join(path).exists())
    };
    none(texts.iter().flat_map(missing).collect());
}
