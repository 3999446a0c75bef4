//! One text of many sources, for a compiler that reads no files: NVRTC.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The text, and the files it was made of.
pub struct Flat {
    pub text: String,
    pub files: Vec<PathBuf>,
}

/// `file` of `folder`, with every `#include "name"` replaced by that file where it is named first. `#line` directives
/// keep the names and numbers of messages.
///
/// Names with a folder (`host/host.h`) stay as they are: those stand in conditions that NVRTC does not meet. Includes
/// under other conditions are not understood.
///
/// # Errors
/// A sentence with the path of a file that cannot be read.
pub fn flatten(folder: &Path, file: &str) -> Result<Flat, String> {
    let mut flat = Flat { text: String::new(), files: Vec::new() };
    append(folder, file, &mut BTreeSet::new(), &mut flat)?;
    Ok(flat)
}

fn append(folder: &Path, file: &str, seen: &mut BTreeSet<String>, flat: &mut Flat) -> Result<(), String> {
    seen.insert(file.into());
    let path = folder.join(file);
    let text = fs::read_to_string(&path).map_err(|error| format!("cannot read '{}': {error}", path.display()))?;
    flat.files.push(path);
    flat.text += &format!("#line 1 \"{file}\"\n");
    for (number, line) in text.lines().enumerate() {
        match included(line) {
            Some(name) if !seen.contains(name) => {
                append(folder, name, seen, flat)?;
                flat.text += &format!("#line {} \"{file}\"", number + 2);
            }
            Some(_) => {}
            // The line has no use in the flat text, which is a main file; compilers warn of it there.
            None if line.trim() == "#pragma once" => {}
            None => flat.text += line,
        }
        flat.text.push('\n');
    }
    Ok(())
}

/// The file beside this one that a line includes.
fn included(line: &str) -> Option<&str> {
    let (name, _) = line.trim_start().strip_prefix("#include \"")?.split_once('"')?;
    (!name.contains('/')).then_some(name)
}
