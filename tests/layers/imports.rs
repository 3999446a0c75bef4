//! What a source file uses of the crate's other modules.

use super::tokens::{Token, closing, production};
use std::collections::BTreeMap;

/// A module's path from the crate's root, without `crate`.
pub type Module = Vec<String>;

/// Source files by the module that each is; the root's path is empty.
pub struct Sources {
    files: BTreeMap<Module, (String, Vec<Token>)>,
}

/// A file that uses another one, and the line in which it does.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrow {
    pub from: Module,
    pub line: usize,
    pub to: Module,
}

impl Sources {
    /// From names below src/ and texts. Tests are left out: folders `tests` and files tests.rs.
    pub fn new<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let is_test = |name: &str| name.split('/').any(|part| part == "tests" || part == "tests.rs");
        let texts = texts.into_iter().filter(|(name, _)| !is_test(name));
        Self { files: texts.map(|(name, text)| (module_of(name), (name.to_owned(), production(text)))).collect() }
    }

    /// A module's file, such as src/log.rs.
    pub fn file(&self, module: &Module) -> String {
        format!("src/{}", self.files[module].0)
    }

    /// Every module that is a file, with its production code.
    pub fn iter(&self) -> impl Iterator<Item = (&Module, &[Token])> {
        self.files.iter().map(|(module, (_, tokens))| (module, tokens.as_slice()))
    }

    /// Every use of another file, file by file and in the order of the lines.
    pub fn arrows(&self) -> Vec<Arrow> {
        let mut arrows = Vec::new();
        for (module, tokens) in self.iter() {
            for (path, line) in Reader::new(self, module, tokens).paths() {
                let to = self.longest(&path);
                let arrow = Arrow { from: module.clone(), line, to };
                if arrow.to != *module && !arrows.contains(&arrow) {
                    arrows.push(arrow);
                }
            }
        }
        arrows
    }

    /// The file that a path leads to: that of its longest beginning that is one. The root's where there is none.
    fn longest(&self, path: &[String]) -> Module {
        let beginnings = (0..=path.len()).rev().map(|length| &path[..length]);
        beginnings.into_iter().find(|part| self.files.contains_key(*part)).unwrap_or_default().to_vec()
    }
}

/// The module that a file below src/ is.
pub fn module_of(name: &str) -> Module {
    let mut module: Module = name.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if matches!(module.last().map(String::as_str), Some("mod" | "lib")) {
        module.pop();
    }
    module
}

/// Reads one file from front to back.
struct Reader<'a> {
    sources: &'a Sources,
    module: &'a Module,
    tokens: &'a [Token],
    /// Modules that are written out inside of the file, with the token that each ends before.
    inside: Vec<(String, usize)>,
    found: Vec<(Module, usize)>,
}

impl<'a> Reader<'a> {
    fn new(sources: &'a Sources, module: &'a Module, tokens: &'a [Token]) -> Self {
        Self { sources, module, tokens, inside: Vec::new(), found: Vec::new() }
    }

    fn text(&self, i: usize) -> &'a str {
        self.tokens.get(i).map_or("", |token| token.text.as_str())
    }

    /// Paths of the crate's items, from its root, with their lines.
    fn paths(mut self) -> Vec<(Module, usize)> {
        let mut i = 0;
        while i < self.tokens.len() {
            self.inside.retain(|(_, end)| i < *end);
            let after_path = i > 0 && matches!(self.text(i - 1), "::" | ".");
            i = match self.text(i) {
                // pub(super), pub(in crate::abi): who may see an item is no use of theirs.
                "pub" if self.text(i + 1) == "(" => closing(self.tokens, i + 1),
                "mod" if self.text(i + 2) == "{" => {
                    self.inside.push((self.text(i + 1).into(), closing(self.tokens, i + 2)));
                    i + 3
                }
                // Not `impl Trait + use<'a>`.
                "use" if self.text(i + 1) != "<" => self.tree(i + 1, Vec::new()),
                _ if self.tokens[i].is_word() && self.text(i + 1) == "::" && !after_path => self.in_code(i),
                _ => i + 1,
            };
        }
        self.found
    }

    /// One tree of a `use`, from token `i`, behind `before`. Returns where it ends.
    fn tree(&mut self, mut i: usize, before: Vec<Token>) -> usize {
        let mut path = before;
        loop {
            match self.text(i) {
                // Of another crate.
                "::" if path.is_empty() => {
                    path.push(self.tokens[i].clone());
                    i += 1;
                }
                "::" => i += 1,
                "{" => {
                    let end = closing(self.tokens, i);
                    i += 1;
                    while i + 1 < end {
                        i = self.tree(i, path.clone());
                        i += usize::from(self.text(i) == ",");
                    }
                    return end;
                }
                "," | ";" | "}" | "" | "as" => break,
                _ => {
                    path.push(self.tokens[i].clone());
                    i += 1;
                }
            }
        }
        self.found(&path);
        if self.text(i) == "as" { i + 2 } else { i }
    }

    /// A path in code, from token `i`.
    fn in_code(&mut self, mut i: usize) -> usize {
        let mut path = vec![self.tokens[i].clone()];
        i += 1;
        while self.text(i) == "::" && self.tokens.get(i + 1).is_some_and(Token::is_word) {
            path.push(self.tokens[i + 1].clone());
            i += 2;
        }
        self.found(&path);
        i
    }

    /// Keeps a path that is one of this crate's.
    fn found(&mut self, path: &[Token]) {
        let Some(last) = path.last() else { return };
        let words: Vec<&str> = path.iter().map(|token| token.text.as_str()).collect();
        let mut here = self.module.clone();
        here.extend(self.inside.iter().map(|(name, _)| name.clone()));
        let (mut full, mut rest) = match words[0] {
            "crate" => (Vec::new(), &words[1..]),
            "self" => (here, &words[1..]),
            "super" => (here, &words[..]),
            name => {
                here.push(name.into());
                if !self.sources.files.contains_key(&here) {
                    return;
                }
                (here, &words[1..])
            }
        };
        while let ["super", more @ ..] = rest {
            full.pop();
            rest = more;
        }
        full.extend(rest.iter().filter(|word| !matches!(**word, "self" | "*")).map(|word| (*word).to_owned()));
        self.found.push((full, last.line));
    }
}
