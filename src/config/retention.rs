//! How long what is kept.

use serde::Deserialize;

use super::values;
use crate::types::when::window::Window;

/// A table of retention, as it is written: nothing is released where it names no rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// How long every snapshot is kept.
    #[serde(deserialize_with = "values::window")]
    pub every: Option<Window>,
    /// How long the end of each hour is kept.
    #[serde(deserialize_with = "values::window")]
    pub hourly: Option<Window>,
    /// How long the end of each day is kept.
    #[serde(deserialize_with = "values::window")]
    pub daily: Option<Window>,
    /// How long the end of each week is kept.
    #[serde(deserialize_with = "values::window")]
    pub weekly: Option<Window>,
    /// How long the end of each month is kept.
    #[serde(deserialize_with = "values::window")]
    pub monthly: Option<Window>,
    /// How long the end of each year is kept.
    #[serde(deserialize_with = "values::window")]
    pub yearly: Option<Window>,
    /// The age below which nothing is released, whatever the rules say.
    #[serde(deserialize_with = "values::window")]
    pub lock: Option<Window>,
}

impl Retention {
    /// The table as it would be written, one rule a line.
    pub fn text(&self) -> String {
        let rules = [
            ("every", self.every),
            ("hourly", self.hourly),
            ("daily", self.daily),
            ("weekly", self.weekly),
            ("monthly", self.monthly),
            ("yearly", self.yearly),
            ("lock", self.lock),
        ];
        rules.iter().filter_map(|(rule, window)| Some(format!("{rule} = \"{}\"\n", (*window)?))).collect()
    }
}
