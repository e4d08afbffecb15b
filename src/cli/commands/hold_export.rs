//! `bygone hold export`: all that a hold touches, written out for others.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::ops::ControlFlow;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use serde_json::{Value, json};

use super::audit::in_words;
use super::hold::{event_json, scope_words};
use super::restore;
use crate::cli::args::evidence::HoldExport;
use crate::cli::bar;
use crate::cli::context::{Context, absolute};
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::past::{Past, json_bytes, json_time, kind_word};
use crate::cli::trail;
use crate::crypto::sha256;
use crate::progress::Progress;
use crate::repo::{
    audit::{
        check::{self, Trail},
        event::{Event, Kind, Outcome as Ended, bytes_value},
        who::Who,
    },
    holds::{force::Case, touched::touched, write},
};
use crate::restore::{
    act,
    mapping::Mapping,
    plan::{Plan, Request, Target},
};
use crate::sys::{clock, durable, process::Signals};
use crate::types::{
    hold::{Hold, Shown},
    path,
    snapshot::{Lost, Snapshot, Source},
    time::Instant,
    when::show,
};
use crate::view::{
    diff::{Change, ChangeKind, diff},
    history::versions,
    instant::{Part, View},
};

/// Runs it.
pub(super) fn run(context: &Context, args: &HoldExport) -> Result<Outcome, Failure> {
    let to = absolute(&args.to)?;
    restore::refuse_own(context, &to)?;
    refuse_full(&to)?;
    let signals = Signals::install().explain(|| "cannot take signals over")?;
    let past = Past::open(context)?;
    let case = write::open_case(past.at.repo(), past.at.dir(), &args.case).into_failure()?;
    let audit = trail::open(context, past.at.repo());
    let event = |ended| {
        let event = Event::new(Kind::HoldExport, ended).case(&case.id);
        event.detail("to", bytes_value(to.as_os_str().as_bytes()))
    };
    let begun = trail::told(audit.record(event(Ended::Begun)));
    let bar = bar::on_stderr(!context.quiet && !context.json);
    let mut export =
        Export { context, past: &past, to: &to, changes: Vec::new(), snapshots: Vec::new(), problems: Vec::new() };
    let done = export.all(&case, &*bar, &signals.flag()).and_then(|()| export.papers(&case, audit.who()));
    export.problems.iter().for_each(|problem| tracing::error!("not handed over: {problem}"));
    let (problems, snapshots) = (export.problems.len(), export.snapshots.len());
    let outcome = done.map(|()| if problems == 0 { past.outcome } else { Outcome::Partial });
    let outcome = trail::ended_and_stored(&audit, past.at.repo(), outcome, |ended| {
        event(ended).detail("snapshots", snapshots).detail("problems", problems)
    })?;
    let mut out = context.out();
    match context.json {
        true => out.json(&json!({ "case": case.id, "to": to, "snapshots": snapshots, "problems": problems }))?,
        false if !context.quiet => out.line(format_args!(
            "wrote what {snapshots} snapshot(s) have for the case {} to {}; check it there with `sha256sum -c SHA256SUMS`",
            path::show(case.id.as_bytes()),
            to.display()
        ))?,
        false => {}
    }
    out.finish()?;
    if snapshots == 0 {
        tracing::warn!("the case {} touches no snapshot: there is nothing to hand over but its papers", case.id);
    }
    Ok(outcome.and(begun))
}

fn refuse_full(to: &Path) -> Result<(), Failure> {
    match std::fs::read_dir(to).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Ok(false) => Err(Failure::new(format!("{} is not empty", to.display())).hint("name a new directory")),
        Err(e) => Err(Failure::new(format!("cannot look into {}", to.display())).because(&e)),
    }
}

