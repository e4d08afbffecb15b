//! Reading a merged history through, from the store: before what it takes the place of is deleted, and to verify it.

use crate::progress::Progress;
use crate::repo::{
    collect::merged::MergedHead,
    error::{Damage, RepoError},
    names::Merged,
    open::Repository,
    record::{Layout, Part, RecordHasher},
    segment::{self, SEGMENT_MAX},
};
use crate::types::ids::{Hash, Snap};

/// What is wrong with a merged history.
#[derive(Debug)]
pub struct Flaw {
    /// The object.
    pub object: String,
    /// What in it.
    pub part: &'static str,
    /// Why.
    pub why: String,
    /// How many of its snapshots could be read before it.
    pub taken: u64,
}

/// Reads all of a merged history and follows it from record to record, to where its head says that it ends. Gives the first thing that is
/// wrong with it, if something is.
pub fn read_through(repo: &Repository, merged: &Merged, head: &MergedHead, progress: &dyn Progress) -> Option<Flaw> {
    let mut chain = Chain { repo, head, chain: Hash::ZERO, hasher: None, taken: 0 };
    for seq in 1..=head.segments {
        let name = Merged { seq, ..merged.clone() }.name();
        let read = repo.store().get(&name, SEGMENT_MAX).map_err(RepoError::from).and_then(|bytes| {
            progress.add(1, bytes.len() as u64);
            let location = repo.store().location();
            segment::read(repo.keys(), &location, &name, &bytes, |item| chain.item(&name, item))
        });
        if let Err(e) = read {
            let why = e.why_of(&name, "object");
            return Some(Flaw { object: name, part: "object", why, taken: chain.taken });
        }
    }
    (chain.chain != head.chain || chain.taken != head.kept.len() as u64).then(|| Flaw {
        object: merged.name(),
        part: "chain of records",
        why: "its records are not those that its head names".to_owned(),
        taken: chain.taken,
    })
}

struct Chain<'a> {
    repo: &'a Repository,
    head: &'a MergedHead,
    chain: Hash,
    /// Of the record that is being read: its number, its next part, and its hash so far.
    hasher: Option<(Snap, u64, RecordHasher)>,
    taken: u64,
}

impl Chain<'_> {
    fn item(&mut self, name: &str, item: &[u8]) -> Result<(), RepoError> {
        let repo = self.repo;
        let damaged = |why: Damage| repo.damaged(name, "merged record", why);
        let part = Part::read(item).map_err(|e| damaged(e.into()))?;
        let place = part.place;
        if part.layout != Layout::Merged || place.source != self.head.source.id {
            return Err(damaged(Damage::other("it is no part of this merged history")));
        }
        if let Some(opening) = &part.opening {
            if self.head.kept.get(self.taken as usize) != Some(&place.number) || opening.previous != self.chain {
                return Err(damaged(Damage::other("it does not follow from the one before it")));
            }
            self.hasher = Some((place.number, 0, RecordHasher::default()));
        }
        let open = self.hasher.as_mut().filter(|(number, next, _)| (*number, *next) == (place.number, place.part));
        let (_, next, hasher) = open.ok_or_else(|| damaged(Damage::other("a part of it is missing")))?;
        *next += 1;
        hasher.part(item);
        if part.ops(damaged, |_| Ok::<_, RepoError>(()))?.is_some() {
            self.chain = hasher.finish();
            self.hasher = None;
            self.taken += 1;
        }
        Ok(())
    }
}
