//! From the journal into the index: what the index has not seen, or all of it.

use crate::index::{
    apply::{Applier, PATIENT},
    error::IndexError,
    tree::Reader,
};
use crate::progress::Progress;
use crate::repo::{
    attach::Attached,
    audit::named::Named,
    branch::{self, Route, Seen},
    collect::{attend, mend, tables, take},
    error::{Damage, RepoError},
    follow::{Replay, is_contradiction},
    names::{self, Segment},
    unrecorded,
};
use crate::types::{
    ids::{Id, Snap},
    snapshot::{Head, Lost, Source},
    time::Instant,
};
use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

/// How long a reader waits for a writer of the index.
const HASTY: Duration = Duration::from_millis(300);

/// What a replay found.
#[derive(Debug, Default)]
pub struct Replayed {
    /// Snapshots taken into the index.
    pub snapshots: u64,
    /// What could not be read, or does not follow from what was before it. Everything else was taken.
    pub problems: Vec<RepoError>,
    /// The sources of which a second writer's records were met.
    pub(super) foreign: HashSet<Id>,
    /// What does not follow from anything in the history of its source: it may belong to a branch.
    pub(super) unfollowed: Vec<(Id, (String, Snap), RepoError)>,
    /// How far the history of each source can be taken, and how far it goes.
    pub(super) ends: Vec<End>,
}

/// Where the history of a source ends.
#[derive(Debug)]
pub(super) struct End {
    pub(super) source: Source,
    /// The last record that was taken.
    pub(super) head: Head,
    /// The last one behind some that are lost, and why those are.
    pub(super) beyond: Option<(Head, String)>,
}

/// Takes the branches of a source, those of its writers whose records do not follow one another, as sources of their own.
fn branches(
    at: &Attached,
    (reader, applier): (&Reader, &Applier),
    source: &Source,
    segments: &[Segment],
    (out, progress): (&mut Replayed, &dyn Progress),
) -> Result<HashSet<(String, Snap)>, RepoError> {
    let mut placed = HashSet::new();
    for branch in branch::find(at, source, &reader.head(source.num)?, segments)? {
        let known = reader.sources()?;
        let is_new = !known.iter().any(|s| s.id == branch.id);
        let fork = branch.source(source, &known);
        let head = if is_new { Head::start() } else { reader.head(fork.num)? };
        let mut sorted = segments.to_vec();
        sorted.sort();
        if is_new {
            let why = format!(
                "a second writer of the source {} on {} continued it after snapshot {}: what it captured is shown as that of the host \
                 {}. Give one of the two another `host` in its settings",
                crate::types::path::show(&source.root),
                source.host,
                branch.first.0 - 1,
                fork.host
            );
            let location = names::journal(source.id);
            out.problems.push(at.repo().damaged(&location, "chain of records", Damage::other(why)));
        }
        placed.extend(branch.records.iter().cloned());
        let route = Route { source: fork.clone(), records: branch.records };
        let from = (head, (!is_new).then_some(fork));
        let mut replay = Replay::new(at, (reader, applier), from, &sorted, out).along(route);
        for segment in &sorted {
            replay.segment(segment, progress)?;
        }
    }
    Ok(placed)
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
    let reader = at.reader()?;
    let named = unrecorded::named(at, &reader)?;
    let objects = at.repo().store().list(names::JOURNAL)?;
    let mut journals: BTreeMap<Id, Vec<Segment>> = BTreeMap::new();
    let mut seen = Seen::load(at);
    for segment in objects.iter().filter_map(|object| Segment::parse(&object.name)) {
        journals.entry(segment.source).or_default().push(segment);
    }
    let mut out = Replayed::default();
    for merged in take::newest(objects.iter().map(|o| o.name.as_str())) {
        match take::take(at, &merged, progress) {
            Err(e) if e.is_damage() || is_contradiction(&e) => out.problems.push(e),
            other => drop(other?),
        }
    }
    let applier = Applier::open(at.index(), patience)?;
    let (mut patient, mut learned) = (true, false);
    let all = journals.clone();
    while !journals.is_empty() {
        let before = out.snapshots;
        let mut waiting = BTreeMap::new();
        for (id, segments) in journals {
            if !replay_source(at, (&reader, &applier), id, &segments, patient, (&mut out, progress))? {
                waiting.insert(id, segments);
            }
        }
        // A source may name chunks that another one brought, or that were in no record any more when the index was made.
        patient = out.snapshots > before;
        if !patient && !learned && !waiting.is_empty() {
            (patient, learned) = (tables::learn(at)?, true);
        }
        journals = waiting;
    }
    for (id, segments) in &all {
        let heads = reader.sources()?.into_iter().find(|s| s.id == *id);
        let Some(source) = heads else { continue };
        let head = reader.head(source.num)?;
        if out.foreign.contains(id) || seen.are_more(*id, segments) {
            let placed = branches(at, (&reader, &applier), &source, segments, (&mut out, progress))?;
            out.unfollowed.retain(|(source, record, _)| source != id || !placed.contains(record));
            let is_placed = |end: &End| {
                let beyond = end.beyond.as_ref();
                end.source.id == *id && beyond.is_some_and(|(b, _)| placed.contains(&(b.epoch.clone(), b.number)))
            };
            out.ends.iter_mut().filter(|end| is_placed(end)).for_each(|end| end.beyond = None);
        }
        seen.note(*id, segments, &head);
    }
    seen.save(at);
    for end in std::mem::take(&mut out.ends) {
        note_end(at, (&reader, &applier), (&end, &named))?;
    }
    let unfollowed = std::mem::take(&mut out.unfollowed);
    out.problems.extend(unfollowed.into_iter().map(|(.., problem)| problem));
    at.moment().forget(&abandoned)?;
    match attend::attend(at) {
        Err(e @ RepoError::Retired { .. }) => tracing::warn!("{e}"),
        other => drop(other?),
    }
    if at.index().is_stale()? {
        mend::mend(at)?;
        at.index().set_stale(false)?;
    }
    let (snapshots, problems) = (out.snapshots, out.problems.len());
    tracing::info!(
        "the index took in {snapshots} record(s) of the journal that it had not seen; {problems} problem(s)"
    );
    Ok(out)
}

