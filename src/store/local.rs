//! A store in a local directory.

use crate::store::api::{Object, Store, StoreError, is_object_name};
use crate::sys::{buffer::Buffer, durable, read};
use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// So many bytes of an anchor are looked at.
const ANCHOR_MAX: u64 = 1 << 20;

/// A directory whose files are the objects. A put writes a temporary file beside its target, syncs it, renames it
/// without replacing, and syncs the directory.
pub struct LocalStore {
    root: PathBuf,
    anchor: Option<Anchor>,
}

/// An object by which a store knows itself again: where its disk is unmounted, another directory has its place.
struct Anchor {
    name: String,
    seen: Mutex<Option<Seen>>,
}

/// The store as it was seen first.
struct Seen {
    /// The device and inode of its root.
    place: (u64, u64),
    /// The bytes of the object.
    bytes: Vec<u8>,
}

impl LocalStore {
    /// A store in `root`, which exists.
    pub fn open(root: &Path) -> LocalStore {
        LocalStore { root: root.to_owned(), anchor: None }
    }

    /// The same of a directory whose disk may be taken away: once it has had the object `anchor`, nothing is read from or written to
    /// what does not have it.
    pub fn anchored(root: &Path, anchor: &str) -> LocalStore {
        let anchor = Anchor { name: anchor.to_owned(), seen: Mutex::default() };
        LocalStore { root: root.to_owned(), anchor: Some(anchor) }
    }

    /// Where an object is, or is to be.
    fn path(&self, doing: &'static str, name: &str) -> Result<PathBuf, StoreError> {
        if !is_object_name(name) {
            return Err(StoreError::Name { name: name.to_owned() });
        }
        self.is_there().map_err(|source| self.io(doing, name, source))?;
        Ok(self.root.join(name))
    }

