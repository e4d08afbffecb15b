//! Two writers of one source, whose records do not follow one another: the history as the index has it is one branch, and each
//! other branch, with all that was before it, is a source of its own.
//!
//! Where a branch begins names it: its id comes from the hash of its first record, so every host gives it the same one.

use crate::index::tree::Reader;
use crate::repo::{
    attach::Attached,
    error::{Damage, RepoError},
    names::Segment,
    record::{Part, RecordHasher},
    segment::{self, SEGMENT_MAX},
};
use crate::sys::durable;
use crate::types::{
    ids::{Hash, Id, Snap, SourceNum},
    snapshot::{Head, Source, WRITER_MARK as MARK},
};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::PathBuf,
};

/// What a derived id is derived for.
const CONTEXT: &str = "bygone 2026-11 branch of a source";

/// The records of one branch: the run of their writer, and their number.
pub(super) struct Route {
    pub(super) source: Source,
    pub(super) records: HashSet<(String, Snap)>,
}

/// A branch that was found.
pub(super) struct Branch {
    /// Its source's id.
    pub(super) id: Id,
    /// The first record that is not of the history it branched off.
    pub(super) first: Snap,
    hash: Hash,
    pub(super) records: HashSet<(String, Snap)>,
}

impl Branch {
    /// The source that shows it; `known` are those of the index.
    pub(super) fn source(&self, of: &Source, known: &[Source]) -> Source {
        if let Some(source) = known.iter().find(|s| s.id == self.id) {
            return source.clone();
        }
        let name = &self.hash.to_string()[..8];
        let host = format!("{}{MARK}{name}", of.host);
        let taken: HashSet<u16> = known.iter().map(|s| s.num.0).collect();
        let first = u16::from_le_bytes([self.id.0[0], self.id.0[1]]);
        let free = |n: u16| n != 0 && !taken.contains(&n);
        let num = (0..=SourceNum::MAX).map(|n| first.wrapping_add(n) & SourceNum::MAX).find(|n| free(*n));
        Source { id: self.id, num: SourceNum(num.unwrap_or(first & SourceNum::MAX)), host, root: of.root.clone() }
    }
}

/// The segments in which records of the branches of a source end that the index has.
pub(super) fn taken(reader: &Reader, source: Option<&Source>) -> Result<HashSet<String>, RepoError> {
    let mut taken = HashSet::new();
    let Some(source) = source else { return Ok(taken) };
    let forks: Vec<Source> = reader.sources()?.into_iter().filter(|fork| fork.may_branch_off(source)).collect();
    for fork in forks {
        taken.extend(reader.segments(fork.num)?.into_iter().map(|row| row.name));
    }
    Ok(taken)
}

/// A record as its first part states it, with its hash.
struct Record {
    number: Snap,
    previous: Hash,
    hash: Hash,
    epoch: String,
}

/// The branches of a source beside the one that ends at `head`. Reads its whole journal.
pub(super) fn find(
    at: &Attached,
    source: &Source,
    head: &Head,
    segments: &[Segment],
) -> Result<Vec<Branch>, RepoError> {
    let records = records(at, source, segments);
    let by_hash: HashMap<Hash, usize> = records.iter().enumerate().map(|(n, r)| (r.hash, n)).collect();
    let path_to = |mut hash: Hash| {
        let mut path = Vec::new();
        while let Some(n) = by_hash.get(&hash) {
            path.push(*n);
            hash = records[*n].previous;
        }
        path
    };
    let mut placed: HashSet<usize> = path_to(head.hash).into_iter().collect();
    let mut branches = Vec::new();
    for (n, first) in records.iter().enumerate() {
        let on = by_hash.get(&first.previous).is_some_and(|before| placed.contains(before));
        if placed.contains(&n) || !on {
            continue;
        }
        let mut path = path_to(first.hash);
        let mut last = n;
        placed.insert(n);
        // A record that follows has a place behind it, since those of one branch are in order.
        for (m, next) in records.iter().enumerate().skip(n + 1) {
            if next.previous == records[last].hash && !placed.contains(&m) {
                placed.insert(m);
                path.push(m);
                last = m;
            }
        }
        let records = path.iter().map(|n| (records[*n].epoch.clone(), records[*n].number)).collect();
        branches.push(Branch { id: id(source.id, first.hash), first: first.number, hash: first.hash, records });
    }
    Ok(branches)
}

