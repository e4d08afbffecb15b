//! What `bygone repair` tells: as text, as JSON, and in the audit trail.

use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::outcome::{Failure, Outcome};
use crate::cli::past::{json_bytes, json_time};
use crate::cli::sizes::show_size;
use crate::repair::{
    contents::{Contents, LostVersion},
    histories::{Deed, History},
};
use crate::repo::{
    attach::Attached,
    audit::event::{Event, Kind, Outcome as Ended, bytes_value},
    names,
};
use crate::types::{ids::Snap, path, time::Instant, when::show::exact_name};
use crate::verify::report::Problem;

/// So many lost versions are named in one entry of the audit trail.
const NOTED_MAX: usize = 1000;

/// All there is to tell.
pub(super) struct Told<'a> {
    pub(super) context: &'a Context,
    pub(super) at: &'a Attached,
    pub(super) found: &'a Contents,
    pub(super) histories: &'a [History],
    pub(super) remains: &'a [Problem],
}

impl Told<'_> {
    /// Done only where nothing is lost and nothing is wrong any more.
    pub(super) fn outcome(&self) -> Outcome {
        let whole = |history: &History| matches!(history.deed, Deed::Rewritten(_));
        match self.found.lost.is_empty() && self.remains.is_empty() && self.histories.iter().all(whole) {
            true => Outcome::Done,
            false => Outcome::Partial,
        }
    }

    /// What goes into the audit trail: nothing where there was nothing to do.
    pub(super) fn events(&self) -> Vec<Event> {
        let found = self.found;
        if found.lost.is_empty() && found.frames.is_empty() && found.made.is_empty() && self.histories.is_empty() {
            return Vec::new();
        }
        let ended = if self.outcome() == Outcome::Done { Ended::Done } else { Ended::Partial };
        let histories: Vec<Value> = self.histories.iter().map(history_json).collect();
        let new = found.lost.iter().filter(|lost| !lost.known).count();
        let first = Event::new(Kind::Repair, ended)
            .detail("frames", found.frames.len())
            .detail("statements", found.statements.clone())
            .detail("chunks_from_packs", found.from_packs)
            .detail("chunks_from_disk", found.from_disk)
            .detail("stored_bytes", found.stored_bytes)
            .detail("lost_versions", found.lost.len())
            .detail("new_lost_versions", new)
            .detail("remaining_problems", self.remains.len())
            .detail("histories", histories);
        let mut events = vec![first];
        for (n, part) in found.lost.chunks(NOTED_MAX).enumerate() {
            let versions: Vec<Value> = part.iter().map(noted).collect();
            match n {
                0 => events[0] = events[0].clone().detail("lost", versions),
                _ => events.push(Event::new(Kind::Repair, ended).detail("part", n + 1).detail("lost", versions)),
            }
        }
        events
    }

    /// Prints it.
    pub(super) fn tell(&self, trial: bool) -> Result<(), Failure> {
        match self.context.json {
            true => self.as_json(trial),
            false => self.as_text(trial),
        }
    }

    fn as_json(&self, trial: bool) -> Result<(), Failure> {
        let mut out = self.context.out();
        for lost in &self.found.lost {
            let (from, until) = self.times(lost)?;
            let file = &lost.of.file;
            out.json(&json!({
                "kind": "lost", "host": file.host, "path": json_bytes(&file.path), "from": file.from, "to": file.to,
                "from_time": from.map(json_time), "to_time": until.map(json_time), "known": lost.known,
            }))?;
        }
        for history in self.histories {
            out.json(&history_json(history))?;
        }
        for p in self.remains {
            out.json(
                &json!({ "kind": "remains", "object": p.object, "part": p.part, "why": p.why, "to_do": p.to_do }),
            )?;
        }
        let found = self.found;
        let files: Vec<Value> = found.files.iter().map(|path| json_bytes(path)).collect();
        out.json(&json!({
            "kind": "done", "dry_run": trial, "frames": found.frames.len(), "chunks_from_packs": found.from_packs,
            "chunks_from_disk": found.from_disk, "files": files, "stored_bytes": found.stored_bytes, "statements": found.statements,
            "lost": found.lost.len(), "new_lost": found.lost.iter().filter(|lost| !lost.known).count(),
            "remains": self.remains.len(),
        }))?;
        out.finish()
    }

    fn as_text(&self, trial: bool) -> Result<(), Failure> {
        let mut out = self.context.out();
        let (found, word) = (self.found, if trial { "would be" } else { "is" });
        for file in &found.files {
            out.line(format_args!(
                "{}: the disk still has what was lost of it, which {word} stored anew",
                path::show(file)
            ))?;
        }
        for lost in &found.lost {
            let (from, until) = self.times(lost)?;
            let file = &lost.of.file;
            let shown = |at: Option<Instant>| at.map_or_else(|| "?".to_owned(), exact_name);
            let to = match file.to {
                Some(to) => format!("to {} ({} up to before {})", to - 1, shown(from), shown(until)),
                None => format!("on ({} until now)", shown(from)),
            };
            let known = if lost.known { "; known before" } else { "" };
            out.line(format_args!(
                "lost: {} on {}, from snapshot {} {to}{known}",
                path::show(&file.path),
                file.host,
                file.from
            ))?;
        }
        for history in self.histories {
            out.line(history_text(history, word))?;
        }
        for p in self.remains {
            out.line(format_args!("not to be repaired without a copy: {p}\n  to do: {}", p.to_do))?;
        }
        if !self.context.quiet {
            let count = found.from_packs + found.from_disk;
            out.line(format_args!(
                "{} frame(s) of damaged packs: {count} chunk(s), {} from the packs and {} from the disk, {word} stored anew, {}",
                found.frames.len(),
                found.from_packs,
                found.from_disk,
                show_size(found.stored_bytes)
            ))?;
            out.line(match found.lost.len() {
                0 => "no version of a file is lost".to_owned(),
                n => format!(
                    "{n} version(s) of files are lost, each of them named above; all else can be read and restored"
                ),
            })?;
        }
        out.finish()
    }

    /// The times of the first snapshot that shows a version and of the first that does not any more.
    fn times(&self, lost: &LostVersion) -> Result<(Option<Instant>, Option<Instant>), Failure> {
        let reader = self.at.reader().map_err(|e| Failure::from_error(&e))?;
        let time = |number: u64| reader.snapshot(lost.of.source, Snap(number)).map(|s| s.map(|s| s.time));
        Ok((time(lost.of.file.from)?, lost.of.file.to.map(time).transpose()?.flatten()))
    }
}

