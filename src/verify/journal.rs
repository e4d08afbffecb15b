//! Journals, read again from the store from their first record on, and compared with what this host has seen of them.

use crate::index::{check::SegmentRow, error::IndexError, tree::Reader};
use crate::progress::Progress;
use crate::repo::{
    collect::{merged::MergedHead, take},
    error::{Damage, RepoError},
    names::{self, Merged, Segment},
    open::Repository,
    record::{Closing, Opening, Part, RecordHasher},
    segment::{self, SEGMENT_MAX},
};
use crate::types::{
    ids::{Hash, Id, Snap},
    snapshot::{Source, Tier},
    time::Instant,
};
use crate::verify::{
    chains::{Chains, Link},
    check::VerifyError,
    merged,
    report::Report,
};
use std::{
    collections::{BTreeMap, HashSet},
    sync::atomic::{AtomicBool, Ordering},
};

const TO_DO: &str = "keep this host's state directory: its index still shows this history, and `bygone maintain` writes it again from \
                     there; or put back a good copy of the object from another copy of the repository";

const TO_DO_UNSEEN: &str = "put back a good copy of the object from another copy of the repository, or run `bygone maintain` on a host \
                            whose index has seen it; where neither will ever be, `bygone maintain --give-up SOURCE` lets it go";

/// Checks every journal.
pub(super) fn check(
    repo: &Repository,
    index: &Reader,
    progress: &dyn Progress,
    stop: &AtomicBool,
    report: &mut Report,
) -> Result<(), VerifyError> {
    let mut journals: BTreeMap<Id, Vec<Segment>> = BTreeMap::new();
    let objects = repo.store().list(names::JOURNAL).map_err(RepoError::from)?;
    let merged = take::newest(objects.iter().map(|o| o.name.as_str()));
    for object in objects {
        match (Segment::parse(&object.name), Merged::parse(&object.name)) {
            (Some(segment), _) => journals.entry(segment.source).or_default().push(segment),
            (_, Some(merged)) => drop(journals.entry(merged.source).or_default()),
            (None, None) => report.strangers.push(object.name),
        }
    }
    let sources = index.sources()?;
    for source in &sources {
        // A branch lies in the journal of the source that it branched off, and is checked with it.
        let rows = index.segments(source.num)?;
        if rows.is_empty() || rows.iter().any(|row| row.name.starts_with(&names::journal(source.id))) {
            journals.entry(source.id).or_default();
        }
    }
    for (id, mut segments) in journals {
        segments.sort();
        let source = sources.iter().find(|s| s.id == id);
        let branches: Vec<&Source> = sources.iter().filter(|s| source.is_some_and(|of| s.may_branch_off(of))).collect();
        let mut seen = source.map(|s| index.segments(s.num)).transpose()?.unwrap_or_default();
        for branch in &branches {
            let of_it = index.segments(branch.num)?.into_iter().filter(|row| row.name.starts_with(&names::journal(id)));
            let new: Vec<SegmentRow> = of_it.filter(|row| !seen.iter().any(|s| s.name == row.name)).collect();
            seen.extend(new);
        }
        let merged = merged.iter().find(|m| m.source == id);
        let head = match merged {
            Some(merged) => merged::check(repo, index, (merged, source), progress, report)?,
            None => None,
        };
        let at = match &head {
            Some(head) => {
                segments.retain(|segment| !head.covers(segment));
                let upto = &head.upto;
                Head { number: upto.number, hash: upto.hash, time: upto.time }
            }
            None => Head { number: Snap(0), hash: Hash::ZERO, time: Instant(i64::MIN) },
        };
        // What a merged history says is checked with it.
        seen.retain(|row| Merged::parse(&row.name).is_none());
        let mut chain = Chain {
            repo,
            index,
            source,
            merged: head,
            at,
            open: None,
            skipping: None,
            seen,
            branches,
            told: false,
            records: BTreeMap::new(),
            report,
        };
        chain.names(&segments);
        for segment in &segments {
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            chain.segment(segment, progress)?;
        }
        chain.finish(id)?;
    }
    Ok(())
}

/// The last record that was read and followed.
struct Head {
    number: Snap,
    hash: Hash,
    time: Instant,
}

/// A record of which some parts have been read.
struct Open {
    number: Snap,
    next_part: u64,
    hasher: RecordHasher,
    link: Link,
}

struct Chain<'a> {
    repo: &'a Repository,
    index: &'a Reader,
    source: Option<&'a Source>,
    /// The sources that show branches of its history.
    branches: Vec<&'a Source>,
    /// The merged history that the records go on from.
    merged: Option<MergedHead>,
    at: Head,
    open: Option<Open>,
    /// The number of a record whose other parts are passed over.
    skipping: Option<Snap>,
    /// The segments that this host has seen records end in.
    seen: Vec<SegmentRow>,
    /// Whether it has been told why the next record may not follow.
    told: bool,
    /// The records that were read and belong to the history, by number.
    records: BTreeMap<u64, Link>,
    report: &'a mut Report,
}

