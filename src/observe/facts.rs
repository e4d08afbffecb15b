//! How everything stands, as plain values: gathered once, told as metrics and judged by health. Times are nanoseconds of the epoch.

use crate::repo::{audit::found::Found, verified::Verification};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// How everything stands at a time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Facts {
    /// When this was told.
    pub at_ns: i64,
    /// The host, by its settings.
    pub host: String,
    /// Where the repository is.
    pub repository: String,
    /// What the repository has in store; none where that could not be told yet.
    pub stored: Option<Stored>,
    /// Why the store or the index could not be looked at, if it could not.
    pub trouble: Option<String>,
    /// What to do about that, where more is known than that it could not be looked at.
    #[serde(default)]
    pub trouble_to_do: Option<String>,
    /// What waits on this host; none for a store that queues nothing.
    pub spool: Option<Spool>,
    /// What the index measures on disk, in bytes.
    pub index_bytes: Option<u64>,
    /// The sources of the settings in their order, then the others of the repository.
    pub sources: Vec<SourceFacts>,
    /// The verifications that this host made, oldest first.
    pub verified: Vec<Verification>,
    /// What the last check of the audit trail on this host found wrong.
    #[serde(default)]
    pub trail_found: Option<Found>,
    /// What file systems have room for.
    pub space: Vec<Room>,
    /// How the copies at other sites stand.
    #[serde(default)]
    pub sites: Vec<SiteFacts>,
    /// How the plans stand that were rehearsed.
    #[serde(default)]
    pub drills: Vec<DrillFacts>,
    /// How the directories stand that are being given back at once.
    #[serde(default)]
    pub recoveries: Vec<RecoveryFacts>,
    /// How the jobs of the settings stand.
    pub jobs: Vec<JobFacts>,
    /// Of a service that runs.
    pub service: Option<ServiceFacts>,
}

/// How a plan stands that was rehearsed, or is to be by the settings.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct DrillFacts {
    /// The plan.
    pub plan: String,
    /// When the first drill began; for one that never ran, when the settings were written that name it.
    pub first_ns: i64,
    /// When the last one ended that passed.
    pub passed_ns: Option<i64>,
    /// When the last one failed, and why, if none has passed since.
    pub failed: Option<(i64, String)>,
    /// How long recovery took in the last one that passed, in milliseconds.
    pub recovery_ms: Option<u64>,
    /// Within this time one has to pass again, in seconds.
    #[serde(default)]
    pub within_s: Option<u64>,
    /// When that time is over.
    #[serde(default)]
    pub due_ns: Option<i64>,
}

/// How a directory stands that is being given back at once.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RecoveryFacts {
    /// The directory, shown.
    pub path: String,
    /// The instant as it was asked for.
    pub as_of: String,
    /// When it was begun.
    pub begun_ns: i64,
    /// Whether a process works on it.
    pub working: bool,
    /// What could not be brought back, or stands in the way.
    pub problems: Vec<String>,
    /// Until when retention keeps what it reads; none where nothing but the rules do.
    pub held_until_ns: Option<i64>,
}

/// What the repository has in store.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Stored {
    /// When this was looked at.
    pub at_ns: i64,
    /// Packs, and their bytes.
    pub packs: u64,
    /// Bytes of packs.
    pub pack_bytes: u64,
    /// Segments of journals.
    pub segments: u64,
    /// Their bytes.
    pub segment_bytes: u64,
    /// Segments that the index has not taken in.
    pub unseen_segments: u64,
    /// Packs that the index knows and the store has not.
    pub lost_packs: Vec<String>,
    /// Chunks.
    pub chunks: u64,
    /// Each chunk once, in bytes.
    pub chunk_bytes: u64,
    /// The same, compressed and sealed.
    pub sealed_bytes: u64,
    /// Every version as a plain copy, in bytes.
    pub version_bytes: u64,
    /// Key slots that can be read.
    pub keys: u64,
    /// Key slots that can't, each with why.
    pub damaged_keys: Vec<String>,
    /// Legal holds that are in force.
    pub holds: u64,
    /// Why the legal holds can't be read, if they can't.
    pub holds_trouble: Option<String>,
    /// The hosts that a collection waits for.
    pub awaited_hosts: Vec<String>,
    /// Since when.
    pub awaited_since_ns: Option<i64>,
}

/// What waits on this host until it is stored.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Spool {
    /// Objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many bytes may wait.
    pub limit_bytes: u64,
    /// Since when the oldest waits.
    pub since_ns: Option<i64>,
    /// Why the last that was brought on could not be, and when.
    #[serde(default)]
    pub error: Option<(i64, String)>,
    /// Since when the store has not answered, and what was wrong; none while it does.
    #[serde(default)]
    pub away: Option<(i64, String)>,
}

/// Who watches a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Watched {
    /// A process does.
    Watched,
    /// A process captures it, and does not watch, or not yet.
    Capturing,
    /// Nobody on this host.
    #[default]
    Nobody,
    /// It is on another host.
    Elsewhere,
}