/// Notes what can't be taken of a history, or what only the trail tells of it, so that its last snapshot that can be shown is not taken
/// for the newest.
fn note_end(
    at: &Attached,
    (reader, applier): (&Reader, &Applier),
    (end, named): (&End, &[Named]),
) -> Result<(), RepoError> {
    let End { source, head, beyond } = end;
    let unrecorded = match beyond {
        Some(_) => None,
        None => unrecorded::beyond(reader, (source, head), named)?,
    };
    let Some((beyond, why)) = beyond.as_ref().or(unrecorded.as_ref()) else {
        if reader.beyond(source.num)?.is_some() {
            applier.set_beyond(source.num, head.number, None)?;
        }
        return Ok(());
    };
    // Of its first record, which names it, nothing may be left.
    at.index().add_source(source)?;
    if reader.beyond(source.num)?.as_ref() == Some(beyond) {
        return Ok(());
    }
    if unrecorded.is_some() {
        let root = crate::types::path::show(&source.root);
        tracing::error!("the newest snapshots of {root} on {} can't be shown: {why}", source.host);
    }
    let lost = Lost {
        source: source.num,
        first: Snap(head.number.0 + 1),
        last: beyond.number,
        after: head.time,
        before: Instant(i64::MAX),
        why: why.clone(),
    };
    Ok(applier.set_beyond(source.num, head.number, Some((beyond, &lost)))?)
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
    let taken = branch::taken(reader, source.as_ref())?;
    unseen.retain(|s| !taken.contains(&s.name()));
    unseen.sort();
    let mut replay = Replay::new(at, (reader, applier), (head, source), &unseen, out).patient(patient);
    replay.know_branches()?;
    for segment in &unseen {
        replay.segment(segment, progress)?;
        if replay.waits {
            // What comes behind the last record that was taken is told when the source is read again.
            let told = replay.told;
            drop(replay);
            out.problems.truncate(told);
            return Ok(false);
        }
    }
    replay.finish(id);
    Ok(true)
}
