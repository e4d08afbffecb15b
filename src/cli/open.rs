//! Opening the repository and the index that a command works on.

use std::io;
use std::sync::Arc;

use super::context::Context;
use super::outcome::{Explain as _, Failure};
use super::secret::{self, Purpose};
use crate::capture::scope::Scope;
use crate::config::model::Source;
use crate::config::patterns::Patterns;
use crate::crypto::slots::Secret;
use crate::progress::Progress;
use crate::repo::{
    attach::Attached,
    error::RepoError,
    open::Repository,
    replay::{self, Replayed},
};
use crate::store::{api::Store, local::LocalStore};
use crate::sys::clock::SystemClock;

/// The store of the settings.
pub fn store(context: &Context) -> Arc<dyn Store> {
    Arc::new(LocalStore::open(&context.config.repository))
}

/// The store of the settings, which holds a repository.
pub fn store_of_repository(context: &Context) -> Result<Arc<dyn Store>, Failure> {
    let store = store(context);
    match crate::repo::open::repository_id(&*store) {
        Ok(_) => Ok(store),
        Err(e) => {
            let failure = Failure::from_error(&e);
            Err(match e {
                RepoError::NoRepository { .. } => failure.hint("`bygone init` makes one, `bygone protect DIRECTORY` does everything in one go, and --repo names another"),
                _ => failure,
            })
        }
    }
}

/// Opens the repository with the key of the settings.
pub fn repository(context: &Context) -> Result<Arc<Repository>, Failure> {
    Ok(repository_and_secret(context)?.0)
}

/// Opens the repository with the key of the settings, and gives that key too, for work on the key slots.
pub fn repository_and_secret(context: &Context) -> Result<(Arc<Repository>, Secret), Failure> {
    let store = store_of_repository(context)?;
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
    tracing::info!("opened the repository {} (id {})", repo.store().location(), repo.id());
    Ok((Arc::new(repo), secret))
}

/// Opens the repository and this host's index of it, as it is.
pub fn attached(context: &Context) -> Result<Arc<Attached>, Failure> {
    let repo = repository(context)?;
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
pub fn catch_up(at: &Attached, progress: &dyn Progress) -> Result<Replayed, Failure> {
    told(replay::catch_up(at, progress).into_failure()?)
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

/// What of a source is captured: never the repository and the state, wherever they lie.
pub fn scope(context: &Context, source: &Source) -> Result<Scope, Failure> {
    let patterns = Patterns::compile(&source.exclude, &source.include).map_err(Failure::usage)?;
    let real = |p: &std::path::Path| p.canonicalize().unwrap_or_else(|_| p.to_owned());
    for (what, dir) in [("repository", &context.config.repository), ("state directory", &context.config.state)] {
        if real(&source.path).starts_with(real(dir)) {
            let path = source.path.display();
            return Err(Failure::new(format!(
                "cannot protect {path}: it is in the {what} {}, which is never captured",
                dir.display()
            ))
            .hint("`bygone source remove` takes it off the list"));
        }
    }
    let never = [context.config.repository.as_path(), context.config.state.as_path()];
    Scope::new(source, patterns, &never).explain(|| format!("cannot tell what belongs to {}", source.path.display()))
}
