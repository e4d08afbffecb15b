//! A bounded cache, on a disk of this host, of what was read from a store that is far away.
//!
//! It holds parts of packs as they are stored, sealed. Each file ends with a checksum of the rest, so that a bad disk here is
//! not taken for damage there. A cache that fails is no error: the store behind has everything.

use crate::store::api::{Object, Store, StoreError};
use crate::sys::{buffer::Buffer, clock, durable, make, read, stat};
use lru::LruCache;
use rustix::fs::CWD;
use std::{
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What is cached: objects that are read in parts, and never change.
const CACHED: &str = "packs/";
/// What the files begin with in which is what a repository is opened with: they are few, small, and stay.
const OPENING: &str = "open-";
/// What a repository is opened with is used without the store for so long after it gave it last.
const OPENING_MAX_NS: i64 = 30 * 86_400 * 1_000_000_000;
/// The bytes of the checksum at the end of a file.
const CHECK_LEN: usize = 16;

/// A store with a cache before it.
pub struct Cached {
    behind: Arc<dyn Store>,
    dir: PathBuf,
    max_bytes: u64,
    known: Mutex<Known>,
}

/// The files of the cache, by their names.
struct Known {
    files: LruCache<String, u64>,
    bytes: u64,
}

impl Cached {
    /// The cache in `dir`, made where it is not there, of at most `max_bytes`, before `behind`.
    pub fn open(behind: Arc<dyn Store>, dir: &Path, max_bytes: u64) -> Result<Cached, StoreError> {
        let failed = |source: io::Error| StoreError::Io {
            store: behind.location(),
            doing: "set up",
            name: format!("the cache {}", dir.display()),
            source,
        };
        durable::create_dirs(dir, 0o700).map_err(|e| failed(e.into()))?;
        let known = look(dir).map_err(failed)?;
        let cached = Cached { behind, dir: dir.to_owned(), max_bytes, known: Mutex::new(known) };
        cached.shrink(&mut cached.lock());
        Ok(cached)
    }

    /// How many bytes it holds.
    pub fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, key: &str, len: usize) -> Option<Buffer> {
        self.lock().files.get(key)?;
        let mut bytes = Buffer::with_capacity(len + CHECK_LEN);
        bytes.resize(len + CHECK_LEN + 1, 0);
        let found = fs::File::open(self.dir.join(key)).and_then(|file| read::read_at(&file, &mut bytes, 0));
        let whole = found.is_ok_and(|n| n == len + CHECK_LEN);
        bytes.truncate(len + CHECK_LEN);
        let (content, check) = bytes.split_at(len);
        if whole && check_of(content) == *check {
            bytes.truncate(len);
            return Some(bytes);
        }
        self.forget(key);
        None
    }

    /// What the store says now; where it does not answer, what it said before, not too long ago.
    fn or_as_before<T>(
        &self,
        name: &str,
        now: Result<T, StoreError>,
        decode: impl Fn(&[u8]) -> Option<T>,
        encode: impl Fn(&T) -> Vec<u8>,
    ) -> Result<T, StoreError> {
        let key = opening_key(name);
        match now {
            Ok(value) => {
                self.keep(key, &encode(&value));
                Ok(value)
            }
            Err(e @ StoreError::Io { .. }) => {
                let kept = self.before(&key).and_then(|bytes| decode(&bytes));
                kept.inspect(|_| tracing::warn!("{e}; what was read before is used")).ok_or(e)
            }
            Err(e) => {
                // A key slot that was removed opens nothing here either.
                self.forget(&key);
                Err(e)
            }
        }
    }

    /// What was kept for opening; nothing where that is too long ago.
    fn before(&self, key: &str) -> Option<Buffer> {
        let len = self.lock().files.get(key).copied()? as usize;
        let written = stat::at(CWD, self.dir.join(key).as_os_str().as_bytes()).ok()?.mtime.to_ns()?;
        if clock::now().0.saturating_sub(written) > OPENING_MAX_NS {
            self.forget(key);
            return None;
        }
        self.find(key, len.saturating_sub(CHECK_LEN))
    }

    /// Forgets the objects that were listed before and are not there any more.
    fn forget_gone(&self, prefix: &str, now: &[Object]) {
        let before = self.before(&opening_key(prefix)).and_then(|bytes| decode_list(&bytes)).unwrap_or_default();
        for gone in before.iter().filter(|object| !now.iter().any(|n| n.name == object.name)) {
            self.forget(&opening_key(&gone.name));
        }
    }

    fn forget(&self, key: &str) {
        let mut known = self.lock();
        if let Some(bytes) = known.files.pop(key) {
            known.bytes -= bytes;
        }
        self.remove(key);
    }

    fn forget_all(&self) {
        let mut known = self.lock();
        while let Some((key, _)) = known.files.pop_lru() {
            self.remove(&key);
        }
        known.bytes = 0;
    }

    fn remove(&self, key: &str) {
        // Another process may have removed it already.
        if let Err(e) = fs::remove_file(self.dir.join(key))
            && e.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!("cannot remove {key} from the cache {}: {e}", self.dir.display());
        }
    }

    fn keep(&self, key: String, bytes: &[u8]) {
        let len = (bytes.len() + CHECK_LEN) as u64;
        if len > self.max_bytes {
            return;
        }
        if let Err(e) = self.write(&key, bytes) {
            return tracing::debug!("cannot write to the cache {}: {e}", self.dir.display());
        }
        let mut known = self.lock();
        known.bytes += len;
        if let Some(before) = known.files.put(key, len) {
            known.bytes -= before;
        }
        self.shrink(&mut known);
    }

    /// Not synced: what a power cut takes is read again, and what it halves is known by its checksum.
    fn write(&self, key: &str, bytes: &[u8]) -> io::Result<()> {
        let dir = crate::sys::dir::open_root(&self.dir)?;
        let (temp, fd) = make::with_temp_name(|temp| make::file(&dir, temp))?;
        let written = make::write_at(&fd, bytes, 0)
            .and_then(|()| make::write_at(&fd, &check_of(bytes), bytes.len() as u64))
            .and_then(|()| make::rename(&dir, &temp, &dir, key.as_bytes(), make::Taken::Replace));
        if written.is_err() {
            // The error to report is the first one; what is left is removed when the cache is opened again.
            let _ = make::unlink(&dir, &temp);
        }
        written
    }

    fn shrink(&self, known: &mut Known) {
        let mut stay = Vec::new();
        while known.bytes > self.max_bytes {
            let Some((key, bytes)) = known.files.pop_lru() else { break };
            if key.starts_with(OPENING) {
                stay.push((key, bytes));
                continue;
            }
            known.bytes -= bytes;
            self.remove(&key);
        }
        for (key, bytes) in stay {
            known.files.put(key, bytes);
        }
    }
}