    /// The bytes of the anchor, which may be anything before it was seen first.
    fn anchor(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        read::open_regular(&self.root.join(name))?.0.take(ANCHOR_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// An error unless this is the store that it was.
    fn is_there(&self) -> io::Result<()> {
        let Some(Anchor { name, seen }) = &self.anchor else { return Ok(()) };
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let place = fs::metadata(&self.root).map(|meta| (meta.dev(), meta.ino()));
        let gone = |what: &str| {
            io::Error::other(format!("the repository is not there any more: {what}; mount its disk again"))
        };
        let is_none = |e: &io::Error| e.kind() == io::ErrorKind::NotFound;
        match (&mut *seen, place) {
            (Some(seen), Ok(place)) if place == seen.place => Ok(()),
            (Some(seen), Ok(place)) => match self.anchor(name) {
                // It is back, and its disk may have another number.
                Ok(bytes) if bytes == seen.bytes => {
                    seen.place = place;
                    Ok(())
                }
                Ok(_) => Err(io::Error::other("another repository is in its place; put back the one that was there")),
                Err(e) if is_none(&e) => Err(gone("another directory is in its place")),
                Err(e) => Err(e),
            },
            (Some(_), Err(e)) if is_none(&e) => Err(gone("there is no such directory")),
            (Some(_), Err(e)) => Err(e),
            // Before it was seen first, whoever reads it is told what is wrong with it.
            (none, place) => {
                if let (Ok(place), Ok(bytes)) = (place, self.anchor(name)) {
                    *none = Some(Seen { place, bytes });
                }
                Ok(())
            }
        }
    }

    fn io(&self, doing: &'static str, name: &str, source: io::Error) -> StoreError {
        StoreError::Io { store: self.location(), doing, name: name.to_owned(), source }
    }

    fn error(&self, doing: &'static str, name: &str, source: io::Error) -> StoreError {
        let (store, name) = (self.location(), name.to_owned());
        match source.kind() {
            io::ErrorKind::NotFound => StoreError::Missing { store, name },
            io::ErrorKind::AlreadyExists => StoreError::Exists { store, name },
            _ => StoreError::Io { store, doing, name, source },
        }
    }

    fn walk(&self, dir: &Path, prefix: &str, out: &mut Vec<Object>) -> io::Result<()> {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let Ok(file_name) = entry.file_name().into_string() else { continue };
            if file_name.starts_with('.') {
                continue;
            }
            let name = format!("{prefix}{file_name}");
            if entry.file_type()?.is_dir() {
                self.walk(&entry.path(), &format!("{name}/"), out)?;
            } else {
                // A link to a file is an object, as where packs were moved to another disk. What is no file is told by who reads it.
                match fs::metadata(entry.path()) {
                    Ok(meta) => out.push(Object { name, len: if meta.is_file() { meta.len() } else { 0 } }),
                    // Deleted since the directory was read: a list need not have it.
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(())
    }
}

impl Store for LocalStore {
    fn location(&self) -> String {
        self.root.display().to_string()
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.path("write", name)?;
        tracing::debug!("writing {name}: {} B", bytes.len());
        match durable::write_new(&path, bytes, 0o600) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let dir = path.parent().unwrap_or(&self.root);
                durable::create_dirs(dir, 0o700)
                    .and_then(|()| durable::write_new(&path, bytes, 0o600))
                    .map_err(|e| self.error("write", name, e.into()))
            }
            other => other.map_err(|e| self.error("write", name, e.into())),
        }
    }

    fn mend(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.path("replace", name)?;
        tracing::debug!("replacing {name}: {} B", bytes.len());
        durable::create_dirs(path.parent().unwrap_or(&self.root), 0o700)
            .and_then(|()| durable::replace(&path, bytes, 0o600))
            .map_err(|e| self.io("replace", name, e.into()))
    }

    fn get(&self, name: &str, max: u64) -> Result<Vec<u8>, StoreError> {
        let read = |path: PathBuf| {
            let (file, len) = read::open_regular(&path)?;
            if len > max {
                return Err(io::Error::other(format!("it has {len} bytes, more than the {max} it may have")));
            }
            let mut bytes = Vec::with_capacity(len as usize);
            file.take(max).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read(self.path("read", name)?).map_err(|e| self.error("read", name, e))
    }

    fn get_range(&self, name: &str, offset: u64, len: usize) -> Result<Buffer, StoreError> {
        let read = |path: PathBuf| {
            let (file, _) = read::open_regular(&path)?;
            let mut bytes = Buffer::with_capacity(len);
            bytes.resize(len, 0);
            file.read_exact_at(&mut bytes, offset)?;
            Ok(bytes)
        };
        read(self.path("read", name)?).map_err(|e: io::Error| match e.kind() {
            io::ErrorKind::UnexpectedEof => {
                StoreError::Short { store: self.location(), name: name.to_owned(), end: offset + len as u64 }
            }
            _ => self.error("read", name, e),
        })
    }

    fn list(&self, prefix: &str) -> Result<Vec<Object>, StoreError> {
        let dir = match prefix.strip_suffix('/') {
            Some(dir) => self.path("list", dir)?,
            None if prefix.is_empty() => {
                self.is_there().map_err(|source| self.io("list", prefix, source))?;
                self.root.clone()
            }
            None => return Err(StoreError::Name { name: prefix.to_owned() }),
        };
        let mut out = Vec::new();
        match self.walk(&dir, prefix, &mut out) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && !prefix.is_empty() => {}
            other => other.map_err(|e| self.error("list", prefix, e))?,
        }
        out.sort();
        Ok(out)
    }

    fn delete(&self, name: &str) -> Result<(), StoreError> {
        match durable::remove(&self.path("delete", name)?) {
            // Whether it, or its directory, was there makes no difference.
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map(drop).map_err(|e| self.error("delete", name, e.into())),
        }
    }

    fn size(&self, name: &str) -> Result<u64, StoreError> {
        let path = self.path("read", name)?;
        let (_, len) = read::open_regular(&path).map_err(|e| self.error("read", name, e))?;
        Ok(len)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test moves directories as people do")]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_no_object_and_keeps_nobody_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("r");
        fs::create_dir(&root).unwrap();
        let store = LocalStore::anchored(&root, "packs/pipe");
        store.put("packs/real", b"bytes").unwrap();
        let packs = crate::sys::dir::open(&root.join("packs")).unwrap();
        crate::sys::make::special(&packs, b"pipe", crate::types::attr::Kind::Fifo, 0).unwrap();
        crate::sys::make::special(&packs, b"sock", crate::types::attr::Kind::Socket, 0).unwrap();
        std::os::unix::fs::symlink("real", root.join("packs/link")).unwrap();
        std::os::unix::fs::symlink("/", root.join("packs/dir")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", root.join("packs/zero")).unwrap();
        for (name, what) in [("pipe", "named pipe"), ("sock", "socket"), ("dir", "directory"), ("zero", "device")] {
            let name = format!("packs/{name}");
            let all = [
                store.get(&name, 9).unwrap_err(),
                store.get_range(&name, 0, 1).map(drop).unwrap_err(),
                store.size(&name).unwrap_err(),
            ];
            for e in all {
                let told = format!("{e} {:?}", std::error::Error::source(&e).map(ToString::to_string));
                assert!(told.contains(&name) && told.contains(what) && !e.is_missing(), "{told}");
            }
        }
        assert_eq!(store.get("packs/link", 9).unwrap(), b"bytes");
        assert_eq!(store.size("packs/link").unwrap(), 5);
        let listed: Vec<(String, u64)> = store.list("packs/").unwrap().into_iter().map(|o| (o.name, o.len)).collect();
        let all = [("dir", 0), ("link", 5), ("pipe", 0), ("real", 5), ("sock", 0), ("zero", 0)];
        assert_eq!(listed, all.map(|(name, len)| (format!("packs/{name}"), len)));
    }

    #[test]
    fn what_is_in_the_place_of_an_unmounted_store_is_neither_read_nor_written() {
        let dir = tempfile::tempdir().unwrap();
        let (root, away) = (dir.path().join("r"), dir.path().join("away"));
        let made = |root: &Path, anchor: &[u8]| {
            fs::create_dir(root).unwrap();
            LocalStore::open(root).put("anchor", anchor).unwrap();
        };
        made(&root, b"one");
        let store = LocalStore::anchored(&root, "anchor");
        store.put("a/b", b"x").unwrap();
        let refused = |store: &LocalStore, says: &str| {
            let all = [
                store.put("a/c", b"x").unwrap_err(),
                store.get("a/b", 9).unwrap_err(),
                store.list("a/").unwrap_err(),
                store.list("").unwrap_err(),
                store.delete("a/b").unwrap_err(),
                store.size("a/b").unwrap_err(),
            ];
            for e in all {
                assert!(!e.is_missing() && e.to_string().contains(says), "{e}");
            }
        };
        fs::rename(&root, &away).unwrap();
        refused(&store, "there is no such directory");
        fs::create_dir(&root).unwrap();
        refused(&store, "another directory is in its place");
        assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
        fs::remove_dir(&root).unwrap();
        made(&root, b"two");
        refused(&store, "another repository is in its place");
        fs::remove_dir_all(&root).unwrap();
        fs::rename(&away, &root).unwrap();
        assert_eq!(store.get("a/b", 9).unwrap(), b"x");
        // A copy of it on another disk is the same repository.
        made(&away, b"one");
        fs::remove_dir_all(&root).unwrap();
        fs::rename(&away, &root).unwrap();
        store.put("a/c", b"x").unwrap();
    }
}
