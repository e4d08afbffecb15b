//! The settings and their defaults.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::drill::DrillSettings;
use super::error::Place;
use super::invariant::Invariant;
use super::kinds::{Atomic, Hooks, Kind, Produce, Sqlite};
use super::limits::Limits;
use super::retention::Retention;
use super::roles::Roles;
use super::site::Site;
use super::values;
use super::watched::{Channel, Health, Metrics};
use crate::schedule::{blackout::Blackout, model::Schedule};
use crate::types::{
    location::Location,
    when::zone::{Zone, ZoneError},
};

/// All settings, with nothing left open.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file they come from, whether it is there or not.
    pub path: PathBuf,
    /// Where the repository is.
    pub repository: Location,
    /// What the place of the repository is called among the sites.
    pub site_name: String,
    /// What this host is called in the repository.
    pub host: String,
    /// The directory for the index and everything else that can be rebuilt.
    pub state: PathBuf,
    /// Where the secret that opens the repository comes from.
    pub key: KeyFrom,
    /// How changes are captured.
    pub capture: Capture,
    /// How a repository in an object store is spoken to.
    pub remote: Remote,
    /// What may be taken from the machine and the network.
    pub limits: Limits,
    /// How history is mounted.
    pub mount: Mount,
    /// Where the file names the zone of the mount.
    pub mount_zone_at: Place,
    /// Where the file names the directory of the mount.
    pub mount_dir_at: Place,
    /// How long what is kept, of the sources that do not say so themselves.
    pub retention: Retention,
    /// What is promised to those who ask.
    pub compliance: Compliance,
    /// What holds for all schedules.
    pub schedule: Scheduling,
    /// The socket at which the service is spoken to.
    pub socket: PathBuf,
    /// Where the file names it.
    pub socket_at: Place,
    /// Who may do what by it.
    pub roles: Roles,
    /// What is protected.
    pub sources: Vec<Source>,
    /// Where copies of the repository are.
    pub sites: Vec<Site>,
    /// The plans that are rehearsed by schedule.
    pub drills: Vec<DrillSettings>,
    /// What else is run by a schedule.
    pub jobs: Vec<JobSettings>,
    /// How metrics are served.
    pub metrics: Metrics,
    /// What health asks for.
    pub health: Health,
    /// Where notifications go.
    pub channels: Vec<Channel>,
}

impl Config {
    /// The zone in which times are read and shown, to people and by the mount: that of the settings, or the system's.
    pub fn zone(&self) -> Result<Zone, ZoneError> {
        self.mount.zone.as_deref().map_or_else(|| Ok(Zone::system()), Zone::named)
    }

    /// The directories that are bygone's own, with what they are: the state, and a repository or a copy of it that is a directory.
    /// Nothing in them is ever captured.
    pub fn own_dirs(&self) -> Vec<(&'static str, &Path)> {
        let repository = self.repository.dir().map(|dir| ("repository", dir));
        let sites = self.sites.iter().filter_map(|site| Some(("copy", site.repository.dir()?)));
        repository.into_iter().chain(sites).chain([("state directory", self.state.as_path())]).collect()
    }
}

/// Where the secret that opens the repository comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyFrom {
    /// A key file.
    File(PathBuf),
    /// A file whose first line is the passphrase.
    PassphraseFile(PathBuf),
    /// An environment variable of this name.
    PassphraseEnv(String),
    /// The first line that a command prints; `sh -c` runs it.
    PassphraseCommand(String),
    /// A credential of this name that systemd hands over.
    PassphraseCredential(String),
    /// Somebody at the terminal.
    Prompt,
}

/// How changes are captured.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Capture {
    /// A snapshot is cut when nothing has changed for this long,
    #[serde(deserialize_with = "values::duration")]
    pub quiet: Duration,
    /// and never later than this after the first change.
    #[serde(deserialize_with = "values::duration")]
    pub bound: Duration,
    /// Workers that read, cut, compress and encrypt. More than there are processors, since they wait for the disk in turn.
    #[serde(deserialize_with = "values::threads")]
    pub threads: usize,
    /// The zstd level.
    #[serde(deserialize_with = "values::level")]
    pub level: i32,
    /// What tells of changes.
    pub watcher: Watcher,
    /// How often everything is compared by `stat`, for the changes that no watcher reports.
    #[serde(deserialize_with = "values::duration")]
    pub scan_interval: Duration,
    /// The share of reading, in percent, that large files which change all the time may take.
    #[serde(deserialize_with = "values::percent")]
    pub large_file_share: u8,
    /// The I/O priority.
    pub io_class: IoClass,
}

