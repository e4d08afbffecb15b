//! From a spool to the store behind it.

use crate::store::{
    api::{Store, StoreError},
    spool::Inner,
};
use crate::sys::durable::{self, LockGuard};
use std::{
    collections::HashSet,
    io,
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// The lock of whoever uploads.
const LOCK: &str = "upload.lock";
/// What must never be stored before what came before it.
const LAST: &str = "journal/";
/// Objects that are uploaded at once.
const AT_ONCE: usize = 4;
/// The longest object, in bytes: packs are far smaller.
const OBJECT_MAX: u64 = 1 << 32;
/// How often an empty queue is looked at.
const IDLE: Duration = Duration::from_millis(100);
/// How long whoever uploads may be at one object: a little longer than a store may take for it.
const STUCK: Duration = Duration::from_secs(660);
/// The first and the longest pause after a failure.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Uploads until the spool is told to stop.
pub(super) fn run(inner: &Inner) {
    let mut pause = BACKOFF.0;
    // What another process noted before it ended counts too.
    let mut failing = inner.noted_error().is_some();
    let mut lock = None;
    while !inner.stop.load(Ordering::Relaxed) {
        let step = hold(inner, &mut lock).and_then(|held| if held { pass(inner) } else { Ok(0) });
        match step {
            Ok(done) => {
                if failing && done > 0 {
                    failing = false;
                    inner.note_error(None);
                    tracing::info!("{} takes objects again", inner.behind.location());
                }
                pause = BACKOFF.0;
                if done == 0 {
                    wait(inner, IDLE);
                }
            }
            Err(e) => {
                tracing::warn!("{e}; what is captured waits in {}, tried again in {pause:?}", inner.dir.display());
                {
                    let mut failures = inner.failures.lock().unwrap_or_else(PoisonError::into_inner);
                    *failures = (failures.0 + 1, e.to_string());
                }
                inner.note_error(Some(&e));
                failing = true;
                wait(inner, pause);
                pause = (pause * 2).min(BACKOFF.1);
            }
        }
    }
}

/// Uploads until the queue is empty or the store fails. Where a thread of this process or another process uploads, waits for
/// that one, until it fails or does not come on.
pub(super) fn drain(inner: &Inner) -> Result<(), StoreError> {
    let failures = || inner.failures.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let before = failures().0;
    let (mut lock, mut first, mut waited) = (None, None, Duration::ZERO);
    inner.hurry.store(true, Ordering::Relaxed);
    loop {
        if hold(inner, &mut lock)? {
            match pass(inner) {
                Ok(0) => {
                    inner.note_error(None);
                    return Ok(());
                }
                Ok(_) => continue,
                Err(e) => {
                    inner.note_error(Some(&e));
                    return Err(e);
                }
            }
        }
        let queued = inner.queued().map_err(|e| inner.failed("list", "the spool", e))?;
        let Some(now) = queued.into_iter().next() else { return Ok(()) };
        let (count, why) = failures();
        if count > before {
            return Err(inner.failed("empty", "the queue", io::Error::other(why)));
        }
        waited = if first.as_ref() == Some(&now) { waited + IDLE } else { Duration::ZERO };
        if waited > STUCK {
            let why = "whoever uploads does not come on with it";
            return Err(inner.failed("empty", "the queue", io::Error::other(why)));
        }
        first = Some(now);
        std::thread::sleep(IDLE);
    }
}

fn wait(inner: &Inner, time: Duration) {
    let mut left = time;
    let away = inner.behind.away().is_some();
    let back = || away && inner.behind.away().is_none();
    while !left.is_zero()
        && !inner.stop.load(Ordering::Relaxed)
        && !inner.hurry.swap(false, Ordering::Relaxed)
        && !back()
    {
        let step = left.min(IDLE);
        std::thread::sleep(step);
        left -= step;
    }
}

/// Whether this process is the one that uploads; whoever becomes it puts the queue in order first.
fn hold(inner: &Inner, lock: &mut Option<LockGuard>) -> Result<bool, StoreError> {
    if lock.is_some() {
        return Ok(true);
    }
    let failed = |e: io::Error| inner.failed("lock", LOCK, e);
    *lock = durable::lock_file(&inner.dir.join(LOCK)).map_err(|e| failed(e.into()))?;
    if lock.is_some() {
        inner.recount().map_err(failed)?;
    }
    Ok(lock.is_some())
}

/// Uploads what is queued now: several at once, and a record of the journal when all before it is stored. Gives how many.
fn pass(inner: &Inner) -> Result<usize, StoreError> {
    let queued = inner.queued().map_err(|e| inner.failed("list", "the spool", e))?;
    if queued.is_empty() {
        return adopt(inner);
    }
    let mut rest = queued.as_slice();
    while let Some((_, first)) = rest.first() {
        let together = match first.starts_with(LAST) {
            true => 1,
            false => rest.iter().take_while(|(_, name)| !name.starts_with(LAST)).count(),
        };
        let (now, after) = rest.split_at(together);
        several(inner, now)?;
        rest = after;
    }
    Ok(queued.len())
}

/// Queues objects that are here and in no queue: they were being written, or were just stored, when their process ended.
fn adopt(inner: &Inner) -> Result<usize, StoreError> {
    let failed = |e| inner.failed("list", "the spool", e);
    let here = inner.objects.list("")?;
    if here.is_empty() {
        return Ok(0);
    }
    // Looked at after the objects: whoever writes one queues it next.
    std::thread::sleep(IDLE);
    let queued: HashSet<String> = inner.queued().map_err(failed)?.into_iter().map(|(_, name)| name).collect();
    let mut adopted = 0;
    for object in here.iter().filter(|object| !queued.contains(&object.name)) {
        if inner.objects.size(&object.name).is_ok() {
            inner.enqueue(&object.name).map_err(failed)?;
            adopted += 1;
        }
    }
    Ok(adopted)
}

fn several(inner: &Inner, objects: &[(PathBuf, String)]) -> Result<(), StoreError> {
    let next = AtomicUsize::new(0);
    let failure: Mutex<Option<StoreError>> = Mutex::new(None);
    let failed = || failure.lock().unwrap_or_else(PoisonError::into_inner);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(objects.len()) {
            scope.spawn(|| {
                while let Some((link, name)) = objects.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if failed().is_some() || inner.stop.load(Ordering::Relaxed) {
                        return;
                    }
                    if let Err(e) = one(inner, link, name) {
                        failed().get_or_insert(e);
                    }
                }
            });
        }
    });
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(e) => Err(e),
        None => Ok(()),
    }
}

fn one(inner: &Inner, link: &std::path::Path, name: &str) -> Result<(), StoreError> {
    let failed = |e: durable::Error| inner.failed("delete", name, e.into());
    match inner.objects.get(name, OBJECT_MAX) {
        Ok(bytes) => {
            match inner.behind.put(name, &bytes) {
                // It was stored before a crash; or somebody else has this name, and nothing is written over.
                Err(StoreError::Exists { .. }) if inner.behind.get(name, OBJECT_MAX)? == bytes => {}
                other => other?,
            }
            inner.objects.delete(name)?;
            inner.release(bytes.len() as u64).map_err(|e| inner.failed("delete", name, e))?;
        }
        // Stored, and its process ended before the link was removed.
        Err(e) if e.is_missing() => {}
        Err(e) => return Err(e),
    }
    durable::remove(link).map(drop).map_err(failed)
}