/// Those of some paths that lie in sources and at which nothing was ever captured.
pub(super) fn never_captured(past: &Past, paths: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, Failure> {
    let sources = past.index.sources()?;
    let mut never = Vec::new();
    for wanted in paths {
        let (mut within, mut was) = (false, false);
        for source in sources.iter().filter(|s| path::is_within(wanted, &s.root)) {
            within = true;
            was = was || !versions(&past.index, source, wanted)?.is_empty();
        }
        if within && !was {
            never.push(wanted.clone());
        }
    }
    Ok(never)
}

/// An export as it goes on.
struct Export<'a> {
    context: &'a Context,
    past: &'a Past,
    to: &'a Path,
    /// The lines of `CHANGES.jsonl`.
    changes: Vec<u8>,
    snapshots: Vec<(Source, Snapshot)>,
    problems: Vec<String>,
}

impl Export<'_> {
    fn all(&mut self, case: &Case, progress: &dyn Progress, stop: &AtomicBool) -> Result<(), Failure> {
        let holds: Vec<Hold> = case.placements.iter().filter(|p| !p.released).map(|p| p.hold.clone()).collect();
        durable::create_dirs(self.to, 0o700).explain(|| format!("cannot make {}", self.to.display()))?;
        let paths: Vec<Vec<u8>> = holds.iter().flat_map(|hold| hold.scope.paths.iter().cloned()).collect();
        for never in never_captured(self.past, &paths)? {
            self.problems.push(format!("{}: nothing was ever captured there", path::show(&never)));
        }
        for source in self.past.index.sources()? {
            self.note_lost(&source, &holds)?;
            let mut before: BTreeMap<Vec<u8>, View> = BTreeMap::new();
            for (snapshot, paths) in touched(&self.past.index, &holds, &source)? {
                let part = Part { source: source.clone(), snapshot: snapshot.clone() };
                let view = View { at: snapshot.time, parts: vec![part], lost: Vec::new() };
                let nothing = View { at: snapshot.time, parts: Vec::new(), lost: Vec::new() };
                let mut wanted = BTreeSet::new();
                for within in &paths {
                    let last = before.get(within).unwrap_or(&nothing);
                    self.note_changes(last, &view, within, &mut wanted)?;
                    before.insert(within.clone(), view.clone());
                }
                before.retain(|within, _| paths.contains(within));
                self.write(&view, &source, wanted, progress, stop)?;
                self.snapshots.push((source.clone(), snapshot));
            }
        }
        Ok(())
    }

    /// What the hold touches and no repository has any more is said.
    fn note_lost(&mut self, source: &Source, holds: &[Hold]) -> Result<(), Failure> {
        for Lost { first, last, after, before, why, .. } in self.past.index.lost(source.num)? {
            let shown = Shown { from: after, next: Some(before) };
            if holds.iter().any(|hold| hold.touches(shown, source)) {
                let root = path::show(&source.root);
                self.problems.push(format!("{root} on {}: snapshots {first} to {last} are lost: {why}", source.host));
            }
        }
        Ok(())
    }

    /// Notes what is in a view and was not, or was otherwise, in the one before, and what of it is to be written.
    fn note_changes(
        &mut self,
        before: &View,
        view: &View,
        within: &[u8],
        wanted: &mut BTreeSet<Vec<u8>>,
    ) -> Result<(), Failure> {
        let part = &view.parts[0];
        let first = before.parts.is_empty();
        let mut lines = Vec::new();
        diff(&self.past.index, before, view, within, |change| {
            let is_in = |p: &[u8]| path::is_within(p, within);
            if !is_in(&change.path) && !change.old_path.as_deref().is_some_and(is_in) {
                return Ok::<_, Failure>(ControlFlow::Continue(()));
            }
            // A directory that is the same one is not written again with all that is in it.
            let same_dir = change.kind == ChangeKind::Modified
                && !change.is_replaced()
                && change.after.as_ref().is_some_and(|row| row.node.is_dir());
            if change.after.is_some() && change.kind != ChangeKind::Removed && !same_dir && is_in(&change.path) {
                wanted.insert(change.path.clone());
            }
            lines.extend(serde_json::to_vec(&change_json(part, &change, first)).explain(|| "cannot write JSON")?);
            lines.push(b'\n');
            Ok(ControlFlow::Continue(()))
        })?;
        self.changes.extend(lines);
        Ok(())
    }

    /// Writes paths as a snapshot has them.
    fn write(
        &mut self,
        view: &View,
        source: &Source,
        wanted: BTreeSet<Vec<u8>>,
        progress: &dyn Progress,
        stop: &AtomicBool,
    ) -> Result<(), Failure> {
        let base = self.to.join(place(source, view.at));
        let mut by_dir: BTreeMap<PathBuf, Vec<Vec<u8>>> = BTreeMap::new();
        let mut last: Option<Vec<u8>> = None;
        for at in wanted {
            // What is below a directory that is written comes with it.
            if last.as_ref().is_some_and(|last| path::is_within(&at, last)) {
                continue;
            }
            let above = match at.iter().rposition(|b| *b == b'/') {
                Some(slash) if at.len() > 1 => base.join(
                    Path::new(std::ffi::OsStr::from_bytes(at[..slash].trim_ascii_start()))
                        .strip_prefix("/")
                        .unwrap_or(Path::new("")),
                ),
                _ => base.clone(),
            };
            last = Some(at.clone());
            by_dir.entry(above).or_default().push(at);
        }
        let guarded = self.context.guarded()?;
        for (dir, paths) in by_dir {
            durable::create_dirs(&dir, 0o700).explain(|| format!("cannot make {}", dir.display()))?;
            let spared = |_: &[u8], _: bool| false;
            let target = Target::To(dir);
            let request = Request {
                view,
                paths: &paths,
                target,
                mapping: &Mapping::default(),
                guarded: &guarded,
                spared: &spared,
                newest: None,
            };
            let plan = Plan::make(&self.past.index, &request).into_failure()?;
            let report = act::act(&self.past.at, plan, progress, stop).into_failure()?;
            self.problems.extend(report.problems.iter().map(|p| format!("{}: {}", path::show(&p.path), p.why)));
            if report.stopped {
                return Err(Failure::new("interrupted before everything was written")
                    .hint("remove the directory, and run the same command again"));
            }
        }
        Ok(())
    }

    /// Everything that goes with the files: what they are, where they come from, and their sums.
    fn papers(&mut self, case: &Case, who: &Who) -> Result<(), Failure> {
        let trail = check::check(self.past.at.repo(), self.past.at.dir()).into_failure()?;
        let now = clock::now();
        let custody = self.custody(case, who, &trail, now);
        let custody_json = serde_json::to_vec_pretty(&custody).explain(|| "cannot write JSON")?;
        let text = self.custody_text(case, who, &trail, now);
        let changes = std::mem::take(&mut self.changes);
        let papers: [(&str, &[u8]); 4] = [
            ("CHANGES.jsonl", &changes),
            ("CUSTODY.json", &custody_json),
            ("CUSTODY.txt", text.as_bytes()),
            ("README.txt", README.as_bytes()),
        ];
        for (name, bytes) in papers {
            durable::write_new(&self.to.join(name), bytes, 0o600).explain(|| "cannot write the export")?;
        }
        let sums = sums(self.to)?;
        durable::write_new(&self.to.join("SHA256SUMS"), &sums, 0o600).explain(|| "cannot write the export")
    }

    fn custody(&self, case: &Case, who: &Who, trail: &Trail, now: Instant) -> Value {
        let snapshots: Vec<Value> = self.snapshots.iter().map(|(source, s)| json!({
            "host": source.host, "source": json_bytes(&source.root), "source_id": source.id.to_string(), "number": s.number.0,
            "time": json_time(s.time), "tier": s.tier.word(), "record_hash": s.hash.to_string(),
            "directory": json_bytes(place(source, s.time).as_os_str().as_bytes()),
        })).collect();
        let entries: Vec<Value> = about(trail, case)
            .map(|s| json!({ "hash": s.hash.to_string(), "object": s.place.name(), "text": s.text }))
            .collect();
        json!({
            "case": case.id, "exported_at": json_time(now), "exported_by": who,
            "repository": { "id": self.past.at.repo().id().to_string(), "location": self.past.at.repo().store().location() },
            "events": case.events.iter().map(event_json).collect::<Vec<_>>(),
            "snapshots": snapshots, "audit_entries": entries,
            "verification": {
                "content": "each byte was authenticated with the keys of the repository when it was read",
                "not_exported": self.problems,
                "audit_trail_entries": trail.entries.len(),
                "audit_trail_problems": trail.problems.iter().map(super::audit::problem_words).collect::<Vec<_>>(),
                "last_check_of_the_repository": last_check(trail),
            },
        })
    }

    fn custody_text(&self, case: &Case, who: &Who, trail: &Trail, now: Instant) -> String {
        let text = |text: &str| path::show(text.as_bytes());
        let mut lines = vec![
            format!("CHAIN OF CUSTODY: case {}", text(&case.id)),
            String::new(),
            format!("Exported   {} by {}", show::exact_name(now), text(&who.words())),
            format!("With       {}, process {}", text(&who.program), who.pid),
            format!(
                "From       the repository {} at {}",
                self.past.at.repo().id(),
                self.past.at.repo().store().location()
            ),
            String::new(),
            "What was ordered".to_owned(),
        ];
        for placement in case.placements.iter().filter(|p| !p.released) {
            let hold = &placement.hold;
            lines.push(format!(
                "  {} for {}: {}",
                show::exact_name(placement.event.time),
                text(&hold.owner),
                text(&hold.reason)
            ));
            lines.extend(scope_words(self.past, &hold.scope).into_iter().map(|line| format!("      {line}")));
        }
        lines.extend([String::new(), "What it was taken from".to_owned()]);
        for (source, s) in &self.snapshots {
            let root = path::show(&source.root);
            lines.push(format!(
                "  {} {root} on {}: snapshot {}",
                show::exact_name(s.time),
                text(&source.host),
                s.number
            ));
            lines.push(format!("      record hash {}", s.hash));
        }
        lines.extend([String::new(), "What the audit trail says of the case".to_owned()]);
        lines.extend(about(trail, case).map(|s| format!("  {}  {}", show::exact_name(s.entry.time()), in_words(s))));
        lines.extend([String::new(), "What was checked".to_owned()]);
        lines.push(
            "  Content: each byte was authenticated with the keys of the repository when it was read.".to_owned(),
        );
        lines.push(match trail.problems.len() {
            0 => format!("  Audit trail: {} entries, none altered or missing.", trail.entries.len()),
            n => format!("  Audit trail: NOT WHOLE, {n} problem(s); CUSTODY.json names them."),
        });
        lines.push(match self.problems.len() {
            0 => "  Everything that the hold touches was written.".to_owned(),
            n => format!("  {n} item(s) could NOT be written as they were:"),
        });
        lines.extend(self.problems.iter().map(|problem| format!("    {}", text(problem))));
        lines.push(String::new());
        lines.join("\n")
    }
}

