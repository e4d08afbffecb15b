//! One snapshot of a source of the settings.

use crate::capture::{
    engine::{self, Plan, Settings},
    report::{CaptureError, Report},
    scope::{Scope, bytes},
};
use crate::config::{
    model::{Config, Source},
    patterns::{PatternError, Patterns},
};
use crate::progress::Progress;
use crate::repo::{attach::Attached, error::RepoError, write::SourceWriter};
use crate::types::snapshot::Tier;
use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

/// Why it can't be told what belongs to a source.
#[derive(Debug, thiserror::Error)]
pub enum ScopeError {
    /// A pattern is none.
    #[error(transparent)]
    Patterns(#[from] PatternError),
    /// It lies in a directory that is never captured.
    #[error("cannot protect {path}: it is in the {what} {dir}, which is never captured")]
    Own {
        /// The source.
        path: PathBuf,
        /// What that directory is.
        what: &'static str,
        /// That directory.
        dir: PathBuf,
    },
    /// The system did not say.
    #[error("cannot tell what belongs to {path}")]
    Io {
        /// The source.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum OnceError {
    /// What belongs to the source is not known.
    #[error(transparent)]
    Scope(#[from] ScopeError),
    /// The source can't be written.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The capture failed.
    #[error(transparent)]
    Capture(#[from] CaptureError),
}

/// What of a source is captured: never the repository and the state, wherever they lie.
pub fn scope(config: &Config, source: &Source) -> Result<Scope, ScopeError> {
    let patterns = Patterns::compile(&source.exclude, &source.include)?;
    let real = |p: &Path| p.canonicalize().unwrap_or_else(|_| p.to_owned());
    let own = config.own_dirs();
    for (what, dir) in &own {
        if !source.in_state && real(&source.path).starts_with(real(dir)) {
            return Err(ScopeError::Own { path: source.path.clone(), what, dir: (*dir).to_owned() });
        }
    }
    let never: Vec<&Path> = own.iter().map(|(_, dir)| *dir).collect();
    Scope::new(source, patterns, &never).map_err(|e| ScopeError::Io { path: source.path.clone(), source: e })
}

/// The writer of a source. Fails where another one writes it.
pub fn writer(config: &Config, at: &Arc<Attached>, source: &Source) -> Result<SourceWriter, RepoError> {
    SourceWriter::open(at.clone(), &config.host, bytes(&source.path))
}

/// Takes a snapshot of everything that has changed. The index is up to date with the journal.
pub fn take(
    config: &Config,
    at: &Arc<Attached>,
    source: &Source,
    tier: Tier,
    (progress, stop): (&dyn Progress, &AtomicBool),
) -> Result<Report, OnceError> {
    let scope = scope(config, source)?;
    let mut writer = writer(config, at, source)?;
    progress.start(&format!("capturing {}", source.path.display()), None);
    let settings = Settings { capture: &config.capture, tier, always: true, progress, stop };
    let report = engine::capture(&mut writer, &scope, &Plan::everything(), &settings);
    progress.finish();
    let forked = writer.is_forked();
    Ok(Report { forked, ..report? })
}
