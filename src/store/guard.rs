//! A store that does not answer is not asked again and again: after one request that ran out of its time the others are refused at
//! once, while one of them at a time looks whether it is back.
//!
//! Since when it is away is noted in a file, so that the next process need not wait as long to find out.

use crate::store::api::{Away, Object, Store, StoreError, Waiting};
use crate::sys::{buffer::Buffer, clock, durable};
use crate::types::time::Instant;
use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// What is read to see whether the store is back; whether it is there makes no difference. It is read, and not only asked for:
/// a line that breaks in the middle of what comes over it lets every short answer through.
const PROBE: &str = "bygone.toml";
/// The most bytes that are read of it.
const PROBE_MAX: u64 = 1 << 20;
/// The first and the longest pause between two looks.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));

/// A store with a guard before it.
pub struct Guarded {
    inner: Arc<Inner>,
}

struct Inner {
    behind: Arc<dyn Store>,
    note: PathBuf,
    /// Whether `state` says anything: looked at without the lock.
    troubled: AtomicBool,
    state: Mutex<Option<Trouble>>,
}

struct Trouble {
    away: Away,
    /// Requests are refused; else it is only known from an earlier process, and the next request finds out.
    refusing: bool,
}

/// Since when the store was away by the note of an earlier process, if it is there.
pub fn noted(note: &Path) -> Option<Away> {
    let text = std::fs::read_to_string(note).ok()?;
    let (since, why) = text.split_once(' ')?;
    Some(Away { since: Instant(since.parse().ok()?), why: why.trim_end().to_owned() })
}

impl Guarded {
    /// A guard before `behind`, with its file at `note`, whose directory is there or can be made.
    pub fn open(behind: Arc<dyn Store>, note: &Path) -> Guarded {
        let known = noted(note).map(|away| Trouble { away, refusing: false });
        let troubled = AtomicBool::new(known.is_some());
        Guarded { inner: Arc::new(Inner { behind, note: note.to_owned(), troubled, state: Mutex::new(known) }) }
    }

    /// Makes a request that reads, or refuses it.
    fn ask<T>(
        &self,
        doing: &'static str,
        name: &str,
        request: impl FnOnce(&dyn Store) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if let Some(why) = self.inner.refusal() {
            let (store, name) = (self.location(), name.to_owned());
            return Err(StoreError::Io { store, doing, name, source: io::Error::new(io::ErrorKind::TimedOut, why) });
        }
        self.send(request)
    }

    /// Makes a request whatever is known, and learns from it.
    fn send<T>(&self, request: impl FnOnce(&dyn Store) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let result = request(&*self.inner.behind);
        match &result {
            Err(e) if e.is_unanswered() => self.inner.gone(e),
            _ => self.inner.back(),
        }
        result
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Option<Trouble>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refusal(&self) -> Option<String> {
        if !self.troubled.load(Ordering::Relaxed) {
            return None;
        }
        let state = self.lock();
        let trouble = state.as_ref().filter(|trouble| trouble.refusing)?;
        let seconds = clock::now().0.saturating_sub(trouble.away.since.0) / 1_000_000_000;
        Some(format!("the store has not answered for {seconds} s; it is looked for every few seconds"))
    }

    fn gone(self: &Arc<Inner>, e: &StoreError) {
        let mut state = self.lock();
        let known = state.as_ref().map(|trouble| (trouble.away.since, trouble.refusing));
        let (since, refusing) = known.unwrap_or_else(|| (clock::now(), false));
        let away = Away { since, why: e.to_string().replace('\n', " ") };
        if known.is_none() {
            let text = format!("{} {}\n", since.0, away.why);
            let dir = self.note.parent().unwrap_or(Path::new("/"));
            let written =
                durable::create_dirs(dir, 0o700).and_then(|()| durable::replace(&self.note, text.as_bytes(), 0o600));
            written.unwrap_or_else(|e| tracing::debug!("cannot note that the store is away: {e}"));
        }
        *state = Some(Trouble { away, refusing: true });
        self.troubled.store(true, Ordering::Relaxed);
        drop(state);
        if !refusing {
            tracing::warn!("{e}; requests are refused until it answers again");
            let inner = Arc::downgrade(self);
            let started = thread::Builder::new().name("probe".into()).spawn(move || look(&inner));
            if let Err(e) = started {
                // Without it nobody would notice that the store is back.
                tracing::error!("cannot start the thread that looks for the store: {e}");
                if let Some(trouble) = &mut *self.lock() {
                    trouble.refusing = false;
                }
            }
        }
    }

    fn back(&self) {
        if !self.troubled.load(Ordering::Relaxed) {
            return;
        }
        let Some(trouble) = self.lock().take() else { return };
        self.troubled.store(false, Ordering::Relaxed);
        let seconds = clock::now().0.saturating_sub(trouble.away.since.0) / 1_000_000_000;
        tracing::info!("{} answers again, after {seconds} s", self.behind.location());
        durable::remove(&self.note)
            .map(drop)
            .unwrap_or_else(|e| tracing::debug!("the store is not away any more: {e}"));
    }
}

/// Looks until the store answers or nobody uses it any more.
fn look(inner: &Weak<Inner>) {
    let mut pause = PAUSE.0;
    loop {
        thread::sleep(pause);
        let Some(inner) = inner.upgrade() else { return };
        if !inner.troubled.load(Ordering::Relaxed) {
            return;
        }
        match inner.behind.get(PROBE, PROBE_MAX) {
            Err(e) if e.is_unanswered() => pause = (pause * 2).min(PAUSE.1),
            _ => return inner.back(),
        }
    }
}

impl Store for Guarded {
    fn location(&self) -> String {
        self.inner.behind.location()
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        // Whoever writes has patience of its own.
        self.send(|behind| behind.put(name, bytes))
    }

    fn mend(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.send(|behind| behind.mend(name, bytes))
    }

    fn get(&self, name: &str, max: u64) -> Result<Vec<u8>, StoreError> {
        self.ask("read", name, |behind| behind.get(name, max))
    }

    fn get_range(&self, name: &str, offset: u64, len: usize) -> Result<Buffer, StoreError> {
        self.ask("read", name, |behind| behind.get_range(name, offset, len))
    }

    fn get_ranges(&self, name: &str, ranges: &[(u64, usize)]) -> Result<Vec<Buffer>, StoreError> {
        self.ask("read", name, |behind| behind.get_ranges(name, ranges))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Object>, StoreError> {
        self.ask("list", prefix, |behind| behind.list(prefix))
    }

    fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.ask("delete", name, |behind| behind.delete(name))
    }

    fn size(&self, name: &str) -> Result<u64, StoreError> {
        self.ask("read", name, |behind| behind.size(name))
    }

    fn far(&self) -> bool {
        self.inner.behind.far()
    }

    fn away(&self) -> Option<Away> {
        self.inner.lock().as_ref().map(|trouble| trouble.away.clone())
    }

    fn start(&self) {
        self.inner.behind.start();
    }

    fn settle(&self) -> Result<(), StoreError> {
        self.inner.behind.settle()
    }

    fn waiting(&self) -> Result<Option<Waiting>, StoreError> {
        self.inner.behind.waiting()
    }
}