/// The directory of a snapshot, below the one that is written to.
fn place(source: &Source, at: Instant) -> PathBuf {
    Path::new(&source.host).join(show::exact_name(at))
}

fn about<'a>(trail: &'a Trail, case: &'a Case) -> impl Iterator<Item = &'a crate::repo::audit::entry::Stored> {
    let is_about = |subject: Option<&Value>| subject.and_then(Value::as_str) == Some(&case.id);
    trail.entries.iter().filter(move |stored| is_about(stored.entry.subject.get("case")))
}

fn last_check(trail: &Trail) -> Value {
    let last = trail.entries.iter().rev().find(|stored| stored.entry.kind == Kind::Verify.word());
    last.map_or(Value::Null, |stored| {
        let entry = &stored.entry;
        json!({ "time": json_time(entry.time()), "outcome": entry.outcome, "details": entry.details })
    })
}

fn change_json(part: &Part, change: &Change, first: bool) -> Value {
    let what = match change.kind {
        ChangeKind::Added if first => "present",
        ChangeKind::Added => "added",
        ChangeKind::Removed => "removed",
        ChangeKind::Renamed => "renamed",
        ChangeKind::Modified => "modified",
        ChangeKind::Type => "of another type",
    };
    let is = change.after.as_ref().map(|row| {
        let a = &row.attr;
        json!({
            "type": kind_word(a.kind()), "size": a.size, "mode": format!("{:04o}", a.mode & 0o7777), "uid": a.uid, "gid": a.gid,
            "mtime_s": a.mtime.sec, "mtime_ns": a.mtime.nsec,
        })
    });
    json!({
        "host": part.source.host, "source": json_bytes(&part.source.root), "snapshot": part.snapshot.number.0,
        "time": json_time(part.snapshot.time), "path": json_bytes(&change.path), "what": what,
        "old_path": change.old_path.as_deref().map(json_bytes), "is": is,
    })
}

