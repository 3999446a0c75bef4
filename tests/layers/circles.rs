//! Files that use each other.

use super::imports::{Arrow, Module, Sources};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The shortest circle through every file that is in one, each circle once, as a sentence with files and lines.
pub fn faults(sources: &Sources, arrows: &[Arrow]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut faults = Vec::new();
    for (start, _) in sources.iter() {
        if seen.contains(start) {
            continue;
        }
        let Some(circle) = shortest(start, arrows) else { continue };
        seen.extend(circle.iter().map(|arrow| arrow.from.clone()));
        let part =
            |arrow: &&Arrow| format!("{}:{} uses {}", sources.file(&arrow.from), arrow.line, sources.file(&arrow.to));
        faults.push(format!("files use each other: {}", circle.iter().map(part).collect::<Vec<_>>().join(", ")));
    }
    faults
}

/// The shortest way along arrows from a file back to itself.
fn shortest<'a>(start: &Module, arrows: &'a [Arrow]) -> Option<Vec<&'a Arrow>> {
    let mut came_by: BTreeMap<&Module, &Arrow> = BTreeMap::new();
    let mut waiting = VecDeque::from([start]);
    while let Some(here) = waiting.pop_front() {
        for arrow in arrows.iter().filter(|arrow| arrow.from == *here) {
            if arrow.to == *start {
                let mut circle = vec![arrow];
                while circle[0].from != *start {
                    circle.insert(0, came_by[&circle[0].from]);
                }
                return Some(circle);
            }
            if !came_by.contains_key(&arrow.to) {
                came_by.insert(&arrow.to, arrow);
                waiting.push_back(&arrow.to);
            }
        }
    }
    None
}
