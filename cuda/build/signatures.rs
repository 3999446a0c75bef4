//! What every kernel takes, read from the sources: the heads of their `extern "C" __global__` functions.
//!
//! The preprocessor's part that kernels' heads need is done here. A macro without arguments whose name ends with
//! `_PARAMETERS` stands for parameters that several kernels share. A macro with arguments whose text holds
//! `__global__`, or such a macro, makes kernels. Conditions (`#if`) are not evaluated: no kernel may stand in one.

use std::collections::BTreeMap;
use std::mem;
use std::rc::Rc;

/// The head of a kernel.
#[derive(Debug)]
pub struct Kernel {
    pub name: String,
    /// Where it stands.
    pub file: String,
    /// Threads that its `__launch_bounds__` allow: an expression of C++.
    pub threads: String,
    pub parameters: Vec<Parameter>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Parameter {
    One(Value),
    Shared(Shared),
}

/// Parameters that a macro stands for: `update` where that is `UPDATE_PARAMETERS`.
#[derive(Debug, Clone, PartialEq)]
pub struct Shared {
    pub name: String,
    /// Where the macro stands.
    pub file: String,
    pub values: Vec<Value>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    pub name: String,
    /// Its type as it is written.
    pub declared: String,
    pub kind: Kind,
}

/// What a launch passes for a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An address of the device.
    Address,
    U32,
    U64,
    F32,
    F64,
}

/// The kernels of a text that `flatten` made, in the order of their names.
///
/// # Errors
/// A sentence that begins with file and line of what is not understood.
pub fn read(text: &str) -> Result<Vec<Kernel>, String> {
    let source = Source::of(text);
    let tokens = source.expand(&source.tokens)?;
    let mut kernels = Vec::new();
    for (index, token) in tokens.iter().enumerate().filter(|(_, token)| token.text == "__global__") {
        let before: Vec<_> = tokens[..index].iter().rev().take(2).map(|token| token.text.as_str()).collect();
        if before != ["\"C\"", "extern"] {
            return Err(
                token.says("a kernel begins with `extern \"C\" __global__ void`, so that it is found by its name")
            );
        }
        kernels.push(source.kernel(token, &tokens[index + 1..])?);
    }
    kernels.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(kernels)
}

/// A name, a number, a literal or a sign.
#[derive(Clone)]
struct Token {
    text: String,
    file: Rc<str>,
    line: usize,
}

impl Token {
    fn is_name(&self) -> bool {
        self.text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
    }

    fn says(&self, what: &str) -> String {
        format!("cuda/{}:{}: {what}", self.file, self.line)
    }
}

/// A macro with arguments that makes kernels.
struct Maker {
    /// `...` as `__VA_ARGS__`.
    arguments: Vec<String>,
    body: Vec<Token>,
}

/// A text without its comments and directives.
#[derive(Default)]
struct Source {
    tokens: Vec<Token>,
    shared: BTreeMap<String, Vec<Token>>,
    makers: BTreeMap<String, Maker>,
}

impl Source {
    fn of(text: &str) -> Self {
        let text = without_comments(text);
        let mut source = Self::default();
        let (mut file, mut number): (Rc<str>, usize) = ("kernels.cu".into(), 0);
        let mut directive: Vec<Token> = Vec::new();
        let mut continued = false;
        for line in text.lines() {
            number += 1;
            let (line, goes_on) = line.trim_end().strip_suffix('\\').map_or((line, false), |line| (line, true));
            let tokens = tokens_of(line, &file, number);
            if !continued && tokens.first().is_none_or(|token| token.text != "#") {
                source.tokens.extend(tokens);
                continue;
            }
            directive.extend(tokens);
            continued = goes_on;
            if continued {
                continue;
            }
            let whole = mem::take(&mut directive);
            match &whole[1..] {
                [what, at, name, ..] if what.text == "line" => {
                    file = name.text.trim_matches('"').into();
                    // The line that follows has this number.
                    number = at.text.parse::<usize>().map_or(number, |at| at - 1);
                }
                [what, name, rest @ ..] if what.text == "define" => source.define(&name.text, rest),
                _ => {}
            }
        }
        source
    }

