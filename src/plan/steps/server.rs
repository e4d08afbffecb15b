//! A PostgreSQL server that a step has recovered: how it stands, ending it, and asking it.

use crate::config::kinds::{Postgres as Settings, PostgresMode};
use crate::plan::ground::{Did, Doing};
use crate::plan::journal::Running;
use crate::plan::model::Server;
use crate::plan::template::Template;
use crate::produce::tools;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// How long it may take to end.
pub(super) const END: Duration = Duration::from_secs(120);
/// How long a question may take where the step has no time-out.
const QUESTION: Duration = Duration::from_secs(3600);

/// How a server stands.
pub(super) enum State {
    /// It does not run.
    Gone,
    /// It runs, and lets nobody in yet.
    Begins,
    /// It lets clients in.
    Open,
}

/// As the file of its process says.
pub(super) fn state(data: &Path) -> State {
    let Ok(text) = std::fs::read_to_string(data.join("postmaster.pid")) else { return State::Gone };
    let mut lines = text.lines();
    let pid = lines.next().and_then(|pid| pid.trim().parse::<u32>().ok());
    if !pid.is_some_and(|pid| Path::new(&format!("/proc/{pid}")).exists()) {
        return State::Gone;
    }
    // The eighth line has the word of its state.
    match lines.nth(6).map(str::trim) {
        Some("ready") => State::Open,
        _ => State::Begins,
    }
}

impl Running {
    fn settings(&self) -> Settings {
        Settings {
            connection: self.connection.clone(),
            user: self.user.clone(),
            bin: Some(self.bin.clone()).filter(|bin| !bin.as_os_str().is_empty()),
            mode: PostgresMode::Physical,
            wal: Default::default(),
            slot: String::new(),
            timeout: END,
        }
    }

    /// Ends it, if it runs.
    pub(in crate::plan) fn stop(&self, mode: &str) -> Result<(), String> {
        if matches!(state(&self.data), State::Gone) {
            return Ok(());
        }
        let order = tools::tool(&self.settings(), "pg_ctl").arg_path("-D", &self.data).timeout(END);
        let ended = order.args(["-w", "-m", mode, "stop"]).run(&AtomicBool::new(false));
        let ended = ended.map_err(|e| format!("cannot run pg_ctl: {e}"))?;
        match ended.is_good() || matches!(state(&self.data), State::Gone) {
            true => Ok(()),
            false => Err(format!("the server of {} does not end: {}", self.data.display(), ended.why_of_both())),
        }
    }

    /// Fails where it is in recovery still.
    pub(super) fn is_promoted(&self, stop: &AtomicBool) -> Result<(), String> {
        let answer = self.ask("postgres", "select pg_is_in_recovery()", QUESTION, stop)?;
        if answer == "f" { Ok(()) } else { Err("the server is open, and still in recovery".into()) }
    }

    /// Asks a database of it.
    pub(in crate::plan) fn ask(
        &self,
        database: &str,
        sql: &str,
        timeout: Duration,
        stop: &AtomicBool,
    ) -> Result<String, String> {
        ask(&self.settings(), &format!("{} dbname={database}", self.connection), sql, timeout, stop)
    }
}

fn ask(settings: &Settings, to: &str, sql: &str, timeout: Duration, stop: &AtomicBool) -> Result<String, String> {
    let order = tools::tool(settings, "psql").timeout(timeout).args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1"]);
    let ended = order.args(["-d", to, "-c", sql]).run(stop).map_err(|e| format!("cannot run psql: {e}"))?;
    match ended.is_good() {
        true => Ok(String::from_utf8_lossy(&ended.stdout).trim().to_owned()),
        false => Err(format!("the server does not answer: {}", ended.why_of_both())),
    }
}

/// A check: asks a server, and compares the answer.
pub(super) fn query(
    doing: &Doing<'_>,
    server: &Server,
    database: Option<&Template>,
    (sql, expect): (&Template, Option<&Template>),
) -> Result<Did, String> {
    let (sql, timeout) = (doing.fill(sql), doing.step.timeout.unwrap_or(QUESTION));
    let database = database.map_or("postgres".to_owned(), |database| doing.fill(database));
    let answer = match server {
        Server::Step(step) => {
            let running = doing.journal().story.servers.get(step).cloned();
            let running = running.ok_or_else(|| format!("the step {step} has recovered no server that runs"))?;
            running.ask(&database, &sql, timeout, doing.stop)?
        }
        Server::Connection(connection) => {
            let connection = doing.fill(connection);
            let settings =
                Running { data: PathBuf::new(), connection: connection.clone(), bin: PathBuf::new(), user: None };
            let to = if connection.contains("dbname") || connection.contains("://") {
                connection
            } else {
                format!("{connection} dbname={database}")
            };
            ask(&settings.settings(), &to, &sql, timeout, doing.stop)?
        }
    };
    match expect.map(|text| doing.fill(text)) {
        Some(wanted) if wanted.trim() != answer => {
            Err(format!("the answer is {answer:?}, and not {:?}", wanted.trim()))
        }
        _ => Ok(Did::saying(format!("the answer is {}", answer.lines().next().unwrap_or_default()))),
    }
}
