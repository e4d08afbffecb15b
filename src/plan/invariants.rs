//! Invariants of sources, measured on what a run has brought back and compared with what was recorded when it was captured.

use super::check::is_source;
use super::checked::{Checked, Verdict, agrees};
use super::ground::{Ground, told};
use super::journal::{Ending, Running, Story};
use super::model::{Plan, Work};
use super::steps::restore::Asked;
use crate::config::invariant::{Compare, Invariant, Measure};
use crate::config::model::Source;
use crate::index::{rows::Row, tree::Reader};
use crate::produce::{hooks, invariants as measuring};
use crate::repo::audit::measured::{self, Measured};
use crate::types::{attr::Kind, time::Instant};
use crate::view::instant::{Object, View};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// What of a source came back, and where to.
enum Back {
    /// Files: a path of history, and where it is now.
    Files(PathBuf, PathBuf),
    /// A server.
    Server(Running),
}

/// Measures all invariants of what the steps of a run that are over have brought back of this host's sources.
pub fn check(ground: &Ground<'_>, plan: &Plan, story: &Story, stop: &AtomicBool) -> Result<Vec<Checked>, String> {
    let mut all = Vec::new();
    for (at, back) in came_back(ground, plan, story)? {
        for source in ground.config.sources.iter().filter(|source| !source.invariants.is_empty()) {
            let invariants: Vec<(&Invariant, Place)> =
                source.invariants.iter().filter_map(|i| Some((i, place(source, i, &back)?))).collect();
            if !invariants.is_empty() {
                Checking { ground, source, at, stop }.all(&invariants, &mut all)?;
            }
        }
    }
    Ok(all)
}

fn came_back(ground: &Ground<'_>, plan: &Plan, story: &Story) -> Result<Vec<(Instant, Back)>, String> {
    let mut all = Vec::new();
    let is_over = |name: &String| {
        story.ended.get(name).is_some_and(|ended| matches!(ended.ending, Ending::Done | Ending::Partial))
    };
    for step in plan.steps.iter().filter(|step| is_over(&step.name)) {
        match &step.work {
            Work::Restore(what) => {
                let asked = Asked::of(ground, what, &story.values)?;
                if asked.host.as_ref().is_some_and(|host| !host.is_empty() && *host != ground.config.host) {
                    continue;
                }
                for path in &asked.paths {
                    let from = PathBuf::from(std::ffi::OsStr::from_bytes(path));
                    all.push((asked.at, Back::Files(from, asked.place(path))));
                }
            }
            Work::Postgres(what) => {
                if let Some(running) = story.servers.get(&step.name) {
                    let at = super::ground::instant(&what.at.fill(&story.values), &ground.zone)?;
                    let name = what.source.fill(&story.values);
                    if ground.config.sources.iter().any(|source| is_source(source, &name)) {
                        all.push((at, Back::Server(running.clone())));
                    }
                }
            }
            _ => {}
        }
    }
    Ok(all)
}

/// What an invariant is measured on.
enum Place {
    Path(PathBuf),
    Server(Running),
}

/// Where an invariant can be measured, if what came back has it.
fn place(source: &Source, invariant: &Invariant, back: &Back) -> Option<Place> {
    let of = match &invariant.measure {
        Measure::Files(path) => source.path.join(path),
        Measure::Sqlite { database, .. } => source.path.join(database),
        Measure::Command(_) | Measure::Postgres { .. } => source.path.clone(),
    };
    match (back, &invariant.measure) {
        (Back::Server(running), Measure::Postgres { .. }) => Some(Place::Server(running.clone())),
        (Back::Files(..), Measure::Postgres { .. }) | (Back::Server(_), _) => None,
        (Back::Files(from, to), _) => {
            let below = of.strip_prefix(from).ok()?;
            // Joined with nothing, a path would end with a slash.
            Some(Place::Path(if below.as_os_str().is_empty() { to.clone() } else { to.join(below) }))
        }
    }
}

struct Checking<'a> {
    ground: &'a Ground<'a>,
    source: &'a Source,
    at: Instant,
    stop: &'a AtomicBool,
}