/// What a repository is opened with: kept, so that a host that starts while the store is away can go on capturing. It is
/// authenticated by whoever reads it.
fn is_for_opening(name: &str) -> bool {
    name == "bygone.toml" || name.starts_with("keys/")
}

fn encode_list(objects: &[Object]) -> Vec<u8> {
    let lines: Vec<String> = objects.iter().map(|o| format!("{} {}", o.len, o.name)).collect();
    lines.join("\n").into_bytes()
}

fn decode_list(bytes: &[u8]) -> Option<Vec<Object>> {
    let line = |line: &str| {
        let (len, name) = line.split_once(' ')?;
        Some(Object { name: name.to_owned(), len: len.parse().ok()? })
    };
    std::str::from_utf8(bytes).ok()?.lines().map(line).collect()
}

/// What is in a cache, the files used last at the end; what is unfinished is removed.
fn look(dir: &Path) -> io::Result<Known> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.as_bytes().starts_with(make::TEMP_PREFIX.as_bytes()) {
            fs::remove_file(entry.path())?;
            continue;
        }
        match entry.metadata() {
            Ok(meta) => found.push((meta.modified()?, name.to_string_lossy().into_owned(), meta.len())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    found.sort();
    let mut known = Known { files: LruCache::unbounded(), bytes: 0 };
    for (_, name, len) in found {
        known.bytes += len;
        known.files.put(name, len);
    }
    Ok(known)
}

fn opening_key(name: &str) -> String {
    format!("{OPENING}{}", key_of(name, u64::MAX, 0))
}

fn key_of(name: &str, offset: u64, len: usize) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&offset.to_le_bytes()).update(&(len as u64).to_le_bytes()).update(name.as_bytes());
    data_encoding::HEXLOWER.encode(&hasher.finalize().as_bytes()[..20])
}

