//! Reading a file that is wrong as far as it can be read: what is wrong is taken out, and the rest is read again.
//!
//! So all of it can be told at once, and a service that runs is found though its settings were broken meanwhile.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml_edit::Document;

/// So many things are taken out at most.
const MOST: usize = 100;

/// What could be read.
pub struct Lenient<T> {
    /// The settings.
    pub raw: T,
    /// The text that they are from: each byte is where it was.
    pub text: String,
    /// What is wrong, and where.
    pub wrong: Vec<Wrong>,
}

/// Where something is wrong, and what.
pub type Wrong = (Option<Range<usize>>, String);

/// Reads all of `text` that can be read. Of what is no TOML only the first error is told: others may be due to it.
pub fn read<T: DeserializeOwned + Default>(text: &str) -> Lenient<T> {
    let is_toml = |text: &str| Document::parse(text).is_ok();
    let tell_all = is_toml(text);
    let mut text = text.to_owned();
    let mut wrong = Vec::new();
    for _ in 0..MOST {
        let e = match toml::from_str(&text) {
            Ok(raw) => {
                // In the order of the file, and not in that in which settings are known.
                wrong.sort_by_key(|(span, _): &Wrong| span.as_ref().map(|span| span.start));
                return Lenient { raw, text, wrong };
            }
            Err(e) => e,
        };
        // What was taken out may have left a rest that is none, and may be what is missing now.
        if wrong.is_empty() || (tell_all && is_toml(&text) && !e.message().starts_with("missing field")) {
            wrong.push((e.span(), e.message().trim_end().replace('\n', ", ")));
        }
        let Some(range) = e.span().and_then(|span| around(&text, &span)) else { break };
        text = without(&text, &range);
    }
    Lenient { raw: T::default(), text: String::new(), wrong }
}

/// What to take out for an error at `span`: its lines, and with the header of a table all of the table. None where nothing is left
/// to take out.
fn around(text: &str, span: &Range<usize>) -> Option<Range<usize>> {
    // An error at the end is about what stands before it.
    let before = text.get(..span.start.min(text.len()))?;
    let line_of = |at: usize| text[..at].rfind('\n').map_or(0, |n| n + 1);
    let end_of = |at: usize| text[at..].find('\n').map_or(text.len(), |n| at + n);
    let mut start = line_of(before.len());
    let mut end = end_of(span.end.clamp(before.len(), text.len()));
    if text[start..end].trim().is_empty() {
        start = line_of(before.trim_end().len());
        end = end_of(start);
    }
    let header = text[start..end].trim_start();
    if header.starts_with('[') {
        let name = header.trim_start_matches('[').split([']', '\n']).next().unwrap_or_default().trim();
        let is_next = |line: &str| {
            let line = line.trim_start();
            let inner = line.trim_start_matches('[');
            line.starts_with('[') && !inner.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'))
        };
        while end < text.len() && !is_next(&text[end + 1..end_of(end + 1)]) {
            end = end_of(end + 1);
        }
    }
    (!text[start..end].trim().is_empty()).then_some(start..end)
}

/// The text with blanks in the place of a range.
fn without(text: &str, range: &Range<usize>) -> String {
    let blank = |line: &str| " ".repeat(line.len());
    let blanks: Vec<String> = text[range.clone()].split('\n').map(blank).collect();
    format!("{}{}{}", &text[..range.start], blanks.join("\n"), &text[range.end..])
}