    /// Keeps the macros of the two kinds that matter here.
    fn define(&mut self, name: &str, rest: &[Token]) {
        if name.ends_with("_PARAMETERS") {
            self.shared.insert(name.into(), rest.to_vec());
            return;
        }
        let makes = |token: &Token| token.text == "__global__" || self.makers.contains_key(&token.text);
        if !rest.iter().any(makes) {
            return;
        }
        if let Some((arguments, body)) = in_parentheses(rest) {
            let named = |token: &Token| if token.text == "." { "__VA_ARGS__".into() } else { token.text.clone() };
            let mut arguments: Vec<_> = arguments.iter().filter(|token| token.text != ",").map(named).collect();
            arguments.dedup();
            self.makers.insert(name.into(), Maker { arguments, body: body.to_vec() });
        }
    }

    /// The tokens with what makers make in their places.
    fn expand(&self, tokens: &[Token]) -> Result<Vec<Token>, String> {
        let mut expanded = Vec::new();
        let mut rest = tokens;
        while let [token, after @ ..] = rest {
            rest = after;
            let Some(maker) = self.makers.get(&token.text) else {
                expanded.push(token.clone());
                continue;
            };
            let Some((inside, after)) = in_parentheses(after) else {
                return Err(token.says(&format!("{} makes kernels and takes arguments in parentheses", token.text)));
            };
            rest = after;
            expanded.extend(self.expand(&maker.make(token, inside)?)?);
        }
        Ok(expanded)
    }

    /// The kernel whose `__global__` precedes these tokens.
    fn kernel(&self, global: &Token, tokens: &[Token]) -> Result<Kernel, String> {
        let unclear = || {
            global.says(
                "this is not `extern \"C\" __global__ void __launch_bounds__(threads) name(parameters)`, a kernel's head",
            )
        };
        let rest = match tokens {
            [void, bounds, rest @ ..] if void.text == "void" && bounds.text == "__launch_bounds__" => rest,
            _ => return Err(unclear()),
        };
        let (bounds, rest) = in_parentheses(rest).ok_or_else(unclear)?;
        let (name, rest) = rest.split_first().filter(|(name, _)| name.is_name()).ok_or_else(unclear)?;
        let (parameters, _) = in_parentheses(rest).ok_or_else(unclear)?;
        let parameters =
            parts(parameters).into_iter().map(|part| self.parameter(name, part)).collect::<Result<_, _>>()?;
        let threads = parts(bounds).first().map(|part| written(part)).ok_or_else(unclear)?;
        Ok(Kernel { name: name.text.clone(), file: name.file.to_string(), threads, parameters })
    }

    fn parameter(&self, kernel: &Token, tokens: &[Token]) -> Result<Parameter, String> {
        let [token] = tokens else {
            return value(kernel, tokens).map(Parameter::One);
        };
        let Some(inside) = self.shared.get(&token.text) else {
            return value(kernel, tokens).map(Parameter::One);
        };
        let name = token.text.trim_end_matches("_PARAMETERS").to_lowercase();
        let file = inside.first().unwrap_or(token).file.to_string();
        let values = parts(inside).into_iter().map(|part| value(token, part)).collect::<Result<_, _>>()?;
        Ok(Parameter::Shared(Shared { name, file, values }))
    }
}

