//! Whose history is shown: that of one name, or this machine's own, which may go on under another name than that of its settings.

use crate::index::{error::IndexError, tree::Reader};
use crate::repo::{
    attach::Attached,
    error::RepoError,
    write::{self, Apart},
};
use crate::types::{
    snapshot::{Snapshot, Source},
    time::Instant,
};
use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::{Arc, PoisonError, RwLock},
};

/// Whose history is shown. Equal where host and sort are.
#[derive(Clone)]
pub struct Whose {
    host: String,
    /// Of this machine's own: the sources that it goes on with under another name.
    own: Option<Arc<RwLock<Vec<Apart>>>>,
}

/// A source, as far as its snapshots are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The source.
    pub source: Source,
    /// Its snapshots from then on are those of another writer, and not shown.
    pub until: Option<Instant>,
}

impl Line {
    /// The last instant up to `at` whose snapshot is shown.
    pub fn cut(&self, at: Instant) -> Instant {
        self.until.map_or(at, |until| at.min(Instant(until.0.saturating_sub(1))))
    }

    /// Whether what was captured then is shown.
    pub fn shows(&self, at: Instant) -> bool {
        self.until.is_none_or(|until| at < until)
    }

    /// Its newest snapshot at or before `at`.
    pub fn snapshot_at(&self, index: &Reader, at: Instant) -> Result<Option<Snapshot>, IndexError> {
        index.snapshot_at(self.source.num, self.cut(at))
    }

    /// Its first snapshot after `at`.
    pub fn snapshot_after(&self, index: &Reader, at: Instant) -> Result<Option<Snapshot>, IndexError> {
        Ok(index.snapshot_after(self.source.num, at)?.filter(|s| self.shows(s.time)))
    }
}

impl Whose {
    /// Of exactly this name.
    pub fn named(host: impl Into<String>) -> Whose {
        Whose { host: host.into(), own: None }
    }

    /// What this machine captured, where its settings call it `host`: for a source that another writer has under that name, the one
    /// history that both share up to where this machine noticed, and from then on its own.
    pub fn own(at: &Attached, host: &str) -> Result<Whose, RepoError> {
        let own = write::apart(at, host)?;
        Ok(Whose { host: host.to_owned(), own: Some(Arc::new(RwLock::new(own))) })
    }

    /// Looks again whether this machine goes on under another name.
    pub fn refresh(&self, at: &Attached) -> Result<(), RepoError> {
        if let Some(own) = &self.own {
            let now = write::apart(at, &self.host)?;
            *own.write().unwrap_or_else(PoisonError::into_inner) = now;
        }
        Ok(())
    }

    /// The host, as it was named.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether it is this machine's own.
    pub fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// Whether it is this machine's own, and goes on under another name for some source.
    pub fn is_apart(&self) -> bool {
        !self.apart().is_empty()
    }

    fn apart(&self) -> Vec<Apart> {
        let own = self.own.as_ref().map(|own| own.read().unwrap_or_else(PoisonError::into_inner).clone());
        own.unwrap_or_default()
    }

    /// The sources, in the order of the index; of two with one root, the one that goes first comes first.
    pub fn lines(&self, index: &Reader) -> Result<Vec<Line>, IndexError> {
        let (all, apart) = (index.sources()?, self.apart());
        let mut lines = Vec::new();
        for source in all.iter().filter(|s| s.host == self.host) {
            let mut until = None;
            if let Some(apart) = apart.iter().find(|a| a.root == source.root) {
                let own = all.iter().find(|s| s.host == apart.name && s.root == apart.root);
                let first = |s: &Source| index.snapshot_after(s.num, Instant(i64::MIN));
                until = match apart.since {
                    Some(since) => Some(since),
                    None => own.map(first).transpose()?.flatten().map(|s| s.time),
                };
                lines.extend(own.map(|own| Line { source: own.clone(), until: None }));
            }
            lines.push(Line { source: source.clone(), until });
        }
        Ok(lines)
    }
}

impl PartialEq for Whose {
    fn eq(&self, other: &Whose) -> bool {
        (&self.host, self.is_own()) == (&other.host, other.is_own())
    }
}

impl Eq for Whose {}

impl Hash for Whose {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.host, self.is_own()).hash(state);
    }
}

impl fmt::Debug for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.host, if self.is_own() { " (own)" } else { "" })
    }
}
