//! How an invariant stands: what was expected, what was found, and whether that agrees.

use crate::config::invariant::Compare;
use serde::{Deserialize, Serialize};

/// How an invariant stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// What came back has it.
    Held,
    /// It has not.
    Broken,
    /// There is nothing that it can be compared with.
    NotCompared,
}

impl Verdict {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Verdict::Held => "held",
            Verdict::Broken => "broken",
            Verdict::NotCompared => "not compared",
        }
    }
}

/// An invariant, as it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// The source: its name, or its path.
    pub source: String,
    /// The invariant.
    pub name: String,
    /// How values are compared.
    pub compare: String,
    /// The snapshot that the expected value is of.
    pub snapshot: Option<u64>,
    /// The value that was recorded, or follows from the index.
    pub expected: Option<String>,
    /// The value of what came back.
    pub found: Option<String>,
    /// How it stands.
    pub verdict: Verdict,
    /// Why it is broken where no value was found, or why it was not compared.
    pub why: Option<String>,
}

impl Checked {
    /// What is wrong, in a line; none where it is not broken.
    pub fn wrong(&self) -> Option<String> {
        if self.verdict != Verdict::Broken {
            return None;
        }
        let Checked { source, name, compare, .. } = self;
        let (snapshot, expected) = (self.snapshot.unwrap_or(0), self.expected.as_deref().unwrap_or_default());
        Some(match (&self.found, &self.why) {
            (Some(found), _) => format!(
                "the invariant {name} of {source} is broken: with snapshot {snapshot} it was {expected:?}, of what came back it is \
                 {found:?} ({compare})"
            ),
            (None, why) => format!(
                "the invariant {name} of {source} is broken: with snapshot {snapshot} it was {expected:?}, and of what came back it can't \
                 be measured: {}",
                why.as_deref().unwrap_or_default()
            ),
        })
    }
}

/// Whether a value that was found agrees with the one that was expected.
pub(super) fn agrees(compare: Compare, expected: &str, found: &str) -> bool {
    let numbers = || Some((expected.parse::<f64>().ok()?, found.parse::<f64>().ok()?));
    match compare {
        Compare::Exact => expected == found,
        Compare::AtLeast => numbers().is_some_and(|(expected, found)| found >= expected),
        Compare::Within(percent) => numbers()
            .is_some_and(|(expected, found)| (found - expected).abs() <= expected.abs() * f64::from(percent) / 100.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_agree_as_it_is_said() {
        let agree =
            |compare, found: &[&str]| found.iter().map(|found| agrees(compare, "200", found)).collect::<Vec<_>>();
        let found = ["200", "200.0", "190", "189", "210", "300", "many", "NaN"];
        assert_eq!(agree(Compare::Exact, &found), [true, false, false, false, false, false, false, false]);
        assert_eq!(agree(Compare::AtLeast, &found), [true, true, false, false, true, true, false, false]);
        assert_eq!(agree(Compare::Within(5), &found), [true, true, true, false, true, false, false, false]);
    }
}
