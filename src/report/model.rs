//! What a report states. Its JSON form is this; the page is made of it.

use crate::types::{time::Instant, when::show};
use serde::{Serialize, Serializer};

/// An instant: in JSON, its exact name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct When(pub Instant);

impl Serialize for When {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&show::exact_name(self.0))
    }
}

/// How much something matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    /// Good to know.
    Note,
    /// Somebody should look at it.
    Attention,
    /// What was promised did not hold.
    Problem,
}

/// Something that the report found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub weight: Weight,
    /// What it is, for people.
    pub text: String,
}

/// A stretch of time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Stretch {
    /// Its first instant.
    pub from: When,
    /// Its last one.
    pub to: When,
    /// What it is about.
    pub why: String,
}

/// How well one source was protected.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Protected {
    /// The host.
    pub host: String,
    /// The path of its root, for people.
    pub source: String,
    /// Whether the settings of the host that reports name it.
    pub in_settings: bool,
    /// Its first recovery point, ever.
    pub since: Option<When>,
    /// Its last one in the span.
    pub last: Option<When>,
    /// Recovery points in the span.
    pub recovery_points: u64,
    /// Files and directories that changed in them.
    pub changes: u64,
    /// What of it could not be produced, or which hooks failed, at its last snapshot that tells; empty where nothing.
    pub incomplete: Vec<String>,
    /// The objective, in nanoseconds, if one is set.
    pub objective_ns: Option<i64>,
    /// The longest time without a recovery point, in nanoseconds, and when it began.
    pub longest_ns: i64,
    /// When that time began.
    pub longest_from: Option<When>,
    /// The share of the span in which the objective held, in percent.
    pub met_percent: Option<f64>,
    /// The times in which it did not hold, the longest first; at most [`SOME`].
    pub missed: Vec<Stretch>,
    /// How many such times there were.
    pub missed_count: u64,
    /// Times in which capture was blind; at most [`SOME`].
    pub gaps: Vec<Stretch>,
    /// How many such times there were.
    pub gap_count: u64,
    /// Snapshots that can't be shown any more.
    pub lost: Vec<Stretch>,
    /// The rules of retention, in words.
    pub retention: Vec<String>,
}

/// How many of many are told one by one.
pub const SOME: usize = 50;

/// An entry of the audit trail, for people.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Row {
    /// When.
    pub time: When,
    /// What was done.
    pub what: String,
    /// How it ended.
    pub outcome: String,
    /// Who did it.
    pub who: String,
    /// The hash of the entry.
    pub entry: String,
}

/// A legal hold.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct HoldRow {
    /// The case.
    pub case: String,
    /// Who is responsible.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// What it touches, in words.
    pub scope: String,
    /// How many recovery points that are.
    pub touches: u64,
    /// When it was placed.
    pub placed: When,
    /// Until when it is in force; until it is released if none.
    pub until: Option<When>,
}

/// Whether the record of all this is whole.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct TrailState {
    /// Entries there are.
    pub entries: u64,
    /// Runs of programs that wrote them.
    pub runs: u64,
    /// What is wrong with it.
    pub problems: Vec<String>,
    /// The hash of the newest entry.
    pub newest: Option<String>,
}

/// The report.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Compliance {
    /// The version of this form.
    pub version: u32,
    /// When it was made.
    pub made: When,
    /// By whom.
    pub made_by: String,
    /// With which program.
    pub program: String,
    /// The repository's id.
    pub repository: String,
    /// Where it is.
    pub location: String,
    /// The beginning of the span.
    pub from: When,
    /// Its end.
    pub to: When,
    /// The zone that times are shown in.
    pub zone: String,
    /// What was found, the weightiest first.
    pub findings: Vec<Finding>,
    /// What was protected.
    pub sources: Vec<Protected>,
    /// What was checked.
    pub verifications: Vec<Row>,
    /// Holds in force now.
    pub holds: Vec<HoldRow>,
    /// What was done about holds.
    pub hold_events: Vec<Row>,
    /// What was deleted.
    pub deletions: Vec<Row>,
    /// What was restored, handed over or mounted.
    pub restores: Vec<Row>,
    /// Changes of keys and policies.
    pub changes: Vec<Row>,
    /// What failed, in whole or in part.
    pub failures: Vec<Row>,
    /// What somebody asked for that was refused or could not be done as asked.
    pub refused: Vec<Row>,
    /// The trail.
    pub trail: TrailState,
}

impl Compliance {
    /// The weight of the weightiest finding.
    pub fn verdict(&self) -> Weight {
        self.findings.iter().map(|f| f.weight).max().unwrap_or(Weight::Note)
    }
}
