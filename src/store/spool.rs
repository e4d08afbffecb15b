//! A bounded queue on a disk of this host, before a store that may be slow or away.
//!
//! An object is *captured* when it is durable here, and *stored* when the store behind has it. Objects go on in the order in
//! which they came, so that the store never has a record of the journal without the packs it names. Any number of processes
//! may use one spool; one of them at a time uploads.
//!
//! Files: `objects/<name>` is an object, `queue/<number>` a symbolic link whose target is its name. The link is made last and
//! removed last: an object without one was never acknowledged, or is stored already, and is queued again; to store the same
//! object twice does no harm.

use crate::store::{
    api::{Away, Object, Store, StoreError, Waiting},
    local::LocalStore,
    upload,
};
use crate::sys::{buffer::Buffer, clock, durable, shared::SharedWords, stat};
use crate::types::time::Instant;
use rustix::fs::CWD;
use std::{
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// The shared numbers: the last number of a queued object, and how many bytes wait.
const LAST: usize = 0;
const BYTES: usize = 1;
const WORDS: usize = 2;
/// The file with the last error of whoever uploads.
const ERROR: &str = "last-error";
/// How often a full spool is looked at again.
const FULL_WAIT: Duration = Duration::from_millis(50);

/// A queue before a store; itself a store that has what waits and what is behind.
pub struct Spool {
    inner: Arc<Inner>,
    upload: OnceLock<Option<JoinHandle<()>>>,
}

pub(super) struct Inner {
    pub(super) behind: Arc<dyn Store>,
    pub(super) objects: LocalStore,
    pub(super) queue: PathBuf,
    pub(super) dir: PathBuf,
    shared: SharedWords,
    max_bytes: u64,
    pub(super) stop: AtomicBool,
    /// Tells the thread that uploads not to pause any longer.
    pub(super) hurry: AtomicBool,
    /// How often that thread has failed, and why the last time.
    pub(super) failures: Mutex<(u64, String)>,
}

impl Spool {
    /// The spool in `dir`, made where it is not there, before `behind`. At most `max_bytes` wait in it, and what was being written
    /// when they were counted, one object a writer: a writer waits while it is full. Nothing is uploaded before the first [`Store::start`] or [`Store::settle`].
    pub fn open(behind: Arc<dyn Store>, dir: &Path, max_bytes: u64) -> Result<Spool, StoreError> {
        let failed = |source: io::Error| StoreError::Io {
            store: behind.location(),
            doing: "set up",
            name: format!("the spool {}", dir.display()),
            source,
        };
        let (objects, queue) = (dir.join("objects"), dir.join("queue"));
        for made in [&objects, &queue] {
            durable::create_dirs(made, 0o700).map_err(|e| failed(e.into()))?;
        }
        let shared = SharedWords::open(&dir.join("numbers"), WORDS).map_err(failed)?;
        let inner = Inner {
            objects: LocalStore::open(&objects),
            queue,
            dir: dir.to_owned(),
            shared,
            max_bytes,
            stop: AtomicBool::new(false),
            hurry: AtomicBool::new(false),
            failures: Mutex::default(),
            behind,
        };
        Ok(Spool { inner: Arc::new(inner), upload: OnceLock::new() })
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        // The thread may be in the middle of a long write, which does no harm: it is not waited for.
        self.inner.stop.store(true, Ordering::Relaxed);
    }
}

impl Inner {
    pub(super) fn failed(&self, doing: &'static str, name: &str, source: io::Error) -> StoreError {
        StoreError::Io { store: format!("the spool {}", self.dir.display()), doing, name: name.to_owned(), source }
    }

    /// Notes for other processes why the last object could not be brought on, or that it could.
    pub(super) fn note_error(&self, e: Option<&StoreError>) {
        let note = self.dir.join(ERROR);
        let noted = match e {
            Some(e) => {
                let text = format!("{} {}\n", clock::now().0, e.to_string().replace('\n', " "));
                durable::replace(&note, text.as_bytes(), 0o600)
            }
            None => durable::remove(&note).map(drop),
        };
        noted.unwrap_or_else(|e| tracing::debug!("cannot note how the upload goes: {e}"));
    }

    pub(super) fn noted_error(&self) -> Option<(Instant, String)> {
        let text = fs::read_to_string(self.dir.join(ERROR)).ok()?;
        let (at, why) = text.split_once(' ')?;
        Some((Instant(at.parse().ok()?), why.trim_end().to_owned()))
    }

    /// The links of the queue and the names they hold, in order.
    pub(super) fn queued(&self) -> io::Result<Vec<(PathBuf, String)>> {
        let mut out = Vec::new();
        for entry in fs::read_dir(&self.queue)? {
            let path = entry?.path();
            match fs::read_link(&path) {
                Ok(target) => out.push((path, target.to_string_lossy().into_owned())),
                // Uploaded in this moment.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        out.sort();
        Ok(out)
    }

    /// Waits while as much is queued as may be, then counts these bytes in.
    fn reserve(&self, bytes: u64) -> io::Result<()> {
        let mut told = false;
        loop {
            let taken = self.shared.with(|words| {
                let held = words.get(BYTES).max(0) as u64;
                let fits = held == 0 || held.saturating_add(bytes) <= self.max_bytes;
                if fits {
                    words.set(BYTES, (held + bytes) as i64);
                }
                fits
            })?;
            if taken {
                return Ok(());
            }
            if !told {
                told = true;
                tracing::warn!(
                    "the spool {} is full: capture waits until {} takes what is in it",
                    self.dir.display(),
                    self.behind.location()
                );
            }
            std::thread::sleep(FULL_WAIT);
        }
    }

    /// Counts bytes out that left the queue.
    pub(super) fn release(&self, bytes: u64) -> io::Result<()> {
        self.shared.with(|words| words.set(BYTES, (words.get(BYTES) - bytes as i64).max(0)))
    }

    /// Counts anew what waits: after a crash the number may be any.
    pub(super) fn recount(&self) -> io::Result<()> {
        let bytes: u64 = self.queued()?.iter().filter_map(|(_, name)| self.objects.size(name).ok()).sum();
        self.shared.with(|words| words.set(BYTES, bytes as i64))
    }

    /// Puts an object that is here at the end of the queue.
    pub(super) fn enqueue(&self, name: &str) -> io::Result<()> {
        loop {
            let number = self.shared.with(|words| {
                words.set(LAST, words.get(LAST) + 1);
                words.get(LAST)
            })?;
            match durable::link_new(&self.queue.join(format!("{number:016}")), Path::new(name)) {
                Ok(()) => return Ok(()),
                // The numbers are older than the queue: the machine went down between them.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                    let last = self.queued()?.last().and_then(|(path, _)| path.file_name()?.to_str()?.parse().ok());
                    self.shared.with(|words| words.set(LAST, words.get(LAST).max(last.unwrap_or(0))))?;
                }
                Err(e) => return Err(e.into()),
            }
        }
    }
}

impl Store for Spool {
    fn location(&self) -> String {
        self.inner.behind.location()
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let inner = &self.inner;
        let failed = |e| inner.failed("write", name, e);
        inner.reserve(bytes.len() as u64).map_err(failed)?;
        let put = inner.objects.put(name, bytes).and_then(|()| inner.enqueue(name).map_err(failed));
        if put.is_err() {
            inner.release(bytes.len() as u64).map_err(failed)?;
        }
        put
    }

    fn mend(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        match self.inner.objects.size(name) {
            Err(e) if e.is_missing() => self.inner.behind.mend(name, bytes),
            // What waits is brought on from here.
            waits => waits.and_then(|_| self.inner.objects.mend(name, bytes)),
        }
    }

    fn get(&self, name: &str, max: u64) -> Result<Vec<u8>, StoreError> {
        match self.inner.objects.get(name, max) {
            Err(e) if e.is_missing() => self.inner.behind.get(name, max),
            other => other,
        }
    }

    fn get_range(&self, name: &str, offset: u64, len: usize) -> Result<Buffer, StoreError> {
        match self.inner.objects.get_range(name, offset, len) {
            Err(e) if e.is_missing() => self.inner.behind.get_range(name, offset, len),
            other => other,
        }
    }

    fn get_ranges(&self, name: &str, ranges: &[(u64, usize)]) -> Result<Vec<Buffer>, StoreError> {
        match self.inner.objects.get_ranges(name, ranges) {
            Err(e) if e.is_missing() => self.inner.behind.get_ranges(name, ranges),
            other => other,
        }
    }

    fn far(&self) -> bool {
        self.inner.behind.far()
    }

    fn away(&self) -> Option<Away> {
        self.inner.behind.away()
    }

    fn list(&self, prefix: &str) -> Result<Vec<Object>, StoreError> {
        // What moves on in between is in both.
        let mut all = self.inner.objects.list(prefix)?;
        all.extend(self.inner.behind.list(prefix)?);
        all.sort();
        all.dedup_by(|a, b| a.name == b.name);
        Ok(all)
    }

    fn delete(&self, name: &str) -> Result<(), StoreError> {
        let inner = &self.inner;
        let failed = |e| inner.failed("delete", name, e);
        if let Ok(bytes) = inner.objects.size(name) {
            inner.objects.delete(name)?;
            inner.release(bytes).map_err(failed)?;
        }
        inner.behind.delete(name)
    }

    fn size(&self, name: &str) -> Result<u64, StoreError> {
        match self.inner.objects.size(name) {
            Err(e) if e.is_missing() => self.inner.behind.size(name),
            other => other,
        }
    }

    /// Uploads in a thread, unless another process does; and when that one has ended.
    fn start(&self) {
        self.upload.get_or_init(|| {
            let inner = self.inner.clone();
            let started = std::thread::Builder::new().name("upload".into()).spawn(move || upload::run(&inner));
            started.map_err(|e| tracing::error!("cannot start the thread that uploads: {e}")).ok()
        });
    }

    fn settle(&self) -> Result<(), StoreError> {
        upload::drain(&self.inner)
    }

    fn waiting(&self) -> Result<Option<Waiting>, StoreError> {
        let queued = self.inner.queued().map_err(|e| self.inner.failed("list", "the spool", e))?;
        let mut waiting = Waiting { error: self.inner.noted_error(), ..Waiting::default() };
        for (link, name) in queued {
            // What is uploaded in this moment need not be counted.
            let Ok(bytes) = self.inner.objects.size(&name) else { continue };
            waiting.objects += 1;
            waiting.bytes += bytes;
            if waiting.since.is_none() {
                waiting.since =
                    stat::at(CWD, link.as_os_str().as_bytes()).ok().and_then(|s| s.mtime.to_ns()).map(Instant);
            }
        }
        Ok(Some(waiting))
    }
}
