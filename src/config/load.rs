//! The file, read into settings.

use std::io;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::check::Problem;
use super::drill::{self, DrillSettings};
use super::error::{ConfigError, Place};
use super::lenient::{self, Lenient};
use super::limits::Limits;
use super::model::{Capture, Compliance, Config, Daemon, JobSettings, KeyFrom, Mount, Remote, Scheduling};
use super::places::{self, Places};
use super::ranges;
use super::retention::Retention;
use super::roles::Roles;
use super::site::{self, RawSite};
use super::source::{self, RawSource};
use super::values::{self, Absolute, RepositoryAt};
use super::watched::{Channel, Health, Metrics, RawNotify};
use crate::types::location::Location;

/// What to do about a value of which its error says what it can be.
pub(super) const SEE: &str = "correct it there; bygone.toml(5) explains every setting";

/// Reads `path`, or the default place. A file that is not there has no settings: the result is all defaults; whether that
/// will do for a path that somebody named is for the caller to say, by [`Config::exists`].
pub fn load(path: Option<&Path>, places: &Places) -> Result<Config, ConfigError> {
    refuse(load_with_problems(path, places)?)
}

/// Settings as far as a file says them, and what is wrong with it.
#[derive(Debug)]
pub struct Loaded {
    /// The settings; what can't be read has its default.
    pub config: Config,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// Whether all of the file could be read, so that what [`Loaded::config`] lacks is not there.
    pub whole: bool,
}

/// As [`load`], with all values that cannot be named beside the settings that have them, and no error.
pub fn load_with_problems(path: Option<&Path>, places: &Places) -> Result<Loaded, ConfigError> {
    let path = path.unwrap_or(&places.config);
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(read(&text, path, places)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(read("", path, places)),
        Err(source) => Err(ConfigError::Read { path: path.to_owned(), source }),
    }
}

/// Settings from `text`, the content of `path`. Values that cannot be are an error.
pub fn parse(text: &str, path: &Path, places: &Places) -> Result<Config, ConfigError> {
    refuse(read(text, path, places))
}

fn refuse(loaded: Loaded) -> Result<Config, ConfigError> {
    match loaded.problems.into_iter().next() {
        None => Ok(loaded.config),
        Some(Problem { place, what, cure }) => Err(ConfigError::Text { place, what: format!("{what}; {cure}") }),
    }
}

fn read(text: &str, path: &Path, places: &Places) -> Loaded {
    let at = |span| Place::of(path, text, span);
    let Lenient { raw, text, wrong } = lenient::read::<Raw>(text);
    let mut problems: Vec<Problem> =
        wrong.into_iter().map(|(span, what)| Problem { place: at(span), what, cure: SEE.into() }).collect();
    let whole = problems.is_empty();
    let capture = raw.capture.unwrap_or_default();
    let span = |table: &str, setting: &str| at(ranges::span(&text, table, setting));
    // What is missing because it could not be read is no problem of its own.
    let mut found = ranges::problems(&capture, |setting| span("capture", setting));
    found.extend(twice(&raw.job, &at));
    let state = raw.state.map_or_else(|| places.state.clone(), |s| s.0);
    let key = raw.key.map(|key| (at(Some(key.span())), key.into_inner().only()));
    let key = match key {
        Some((_, Ok(key))) => key,
        Some((place, Err(what))) => {
            found.push(Problem { place, what, cure: "name the one place from which the key comes".into() });
            KeyFrom::File(places.key.clone())
        }
        None => KeyFrom::File(places.key.clone()),
    };
    let channels = channels(raw.notify, &at, &mut found);
    let sources = source::sources(raw.source, &state, &at, &mut found);
    let repository = raw.repository.map_or_else(|| Location::Dir(places::default_repository(&state)), |r| r.0);
    let drills = drill::drills(raw.drill, &at, &mut found);
    let sites = site::sites(raw.site, (&repository, raw.site_name.as_deref()), &at, &mut found);
    problems.extend(found.into_iter().filter(|_| whole));
    let config = Config {
        path: path.to_owned(),
        repository,
        site_name: raw.site_name.unwrap_or_else(|| site::ORIGIN.to_owned()),
        host: raw.host.unwrap_or_else(|| places.host.clone()),
        socket: raw.daemon.socket.or_else(|| places.socket.clone()).unwrap_or_else(|| places::default_socket(&state)),
        socket_at: span("daemon", "socket"),
        roles: raw.roles,
        key,
        capture,
        remote: raw.remote,
        limits: raw.limits,
        mount: raw.mount,
        mount_zone_at: span("mount", "zone"),
        mount_dir_at: span("mount", "at"),
        retention: raw.retention,
        compliance: raw.compliance,
        schedule: raw.schedule,
        sources,
        sites,
        drills,
        jobs: raw.job.into_iter().map(Spanned::into_inner).collect(),
        metrics: raw.metrics,
        health: raw.health,
        channels,
        state,
    };
    Loaded { config, problems, whole }
}

