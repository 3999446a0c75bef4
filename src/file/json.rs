//! A reader of untrusted JSON. It allocates nothing for any text, and goes no deeper than it is told.
//!
//! An error is a clause, such as "a ':' is missing at byte 12".

use std::str::Chars;

pub(super) type Parsed<T> = Result<T, String>;

/// Limits of a value that is skipped.
pub(super) struct Limits {
    /// Depth of lists and objects inside each other.
    pub depth: usize,
    /// Length of a text, a key, a number or a word, in bytes with escapes.
    pub token: usize,
    /// Number of items in a list.
    pub items: usize,
}

/// A place in a text.
pub(super) struct Json<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Json<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Returns the next byte that is not white space, and does not pass it.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(self.at) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn missing<T>(&mut self, what: &str) -> Parsed<T> {
        self.peek();
        Err(format!("{what} is missing at byte {}", self.at))
    }

    /// Returns whether the next value is an object.
    pub fn is_object(&mut self) -> bool {
        self.peek() == Some(b'{')
    }

    /// Skips `null` if it comes next; returns whether it did.
    pub fn null(&mut self) -> bool {
        self.peek();
        let there = self.text[self.at..].starts_with("null");
        self.at += if there { 4 } else { 0 };
        there
    }

    /// Reads an object. `member` gets each key and has to read its value.
    pub fn members(&mut self, mut member: impl FnMut(&mut Self, Text<'a>) -> Parsed<()>) -> Parsed<()> {
        if !self.take(b'{') {
            return self.missing("a '{'");
        }
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            let key = self.string()?;
            if !self.take(b':') {
                return self.missing("a ':'");
            }
            member(self, key)?;
            if self.take(b'}') {
                return Ok(());
            }
            if !self.take(b',') {
                return self.missing("a ',' or '}'");
            }
        }
    }

    /// Reads a list. `item` has to read each item.
    pub fn items(&mut self, mut item: impl FnMut(&mut Self) -> Parsed<()>) -> Parsed<()> {
        if !self.take(b'[') {
            return self.missing("a '['");
        }
        if self.take(b']') {
            return Ok(());
        }
        loop {
            item(self)?;
            if self.take(b']') {
                return Ok(());
            }
            if !self.take(b',') {
                return self.missing("a ',' or ']'");
            }
        }
    }

    pub fn string(&mut self) -> Parsed<Text<'a>> {
        if !self.take(b'"') {
            return self.missing("a '\"'");
        }
        let start = self.at;
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Text(&self.text[start..self.at - 1]));
                }
                Some(b'\\') => match decode(&bytes[self.at..]) {
                    Some((_, length)) => self.at += length,
                    None => return Err(format!("an escape is not one of JSON's at byte {}", self.at)),
                },
                Some(0..b' ') => return Err(format!("a control character stands in a text at byte {}", self.at)),
                Some(_) => self.at += 1,
                None => return Err(format!("a text has no end from byte {start} on")),
            }
        }
    }

    /// Reads a whole number from 0 on.
    pub fn whole(&mut self) -> Parsed<u64> {
        self.peek();
        let rest = &self.text[self.at..];
        let length = rest.bytes().take_while(u8::is_ascii_digit).count();
        let digits = &rest[..length];
        let number = (length == 1 || !digits.starts_with('0')).then(|| digits.parse().ok()).flatten();
        // A fraction or an exponent would come where a ',' has to.
        let Some(number) = number else {
            return self.missing("a whole number below 2^64");
        };
        self.at += length;
        Ok(number)
    }

    /// Skips a value of any kind within the limits and returns its text. The lengths of numbers and words are checked,
    /// their form is not.
    pub fn value(&mut self, limits: &Limits) -> Parsed<&'a str> {
        self.nested(limits, limits.depth)
    }

    fn nested(&mut self, limits: &Limits, depth: usize) -> Parsed<&'a str> {
        let first = self.peek();
        let start = self.at;
        if let Some(b'{' | b'[') = first
            && depth == 0
        {
            return Err(format!("more than {} lists and objects are inside each other at byte {start}", limits.depth));
        }
        match first {
            Some(b'{') => self.members(|json, key| {
                json.bounded(limits, key.0)?;
                json.nested(limits, depth - 1).map(drop)
            })?,
            Some(b'[') => {
                let mut left = limits.items;
                self.items(|json| {
                    left = left.checked_sub(1).ok_or_else(|| {
                        format!("a list has more than {} numbers or other values at byte {start}", limits.items)
                    })?;
                    json.nested(limits, depth - 1).map(drop)
                })?;
            }
            Some(b'"') => {
                let text = self.string()?;
                self.bounded(limits, text.0)?;
            }
            _ => {
                let word = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
                let length = self.text.as_bytes()[start..].iter().take_while(|byte| word(byte)).count();
                if length == 0 {
                    return self.missing("a value");
                }
                self.at += length;
                self.bounded(limits, &self.text[start..self.at])?;
            }
        }
        Ok(&self.text[start..self.at])
    }

    fn bounded(&self, limits: &Limits, token: &str) -> Parsed<()> {
        if token.len() <= limits.token {
            return Ok(());
        }
        let (end, length, most) = (self.at, token.len(), limits.token);
        Err(format!("a text or number of {length} bytes ends at byte {end}, and at most {most} are allowed"))
    }

    /// Checks that nothing but white space is left.
    pub fn end(&mut self) -> Parsed<()> {
        if self.peek().is_none() { Ok(()) } else { Err(format!("more follows at byte {}", self.at)) }
    }
}