/// How a source stands.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SourceFacts {
    /// Its host.
    pub host: String,
    /// Its path, shown.
    pub path: String,
    /// Its path; known only where it was gathered.
    #[serde(skip)]
    pub root: Vec<u8>,
    /// Whether it is of the settings.
    pub configured: bool,
    /// How old its newest recovery point may be.
    pub objective_s: Option<u64>,
    /// Snapshots that are kept.
    pub snapshots: u64,
    /// The time of the newest.
    pub last_snapshot_ns: Option<i64>,
    /// All that happened until then was seen and captured, or is known to have been nothing.
    pub seen_ns: Option<i64>,
    /// Bytes read for the snapshots that are kept.
    pub read_bytes: u64,
    /// Bytes stored for them.
    pub stored_bytes: u64,
    /// Files of the newest.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What the newest could not read.
    pub unreadable: u64,
    /// What the newest had to read while it changed.
    pub fuzzy: u64,
    /// Gaps.
    pub gaps: u64,
    /// The time in which some of it was not seen, each moment once.
    pub gap_ns: i64,
    /// The end of the newest gap, and why it was.
    pub last_gap: Option<(i64, String)>,
    /// Snapshots that can't be shown.
    pub lost: u64,
    /// The newest is among them.
    #[serde(default)]
    pub lost_now: bool,
    /// What of it the repository has lost and the index still has, if anything.
    #[serde(default)]
    pub absent: Option<String>,
    /// Nothing that was captured later does without that.
    #[serde(default)]
    pub torn: bool,
    /// Who watches it.
    pub watched: Watched,
    /// Its directory is not there.
    pub root_gone: bool,
    /// Why its server can't archive its WAL, if it can't.
    #[serde(default)]
    pub not_archived: Option<String>,
    /// What of it could not be produced when that was tried last, if its data is produced and not all of it could be.
    #[serde(default)]
    pub not_produced: Option<NotProduced>,
    /// Which of its hooks failed when they ran last, if any did.
    #[serde(default)]
    pub failed_hooks: Option<NotProduced>,
    /// Which of its invariants could not be measured with its last snapshot, if any.
    #[serde(default)]
    pub unmeasured: Option<NotProduced>,
    /// Whether its data is produced, and how that ended last is in here.
    #[serde(default)]
    pub is_produced: bool,
    /// The name under which this host goes on with it, where another writer has its own.
    #[serde(default)]
    pub goes_on_as: Option<String>,
}

/// What of a source could not be produced, which of its hooks failed, or which of its invariants could not be measured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotProduced {
    /// When it was tried last.
    pub at_ns: i64,
    /// How many parts failed.
    pub parts: u64,
    /// The first of them, and why.
    pub first: String,
}

/// How a copy at another site stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteFacts {
    /// Its name.
    pub name: String,
    /// How far it may be behind.
    pub objective_s: Option<u64>,
    /// Of the source of which most would be lost with the repository now, how much: back from now, none where it has all.
    pub behind_ns: i64,
    /// When it was brought up to date last.
    pub succeeded_ns: Option<i64>,
    /// When the last run ended.
    pub ended_ns: Option<i64>,
    /// Why the last run did not do all, if it did not.
    pub error: Option<String>,
    /// How often runs have failed since the last that did.
    pub failures: u32,
    /// So many objects of histories it had, when they were compared last, that the repository lacks: both sides wrote.
    #[serde(default)]
    pub diverged: u64,
    /// That it was found to have gone back, in the last day.
    #[serde(default)]
    pub gone_back: Option<String>,
}

/// The room that something of bygone has.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Room {
    /// What it is: `state`, `repository`.
    pub what: String,
    /// Its directory.
    pub path: PathBuf,
    /// Bytes that may still be written.
    pub available_bytes: u64,
    /// Whether nothing can be written.
    pub read_only: bool,
}

/// How a job stands.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct JobFacts {
    /// Its name.
    pub name: String,
    /// What it does.
    pub run: String,
    /// Its source, if it is for one.
    pub source: Option<String>,
    /// Since when it runs, if it does.
    pub running_ns: Option<i64>,
    /// When it begins next.
    pub next_ns: Option<i64>,
    /// When it ended last.
    pub ended_ns: Option<i64>,
    /// When it succeeded last.
    pub succeeded_ns: Option<i64>,
    /// How often it has failed since.
    pub failures: u32,
    /// Why it failed last; none once it has succeeded again.
    pub last_error: Option<String>,
    /// When it should have succeeded again, after its last success: the second time of its schedule since then, and an hour.
    pub overdue_ns: Option<i64>,
}

/// A counter and what it counts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Count {
    /// What: the name of a job, a channel, a request.
    pub of: String,
    /// How it ended.
    pub result: String,
    /// How often.
    pub count: u64,
}

/// How a service stands that runs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ServiceFacts {
    /// Since when.
    pub since_ns: i64,
    /// Since when it holds still, if it does.
    pub paused_ns: Option<i64>,
    /// Until when, if that was said.
    pub paused_until_ns: Option<i64>,
    /// Why it refused new settings, if it did.
    pub refused: Option<String>,
    /// What keeps it from keeping its state.
    pub trouble: Option<String>,
    /// What it supervises.
    pub tasks: Vec<TaskFacts>,
    /// Runs of jobs since it began.
    pub runs: Vec<Count>,
    /// Requests to stores since it began.
    pub requests: Vec<Count>,
    /// Notifications since it began.
    pub notified: Vec<Count>,
    /// Where notifications wait, and why.
    pub undelivered: Vec<Undelivered>,
}

/// Notifications that wait.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Undelivered {
    /// The channel.
    pub channel: String,
    /// How many wait.
    pub waiting: u64,
    /// Why the last attempt failed.
    pub why: Option<String>,
}

/// How a task of a service stands.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct TaskFacts {
    /// What it is.
    pub name: String,
    /// Whether it runs now.
    pub running: bool,
    /// How often it was begun again.
    pub restarts: u64,
    /// Why it ended last.
    pub last_error: Option<String>,
}
