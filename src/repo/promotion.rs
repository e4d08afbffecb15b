//! Which place of a repository goes on: the repository itself, or a copy of it that was promoted.
//!
//! `promotion/<epoch>-here` says of the place in which it lies that it goes on from here on; `promotion/<epoch>-away` that another place
//! does. The first 8 digits of the epoch are its number, one more than any that whoever promoted knew of, and the one that comes last
//! counts: a place whose last promotion is one `away` is fenced, and nobody captures or collects there. So the names alone say it, and
//! of two that were promoted at once every host takes the same one.

use crate::crypto::{random, seal::ObjectKind};
use crate::repo::{
    error::{Damage, RepoError},
    names::{Epoch, PROMOTION},
    open::Repository,
    sealed,
};
use crate::store::api::{Store, StoreError};
use crate::types::{path::tame, time::Instant, when::show::exact_name};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a promotion says of the place in which it lies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Side {
    /// Another place goes on.
    Away,
    /// This one goes on.
    Here,
}

/// The name of a promotion, in its place.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Named {
    /// Its epoch.
    pub epoch: Epoch,
    /// What it says of the place.
    pub side: Side,
}

impl Named {
    /// Its object's name.
    pub fn name(&self) -> String {
        let side = if self.side == Side::Here { "here" } else { "away" };
        format!("{PROMOTION}{}-{side}", self.epoch.as_str())
    }

    /// The promotion with this name; `None` for any other name.
    pub fn parse(name: &str) -> Option<Named> {
        let (epoch, side) = name.strip_prefix(PROMOTION)?.split_once('-')?;
        let side = match side {
            "here" => Side::Here,
            "away" => Side::Away,
            _ => return None,
        };
        Some(Named { epoch: Epoch::parse(epoch)?, side })
    }
}

/// A promotion: the same text in every place that knows of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Promotion {
    /// The version of this text: 1.
    pub version: u32,
    /// When (ns).
    pub time_ns: i64,
    /// The host on which it was done.
    pub host: String,
    /// What its settings call the place that goes on.
    pub site: String,
    /// Where that is, as this host reaches it.
    pub location: String,
    /// Where the place is that it follows.
    pub before: String,
    /// The newest snapshot of each source with which it goes on, by the source's id.
    pub heads: BTreeMap<String, u64>,
}

/// How a place stands, by the names of its promotions.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Standing {
    /// The last that was made here.
    pub here: Option<Epoch>,
    /// The last that was made elsewhere.
    pub away: Option<Epoch>,
}

impl Standing {
    /// By the names of objects; others are passed over.
    pub fn of<'a>(names: impl Iterator<Item = &'a str>) -> Standing {
        let mut standing = Standing::default();
        for named in names.filter_map(Named::parse) {
            let of = if named.side == Side::Here { &mut standing.here } else { &mut standing.away };
            *of = of.take().max(Some(named.epoch));
        }
        standing
    }

    /// Whether another place goes on, and nobody is to write here.
    pub fn is_fenced(&self) -> bool {
        self.away > self.here
    }

    /// The last promotion that this place knows of.
    pub fn last(&self) -> Option<&Epoch> {
        self.away.as_ref().max(self.here.as_ref())
    }

    /// The promotion that counts here, as it is named; `None` where there never was one.
    pub fn named(&self) -> Option<Named> {
        let side = if self.is_fenced() { Side::Away } else { Side::Here };
        Some(Named { epoch: self.last()?.clone(), side })
    }

    /// The number of the last one; 0 where there never was one.
    pub fn number(&self) -> u32 {
        self.last().map_or(0, Epoch::number)
    }
}

/// How a place stands: one listing.
pub fn standing(store: &dyn Store) -> Result<Standing, RepoError> {
    let objects = store.list(PROMOTION)?;
    Ok(Standing::of(objects.iter().map(|object| object.name.as_str())))
}

/// The epoch of a promotion that comes behind all that these places know of.
pub fn next<'a>(known: impl Iterator<Item = &'a Standing>) -> Result<Epoch, RepoError> {
    let last = known.map(Standing::number).max().unwrap_or(0);
    let number = last.checked_add(1).ok_or(RepoError::Full("promotions"))?;
    Ok(Epoch::new(number, random::bytes()?))
}

