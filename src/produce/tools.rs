//! The tools of PostgreSQL, which do the work.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::config::kinds::Postgres;
use crate::produce::error::ProduceError;
use crate::sys::child::Order;

const CURE: &str = "install the client of PostgreSQL (Debian: postgresql-client), or say where it is by `bin`";

/// What a question to the server may take.
const QUESTION: Duration = Duration::from_secs(60);

/// An order for one of the tools, run as the user of the settings.
pub fn tool(server: &Postgres, name: &str) -> Order {
    let program = match &server.bin {
        Some(bin) => bin.join(name),
        None => newest(name).unwrap_or_else(|| name.into()),
    };
    Order::new(program).user(server.user.as_deref()).env("PGCONNECT_TIMEOUT", "30").env("LC_ALL", "C")
}

/// A tool in the directories of Debian's versions, the newest first: its wrappers in PATH know only clusters of this machine.
fn newest(name: &str) -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version = path.file_name()?.to_str()?.parse().ok()?;
            let program = path.join("bin").join(name);
            program.is_file().then_some((version, program))
        })
        .collect();
    found.sort();
    found.pop().map(|(_, program)| program)
}

/// Runs a tool, which must end well. What it printed, as far as it is kept.
pub(super) fn run(order: Order, name: &str, what: &str, stop: &AtomicBool) -> Result<String, ProduceError> {
    let ended = order.run(stop).map_err(|e| cannot_run(name, e))?;
    match ended.is_good() {
        true => Ok(String::from_utf8_lossy(&ended.stdout).into_owned()),
        false => Err(ProduceError::Failed { what: what.to_owned(), why: ended.why() }),
    }
}

pub(super) fn cannot_run(name: &str, source: io::Error) -> ProduceError {
    ProduceError::Program { program: name.to_owned(), source, cure: CURE }
}

/// Asks the server one question by SQL. The rows, one a line, without headings.
pub(super) fn ask(server: &Postgres, sql: &str, stop: &AtomicBool) -> Result<String, ProduceError> {
    let order = tool(server, "psql").timeout(QUESTION).args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1"]);
    let order = order.args(["-d", &with_database(&server.connection), "-c", sql]);
    Ok(run(order, "psql", "cannot ask the PostgreSQL server", stop)?.trim_end().to_owned())
}

/// Asks a database of the server one question, as `ask` does.
pub fn ask_of(
    server: &Postgres,
    database: &str,
    sql: &str,
    (timeout, stop): (Duration, &AtomicBool),
) -> Result<String, String> {
    let to = match Postgres::is_url(&server.connection) {
        true => server.connection.clone(),
        // The last one counts.
        false => format!("{} dbname='{}'", server.connection, database.replace('\\', "\\\\").replace('\'', "\\'")),
    };
    let order = tool(server, "psql").timeout(timeout).args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1"]);
    let ended = order.args(["-d", &to, "-c", sql]).run(stop).map_err(|e| cannot_run("psql", e).to_string())?;
    match ended.is_good() {
        true => Ok(String::from_utf8_lossy(&ended.stdout).into_owned()),
        false => Err(format!("the server does not answer: {}", ended.why_of_both())),
    }
}

/// The connection with a database, which every server has, where it names none.
fn with_database(connection: &str) -> String {
    match connection.contains("dbname") || connection.contains("://") {
        true => connection.to_owned(),
        false => format!("{connection} dbname=postgres"),
    }
}

/// Makes a directory that the tools write to, for the user they run as.
pub(super) fn own_dir(server: &Postgres, path: &Path) -> Result<(), ProduceError> {
    let failed = |source: io::Error| ProduceError::Directory { path: path.to_owned(), source };
    crate::sys::durable::create_dirs(path, 0o700)?;
    let Some(user) = &server.user else { return Ok(()) };
    let found = crate::sys::child::find_user(user).map_err(failed)?;
    std::os::unix::fs::chown(path, Some(found.uid), Some(found.gid)).map_err(failed)?;
    // A directory that it can't reach would make every tool fail with words that do not say so.
    let probe = Order::shell("test -w .").user(Some(user)).dir(path).timeout(QUESTION);
    match probe.run(&AtomicBool::new(false)) {
        Ok(ended) if ended.is_good() => Ok(()),
        _ => Err(failed(io::Error::other(format!(
            "the user {user} can't get there; set `path` to a directory that this user can reach, such as /var/backups/{user}"
        )))),
    }
}
