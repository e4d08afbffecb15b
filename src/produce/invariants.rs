//! Invariants: what is measured of a source with a snapshot of it, and measured in the same way of what came back.

use crate::config::invariant::{Invariant, Measure};
use crate::config::kinds::Kind;
use crate::config::model::Source;
use crate::index::ask;
use crate::produce::{error::Failure, hooks, run::Ground, tools};
use crate::repo::{
    attach::Attached,
    audit::measured::{self, Value},
    error::RepoError,
    frames::Frames,
};
use crate::sys::child::Order;
use crate::types::{path, snapshot::Snapshot, time::Instant};
use crate::view::{
    content::Content,
    instant::{Object, View},
    whose::Whose,
};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// What a failure is of where nothing could be recorded.
const RECORDING: &str = "the recording of invariants";

/// The longest value, in bytes.
pub const VALUE_MAX: usize = 4096;
/// So many bytes of decoded frames are kept while a database is read.
const FRAMES: usize = 64 << 20;
/// So many bytes of it are read at once.
const PIECE: usize = 1 << 20;

/// What was measured, and what could not be.
#[derive(Debug, Default)]
pub(super) struct Measuring {
    values: Vec<Value>,
    pub(super) failures: Vec<Failure>,
}

impl Measuring {
    fn add(&mut self, invariant: &Invariant, result: Result<String, String>) {
        match result {
            Ok(value) => {
                let (name, definition) = (invariant.name.clone(), invariant.definition());
                self.values.push(Value { name, definition, value });
            }
            Err(why) => self.failures.push(Failure { what: of(&invariant.name), why, is_kept: false }),
        }
    }

    /// What is asked of whoever has the data: it runs just before the capture.
    pub(super) fn ask(&mut self, source: &Source, ground: &Ground<'_>) {
        for invariant in &source.invariants {
            let result = match &invariant.measure {
                Measure::Command(line) => command(source, invariant, line, &source.path, ground.stop),
                Measure::Postgres { database, query } => match &source.kind {
                    Kind::Postgres(server) => {
                        tools::ask_of(server, database, query, (invariant.timeout, ground.stop)).and_then(value)
                    }
                    _ => Err("the source is no PostgreSQL server".to_owned()),
                },
                Measure::Files(_) | Measure::Sqlite { .. } => continue,
            };
            self.add(invariant, result);
        }
    }

    /// What is known from what was captured: by `snapshot`, or by the newest one if none was needed. Gives what the audit trail is to
    /// tell, if there is anything.
    pub(super) fn look(
        &mut self,
        source: &Source,
        ground: &Ground<'_>,
        (at, host): (&Arc<Attached>, &str),
        snapshot: Option<&Snapshot>,
    ) -> Option<serde_json::Value> {
        // What is known of files stands in the index.
        if source.invariants.iter().all(|i| matches!(i.measure, Measure::Files(_))) {
            return None;
        }
        match self.look_at(source, ground, (at, host), snapshot) {
            Ok(detail) => detail,
            Err(e) => {
                let what = RECORDING.to_owned();
                self.failures.push(Failure { what, why: e.to_string(), is_kept: false });
                None
            }
        }
    }

    fn look_at(
        &mut self,
        source: &Source,
        ground: &Ground<'_>,
        (at, host): (&Arc<Attached>, &str),
        snapshot: Option<&Snapshot>,
    ) -> Result<Option<serde_json::Value>, RepoError> {
        let index = at.reader()?;
        let whose = Whose::own(at, host)?;
        let view = View::of(&index, &whose, snapshot.map_or(Instant(i64::MAX), |s| s.time))?;
        for invariant in &source.invariants {
            let Measure::Sqlite { database, query } = &invariant.measure else { continue };
            let place = source.path.join(database);
            let result = match view.look_up(&index, place.as_os_str().as_bytes())? {
                Some(Object::Node(_, row)) => {
                    let content = Content::open(&index, row.source, row.ver)?;
                    let copied = copied(at, &content, ground.state);
                    copied.and_then(|file| sqlite(invariant, file.path(), query, ground.stop))
                }
                _ => Err(format!("the snapshot has no {}", path::show(place.as_os_str().as_bytes()))),
            };
            self.add(invariant, result);
        }
        let root = source.path.as_os_str().as_bytes();
        let part = view.parts.iter().find(|part| part.source.root == root);
        match part.filter(|_| !self.values.is_empty()) {
            Some(part) => measured::seal(at.repo(), &part.snapshot, &self.values).map(Some),
            None => Ok(None),
        }
    }
}

/// What failures of an invariant are of.
fn of(name: &str) -> String {
    format!("the invariant {name}")
}

/// Whether the settings of a source have the invariant that a failure is of.
pub(super) fn has(source: &Source, what: &str) -> bool {
    let is_any = !source.invariants.is_empty();
    source.invariants.iter().any(|i| of(&i.name) == what) || (is_any && what == RECORDING)
}

/// A captured file as a file, in the state directory until the value is dropped.
fn copied(at: &Arc<Attached>, content: &Content, state: &Path) -> Result<tempfile::NamedTempFile, String> {
    let failed = |e: &dyn std::fmt::Display| format!("what was captured can't be read: {e}");
    let index = at.reader().map_err(|e| failed(&e))?;
    let frames = Frames::of(at.clone(), FRAMES);
    let mut file = tempfile::Builder::new().prefix("invariant-").tempfile_in(state).map_err(|e| failed(&e))?;
    let mut buffer = Vec::new();
    for offset in (0..content.size).step_by(PIECE) {
        buffer.clear();
        content.read(&index, &frames, offset, PIECE, &mut buffer).map_err(|e| failed(&e))?;
        file.write_all(&buffer).map_err(|e| failed(&e))?;
    }
    file.flush().map_err(|e| failed(&e))?;
    Ok(file)
}

/// Asks a SQLite database that is a file.
pub fn sqlite(invariant: &Invariant, file: &Path, query: &str, stop: &AtomicBool) -> Result<String, String> {
    let answer = ask::ask(file, query, VALUE_MAX, (invariant.timeout, stop));
    answer.map_err(|e| format!("{}: {e}", file.display())).and_then(value)
}

/// Runs the command of an invariant over the source that lies at `root`: where it is, or where it came back to.
pub fn command(
    source: &Source,
    invariant: &Invariant,
    line: &str,
    root: &Path,
    stop: &AtomicBool,
) -> Result<String, String> {
    let order = Order::shell(line).timeout(invariant.timeout).env("BYGONE_SOURCE", hooks::label(source));
    let order = order.env("BYGONE_PATH", root).env("BYGONE_INVARIANT", &invariant.name);
    let ended = order.run(stop).map_err(|e| format!("cannot run it: {e}"))?;
    match ended.is_good() {
        true => value(String::from_utf8_lossy(&ended.stdout).into_owned()),
        false => Err(ended.why_of_both()),
    }
}

/// A value, without the white space around it.
pub fn value(text: String) -> Result<String, String> {
    match text.trim() {
        "" => Err("it gave no value".to_owned()),
        text if text.len() > VALUE_MAX => Err(format!("its value has more than {VALUE_MAX} bytes")),
        text => Ok(text.to_owned()),
    }
}
