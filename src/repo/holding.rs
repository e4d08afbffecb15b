//! What a copy holds that has not all of the repository: the histories of some sources only. Stated in the copy itself, so that what
//! it never had is not taken for lost.
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
use crate::types::ids::Id;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// What is stated, as JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    version: u32,
    /// The ids of the sources, in order; all of them if none.
    sources: Option<Vec<String>>,
}

/// The epoch in the name of a statement.
pub fn parse(name: &str) -> Option<Epoch> {
    Epoch::parse(name.strip_prefix(HOLDING)?)
}

/// What a statement of these sources would say; all of them if none.
fn text(repo: &Repository, sources: Option<&HashSet<Id>>) -> (Vec<u8>, [u8; 4]) {
    let mut ids: Option<Vec<String>> = sources.map(|ids| ids.iter().map(ToString::to_string).collect());
    ids.iter_mut().for_each(|ids| ids.sort_unstable());
    let text = serde_json::json!({ "version": 1, "sources": ids }).to_string().into_bytes();
    let hash = repo.keys().authenticate(&[b"holding ".as_slice(), &text].concat());
    (text, [hash.0[0], hash.0[1], hash.0[2], hash.0[3]])
}

/// States in a copy what it holds, where the newest of its statements, by the names of its objects, says something else. A copy that
/// has always had everything states nothing.
pub fn state<'a>(
    copy: &Repository,
    names: impl Iterator<Item = &'a String>,
    sources: Option<&HashSet<Id>>,
) -> Result<(), RepoError> {
    let newest = names.filter_map(|name| parse(name)).max();
    let (text, tag) = text(copy, sources);
    let number = match &newest {
        None if sources.is_none() => return Ok(()),
        None => 0,
        Some(newest) if *newest == Epoch::new(newest.number(), tag) => return Ok(()),
        Some(newest) => newest.number().checked_add(1).ok_or(RepoError::Full("statements of what a copy holds"))?,
    };
    let name = format!("{HOLDING}{}", Epoch::new(number, tag).as_str());
    let bytes = sealed::seal(copy, ObjectKind::Holding, &name, &text)?;
    Ok(copy.store().put(&name, &bytes)?)
}

/// The sources whose histories the repository holds; `None` where it holds all, as every repository that is no copy does.
pub fn held(repo: &Repository) -> Result<Option<HashSet<Id>>, RepoError> {
    let objects = repo.store().list(HOLDING)?;
    let Some(newest) = objects.iter().filter_map(|object| parse(&object.name)).max() else { return Ok(None) };
    let name = format!("{HOLDING}{}", newest.as_str());
    let bytes = sealed::read(repo, ObjectKind::Holding, &name)?;
    let damaged = |why: String| repo.damaged(&name, "statement", Damage::other(why));
    let text: Text = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
    if text.version != 1 {
        return Err(damaged(format!("it has the version {}, which this program does not know", text.version)));
    }
    let Some(ids) = text.sources else { return Ok(None) };
    let ids: Option<HashSet<Id>> = ids.iter().map(|id| Id::parse(id)).collect();
    ids.map(Some).ok_or_else(|| damaged("it names a source that can't be".to_owned()))
}
