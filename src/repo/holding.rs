//! What a copy holds that has not all of the repository: the histories of some sources only, or only the content that snapshots of some
//! tiers need. Stated in the copy itself, so that what it never had is not taken for lost.
//!
//! `holding/<epoch>` is a statement: the first 8 digits are its number, and the last 8 the beginning of the keyed hash of the text that
//! it holds, so that the same need not be stated or read again. The one with the highest number counts.

use crate::crypto::seal::ObjectKind;
use crate::repo::{
    error::{Damage, RepoError},
    names::{Epoch, HOLDING},
    open::Repository,
    sealed,
};
use crate::store::api::StoreError;
use crate::types::{ids::Id, snapshot::Tier};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// What is stated, as JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    version: u32,
    /// The ids of the sources, in order; all of them if none.
    sources: Option<Vec<String>>,
    /// The words of the tiers whose snapshots are whole; all of them if none. Only in version 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tiers: Option<Vec<String>>,
}

/// What a copy holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Holding {
    /// The sources whose histories it has; all of them if none.
    pub sources: Option<HashSet<Id>>,
    /// The tiers whose snapshots are whole there: what these need of packs is there, and nothing else is promised to be. All if none.
    pub tiers: Option<Vec<Tier>>,
}

impl Holding {
    /// Whether it is everything.
    pub fn is_all(&self) -> bool {
        self.sources.is_none() && self.tiers.is_none()
    }

    /// Whether snapshots of this tier are whole.
    pub fn is_whole(&self, tier: Tier) -> bool {
        self.tiers.as_ref().is_none_or(|tiers| tiers.contains(&tier))
    }

    /// The tiers whose snapshots are whole, in words; `None` for all of them.
    pub fn tiers_in_words(&self) -> Option<String> {
        let words: Vec<&str> = self.tiers.as_ref()?.iter().map(|tier| tier.word()).collect();
        Some(if words.is_empty() { "no tier".to_owned() } else { words.join(" and ") })
    }

    /// What is true both of a copy that holds this and of one that is to hold `wanted`, while the one becomes the other: histories
    /// come behind what they need, and so may be promised before; content may not.
    pub fn on_the_way_to(&self, wanted: &Holding) -> Holding {
        let tiers = match (&self.tiers, &wanted.tiers) {
            (None, tiers) | (tiers, None) => tiers.clone(),
            (Some(one), Some(other)) => Some(one.iter().copied().filter(|tier| other.contains(tier)).collect()),
        };
        Holding { sources: wanted.sources.clone().or_else(|| self.sources.clone()), tiers }
    }
}

/// Tiers in the order of their numbers, each once.
fn in_order(tiers: &[Tier]) -> Vec<Tier> {
    let all = [Tier::Incremental, Tier::Differential, Tier::Full];
    all.into_iter().filter(|tier| tiers.contains(tier)).collect()
}

/// The epoch in the name of a statement.
pub fn parse(name: &str) -> Option<Epoch> {
    Epoch::parse(name.strip_prefix(HOLDING)?)
}

/// What a statement of it would say. One that does not speak of tiers has the version that older programs know.
fn text(repo: &Repository, holding: &Holding) -> (Vec<u8>, [u8; 4]) {
    let mut ids: Option<Vec<String>> =
        holding.sources.as_ref().map(|ids| ids.iter().map(ToString::to_string).collect());
    ids.iter_mut().for_each(|ids| ids.sort_unstable());
    let text = match &holding.tiers {
        None => serde_json::json!({ "version": 1, "sources": ids }),
        Some(tiers) => {
            let words: Vec<&str> = in_order(tiers).into_iter().map(Tier::word).collect();
            serde_json::json!({ "version": 2, "sources": ids, "tiers": words })
        }
    };
    let text = text.to_string().into_bytes();
    let hash = repo.keys().authenticate(&[b"holding ".as_slice(), &text].concat());
    (text, [hash.0[0], hash.0[1], hash.0[2], hash.0[3]])
}

/// States in a copy what it holds, where the newest of its statements, by the names of its objects, says something else. A copy that
/// has always had everything states nothing.
pub fn state<'a>(
    copy: &Repository,
    names: impl Iterator<Item = &'a String>,
    holding: &Holding,
) -> Result<(), RepoError> {
    let newest = names.filter_map(|name| parse(name)).max();
    let (text, tag) = text(copy, holding);
    let number = match &newest {
        None if holding.is_all() => return Ok(()),
        None => 0,
        Some(newest) if *newest == Epoch::new(newest.number(), tag) => return Ok(()),
        Some(newest) => newest.number().checked_add(1).ok_or(RepoError::Full("statements of what a copy holds"))?,
    };
    let name = format!("{HOLDING}{}", Epoch::new(number, tag).as_str());
    let bytes = sealed::seal(copy, ObjectKind::Holding, &name, &text)?;
    Ok(copy.store().put(&name, &bytes)?)
}

/// What the repository holds: all, as every repository does that is no copy, or what a copy states.
pub fn held(repo: &Repository) -> Result<Holding, RepoError> {
    let objects = repo.store().list(HOLDING)?;
    let Some(newest) = objects.iter().filter_map(|object| parse(&object.name)).max() else {
        return Ok(Holding::default());
    };
    let name = format!("{HOLDING}{}", newest.as_str());
    let bytes = sealed::read(repo, ObjectKind::Holding, &name)?;
    let damaged = |why: String| repo.damaged(&name, "statement", Damage::other(why));
    let text: Text = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
    if text.version != 1 && text.version != 2 {
        return Err(damaged(format!("it has the version {}, which this program does not know", text.version)));
    }
    if (text.version == 2) != text.tiers.is_some() {
        return Err(damaged("it speaks of tiers, and its version does not, or the other way round".to_owned()));
    }
    let sources = match text.sources {
        None => None,
        Some(ids) => {
            let ids: Option<HashSet<Id>> = ids.iter().map(|id| Id::parse(id)).collect();
            Some(ids.ok_or_else(|| damaged("it names a source that can't be".to_owned()))?)
        }
    };
    let tiers = match text.tiers {
        None => None,
        Some(words) => {
            let tiers: Option<Vec<Tier>> = words.iter().map(|word| Tier::parse(word)).collect();
            Some(in_order(&tiers.ok_or_else(|| damaged("it names a tier that can't be".to_owned()))?))
        }
    };
    Ok(Holding { sources, tiers })
}

/// An error about a pack that is not in the store, made one about a copy that never promised to have it, where it is one.
pub(super) fn explained(repo: &Repository, e: RepoError) -> RepoError {
    let RepoError::Store(StoreError::Missing { .. }) = &e else { return e };
    match held(repo).map(|holding| holding.tiers_in_words()) {
        Ok(Some(tiers)) => RepoError::NotHeld { location: repo.store().location(), tiers },
        _ => e,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_promised_on_the_way_that_one_of_both_does_not_hold() {
        let of = |tiers: Option<&[Tier]>| Holding { sources: None, tiers: tiers.map(<[Tier]>::to_vec) };
        let both = |one, other| of(one).on_the_way_to(&of(other)).tiers;
        let (full, more) = ([Tier::Full], [Tier::Differential, Tier::Full]);
        assert_eq!(both(None, None), None);
        assert_eq!(both(None, Some(&full)), Some(full.to_vec()));
        assert_eq!(both(Some(&full), None), Some(full.to_vec()));
        assert_eq!(both(Some(&full), Some(&more)), Some(full.to_vec()));
        assert_eq!(both(Some(&[Tier::Differential]), Some(&full)), Some(Vec::new()));
    }
}
