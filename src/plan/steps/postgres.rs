//! A PostgreSQL server recovered to an instant: the base before it, the WAL since, started on a socket of its own until it is promoted.

use super::restore::{Asked, act};
use super::server::{END, State, state};
use super::walfeed::Feed;
use crate::config::kinds::{Kind, Postgres as Settings, PostgresMode};
use crate::config::model::Source;
use crate::plan::check::is_source;
use crate::plan::ground::{Did, Doing, Ground};
use crate::plan::journal::{Running, Story};
use crate::plan::model::Postgres;
use crate::plan::stage::{Laying, Stage};
use crate::plan::takeback;
use crate::plan::template::Values;
use crate::produce::{base::wal_dir, tools};
use crate::sys::{child, durable, process};
use crate::types::time::Instant;
use crate::types::when::show::exact_name;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, lchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often it is looked what the server asks for.
const LOOK: Duration = Duration::from_millis(10);
/// How long a server may take to note its process.
const BEGIN: Duration = Duration::from_secs(10);
/// The port, which only names the socket.
const PORT: u16 = 5432;
/// The longest path of a directory with such a socket, in bytes.
const SOCKET_DIR_MAX: usize = 90;
/// So many lines of the server's log are told.
const LOG_LINES: usize = 6;

/// What is recovered, with all inputs filled in.
struct Recovery<'a> {
    source: &'a Source,
    settings: Settings,
    data: PathBuf,
    /// What only the recovery needs, beside the cluster.
    dir: PathBuf,
    at: Instant,
    latest: bool,
    /// Whether nothing of it has to last.
    rehearsed: bool,
}

/// The base that is restored, as a dry run counts it.
pub(in crate::plan) fn base(ground: &Ground<'_>, what: &Postgres, values: &Values) -> Result<Asked, String> {
    let (source, _) = server(ground, &what.source.fill(values))?;
    let data = crate::plan::ground::absolute(&what.data.fill(values))?;
    let at = crate::plan::ground::instant(&what.at.fill(values), &ground.zone)?;
    Ok(base_of(source, &part_of(&data), at))
}

fn base_of(source: &Source, to: &Path, at: Instant) -> Asked {
    let path = source.path.join("base").as_os_str().as_bytes().to_vec();
    Asked { paths: vec![path], to: Some(to.to_owned()), delete: false, host: None, at }
}

fn server<'a>(ground: &'a Ground<'_>, name: &str) -> Result<(&'a Source, &'a Settings), String> {
    let found = ground.config.sources.iter().find(|s| is_source(s, name));
    match found.map(|s| (s, &s.kind)) {
        Some((source, Kind::Postgres(settings))) if settings.mode == PostgresMode::Physical => Ok((source, settings)),
        Some(_) => Err(format!("the source {name:?} is no PostgreSQL server with its files and WAL")),
        None => Err(format!("the settings have no source {name:?}")),
    }
}

/// Recovers it.
pub(super) fn run(doing: &Doing<'_>, what: &Postgres) -> Result<Did, String> {
    let (source, settings) = server(doing.ground, &doing.fill(&what.source))?;
    let data = doing.path(&what.data)?;
    let mut settings = settings.clone();
    if let Some(user) = &what.user {
        settings.user = Some(doing.fill(user));
    }
    if let Some(bin) = &what.bin {
        settings.bin = Some(doing.path(bin)?);
    }
    settings.user = other_user(settings.user)?;
    let latest = doing.journal().story.latest && doing.fill(&what.at) == doing.values[crate::plan::model::AT];
    let (dir, at) = (run_of(&data), doing.instant(&what.at)?);
    let rehearsed = doing.ground.stage.is_some();
    let mut recovery = Recovery { source, settings, data, dir, at, latest, rehearsed };
    recovery.begin(doing)?;
    let mut did = recovery.restore(doing)?;
    let began = std::time::Instant::now();
    let feed = match recovery.recover(doing) {
        Ok(feed) => feed,
        Err(why) => {
            recovery.running().stop("immediate")?;
            return Err(why);
        }
    };
    recovery.running().is_promoted(doing.stop)?;
    let recovered = began.elapsed().as_secs_f64();
    match what.keeps_running {
        true => doing.server(recovery.running())?,
        false => {
            recovery.running().stop("fast")?;
            remove(&recovery.dir)?;
        }
    }
    did.amount.bytes += feed.bytes;
    did.told = Some(format!("recovered and promoted in {recovered:.1} s with {} file(s) of WAL", feed.count));
    Ok(did)
}