fn check_of(bytes: &[u8]) -> [u8; CHECK_LEN] {
    let mut check = [0; CHECK_LEN];
    check.copy_from_slice(&blake3::hash(bytes).as_bytes()[..CHECK_LEN]);
    check
}

impl Store for Cached {
    fn location(&self) -> String {
        self.behind.location()
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.behind.put(name, bytes)
    }

    fn mend(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.behind.mend(name, bytes)?;
        // Which files hold what was read of it can't be told from their names.
        self.forget_all();
        Ok(())
    }

    fn get(&self, name: &str, max: u64) -> Result<Vec<u8>, StoreError> {
        if !is_for_opening(name) {
            return self.behind.get(name, max);
        }
        self.or_as_before(name, self.behind.get(name, max), |bytes| Some(bytes.to_vec()), |bytes| bytes.clone())
    }

    fn get_range(&self, name: &str, offset: u64, len: usize) -> Result<Buffer, StoreError> {
        if !name.starts_with(CACHED) {
            return self.behind.get_range(name, offset, len);
        }
        let key = key_of(name, offset, len);
        if let Some(bytes) = self.find(&key, len) {
            return Ok(bytes);
        }
        let bytes = self.behind.get_range(name, offset, len)?;
        self.keep(key, &bytes);
        Ok(bytes)
    }

    fn get_ranges(&self, name: &str, ranges: &[(u64, usize)]) -> Result<Vec<Buffer>, StoreError> {
        if !name.starts_with(CACHED) {
            return self.behind.get_ranges(name, ranges);
        }
        let found = |range: &(u64, usize)| self.find(&key_of(name, range.0, range.1), range.1);
        let mut out: Vec<Option<Buffer>> = ranges.iter().map(found).collect();
        // What is here splits what has to be fetched.
        let mut at = 0;
        while at < out.len() {
            let len = out[at..].iter().take_while(|part| part.is_none()).count();
            let missing = &ranges[at..at + len];
            if missing.is_empty() {
                at += 1;
                continue;
            }
            for (n, bytes) in self.behind.get_ranges(name, missing)?.into_iter().enumerate() {
                self.keep(key_of(name, missing[n].0, missing[n].1), &bytes);
                out[at + n] = Some(bytes);
            }
            at += len + 1;
        }
        Ok(out.into_iter().flatten().collect())
    }

    fn far(&self) -> bool {
        self.behind.far()
    }

    fn away(&self) -> Option<crate::store::api::Away> {
        self.behind.away()
    }

    fn list(&self, prefix: &str) -> Result<Vec<Object>, StoreError> {
        if !is_for_opening(prefix) {
            return self.behind.list(prefix);
        }
        let now = self.behind.list(prefix);
        if let Ok(now) = &now {
            self.forget_gone(prefix, now);
        }
        self.or_as_before(prefix, now, decode_list, |objects| encode_list(objects))
    }

    fn delete(&self, name: &str) -> Result<(), StoreError> {
        if is_for_opening(name) {
            self.forget(&opening_key(name));
        }
        self.behind.delete(name)
    }

    fn size(&self, name: &str) -> Result<u64, StoreError> {
        self.behind.size(name)
    }

    fn start(&self) {
        self.behind.start();
    }

    fn settle(&self) -> Result<(), StoreError> {
        self.behind.settle()
    }

    fn waiting(&self) -> Result<Option<crate::store::api::Waiting>, StoreError> {
        self.behind.waiting()
    }
}
