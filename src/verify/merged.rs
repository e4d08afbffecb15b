//! Merged histories, read again from the store: that each is whole, follows from record to record, and ends where its head says.

use crate::index::tree::Reader;
use crate::progress::Progress;
use crate::repo::{
    collect::{
        merged::{self, MergedHead},
        proof,
    },
    names::Merged,
    open::Repository,
};
use crate::types::snapshot::Source;
use crate::verify::{check::VerifyError, report::Report};

const TO_DO: &str = "keep this host's state directory: its index still shows this history, and `bygone maintain` writes it again from \
                     there; or put back a good copy of the object from another copy of the repository";

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
            report.problem(&merged.name(), "head", e.why_of(&merged.name(), "head")).lost(lost).advise(TO_DO);
            return Ok(None);
        }
    };
    report.segments += head.segments;
    match proof::read_through(repo, merged, &head, progress) {
        None => report.snapshots += head.kept.len() as u64,
        Some(flaw) => {
            report.snapshots += flaw.taken;
            let first = head.kept.get(flaw.taken as usize).copied().unwrap_or(head.upto.number);
            let lost = format!("the snapshots from {first} on; a new machine can't show them");
            report.problem(&flaw.object, flaw.part, flaw.why).lost(lost).advise(TO_DO);
            return Ok(Some(head));
        }
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