impl Maker {
    /// Its body with `inside` for its arguments; everything stands where the macro is used.
    fn make(&self, used: &Token, inside: &[Token]) -> Result<Vec<Token>, String> {
        let mut given = parts(inside);
        let wanted = self.arguments.len();
        if self.arguments.last().is_some_and(|last| last == "__VA_ARGS__") && given.len() > wanted {
            // The rest with its commas.
            let named: usize = given[..wanted - 1].iter().map(|part| part.len() + 1).sum();
            given.truncate(wanted - 1);
            given.push(&inside[named..]);
        }
        if given.len() != wanted {
            return Err(used.says(&format!("{} takes {wanted} arguments and is given {}", used.text, given.len())));
        }
        let mut made: Vec<Token> = Vec::new();
        let mut pastes = false;
        let mut signs = self.body.iter().peekable();
        while let Some(token) = signs.next() {
            if token.text == "#" && signs.next_if(|next| next.text == "#").is_some() {
                pastes = true;
                continue;
            }
            let argument = self.arguments.iter().position(|name| *name == token.text);
            let tokens = argument.map_or(std::slice::from_ref(token), |index| given[index]);
            for token in tokens {
                match made.last_mut() {
                    Some(last) if pastes => last.text += &token.text,
                    _ => made.push(Token { text: token.text.clone(), ..used.clone() }),
                }
                pastes = false;
            }
        }
        Ok(made)
    }
}

/// A parameter that is written out.
fn value(kernel: &Token, tokens: &[Token]) -> Result<Value, String> {
    let Some((name, declared)) = tokens.split_last() else {
        return Err(kernel.says(&format!("{} has an empty parameter between two commas", kernel.text)));
    };
    if !name.is_name() || declared.is_empty() {
        let what = format!("the parameter `{}` of {} has no name", written(tokens), kernel.text);
        return Err(name.says(&what));
    }
    let words = declared.iter().map(|token| token.text.as_str());
    let words: Vec<_> = words.filter(|word| !["const", "__restrict__"].contains(word)).collect();
    let kind = match words[..] {
        [_, "*"] => Kind::Address,
        ["u32"] => Kind::U32,
        ["u64"] => Kind::U64,
        ["float"] => Kind::F32,
        ["double"] => Kind::F64,
        _ => {
            return Err(name.says(&format!(
                "the parameter {} of {} has the type `{}`; a kernel takes u32, u64, float, double and pointers",
                name.text,
                kernel.text,
                written(declared)
            )));
        }
    };
    Ok(Value { name: name.text.clone(), declared: written(declared), kind })
}

/// Tokens as one would write them: `const float*`, `Narrow::THREADS`.
fn written(tokens: &[Token]) -> String {
    let mut text = String::new();
    for token in tokens {
        if token.is_name() && text.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '*') {
            text.push(' ');
        }
        text += &token.text;
    }
    text
}

/// What stands in the parentheses that tokens begin with, and what follows them.
fn in_parentheses(tokens: &[Token]) -> Option<(&[Token], &[Token])> {
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "(" => depth += 1,
            ")" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return (index > 0).then(|| (&tokens[1..index], &tokens[index + 1..]));
        }
    }
    None
}

/// What stands between commas that are in no parentheses; nothing of nothing.
fn parts(tokens: &[Token]) -> Vec<&[Token]> {
    if tokens.is_empty() {
        return Vec::new();
    }
    let mut depth = 0;
    let separates = |token: &Token| {
        match token.text.as_str() {
            "(" => depth += 1,
            ")" => depth -= 1,
            _ => {}
        }
        depth == 0 && token.text == ","
    };
    tokens.split(separates).collect()
}

fn tokens_of(line: &str, file: &Rc<str>, number: usize) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let of_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = match first {
            '"' => rest[1..].find('"').map_or(rest.len(), |end| end + 2),
            _ if of_word(first) => rest.find(|c| !of_word(c)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        tokens.push(Token { text: rest[..end].into(), file: Rc::clone(file), line: number });
        rest = rest[end..].trim_start();
    }
    tokens
}

/// The text with a blank for every comment; lines stay lines.
fn without_comments(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(['/', '"']) {
        code += &rest[..start];
        rest = &rest[start..];
        let end = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else {
            // A literal as a whole, or a sign of division.
            let end = rest.strip_prefix('"').map_or(1, |literal| literal.find('"').map_or(rest.len(), |end| end + 2));
            code += &rest[..end];
            rest = &rest[end..];
            continue;
        };
        code.push(' ');
        code.extend(rest[..end].chars().filter(|&c| c == '\n'));
        rest = &rest[end..];
    }
    code + rest
}
