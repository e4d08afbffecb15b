//! Opening the repository and the index that a command works on.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::args::of_host::OfHost;
use super::context::Context;
use super::outcome::{Explain as _, Failure, Outcome};
use super::secret::{self, Purpose};
use super::sizes::show_size;
use crate::capture::once::{self, ScopeError};
use crate::capture::scope::Scope;
use crate::config::model::{Config, LockMode, Remote, Source};
use crate::config::site::Site;
use crate::crypto::slots::Secret;
use crate::index::tree::Reader;
use crate::progress::Progress;
use crate::repo::{
    attach::{self, Attached},
    error::RepoError,
    names::REPOSITORY,
    open::Repository,
    replay::{self, Replayed},
    write,
};
use crate::store::{
    api::Store,
    cache::Cached,
    guard::{self, Guarded},
    limit::{Limited, Rates},
    local::LocalStore,
    s3::S3Store,
    s3_lock::Lock,
    spool::Spool,
};
use crate::sys::clock::SystemClock;
use crate::types::{location::Location, path};
use crate::view::{names, whose::Whose};

/// Whether what was read before may be read again from the cache of this host.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// Yes.
    Cached,
    /// No: what counts is what the store gives now.
    Fresh,
}

/// The store of the settings. One in a bucket has a spool and a cache before it, in the state directory.
pub fn store(context: &Context) -> Result<Arc<dyn Store>, Failure> {
    store_with(context, Reads::Cached)
}

fn store_with(context: &Context, reads: Reads) -> Result<Arc<dyn Store>, Failure> {
    let url = match &context.config.repository {
        Location::Dir(dir) => return Ok(Arc::new(LocalStore::anchored(dir, REPOSITORY))),
        Location::Bucket(url) => url,
    };
    let remote = &context.config.remote;
    let dir = context.config.state.join(format!("remote-{}", &blake3::hash(url.to_string().as_bytes()).to_hex()[..16]));
    let compliance = remote.object_lock_mode == LockMode::Compliance;
    let lock = remote.object_lock.map(|keep| Lock { keep, compliance });
    let bucket = S3Store::open_locking(url.clone(), &remote_settings(remote), lock).into_failure()?;
    let note = dir.join("away");
    if guard::noted(&note).is_some() {
        bucket.hurry();
    }
    let (limits, rates) = (&context.config.limits, Rates::of_process());
    rates.set(limits.upload, limits.download);
    let mut store: Arc<dyn Store> = Arc::new(Guarded::open(Arc::new(Limited::new(Arc::new(bucket), rates)), &note));
    if reads == Reads::Cached {
        store = Arc::new(Cached::open(store, &dir.join("cache"), remote.cache).into_failure()?);
    }
    Ok(Arc::new(Spool::open(store, &dir.join("spool"), remote.spool).into_failure()?))
}

/// The repository in the store of a site: a copy of it, or where one is to be. What goes there is limited as the site says.
pub fn copy(repo: &Repository, config: &Config, site: &Site) -> Result<Repository, Failure> {
    Ok(repo.in_store(store_of(config, site)?))
}

/// The copy at a site, opened with the key of the settings: where the repository itself can't be.
pub fn copy_by_key(context: &Context, site: &Site) -> Result<Repository, Failure> {
    let secret = secret::obtain(&context.config.key, Purpose::Open)?;
    Repository::open(store_of(&context.config, site)?, &secret).into_failure()
}

fn store_of(config: &Config, site: &Site) -> Result<Arc<dyn Store>, Failure> {
    if let Some(why) = site.no_copy(&config.repository) {
        return Err(Failure::new(why).hint("name another place for the copy in the settings"));
    }
    let store: Arc<dyn Store> = match &site.repository {
        Location::Dir(dir) => Arc::new(LocalStore::anchored(dir, REPOSITORY)),
        Location::Bucket(url) => {
            let remote = Remote {
                endpoint: site.endpoint.clone().or_else(|| config.remote.endpoint.clone()),
                region: site.region.clone().or_else(|| config.remote.region.clone()),
                ..config.remote.clone()
            };
            Arc::new(S3Store::open(url.clone(), &remote_settings(&remote)).into_failure()?)
        }
    };
    let rates = Arc::new(Rates::new(site.limit, None));
    Ok(Arc::new(Limited::new(store, rates)))
}

