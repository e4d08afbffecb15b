//! What is to be done at a site: data that can be printed before anything is.

use crate::replicate::{error::ReplicateError, extra, known::Known, listing::Listing};
use crate::repo::{
    attach::Attached,
    authentic::Sort,
    collect::statement::Named,
    holding::{self, Holding},
    names::{self, KEYS, REPOSITORY},
    open::{Repository, repository_id},
    promotion::{self, Standing},
};
use crate::store::api::Object;
use crate::types::ids::Id;
use std::collections::HashSet;

/// What a site is to have.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wanted {
    /// The histories, and the tiers whose snapshots are to be whole.
    pub holding: Holding,
    /// Of the packs only these, which hold what that needs; all of them if none.
    pub packs: Option<HashSet<Id>>,
}

impl Wanted {
    fn has(&self, name: &str) -> bool {
        if let Some(pack) = names::parse_pack(name) {
            return self.packs.as_ref().is_none_or(|packs| packs.contains(&pack));
        }
        let sources = self.holding.sources.as_ref();
        names::source_of(name).is_none_or(|source| sources.is_none_or(|sources| sources.contains(&source)))
    }
}

/// Something that stays at the site though the origin does not have it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// The object.
    pub name: String,
    /// Why it stays.
    pub why: &'static str,
    /// Whether the origin should have it: it was deleted there by nobody who may.
    pub is_lost: bool,
}

/// An object that has one length here and another there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Differing {
    /// The object.
    pub name: String,
    /// Its bytes at the origin.
    pub here: u64,
    /// Its bytes at the site.
    pub there: u64,
}

/// What is to be done at a site.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// Whether the site has nothing yet.
    pub is_new: bool,
    /// What is copied, in this order.
    pub copy: Vec<Object>,
    /// What is deleted when all of that is there: collection has deleted it at the origin.
    pub remove: Vec<Object>,
    /// What stays that the origin does not have.
    pub kept: Vec<Kept>,
    /// What is looked at, since its length differs.
    pub differing: Vec<Differing>,
    /// The objects that are at both.
    pub same: u64,
    /// What it is to hold.
    pub holding: Holding,
    /// What it holds by what it says; all if it says nothing, or is new.
    pub held: Holding,
    /// The statements in which it says that.
    pub stated: Vec<String>,
    /// The parts of journals that the site has already.
    pub journals: HashSet<String>,
    /// Whether the site is to be told that the origin was promoted.
    pub fences: bool,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.copy.is_empty() && self.remove.is_empty() && self.differing.is_empty()
    }

    /// The bytes that are to be copied.
    pub fn bytes(&self) -> u64 {
        self.copy.iter().map(|object| object.len).sum()
    }
}

/// Compares the origin with its copy, by two listings; nothing of either is read where they are the same. Refuses another repository,
/// and a copy that has history which the origin does not have and never had.
///
/// `at` is the origin with the index of this host, and `known` what that says.
///
/// `hands_over` where the origin may be fenced: what it has goes to a site that is about to be promoted.
pub fn plan(
    at: &Attached,
    copy: &Repository,
    wanted: &Wanted,
    known: &mut Known,
    hands_over: bool,
) -> Result<Plan, ReplicateError> {
    let (plan, foreign) = compared(at, copy, wanted, known, hands_over)?;
    match foreign.first() {
        None => Ok(plan),
        Some(first) => Err(ReplicateError::Ahead {
            location: copy.store().location(),
            origin: at.repo().store().location(),
            count: foreign.len(),
            first: first.clone(),
        }),
    }
}

/// What a place has that another one goes on without: written there by somebody who did not know of the promotion.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Beyond {
    /// Objects that can be joined: segments of journals, the packs that they need, legal holds, entries of the audit trail.
    pub joined: Vec<String>,
    /// Of these, the segments.
    pub segments: usize,
    /// Objects that can't: it has collected.
    pub apart: Vec<String>,
}

