//! From the journal into the index: what the index has not seen, or all of it.

use crate::index::{
    apply::{Applier, Applying, PATIENT},
    error::IndexError,
    tree::Reader,
};
use crate::progress::Progress;
use crate::repo::{
    attach::Attached,
    error::{Damage, RepoError},
    names::{self, Segment},
    record::{Closing, Opening, Part, RecordHasher},
    segment::{self, SEGMENT_MAX},
};
use crate::types::{
    ids::{Id, Snap},
    snapshot::{Head, Snapshot, Source},
};
use std::{collections::BTreeMap, time::Duration};

/// How long a reader waits for a writer of the index.
const HASTY: Duration = Duration::from_millis(300);

/// What a replay found.
#[derive(Debug, Default)]
pub struct Replayed {
    /// Snapshots taken into the index.
    pub snapshots: u64,
    /// What could not be read, or does not follow from what was before it. Everything else was taken.
    pub problems: Vec<RepoError>,
}

/// Takes every record into the index that it has not seen.
///
/// A damaged segment ends its source's history in the index at the record before it, and is among the problems; the other
/// sources go on. An error means that the store or the index itself failed.
pub fn catch_up(at: &Attached, progress: &dyn Progress) -> Result<Replayed, RepoError> {
    catch_up_within(at, PATIENT, progress)
}

/// The same for a reader: while another process writes to the index, that one brings it up to date.
pub fn catch_up_unless_busy(at: &Attached, progress: &dyn Progress) -> Result<Replayed, RepoError> {
    match catch_up_within(at, HASTY, progress) {
        Err(RepoError::Index(IndexError::Busy)) => Ok(Replayed::default()),
        other => other,
    }
}

fn catch_up_within(at: &Attached, patience: Duration, progress: &dyn Progress) -> Result<Replayed, RepoError> {
    let abandoned = at.moment().abandoned()?;
    let mut journals: BTreeMap<Id, Vec<Segment>> = BTreeMap::new();
    for object in at.repo().store().list(names::JOURNAL)? {
        if let Some(segment) = Segment::parse(&object.name) {
            journals.entry(segment.source).or_default().push(segment);
        }
    }
    let reader = at.reader()?;
    let applier = Applier::open(at.index(), patience)?;
    let mut out = Replayed::default();
    let mut patient = true;
    while !journals.is_empty() {
        let before = out.snapshots;
        let mut waiting = BTreeMap::new();
        for (id, segments) in journals {
            if !replay_source(at, (&reader, &applier), id, &segments, patient, (&mut out, progress))? {
                waiting.insert(id, segments);
            }
        }
        // A source may name chunks that another one brought. Where no source has come further, they are missing.
        patient = out.snapshots > before;
        journals = waiting;
    }
    at.moment().forget(&abandoned)?;
    let (snapshots, problems) = (out.snapshots, out.problems.len());
    tracing::info!("the index took in {snapshots} records of the journal that it had not seen; {problems} problems");
    Ok(out)
}

/// Takes what the index has not seen of one source. False where it waits for a chunk of another one, if it is `patient`.
fn replay_source(
    at: &Attached,
    (reader, applier): (&Reader, &Applier),
    id: Id,
    segments: &[Segment],
    patient: bool,
    (out, progress): (&mut Replayed, &dyn Progress),
) -> Result<bool, RepoError> {
    let source = reader.sources()?.into_iter().find(|s| s.id == id);
    let head = match &source {
        Some(source) => reader.head(source.num)?,
        None => Head::start(),
    };
    let mut unseen: Vec<Segment> = segments.to_vec();
    unseen.retain(|s| (s.epoch.as_str(), s.seq) > (head.epoch.as_str(), head.seq) || head.epoch.is_empty());
    unseen.sort();
    let problems = out.problems.len();
    let mut replay =
        Replay { at, reader, applier, head, source, open: None, lost: None, patient, waits: false, out: &mut *out };
    for segment in &unseen {
        replay.segment(segment, progress)?;
        if replay.waits {
            drop(replay);
            // It is told when the source is read again.
            out.problems.truncate(problems);
            return Ok(false);
        }
    }
    replay.finish(id);
    Ok(true)
}

