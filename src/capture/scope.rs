//! What belongs to a source.

use crate::capture::freeze::FREEZER;
use crate::config::{
    kinds::{Atomic, Kind},
    model,
    patterns::Patterns,
};
use crate::sys::{mounts, overlay, stat};
use crate::types::{attr::Place, path};
use std::{
    collections::HashSet,
    io,
    os::{fd::AsFd, unix::ffi::OsStrExt},
    path::Path,
};

/// The first bytes of a valid CACHEDIR.TAG (the Cache Directory Tagging Specification).
pub const CACHEDIR_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";
/// The name of the tag.
pub const CACHEDIR_TAG: &[u8] = b"CACHEDIR.TAG";

/// Decides what of a source is captured. The repository, the state directory and bygone's own mounts never are.
pub struct Scope {
    patterns: Patterns,
    kind: Kind,
    one_file_system: bool,
    /// Whether directories with a CACHEDIR.TAG are left out.
    pub cachedir_tag: bool,
    /// Whether databases are found by their first bytes.
    find_databases: bool,
    /// How the source is held still.
    pub atomic: Option<Atomic>,
    /// Databases by name.
    databases: Option<Patterns>,
    never: HashSet<Place>,
    own_mounts: HashSet<u64>,
    pseudo_mounts: HashSet<u64>,
}

/// What to do with a directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Descent {
    /// Capture it and what is in it.
    Enter,
    /// Capture it as an empty directory.
    Stay,
    /// It is not part of the source.
    Skip,
}

impl Scope {
    /// The scope of `source`. `never` are the directories that are not captured wherever they lie; those that do not exist are
    /// left out.
    pub fn new(source: &model::Source, patterns: Patterns, never: &[&Path]) -> io::Result<Scope> {
        let mut places = HashSet::new();
        for dir in never {
            match crate::sys::dir::open_root(dir).and_then(stat::of) {
                Ok(stat) => drop(places.insert(stat.place)),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        let mut scope = Scope {
            patterns,
            kind: source.kind.clone(),
            // A snapshot of btrfs has nothing of what is mounted below.
            one_file_system: source.one_file_system || source.atomic.is_some(),
            cachedir_tag: source.cachedir_tag,
            // What is held still has its databases whole, with what lies beside them.
            find_databases: source.sqlite.find && source.atomic.is_none(),
            atomic: source.atomic,
            databases: databases_of(source),
            never: places,
            own_mounts: HashSet::new(),
            pseudo_mounts: HashSet::new(),
        };
        scope.refresh()?;
        Ok(scope)
    }

    /// Takes notice of what is mounted now; once before each capture.
    pub fn refresh(&mut self) -> io::Result<()> {
        let mounts = mounts::mounts()?;
        // What an overlay gives back is captured once it is a plain directory again.
        let is_own = |m: &&mounts::Mount| m.fstype == "fuse.bygone" || overlay::is_ours(m);
        self.own_mounts = mounts.iter().filter(is_own).map(|m| m.id).collect();
        self.pseudo_mounts = mounts.iter().filter(|m| m.is_pseudo()).map(|m| m.id).collect();
        Ok(())
    }

    /// Whether the entry `rel` (relative to the root) is left out by a pattern, or is not whole yet where data is produced.
    pub fn is_excluded(&self, rel: &[u8], is_dir: bool) -> bool {
        is_freezer(rel) || is_beside(rel) || self.kind.is_unfinished(rel) || self.patterns.excluded(rel, is_dir)
    }

    /// Whether any file may be captured as a database.
    pub fn has_databases(&self) -> bool {
        self.find_databases || self.databases.is_some()
    }

    /// Whether a database is known by its first bytes.
    pub fn finds_databases(&self) -> bool {
        self.find_databases
    }

    /// Whether the settings name this file as a database.
    pub fn is_named_database(&self, rel: &[u8]) -> bool {
        self.databases.as_ref().is_some_and(|patterns| patterns.excluded(rel, false))
    }

    /// Whether any component of `rel` but the last is left out as a directory, or the last one as `is_dir` says.
    pub fn is_excluded_below(&self, rel: &[u8], is_dir: bool) -> bool {
        let mut at = Vec::new();
        let mut names = path::components(rel).peekable();
        while let Some(name) = names.next() {
            at = path::join(&at, name);
            if self.is_excluded(&at, names.peek().is_some() || is_dir) {
                return true;
            }
        }
        false
    }

    /// Whether a node is never captured: the repository, the state directory, a mount of bygone.
    pub fn is_never(&self, stat: &stat::Stat) -> bool {
        self.never.contains(&stat.place) || self.is_own_mount(stat)
    }

    /// Whether this is the root of a mount of bygone.
    pub fn is_own_mount(&self, stat: &stat::Stat) -> bool {
        stat.is_mount_root && stat.mnt_id.is_some_and(|id| self.own_mounts.contains(&id))
    }

    /// Whether to descend into a directory, open as `fd`. `parent_dev` is the file system that its parent is on.
    pub fn descent(&self, fd: impl AsFd, dir: &stat::Stat, parent_dev: u64) -> io::Result<Descent> {
        if self.is_never(dir) {
            return Ok(Descent::Skip);
        }
        if dir.place.dev == parent_dev && !dir.is_mount_root {
            return Ok(Descent::Enter);
        }
        let pseudo = dir.mnt_id.is_some_and(|id| self.pseudo_mounts.contains(&id)) || stat::fs_kind(&fd)?.is_pseudo;
        let crossed = dir.place.dev != parent_dev;
        Ok(if pseudo || (crossed && self.one_file_system) { Descent::Stay } else { Descent::Enter })
    }
}

/// Whether a path, relative to a root, is the directory of snapshots that hold sources still.
pub fn is_freezer(rel: &[u8]) -> bool {
    path::components(rel).last() == Some(FREEZER)
}

/// Whether a path is a directory that a restore has made beside what is restored.
fn is_beside(rel: &[u8]) -> bool {
    path::components(rel).last().is_some_and(path::is_beside)
}

/// The patterns of databases that are named. Those that are no patterns have been refused when the settings were read.
fn databases_of(source: &model::Source) -> Option<Patterns> {
    let named = !source.sqlite.paths.is_empty() && source.atomic.is_none();
    named.then(|| Patterns::compile(&source.sqlite.paths, &[]).ok()).flatten()
}

/// A path of the file system as bytes.
pub fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}
