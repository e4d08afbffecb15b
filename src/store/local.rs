//! A store in a local directory.

use crate::store::api::{Object, Store, StoreError, is_object_name};
use crate::sys::{buffer::Buffer, durable};
use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// A directory whose files are the objects. A put writes a temporary file beside its target, syncs it, renames it
/// without replacing, and syncs the directory.
pub struct LocalStore {
    root: PathBuf,
}

impl LocalStore {
    /// A store in `root`, which exists.
    pub fn open(root: &Path) -> LocalStore {
        LocalStore { root: root.to_owned() }
    }

    fn path(&self, name: &str) -> Result<PathBuf, StoreError> {
        if is_object_name(name) { Ok(self.root.join(name)) } else { Err(StoreError::Name { name: name.to_owned() }) }
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
                match entry.metadata() {
                    Ok(meta) => out.push(Object { name, len: meta.len() }),
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
        let path = self.path(name)?;
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

    fn get(&self, name: &str, max: u64) -> Result<Vec<u8>, StoreError> {
        let read = |path: PathBuf| {
            let mut file = File::open(path)?;
            let len = file.metadata()?.len();
            if len > max {
                return Err(io::Error::other(format!("it has {len} bytes, more than the {max} it may have")));
            }
            let mut bytes = Vec::with_capacity(len as usize);
            file.by_ref().take(max).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read(self.path(name)?).map_err(|e| self.error("read", name, e))
    }

    fn get_range(&self, name: &str, offset: u64, len: usize) -> Result<Buffer, StoreError> {
        let read = |path: PathBuf| {
            let file = File::open(path)?;
            let mut bytes = Buffer::with_capacity(len);
            bytes.resize(len, 0);
            file.read_exact_at(&mut bytes, offset)?;
            Ok(bytes)
        };
        read(self.path(name)?).map_err(|e: io::Error| match e.kind() {
            io::ErrorKind::UnexpectedEof => {
                StoreError::Short { store: self.location(), name: name.to_owned(), end: offset + len as u64 }
            }
            _ => self.error("read", name, e),
        })
    }

    fn list(&self, prefix: &str) -> Result<Vec<Object>, StoreError> {
        let dir = match prefix.strip_suffix('/') {
            Some(dir) => self.path(dir)?,
            None if prefix.is_empty() => self.root.clone(),
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
        match durable::remove(&self.path(name)?) {
            // Whether it, or its directory, was there makes no difference.
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map(drop).map_err(|e| self.error("delete", name, e.into())),
        }
    }

    fn size(&self, name: &str) -> Result<u64, StoreError> {
        let meta = fs::metadata(self.path(name)?).map_err(|e| self.error("read", name, e))?;
        Ok(meta.len())
    }
}