/// The channels of notifications that can be; the others are problems.
fn channels(
    raw: Vec<Spanned<RawNotify>>,
    at: &impl Fn(Option<std::ops::Range<usize>>) -> Place,
    problems: &mut Vec<Problem>,
) -> Vec<Channel> {
    let mut all: Vec<Channel> = Vec::new();
    for (n, raw) in raw.into_iter().enumerate() {
        let place = at(Some(raw.span()));
        let channel = raw.into_inner().channel(n + 1);
        let channel = channel.and_then(|c| match all.iter().any(|other| other.name == c.name) {
            true => Err(format!("there are two [[notify]] of the name {:?}", c.name)),
            false => Ok(c),
        });
        match channel {
            Ok(channel) => all.push(channel),
            Err(what) => problems.push(Problem { place, what, cure: SEE.into() }),
        }
    }
    all
}

/// The jobs whose name an earlier one has.
fn twice(jobs: &[Spanned<JobSettings>], at: &impl Fn(Option<std::ops::Range<usize>>) -> Place) -> Vec<Problem> {
    let has_name = |n: usize| jobs[..n].iter().any(|job| job.get_ref().name == jobs[n].get_ref().name);
    let again = (0..jobs.len()).filter(|n| has_name(*n));
    let problem = |n: usize| Problem {
        place: at(Some(jobs[n].span())),
        what: format!("there are two jobs of the name {:?}", jobs[n].get_ref().name),
        cure: "give each job a name of its own".into(),
    };
    again.map(problem).collect()
}

