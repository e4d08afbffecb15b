//! WAL received from a PostgreSQL server, segment by segment, as it is written.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::config::kinds::{Kind, Postgres, PostgresMode, WalFrom};
use crate::config::model::Source;
use crate::produce::base::wal_dir;
use crate::produce::error::ProduceError;
use crate::produce::hooks::label_of_file;
use crate::produce::tools::{ask, cannot_run, own_dir, tool};
use crate::sys::{child::Running, child::is_running, durable};

/// How often the server is asked how far it is.
const LOOK: Duration = Duration::from_millis(100);

/// A `pg_receivewal` that runs: what it has received is in the produced directory, synced.
#[derive(Debug)]
pub struct Receiver {
    running: Running,
    note: PathBuf,
}

impl Receiver {
    /// Starts one for a source that is to be received from; `None` for any other. One that a process before this one has left
    /// is ended first.
    pub fn start(source: &Source, state: &Path, stop: &AtomicBool) -> Result<Option<Receiver>, ProduceError> {
        let Kind::Postgres(server) = &source.kind else { return Ok(None) };
        if server.mode != PostgresMode::Physical || server.wal != WalFrom::Receive {
            return Ok(None);
        }
        let dir = wal_dir(source);
        own_dir(server, &source.path)?;
        own_dir(server, &dir)?;
        make_slot(server, stop)?;
        let note = note_path(state, source);
        if let Some(id) = left_over(&note, &dir) {
            end_left_over(id, &dir);
        }
        let running = order(server, &dir).start().map_err(|e| cannot_run("pg_receivewal", e))?;
        durable::create_dirs(&state.join("output"), 0o700)?;
        durable::replace(&note, running.id().to_string().as_bytes(), 0o600)?;
        Ok(Some(Receiver { running, note }))
    }

    /// Whether it runs; if not, how it ended and what it said: it is to be started again after a while.
    pub fn alive(&mut self) -> Result<(), String> {
        match self.running.look() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!("pg_receivewal ended with {status}: {}", self.running.said().trim_end())),
            Err(e) => Err(format!("cannot look after pg_receivewal: {e}")),
        }
    }

    /// Ends it, in bounded time.
    pub fn stop(mut self) -> io::Result<()> {
        self.running.end()?;
        Ok(durable::remove(&self.note).map(drop)?)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if matches!(self.running.look(), Ok(None))
            && let Err(e) = self.running.end()
        {
            tracing::warn!("cannot end pg_receivewal: {e}");
        }
    }
}

/// Where it is noted who receives for a source.
fn note_path(state: &Path, source: &Source) -> PathBuf {
    state.join("output").join(format!("{}-receiver.pid", label_of_file(source)))
}

/// The process noted, if it is one that receives into this directory.
fn left_over(note: &Path, dir: &Path) -> Option<u32> {
    let id = std::fs::read_to_string(note).ok()?.trim().parse().ok()?;
    is_running(id, dir.as_os_str()).then_some(id)
}

fn end_left_over(id: u32, dir: &Path) {
    tracing::info!("ending pg_receivewal {id}, which an earlier process has left");
    crate::sys::child::end_group(id, || !is_running(id, dir.as_os_str()));
}

fn order(server: &Postgres, dir: &Path) -> crate::sys::child::Order {
    tool(server, "pg_receivewal").arg_path("-D", dir).args([
        "--slot",
        &server.slot,
        "--synchronous",
        "--no-loop",
        "-d",
        &server.connection,
    ])
}

/// Makes the slot that keeps WAL on the server until it is here, if it is not there. It keeps WAL from now on, and not only
/// from the first that was received, as the slots do that `pg_receivewal` makes.
pub(super) fn make_slot(server: &Postgres, stop: &AtomicBool) -> Result<(), ProduceError> {
    let slot = &server.slot;
    let sql = format!(
        "select pg_create_physical_replication_slot('{slot}', true) \
         where not exists (select from pg_replication_slots where slot_name = '{slot}')"
    );
    ask(server, &sql, stop).map(drop)
}

/// Receives what the server has written by now, unless a receiver runs that does so all the time: then its slot is active.
pub(super) fn catch_up(source: &Source, server: &Postgres, stop: &AtomicBool) -> Result<(), ProduceError> {
    let sql = format!("select active from pg_replication_slots where slot_name = '{}'", server.slot);
    if ask(server, &sql, stop)? == "t" {
        return Ok(());
    }
    let until = ask(server, "select pg_current_wal_flush_lsn()", stop)?;
    // It would end by itself too, but at an idle server only with the next message that has no data.
    let order = order(server, &wal_dir(source)).args(["--status-interval", "1"]);
    let mut running = order.start().map_err(|e| cannot_run("pg_receivewal", e))?;
    let reached = await_flushed(server, &until, &mut running, stop);
    running.end().map_err(|e| cannot_run("pg_receivewal", e))?;
    reached
}

/// Waits until the server has heard that everything up to `until` is on the disk here.
fn await_flushed(server: &Postgres, until: &str, running: &mut Running, stop: &AtomicBool) -> Result<(), ProduceError> {
    let failed = |why: String| ProduceError::Failed { what: "cannot receive WAL".into(), why };
    let sql = format!(
        "select coalesce(bool_or(r.flush_lsn >= '{until}'), false) from pg_stat_replication r \
         join pg_replication_slots s on s.active_pid = r.pid where s.slot_name = '{}'",
        server.slot
    );
    let begun = Instant::now();
    while ask(server, &sql, stop)? != "t" {
        if let Some(status) = running.look().map_err(|e| cannot_run("pg_receivewal", e))? {
            return Err(failed(format!("pg_receivewal ended with {status}: {}", running.said().trim_end())));
        }
        if stop.load(Ordering::Relaxed) || begun.elapsed() > server.timeout {
            return Err(failed(format!("{until} was not reached in {} s", begun.elapsed().as_secs())));
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}
