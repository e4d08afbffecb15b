//! Merged histories, read again from the store: that each is whole, follows from record to record, and ends where its head says.

use crate::index::tree::Reader;
use crate::progress::Progress;
use crate::repo::{
    collect::merged::{self, MergedHead},
    error::{Damage, RepoError},
    names::Merged,
    open::Repository,
    record::{Layout, Part, RecordHasher},
    segment::{self, SEGMENT_MAX},
};
use crate::types::{
    ids::{Hash, Snap},
    snapshot::Source,
};
use crate::verify::{check::VerifyError, report::Report};

const TO_DO: &str = "keep this host's state directory: its index still shows this history; put back a good copy of the object \
                     from another copy of the repository";

/// Checks a merged history. Gives its head, if that can be read.
pub(super) fn check(
    repo: &Repository,
    index: &Reader,
    (merged, source): (&Merged, Option<&Source>),
    progress: &dyn Progress,
    report: &mut Report,
) -> Result<Option<MergedHead>, VerifyError> {
    report.segments += 1;
    let head = match merged::read_head(repo, merged) {
        Ok(head) => head,
        Err(e) => {
            let lost = "the snapshots that it keeps: a new machine can't show them";
            report.problem(&merged.name(), "head", e.to_string()).lost(lost).advise(TO_DO);
            return Ok(None);
        }
    };
    let mut chain = Chain { repo, head: &head, chain: Hash::ZERO, hasher: None, taken: 0 };
    for seq in 1..=head.segments {
        let name = Merged { seq, ..merged.clone() }.name();
        report.segments += 1;
        let read = repo.store().get(&name, SEGMENT_MAX).map_err(RepoError::from).and_then(|bytes| {
            progress.add(1, bytes.len() as u64);
            let location = repo.store().location();
            segment::read(repo.keys(), &location, &name, &bytes, |item| chain.item(&name, item))
        });
        if let Err(e) = read {
            let first = head.kept.get(chain.taken as usize).copied().unwrap_or(head.upto.number);
            let lost = format!("the snapshots from {first} on; a new machine can't show them");
            report.problem(&name, "object", e.to_string()).lost(lost).advise(TO_DO);
            return Ok(Some(head));
        }
    }
    report.snapshots += chain.taken;
    if chain.chain != head.chain || chain.taken != head.kept.len() as u64 {
        let why = "its records are not those that its head names";
        report.problem(&merged.name(), "chain of records", why).advise(TO_DO);
    }
    if let Some(source) = source
        && let Some(seen) = index.snapshot(source.num, head.upto.number)?
        && seen.hash != head.upto.hash
    {
        let why = format!("it ends with another record of snapshot {} than this host has seen", head.upto.number);
        report
            .problem(&merged.name(), "head", why)
            .lost("the history was rewritten: what this host saw and what the repository says differ")
            .advise("find out who wrote to the repository; keep this host's state directory as evidence");
    }
    Ok(Some(head))
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
