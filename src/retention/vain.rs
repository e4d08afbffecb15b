//! What settings say of locks in vain, since the repository keeps longer ones.

use crate::config::model::Config;
use crate::repo::{attach::Attached, collect::locks, error::RepoError};
use crate::retention::policy::Policy;
use crate::types::{path, snapshot::Source};

/// A line for each source of the settings whose lock has no effect. Lists the store.
pub fn without_effect(config: &Config, at: &Attached) -> Result<Vec<String>, RepoError> {
    let kept = locks::locks(at.repo(), at.dir())?;
    let reader = at.reader()?;
    let line = |source: &Source| line(source, &Policy::of(config, source).with_kept(kept.get(&source.id)));
    Ok(reader.sources()?.iter().filter_map(line).collect())
}

/// The line of one source, if there is one.
pub(super) fn line(source: &Source, policy: &Policy) -> Option<String> {
    Some(format!("the source {}: {}", path::show(&source.root), policy.without_effect()?))
}