impl Chain<'_> {
    fn segment(&mut self, segment: &Segment, progress: &dyn Progress) -> Result<(), VerifyError> {
        let name = segment.name();
        self.report.segments += 1;
        let repo = self.repo;
        let bytes = match repo.store().get(&name, SEGMENT_MAX) {
            Ok(bytes) => bytes,
            Err(e) => {
                self.damaged(&name, "object", &e.why_of(&name));
                return Ok(());
            }
        };
        progress.add(1, bytes.len() as u64);
        let location = repo.store().location();
        let read = segment::read(repo.keys(), &location, &name, &bytes, |item| self.item(segment, &name, item));
        match read {
            Ok(()) => {}
            Err(Stop::Index(e)) => return Err(e.into()),
            Err(Stop::Repo(RepoError::Damaged { what, why, .. })) => self.damaged(&name, &what, &why.to_string()),
            Err(Stop::Repo(e)) => self.damaged(&name, "object", &e.why_of(&name, "object")),
        }
        Ok(())
    }

    /// Names the segments that are not there any more.
    fn names(&mut self, there: &[Segment]) {
        let there: HashSet<String> = there.iter().map(Segment::name).collect();
        let missing: Vec<String> =
            self.seen.iter().map(|row| &row.name).filter(|name| !there.contains(*name)).cloned().collect();
        for name in missing {
            self.damaged(&name, "object", "it is missing");
        }
    }

    fn damaged(&mut self, name: &str, part: &str, why: &str) {
        self.open = None;
        self.told = true;
        let (lost, to_do) = match self.seen.iter().find(|row| row.name == name) {
            Some(SegmentRow { first, last, count, .. }) => (
                format!(
                    "the records of {count} snapshot(s), {first} to {last}; a new machine can't show them, nor those after them up to \
                     the next differential or full that does not need them"
                ),
                TO_DO,
            ),
            None => (
                "a record, or a part of one, that this host's index does not have; what needs it can't be shown"
                    .to_owned(),
                TO_DO_UNSEEN,
            ),
        };
        self.report.problem(name, part, why).lost(lost).advise(to_do);
    }

    fn item(&mut self, segment: &Segment, name: &str, item: &[u8]) -> Result<(), Stop> {
        let repo = self.repo;
        let damaged = |why: Damage| repo.damaged(name, "record", why);
        let part = Part::read(item).map_err(|e| damaged(e.into()))?;
        if part.place.source != segment.source {
            return Err(damaged(Damage::other("it belongs to another source")).into());
        }
        let (number, next) = (part.place.number, part.place.part);
        if let Some(opening) = &part.opening {
            self.begin(number, opening, name)?;
        }
        if self.skipping == Some(number) {
            return part.ops(damaged, |_| Ok::<_, Stop>(())).map(drop);
        }
        let Some(open) = self.open.as_mut().filter(|o| o.number == number && o.next_part == next) else {
            let why = format!("the beginning of the record of snapshot {number} is missing");
            return Err(damaged(Damage::other(why)).into());
        };
        open.next_part += 1;
        open.hasher.part(item);
        match part.ops(damaged, |_| Ok::<_, Stop>(()))? {
            Some(closing) => self.close(name, &closing),
            None => Ok(()),
        }
    }

    fn begin(&mut self, number: Snap, opening: &Opening, name: &str) -> Result<(), Stop> {
        // A record that was left open was never finished: its writer ended before it could.
        let link = Link { tier: opening.tier, base: opening.base.map(|(base, _)| base) };
        self.open = Some(Open { number, next_part: 0, hasher: RecordHasher::default(), link });
        self.skipping = None;
        if number.0 == self.at.number.0 + 1 && opening.previous == self.at.hash {
            return Ok(());
        }
        // What this host has seen tells whether the record belongs to the history: then only one before it is missing.
        let before = match self.source {
            Some(source) => self.index.snapshot(source.num, Snap(number.0.saturating_sub(1)))?,
            None => None,
        };
        let follows = match &before {
            Some(before) => before.hash == opening.previous,
            // Where this host has not seen the one before either, what counts is that this one does without it.
            None => (number.0 <= 1 && opening.previous == Hash::ZERO) || self.is_stated(number, opening)?,
        };
        if follows && number > self.at.number {
            if !std::mem::take(&mut self.told) {
                self.missing(Snap(self.at.number.0 + 1), Snap(number.0 - 1), name);
            }
            if let Some(before) = before {
                self.at = Head { number: before.number, hash: before.hash, time: before.time };
            }
            return Ok(());
        }
        self.open = None;
        self.skipping = Some(number);
        if self.is_in_a_branch(number, opening)? {
            return Ok(());
        }
        let why = match follows {
            true => format!(
                "a second writer continued the history after snapshot {}: its snapshot {number} does not show",
                number.0 - 1
            ),
            false => format!(
                "the record of snapshot {number} does not follow from the one before it (snapshot {})",
                self.at.number
            ),
        };
        self.report
            .problem(name, "chain of records", why)
            .lost(format!("snapshot {number} of this journal does not show"))
            .advise("see that only one bygone captures this source; if a record was altered, put back a good copy of the journal");
        Ok(())
    }

    /// Whether a record belongs to a branch, which is shown as a source of its own.
    fn is_in_a_branch(&self, number: Snap, opening: &Opening) -> Result<bool, IndexError> {
        for branch in &self.branches {
            let before = self.index.snapshot(branch.num, Snap(number.0.saturating_sub(1)))?;
            let is_there = self.index.snapshot(branch.num, number)?.is_some();
            if is_there && before.map_or(Hash::ZERO, |before| before.hash) == opening.previous {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a record needs none of those that are missing before it.
    fn is_stated(&self, number: Snap, opening: &Opening) -> Result<bool, IndexError> {
        if number.0 <= self.at.number.0 + 1 {
            return Ok(false);
        }
        if opening.restates {
            return Ok(true);
        }
        let (Some(source), Some((base, hash))) = (self.source, opening.base) else {
            return Ok(opening.tier == Tier::Full);
        };
        Ok(self.index.snapshot(source.num, base)?.is_some_and(|known| known.hash == hash))
    }

    fn missing(&mut self, first: Snap, last: Snap, name: &str) {
        let why = match first == last {
            true => format!("the record of snapshot {first} is missing before it"),
            false => format!("the records of snapshots {first} to {last} are missing before it"),
        };
        self.report
            .problem(name, "chain of records", why)
            .lost(
                "what those snapshots showed, and those after them up to the next differential or full that does not need them, \
                 can't be read by a new machine",
            )
            .advise(TO_DO);
    }

    fn close(&mut self, name: &str, closing: &Closing) -> Result<(), Stop> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let hash = open.hasher.finish();
        self.report.snapshots += 1;
        self.records.insert(open.number.0, open.link);
        if closing.time <= self.at.time {
            let why = format!("the time of snapshot {} is not after the one before", open.number);
            self.report.problem(name, "record", why).advise("report this: a writer of bygone never does it");
        }
        self.at = Head { number: open.number, hash, time: closing.time };
        let seen = match self.source {
            Some(source) => self.index.snapshot(source.num, open.number)?,
            None => return Ok(()),
        };
        if seen.is_some_and(|s| s.hash != hash || s.time != closing.time) {
            let why = format!("the record of snapshot {} is another one than this host has seen", open.number);
            self.report
                .problem(name, "record", why)
                .lost("the history was rewritten: what this host saw and what the repository says differ")
                .advise("find out who wrote to the repository; keep this host's state directory as evidence");
        }
        Ok(())
    }

    fn finish(self, id: Id) -> Result<(), VerifyError> {
        let known = match self.source {
            Some(source) => self.index.head(source.num)?.number,
            None => Snap(0),
        };
        let last = known.max(self.at.number).0;
        let merged = match (&self.merged, self.source) {
            (Some(head), Some(source)) => {
                let tier =
                    |number: &Snap| self.index.snapshot(source.num, *number).map(|s| s.map(|s| (*number, s.tier)));
                head.kept.iter().map(tier).collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect()
            }
            (Some(head), None) => head.kept.iter().map(|number| (*number, Tier::Full)).collect(),
            (None, _) => Vec::new(),
        };
        self.report.chains.push(Chains::of(id, self.source, (&merged, &self.records), last));
        let Some(source) = self.source else { return Ok(()) };
        let seen = self.index.head(source.num)?;
        if seen.number > self.at.number {
            let why = format!(
                "it ends at snapshot {}, and this host has seen it reach snapshot {}: the history has shrunk or was rolled back",
                self.at.number, seen.number
            );
            self.report
                .problem(&names::journal(id), "end", why)
                .lost(format!("the records of snapshots {} to {}", self.at.number.0 + 1, seen.number))
                .advise(TO_DO);
        } else if seen.number == self.at.number && seen.hash != self.at.hash {
            self.report
                .problem(&names::journal(id), "end", "its newest record is another one than this host has seen")
                .advise("find out who wrote to the repository; keep this host's state directory as evidence");
        }
        Ok(())
    }
}

/// Why reading a segment ended.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error(transparent)]
    Repo(#[from] RepoError),
    #[error(transparent)]
    Index(#[from] IndexError),
}
