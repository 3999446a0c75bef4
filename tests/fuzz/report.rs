//! What was found, grouped by cause.

use std::collections::BTreeMap;

use super::board::Board;
use super::child::End;

#[derive(Default)]
pub struct Report {
    /// How often each was found.
    findings: BTreeMap<String, usize>,
}

/// Of the first finding with a cause so many lines are printed.
const LINES: usize = 150;

impl Report {
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// Adds what a child found and how it ended. `again` says how to see it again.
    pub fn take(&mut self, part: &str, board: &Board, end: &End, again: &str) {
        for (headline, detail) in board.found() {
            self.add(format!("{part}: {headline}"), detail, again);
        }
        let last = || board.last().iter().rev().take(40).rev().map(|line| format!("    {line}\n")).collect::<String>();
        let cause = match (end.signal, end.code) {
            (None, 0) if end.printed.is_empty() => return,
            (None, 0) => "printed".to_owned(),
            (None, code) => format!("ended with code {code}"),
            (Some(libc::SIGALRM), _) => "hangs".to_owned(),
            (Some(signal), _) => format!("ended by signal {signal}"),
        };
        let headline = format!("{part}: {cause}: {}", culprit(&end.printed));
        self.add(headline, format!("last calls:\n{}printed:\n{}", last(), readable(&end.printed)), again);
    }

    pub fn add(&mut self, headline: String, detail: String, again: &str) {
        let count = self.findings.entry(headline.clone()).or_default();
        *count += 1;
        if *count == 1 {
            println!("\nfound: {headline}\n  again: {again}");
            for line in detail.lines().take(LINES) {
                println!("  {line}");
            }
        }
    }

    /// Says once more what was found, and how often.
    pub fn sum_up(&self) {
        for (headline, count) in &self.findings {
            println!("{count} times: {headline}");
        }
    }
}

/// What was printed without the frames of a backtrace that are of other code.
fn readable(printed: &str) -> String {
    let mut text = String::new();
    let mut lines = printed.lines().peekable();
    while let Some(line) = lines.next() {
        let place = lines.peek().and_then(|next| next.trim().strip_prefix("at ")).unwrap_or_default();
        if line.trim_start().starts_with(|c: char| c.is_ascii_digit()) && line.contains(": ") {
            if own(place).is_some() || place.contains("tests/") {
                text.push_str(&format!("{} at {place}\n", line.trim()));
            }
        } else if !line.trim_start().starts_with("at ") {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// A place in the library's sources.
fn own(place: &str) -> Option<&str> {
    let place = place.trim_start_matches("./");
    let own = place.find("/src/").map_or(place, |at| &place[at + 1..]);
    (own.starts_with("src/") && !place.contains("/rustc/") && !place.contains("/.cargo/")).then_some(own)
}

/// The innermost frames of the library in a printed backtrace, or the first line where there is none.
pub fn culprit(printed: &str) -> String {
    let mut frames: Vec<&str> = Vec::new();
    for line in printed.lines() {
        let Some(place) = line.trim().strip_prefix("at ") else { continue };
        if let Some(own) = own(place).filter(|own| !frames.contains(own)) {
            frames.push(own);
        }
    }
    let first = printed.lines().next().unwrap_or("nothing printed");
    let reason = printed.lines().find(|line| line.contains("panicked at") || line.contains("memory allocation of"));
    let kind = match reason {
        Some(line) if line.contains("panicked") => line,
        Some(_) => "an allocation's refusal ends the process",
        None => first,
    };
    if frames.is_empty() { kind.to_owned() } else { format!("{} ({kind})", frames[..frames.len().min(4)].join(" < ")) }
}