/// What `copy` has beyond the repository of `at`.
pub fn beyond(at: &Attached, copy: &Repository, known: &mut Known) -> Result<Beyond, ReplicateError> {
    let (plan, foreign) = compared(at, copy, &Wanted::default(), known, true)?;
    let mut beyond = Beyond::default();
    let lost = plan.kept.into_iter().map(|kept| kept.name);
    for name in foreign.into_iter().chain(lost) {
        match Sort::of(&name) {
            Some(Sort::Segment) => {
                beyond.segments += 1;
                beyond.joined.push(name);
            }
            Some(Sort::Pack | Sort::Hold | Sort::Audit) => beyond.joined.push(name),
            Some(Sort::MergedSegment | Sort::MergedHead) => beyond.apart.push(name),
            // Of collection only a statement says that something went.
            Some(Sort::Collection) if statement_of(&name) => beyond.apart.push(name),
            _ => {}
        }
    }
    beyond.joined.sort_by_key(|name| (Sort::of(name), name.clone()));
    Ok(beyond)
}

fn statement_of(name: &str) -> bool {
    matches!(Named::parse(name), Some(Named::Statement(_)))
}

/// The plan, and what was made at the site.
fn compared(
    at: &Attached,
    copy: &Repository,
    wanted: &Wanted,
    known: &mut Known,
    hands_over: bool,
) -> Result<(Plan, Vec<String>), ReplicateError> {
    let (here, there) = std::thread::scope(|threads| {
        let there = threads.spawn(|| Listing::of_copy(copy.store()));
        let here = Listing::of_origin(at.repo().store());
        (here, there.join().unwrap_or_else(|panicked| std::panic::resume_unwind(panicked)))
    });
    let (here, there) = (here?, there?);
    check_place(at.repo(), copy, &here, &there)?;
    let own = promotion::standing(at.repo().store())?;
    let theirs = Standing::of(there.names().map(String::as_str));
    if theirs.here.as_ref() > own.last() {
        return Err(ReplicateError::Promoted {
            location: copy.store().location(),
            origin: at.repo().store().location(),
        });
    }
    if !hands_over {
        promotion::goes_on(at.repo())?;
    }
    let journals = there.names().filter(|name| names::source_of(name).is_some()).cloned().collect();
    let is_new = !there.has(REPOSITORY);
    let mut plan = Plan {
        is_new,
        holding: wanted.holding.clone(),
        held: held(copy, &there)?,
        stated: there.names().filter(|name| holding::parse(name).is_some()).cloned().collect(),
        journals,
        fences: !own.is_fenced() && own.here.as_ref() > theirs.last(),
        ..Plan::default()
    };
    for (name, len) in &here.0 {
        match there.0.get(name) {
            Some(other) if other == len => plan.same += 1,
            Some(other) => plan.differing.push(Differing { name: name.clone(), here: *len, there: *other }),
            None if wanted.has(name) => plan.copy.push(Object { name: name.clone(), len: *len }),
            None => {}
        }
    }
    // Names of one sort are in order already, and a journal's segments in that of its history.
    plan.copy.sort_by_key(|object| Sort::of(&object.name));
    let foreign = extra::sort_out((at, copy), (&here, &there), known, &mut plan)?;
    Ok((plan, foreign))
}

/// What a copy says that it holds. One that can't be read says nothing, and is stated anew.
fn held(copy: &Repository, there: &Listing) -> Result<Holding, ReplicateError> {
    if !there.names().any(|name| holding::parse(name).is_some()) {
        return Ok(Holding::default());
    }
    match holding::held(copy) {
        Err(e) if e.is_damage() => {
            tracing::warn!("{e}");
            Ok(Holding { sources: None, tiers: Some(Vec::new()) })
        }
        held => Ok(held?),
    }
}

/// That the site is empty, or has a copy of this repository. Nothing is read where it has a key slot of it: their names are random.
fn check_place(origin: &Repository, copy: &Repository, here: &Listing, there: &Listing) -> Result<(), ReplicateError> {
    let other = |found: String| ReplicateError::Other { location: copy.store().location(), found, id: origin.id() };
    let shares_slot = there.names().any(|name| name.starts_with(KEYS) && here.has(name));
    if there.has(REPOSITORY) {
        if !shares_slot {
            match repository_id(copy.store())? {
                id if id == origin.id() => {}
                id => return Err(other(format!("the repository {id}"))),
            }
        }
        return Ok(());
    }
    // A copy that was only begun has slots and no description.
    match there.names().find(|name| !name.starts_with(KEYS)) {
        Some(name) => Err(other(format!("{name}, and no bygone.toml"))),
        None if there.0.is_empty() || shares_slot => Ok(()),
        None => Err(other("key slots of another repository".to_owned())),
    }
}
