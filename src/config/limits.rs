//! `[limits]`: what bygone may take from the machine and the network.

use std::time::Duration;

use serde::Deserialize;

use super::values;

/// What bygone may take.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Limits {
    /// How many bytes a second capture reads; as many as it can if none.
    #[serde(deserialize_with = "values::rate")]
    pub read: Option<u64>,
    /// How many bytes a second go to a far store.
    #[serde(deserialize_with = "values::rate")]
    pub upload: Option<u64>,
    /// How many bytes a second come from a far store.
    #[serde(deserialize_with = "values::rate")]
    pub download: Option<u64>,
    /// Whether scans, full and first snapshots rest while others wait for the machine.
    pub pressure: bool,
    /// From which share of the time on, in percent, in which others wait for the disk,
    #[serde(deserialize_with = "values::share")]
    pub pressure_io: u8,
    /// for the processors,
    #[serde(deserialize_with = "values::share")]
    pub pressure_cpu: u8,
    /// for memory.
    #[serde(deserialize_with = "values::share")]
    pub pressure_memory: u8,
    /// How long one capture rests in all, at most.
    #[serde(deserialize_with = "values::duration")]
    pub patience: Duration,
}

impl Limits {
    /// The same, and nothing rests for others: for what a person has asked for and waits for.
    #[must_use]
    pub fn without_rests(&self) -> Limits {
        Limits { pressure: false, ..self.clone() }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            read: None,
            upload: None,
            download: None,
            pressure: true,
            pressure_io: 5,
            pressure_cpu: 20,
            pressure_memory: 10,
            patience: Duration::from_secs(600),
        }
    }
}
