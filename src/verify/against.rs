//! What a check found wrong, compared with a copy at another site: whether the copy has it whole, and putting it back from there.

use crate::progress::{Progress, Total};
use crate::repo::{
    authentic::{self, Sort},
    collect::{merged, statement::Named, take},
    error::RepoError,
    names::{self, AUDIT, COLLECTION, HOLDS, JOURNAL, KEYS, Merged, REPOSITORY, Segment},
    open::{Repository, repository_id},
};
use crate::store::api::{Store, StoreError};
use crate::types::ids::Id;
use crate::verify::report::Report;
use std::collections::{BTreeSet, HashSet};

/// What a copy has of an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum There {
    /// All of it.
    Whole,
    /// It is damaged there too.
    Damaged(String),
    /// Nothing.
    Missing,
}

/// An object that is damaged or missing here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Compared {
    /// The object.
    pub object: String,
    /// What is wrong with it here.
    pub here: String,
    /// What the copy has.
    pub there: There,
    /// Whether it was put back, and reads whole here now.
    pub put_back: bool,
    /// Why it could not be put back, if that was tried and failed.
    pub failed: Option<String>,
}

/// Looks for everything that a check found damaged or missing in a copy, and for what histories, holds and the trail lack that the
/// copy has. With `repair` what is whole there is put back here: in an order in which what names others comes behind them, and read
/// again from here. Reads nothing where nothing is wrong.
pub fn against(
    (origin, copy): (&Repository, &Repository),
    report: &Report,
    repair: bool,
    progress: &dyn Progress,
) -> Result<Vec<Compared>, RepoError> {
    let wanted = candidates((origin, copy), report)?;
    let total = Total { files: wanted.len() as u64, bytes: 0 };
    progress.start(if repair { "putting back" } else { "comparing" }, Some(total));
    let mut all = Vec::new();
    for object in wanted {
        progress.add(1, 0);
        let here = match authentic::read(origin, &object) {
            Ok(_) => continue,
            Err(RepoError::Store(e)) if e.is_missing() => "it is missing".to_owned(),
            Err(e) if e.is_away() => return Err(e),
            Err(e) => e.why_of(&object, "object"),
        };
        all.push(one((origin, copy), object, here, repair)?);
    }
    progress.finish();
    Ok(all)
}

fn one(
    (origin, copy): (&Repository, &Repository),
    object: String,
    here: String,
    repair: bool,
) -> Result<Compared, RepoError> {
    let (there, bytes) = match authentic::read(copy, &object) {
        Ok(bytes) => (There::Whole, Some(bytes)),
        Err(RepoError::Store(e)) if e.is_missing() => (There::Missing, None),
        Err(e) if e.is_away() => return Err(e),
        Err(e) => (There::Damaged(e.why_of(&object, "object")), None),
    };
    let (mut put_back, mut failed) = (false, None);
    if let Some(bytes) = bytes.filter(|_| repair) {
        let put = origin.store().mend(&object, &bytes).map_err(RepoError::from);
        match put.and_then(|()| authentic::read(origin, &object)) {
            Ok(_) => put_back = true,
            Err(e) => failed = Some(e.to_string()),
        }
    }
    Ok(Compared { object, here, there, put_back, failed })
}

/// The objects that may be damaged or missing here, by what a check says, in the order in which they are copied.
fn candidates((origin, copy): (&Repository, &Repository), report: &Report) -> Result<Vec<String>, RepoError> {
    let wrong: Vec<&str> = report.problems.iter().map(|problem| problem.object.as_str()).collect();
    let mut all: BTreeSet<String> =
        wrong.iter().filter(|object| Sort::of(object).is_some()).map(|object| (*object).to_owned()).collect();
    for prefix in [HOLDS, AUDIT, COLLECTION] {
        if wrong.iter().any(|object| object.starts_with(prefix)) {
            let lacking = lacking((origin, copy), prefix)?;
            all.extend(lacking.into_iter().filter(|name| is_for_good(name)));
        }
    }
    if wrong.iter().any(|object| object.starts_with(JOURNAL)) {
        histories((origin, copy), &wrong, &mut all)?;
    }
    let mut all: Vec<String> = all.into_iter().collect();
    all.sort_by_key(|name| Sort::of(name));
    Ok(all)
}

