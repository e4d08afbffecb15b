//! What kind a source is, and how its data comes about.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

use super::values;
use crate::schedule::model::Schedule;
use crate::sys::make;
use crate::types::path;

/// The directory of a base backup that is being made, in the directory of its source.
pub const NEW_BASE: &str = "base.new";

/// Where the data of a source comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Kind {
    /// It is there: a directory.
    #[default]
    Directory,
    /// It is what commands print, a file each.
    Command(Vec<CommandOutput>),
    /// It is what the system says of itself.
    System,
    /// It is a PostgreSQL server.
    Postgres(Box<Postgres>),
}

impl Kind {
    /// Its word in the settings.
    pub fn word(&self) -> &'static str {
        match self {
            Kind::Directory => "directory",
            Kind::Command(_) => "command",
            Kind::System => "system",
            Kind::Postgres(_) => "postgres",
        }
    }

    /// Whether its data must be produced before it can be captured.
    pub fn is_produced(&self) -> bool {
        *self != Kind::Directory
    }

    /// Whether `rel`, a path relative to the source, is what its producer writes until it is whole: never captured.
    pub fn is_unfinished(&self, rel: &[u8]) -> bool {
        let has_base = matches!(self, Kind::Postgres(server) if server.mode == PostgresMode::Physical);
        (has_base && rel == NEW_BASE.as_bytes())
            || (self.is_produced() && path::components(rel).last().is_some_and(make::is_temp_name))
    }
}

/// The word of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum KindWord {
    #[default]
    Directory,
    Command,
    System,
    Postgres,
}

/// A command whose output is a file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CommandOutput {
    /// The name of the file.
    #[serde(deserialize_with = "file_name")]
    pub name: String,
    /// The command; `sh -c` runs it.
    pub run: String,
    /// After this time it is ended, and has failed.
    #[serde(default = "an_hour", deserialize_with = "values::duration")]
    pub timeout: Duration,
    /// Whether printing nothing is a result.
    #[serde(default)]
    pub allow_empty: bool,
}

/// Commands that run before and after a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Hooks {
    /// The one before; `sh -c` runs it.
    pub before: Option<String>,
    /// The one after, which runs also where the snapshot failed.
    pub after: Option<String>,
    /// After this time either is ended, and has failed.
    #[serde(deserialize_with = "values::duration")]
    pub timeout: Duration,
    /// What the failure of the one before means.
    pub on_failure: OnFailure,
}

impl Default for Hooks {
    fn default() -> Hooks {
        Hooks { before: None, after: None, timeout: Duration::from_secs(300), on_failure: OnFailure::Abort }
    }
}

/// What the failure of a hook means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// No snapshot is taken.
    Abort,
    /// The snapshot is taken all the same, and the failure told.
    Continue,
}

/// Which files of a source are captured as SQLite databases.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Sqlite {
    /// Those whose first bytes say so.
    pub find: bool,
    /// And those that match a pattern, in gitignore syntax relative to the source.
    pub paths: Vec<String>,
}

impl Default for Sqlite {
    fn default() -> Sqlite {
        Sqlite { find: true, paths: Vec::new() }
    }
}

/// How a source is held still while it is captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Atomic {
    /// By a snapshot of btrfs.
    Btrfs,
}

/// A PostgreSQL server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postgres {
    /// How it is reached, as libpq has it: `host=/run/postgresql port=5432 user=postgres`.
    pub connection: String,
    /// The user that its tools run as; the one that bygone runs as if none.
    pub user: Option<String>,
    /// The directory with its tools; those that are found by PATH, or of the newest version of Debian's, if none.
    pub bin: Option<std::path::PathBuf>,
    /// What is captured of it.
    pub mode: PostgresMode,
    /// How WAL comes here.
    pub wal: WalFrom,
    /// The replication slot that keeps WAL on the server until it is here.
    pub slot: String,
    /// After this time a base backup or a dump is ended, and has failed.
    pub timeout: Duration,
}

impl Postgres {
    /// Whether a connection is written as a URL.
    pub fn is_url(connection: &str) -> bool {
        connection.contains("://")
    }
}

/// What of a PostgreSQL server is captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PostgresMode {
    /// Its files and its WAL: it can be recovered to any time.
    #[default]
    Physical,
    /// A dump of each database.
    Logical,
}

/// How WAL comes from a PostgreSQL server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WalFrom {
    /// By `pg_receivewal`.
    #[default]
    Receive,
    /// By `archive_command = 'bygone wal push %p %f'`.
    Archive,
}

/// When a source is produced by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Produce {
    /// Again after so long.
    Every(Duration),
    /// By a schedule.
    At(Box<Schedule>),
}

impl Produce {
    /// The schedule of it. A service that produces every so often does it at the multiples of that time.
    pub fn schedule(&self) -> Schedule {
        match self {
            Produce::Every(every) => Schedule::every(*every),
            Produce::At(schedule) => (**schedule).clone(),
        }
    }
}

/// Where a produced source lies unless it has a path: in the state directory.
pub fn produced_dir(state: &Path, name: &str) -> std::path::PathBuf {
    state.join("produced").join(name)
}

fn an_hour() -> Duration {
    Duration::from_secs(3600)
}

fn is_file_name(text: &str) -> bool {
    let good = crate::types::path::is_name(text.as_bytes()) && !text.chars().any(char::is_control);
    good && !text.starts_with('.')
}

/// The name of a file that is produced, or of a source.
fn file_name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    let rule = "it has to be a file name, without a / and not beginning with a dot";
    match is_file_name(&text) {
        true => Ok(text),
        false => Err(D::Error::custom(format!("{text:?} can't be the name: {rule}"))),
    }
}

/// The same, where it may be absent.
pub(super) fn file_name_if_any<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    file_name(from).map(Some)
}
