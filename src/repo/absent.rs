//! What this host's index has of a history and the repository has not any more: an object of the journal that somebody removed, or
//! that does not read. A writer then makes ground that does without it, and maintaining writes it again, as a merged history.

use crate::index::{
    apply::{Applier, PATIENT},
    beyond::{Absent, Found},
    check::SegmentRow,
};
use crate::repo::{
    attach::Attached,
    collect::take,
    error::RepoError,
    names::{self, Merged},
};
use crate::types::{
    ids::{Id, Snap, SourceNum},
    snapshot::Source,
};
use std::collections::HashSet;

/// So many objects are named.
const NAMED_MAX: usize = 4;

/// The names of the objects in the journal of a source. What the index has and they do not is noted.
pub(super) fn look(at: &Attached, source: &Source) -> Result<Vec<String>, RepoError> {
    let reader = at.reader()?;
    // Before the names: what is written between the two is not missing.
    let (merged, mut rows) = reader
        .hold(|reader| -> Result<_, RepoError> { Ok((reader.merged(source.num)?, reader.segments(source.num)?)) })?;
    let objects = at.repo().store().list(&names::journal(source.id))?;
    let objects: Vec<String> = objects.into_iter().map(|object| object.name).collect();
    let newest = take::newest(objects.iter().map(String::as_str)).pop().map(|newest| newest.name());
    // A merged history that the index has not seen took the place of what is not there.
    if newest.is_some_and(|newest| newest > merged) {
        return Ok(objects);
    }
    let there: HashSet<&str> = objects.iter().map(String::as_str).collect();
    let own = names::journal(source.id);
    let torn = has_hole(&objects, &merged);
    rows.retain(|row| {
        row.name.starts_with(&own) && (!there.contains(row.name.as_str()) || (torn && row.name == merged))
    });
    note(at, source, Found::Listed, missing(at, &rows))?;
    Ok(objects)
}

/// Whether a part of a merged history is missing between others.
fn has_hole(objects: &[String], merged: &str) -> bool {
    let Some(head) = Merged::parse(merged) else { return false };
    let parts = objects.iter().filter_map(|name| Merged::parse(name)).filter(|m| m.generation == head.generation);
    let parts: Vec<u64> = parts.map(|m| m.seq).collect();
    parts.iter().max().is_some_and(|last| parts.len() as u64 <= *last)
}

fn missing(at: &Attached, rows: &[SegmentRow]) -> Option<Absent> {
    let first = rows.iter().map(|row| row.first).min()?;
    let last = rows.iter().map(|row| row.last).max()?;
    let mut some: Vec<&str> = rows.iter().take(NAMED_MAX).map(|row| row.name.as_str()).collect();
    some.sort_unstable();
    let more = if rows.len() > NAMED_MAX { format!(" and {} more", rows.len() - NAMED_MAX) } else { String::new() };
    let what = format!("not there any more: {}{more}", some.join(", "));
    Some(Absent { first, last, what, since: at.moment().now() })
}

/// Notes for a source what a verification could not read of its journal: the first and last snapshot of each range, and whether
/// something of its merged history is among it.
pub fn note_unread(at: &Attached, id: Id, unread: &[(Snap, Snap)], merged: bool) -> Result<(), RepoError> {
    let reader = at.reader()?;
    let Some(source) = reader.sources()?.into_iter().find(|s| s.id == id) else { return Ok(()) };
    let rows = reader.segments(source.num)?;
    // What this index has not either, nobody can write again.
    let has = |(first, last): &(Snap, Snap)| rows.iter().any(|row| row.first <= *last && row.last >= *first);
    let mut known: Vec<(Snap, Snap)> = unread.iter().copied().filter(has).collect();
    known.extend(
        rows.iter().filter(|row| merged && Merged::parse(&row.name).is_some()).map(|row| (row.first, row.last)),
    );
    let (first, last) = (known.iter().map(|(first, _)| *first).min(), known.iter().map(|(_, last)| *last).max());
    let absent = first.zip(last).map(|(first, last)| Absent {
        first,
        last,
        what: "missing, or not to be read, when it was verified".to_owned(),
        since: at.moment().now(),
    });
    note(at, &source, Found::Read, absent)
}

fn note(at: &Attached, source: &Source, found: Found, absent: Option<Absent>) -> Result<(), RepoError> {
    let known = at.reader()?.absent(source.num)?;
    if absent.is_none() && known.is_empty() {
        return Ok(());
    }
    if let Some(Absent { first, last, what, .. }) = &absent
        && !known.iter().any(|k| (k.first, k.last, &k.what) == (*first, *last, what))
    {
        tracing::error!(
            "the repository has lost records of {}, which this host's index still has: snapshots {first} to {last}, {what}. `bygone \
             maintain` writes them again from the index; a snapshot before that is a full one, which does without them, or is refused \
             where the newest is among them",
            crate::types::path::show(&source.root)
        );
    }
    Ok(Applier::open(at.index(), PATIENT)?.set_absent(source.num, found, absent.as_ref())?)
}

/// Whether what the repository has lost of a source keeps the snapshots behind it from being read.
pub(super) fn is_torn(at: &Attached, source: SourceNum) -> Result<bool, RepoError> {
    let reader = at.reader()?;
    for absent in reader.absent(source)? {
        if !reader.is_bridged(source, &absent)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether maintaining has to write a history again: something of it is not in the repository.
pub fn is_incomplete(at: &Attached, source: &Source) -> Result<bool, RepoError> {
    look(at, source)?;
    Ok(!at.reader()?.absent(source.num)?.is_empty())
}

/// The runs of which there is something among these objects of a journal.
pub(super) fn epochs(objects: &[String]) -> HashSet<String> {
    let segments = objects.iter().filter(|name| Merged::parse(name).is_none());
    segments.filter_map(|name| names::Segment::parse(name)).map(|s| s.epoch.as_str().to_owned()).collect()
}
