//! What is recorded.

use crate::types::snapshot::{Snapshot, Source};
use serde_json::{Map, Value, json};

/// What was done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// A snapshot that somebody asked for.
    Snapshot,
    /// The snapshots of a process that watches, since its last such entry.
    Captures,
    /// Files were brought back.
    Restore,
    /// History was mounted.
    Mount,
    /// A mount ended.
    Unmount,
    /// The repository was checked.
    Verify,
    /// A legal hold was placed.
    HoldPlace,
    /// A legal hold was lengthened.
    HoldLengthen,
    /// A legal hold was released.
    HoldRelease,
    /// What a legal hold touches was handed over.
    HoldExport,
    /// A lock was set on the history of a source.
    Lock,
    /// Snapshots were removed.
    Delete,
    /// A key was added.
    KeyAdd,
    /// A key was removed.
    KeyRemove,
    /// The keys were rotated: a new generation of them is in force.
    KeyRotate,
    /// The rules of retention are others than were recorded last.
    Policy,
    /// Something failed that was not asked for by a command.
    Failure,
    /// The repository was maintained.
    Maintain,
    /// A copy of the repository was brought up to date.
    Replicate,
    /// Damaged or missing objects were put back, or it was recorded that what they held is lost.
    Repair,
    /// The trail itself was handed over.
    AuditExport,
    /// Somebody has accepted that entries of the trail are missing or altered.
    AuditAccept,
    /// A report was made.
    Report,
    /// The service was told to pause, to go on, to end a job, or to take other settings.
    Control,
    /// A recovery plan was run.
    PlanRun,
    /// A directory was compared with an instant.
    VerifyTree,
    /// A directory was given back at once, as it was.
    Recover,
    /// What was given back at once became a plain directory.
    RecoverSwap,
    /// What was given back at once was given up before it became a plain directory.
    RecoverAbandon,
    /// A recovery plan was rehearsed.
    Drill,
    /// A copy at a site took the place of the repository.
    Failover,
    /// The repository was handed over to a site.
    Failback,
    /// What another place had captured was joined.
    Rejoin,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 33] = [
        Kind::Snapshot,
        Kind::Captures,
        Kind::Restore,
        Kind::Mount,
        Kind::Unmount,
        Kind::Verify,
        Kind::HoldPlace,
        Kind::HoldLengthen,
        Kind::HoldRelease,
        Kind::HoldExport,
        Kind::Lock,
        Kind::Delete,
        Kind::KeyAdd,
        Kind::KeyRemove,
        Kind::KeyRotate,
        Kind::Policy,
        Kind::Failure,
        Kind::Maintain,
        Kind::Replicate,
        Kind::Repair,
        Kind::AuditExport,
        Kind::AuditAccept,
        Kind::Report,
        Kind::Control,
        Kind::PlanRun,
        Kind::VerifyTree,
        Kind::Recover,
        Kind::RecoverSwap,
        Kind::RecoverAbandon,
        Kind::Drill,
        Kind::Failover,
        Kind::Failback,
        Kind::Rejoin,
    ];

    /// Its word in entries.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Snapshot => "snapshot",
            Kind::Captures => "captures",
            Kind::Restore => "restore",
            Kind::Mount => "mount",
            Kind::Unmount => "unmount",
            Kind::Verify => "verify",
            Kind::HoldPlace => "hold-place",
            Kind::HoldLengthen => "hold-lengthen",
            Kind::HoldRelease => "hold-release",
            Kind::HoldExport => "hold-export",
            Kind::Lock => "lock",
            Kind::Delete => "delete",
            Kind::KeyAdd => "key-add",
            Kind::KeyRemove => "key-remove",
            Kind::KeyRotate => "key-rotate",
            Kind::Policy => "policy",
            Kind::Failure => "failure",
            Kind::Maintain => "maintain",
            Kind::Replicate => "replicate",
            Kind::Repair => "repair",
            Kind::AuditExport => "audit-export",
            Kind::AuditAccept => "audit-accept",
            Kind::Report => "report",
            Kind::Control => "control",
            Kind::PlanRun => "plan-run",
            Kind::VerifyTree => "verify-tree",
            Kind::Recover => "recover",
            Kind::RecoverSwap => "recover-swap",
            Kind::RecoverAbandon => "recover-abandon",
            Kind::Drill => "drill",
            Kind::Failover => "failover",
            Kind::Failback => "failback",
            Kind::Rejoin => "rejoin",
        }
    }

    /// The kind with this word.
    pub fn parse(word: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It has begun; another entry may tell its end.
    Begun,
    /// All of it was done.
    Done,
    /// Some of it was not done.
    Partial,
    /// It was not done.
    Failed,
}

impl Outcome {
    /// Its word in entries.
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Begun => "begun",
            Outcome::Done => "done",
            Outcome::Partial => "partial",
            Outcome::Failed => "failed",
        }
    }
}

/// Something that is to be recorded.
#[derive(Clone, PartialEq, Debug)]
pub struct Event {
    pub(super) kind: Kind,
    pub(super) outcome: Outcome,
    pub(super) subject: Map<String, Value>,
    pub(super) details: Map<String, Value>,
}

impl Event {
    /// An event about nothing yet.
    pub fn new(kind: Kind, outcome: Outcome) -> Event {
        Event { kind, outcome, subject: Map::new(), details: Map::new() }
    }

    /// It is about a source.
    #[must_use]
    pub fn source(mut self, source: &Source) -> Event {
        self.subject.insert("host".into(), json!(source.host));
        self.subject.insert("source".into(), bytes_value(&source.root));
        self
    }

    /// It is about a snapshot of that source.
    #[must_use]
    pub fn snapshot(mut self, snapshot: &Snapshot) -> Event {
        self.subject.insert("snapshot".into(), snapshot_value(snapshot));
        self
    }

    /// It is about paths.
    #[must_use]
    pub fn paths<'a>(mut self, paths: impl IntoIterator<Item = &'a [u8]>) -> Event {
        self.subject.insert("paths".into(), paths.into_iter().map(bytes_value).collect());
        self
    }

    /// It is about a legal hold.
    #[must_use]
    pub fn case(mut self, case: &str) -> Event {
        self.subject.insert("case".into(), json!(case));
        self
    }

    /// It is about something else, under a name of its own.
    #[must_use]
    pub fn about(mut self, name: &str, value: impl Into<Value>) -> Event {
        self.subject.insert(name.into(), value.into());
        self
    }

    /// More about it.
    #[must_use]
    pub fn detail(mut self, name: &str, value: impl Into<Value>) -> Event {
        self.details.insert(name.into(), value.into());
        self
    }
}

/// Bytes in JSON, exactly: a string if they are UTF-8, else an object with their base64.
pub fn bytes_value(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({ "bytes_base64": data_encoding::BASE64.encode(bytes) }),
    }
}

/// The bytes that [`bytes_value`] made this value of.
pub fn value_bytes(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.clone().into_bytes()),
        other => data_encoding::BASE64.decode(other.get("bytes_base64")?.as_str()?.as_bytes()).ok(),
    }
}

/// A snapshot in JSON.
pub fn snapshot_value(snapshot: &Snapshot) -> Value {
    json!({ "number": snapshot.number.0, "time_ns": snapshot.time.0, "hash": snapshot.hash.to_string() })
}
