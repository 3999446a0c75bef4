//! Makes text of others, such as a path or words of a file, fit for an error: bounded, so that the reason behind it is
//! never cut off, and without control characters.

use std::path::Path;

/// The longest path in an error, in bytes. With the reason of a failure and the name of a function it fits the C ABI's
/// text.
const PATH: usize = 1000;

/// Returns a path for use in an error.
pub(crate) fn path(path: &Path) -> String {
    text(&path.to_string_lossy(), PATH)
}

/// Returns `text` with control characters written as escapes. A text of more than about `most` bytes keeps its
/// beginning and its end.
pub(crate) fn text(text: &str, most: usize) -> String {
    let mut clean = String::new();
    for character in shortened(text, most).chars() {
        if character.is_control() {
            clean.extend(character.escape_default());
        } else {
            clean.push(character);
        }
    }
    shortened(&clean, most)
}

fn shortened(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let boundary = |&at: &usize| text.is_char_boundary(at);
    let head = (0..=most / 2).rev().find(boundary).unwrap_or(0);
    let tail = (text.len() - most / 2..text.len()).find(boundary).unwrap_or(text.len());
    format!("{}...{}", &text[..head], &text[tail..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_keeps_its_beginning_and_its_end() {
        assert_eq!(text("short \u{3c3}", 20), "short \u{3c3}");
        assert_eq!(text("a\nb\0c", 20), "a\\nb\\u{0}c");
        for piece in ["a", "\u{3c3}", "\u{1f600}", "\u{7f}"] {
            let shown = text(&format!("begin{}end", piece.repeat(5000)), 100);
            assert!(shown.starts_with("begin") && shown.ends_with("end"), "{shown}");
            assert!(shown.len() <= 103 && !shown.contains(char::is_control), "{shown}");
        }
    }
}
