//! The map of layers in src/lib.rs.

use super::imports::{Arrow, Sources};

/// A module of the map.
#[derive(Debug, PartialEq)]
pub struct Entry {
    pub name: String,
    /// From 1, the ground, upwards.
    pub level: usize,
    /// Modules of the same level that it uses.
    pub uses: Vec<String>,
}

/// Reads the map: the lines between "```text" and "```" in the docs of the root, one for each module,
/// `[level] name: what it is [uses a, b]`. A line without a number has the level of the one before it.
pub fn read(root: &str) -> Result<Vec<Entry>, String> {
    let docs = root.lines().filter_map(|line| line.strip_prefix("//!")).map(str::trim);
    let lines = docs.skip_while(|line| *line != "```text").skip(1).take_while(|line| *line != "```");
    let mut entries: Vec<Entry> = Vec::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let wrong = || format!("the map in src/lib.rs has a line '{line}', which is not `[level] name: what it is`");
        let (head, text) = line.split_once(": ").ok_or_else(wrong)?;
        let before = entries.last().map_or(0, |entry| entry.level);
        let (level, name) = match head.split_whitespace().collect::<Vec<_>>()[..] {
            [name] if before > 0 => (before, name),
            [level, name] => (level.parse().map_err(|_| wrong())?, name),
            _ => return Err(wrong()),
        };
        if level != before && level != before + 1 {
            return Err(format!("the map in src/lib.rs goes from level {before} to {level} at '{line}'"));
        }
        let uses = text.strip_suffix(']').and_then(|text| text.rsplit_once("[uses ")).map(|(_, names)| names);
        let uses = uses.map_or(Vec::new(), |names| names.split(", ").map(str::to_owned).collect());
        entries.push(Entry { name: name.to_owned(), level, uses });
    }
    if entries.is_empty() { Err("src/lib.rs has no map of layers".into()) } else { Ok(entries) }
}

/// A sentence for every arrow that the map does not allow, every module that it lacks, and every line that is of no use.
pub fn faults(map: &[Entry], sources: &Sources, arrows: &[Arrow]) -> Vec<String> {
    let find = |name: &str| map.iter().find(|entry| entry.name == name);
    // The root is a module as any other, of the name of its file.
    let top = |module: &[String]| module.first().map_or("lib", String::as_str).to_owned();
    let mut faults = Vec::new();
    for (module, _) in sources.iter().filter(|(module, _)| module.len() < 2) {
        if find(&top(module)).is_none() {
            faults.push(format!("{} is not in the map of src/lib.rs", sources.file(module)));
        }
    }
    for arrow in arrows {
        let (from, to) = (top(&arrow.from), top(&arrow.to));
        let (Some(user), Some(used)) = (find(&from), find(&to)) else { continue };
        let allowed = from == to || used.level < user.level || (used.level == user.level && user.uses.contains(&to));
        if !allowed {
            faults.push(format!(
                "{}:{} uses {}: {from} is of level {} and {to} of level {}",
                sources.file(&arrow.from),
                arrow.line,
                sources.file(&arrow.to),
                user.level,
                used.level
            ));
        }
    }
    for entry in map {
        if !sources.iter().any(|(module, _)| top(module) == entry.name) {
            faults.push(format!("the map of src/lib.rs names {}, which is no module", entry.name));
        }
        for used in &entry.uses {
            if !arrows.iter().any(|arrow| top(&arrow.from) == entry.name && top(&arrow.to) == *used) {
                faults.push(format!("the map of src/lib.rs says that {} uses {used}, which it does not", entry.name));
            }
        }
    }
    faults
}
