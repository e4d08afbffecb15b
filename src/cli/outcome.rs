//! How a command ended, and failures told to people.

use crate::types::path::tame;
use std::error::Error;
use std::fmt;
use std::io::{self, Write};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was done.
    Done,
    /// It was not done.
    Failed,
    /// The command line asked for something that can't be.
    Usage,
    /// It was done except for what was named.
    Partial,
}

impl Outcome {
    /// The exit status: 0, 1, 2, 3.
    pub fn status(self) -> u8 {
        match self {
            Outcome::Done => 0,
            Outcome::Failed => 1,
            Outcome::Usage => 2,
            Outcome::Partial => 3,
        }
    }

    /// How a command ends that had this outcome and another one: done only where both are.
    #[must_use]
    pub fn and(self, other: Outcome) -> Outcome {
        if self == Outcome::Done { other } else { self }
    }
}

/// Why a command did not do what it was asked for: what failed, why, and what to do next.
#[derive(Debug, Clone)]
pub struct Failure {
    outcome: Outcome,
    what: String,
    because: Vec<String>,
    hint: Option<String>,
}

impl Failure {
    /// A failure of which nothing deeper is known.
    pub fn new(what: impl fmt::Display) -> Failure {
        Failure { outcome: Outcome::Failed, what: what.to_string(), because: Vec::new(), hint: None }
    }

    /// A command line that asks for something that can't be.
    pub fn usage(what: impl fmt::Display) -> Failure {
        Failure { outcome: Outcome::Usage, ..Failure::new(what) }
    }

    /// A failure that `error` tells all about.
    pub fn from_error(error: &(dyn Error + 'static)) -> Failure {
        let because = error.source().map(chain).unwrap_or_default();
        Failure { because, ..Failure::new(error) }
    }

    /// Adds an error and its sources as the reason.
    pub fn because(mut self, error: &(dyn Error + 'static)) -> Failure {
        self.because.extend(chain(error));
        self
    }

    /// Adds what to do next.
    pub fn hint(mut self, hint: impl fmt::Display) -> Failure {
        self.hint = Some(hint.to_string());
        self
    }

    /// What to do next, if that is known.
    pub fn to_do(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// How the command ends by it.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// What failed and why, on one line, without what to do next.
    pub fn in_short(&self) -> String {
        let mut told: Vec<&str> = vec![&self.what];
        for reason in &self.because {
            if !told.last().is_some_and(|before| before.contains(reason.as_str())) {
                told.push(reason);
            }
        }
        told.join(": ")
    }

    /// All of it, on one line, for a log and for whoever asked a service.
    pub fn in_a_line(&self) -> String {
        let text = self.to_string();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        lines.join("; ").trim_start_matches("error: ").to_owned()
    }

    /// Tells it: as text, in lines of at most `width` characters if that is given, or as one line of JSON.
    pub fn tell(&self, to: &mut dyn Write, json: bool, width: Option<usize>) -> io::Result<()> {
        if json {
            let object = serde_json::json!({ "error": self.what, "because": self.because, "hint": self.hint });
            return writeln!(to, "{object}");
        }
        match width {
            Some(width) => write!(to, "{}", wrapped(&self.to_string(), width)),
            None => write!(to, "{self}"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {}", tame(&self.what))?;
        let mut before = &self.what;
        // Some errors quote their source; it is not told twice.
        for reason in self.because.iter() {
            if !before.contains(reason.as_str()) {
                writeln!(f, "  because: {}", tame(reason))?;
            }
            before = reason;
        }
        self.hint.iter().try_for_each(|hint| writeln!(f, "  to do: {}", tame(hint)))
    }
}

/// The text with lines of at most `width` characters, broken between words, the rest of a line indented deeper.
fn wrapped(text: &str, width: usize) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let indent = line.chars().take_while(|c| *c == ' ').count();
        let mut column = 0;
        for word in line[indent..].split(' ') {
            let len = word.chars().count();
            let (begin, depth) = match column {
                0 => ("", indent),
                _ if column + 1 + len > width => ("\n", indent + 4),
                _ => (" ", 0),
            };
            column = if begin == " " { column + 1 + len } else { depth + len };
            out.extend([begin, &" ".repeat(depth), word]);
        }
        out.push('\n');
    }
    out
}

fn chain(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut told = vec![error.to_string()];
    let mut next = error.source();
    while let Some(e) = next {
        told.push(e.to_string());
        next = e.source();
    }
    told
}

/// Turns an error into a [`Failure`] that says what was being done.
pub trait Explain<T> {
    /// On an error: `what` failed, because of it.
    fn explain<D: fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T, Failure>;
    /// On an error: it says enough by itself.
    fn into_failure(self) -> Result<T, Failure>;
}

impl<T, E: Error + 'static> Explain<T> for Result<T, E> {
    fn explain<D: fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T, Failure> {
        self.map_err(|e| Failure::new(what()).because(&e))
    }

    fn into_failure(self) -> Result<T, Failure> {
        self.map_err(|e| Failure::from_error(&e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open /x")]
    struct Outer(#[source] io::Error);

    #[derive(Debug, thiserror::Error)]
    #[error("quoting: {0}")]
    struct Quoting(#[source] io::Error);

    fn told(failure: &Failure, json: bool) -> String {
        let mut out = Vec::new();
        failure.tell(&mut out, json, None).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_chain_and_the_hint_are_told_once() {
        let error: Result<(), _> = Err(Outer(io::Error::other("disk on fire")));
        let failure = error.explain(|| "cannot begin").unwrap_err().hint("put it out");
        assert_eq!(
            told(&failure, false),
            "error: cannot begin\n  because: cannot open /x\n  because: disk on fire\n  to do: put it out\n"
        );
        let json: serde_json::Value = serde_json::from_str(&told(&failure, true)).unwrap();
        assert_eq!(json["because"][1], "disk on fire");
        let failure = Failure::from_error(&Quoting(io::Error::other("disk on fire")));
        assert_eq!(told(&failure, false), "error: quoting: disk on fire\n");
    }

    #[test]
    fn a_name_can_not_disturb_a_terminal() {
        let failure = Failure::new("no source /x\u{1b}]0;P\u{7}").because(&Outer(io::Error::other("a\u{202e}b")));
        let text = told(&failure.hint("\u{9b}2J"), false);
        assert!(!text.chars().any(|c| c != '\n' && c.is_control()) && text.contains("/x\\x1b]0;P\\x07"), "{text}");
        assert!(text.contains("a\\xe2\\x80\\xaeb") && text.contains("\\xc2\\x9b2J"), "{text}");
    }

    #[test]
    fn long_lines_are_broken_between_words() {
        let text = "error: one two three\n  to do: four five  six a-word-that-is-too-long\n";
        let told = "error: one two\n    three\n  to do: four\n      five  six\n      a-word-that-is-too-long\n";
        assert_eq!(wrapped(text, 15), told);
        assert_eq!(wrapped(text, 100), text);
    }

    #[test]
    fn statuses() {
        let all = [Outcome::Done, Outcome::Failed, Outcome::Usage, Outcome::Partial];
        assert_eq!(all.map(Outcome::status), [0, 1, 2, 3]);
        assert_eq!(Failure::usage("x").outcome(), Outcome::Usage);
    }
}