/// What a promotion says.
pub fn read(repo: &Repository, named: &Named) -> Result<Promotion, RepoError> {
    let name = named.name();
    let bytes = sealed::read(repo, ObjectKind::Promotion, &name)?;
    let damaged = |why: String| repo.damaged(&name, "promotion", Damage::other(why));
    let promotion: Promotion = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
    match promotion.version {
        1 => Ok(promotion),
        n => Err(damaged(format!("it has the version {n}, which this program does not know"))),
    }
}

/// Puts a promotion into a place. One that is there already stays.
pub fn put(repo: &Repository, named: &Named, promotion: &Promotion) -> Result<(), RepoError> {
    let name = named.name();
    let damaged = |e: serde_json::Error| repo.damaged(&name, "promotion", Damage::other(e.to_string()));
    let text = serde_json::to_vec(promotion).map_err(damaged)?;
    let bytes = sealed::seal(repo, ObjectKind::Promotion, &name, &text)?;
    match repo.store().put(&name, &bytes) {
        Err(StoreError::Exists { .. }) if read(repo, named).is_ok() => Ok(()),
        other => Ok(other?),
    }
}

/// Fences one place, where another was promoted behind all that the first one knows of: what is read there is stated here. Whether it is
/// fenced now, and was not.
pub fn fence(place: &Repository, by: &Repository) -> Result<bool, RepoError> {
    let (own, other) = (standing(place.store())?, standing(by.store())?);
    if other.is_fenced() || other.here <= own.last().cloned() {
        return Ok(false);
    }
    let Some(epoch) = other.here else { return Ok(false) };
    let promotion = read(by, &Named { epoch: epoch.clone(), side: Side::Here })?;
    put(place, &Named { epoch, side: Side::Away }, &promotion)?;
    Ok(true)
}

/// Fails where another place goes on: whoever is about to write history here asks first.
pub fn goes_on(repo: &Repository) -> Result<(), RepoError> {
    let standing = standing(repo.store())?;
    match standing.named() {
        Some(named) if standing.is_fenced() => Err(fenced(repo, &named)),
        _ => Ok(()),
    }
}

/// Why nothing is written here any more. What of the promotion can't be read is left out: its name is enough.
pub fn fenced(repo: &Repository, named: &Named) -> RepoError {
    let said = read(repo, named);
    let (site, by) = match &said {
        Ok(said) => (
            tame(&said.site),
            tame(&format!(
                "{} (the site {}), promoted {} on {}",
                said.location,
                said.site,
                exact_name(Instant(said.time_ns)),
                said.host
            )),
        ),
        Err(e) => ("SITE".to_owned(), format!("another place, of which it can't be read which: {e}")),
    };
    RepoError::Fenced { location: repo.store().location(), number: named.epoch.number(), by, site }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(names: &[&str]) -> Standing {
        Standing::of(names.iter().copied())
    }

    #[test]
    fn the_last_promotion_counts_and_of_two_at_once_everybody_takes_the_same() {
        let (a, b) = ("promotion/00000001aaaaaaaa", "promotion/00000001bbbbbbbb");
        let (here, away) = (|at: &str| format!("{at}-here"), |at: &str| format!("{at}-away"));
        assert_eq!(standing(&["packs/00/00", "promotion/x-here", "promotion/00000001aaaaaaaa-x"]), Standing::default());
        assert!(!Standing::default().is_fenced() && Standing::default().number() == 0);
        assert!(!standing(&[&here(a)]).is_fenced());
        assert!(standing(&[&away(a)]).is_fenced());
        assert!(standing(&[&here(a), &away(b)]).is_fenced());
        assert!(!standing(&[&here(b), &away(a)]).is_fenced());
        let back = "promotion/00000002aaaaaaaa-here";
        let known = standing(&[&away(b), back]);
        assert!(!known.is_fenced() && known.number() == 2);
        assert_eq!(known.named().unwrap().name(), back);
        assert_eq!(next([&known, &Standing::default()].into_iter()).unwrap().number(), 3);
    }
}
