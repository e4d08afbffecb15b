//! What a restore of a plan has made, noted beside the run's journal: taking it back removes that, and nothing else.

use super::anchor::{Anchor, as_value};
use super::places::RunDir;
use crate::restore::plan::{Action, DirAction, Plan};
use crate::sys::{dir, durable, make, stat};
use crate::types::{
    attr::{Attr, Kind, Place},
    ids::{SourceNum, Ver},
    path,
    time::Time,
};
use rustix::fd::OwnedFd;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;

/// All that the attempts of one step have made.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Made {
    pub(super) parts: Vec<Part>,
}

/// What was made in one place.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    /// The place.
    pub(super) base: Anchor,
    /// What the directories are called in which what was replaced is kept.
    pub(super) aside: Option<String>,
    /// Where such directories may be, below the place.
    pub(super) asides: Vec<Below>,
    /// The numbers of the first temporary names of the processes that made something here.
    firsts: Vec<u64>,
    /// What was made, by its path below the place.
    #[serde(with = "things")]
    pub(super) things: BTreeMap<Vec<u8>, Thing>,
}

/// A path below the place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Below(#[serde(with = "as_value")] pub(super) Vec<u8>);

/// One name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Thing {
    /// What is made there; none where something is only removed, or gets other attributes.
    pub(super) make: Option<Make>,
    /// Whether something stood there, which is kept aside.
    pub(super) over: bool,
}

/// What is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Make {
    /// The type bits of its mode.
    kind: u32,
    /// Its size in bytes.
    pub(super) size: u64,
    /// Its time of modification.
    mtime: (i64, u32),
    /// The source and the version that it is of.
    pub(super) of: Option<(u16, u64)>,
    /// What it was when the restore was through: device, inode number and time of change.
    pub(super) was: Option<(u64, u64, (i64, u32))>,
}

fn pair(time: Time) -> (i64, u32) {
    (time.sec, time.nsec)
}

impl Make {
    fn new(attr: &Attr, of: Option<(SourceNum, Ver)>) -> Make {
        Make {
            kind: attr.kind().mode_bits(),
            size: attr.size,
            mtime: pair(attr.mtime),
            of: of.map(|(source, ver)| (source.0, ver.0)),
            was: None,
        }
    }

    fn dir() -> Make {
        Make { kind: Kind::Dir.mode_bits(), size: 0, mtime: (0, 0), of: None, was: None }
    }

    pub(super) fn kind(&self) -> Option<Kind> {
        Kind::from_mode(self.kind)
    }

    /// Whether this is the inode that was made; where nobody could note that, any one may be.
    pub(super) fn is_place(&self, now: &stat::Stat) -> bool {
        self.was.is_none_or(|(dev, ino, _)| now.place == Place { dev, ino })
    }

    /// Whether nothing at all has happened to it since the restore was through.
    pub(super) fn is_untouched(&self, now: &stat::Stat) -> bool {
        self.was.is_some_and(|(.., ctime)| pair(now.ctime) == ctime) && self.is_place(now) && self.is_like(now)
    }

    /// Whether type, size and time of modification are those that were restored.
    fn is_like(&self, now: &stat::Stat) -> bool {
        let is_file = self.kind() == Some(Kind::File);
        now.kind() == self.kind() && (!is_file || now.size == self.size && pair(now.mtime) == self.mtime)
    }
}

impl Made {
    fn file(run: &RunDir, step: &str) -> std::path::PathBuf {
        run.path.join("made").join(format!("{step}.json"))
    }

    /// What is noted of a step; none where no restore of it has begun.
    pub(super) fn load(run: &RunDir, step: &str) -> Result<Option<Made>, String> {
        let file = Made::file(run, step);
        let failed = |why: String| format!("cannot read what the step has made, {}: {why}", file.display());
        match std::fs::read(&file) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(failed(e.to_string())),
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|e| failed(e.to_string())),
        }
    }

    /// Writes it down, durably.
    pub(super) fn save(&self, run: &RunDir, step: &str) -> Result<(), String> {
        let failed = |why: &dyn std::fmt::Display| format!("cannot note what the step makes: {why}");
        let bytes = serde_json::to_vec(self).map_err(|e| failed(&e))?;
        durable::create_dirs(&run.path.join("made"), 0o700).map_err(|e| failed(&e))?;
        durable::replace(&Made::file(run, step), &bytes, 0o600).map_err(|e| failed(&e))
    }

    /// Adds what a restore is about to make. What an attempt before has made, and this one finds, stays noted. Gives what the
    /// directories are called in which what is replaced is kept.
    pub(super) fn add(&mut self, plan: &Plan, aside: &str) -> io::Result<()> {
        let same = |part: &Part| part.base.still_leads(&plan.base);
        let at = match self.parts.iter().position(same) {
            Some(at) => at,
            None => {
                let base = Anchor::of(&plan.base)?;
                self.parts.push(Part { base, aside: None, asides: vec![], firsts: vec![], things: BTreeMap::new() });
                self.parts.len() - 1
            }
        };
        let part = &mut self.parts[at];
        let first = make::first_temp()?;
        if !part.firsts.contains(&first) {
            part.firsts.push(first);
        }
        part.plan(plan);
        if part.things.values().any(|thing| thing.over) {
            part.aside = Some(aside.to_owned());
            part.asides.extend(plan.anchors.iter().cloned().map(Below));
            part.asides.sort();
            part.asides.dedup();
        }
        Ok(())
    }

    /// Notes what stands there now, where it is what was to be made.
    pub(super) fn settle(&mut self) {
        for part in &mut self.parts {
            let Ok(above) = part.base.open() else { continue };
            let Ok(base) = dir::open_beneath(&above, part.base.rest()) else { continue };
            for (path, thing) in &mut part.things {
                let Some(make) = &mut thing.make else { continue };
                if let Ok(now) = look(&base, path)
                    && make.is_like(&now)
                {
                    make.was = Some((now.place.dev, now.place.ino, pair(now.ctime)));
                }
            }
        }
    }
}

