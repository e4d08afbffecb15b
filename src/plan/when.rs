//! Conditions: `input NAME is VALUE`, `step NAME is done`; `is not` for the contrary. Nothing more.

use super::journal::Ending;
use super::template::Values;
use std::collections::BTreeMap;
use std::fmt;

/// What has to hold before a step begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Of what.
    pub subject: Subject,
    /// Whether it is to be so, and not otherwise.
    pub is: bool,
    /// What it is.
    pub value: String,
}

/// What a condition is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The value of an input.
    Input(String),
    /// How a step ended.
    Step(String),
}

/// How a condition is written.
pub const FORM: &str =
    "write \"input NAME is VALUE\", or \"step NAME is done\" (or partial, failed, skipped); \"is not\" is the contrary";

impl Condition {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Condition, String> {
        let wrong = || format!("{text:?} is no condition");
        let mut words = text.trim().splitn(3, char::is_whitespace);
        let (sort, name) = (words.next().ok_or_else(wrong)?, words.next().ok_or_else(wrong)?.to_owned());
        let rest = words.next().ok_or_else(wrong)?.trim_start();
        let rest = rest.strip_prefix("is").filter(|r| r.starts_with(char::is_whitespace)).ok_or_else(wrong)?.trim();
        let (is, value) = match rest.strip_prefix("not").filter(|r| r.starts_with(char::is_whitespace)) {
            Some(rest) => (false, rest.trim_start()),
            None => (true, rest),
        };
        let subject = match sort {
            "input" => Subject::Input(name),
            "step" if Ending::parse(value).is_some() => Subject::Step(name),
            _ => return Err(wrong()),
        };
        Ok(Condition { subject, is, value: value.to_owned() })
    }

    /// Whether it holds. A step that is not over is nothing.
    pub fn holds(&self, values: &Values, endings: &BTreeMap<String, Ending>) -> bool {
        let same = match &self.subject {
            Subject::Input(name) => values.get(name).is_some_and(|value| *value == self.value),
            Subject::Step(name) => endings.get(name).is_some_and(|ending| ending.word() == self.value),
        };
        same == self.is
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sort, name) = match &self.subject {
            Subject::Input(name) => ("input", name),
            Subject::Step(name) => ("step", name),
        };
        write!(f, "{sort} {name} is {}{}", if self.is { "" } else { "not " }, self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_and_hold_or_not() {
        let values = Values::from([("host".to_owned(), "a b".to_owned())]);
        let endings = BTreeMap::from([("x".to_owned(), Ending::Failed)]);
        for (text, holds) in [
            ("input host is a b", true),
            ("input host is not a b", false),
            ("input none is x", false),
            ("input none is not x", true),
            ("step x is failed", true),
            ("step  x is not done", true),
            ("step y is done", false),
        ] {
            let condition = Condition::parse(text.replace("  ", " ").as_str()).unwrap();
            assert_eq!(condition.holds(&values, &endings), holds, "{text}");
            assert_eq!(Condition::parse(&condition.to_string()).unwrap(), condition);
        }
        for wrong in ["", "x", "input a", "input a = b", "step x is well", "file x is y", "step x isdone"] {
            assert!(Condition::parse(wrong).is_err(), "{wrong}");
        }
    }
}