/// The sites of the settings with these names; all of them if none is given.
pub fn sites<'a>(context: &'a Context, names: &[String]) -> Result<Vec<&'a Site>, Failure> {
    let all = &context.config.sites;
    if all.is_empty() {
        return Err(Failure::new("the settings have no site")
            .hint("add a [[site]] with a name and a repository; bygone.toml(5) explains it"));
    }
    let known = || all.iter().map(|site| site.name.as_str()).collect::<Vec<_>>().join(", ");
    let find = |name: &String| {
        let found = all.iter().find(|site| site.name == *name);
        found.ok_or_else(|| {
            Failure::usage(format!("the settings have no site {name:?}")).hint(format!("they have {}", known()))
        })
    };
    match names.is_empty() {
        true => Ok(all.iter().collect()),
        false => names.iter().map(find).collect(),
    }
}

/// What the environment and the settings say of the service. The settings go first.
fn remote_settings(remote: &Remote) -> BTreeMap<String, String> {
    let theirs = |name: &str| name.starts_with("AWS_") || name == "HOME";
    let mut all: BTreeMap<String, String> = std::env::vars().filter(|(name, _)| theirs(name)).collect();
    let named = [("AWS_ENDPOINT_URL", &remote.endpoint), ("AWS_REGION", &remote.region)];
    all.extend(named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?))));
    all
}

/// The store of the settings, which holds a repository.
pub fn store_of_repository(context: &Context) -> Result<Arc<dyn Store>, Failure> {
    repository_in(context, store(context)?)
}

fn repository_in(context: &Context, store: Arc<dyn Store>) -> Result<Arc<dyn Store>, Failure> {
    match crate::repo::open::repository_id(&*store) {
        Ok(_) => Ok(store),
        Err(e @ RepoError::NoRepository { .. }) => Err(gone(context, &*store).unwrap_or_else(|| {
            Failure::from_error(&e).hint(match context.repository_named {
                // Somebody knows of one: to make another in a place that was mistyped would hide that.
                Some(_) => "check the place that --repo names, and whether its disk is mounted",
                None => {
                    "`bygone init` makes one, `bygone protect DIRECTORY` does everything in one go, and --repo names another"
                }
            })
        })),
        Err(e) => Err(Failure::from_error(&e)),
    }
}

/// What to say of a place without a repository at which this host had one: most likely its disk is not mounted, and a new
/// repository in its place would hide that nothing goes to the old one any more.
pub fn gone(context: &Context, store: &dyn Store) -> Option<Failure> {
    let id = attach::known_at(&context.config.state, &store.location())?;
    let entries = context.config.repository.dir().map(|dir| std::fs::read_dir(dir).map(Iterator::count));
    let found = match entries {
        Some(Err(e)) if e.kind() == io::ErrorKind::NotFound => "there is no such directory",
        Some(Ok(0)) => "the directory is empty",
        _ => "it has no bygone.toml",
    };
    let failure = Failure::new(format!(
        "the repository {} (id {id}), which this host has used, is not there: {found}",
        store.location()
    ));
    Some(failure.hint(
        "bring it back: mount its disk, or name the place to which it was moved with --repo or `repository` in the settings; \
         only where it is lost for good and a new one is to take its place, `bygone init --replace-lost`",
    ))
}

/// Opens the repository with the key of the settings.
pub fn repository(context: &Context) -> Result<Arc<Repository>, Failure> {
    Ok(repository_and_secret(context)?.0)
}

/// Opens the repository with the key of the settings, and gives that key too, for work on the key slots.
pub fn repository_and_secret(context: &Context) -> Result<(Arc<Repository>, Secret), Failure> {
    repository_with(context, Reads::Cached)
}

fn repository_with(context: &Context, reads: Reads) -> Result<(Arc<Repository>, Secret), Failure> {
    let store = repository_in(context, store_with(context, reads)?)?;
    let secret = secret::obtain(&context.config.key, Purpose::Open)?;
    let repo = Repository::open(store, &secret).map_err(|e| {
        let failure = Failure::from_error(&e);
        match e {
            RepoError::NoSlot { .. } => {
                failure.hint("`bygone key list` shows what opens it; [key] in the settings says what is tried")
            }
            _ => failure,
        }
    })?;
    repo.check(context.need).into_failure()?;
    tracing::info!("opened the repository {} (id {})", repo.store().location(), repo.id());
    Ok((Arc::new(repo), secret))
}

