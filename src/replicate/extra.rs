//! What a copy has and its origin does not: collected there, lost there, or written here.
//!
//! Whoever deletes at the origin must not delete at the site with it. So an object goes only where a statement of collection, or the
//! head of a merged history, both sealed with the keys, says that it was to go; where this host's index needs none of it; and where
//! the site has every legal hold and lock that it had.

use crate::replicate::{
    error::ReplicateError,
    known::Known,
    listing::Listing,
    plan::{Kept, Plan},
};
use crate::repo::{
    attach::Attached,
    audit::{
        self,
        event::{Kind, Outcome},
    },
    authentic::Sort,
    collect::{
        merged::{self, MergedHead},
        statement::{self, Named, Statement},
        take,
    },
    error::RepoError,
    names::{self, KEYS, Merged, Segment},
    open::Repository,
};
use crate::store::api::Object;
use crate::types::ids::Id;
use std::collections::{HashMap, HashSet};

/// What becomes of an object that the origin does not have.
enum Verdict {
    /// It was collected.
    Goes,
    /// It stays; whether the origin should have it.
    Stays(&'static str, bool),
    /// It was made at the site.
    Foreign,
}

/// Sorts out what the site has and the origin does not, into the plan. Gives the names of what was made at the site.
pub(super) fn sort_out(
    (at, copy): (&Attached, &Repository),
    (here, there): (&Listing, &Listing),
    known: &mut Known,
    plan: &mut Plan,
) -> Result<Vec<String>, ReplicateError> {
    let extras: Vec<(&String, Sort)> =
        there.names().filter(|name| !here.has(name)).filter_map(|name| Some((name, Sort::of(name)?))).collect();
    if extras.is_empty() {
        return Ok(Vec::new());
    }
    let is = |sorts: &[Sort]| extras.iter().any(|(_, sort)| sorts.contains(sort));
    let mut stated = Stated::default();
    if is(&[Sort::Pack, Sort::Collection]) {
        stated.read((at.repo(), copy), (here, there))?;
    }
    let mut heads = HashMap::new();
    if is(&[Sort::Segment, Sort::MergedSegment, Sort::MergedHead]) {
        for newest in take::newest(here.names().map(String::as_str)) {
            let head = merged::read_head(at.repo(), &newest)?;
            heads.insert(newest.source, (newest, head));
        }
    }
    let removed_keys = if is(&[Sort::Slot]) { removed_keys(at)? } else { HashSet::new() };
    let mut foreign = Vec::new();
    for (name, sort) in extras {
        let verdict = match sort {
            Sort::Pack => pack(at, name, &stated, known)?,
            Sort::Segment | Sort::MergedSegment | Sort::MergedHead => history(name, &heads, known),
            Sort::Collection => collection(at, name, &stated)?,
            Sort::Slot if removed_keys.contains(name) => Verdict::Goes,
            Sort::Slot => Verdict::Stays("a key slot of which the audit trail does not say that it was removed", true),
            Sort::Generation => Verdict::Stays("a generation of the keys that the origin does not have", true),
            Sort::Hold => Verdict::Stays("a legal hold that the origin does not have", true),
            // They speak of the copy.
            Sort::Holding | Sort::Promotion => continue,
            Sort::Audit => Verdict::Stays("an entry of the audit trail that the origin does not have", false),
            Sort::Description => Verdict::Stays("the description, which the origin does not have", true),
        };
        match verdict {
            Verdict::Goes => plan.remove.push(Object { name: name.clone(), len: there.0[name] }),
            Verdict::Stays(why, is_lost) => plan.kept.push(Kept { name: name.clone(), why, is_lost }),
            Verdict::Foreign => foreign.push(name.clone()),
        }
    }
    withhold(plan);
    // What names others goes before them.
    plan.remove.sort_by_key(|object| std::cmp::Reverse(Sort::of(&object.name)));
    Ok(foreign)
}

/// Where the origin has lost what keeps histories from being released, nothing of a history or a pack goes.
fn withhold(plan: &mut Plan) {
    let keeps = |name: &str| Sort::of(name) == Some(Sort::Hold) || matches!(Named::parse(name), Some(Named::Lock(_)));
    if !plan.kept.iter().any(|kept| keeps(&kept.name)) {
        return;
    }
    let (slots, stay): (Vec<Object>, Vec<Object>) =
        std::mem::take(&mut plan.remove).into_iter().partition(|object| object.name.starts_with(KEYS));
    plan.remove = slots;
    let why = "collected at the origin, which lacks a legal hold or a lock that the site has";
    plan.kept.extend(stay.into_iter().map(|object| Kept { name: object.name, why, is_lost: true }));
}

/// What the statements of collection say, those of the origin and those that the site still has.
#[derive(Default)]
struct Stated {
    packs: HashSet<Id>,
    replaced: HashSet<String>,
    /// A statement was replaced by another before the site could see it: what it marked nobody can tell any more.
    missed: bool,
}

impl Stated {
    fn read(
        &mut self,
        (origin, copy): (&Repository, &Repository),
        (here, there): (&Listing, &Listing),
    ) -> Result<(), RepoError> {
        let all: HashSet<&String> = here.names().chain(there.names()).collect();
        for name in all {
            let Some(Named::Statement(epoch)) = Named::parse(name) else { continue };
            let from = if there.has(name) { copy } else { origin };
            match statement::read(from, &epoch) {
                Ok(statement) => self.take(statement),
                // It says nothing then.
                Err(e) if e.is_damage() => tracing::warn!("{e}"),
                Err(e) => return Err(e),
            }
        }
        self.missed = self.replaced.iter().any(|name| !here.has(name) && !there.has(name));
        Ok(())
    }