fn noted(lost: &LostVersion) -> Value {
    let file = &lost.of.file;
    json!({ "host": file.host, "path": bytes_value(&file.path), "from": file.from, "to": file.to, "known": lost.known })
}

fn history_json(history: &History) -> Value {
    let (did, more) = match &history.deed {
        Deed::Rewritten(upto) => ("rewritten", json!({ "upto": upto.0 })),
        Deed::GivenUp(what) => {
            let ranges: Vec<Value> =
                what.lost.iter().map(|l| json!({ "first": l.first.0, "last": l.last.0 })).collect();
            let named: Vec<u64> = what.named.iter().map(|n| n.number.0).collect();
            let objects: Vec<&str> = what.objects.iter().map(|(name, _)| name.as_str()).collect();
            ("given-up", json!({ "lost": ranges, "named": named, "objects": objects }))
        }
        Deed::Left(why) => ("left", json!({ "why": why })),
    };
    let source = &history.source;
    json!({ "kind": "history", "host": source.host, "source": json_bytes(&source.root), "did": did, "more": more })
}

fn history_text(history: &History, word: &str) -> String {
    let of = format!("the history of {} on {}", path::show(&history.source.root), history.source.host);
    match &history.deed {
        Deed::Rewritten(upto) => {
            format!("{of} {word} written again from this host's index, up to snapshot {upto}: nothing of it is lost")
        }
        Deed::GivenUp(what) => {
            let mut parts: Vec<String> =
                what.lost.iter().map(|l| format!("snapshots {} to {}", l.first, l.last)).collect();
            parts.extend(what.named.iter().map(ToString::to_string));
            parts.extend(what.objects.iter().map(|(name, why)| format!("{name} ({why})")));
            format!("lost: of {of}: {}; the rest {word} a merged history now", parts.join(", "))
        }
        Deed::Left(why) => format!("{of} ({}) stays as it is: {why}", names::journal(history.source.id)),
    }
}