/// Opens the repository and this host's index of it, as it is.
pub fn attached(context: &Context) -> Result<Arc<Attached>, Failure> {
    attached_with(context, Reads::Cached)
}

/// As [`attached`], reading as it is told.
pub fn attached_with(context: &Context, reads: Reads) -> Result<Arc<Attached>, Failure> {
    let repo = repository_with(context, reads)?.0;
    let at = Attached::open(repo, &context.config.state, Arc::new(SystemClock)).map_err(|e| {
        let failure = Failure::from_error(&e);
        match &e {
            RepoError::State { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => failure
                .hint("run it as the user who owns the state directory, or name another with `state` in the settings"),
            _ => failure,
        }
    })?;
    tracing::info!("opened the index {}", at.index().path().display());
    Ok(Arc::new(at))
}

/// Brings the index up to date with the journal, and tells what of the journal could not be read.
///
/// Where the store is away and queues what it is given, capture goes on without.
pub fn catch_up(at: &Attached, progress: &dyn Progress) -> Result<Replayed, Failure> {
    match replay::catch_up(at, progress) {
        Err(e) if e.is_away() && at.repo().store().waiting().is_ok_and(|w| w.is_some()) => {
            tracing::warn!("what other hosts wrote can't be taken into the index now: {e}");
            Ok(Replayed::default())
        }
        other => told(other.into_failure()?),
    }
}

/// The same for a command that only reads. Where the index can't be brought up to date, it is taken as it is, and that is told.
pub fn catch_up_to_read(at: &Attached, progress: &dyn Progress) -> Result<Replayed, Failure> {
    match replay::catch_up_unless_busy(at, progress) {
        Ok(replayed) => told(replayed),
        Err(e) => {
            tracing::warn!(
                "what follows may lack the newest snapshots, since the index can't be brought up to date: {e}"
            );
            Ok(Replayed::default())
        }
    }
}

fn told(replayed: Replayed) -> Result<Replayed, Failure> {
    for problem in &replayed.problems {
        tracing::error!("{problem}");
    }
    Ok(replayed)
}

/// Waits until everything that was captured is stored. Where it can't be, it waits on this host, and that is told.
pub fn settle(at: &Attached) -> Outcome {
    let store = at.repo().store();
    let Err(e) = store.settle() else { return Outcome::Done };
    let waiting = store.waiting().ok().flatten().unwrap_or_default();
    tracing::error!(
        "captured on this host and not stored yet: {} object(s), {}; `bygone watch` and the next snapshot bring them on: {e}",
        waiting.objects,
        show_size(waiting.bytes)
    );
    Outcome::Partial
}

/// What of a source is captured, with a hint for people where that can't be told.
pub fn scope(context: &Context, source: &Source) -> Result<Scope, Failure> {
    once::scope(&context.config, source).map_err(|e| unscoped(&e))
}

/// Why it can't be told what of a source is captured, with what to do.
pub fn unscoped(e: &ScopeError) -> Failure {
    match e {
        ScopeError::Patterns(e) => Failure::from_error(e).hint("`bygone config check` says where it stands"),
        ScopeError::Own { .. } => Failure::from_error(e).hint("`bygone source remove` takes it off the list"),
        ScopeError::Io { .. } => Failure::from_error(e),
    }
}

/// Whose history a command is to look at: that of the host it was given, else this machine's own.
///
/// Where this machine goes on with a source under another name, it is told that another writer has a history too.
pub fn whose(context: &Context, of: &OfHost, at: &Attached, index: &Reader) -> Result<Whose, Failure> {
    let host = &context.config.host;
    if let Some(name) = &of.host {
        let known = names::hosts(index).into_failure()?;
        if !known.contains(name) {
            let known: Vec<String> = known.iter().map(|host| path::show(host.as_bytes())).collect();
            let failure = Failure::new(format!("the repository has no host {}", path::show(name.as_bytes())));
            return Err(failure.hint(format!("it has {}", known.join(", "))));
        }
        return Ok(Whose::named(name));
    }
    for apart in write::apart(at, host).into_failure()? {
        tracing::warn!(
            "another writer has the history of {} under the name {host}; this machine goes on with its own as {}: that one is meant, \
             unless --host says otherwise",
            path::show(&apart.root),
            apart.name
        );
    }
    Whose::own(at, host).into_failure()
}
