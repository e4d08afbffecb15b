//! A `[[drill]]` table: a plan that is rehearsed by schedule.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::check::Problem;
use super::error::Place;
use super::values;
use crate::schedule::{blackout::Blackout, model::Schedule};

/// A plan that is rehearsed by schedule.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DrillSettings {
    /// The plan, by name or by the path of its file.
    pub plan: String,
    /// When.
    #[serde(deserialize_with = "values::schedule")]
    pub schedule: Schedule,
    /// The instant that it goes back to.
    #[serde(default)]
    pub at: DrillAt,
    /// The values of its inputs.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
    /// How long recovery may take.
    #[serde(default, deserialize_with = "values::duration_if_any")]
    pub recovery_time: Option<Duration>,
    /// How old the newest snapshot may be.
    #[serde(default, deserialize_with = "values::duration_if_any")]
    pub recovery_point: Option<Duration>,
    /// Within this time one has to pass again; that of `[health]` if none.
    #[serde(default, deserialize_with = "values::duration_if_any")]
    pub within: Option<Duration>,
    /// When it does not begin.
    #[serde(default, deserialize_with = "values::blackout")]
    pub blackout: Blackout,
    /// How much later than its time it may begin.
    #[serde(default, deserialize_with = "values::duration")]
    pub jitter: Duration,
}

/// The instant that a drill goes back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DrillAt {
    /// The newest snapshot.
    #[default]
    Latest,
    /// Any snapshot.
    Random,
    /// The snapshot that needs the most records to be right.
    Worst,
}

impl DrillSettings {
    /// The arguments of `bygone drill run`.
    pub fn arguments(&self) -> Vec<String> {
        let mut all = vec!["drill".to_owned(), "run".to_owned(), self.plan.clone()];
        all.extend(match self.at {
            DrillAt::Latest => None,
            DrillAt::Random => Some("--random".to_owned()),
            DrillAt::Worst => Some("--worst".to_owned()),
        });
        all.extend(self.set.iter().map(|(name, value)| format!("--set={name}={value}")));
        for (option, time) in [("--recovery-time", self.recovery_time), ("--recovery-point", self.recovery_point)] {
            all.extend(time.map(|time| format!("{option}={}ms", time.as_millis())));
        }
        all
    }
}

/// The drills that the tables say. Two of one plan would be one job.
pub(super) fn drills(
    tables: Vec<Spanned<DrillSettings>>,
    at: &impl Fn(Option<Range<usize>>) -> Place,
    problems: &mut Vec<Problem>,
) -> Vec<DrillSettings> {
    let mut drills: Vec<DrillSettings> = Vec::new();
    for table in tables {
        let place = at(Some(table.span()));
        let drill = table.into_inner();
        if drills.iter().any(|other| other.plan == drill.plan) {
            let what = format!("there are two drills of the plan {:?}", drill.plan);
            problems.push(Problem {
                place,
                what,
                cure: "give one of them a copy of the plan under another name".into(),
            });
        } else {
            drills.push(drill);
        }
    }
    drills
}