    fn take(&mut self, statement: Statement) {
        self.packs.extend(statement.packs);
        self.replaced.extend(statement.replaces);
    }
}

fn pack(at: &Attached, name: &str, stated: &Stated, known: &mut Known) -> Result<Verdict, RepoError> {
    let Some(id) = names::parse_pack(name) else { return Ok(Verdict::Foreign) };
    if known.live(at)?.contains(&id) {
        return Ok(Verdict::Stays("a pack that the origin's journals need, and that it has lost", true));
    }
    // What a statement marked that the site never saw, nobody needs by what the origin's journals say, all of which could be read.
    Ok(match stated.packs.contains(&id) || (stated.missed && known.whole) {
        true => Verdict::Goes,
        false => Verdict::Stays("a pack of which no statement of collection says that it was to be deleted", true),
    })
}

fn history(name: &str, heads: &HashMap<Id, (Merged, MergedHead)>, known: &Known) -> Verdict {
    const LOST: Verdict = Verdict::Stays("a part of a journal that the origin has lost", true);
    if let Some(merged) = Merged::parse(name) {
        if heads.get(&merged.source).is_some_and(|(newest, _)| merged.generation < newest.generation) {
            return Verdict::Goes;
        }
        let head = Merged { seq: 0, ..merged.clone() }.name();
        let seen = known.merged.get(&merged.source).is_some_and(|newest| head <= *newest);
        return if seen { LOST } else { Verdict::Foreign };
    }
    let Some(segment) = Segment::parse(name) else { return Verdict::Foreign };
    match heads.get(&segment.source) {
        Some((_, head)) if head.covers(&segment) && !head.ends_in(&segment) => Verdict::Goes,
        _ if known.runs.contains(segment.epoch.as_str()) => LOST,
        _ => Verdict::Foreign,
    }
}

fn collection(at: &Attached, name: &str, stated: &Stated) -> Result<Verdict, RepoError> {
    Ok(match Named::parse(name) {
        Some(Named::Statement(_)) if stated.replaced.contains(name) => Verdict::Goes,
        Some(Named::Statement(_)) if at.reader()?.is_collected(name)? => {
            Verdict::Stays("a statement of collection that the origin has lost", true)
        }
        Some(Named::Seen(_, epoch)) => match stated.replaced.contains(&statement::name(&epoch)) {
            true => Verdict::Goes,
            false => Verdict::Stays("a host's word about a collection that the origin does not have", false),
        },
        Some(Named::Lock(_)) => Verdict::Stays("a lock that the origin does not have", true),
        Some(Named::Lost(_)) => Verdict::Stays("a statement of losses that the origin does not have", true),
        Some(Named::Host(_) | Named::Retired(_)) => {
            Verdict::Stays("a note about a host that the origin does not have", false)
        }
        Some(Named::Statement(_)) | None => Verdict::Foreign,
    })
}

/// The names of the key slots that the audit trail says were removed.
fn removed_keys(at: &Attached) -> Result<HashSet<String>, ReplicateError> {
    let trail = audit::check::check(at.repo(), at.dir())?;
    let is_done = |kind: &str, outcome: &str| kind == Kind::KeyRemove.word() && outcome == Outcome::Done.word();
    let removed = trail.entries.iter().map(|stored| &stored.entry).filter(|e| is_done(&e.kind, &e.outcome));
    let of = |value: &serde_json::Value| value.as_str().and_then(Id::parse).map(names::slot);
    Ok(removed.filter_map(|entry| entry.subject.get("key").and_then(of)).collect())
}