impl Recovery<'_> {
    /// Takes away what an attempt before has left, and refuses what is there from elsewhere.
    fn begin(&self, doing: &Doing<'_>) -> Result<(), String> {
        let own = [self.data.clone(), self.dir.clone(), part_of(&self.data)];
        let made = doing.made();
        if made.iter().any(|made| made.path == self.data) {
            self.running().stop("immediate")?;
        }
        for made in made.iter().filter(|made| own.contains(&made.path)) {
            takeback::directory(made)?;
        }
        for path in &own {
            let is_empty = std::fs::read_dir(path).map(|mut entries| entries.next().is_none());
            match is_empty {
                Ok(true) => std::fs::remove_dir(path).map_err(|e| format!("cannot use {}: {e}", path.display()))?,
                Ok(false) => {
                    return Err(format!(
                        "{} is there and not empty: name another directory, or move it away",
                        path.display()
                    ));
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(format!("cannot use {}: {e}", path.display())),
            }
        }
        if self.dir.as_os_str().len() > SOCKET_DIR_MAX {
            return Err(format!(
                "{} is too long a path for the socket of a server: name a shorter one",
                self.data.display()
            ));
        }
        doing.makes(&own)
    }

    /// The base, and to whom it belongs.
    fn restore(&mut self, doing: &Doing<'_>) -> Result<Did, String> {
        let part = part_of(&self.data);
        let plan = base_of(self.source, &part, self.at).plan(doing.ground, false).map_err(|why| {
            format!("there is no base backup of {} to begin with: {why}", crate::produce::hooks::label(self.source))
        })?;
        let did = match doing.ground.stage {
            Some(stage) => self.lay(stage, &plan)?,
            None => act(doing, plan, None)?,
        };
        if let Some(problem) = did.problems.first() {
            return Err(format!("the base backup could not be restored whole: {problem}"));
        }
        if doing.ground.stage.is_none() {
            durable::rename(&part.join("base"), &self.data).map_err(|e| e.to_string())?;
            remove(&part)?;
        }
        let failed = |e: io::Error| format!("cannot prepare {}: {e}", self.data.display());
        std::fs::set_permissions(&self.data, std::fs::Permissions::from_mode(0o700)).map_err(failed)?;
        durable::replace(&self.data.join("recovery.signal"), b"", 0o600).map_err(|e| e.to_string())?;
        self.find_programs()?;
        durable::create_dirs(&self.dir, 0o755).map_err(|e| e.to_string())?;
        if doing.ground.stage.is_none() {
            doing.stands(&self.data)?;
            doing.stands(&self.dir)?;
        }
        self.give(&self.data)?;
        Ok(did)
    }

    /// In a rehearsal the base appears where it would be restored to.
    fn lay(&self, stage: &dyn Stage, plan: &crate::restore::plan::Plan) -> Result<Did, String> {
        let path = self.source.path.join("base");
        let path = path.as_os_str().as_bytes();
        stage.lay(&Laying { host: None, at: self.at, path, to: &self.data, alone: true })?;
        Ok(Did { amount: super::restore::amount(plan), ..Did::default() })
    }

    /// The programs of the version that the base is of.
    fn find_programs(&mut self) -> Result<(), String> {
        if self.settings.bin.is_some() {
            return Ok(());
        }
        let file = self.data.join("PG_VERSION");
        let version = std::fs::read_to_string(&file).map_err(|e| format!("cannot read {}: {e}", file.display()))?;
        let bin = Path::new("/usr/lib/postgresql").join(version.trim()).join("bin");
        if bin.join("pg_ctl").is_file() {
            self.settings.bin = Some(bin);
        }
        Ok(())
    }

    /// Gives a path, and all below it, to the user of the server, where this is root.
    fn give(&self, path: &Path) -> Result<(), String> {
        let Some(user) = self.settings.user.as_deref() else {
            return match process::effective_uid() {
                0 => {
                    Err("a PostgreSQL server does not run as root: name its user by `user`, in the step or the source"
                        .into())
                }
                _ => Ok(()),
            };
        };
        if process::effective_uid() != 0 {
            return Ok(());
        }
        let user = child::find_user(user).map_err(|e| e.to_string())?;
        let failed = |path: &Path, e: io::Error| format!("cannot give {} to the server's user: {e}", path.display());
        let mut open = vec![path.to_owned()];
        while let Some(path) = open.pop() {
            lchown(&path, Some(user.uid), Some(user.gid)).map_err(|e| failed(&path, e))?;
            if std::fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir()) {
                for entry in std::fs::read_dir(&path).map_err(|e| failed(&path, e))? {
                    open.push(entry.map_err(|e| failed(&path, e))?.path());
                }
            }
        }
        Ok(())
    }

    /// Starts it, and gives it WAL until it is open.
    fn recover(&self, doing: &Doing<'_>) -> Result<Feed, String> {
        let whose = doing.ground.whose(None)?;
        let mut feed = Feed::new(&self.dir, wal_dir(self.source), whose)?;
        let socket = self.dir.join("s");
        durable::create_dirs(&socket, 0o700).map_err(|e| e.to_string())?;
        let hba = self.dir.join("pg_hba.conf");
        durable::replace(&hba, b"local all all trust\n", 0o644).map_err(|e| e.to_string())?;
        durable::replace(&self.dir.join("pg_ident.conf"), b"", 0o644).map_err(|e| e.to_string())?;
        durable::replace(&self.dir.join("postgresql.conf"), b"", 0o644).map_err(|e| e.to_string())?;
        durable::replace(&self.dir.join("log"), b"", 0o600).map_err(|e| e.to_string())?;
        for path in [&feed.asked(), &socket, &self.dir.join("log")] {
            self.give(path)?;
        }
        let options: Vec<String> =
            self.options(&feed)?.iter().map(|(name, value)| quoted(&format!("--{name}={value}"))).collect();
        doing.progress.start("recovering", None);
        let order = tools::tool(&self.settings, "pg_ctl").arg_path("-D", &self.data).timeout(END);
        let order = order.arg_path("-l", &self.dir.join("log")).args(["-W", "-o", &options.join(" "), "start"]);
        let ended = order
            .run(doing.stop)
            .map_err(|e| format!("cannot run pg_ctl: {e}; install the server, or name its programs by `bin`"))?;
        if !ended.is_good() {
            return Err(format!("the server could not be started: {}; {}", ended.why_of_both(), self.log()));
        }
        let begun = std::time::Instant::now();
        loop {
            feed.serve(doing.ground)?;
            match state(&self.data) {
                State::Open => break,
                State::Begins => {}
                State::Gone if begun.elapsed() < BEGIN && !self.log().contains("FATAL") => {}
                State::Gone => return Err(format!("the server ended before it had recovered; {}", self.log())),
            }
            if !doing.sleep(LOOK) {
                return Err(format!("it was stopped while the server recovered; {}", self.log()));
            }
        }
        doing.progress.finish();
        Ok(feed)
    }

    /// The settings that it is started with: nothing of it is reached from elsewhere, and nothing of it goes to where the WAL of the
    /// first server goes.
    fn options(&self, feed: &Feed) -> Result<Vec<(&'static str, String)>, String> {
        let shown = |path: PathBuf| path.to_str().map(str::to_owned).ok_or("the path is no text".to_owned());
        let mut options = vec![
            ("data_directory", shown(self.data.clone())?),
            ("hba_file", shown(self.dir.join("pg_hba.conf"))?),
            ("ident_file", shown(self.dir.join("pg_ident.conf"))?),
            ("external_pid_file", String::new()),
            ("listen_addresses", String::new()),
            ("unix_socket_directories", shown(self.dir.join("s"))?),
            ("port", PORT.to_string()),
            ("ssl", "off".into()),
            ("logging_collector", "off".into()),
            ("log_destination", "stderr".into()),
            ("archive_mode", "off".into()),
            ("hot_standby", "off".into()),
            ("restore_command", feed.command()),
            ("recovery_target_timeline", "latest".into()),
            ("recovery_target_action", "promote".into()),
        ];
        if !self.latest {
            options.push(("recovery_target_time", postgres_time(self.at)));
        }
        if self.rehearsed {
            // A server that syncs opens every file to write, and what is opened to write is copied.
            options
                .extend(["fsync", "wal_init_zero", "wal_recycle", "autovacuum"].map(|name| (name, "off".to_owned())));
        }
        // Where the settings of a server are elsewhere, as on Debian, the base has none.
        if !self.data.join("postgresql.conf").exists() {
            options.push(("config_file", shown(self.dir.join("postgresql.conf"))?));
        }
        Ok(options)
    }

    fn running(&self) -> Running {
        let role = self.settings.connection.split_whitespace().find_map(|word| word.strip_prefix("user="));
        let role = role.map(str::to_owned).or_else(|| self.settings.user.clone());
        let user = role.map_or(String::new(), |role| format!(" user={role}"));
        Running {
            data: self.data.clone(),
            connection: format!("host={} port={PORT}{user}", self.dir.join("s").display()),
            bin: self.settings.bin.clone().unwrap_or_default(),
            user: self.settings.user.clone(),
        }
    }

    /// The last lines of the server's log.
    fn log(&self) -> String {
        let text = std::fs::read(self.dir.join("log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let mut last: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).rev().take(LOG_LINES).collect();
        last.reverse();
        if last.is_empty() { String::new() } else { format!("its log ends: {}", last.join(" | ")) }
    }
}

/// Ends the server that a step has begun, so that its files can be removed.
pub(in crate::plan) fn stop(ground: &Ground<'_>, what: &Postgres, story: &Story) -> Result<(), String> {
    let data = crate::plan::ground::absolute(&what.data.fill(&story.values))?;
    if matches!(state(&data), State::Gone) {
        return Ok(());
    }
    let (source, settings) = server(ground, &what.source.fill(&story.values))?;
    let mut settings = settings.clone();
    if let Some(user) = &what.user {
        settings.user = Some(user.fill(&story.values));
    }
    settings.user = other_user(settings.user)?;
    if let Some(bin) = &what.bin {
        settings.bin = Some(bin.fill(&story.values).into());
    }
    let dir = run_of(&data);
    let mut recovery = Recovery { source, settings, data, dir, at: Instant(0), latest: false, rehearsed: false };
    recovery.find_programs()?;
    recovery.running().stop("immediate")
}

/// The user, where it is another than the one that bygone runs as: becoming another one takes a privilege.
fn other_user(user: Option<String>) -> Result<Option<String>, String> {
    let Some(name) = user else { return Ok(None) };
    let uid = child::find_user(&name).map_err(|e| e.to_string())?.uid;
    Ok((uid != process::effective_uid()).then_some(name))
}

/// A time as the server takes it.
fn postgres_time(at: Instant) -> String {
    let name = exact_name(at);
    let (day, time) = name.trim_end_matches('Z').split_once('T').unwrap_or((&name, "00:00:00"));
    format!("{day} {}+00", &time[..time.len().min(15)])
}

/// A word for a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn part_of(data: &Path) -> PathBuf {
    beside(data, ".part")
}

fn run_of(data: &Path) -> PathBuf {
    beside(data, ".run")
}

fn beside(data: &Path, more: &str) -> PathBuf {
    let mut name = data.as_os_str().to_owned();
    name.push(more);
    name.into()
}

fn remove(path: &Path) -> Result<(), String> {
    crate::sys::durable::remove_tree(path).map(drop).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_words_as_others_take_them() {
        assert_eq!(postgres_time(Instant(1_758_371_405_123_456_789)), "2025-09-20 12:30:05.123456+00");
        assert_eq!(quoted("a'b"), r"'a'\''b'");
        assert_eq!(run_of(Path::new("/a/b")), Path::new("/a/b.run"));
    }
}