fn look(base: &OwnedFd, below: &[u8]) -> io::Result<stat::Stat> {
    let (parent, name) = dir::open_parent_beneath(base, below)?;
    stat::at(parent, name)
}

impl Part {
    fn plan(&mut self, plan: &Plan) {
        for removal in plan.clear.iter().chain(&plan.remove) {
            self.note(removal.path.clone(), None, true);
        }
        for (n, dir) in plan.dirs.iter().enumerate().skip(1) {
            match dir.action {
                DirAction::Create => self.note(plan.dir_path(n), Some(Make::dir()), false),
                DirAction::Replace => self.note(plan.dir_path(n), Some(Make::dir()), true),
                DirAction::Change => self.note(plan.dir_path(n), None, false),
                DirAction::Keep => {}
            }
        }
        for file in &plan.files {
            let path = path::join(&plan.dir_path(file.dir), &file.name);
            let make = || Some(Make::new(&file.wanted.attr, Some((file.source, file.ver))));
            match file.action {
                Action::Change => self.note(path, None, false),
                Action::Create | Action::Replace | Action::Link { .. } => self.note(path, make(), file.was.is_some()),
            }
        }
    }

    fn note(&mut self, below: Vec<u8>, make: Option<Make>, over: bool) {
        match self.things.get_mut(&below) {
            // What stands there now was made by an attempt before.
            Some(known) if known.make.is_some() => known.make = make.or(known.make.take()),
            Some(known) => *known = Thing { make, over: known.over || over },
            None => drop(self.things.insert(below, Thing { make, over })),
        }
    }

    /// Whether a name is one that an unfinished file of this restore may have.
    pub(super) fn is_unfinished(&self, name: &[u8]) -> bool {
        self.firsts.iter().any(|first| make::is_temp_after(name, *first))
    }

    /// The path of something below the place, as it was named.
    pub(super) fn path(&self, below: &[u8]) -> Vec<u8> {
        path::join(&self.base.path(), below)
    }

    fn aside_name(&self) -> Option<Vec<u8>> {
        self.aside.as_ref().map(|id| format!("{}{id}", path::ASIDE_PREFIX).into_bytes())
    }

    /// The directories in which what was replaced may be kept, below the place.
    pub(super) fn aside_dirs(&self) -> Vec<Vec<u8>> {
        let of = |name: Vec<u8>| self.asides.iter().map(|at| path::join(&at.0, &name)).collect();
        self.aside_name().map_or_else(Vec::new, of)
    }

    /// Where what stood at a path may be kept, below the place; the likeliest first.
    pub(super) fn aside_of(&self, below: &[u8]) -> Vec<Vec<u8>> {
        let Some(name) = self.aside_name() else { return Vec::new() };
        let rest = |at: &Below| match at.0.is_empty() {
            true => Some(below.to_vec()),
            false => below.strip_prefix(at.0.as_slice()).and_then(|r| r.strip_prefix(b"/")).map(<[u8]>::to_vec),
        };
        // The nearest one above is the last in order.
        let all = self.asides.iter().rev().filter_map(|at| rest(at).map(|rest| (at, rest)));
        all.map(|(at, rest)| path::join(&path::join(&at.0, &name), &rest)).collect()
    }
}

mod things {
    use super::{Below, Thing};
    use serde::{Deserialize as _, Deserializer, Serializer};
    use std::collections::BTreeMap;

    pub(super) fn serialize<S: Serializer>(things: &BTreeMap<Vec<u8>, Thing>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(things.iter().map(|(path, thing)| (Below(path.clone()), thing)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<Vec<u8>, Thing>, D::Error> {
        let all = Vec::<(Below, Thing)>::deserialize(from)?;
        Ok(all.into_iter().map(|(path, thing)| (path.0, thing)).collect())
    }
}