impl Checking<'_> {
    fn all(&self, invariants: &[(&Invariant, Place)], all: &mut Vec<Checked>) -> Result<(), String> {
        let (config, at) = (self.ground.config, &self.ground.at);
        let index = at.reader().map_err(|e| told(&e))?;
        let whose = self.ground.whose(None)?;
        let view = View::of(&index, &whose, self.at).map_err(|e| told(&e))?;
        let root = self.source.path.as_os_str().as_bytes();
        let Some(part) = view.parts.iter().find(|part| part.source.root == root) else { return Ok(()) };
        let number = part.snapshot.number;
        let recorded = match invariants.iter().all(|(i, _)| matches!(i.measure, Measure::Files(_))) {
            true => None,
            false => measured::newest(at.repo(), &config.host, root, number).map_err(|e| told(&e))?,
        };
        for (invariant, place) in invariants {
            if self.stop.load(Ordering::Relaxed) {
                return Err("it was stopped".into());
            }
            let mut checked = Checked {
                source: hooks::label(self.source),
                name: invariant.name.clone(),
                compare: invariant.compare.to_string(),
                snapshot: None,
                expected: None,
                found: None,
                verdict: Verdict::NotCompared,
                why: None,
            };
            let expected = match &invariant.measure {
                Measure::Files(path) => {
                    files_then(&index, &view, &self.source.path.join(path)).map(|value| (number.0, value))
                }
                _ => self.expected(&index, (&view, number.0), invariant, recorded.as_ref()),
            };
            match expected {
                Err(why) => checked.why = Some(why),
                Ok((snapshot, value)) => {
                    (checked.snapshot, checked.verdict) = (Some(snapshot), Verdict::Broken);
                    match self.measure(invariant, place) {
                        Ok(found) => {
                            if agrees(invariant.compare, &value, &found) {
                                checked.verdict = Verdict::Held;
                            }
                            checked.found = Some(found);
                        }
                        Err(why) => checked.why = Some(why),
                    }
                    checked.expected = Some(value);
                }
            }
            all.push(checked);
        }
        Ok(())
    }

    /// The value that is expected, and of which snapshot it is. The error says why there is none.
    fn expected(
        &self,
        index: &Reader,
        (view, number): (&View, u64),
        invariant: &Invariant,
        recorded: Option<&Measured>,
    ) -> Result<(u64, String), String> {
        let value = recorded.and_then(|r| Some((r, r.values.iter().find(|value| value.name == invariant.name)?)));
        let Some((recorded, value)) = value else {
            return Err(format!(
                "nothing of it was recorded with the newest snapshot up to {number} that has such values"
            ));
        };
        let snapshot = recorded.snapshot.0;
        if value.definition != invariant.definition() {
            return Err(format!("with snapshot {snapshot} something else was measured: the settings have changed"));
        }
        let is_same = match &invariant.measure {
            _ if snapshot == number || invariant.compare != Compare::Exact => true,
            Measure::Sqlite { database, .. } => {
                let path = self.source.path.join(database);
                let whose = self.ground.whose(None)?;
                let then = View::of(index, &whose, Instant(recorded.time_ns)).map_err(|e| told(&e))?;
                let version = |view: &View| row(index, view, &path).map(|row| (row.source, row.ver));
                version(&then)? == version(view)?
            }
            _ => false,
        };
        match is_same {
            true => Ok((snapshot, value.value.clone())),
            false => {
                Err(format!("it was recorded with snapshot {snapshot}, and may be another with snapshot {number}"))
            }
        }
    }

    fn measure(&self, invariant: &Invariant, place: &Place) -> Result<String, String> {
        match (&invariant.measure, place) {
            (Measure::Files(_), Place::Path(path)) => files_now(path, self.stop),
            (Measure::Sqlite { query, .. }, Place::Path(path)) => measuring::sqlite(invariant, path, query, self.stop),
            (Measure::Command(line), Place::Path(path)) => {
                measuring::command(self.source, invariant, line, path, self.stop)
            }
            (Measure::Postgres { database, query }, Place::Server(running)) => {
                running.ask(database, query, invariant.timeout, self.stop).and_then(measuring::value)
            }
            _ => Err("what came back is of another kind".into()),
        }
    }
}

fn row(index: &Reader, view: &View, path: &Path) -> Result<Row, String> {
    match view.look_up(index, path.as_os_str().as_bytes()).map_err(|e| told(&e))? {
        Some(Object::Node(_, row)) => Ok(*row),
        _ => Err(format!("{} was not there then", path.display())),
    }
}

/// The files at and below a path of a view, and their bytes.
fn files_then(index: &Reader, view: &View, path: &Path) -> Result<String, String> {
    let first = row(index, view, path)?;
    let part = view.parts.iter().find(|part| part.source.num == first.source);
    let part = part.ok_or_else(|| format!("{} was not there then", path.display()))?;
    let (mut files, mut bytes, mut open) = (0u64, 0u64, vec![first]);
    while let Some(row) = open.pop() {
        match row.attr.kind() {
            Kind::Dir => {
                open.extend(index.children(part.source.num, row.node, part.snapshot.number).map_err(|e| told(&e))?)
            }
            Kind::File => (files, bytes) = (files + 1, bytes + row.attr.size),
            _ => {}
        }
    }
    Ok(format!("{files} files, {bytes} bytes"))
}

/// The same of what is there now.
fn files_now(path: &Path, stop: &AtomicBool) -> Result<String, String> {
    let (mut files, mut bytes, mut open) = (0u64, 0u64, vec![path.to_owned()]);
    while let Some(path) = open.pop() {
        let failed = |e: std::io::Error| format!("cannot look at {}: {e}", path.display());
        if stop.load(Ordering::Relaxed) {
            return Err("it was stopped".into());
        }
        let meta = std::fs::symlink_metadata(&path).map_err(failed)?;
        if meta.is_dir() {
            for entry in std::fs::read_dir(&path).map_err(failed)? {
                open.push(entry.map_err(failed)?.path());
            }
        } else if meta.is_file() {
            (files, bytes) = (files + 1, bytes + meta.len());
        }
    }
    Ok(format!("{files} files, {bytes} bytes"))
}
