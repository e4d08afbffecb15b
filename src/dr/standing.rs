//! How the places of a repository stand now: each is asked, and none is waited for.

use super::error::DrError;
use crate::replicate::{known::Known, plan};
use crate::repo::{
    attach::Attached,
    names::JOURNAL,
    open::Repository,
    promotion::{self, Standing},
    replay::Replayed,
    sites,
};
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// What a place is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// It goes on: hosts write to it.
    GoesOn,
    /// A copy.
    Copy,
    /// Another place goes on, and it was written to once.
    Fenced,
}

impl Side {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Side::GoesOn => "goes-on",
            Side::Copy => "copy",
            Side::Fenced => "fenced",
        }
    }
}

/// The side of the repository of the settings.
pub fn side(own: &Standing) -> Side {
    if own.is_fenced() { Side::Fenced } else { Side::GoesOn }
}

/// What was found at a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// How it stands by its promotions.
    pub standing: Standing,
    /// What it has of each source, by the source's id: the newest snapshot up to which no record is missing.
    pub held: BTreeMap<String, u64>,
    /// Packs that it lacks, where it has every record: what these need is not all there.
    pub lacking_packs: u64,
    /// Objects of histories that the repository lacks: both were written to.
    pub beyond: u64,
}

/// Asks a site, for so long: why not, in words, where it does not answer.
pub fn ask(at: &Arc<Attached>, copy: Repository, replayed: &Arc<Replayed>, within: Duration) -> Result<Found, String> {
    let (answer, answered) = mpsc::channel();
    let (at, replayed) = (at.clone(), replayed.clone());
    let asking = std::thread::Builder::new().name("ask a site".into()).spawn(move || {
        // Nobody listens any more: it came too late.
        let _late = answer.send(look(&at, &copy, &replayed).map_err(|e| e.to_string()));
    });
    asking.map_err(|e| format!("cannot start a thread: {e}"))?;
    answered.recv_timeout(within).unwrap_or_else(|_| Err(format!("it has not answered within {} s", within.as_secs())))
}

fn look(at: &Attached, copy: &Repository, replayed: &Replayed) -> Result<Found, DrError> {
    // Of a bucket also one that is empty can be listed, and a directory that is not there is no copy either.
    copy.store().size(crate::repo::names::REPOSITORY)?;
    let standing = promotion::standing(copy.store())?;
    let journals = copy.store().list(JOURNAL)?;
    let there: HashSet<&str> = journals.iter().map(|object| object.name.as_str()).collect();
    let held = sites::held(at, &|name| there.contains(name))?;
    let reader = at.reader()?;
    // Where records are on their way, so are their packs.
    let mut is_behind = false;
    for source in reader.sources()? {
        let number = reader.head(source.num)?.number.0;
        is_behind |= number > 0 && held.get(&source.id.to_string()).is_none_or(|held| *held < number);
    }
    let packs: HashSet<String> =
        copy.store().list(crate::repo::names::PACKS)?.into_iter().map(|object| object.name).collect();
    let marked = reader.marked()?;
    let is_lacking = |id: &_| !marked.contains(id) && !packs.contains(&crate::repo::names::pack(*id));
    let lacking = reader.packs()?.iter().filter(|(id, _)| is_lacking(id)).count() as u64;
    let lacking_packs = if is_behind { 0 } else { lacking };
    let own = promotion::standing(at.repo().store())?;
    let beyond = match standing.here.as_ref() > own.last() {
        // It goes on: that it has more is as it should be.
        true => 0,
        false => {
            let beyond = plan::beyond(at, copy, &mut Known::of(at, replayed)?)?;
            (beyond.segments + beyond.apart.len()) as u64
        }
    };
    Ok(Found { standing, held, lacking_packs, beyond })
}