/// The sums of all regular files below a directory, in the order of their names.
fn sums(base: &Path) -> Result<Vec<u8>, Failure> {
    let mut files = Vec::new();
    let mut dirs = vec![PathBuf::new()];
    while let Some(dir) = dirs.pop() {
        let at = base.join(&dir);
        for entry in std::fs::read_dir(&at).explain(|| format!("cannot list {}", at.display()))? {
            let entry = entry.explain(|| format!("cannot list {}", at.display()))?;
            let kind = entry.file_type().explain(|| format!("cannot look at {}", entry.path().display()))?;
            let below = dir.join(entry.file_name());
            match (kind.is_dir(), kind.is_file()) {
                (true, _) => dirs.push(below),
                (_, true) => files.push(below.into_os_string().into_vec()),
                _ => {}
            }
        }
    }
    files.sort();
    let mut lines = Vec::new();
    let mut buffer = vec![0; 1 << 20];
    for file in files {
        let at = base.join(std::ffi::OsStr::from_bytes(&file));
        let what = || format!("cannot read {} back", at.display());
        let mut from = std::fs::File::open(&at).explain(what)?;
        let mut sum = sha256::Sum::default();
        loop {
            match from.read(&mut buffer).explain(what)? {
                0 => break,
                n => sum.update(&buffer[..n]),
            }
        }
        lines.extend(sha256::line(&sum.finish(), &file));
    }
    Ok(lines)
}

const README: &str = "\
What this directory is

It holds all that a legal hold touches, as a backup system (bygone) has kept it. Nothing in it was selected by hand.

<host>/<instant>/<path>  Files as they were at that instant, in Coordinated Universal Time, on that machine.
CHANGES.jsonl            What became of each path at each instant: present at first, added, modified, renamed, removed.
CUSTODY.txt              Where all of this comes from, who exported it when, and what was checked. CUSTODY.json says the same for
                         programs.
SHA256SUMS               The checksum of each file here. `sha256sum -c SHA256SUMS`, run in this directory, compares them.

How to read it

The backup has many instants, and most files do not change from one to the next. So each version of a file is here once: below
the first instant that has it. A file that is not below a later instant was then as below the instant before, unless
CHANGES.jsonl says that it was removed or renamed. The first instant of a source may lie before the time that the hold names: it
is the one that shows what was there when that time began. A directory that was renamed is here again under its new name, with
all that was in it.

Files have the times and, as far as the exporting user could set them, the owners and permissions that they had. Names that lead to
files elsewhere (symbolic links) are here as such; they, devices and empty directories have no checksum and are named in
CHANGES.jsonl.
";
