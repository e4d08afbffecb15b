//! Taking the records of one source into the index, in order: which of them follow, and what becomes of those that do not.

use crate::index::{
    apply::{Applier, Applying},
    error::IndexError,
    tree::Reader,
};
use crate::progress::Progress;
use crate::repo::{
    attach::Attached,
    branch::Route,
    error::{Damage, RepoError},
    names::{self, Epoch, Segment},
    record::{Closing, Opening, Part, RecordHasher},
    replay::{End, Replayed},
    segment::{self, SEGMENT_MAX},
};
use crate::types::{
    ids::{Hash, Id, Snap},
    snapshot::{Head, Lost, Snapshot, Source, Tier},
};
use std::collections::HashSet;

/// So many missing segments are named.
const NAMED_MAX: usize = 8;

/// The replay of one source.
pub(super) struct Replay<'a> {
    at: &'a Attached,
    reader: &'a Reader,
    applier: &'a Applier,
    head: Head,
    source: Option<Source>,
    /// All that are read, in order.
    segments: &'a [Segment],
    open: Option<Open<'a>>,
    /// A record that is not taken.
    passing: Option<Passing>,
    /// The hashes of records of another branch of the history: what follows them is of that branch too.
    foreign: HashSet<Hash>,
    /// The first record that does not follow, and how many there are.
    lost: Option<(Snap, u64)>,
    /// The run in which that first one was written.
    lost_in: String,
    /// The newest whole one of them, with its source.
    beyond: Option<(Head, Source)>,
    /// How many problems had been found when the last record was taken.
    pub(super) told: usize,
    /// Whether to wait for a chunk that is not there.
    patient: bool,
    /// It waits.
    pub(super) waits: bool,
    /// What belongs to it, where it is that of a branch.
    route: Option<Route>,
    out: &'a mut Replayed,
}

/// A record of which some parts have been seen.
struct Open<'a> {
    applying: Applying<'a>,
    number: Snap,
    next_part: u64,
    hasher: RecordHasher,
    opening: Opening,
    /// The records before it are lost: its statement is taken.
    stated: bool,
}

/// A record that is not taken; its hash tells what belongs to it.
struct Passing {
    number: Snap,
    hasher: RecordHasher,
    foreign: bool,
    /// What it is of, where it may be the newest behind some that are lost.
    beyond: Option<Source>,
}

/// Whether a record can be taken.
enum Follows {
    /// It follows the last one.
    Yes,
    /// The one before it is not known, but what it needs is: the full that it builds on, or nothing.
    Stated(Option<Snap>),
    /// It belongs to another branch of the history.
    Foreign,
    /// The one before it is not known.
    No,
}

