//! What is said at the socket: one line of JSON asks, lines of JSON answer, and the connection ends.

use crate::capture::{
    pace::HeldBack,
    report::{Problem, Report},
};
use crate::config::roles::Role;
use crate::daemon::standing::Standing;
use crate::observe::facts::Facts;
use crate::produce::{error::Failure, take};
use crate::types::{
    ids::{Hash, Snap, SourceNum},
    snapshot::{Counts, Snapshot, Tier},
    time::Instant,
};
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, time::Duration};

/// The longest question, in bytes.
pub(super) const ASK_MAX: usize = 64 << 10;
/// The longest line of an answer, in bytes.
pub(super) const ANSWER_MAX: u64 = 64 << 20;
/// How often who waits for something long is told that it goes on.
pub(super) const WORKING: Duration = Duration::from_secs(5);
/// How often it is looked whether what somebody waits for rests for others.
pub(super) const LOOK: Duration = Duration::from_secs(1);
/// How long silence is taken for an answer that will come.
pub(super) const SILENCE: Duration = Duration::from_secs(60);
/// So many paths of a kind are told of one snapshot.
const PATHS_MAX: usize = 1000;

/// What somebody asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ask {
    /// The settings' file that is meant; any service if none.
    pub settings: Option<PathBuf>,
    /// The repository that is meant, where it was named.
    pub repository: Option<String>,
    /// What is to be done.
    #[serde(flatten)]
    pub what: What,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum What {
    /// Tell how everything stands.
    Status,
    /// Tell how the service and its jobs stand.
    Jobs,
    /// Tell all that those who watch over it go by.
    Observe,
    /// Take a snapshot of these sources; of all if there are none.
    Snapshot {
        /// The sources.
        sources: Vec<PathBuf>,
        /// The number of the tier.
        tier: u8,
    },
    /// Hold still.
    Pause {
        /// For how long, in milliseconds; until somebody resumes if none.
        for_ms: Option<u64>,
    },
    /// Go on.
    Resume,
    /// End what runs under this name.
    Cancel {
        /// The name.
        name: String,
    },
    /// Take new settings.
    Reload,
}

impl What {
    /// The role that it needs.
    pub fn needs(&self) -> Role {
        match self {
            What::Status | What::Jobs | What::Observe => Role::View,
            What::Snapshot { .. } | What::Pause { .. } | What::Resume | What::Cancel { .. } => Role::Operate,
            What::Reload => Role::Administer,
        }
    }

    /// What it is called.
    pub fn word(&self) -> &'static str {
        match self {
            What::Status => "status",
            What::Jobs => "jobs",
            What::Observe => "health",
            What::Snapshot { .. } => "snapshot",
            What::Pause { .. } => "pause",
            What::Resume => "resume",
            What::Cancel { .. } => "job cancel",
            What::Reload => "reload",
        }
    }
}

/// A line of an answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// How things stand.
    Standing {
        /// The service.
        service: Box<Standing>,
        /// Repository and sources, where they were asked for and could be looked at.
        standing: Option<serde_json::Value>,
        /// Why they could not.
        trouble: Option<String>,
    },
    /// How everything stands, for those who watch.
    Facts {
        /// The facts.
        facts: Box<Facts>,
    },
    /// A snapshot was taken.
    Taken(Taken),
    /// It goes on.
    Working,
    /// It goes on, and rests for others.
    Held(HeldBack),
    /// The audit trail names a snapshot that the repository does not have.
    Missing {
        /// Which, and what to do.
        why: String,
    },
    /// It is done; the last line.
    Done {
        /// What was done.
        what: String,
        /// Whether all of it was.
        whole: bool,
    },
    /// Whoever asked may not do this; the last line.
    Refused {
        /// Why, with the role that it needs and the one there is.
        why: String,
        /// The role that it needs.
        needs: Role,
        /// The role of whoever asked.
        has: Option<Role>,
    },
    /// The service has other settings or another repository than those that are meant; the last line.
    Other {
        /// Its settings.
        settings: PathBuf,
    },
    /// It failed, or was not understood; the last line.
    Failed {
        /// Why.
        why: String,
    },
}