impl Default for Capture {
    fn default() -> Capture {
        Capture {
            quiet: Duration::from_millis(500),
            bound: Duration::from_secs(5),
            threads: 4,
            level: 3,
            watcher: Watcher::Auto,
            scan_interval: Duration::from_secs(3600),
            large_file_share: 10,
            io_class: IoClass::Idle,
        }
    }
}

/// What tells of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Watcher {
    /// fanotify where the process may, inotify elsewhere.
    Auto,
    /// fanotify, or an error.
    Fanotify,
    /// inotify.
    Inotify,
}

/// The I/O priority of capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IoClass {
    /// Only when nothing else wants the disk.
    Idle,
    /// As any other process.
    None,
}

/// How a repository in an object store is spoken to. Keys come from the environment, from the files of profiles, or from the
/// machine's own identity, as other programs take them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Remote {
    /// The URL of the service; that of the cloud that made the protocol if none.
    pub endpoint: Option<String>,
    /// The region of the bucket.
    pub region: Option<String>,
    /// How many bytes may wait on this host until they are stored.
    #[serde(deserialize_with = "values::bytes")]
    pub spool: u64,
    /// How many bytes that were read are kept on this host.
    #[serde(deserialize_with = "values::bytes")]
    pub cache: u64,
    /// How long the store is to refuse to delete what is put, in a bucket with object lock.
    #[serde(deserialize_with = "values::duration_if_any")]
    pub object_lock: Option<Duration>,
    /// Who may lift that.
    pub object_lock_mode: LockMode,
}

impl Default for Remote {
    fn default() -> Remote {
        let (spool, cache) = (10 << 30, 2 << 30);
        Remote { endpoint: None, region: None, spool, cache, object_lock: None, object_lock_mode: LockMode::default() }
    }
}

/// Who may lift the lock of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LockMode {
    /// Whoever has the right to.
    #[default]
    Governance,
    /// Nobody.
    Compliance,
}

/// How history is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Mount {
    /// The IANA name of the time zone of the names of time; the system's if none.
    pub zone: Option<String>,
    /// Whether other users may see the mount.
    pub allow_other: bool,
    /// Whether views share inode numbers.
    pub inodes: Inodes,
    /// Where the service mounts it; nowhere if none.
    #[serde(deserialize_with = "values::absolute_if_any")]
    pub at: Option<PathBuf>,
}

/// Whether views share the inode numbers of unchanged files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Inodes {
    /// An unchanged file is the same file in every view: cached once, compared at once.
    #[default]
    Shared,
    /// Every view has its own, for tools that are given several views and must see several files.
    PerView,
}

/// What is promised to those who ask.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Compliance {
    /// How old the newest recovery point may be at any time, of the sources that do not say so themselves.
    #[serde(deserialize_with = "values::duration_if_any")]
    pub objective: Option<Duration>,
}

/// What holds for all schedules that do not say otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Scheduling {
    /// The zone; the system's if none.
    #[serde(deserialize_with = "values::zone")]
    pub zone: Option<Zone>,
    /// How often what failed is tried again.
    #[serde(deserialize_with = "values::retries")]
    pub retries: u32,
    /// How long after the first failure; twice as long after each further one.
    #[serde(deserialize_with = "values::duration")]
    pub retry_after: Duration,
}

impl Default for Scheduling {
    fn default() -> Scheduling {
        Scheduling { zone: None, retries: 3, retry_after: Duration::from_secs(300) }
    }
}

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// It checks the repository.
    Verify,
    /// It compacts and collects.
    Maintain,
    /// It captures everything that has changed.
    Snapshot,
    /// It captures all that differs from the last full snapshot; only by the setting of a source.
    #[serde(skip_deserializing)]
    Differential,
    /// It captures everything and reads every byte; only by the setting of a source.
    #[serde(skip_deserializing)]
    Full,
    /// It produces the data of a source; only by the setting of one.
    #[serde(skip_deserializing)]
    Produce,
    /// It brings a copy of the repository up to date; only by the setting of a site.
    #[serde(skip_deserializing)]
    Replicate,
    /// It rehearses a recovery plan; only by the setting of a drill.
    #[serde(skip_deserializing)]
    Drill,
}

