//! Words and signs of a Rust source, without comments, strings and code that only tests have.

/// A word or a sign, and its line from 1. A path's `::` is one sign; every other sign has one character.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    pub text: String,
    pub line: usize,
}

impl Token {
    pub fn is_word(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// The tokens of production code in `source`.
pub fn production(source: &str) -> Vec<Token> {
    without_tests(&all(source))
}

/// How a string begins that is a path.
const CRATE: [char; 8] = ['"', 'c', 'r', 'a', 't', 'e', ':', ':'];

/// Every token. Literals and lifetimes are left out, but for strings that are paths.
fn all(source: &str) -> Vec<Token> {
    let text: Vec<char> = source.chars().collect();
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let at = |i: usize| text.get(i).copied().unwrap_or('\0');
    let (mut tokens, mut i, mut line) = (Vec::new(), 0, 1);
    while i < text.len() {
        let start = i;
        let c = text[i];
        if c == '/' && at(i + 1) == '/' {
            while i < text.len() && text[i] != '\n' {
                i += 1;
            }
        } else if c == '/' && at(i + 1) == '*' {
            let mut depth = 0;
            loop {
                match (at(i), at(i + 1)) {
                    ('/', '*') => (depth, i) = (depth + 1, i + 2),
                    ('*', '/') => (depth, i) = (depth - 1, i + 2),
                    _ => i += 1,
                }
                if depth == 0 || i >= text.len() {
                    break;
                }
            }
        } else if let Some(end) = raw_string(&text, i) {
            i = end;
        } else if c == '"' || (matches!(c, 'b' | 'c') && at(i + 1) == '"') {
            i = quoted(&text, if c == '"' { i + 1 } else { i + 2 }, '"');
            // serde's attributes name functions in strings.
            if tokens.last().is_some_and(|token: &Token| token.text == "=") && text[start..].starts_with(&CRATE) {
                let path: String = text[start + 1..i - 1].iter().collect();
                tokens.extend(all(&path).into_iter().map(|token| Token { line, ..token }));
            }
        } else if c == '\'' || (c == 'b' && at(i + 1) == '\'') {
            let first = if c == '\'' { i + 1 } else { i + 2 };
            // 'a is a lifetime, 'a' and '\n' are characters.
            if at(first) == '\\' || at(first + 1) == '\'' {
                i = quoted(&text, first, '\'');
            } else {
                i = first;
                while is_word(at(i)) {
                    i += 1;
                }
            }
        } else if is_word(c) {
            // r#type is the word type.
            let from = if c == 'r' && at(i + 1) == '#' { i + 2 } else { i };
            i = from;
            while is_word(at(i)) {
                i += 1;
            }
            tokens.push(Token { text: text[from..i].iter().collect(), line });
        } else if c == ':' && at(i + 1) == ':' {
            i += 2;
            tokens.push(Token { text: "::".into(), line });
        } else {
            i += 1;
            if !c.is_whitespace() {
                tokens.push(Token { text: c.into(), line });
            }
        }
        let end = i.min(text.len());
        line += text[start..end].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

/// Where a raw string that begins at `i` ends.
fn raw_string(text: &[char], i: usize) -> Option<usize> {
    let mut at = i + usize::from(matches!(text[i], 'b' | 'c'));
    if text.get(at) != Some(&'r') {
        return None;
    }
    at += 1;
    let hashes = text[at..].iter().take_while(|c| **c == '#').count();
    at += hashes;
    if text.get(at) != Some(&'"') {
        return None;
    }
    let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let rest = &text[at + 1..];
    let length = rest.windows(end.len()).position(|part| part == end).unwrap_or(rest.len());
    Some((at + 1 + length + end.len()).min(text.len()))
}

/// Past the sign that ends a string or character whose inside begins at `i`.
fn quoted(text: &[char], mut i: usize, end: char) -> usize {
    while i < text.len() && text[i] != end {
        i += if text[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

/// Leaves out what stands under an attribute `#[cfg(test)]`, also as part of `all(..)`; everything after `#![cfg(test)]`.
fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let (mut kept, mut i) = (Vec::new(), 0);
    while i < tokens.len() {
        let inner = is(tokens, i, "#") && is(tokens, i + 1, "!") && is(tokens, i + 2, "[");
        let outer = is(tokens, i, "#") && is(tokens, i + 1, "[");
        if !inner && !outer {
            kept.push(tokens[i].clone());
            i += 1;
            continue;
        }
        let open = i + 1 + usize::from(inner);
        let end = closing(tokens, open);
        if asks_for_tests(&tokens[open..end]) {
            if inner {
                break;
            }
            i = item_end(tokens, end);
        } else {
            kept.extend_from_slice(&tokens[i..end]);
            i = end;
        }
    }
    kept
}

fn is(tokens: &[Token], i: usize, text: &str) -> bool {
    tokens.get(i).is_some_and(|token| token.text == text)
}

/// Past the bracket that closes the one at `open`.
pub fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0;
    for (i, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return i + 1;
        }
    }
    tokens.len()
}

/// Whether the attribute `[..]` compiles what follows for tests alone.
fn asks_for_tests(attribute: &[Token]) -> bool {
    let words: Vec<&str> = attribute.iter().map(|token| token.text.as_str()).collect();
    match words.as_slice() {
        ["[", "cfg", "(", "test", ")", "]"] => true,
        ["[", "cfg", "(", "all", "(", inside @ ..] => inside.contains(&"test") && !inside.contains(&"not"),
        _ => false,
    }
}

/// Past the item, statement, field or arm that begins at `i`, further attributes included.
fn item_end(tokens: &[Token], mut i: usize) -> usize {
    while is(tokens, i, "#") && is(tokens, i + 1, "[") {
        i = closing(tokens, i + 1);
    }
    if is(tokens, i, "pub") {
        i += 1;
        if is(tokens, i, "(") {
            i = closing(tokens, i);
        }
    }
    let word = tokens.get(i).map_or("", |token| token.text.as_str());
    let with_body =
        ["fn", "mod", "impl", "struct", "enum", "trait", "union", "unsafe", "async", "extern", "macro_rules"];
    let with_body = with_body.contains(&word) || (word == "const" && is(tokens, i + 1, "fn"));
    let with_semicolon = !with_body && ["use", "const", "static", "type", "let"].contains(&word);
    while i < tokens.len() {
        match tokens[i].text.as_str() {
            ";" => return i + 1,
            "," if !with_body && !with_semicolon => return i + 1,
            // The end of what the field or statement stands in.
            ")" | "]" | "}" => return i,
            "{" if !with_semicolon => return closing(tokens, i),
            "(" | "[" | "{" => i = closing(tokens, i),
            _ => i += 1,
        }
    }
    i
}