impl<'a> Replay<'a> {
    /// Of the records behind `head` in `segments`, which are in order.
    pub(super) fn new(
        at: &'a Attached,
        (reader, applier): (&'a Reader, &'a Applier),
        (head, source): (Head, Option<Source>),
        segments: &'a [Segment],
        out: &'a mut Replayed,
    ) -> Replay<'a> {
        Replay {
            at,
            reader,
            applier,
            head,
            source,
            segments,
            open: None,
            passing: None,
            foreign: HashSet::new(),
            lost: None,
            lost_in: String::new(),
            beyond: None,
            told: out.problems.len(),
            patient: false,
            waits: false,
            route: None,
            out,
        }
    }

    /// Whether it [waits](Replay::waits) for a chunk that is not there.
    pub(super) fn patient(self, patient: bool) -> Replay<'a> {
        Replay { patient, ..self }
    }

    /// Takes the records of a branch, and no others.
    pub(super) fn along(self, route: Route) -> Replay<'a> {
        Replay { route: Some(route), ..self }
    }

    /// Takes the records of a segment, as far as they follow.
    pub(super) fn segment(&mut self, segment: &Segment, progress: &dyn Progress) -> Result<(), RepoError> {
        let name = segment.name();
        let repo = self.at.repo();
        let result = repo.store().get(&name, SEGMENT_MAX).map_err(RepoError::from).and_then(|bytes| {
            progress.add(1, bytes.len() as u64);
            tracing::debug!("read the segment {name}: {} B", bytes.len());
            let location = repo.store().location();
            segment::read(repo.keys(), &location, &name, &bytes, |item| self.item(segment, &name, item))
        });
        match result {
            Err(RepoError::Index(IndexError::NoChunk(_))) if self.patient => {
                self.open = None;
                self.waits = true;
                Ok(())
            }
            Err(e) if e.is_damage() || is_contradiction(&e) => {
                self.open = None;
                self.out.problems.push(e);
                Ok(())
            }
            other => other,
        }
    }

    fn item(&mut self, segment: &Segment, name: &str, item: &[u8]) -> Result<(), RepoError> {
        let repo = self.at.repo().clone();
        let damaged = |why: Damage| repo.damaged(name, "record", why);
        let part = Part::read(item).map_err(|e| damaged(e.into()))?;
        if part.place.source != segment.source {
            return Err(damaged(Damage::other("it belongs to another source")));
        }
        let (number, last) = (part.place.number, part.place.last);
        if let Some(mut opening) = part.opening.clone() {
            // A record that was left open was never finished: its writer ended before it could.
            (self.open, self.passing) = (None, None);
            if let Some(route) = &self.route {
                if number <= self.head.number || !route.records.contains(&(segment.epoch.as_str().to_owned(), number)) {
                    self.pass(number, false);
                    return Ok(());
                }
                opening.source = route.source.clone();
            }
            match self.follows(number, &opening)? {
                Follows::Yes => self.begin(number, opening, None)?,
                Follows::Stated(base) => self.begin(number, opening, Some(base))?,
                Follows::Foreign => self.pass(number, true),
                Follows::No => {
                    if self.lost.is_none() {
                        self.lost_in = segment.epoch.as_str().to_owned();
                    }
                    let (first, count) = self.lost.unwrap_or((number, 0));
                    self.lost = Some((first, count + 1));
                    // The next one by its number that follows another one: what follows it is no part of this history either.
                    self.pass(number, number.0 == self.head.number.0 + 1);
                    let is_behind = number.0 > self.head.number.0 + 1;
                    let is_newest = self.beyond.as_ref().is_none_or(|(beyond, _)| number > beyond.number);
                    if let Some(passing) = self.passing.as_mut().filter(|_| is_behind && is_newest) {
                        passing.beyond = Some(opening.source);
                    }
                }
            }
        }
        if let Some(passing) = self.passing.as_mut().filter(|p| p.number == number) {
            passing.hasher.part(item);
            if last {
                let hash = passing.hasher.finish();
                if passing.foreign {
                    self.foreign.insert(hash);
                }
                if let Some(source) = passing.beyond.take() {
                    let closing = part.ops(damaged, |_| Ok::<_, RepoError>(()))?;
                    self.beyond = closing.map(|closing| (head_at(number, hash, &closing, segment), source));
                }
            }
            return Ok(());
        }
        let Some(open) = self.open.as_mut().filter(|o| o.number == number && o.next_part == part.place.part) else {
            return match number <= self.head.number {
                true => Ok(()),
                false => {
                    Err(damaged(Damage::other(format!("the beginning of the record of snapshot {number} is missing"))))
                }
            };
        };
        open.next_part += 1;
        open.hasher.part(item);
        let applying = &mut open.applying;
        let closing = part.ops(damaged, |op| applying.op(&op).map_err(RepoError::from))?;
        match closing.filter(|_| last) {
            Some(closing) => self.commit(segment, name, closing),
            None => Ok(()),
        }
    }

    fn pass(&mut self, number: Snap, foreign: bool) {
        self.passing = Some(Passing { number, hasher: RecordHasher::default(), foreign, beyond: None });
    }

    /// Begins to take a record: what it says to have changed, or its statement against `stated`.
    fn begin(&mut self, number: Snap, opening: Opening, stated: Option<Option<Snap>>) -> Result<(), RepoError> {
        let source = &opening.source;
        if self.source.as_ref().is_none_or(|s| s.num != source.num) {
            self.at.index().add_source(source)?;
            self.source = Some(source.clone());
        }
        let applying = match stated {
            None => self.applier.begin(source.num, number)?,
            Some(base) => self.applier.begin_stated(source.num, number, base)?,
        };
        if applying.head_number()? != self.head.number {
            // Its own writer was faster.
            drop(applying);
            self.head = self.reader.head(source.num)?;
            self.pass(number, false);
            return Ok(());
        }
        let (hasher, stated) = (RecordHasher::default(), stated.is_some());
        self.open = Some(Open { applying, number, next_part: 0, hasher, opening, stated });
        Ok(())
    }

    fn commit(&mut self, segment: &Segment, name: &str, closing: Closing) -> Result<(), RepoError> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let hash = open.hasher.finish();
        if closing.time <= self.head.time {
            let why = Damage::other(format!("the time of snapshot {} is not after the one before", open.number));
            return Err(self.at.repo().damaged(name, "record", why));
        }
        let head = head_at(open.number, hash, &closing, segment);
        let snapshot = Snapshot {
            source: open.opening.source.num,
            number: open.number,
            time: closing.time,
            tier: open.opening.tier,
            hash,
            counts: closing.counts,
        };
        // A full that states its tree again may be the next.
        let is_next = open.number.0 == self.head.number.0 + 1;
        let passed_over = (open.stated && !is_next).then(|| self.passed_over(&snapshot, segment));
        if let Some(lost) = &passed_over {
            open.applying.lose(lost)?;
        }
        open.applying.commit(&snapshot, name, &head)?;
        if let Some(lost) = passed_over {
            let why = format!(
                "snapshots {} to {} can't be shown: {}. The history goes on with the {} snapshot {}, which needs none of them",
                lost.first,
                lost.last,
                lost.why,
                snapshot.tier.word(),
                snapshot.number
            );
            let problem = self.problem(&why, segment.source);
            self.out.problems.push(problem);
            self.lost = None;
        }
        self.head = head;
        self.beyond = self.beyond.take().filter(|(beyond, _)| beyond.number > self.head.number);
        self.told = self.out.problems.len();
        self.out.snapshots += 1;
        Ok(())
    }

    /// What is lost between the last record that was taken and one that does without those between them.
    fn passed_over(&self, snapshot: &Snapshot, at: &Segment) -> Lost {
        Lost {
            source: snapshot.source,
            first: Snap(self.head.number.0 + 1),
            last: Snap(snapshot.number.0 - 1),
            after: self.head.time,
            before: snapshot.time,
            why: self.why_lost(&at.epoch, at.seq),
        }
    }

    fn why_lost(&self, epoch: &Epoch, seq: u64) -> String {
        let missing = self.missing((epoch.as_str(), seq));
        let mut why = "their records are missing or damaged, or need one that is".to_owned();
        if !missing.is_empty() {
            let some: Vec<&str> = missing.iter().take(NAMED_MAX).map(String::as_str).collect();
            let more = if missing.len() > NAMED_MAX { " and others" } else { "" };
            why.push_str(&format!("; not there: {}{more}", some.join(", ")));
        }
        why
    }

    /// The segments that are not there between the last record that was taken and `upto`, as far as numbers tell: whole epochs and
    /// the ends of epochs may be missing too.
    fn missing(&self, upto: (&str, u64)) -> Vec<String> {
        let mut next = (self.head.epoch.clone(), self.head.seq + 1);
        let mut missing = Vec::new();
        for segment in self.segments.iter().take_while(|s| (s.epoch.as_str(), s.seq) <= upto) {
            if (segment.epoch.as_str(), segment.seq) <= (self.head.epoch.as_str(), self.head.seq)
                && !self.head.epoch.is_empty()
            {
                continue;
            }
            if segment.epoch.as_str() != next.0 {
                next = (segment.epoch.as_str().to_owned(), 0);
            }
            let absent = (next.1..segment.seq).take(NAMED_MAX + 1);
            missing.extend(absent.map(|seq| Segment { seq, ..segment.clone() }.name()));
            next.1 = segment.seq + 1;
        }
        missing
    }

    fn follows(&mut self, number: Snap, opening: &Opening) -> Result<Follows, RepoError> {
        if self.foreign.contains(&opening.previous) {
            self.out.foreign.insert(opening.source.id);
            return Ok(Follows::Foreign);
        }
        if number <= self.head.number {
            return self.is_behind(number, opening);
        }
        if opening.restates {
            return Ok(Follows::Stated(None));
        }
        let next = number.0 == self.head.number.0 + 1;
        if next && opening.previous == self.head.hash {
            return Ok(Follows::Yes);
        }
        // A record that is the next by its number follows another one than the last: no tier makes it part of this history.
        if next {
            return Ok(Follows::No);
        }
        Ok(match (opening.tier, opening.base) {
            (Tier::Full, _) => Follows::Stated(None),
            (Tier::Differential, Some((base, hash))) => match self.known(base)? {
                Some(known) if known.hash == hash => Follows::Stated(Some(base)),
                _ => Follows::No,
            },
            _ => Follows::No,
        })
    }

    /// A record with a number that the history has already.
    fn is_behind(&mut self, number: Snap, opening: &Opening) -> Result<Follows, RepoError> {
        let before = self.known(Snap(number.0.saturating_sub(1)))?;
        if before.is_none_or(|s| s.hash != opening.previous) {
            return Ok(Follows::No);
        }
        self.out.foreign.insert(opening.source.id);
        Ok(Follows::Foreign)
    }

    /// What is known of other branches already is no news: their last records are known, so that what follows them is too.
    pub(super) fn know_branches(&mut self) -> Result<(), RepoError> {
        let Some(source) = &self.source else { return Ok(()) };
        for fork in self.reader.sources()?.iter().filter(|fork| fork.may_branch_off(source)) {
            let head = self.reader.head(fork.num)?;
            self.foreign.insert(head.hash);
        }
        Ok(())
    }

    fn known(&self, number: Snap) -> Result<Option<Snapshot>, RepoError> {
        match &self.source {
            Some(source) => Ok(self.reader.snapshot(source.num, number)?),
            None => Ok(None),
        }
    }

    fn problem(&self, why: &str, source: Id) -> RepoError {
        self.at.repo().damaged(&names::journal(source), "chain of records", Damage::other(why))
    }

    /// Ends it: what could not be taken is told.
    pub(super) fn finish(mut self, source: Id) {
        self.open = None;
        let beyond = self.beyond.take().map(|(beyond, source)| {
            let why = Epoch::parse(&beyond.epoch).map(|epoch| self.why_lost(&epoch, beyond.seq)).unwrap_or_default();
            (source, (beyond, why))
        });
        let (named, beyond) = beyond.unzip();
        if let Some(source) = self.source.take().or(named) {
            self.out.ends.push(End { source, head: self.head.clone(), beyond });
        }
        if let Some((first, count)) = self.lost {
            let why = format!(
                "the record of snapshot {first} does not follow from the last one that could be read (snapshot {}): {count} \
                 record(s) can't be shown, because one before them is missing, damaged or altered",
                self.head.number
            );
            let problem = self.problem(&why, source);
            self.out.foreign.insert(source);
            self.out.unfollowed.push((source, (self.lost_in, first), problem));
        }
    }
}

fn head_at(number: Snap, hash: Hash, closing: &Closing, segment: &Segment) -> Head {
    let (epoch, seq) = (segment.epoch.as_str().to_owned(), segment.seq);
    Head { number, hash, time: closing.time, epoch, seq, next: closing.next }
}

/// Whether a record says something that can't be after what was before it.
pub(super) fn is_contradiction(e: &RepoError) -> bool {
    matches!(e, RepoError::Index(IndexError::Contradiction(_) | IndexError::NoChunk(_)))
}