/// A text as it stands between its quotes. It may have escapes, all of them valid.
#[derive(Clone, Copy)]
pub(super) struct Text<'a>(&'a str);

impl<'a> Text<'a> {
    pub fn is(self, other: &str) -> bool {
        self.characters().eq(other.chars())
    }

    /// Returns the text without escapes, unless it has more than `most` bytes with them.
    pub fn within(self, most: usize) -> Option<String> {
        (self.0.len() <= most).then(|| self.characters().collect())
    }

    /// Returns the beginning of the text, for an error.
    pub fn beginning(self) -> String {
        const SHOWN: usize = 100;
        let mut characters = self.characters();
        let mut beginning: String = characters.by_ref().take(SHOWN).collect();
        if characters.next().is_some() {
            beginning.push_str("...");
        }
        beginning
    }

    pub fn written(self) -> &'a str {
        self.0
    }

    fn characters(self) -> Characters<'a> {
        Characters(self.0.chars())
    }
}

struct Characters<'a>(Chars<'a>);

impl Iterator for Characters<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let rest = self.0.as_str();
        if !rest.starts_with('\\') {
            return self.0.next();
        }
        let (character, length) = decode(rest.as_bytes())?;
        self.0 = rest[length..].chars();
        Some(character)
    }
}

/// Returns the character that an escape stands for, and the length of the escape in bytes.
fn decode(bytes: &[u8]) -> Option<(char, usize)> {
    let hex = |at: usize| {
        let digits = bytes.get(at..at + 4)?;
        let digits = digits.iter().map(|&digit| char::from(digit).to_digit(16));
        digits.reduce(|value, digit| Some(value? << 4 | digit?))?
    };
    let plain = match bytes.get(1)? {
        byte @ (b'"' | b'\\' | b'/') => char::from(*byte),
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => {
            let first = hex(2)?;
            if !(0xD800..0xDC00).contains(&first) {
                return Some((char::from_u32(first)?, 6));
            }
            let second = hex(8).filter(|second| bytes[6..8] == *b"\\u" && (0xDC00..0xE000).contains(second))?;
            return Some((char::from_u32(0x1_0000 + ((first - 0xD800) << 10 | (second - 0xDC00)))?, 12));
        }
        _ => return None,
    };
    Some((plain, 2))
}

/// Replaces the escapes of a text in its own memory: no escape is shorter than its character.
pub(super) fn unescape(bytes: &mut Vec<u8>) {
    let (mut from, mut to) = (0, 0);
    while from < bytes.len() {
        if bytes[from] == b'\\'
            && let Some((character, length)) = decode(&bytes[from..])
        {
            to += character.encode_utf8(&mut bytes[to..]).len();
            from += length;
        } else {
            bytes[to] = bytes[from];
            to += 1;
            from += 1;
        }
    }
    bytes.truncate(to);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits { depth: 3, token: 8, items: 4 };

    fn passes(text: &str) -> Parsed<&str> {
        let mut json = Json::new(text);
        let value = json.value(&LIMITS)?;
        json.end().map(|()| value)
    }

    proptest! {
        #[test]
        fn texts_are_what_serde_json_reads(text in any::<String>(), raw in "[\"\\\\ux0-9a-fD8CdE{}\\[\\],: ]{0,14}") {
            let written = serde_json::to_string(&text).unwrap();
            for written in [written, format!("\"{raw}\"")] {
                let ours = Json::new(&written).string().ok().filter(|ours| ours.written().len() + 2 == written.len());
                let theirs: Option<String> = serde_json::from_str(&written).ok();
                let mut bytes = written.as_bytes()[1..written.len() - 1].to_vec();
                prop_assert_eq!(ours.map(|ours| ours.characters().collect()), theirs.clone(), "{}", written);
                if let Some(theirs) = theirs {
                    unescape(&mut bytes);
                    prop_assert_eq!(bytes, theirs.as_bytes());
                    prop_assert!(ours.unwrap().is(&theirs));
                }
            }
        }

        #[test]
        fn whole_numbers_are_what_serde_json_reads(text in "-?[0-9]{0,21}") {
            let ours = Json::new(&text).whole().ok();
            prop_assert_eq!(ours, serde_json::from_str::<u64>(&text).ok().filter(|_| !text.starts_with('-')));
        }
    }

    #[test]
    fn values_are_passed_over_within_the_limits() {
        for good in ["1", "[1,2,3,4]", "{\"a\":[{}]}", "\"12345678\"", "-1.5e+30", "null", "{}", "[[],[]]"] {
            assert_eq!(passes(&format!(" {good}\n")).unwrap(), good);
        }
        let bad = [
            ("[1,2,3,4,5]", "more than 4"),
            ("[[[[]]]]", "more than 3"),
            ("{\"\":{\"\":{\"\":{}}}}", "more than 3"),
            ("\"123456789\"", "9 bytes"),
            ("{\"123456789\":1}", "9 bytes"),
            ("123456789", "9 bytes"),
            ("", "value is missing"),
            ("[1,]", "value is missing"),
            ("{\"a\"}", "':'"),
            ("{1:2}", "'\"'"),
            ("{\"a\":1 \"b\":2}", "','"),
            ("[1 2]", "','"),
            ("1 2", "more follows"),
            ("\"a", "no end"),
            ("\"\n\"", "control character"),
            ("\"\\x\"", "escape"),
        ];
        for (bad, words) in bad {
            let refusal = passes(bad).expect_err(bad);
            assert!(refusal.contains(words), "{bad}: {refusal}");
        }
        assert!(passes(&"[".repeat(1 << 20)).is_err() && passes(&"{\"\":".repeat(1 << 20)).is_err());
    }
}
