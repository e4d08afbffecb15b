//! What only the audit trail tells of a history: snapshots that it names behind the last record that the journal gives. A repository
//! that was set back, or has lost its newest records, would show what was before them as the newest otherwise.

use crate::index::{error::IndexError, tree::Reader};
use crate::repo::{
    attach::Attached,
    audit::{known, named::Named},
    error::RepoError,
};
use crate::types::{
    snapshot::{Counters, Head, Source},
    when::show::exact_name,
};

/// So many numbers of nodes and versions are left free for what the lost records have given: no record gives as many.
const FREE: u64 = 1 << 32;

/// The snapshots that the trail names, as far as this host has read it; all of it is read where the index is new. To be called before
/// the journal is listed: what is named by then is in it.
pub(super) fn named(at: &Attached, reader: &Reader) -> Result<Vec<Named>, RepoError> {
    let is_new = reader.sources()?.is_empty();
    known::named(at.dir(), is_new.then_some(at.repo()))
}

/// The newest snapshot that the trail names of a source behind its `head`, as the record that lies behind what is lost, and why that
/// is. What follows it needs nothing of it but its number and its hash.
pub(super) fn beyond(
    reader: &Reader,
    (source, head): (&Source, &Head),
    named: &[Named],
) -> Result<Option<(Head, String)>, IndexError> {
    // Of several writers of a source it can't be told whose it is: the witness tells of it.
    let is_only = reader.sources()?.iter().filter(|s| s.root == source.root && s.is_of(&source.host)).count() == 1;
    let is_behind = |n: &&Named| n.root == source.root && n.host == source.host && n.number > head.number;
    let newest = named.iter().filter(|n| is_only && is_behind(n) && n.time > head.time).max_by_key(|n| n.number);
    let Some(newest) = newest else { return Ok(None) };
    let Counters { dir, other, ver } = head.next;
    let head = Head {
        number: newest.number,
        hash: newest.hash,
        time: newest.time,
        next: Counters { dir: dir + FREE, other: other + FREE, ver: ver + FREE },
        ..head.clone()
    };
    let why = format!(
        "the audit trail names snapshot {}, taken {}, and the journal has no such record: the repository was set back, or has lost it",
        newest.number,
        exact_name(newest.time)
    );
    Ok(Some((head, why)))
}
