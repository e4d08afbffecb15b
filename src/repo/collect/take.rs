//! Taking a merged history in: by releasing what it does not keep, where the index has seen all of it, and from its records where not.

use crate::index::apply::{Applier, Applying, PATIENT};
use crate::progress::Progress;
use crate::repo::{
    attach::Attached,
    collect::{
        merged::{MergedHead, read_head},
        proof,
    },
    error::{Damage, RepoError},
    names::Merged,
    record::{Closing, Layout, Opening, Part, RecordHasher},
    segment::{self, SEGMENT_MAX},
};
use crate::sys::durable;
use crate::types::{
    ids::{Hash, Snap},
    snapshot::{Head, Snapshot},
};
use std::collections::{BTreeMap, BTreeSet};

/// Locked while a merged history is taken in.
const TAKING: &str = "taking.lock";

/// The newest merged history of each source that has a head, from the names of the journal's objects.
pub fn newest<'a>(names: impl Iterator<Item = &'a str>) -> Vec<Merged> {
    let mut newest: BTreeMap<_, BTreeSet<Merged>> = BTreeMap::new();
    for merged in names.filter_map(Merged::parse).filter(|m| m.seq == 0) {
        newest.entry(merged.source).or_default().insert(merged);
    }
    newest.into_values().filter_map(|mut of| of.pop_last()).collect()
}

/// Brings the index to a merged history that it has not seen. True where it took anything.
pub fn take(at: &Attached, merged: &Merged, progress: &dyn Progress) -> Result<bool, RepoError> {
    let reader = at.reader()?;
    let source = reader.sources()?.into_iter().find(|s| s.id == merged.source);
    let name = merged.name();
    if let Some(source) = &source
        && reader.merged(source.num)?.as_str() >= name.as_str()
    {
        return Ok(false);
    }
    // One process of this host at a time: the others find it done.
    let path = at.dir().join(TAKING);
    let _alone = durable::lock_wait(&path).map_err(|e| RepoError::State {
        doing: "lock",
        path: path.display().to_string(),
        source: e.into(),
    })?;
    let source = reader.sources()?.into_iter().find(|s| s.id == merged.source);
    if let Some(source) = &source
        && reader.merged(source.num)?.as_str() >= name.as_str()
    {
        return Ok(false);
    }
    let head = read_head(at.repo(), merged)?;
    let known = match &source {
        Some(source) => reader.snapshot(source.num, head.upto.number)?.is_some_and(|s| s.hash == head.upto.hash),
        None => false,
    };
    // Nothing that the index has is given up for a merged history that can't be read.
    if source.is_some()
        && !known
        && let Some(flaw) = proof::read_through(at.repo(), merged, &head, progress)
    {
        return Err(at.repo().damaged(&flaw.object, "merged history", Damage::other(flaw.why)));
    }
    if !known {
        at.index().set_stale(true)?;
    }
    match source {
        Some(source) if known => {
            let released = at.index().release(source.num, (head.upto.number, &head.kept), PATIENT)?;
            tracing::info!("{name} keeps {} snapshots; {} were released", head.kept.len(), released.snapshots);
        }
        Some(source) => {
            at.index().forget(source.num, PATIENT)?;
            replay(at, merged, &head, progress)?;
        }
        None => {
            at.index().add_source(&head.source)?;
            replay(at, merged, &head, progress)?;
        }
    }
    at.index().set_merged(head.source.num, (&name, &head.runs), head.upto.number)?;
    Ok(true)
}

/// Takes the records of a merged history into an index that knows nothing of its source.
fn replay(at: &Attached, merged: &Merged, head: &MergedHead, progress: &dyn Progress) -> Result<(), RepoError> {
    let applier = Applier::open(at.index(), PATIENT)?;
    let mut replay = Replay { at, applier: &applier, head, open: None, chain: Hash::ZERO, before: None, taken: 0 };
    let repo = at.repo();
    for seq in 1..=head.segments {
        let name = Merged { seq, ..merged.clone() }.name();
        let bytes = repo.store().get(&name, SEGMENT_MAX)?;
        progress.add(1, bytes.len() as u64);
        segment::read(repo.keys(), &repo.store().location(), &name, &bytes, |item| replay.item(&name, item))?;
    }
    if replay.chain != head.chain || replay.taken != head.kept.len() as u64 {
        let why = Damage::other("its records are not those that its head names");
        return Err(repo.damaged(&merged.name(), "merged history", why));
    }
    for lost in &head.lost {
        at.index().note_lost(lost)?;
    }
    Ok(())
}

struct Replay<'a> {
    at: &'a Attached,
    applier: &'a Applier,
    head: &'a MergedHead,
    open: Option<Open<'a>>,
    chain: Hash,
    /// The last snapshot that was taken.
    before: Option<(Snap, Hash)>,
    taken: u64,
}

struct Open<'a> {
    applying: Applying<'a>,
    number: Snap,
    next_part: u64,
    hasher: RecordHasher,
    opening: Opening,
}

impl Replay<'_> {
    fn item(&mut self, name: &str, item: &[u8]) -> Result<(), RepoError> {
        let repo = self.at.repo().clone();
        let damaged = |why: Damage| repo.damaged(name, "merged record", why);
        let part = Part::read(item).map_err(|e| damaged(e.into()))?;
        let place = part.place;
        if part.layout != Layout::Merged || place.source != self.head.source.id {
            return Err(damaged(Damage::other("it is no part of this merged history")));
        }
        if let Some(opening) = part.opening.clone() {
            let kept = self.head.kept.get(self.taken as usize) == Some(&place.number);
            if !kept || opening.previous != self.chain || opening.base != self.before || self.open.is_some() {
                return Err(damaged(Damage::other("it does not follow from the one before it")));
            }
            let base = opening.base.map(|(number, _)| number);
            let applying = self.applier.begin_stated(self.head.source.num, place.number, base)?;
            let hasher = RecordHasher::default();
            self.open = Some(Open { applying, number: place.number, next_part: 0, hasher, opening });
        }
        let open = self.open.as_mut().filter(|o| o.number == place.number && o.next_part == place.part);
        let open = open.ok_or_else(|| damaged(Damage::other("a part of it is missing")))?;
        open.next_part += 1;
        open.hasher.part(item);
        let applying = &mut open.applying;
        let closing = part.ops(damaged, |op| applying.op(&op).map_err(RepoError::from))?;
        closing.map_or(Ok(()), |closing| self.commit(name, &closing))
    }

    fn commit(&mut self, name: &str, closing: &Closing) -> Result<(), RepoError> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let (upto, num) = (&self.head.upto, self.head.source.num);
        let hash = open.opening.stands_for.unwrap_or(Hash::ZERO);
        // Only the last one has a place in the journal from which it goes on.
        let head = match open.number == upto.number {
            true => upto.clone(),
            false => {
                Head { number: open.number, hash, time: closing.time, epoch: String::new(), seq: 0, next: upto.next }
            }
        };
        let snapshot = Snapshot {
            source: num,
            number: open.number,
            time: closing.time,
            tier: open.opening.tier,
            hash,
            counts: closing.counts,
        };
        self.chain = open.hasher.finish();
        open.applying.commit(&snapshot, name, &head)?;
        self.before = Some((snapshot.number, hash));
        self.taken += 1;
        Ok(())
    }
}
