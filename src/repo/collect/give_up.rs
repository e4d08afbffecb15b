//! Giving up what can't be read of a source's history, when a person has decided that no good copy of it will come back: the history as
//! this host's index has it is written as the merged one, and takes the place of all that there is.

use crate::progress::Progress;
use crate::repo::{
    attach::Attached,
    audit::{named::Named, witness},
    collect::{
        merged::{self, MergedHead},
        proof, strangers, sweep, take,
    },
    error::RepoError,
    names::{self, Segment},
};
use crate::types::{
    path::show,
    snapshot::{Lost, Source},
};
use std::collections::HashSet;

/// What can't be read of the history of a source.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Unreadable {
    /// The objects of the journal, each with why it can't be read or followed.
    pub objects: Vec<(String, String)>,
    /// The snapshots that this host's index lacks.
    pub lost: Vec<Lost>,
    /// Those that the audit trail names, and the journal does not have.
    pub named: Vec<Named>,
}

impl Unreadable {
    /// Whether there is nothing to give up.
    pub fn is_nothing(&self) -> bool {
        self.objects.is_empty() && self.named.is_empty()
    }
}

/// What can't be read of the history of a source. The index has to be as far as it comes.
///
/// An error where its newest snapshots can't be read either, or where another writer's history rests on it: then there is nothing that
/// could take its place.
pub fn unreadable(at: &Attached, source: &Source, progress: &dyn Progress) -> Result<Unreadable, RepoError> {
    let reader = at.reader()?;
    let keeps = |why: String| Err(RepoError::NotGivenUp { root: show(&source.root), why });
    let head = reader.head(source.num)?;
    if let Some(beyond) = reader.beyond(source.num)?.filter(|beyond| !beyond.is_unrecorded_behind(&head)) {
        return keeps(format!(
            "its last snapshots, up to {}, need what can't be read: take a snapshot of it first, which will need none of it",
            beyond.number
        ));
    }
    if strangers::has_branches(at, source)? {
        return keeps("a second writer's history branches off from it, and rests on it".to_owned());
    }
    let mut objects = Vec::new();
    for segment in passed(at, source)? {
        if (segment.epoch.as_str(), segment.seq) > (head.epoch.as_str(), head.seq) {
            return keeps(format!(
                "{} is newer than its last snapshot: take a snapshot of it first, then look again",
                segment.name()
            ));
        }
        objects.push((segment.name(), "its records follow from nothing that can be read".to_owned()));
    }
    let listed = at.repo().store().list(&names::journal(source.id))?;
    if let Some(newest) = take::newest(listed.iter().map(|o| o.name.as_str())).pop() {
        let flaw = match merged::read_head(at.repo(), &newest) {
            Ok(head) => proof::read_through(at.repo(), &newest, &head, progress).map(|f| (f.object, f.why)),
            Err(e) if e.is_damage() => Some((newest.name(), e.why_of(&newest.name(), "head"))),
            Err(e) => return Err(e),
        };
        // Of one that the index has taken nothing is lost here: maintaining writes it again.
        let is_taken = reader.merged(source.num)? == newest.name();
        objects.extend(flaw.filter(|_| !is_taken));
    }
    let named =
        witness::check_all(at).map_err(|e| RepoError::NotGivenUp { root: show(&source.root), why: e.to_string() })?;
    let named = named.into_iter().filter(|named| named.root == source.root && source.is_of(&named.host)).collect();
    Ok(Unreadable { objects, lost: reader.lost(source.num)?, named })
}

/// Gives up what [`unreadable`] names: what follows from nothing is deleted when the repository is maintained. It counts when this
/// returns.
pub fn give_up(at: &Attached, source: &Source) -> Result<Option<MergedHead>, RepoError> {
    let runs: HashSet<String> = passed(at, source)?.into_iter().map(|s| s.epoch.as_str().to_owned()).collect();
    let head = sweep::merge_over(at, source, &runs)?;
    at.repo().store().settle()?;
    Ok(head)
}

/// The segments in the journal of a source that the index has passed over.
fn passed(at: &Attached, source: &Source) -> Result<Vec<Segment>, RepoError> {
    Ok(strangers::unknown(at)?.into_iter().filter(|s| s.source == source.id).collect())
}