fn id(source: Id, first: Hash) -> Id {
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    hasher.update(&source.0).update(&first.0);
    let mut id = [0; 16];
    id.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    Id(id)
}

/// All whole records of a journal, in the order of their segments. Damage is told where the journal is replayed.
fn records(at: &Attached, source: &Source, segments: &[Segment]) -> Vec<Record> {
    let repo = at.repo();
    let mut sorted = segments.to_vec();
    sorted.sort();
    let (mut all, mut open) = (Vec::new(), None);
    for segment in &sorted {
        let (name, location) = (segment.name(), repo.store().location());
        let mut item = |bytes: &[u8]| {
            let part = Part::read(bytes).map_err(|e| repo.damaged(&name, "record", Damage::from(e)))?;
            if let Some(opening) = &part.opening {
                open = Some((part.place.number, opening.previous, RecordHasher::default()));
            }
            let Some((number, previous, hasher)) = &mut open else { return Ok(()) };
            hasher.part(bytes);
            if part.place.last && part.place.source == source.id {
                let epoch = segment.epoch.as_str().to_owned();
                all.push(Record { number: *number, previous: *previous, hash: hasher.finish(), epoch });
                open = None;
            }
            Ok::<(), RepoError>(())
        };
        let read = repo.store().get(&name, SEGMENT_MAX).map_err(RepoError::from);
        let read = read.and_then(|bytes| segment::read(repo.keys(), &location, &name, &bytes, &mut item));
        if let Err(e) = read {
            tracing::warn!("left out while branches were looked for: {e}");
        }
    }
    all
}

/// How many segments of each journal there were up to the last record that was taken, so that one that comes later, from a
/// writer that was away, is noticed although it stands before others. In a file beside the index.
pub(super) struct Seen {
    rows: BTreeMap<Id, (String, u64, usize)>,
    changed: bool,
}

fn seen_path(at: &Attached) -> PathBuf {
    at.dir().join("journal-seen")
}

fn upto(segments: &[Segment], epoch: &str, seq: u64) -> usize {
    segments.iter().filter(|s| (s.epoch.as_str(), s.seq) <= (epoch, seq)).count()
}

impl Seen {
    pub(super) fn load(at: &Attached) -> Seen {
        let text = std::fs::read_to_string(seen_path(at)).unwrap_or_default();
        let row = |line: &str| {
            let mut words = line.split(' ');
            let id = Id::parse(words.next()?)?;
            Some((id, (words.next()?.to_owned(), words.next()?.parse().ok()?, words.next()?.parse().ok()?)))
        };
        Seen { rows: text.lines().filter_map(row).collect(), changed: false }
    }

    /// Whether there are more segments than there were, up to the same one.
    pub(super) fn are_more(&self, source: Id, segments: &[Segment]) -> bool {
        let row = self.rows.get(&source);
        row.is_some_and(|(epoch, seq, count)| upto(segments, epoch, *seq) > *count)
    }

    pub(super) fn note(&mut self, source: Id, segments: &[Segment], head: &Head) {
        let row = (head.epoch.clone(), head.seq, upto(segments, &head.epoch, head.seq));
        if !head.epoch.is_empty() && self.rows.get(&source) != Some(&row) {
            self.rows.insert(source, row);
            self.changed = true;
        }
    }

    /// Lost, it is made anew: only what came in between would be noticed later, when the index is.
    pub(super) fn save(&self, at: &Attached) {
        if !self.changed {
            return;
        }
        let row = |(id, (epoch, seq, count)): (&Id, &(String, u64, usize))| format!("{id} {epoch} {seq} {count}\n");
        let text: String = self.rows.iter().map(row).collect();
        if let Err(e) = durable::replace(&seen_path(at), text.as_bytes(), 0o600) {
            tracing::warn!("cannot note how far the journals were seen: {e}");
        }
    }
}
