//! The shared library exports what the header declares and nothing else, every export is behind the panic boundary, and
//! vector operations are instructions.

mod common;

use std::collections::BTreeSet;
use std::path::Path;

use common::{declared_functions, root};
#[cfg(target_os = "linux")]
use {common::shared_library, object::Object as _, object::ObjectSymbol as _};

fn sorted(names: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    names.into_iter().collect()
}

#[cfg(target_os = "linux")]
#[test]
fn the_symbol_table_is_the_header() {
    let library = std::fs::read(shared_library()).expect("the built library");
    let file = object::File::parse(&*library).expect("a shared library");
    let exported = file
        .dynamic_symbols()
        .filter(|symbol| !symbol.is_undefined() && !symbol.is_local())
        .map(|symbol| symbol.name().expect("a name in UTF-8").to_owned());
    assert_eq!(sorted(exported), sorted(declared_functions()));
}

#[cfg(target_os = "linux")]
#[test]
fn the_soname_is_the_abi_version() {
    let library = std::fs::read(shared_library()).expect("the built library");
    let soname = format!("libsfeuot.so.{}\0", sfeuot::abi::SFEUOT_ABI_VERSION);
    assert!(library.windows(soname.len()).any(|bytes| bytes == soname.as_bytes()), "no {soname:?} in the library");
}

/// A closure does not have the processor features of the function around it, so a vector operation in it may be
/// a call.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn no_vector_operation_is_a_call() {
    let library = std::fs::read(shared_library()).expect("the built library");
    let file = object::File::parse(&*library).expect("a shared library");
    let names: Vec<&str> = file.symbols().filter_map(|symbol| symbol.name().ok()).collect();
    assert!(names.iter().any(|name| name.contains("run_avx512")), "the library has no symbols of its own");
    let calls: Vec<_> = names.iter().filter(|name| name.contains("core_arch") && name.contains("_mm")).collect();
    assert!(calls.is_empty(), "{calls:?}");
}

/// Each `extern "C" fn` with a body under `folder`, as (name, body without comments and white
/// space).
fn exported_bodies(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).expect("the sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            exported_bodies(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("a source file");
            let in_abi = path.starts_with(root().join("src/abi"));
            assert!(in_abi || !text.contains("no_mangle"), "{} exports a symbol; only src/abi may", path.display());
            assert!(!text.contains("export_name"), "{} exports under another name", path.display());
            let definitions = text.split("#[unsafe(no_mangle)]").skip(1);
            for definition in definitions {
                let (signature, rest) = definition.split_once("{\n").expect("a body");
                let signature = signature.split_once("extern \"C\" fn ").expect("an extern \"C\" function").1;
                let name = signature.split_once('(').expect("arguments").0;
                let body = rest.split_once("\n}").expect("the end of the body").0;
                let body: String = body.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
                found.push((name.to_owned(), body.split_whitespace().collect()));
            }
        }
    }
}

#[test]
fn every_export_is_one_call_of_the_panic_boundary() {
    let mut found = Vec::new();
    exported_bodies(&root().join("src"), &mut found);
    assert_eq!(sorted(found.iter().map(|(name, _)| name.clone())), sorted(declared_functions()));
    for (name, body) in found {
        let guarded = body.starts_with(&format!("guard(\"{name}\",")) || body.starts_with("guard_value(");
        assert!(guarded, "{name} does not begin with the guard under its own name: {body}");
        // The parenthesis that opens the guard's arguments closes at the end of the body, so nothing runs outside of
        // it.
        let mut depth = 0;
        let closes = body.char_indices().find_map(|(at, character)| {
            depth += match character {
                '(' => 1,
                ')' => -1,
                _ => return None,
            };
            (depth == 0).then_some(at)
        });
        assert_eq!(closes, Some(body.len() - 1), "{name} does something outside of the guard: {body}");
    }
}