/// Of what collection states, what it does not clear away itself.
fn is_for_good(name: &str) -> bool {
    !name.starts_with(COLLECTION)
        || matches!(Named::parse(name), Some(Named::Lock(_) | Named::Statement(_) | Named::Lost(_)))
}

/// What the copy has below a prefix and this repository has not.
fn lacking((origin, copy): (&Repository, &Repository), prefix: &str) -> Result<Vec<String>, RepoError> {
    let here: HashSet<String> = origin.store().list(prefix)?.into_iter().map(|object| object.name).collect();
    let there = copy.store().list(prefix)?.into_iter().map(|object| object.name);
    Ok(there.filter(|name| !here.contains(name)).collect())
}

/// What is missing of the histories with which something is wrong, as far as no merged history has taken its place; and all parts of
/// a merged history of which one is damaged, since only the first is named.
fn histories(
    (origin, copy): (&Repository, &Repository),
    wrong: &[&str],
    all: &mut BTreeSet<String>,
) -> Result<(), RepoError> {
    let is_all = wrong.contains(&JOURNAL);
    let is_wrong = |id: Id| is_all || wrong.iter().any(|object| object.starts_with(&names::journal(id)));
    let torn: Vec<Merged> = wrong.iter().filter_map(|object| Merged::parse(object)).collect();
    let here: Vec<String> = origin.store().list(JOURNAL)?.into_iter().map(|object| object.name).collect();
    let there: HashSet<&str> = here.iter().map(String::as_str).collect();
    let newest = take::newest(here.iter().map(String::as_str));
    // Of one that does not read, nobody knows what it takes the place of.
    let heads: Vec<_> = newest.iter().filter_map(|merged| merged::read_head(origin, merged).ok()).collect();
    for object in copy.store().list(JOURNAL)? {
        let Some(source) = names::source_of(&object.name).filter(|source| is_wrong(*source)) else { continue };
        let is_torn = |merged: &Merged| torn.iter().any(|t| (t.source, &t.generation) == (source, &merged.generation));
        let is_older = |merged: &Merged| newest.iter().any(|n| n.source == source && merged.generation < n.generation);
        let is_covered = |segment: &Segment| {
            heads.iter().any(|head| head.source.id == source && head.covers(segment) && !head.ends_in(segment))
        };
        let is_missing = !there.contains(object.name.as_str());
        let is_wanted = match (Merged::parse(&object.name), Segment::parse(&object.name)) {
            (Some(merged), _) => is_torn(&merged) || (is_missing && !is_older(&merged)),
            (_, Some(segment)) => is_missing && !is_covered(&segment),
            _ => false,
        };
        if is_wanted {
            all.insert(object.name);
        }
    }
    Ok(())
}

/// Puts back what a repository can't be opened without, from a copy that was opened: its description, and the slots that are damaged or
/// missing. Gives the names of what was put back. Refuses where something else is in its place.
pub fn reopen(store: &dyn Store, origin: &Repository, copy: &Repository) -> Result<Vec<String>, RepoError> {
    let names = |all: Vec<crate::store::api::Object>| all.into_iter().map(|object| object.name).collect::<Vec<_>>();
    let known: HashSet<String> = names(copy.store().list("")?).into_iter().collect();
    let shared = names(store.list("")?).iter().any(|name| name != REPOSITORY && known.contains(name));
    match repository_id(store) {
        // The names of objects are random: where some are the same, it is the id that is damaged.
        Ok(id) if id != origin.id() && !shared => {
            return Err(RepoError::ThereAlready { location: store.location(), id: id.to_string() });
        }
        Ok(_) => {}
        Err(_) if shared => {}
        // An empty place is none that was damaged.
        Err(e) => return Err(e),
    }
    let mut put_back = Vec::new();
    let slots = known.iter().filter(|name| name.starts_with(KEYS)).map(String::as_str);
    for name in slots.chain([REPOSITORY]) {
        match authentic::read(origin, name) {
            Err(e) if !e.is_away() => {}
            Err(e) => return Err(e),
            Ok(_) => continue,
        }
        match authentic::read(copy, name) {
            Ok(bytes) => store.mend(name, &bytes)?,
            Err(RepoError::Store(e @ StoreError::Io { .. })) => return Err(e.into()),
            Err(_) if name != REPOSITORY => continue,
            Err(e) => return Err(e),
        }
        put_back.push(name.to_owned());
    }
    Ok(put_back)
}
