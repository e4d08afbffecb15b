//! The ranges of the settings of capture, checked all together.

use std::ops::Range;

use toml_edit::Document;

use super::check::Problem;
use super::error::Place;
use super::model::Capture;

/// The values that cannot be, in the order of the settings; `at` tells where a setting is.
pub(super) fn problems(capture: &Capture, at: impl Fn(&str) -> Place) -> Vec<Problem> {
    let mut problems = Vec::new();
    if capture.quiet > capture.bound {
        problems.push(Problem {
            place: at("quiet"),
            what: "quiet is longer than bound: no snapshot would be cut by quiet".into(),
            cure: "make bound the longer one".into(),
        });
    }
    let numbers = [
        ("threads", capture.threads as u64, 1..=256),
        ("level", capture.level.max(0).unsigned_abs().into(), 1..=19),
        ("large-file-share", capture.large_file_share.into(), 1..=100),
    ];
    for (setting, value, range) in numbers {
        if !range.contains(&value) {
            let what = format!("{setting} is from {} to {}", range.start(), range.end());
            problems.push(Problem { place: at(setting), what, cure: "write a number in that range".into() });
        }
    }
    problems
}

/// Where the value of a setting stands in a text that reads well.
pub(super) fn span(text: &str, table: &str, setting: &str) -> Option<Range<usize>> {
    let document = Document::parse(text).ok()?;
    document.get(table)?.get(setting)?.span()
}