/// A snapshot that was taken.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Taken {
    /// The source.
    pub source: PathBuf,
    snapshot: Option<TakenSnapshot>,
    problems: Vec<(Vec<u8>, String)>,
    /// What could not be produced, and hooks that failed.
    #[serde(default)]
    pub failures: Vec<Failure>,
    fuzzy: Vec<Vec<u8>>,
    #[serde(default)]
    no_image: Vec<(Vec<u8>, String)>,
    altered: Vec<Vec<u8>>,
    #[serde(default)]
    forked: bool,
    sockets: u64,
    seen: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct TakenSnapshot {
    number: u64,
    time_ns: i64,
    tier: u8,
    new: u64,
    changed: u64,
    removed: u64,
    read_bytes: u64,
    stored_bytes: u64,
    unreadable: u64,
    fuzzy: u64,
}

impl Taken {
    /// What a capture of `source` reported; of very many paths, the first.
    pub(super) fn new(source: PathBuf, taken: &take::Taken) -> Taken {
        let report = &taken.report;
        let snapshot = report.snapshot.as_ref().map(|s| TakenSnapshot {
            number: s.number.0,
            time_ns: s.time.0,
            tier: s.tier as u8,
            new: s.counts.new,
            changed: s.counts.changed,
            removed: s.counts.removed,
            read_bytes: s.counts.read_bytes,
            stored_bytes: s.counts.stored_bytes,
            unreadable: s.counts.unreadable,
            fuzzy: s.counts.fuzzy,
        });
        let some = |paths: &[Vec<u8>]| paths.iter().take(PATHS_MAX).cloned().collect();
        let told = |all: &[Problem]| all.iter().take(PATHS_MAX).map(|p| (p.path.clone(), p.why.clone())).collect();
        Taken {
            source,
            snapshot,
            problems: told(&report.problems),
            failures: taken.failures().take(PATHS_MAX).cloned().collect(),
            fuzzy: some(&report.fuzzy),
            no_image: told(&report.no_image),
            altered: some(&report.altered),
            forked: report.forked,
            sockets: report.sockets,
            seen: report.seen,
        }
    }

    /// The report, as far as it was told.
    pub fn report(self) -> Report {
        let snapshot = self.snapshot.map(|s| Snapshot {
            source: SourceNum(0),
            number: Snap(s.number),
            time: Instant(s.time_ns),
            tier: Tier::from_u8(s.tier).unwrap_or(Tier::Incremental),
            hash: Hash::ZERO,
            counts: Counts {
                new: s.new,
                changed: s.changed,
                removed: s.removed,
                read_bytes: s.read_bytes,
                stored_bytes: s.stored_bytes,
                unreadable: s.unreadable,
                fuzzy: s.fuzzy,
            },
        });
        let problems = |all: Vec<(Vec<u8>, String)>| all.into_iter().map(|(path, why)| Problem { path, why }).collect();
        Report {
            snapshot,
            problems: problems(self.problems),
            fuzzy: self.fuzzy,
            no_image: problems(self.no_image),
            altered: self.altered,
            forked: self.forked,
            sockets: self.sockets,
            seen: self.seen,
            large: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_read_as_they_were_written() {
        let line = r#"{"settings":null,"repository":null,"do":"pause","for_ms":1000}"#;
        let ask: Ask = serde_json::from_str(line).unwrap();
        assert_eq!(ask.what, What::Pause { for_ms: Some(1000) });
        assert_eq!(serde_json::to_string(&ask).unwrap(), line);
        for wrong in ["", "{}", "[]", r#"{"do":"launch"}"#, r#"{"do":"cancel"}"#, r#"{"do":"pause","for_ms":-1}"#] {
            assert!(serde_json::from_str::<Ask>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn each_command_needs_a_role() {
        let table = [
            (What::Status, Role::View),
            (What::Jobs, Role::View),
            (What::Observe, Role::View),
            (What::Snapshot { sources: Vec::new(), tier: 0 }, Role::Operate),
            (What::Pause { for_ms: None }, Role::Operate),
            (What::Resume, Role::Operate),
            (What::Cancel { name: String::new() }, Role::Operate),
            (What::Reload, Role::Administer),
        ];
        for (what, role) in table {
            assert_eq!(what.needs(), role, "{}", what.word());
        }
    }
}
