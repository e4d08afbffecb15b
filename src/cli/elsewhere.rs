//! `--repo` that names another copy of a repository which this host knows: what it has seen of one need not be in the other, so each
//! has a state of its own.

use super::outcome::Failure;
use crate::config::{model::Config, site::is_one_place};
use crate::repo::{attach, open::repository_id};
use crate::store::local::LocalStore;
use crate::types::{
    ids::Id,
    location::{Location, S3Url},
};
use std::path::Path;

/// Where this host knows the repository of `config`, if that is another place than the one that `--repo` has put there, and is there
/// still: a repository that was moved goes on where it is now. `settings` is the place that the settings name.
pub(super) fn known(config: &Config, settings: &Location) -> Option<String> {
    let named = &config.repository;
    if is_one_place(named, settings) {
        return None;
    }
    let known = match named {
        Location::Dir(dir) => {
            let id = id_at(dir)?;
            let known = attach::location_of(&config.state, id)?;
            is_there(&known, Some(id), named).then_some(known)?
        }
        // It is not asked over a network before there is a need.
        Location::Bucket(_) => {
            if attach::known_at(&config.state, &named.to_string()).is_some() {
                return None;
            }
            let settings = settings.to_string();
            let id = attach::known_at(&config.state, &settings)?;
            is_there(&settings, Some(id), named).then_some(settings)?
        }
    };
    (known != named.to_string()).then_some(known)
}

fn id_at(dir: &Path) -> Option<Id> {
    repository_id(&LocalStore::open(dir)).ok()
}

fn is_there(known: &str, id: Option<Id>, named: &Location) -> bool {
    if known.starts_with(S3Url::SCHEME) {
        return true;
    }
    let dir = Path::new(known);
    !is_one_place(&Location::Dir(dir.to_owned()), named) && id_at(dir) == id
}

/// Makes the state that of the place itself.
pub(super) fn apart(config: &mut Config) {
    let hash = blake3::hash(config.repository.to_string().as_bytes());
    config.state = config.state.join(format!("at-{}", &hash.to_hex()[..16]));
}

/// Why nothing is written into such a copy.
pub(super) fn refused(named: &Location, known: &str) -> Failure {
    Failure::new(format!(
        "{named} is a copy of the repository that this host knows at {known}: it is read, and nothing is written into it"
    ))
    .hint(
        "name the repository itself; `bygone dr failover` goes on with a copy that is a site, and `repository` in the settings with any other",
    )
}