impl Config {
    /// Whether the file is there.
    pub fn exists(&self) -> bool {
        self.path.exists()
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Raw {
    repository: Option<RepositoryAt>,
    #[serde(default, deserialize_with = "values::site_name")]
    site_name: Option<String>,
    #[serde(default, deserialize_with = "values::host")]
    host: Option<String>,
    state: Option<Absolute>,
    key: Option<Spanned<RawKey>>,
    capture: Option<Capture>,
    #[serde(default)]
    remote: Remote,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    mount: Mount,
    #[serde(default)]
    retention: Retention,
    #[serde(default)]
    compliance: Compliance,
    #[serde(default)]
    schedule: Scheduling,
    #[serde(default)]
    daemon: Daemon,
    #[serde(default)]
    roles: Roles,
    #[serde(default)]
    source: Vec<Spanned<RawSource>>,
    #[serde(default)]
    site: Vec<Spanned<RawSite>>,
    #[serde(default)]
    drill: Vec<Spanned<DrillSettings>>,
    #[serde(default)]
    job: Vec<Spanned<JobSettings>>,
    #[serde(default)]
    metrics: Metrics,
    #[serde(default)]
    health: Health,
    #[serde(default)]
    notify: Vec<Spanned<RawNotify>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawKey {
    file: Option<Absolute>,
    passphrase_file: Option<Absolute>,
    passphrase_env: Option<String>,
    passphrase_command: Option<String>,
    passphrase_credential: Option<String>,
    #[serde(default)]
    prompt: bool,
}

impl RawKey {
    /// The one setting that is given.
    fn only(self) -> Result<KeyFrom, String> {
        let given = [
            self.file.map(|p| KeyFrom::File(p.0)),
            self.passphrase_file.map(|p| KeyFrom::PassphraseFile(p.0)),
            self.passphrase_env.map(KeyFrom::PassphraseEnv),
            self.passphrase_command.map(KeyFrom::PassphraseCommand),
            self.passphrase_credential.map(KeyFrom::PassphraseCredential),
            self.prompt.then_some(KeyFrom::Prompt),
        ];
        let mut given = given.into_iter().flatten();
        match (given.next(), given.count()) {
            (Some(one), 0) => Ok(one),
            (first, _) => Err(format!(
                "[key] says {} from where the key comes: give exactly one of file, passphrase-file, passphrase-env, \
                 passphrase-command, passphrase-credential and prompt = true",
                if first.is_some() { "in several ways" } else { "in no way" }
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::{Inodes, IoClass, Watcher};
    use super::super::places::Surroundings;
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        let around = Surroundings { root: true, host: "here".into(), ..Surroundings::default() };
        parse(text, Path::new("/c.toml"), &Places::of(&around).unwrap()).map_err(|e| e.to_string())
    }

    fn error(text: &str) -> String {
        read(text).unwrap_err()
    }

    #[test]
    fn nothing_is_all_defaults() {
        let config = read("").unwrap();
        assert_eq!(config.repository.dir(), Some(Path::new("/var/lib/bygone/repository")));
        assert_eq!(config.key, KeyFrom::File("/etc/bygone/key".into()));
        assert_eq!(config.host, "here");
        assert_eq!(config.capture, Capture::default());
        assert!(config.sources.is_empty());
    }

    #[test]
    fn every_setting_is_read() {
        let config = read(
            r#"
            repository = "/srv/repo/"
            host = "web1"
            state = "/s"
            [key]
            passphrase-command = "pass show x"
            [capture]
            quiet = "1s"
            bound = "2s"
            threads = 4
            level = 1
            watcher = "inotify"
            scan-interval = "30m"
            large-file-share = 25
            io-class = "none"
            [limits]
            read = "100MiB/s"
            upload = "10 MiB/s"
            pressure = false
            pressure-io = 30
            patience = "1h"
            [mount]
            zone = "Europe/Berlin"
            allow-other = true
            inodes = "per-view"
            at = "/mnt/backups/"
            [retention]
            every = "48h"
            yearly = "forever"
            lock = "7y"
            [[source]]
            path = "/home/me"
            exclude = ["*.o"]
            include = ["keep.o"]
            one-file-system = true
            cachedir-tag = false
            [source.retention]
            hourly = "14d"
            daily = "90d"
            weekly = "1y"
            monthly = "6 months"
            "#,
        )
        .unwrap();
        assert_eq!(config.repository.to_string(), "/srv/repo");
        assert_eq!((config.host.as_str(), config.state.as_path()), ("web1", Path::new("/s")));
        assert_eq!(config.key, KeyFrom::PassphraseCommand("pass show x".into()));
        let capture = config.capture;
        assert_eq!((capture.quiet.as_secs(), capture.bound.as_secs(), capture.scan_interval.as_secs()), (1, 2, 1800));
        assert_eq!((capture.threads, capture.level, capture.large_file_share), (4, 1, 25));
        assert_eq!((capture.watcher, capture.io_class), (Watcher::Inotify, IoClass::None));
        let zone = Some("Europe/Berlin".into());
        let mount = Mount { zone, allow_other: true, inodes: Inodes::PerView, at: Some("/mnt/backups".into()) };
        assert_eq!(config.mount, mount);
        let source = &config.sources[0];
        assert_eq!((source.exclude.len(), source.include.len()), (1, 1));
        assert!(source.one_file_system && !source.cachedir_tag);
        assert_eq!((source.at.line, source.at.column), (32, 20));
        let limits = Limits {
            read: Some(100 << 20),
            upload: Some(10 << 20),
            pressure: false,
            pressure_io: 30,
            patience: std::time::Duration::from_secs(3600),
            ..Limits::default()
        };
        assert_eq!(config.limits, limits);
        let window = |text: &str| Some(text.parse().unwrap());
        let all =
            Retention { every: window("48h"), yearly: window("forever"), lock: window("7y"), ..Retention::default() };
        assert_eq!(config.retention, all);
        let own = Retention {
            hourly: window("14d"),
            daily: window("90d"),
            weekly: window("1y"),
            monthly: window("6months"),
            ..Retention::default()
        };
        assert_eq!(source.retention, Some(own));
    }

    #[test]
    fn the_repository_is_below_the_state_that_is_given() {
        assert_eq!(read("state = \"/s\"").unwrap().repository.dir(), Some(Path::new("/s/repository")));
    }

    #[test]
    fn errors_name_place_and_cure() {
        let e = error("\n[capture]\nquite = \"1s\"\n");
        assert!(e.starts_with("/c.toml:3:1: unknown field `quite`, expected one of `quiet`"), "{e}");
        let e = error("repository = \"repo\"");
        assert!(e.starts_with("/c.toml:1:14: the path \"repo\" is not absolute"), "{e}");
        let e = error("[capture]\nquiet = \"fast\"");
        assert!(e.starts_with("/c.toml:2:9: \"fast\" is no duration"), "{e}");
        let e = error("[capture]\nlevel = 77");
        assert!(e.starts_with("/c.toml:2:9: level is from 1 to 19"), "{e}");
        let e = error("[retention]\ndaily = \"often\"");
        assert!(e.starts_with("/c.toml:2:9: \"often\" is no length of time: write a whole number"), "{e}");
        let e = error("[retention]\nminutely = \"1h\"");
        assert!(e.starts_with("/c.toml:2:1: unknown field `minutely`, expected one of `every`"), "{e}");
        let e = error("[[source]]\npath = \"/a\"\n[source.retention]\n  lock = \"0y\"");
        assert!(e.starts_with("/c.toml:4:10: \"0y\" is no time at all"), "{e}");
        let e = error("[limits]\nread = \"10 MB/s\"");
        assert!(e.starts_with("/c.toml:2:8: \"10 MB/s\" is no rate"), "{e}");
        let e = error("[limits]\npressure-io = 0");
        assert!(e.starts_with("/c.toml:2:15: 0 is no share of the time"), "{e}");
        let e = error("host = \"a/b\"");
        assert!(e.starts_with("/c.toml:1:8: \"a/b\" can't name a host"), "{e}");
        let e = error("x = 1\n");
        assert!(e.contains("unknown field `x`"), "{e}");
        let e = error("repository = \"/a\nx = 2");
        assert!(e.starts_with("/c.toml:1:"), "{e}");
        let e = error("[[source]]\nexclude = []");
        assert!(e.starts_with("/c.toml:1:1: missing field `path`"), "{e}");
        let e = error("[capture]\nquiet = \"9s\"");
        assert!(e.starts_with("/c.toml:2:9: quiet is longer than bound"), "{e}");
    }

    #[test]
    fn all_values_that_cannot_be_are_told_together() {
        let places = Places::of(&Surroundings { root: true, ..Surroundings::default() }).unwrap();
        let text = "[capture]\nquiet = \"9s\"\nthreads = 0\nlevel = 99\nlarge-file-share = -1\nbound = \"1s\"";
        let problems = super::read(text, Path::new("/c.toml"), &places).problems;
        let lines: Vec<usize> = problems.iter().map(|p| p.place.line).collect();
        assert_eq!(lines, [2, 3, 4, 5], "{problems:?}");
        assert_eq!(problems[2].what, "level is from 1 to 19");
    }

    #[test]
    fn of_a_file_that_is_wrong_all_that_can_be_is_read_and_told() {
        let around = Surroundings { root: true, host: "here".into(), ..Surroundings::default() };
        let places = Places::of(&around).unwrap();
        let read = |text: &str| super::read(text, Path::new("/c.toml"), &places);
        let found = |loaded: &Loaded| {
            loaded.problems.iter().map(|p| (p.place.line, p.place.column)).collect::<Vec<(usize, usize)>>()
        };
        let text = "state = \"/s\"\nhost = 5\n[capture]\nquite = [\n  1,\n]\nlevel = \"x\"\n[[source]]\nexclude = []\n\
                    [source.retention]\ndaily = \"7d\"\n[[source]]\npath = \"a\"\n[what]\nx = 1\n[daemon]\nsocket = \"/r/c\"";
        let loaded = read(text);
        assert_eq!(found(&loaded), [(2, 8), (4, 1), (7, 9), (13, 8), (14, 2)], "{:?}", loaded.problems);
        let config = &loaded.config;
        assert_eq!((config.state.as_path(), config.socket.as_path()), (Path::new("/s"), Path::new("/r/c")));
        assert!(!loaded.whole && config.host == "here" && config.sources.is_empty());
        assert!(loaded.problems.iter().all(|p| p.cure == SEE));

        // Of what is no TOML only the first is sure.
        let loaded = read("state = \"/s\"\nhost = \"x\n[daemon]\nsocket = \"/r/c\"");
        assert_eq!(loaded.problems.iter().map(|p| p.place.line).collect::<Vec<usize>>(), [2], "{:?}", loaded.problems);
        let config = &loaded.config;
        assert_eq!((config.state.as_path(), config.socket.as_path()), (Path::new("/s"), Path::new("/r/c")));

        let loaded =
            read("[key]\n[[notify]]\nname = \"n\"\n[[source]]\nkind = \"postgres\"\n[[source]]\npath = \"/b\"");
        assert_eq!(
            loaded.problems.iter().map(|p| p.place.line).collect::<Vec<usize>>(),
            [1, 2, 4],
            "{:?}",
            loaded.problems
        );
        assert!(loaded.whole && loaded.config.sources.len() == 1);
    }

    #[test]
    fn the_key_comes_from_one_place() {
        assert!(error("[key]").contains("in no way"));
        assert!(error("[key]\nprompt = false").contains("in no way"));
        assert!(error("[key]\nprompt = true\nfile = \"/k\"").contains("in several ways"));
        assert_eq!(read("[key]\nprompt = true").unwrap().key, KeyFrom::Prompt);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error() {
        let places = Places::of(&Surroundings { root: true, ..Surroundings::default() }).unwrap();
        assert!(matches!(load(Some(Path::new("/")), &places), Err(ConfigError::Read { .. })));
        assert!(!load(Some(Path::new("/nonexistent/x.toml")), &places).unwrap().exists());
    }
}
