//! The root of a source: what it is, whether it is still there, and what in it counts.

use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::watcher::{Exclude, WatchError, WatchOptions};
use crate::types::path::is_within;

/// What tells one directory from another that takes its place. Inode numbers are used again, so the birth time counts.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity {
    dev: u64,
    ino: u64,
    birth: Option<SystemTime>,
}

impl Identity {
    fn of(metadata: &fs::Metadata) -> Identity {
        Identity { dev: metadata.dev(), ino: metadata.ino(), birth: metadata.created().ok() }
    }
}

/// A watched root.
pub(super) struct Root {
    given: PathBuf,
    real: Vec<u8>,
    identity: Identity,
    skip: Vec<Vec<u8>>,
    exclude: Exclude,
}

impl Root {
    /// Looks at the directory at `path`.
    pub(super) fn open(path: &Path, options: &WatchOptions) -> Result<Root, WatchError> {
        let failed = |source| WatchError::Root { path: path.to_owned(), source };
        let given = std::path::absolute(path).map_err(failed)?;
        let (real, metadata) = look(&given).map_err(failed)?;
        if !metadata.is_dir() {
            return Err(WatchError::NotADirectory { path: given });
        }
        // What does not exist yet can only be known by the path it was given as.
        let skip = options.skip.iter().map(|p| fs::canonicalize(p).unwrap_or_else(|_| p.clone()));
        let skip = skip.map(|p| p.into_os_string().into_vec()).collect();
        let exclude = options.exclude.clone();
        Ok(Root { given, real, identity: Identity::of(&metadata), skip, exclude })
    }

    /// The path without symbolic links.
    pub(super) fn real(&self) -> &[u8] {
        &self.real
    }

    /// Whether the path still leads to the watched directory.
    pub(super) fn is_there(&self) -> bool {
        look(&self.given).is_ok_and(|(real, m)| real == self.real && Identity::of(&m) == self.identity)
    }

    /// If there is a directory at the path, takes it as the root and tells whether it is the one from before.
    pub(super) fn come_back(&mut self) -> Option<bool> {
        let (real, metadata) = look(&self.given).ok().filter(|(_, m)| m.is_dir())?;
        let identity = Identity::of(&metadata);
        let same = identity == self.identity;
        self.real = real;
        self.identity = identity;
        Some(same)
    }

    /// The path relative to the root, if it is in it.
    pub(super) fn relative<'a>(&self, absolute: &'a [u8]) -> Option<&'a [u8]> {
        if !is_within(absolute, &self.real) {
            return None;
        }
        let rest = if self.real == b"/" { absolute } else { &absolute[self.real.len()..] };
        Some(rest.strip_prefix(b"/").unwrap_or(rest))
    }

    /// The absolute path of a relative one.
    pub(super) fn absolute(&self, relative: &[u8]) -> PathBuf {
        PathBuf::from(std::ffi::OsString::from_vec(crate::types::path::join(&self.real, relative)))
    }

    /// Whether the directory itself is skipped or excluded, apart from those above it.
    pub(super) fn leaves_out(&self, relative: &[u8]) -> bool {
        let absolute = self.absolute(relative);
        self.skip.iter().any(|s| s == absolute.as_os_str().as_bytes())
            || (!relative.is_empty() && (self.exclude)(relative, true))
    }

    /// Whether the directory, or one above it within the root, is skipped or excluded.
    pub(super) fn is_left_out(&self, relative: &[u8]) -> bool {
        let slashes = relative.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(i, _)| i);
        std::iter::once(0).chain(slashes).chain([relative.len()]).any(|end| self.leaves_out(&relative[..end]))
    }
}

fn look(path: &Path) -> std::io::Result<(Vec<u8>, fs::Metadata)> {
    let real = fs::canonicalize(path)?;
    let metadata = fs::symlink_metadata(&real)?;
    Ok((real.into_os_string().into_vec(), metadata))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::types::time::Instant;

    #[test]
    fn paths_are_relative_to_the_root_and_left_out_below_an_excluded_one() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("repo")).unwrap();
        let mut options = WatchOptions::new(Arc::new(|| Instant(0)));
        options.skip = vec![dir.path().join("repo")];
        options.exclude = Arc::new(|rel, _| rel == b"a/b");
        let mut root = Root::open(dir.path(), &options).unwrap();
        let absolute = |rel: &str| dir.path().join(rel).canonicalize().unwrap().into_os_string().into_vec();
        assert_eq!(root.relative(&absolute("repo")), Some(&b"repo"[..]));
        assert_eq!(root.relative(&absolute("")), Some(&b""[..]));
        assert_eq!(root.relative(b"/"), None);
        for (path, out) in
            [("", false), ("a", false), ("a/b", true), ("a/b/c", true), ("a/bc", false), ("repo/x", true)]
        {
            assert_eq!(root.is_left_out(path.as_bytes()), out, "{path}");
        }
        assert!(root.is_there());
        assert_eq!(root.come_back(), Some(true));
        let at = dir.path().to_owned();
        dir.close().unwrap();
        assert!(!root.is_there() && root.come_back().is_none());
        fs::create_dir(&at).unwrap();
        assert_eq!(root.come_back(), Some(false));
        fs::remove_dir(&at).unwrap();
    }
}