impl Task {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Task::Verify => "verify",
            Task::Maintain => "maintain",
            Task::Snapshot => "snapshot",
            Task::Differential => "differential",
            Task::Full => "full",
            Task::Produce => "produce",
            Task::Replicate => "replicate",
            Task::Drill => "drill",
        }
    }
}

/// A job of the settings.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct JobSettings {
    /// Its name, which no other has.
    #[serde(deserialize_with = "values::job_name")]
    pub name: String,
    /// What it does.
    pub run: Task,
    /// When.
    #[serde(deserialize_with = "values::schedule")]
    pub schedule: Schedule,
    /// The zone; that of all schedules if none.
    #[serde(default, deserialize_with = "values::zone")]
    pub zone: Option<Zone>,
    /// When it does not begin.
    #[serde(default, deserialize_with = "values::blackout")]
    pub blackout: Blackout,
    /// How much later than its time it may begin.
    #[serde(default, deserialize_with = "values::duration")]
    pub jitter: Duration,
    /// How often it is tried again; as all schedules if none.
    #[serde(default, deserialize_with = "values::retries_if_any")]
    pub retries: Option<u32>,
    /// How long after the first failure; as all schedules if none.
    #[serde(default, deserialize_with = "values::duration_if_any")]
    pub retry_after: Option<Duration>,
    /// Where it verifies: so many percent of the stored data are read, a random part each time.
    #[serde(default = "default_read_data", deserialize_with = "values::part")]
    pub read_data: u8,
}

/// What a job that verifies reads where nothing is said, in percent: run each week, two thirds of the data are read within five months.
fn default_read_data() -> u8 {
    5
}

/// The service.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Daemon {
    /// The socket at which it is spoken to.
    #[serde(deserialize_with = "values::absolute_if_any")]
    pub(super) socket: Option<PathBuf>,
}

/// One protected directory and its policy.
#[derive(Debug, Clone)]
pub struct Source {
    /// What it is called, besides its path.
    pub name: Option<String>,
    /// Where its data comes from.
    pub kind: Kind,
    /// Whether it lies in the state directory, because it is produced there: the one thing in it that is captured.
    pub in_state: bool,
    /// When it is produced by itself, where its data must be.
    pub produce: Option<Produce>,
    /// What runs before and after a snapshot.
    pub hooks: Hooks,
    /// What is measured with a snapshot, and again of what came back.
    pub invariants: Vec<Invariant>,
    /// Which of its files are databases.
    pub sqlite: Sqlite,
    /// How it is held still while it is captured.
    pub atomic: Option<Atomic>,
    /// The directory; absolute, without `..`.
    pub path: PathBuf,
    /// What is left out, in gitignore syntax relative to `path`.
    pub exclude: Vec<String>,
    /// Exceptions from `exclude`, in the same syntax.
    pub include: Vec<String>,
    /// Whether other file systems mounted below are left out.
    pub one_file_system: bool,
    /// Whether directories with a valid `CACHEDIR.TAG` are left out, except for the tag.
    pub cachedir_tag: bool,
    /// How long what of it is kept, where it says so itself.
    pub retention: Option<Retention>,
    /// How old the newest recovery point may be at any time, where it says so itself.
    pub objective: Option<Duration>,
    /// When a full snapshot is taken, if it is by schedule.
    pub full: Option<Schedule>,
    /// When a differential snapshot is taken, if it is by schedule.
    pub differential: Option<Schedule>,
    /// When neither begins.
    pub blackout: Blackout,
    /// How much later than its time either may begin.
    pub jitter: Duration,
    /// Where the file says so.
    pub at: Place,
}

impl Source {
    /// A source with the default policy that stands in no file.
    pub fn new(path: PathBuf) -> Source {
        let at = Place::whole(&path);
        Source {
            name: None,
            kind: Kind::Directory,
            in_state: false,
            produce: None,
            hooks: Hooks::default(),
            invariants: Vec::new(),
            sqlite: Sqlite::default(),
            atomic: None,
            path,
            exclude: Vec::new(),
            include: Vec::new(),
            one_file_system: false,
            cachedir_tag: true,
            retention: None,
            objective: None,
            full: None,
            differential: None,
            blackout: Blackout::default(),
            jitter: Duration::ZERO,
            at,
        }
    }
}