/// The replay of one source.
struct Replay<'a> {
    at: &'a Attached,
    reader: &'a Reader,
    applier: &'a Applier,
    head: Head,
    source: Option<Source>,
    open: Option<Open<'a>>,
    /// The first record that does not follow, and how many there are.
    lost: Option<(Snap, u64)>,
    /// Whether to wait for a chunk that is not there.
    patient: bool,
    /// It waits.
    waits: bool,
    out: &'a mut Replayed,
}

/// A record of which some parts have been seen.
struct Open<'a> {
    applying: Applying<'a>,
    number: Snap,
    next_part: u64,
    hasher: RecordHasher,
    opening: Opening,
}

impl<'a> Replay<'a> {
    fn segment(&mut self, segment: &Segment, progress: &dyn Progress) -> Result<(), RepoError> {
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
        if let Some(opening) = part.opening.clone() {
            // A record that was left open was never finished: its writer ended before it could.
            self.open = None;
            if number.0 != self.head.number.0 + 1 || opening.previous != self.head.hash {
                return self.does_not_follow(number, &opening);
            }
            self.begin(number, opening)?;
        }
        let Some(open) = self.open.as_mut().filter(|o| o.number == number && o.next_part == part.place.part) else {
            return match self.lost {
                Some(_) => Ok(()),
                None if number <= self.head.number => Ok(()),
                None => {
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

    fn begin(&mut self, number: Snap, opening: Opening) -> Result<(), RepoError> {
        let source = &opening.source;
        if self.source.as_ref().is_none_or(|s| s.num != source.num) {
            self.at.index().add_source(source)?;
            self.source = Some(source.clone());
        }
        let applying = self.applier.begin(source.num, number)?;
        if applying.head_number()?.0 + 1 != number.0 {
            // Its own writer was faster.
            drop(applying);
            self.head = self.reader.head(source.num)?;
            return Ok(());
        }
        self.open = Some(Open { applying, number, next_part: 0, hasher: RecordHasher::default(), opening });
        Ok(())
    }

    fn commit(&mut self, segment: &Segment, name: &str, closing: Closing) -> Result<(), RepoError> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let hash = open.hasher.finish();
        if closing.time <= self.head.time {
            let why = Damage::other(format!("the time of snapshot {} is not after the one before", open.number));
            return Err(self.at.repo().damaged(name, "record", why));
        }
        let head = Head {
            number: open.number,
            hash,
            time: closing.time,
            epoch: segment.epoch.as_str().to_owned(),
            seq: segment.seq,
            next: closing.next,
        };
        let snapshot = Snapshot {
            source: open.opening.source.num,
            number: open.number,
            time: closing.time,
            tier: open.opening.tier,
            hash,
            counts: closing.counts,
        };
        open.applying.commit(&snapshot, name, &head)?;
        self.head = head;
        self.out.snapshots += 1;
        Ok(())
    }

    fn does_not_follow(&mut self, number: Snap, opening: &Opening) -> Result<(), RepoError> {
        let before = match &self.source {
            Some(source) if number <= self.head.number => {
                self.reader.snapshot(source.num, Snap(number.0.saturating_sub(1)))?
            }
            _ => None,
        };
        if before.is_some_and(|s| s.hash == opening.previous) {
            let why = format!(
                "a second writer continued the history after snapshot {}: its snapshot {number} is kept in the \
                 repository but does not show",
                number.0 - 1
            );
            self.out.problems.push(self.problem(&why, opening.source.id));
        } else {
            let first = self.lost.map_or(number, |(first, _)| first);
            self.lost = Some((first, self.lost.map_or(0, |(_, n)| n) + 1));
        }
        Ok(())
    }

    fn problem(&self, why: &str, source: Id) -> RepoError {
        self.at.repo().damaged(&names::journal(source), "chain of records", Damage::other(why))
    }

    fn finish(mut self, source: Id) {
        self.open = None;
        if let Some((first, count)) = self.lost {
            let why = format!(
                "the record of snapshot {first} does not follow from the last one that could be read (snapshot {}): {count} \
                 record(s) can't be shown, because one before them is missing, damaged or altered",
                self.head.number
            );
            let problem = self.problem(&why, source);
            self.out.problems.push(problem);
        }
    }
}

/// Whether a record says something that can't be after what was before it.
fn is_contradiction(e: &RepoError) -> bool {
    matches!(e, RepoError::Index(IndexError::Contradiction(_) | IndexError::NoChunk(_)))
}
