//! Content on its way out: frames fetched, opened, decompressed, and kept for a while.

use crate::chunk::compress::{Decompressor, Method};
use crate::crypto::seal::ObjectKey;
use crate::index::chunks::Location;
use crate::progress::Quiet;
use crate::repo::{
    attach::Attached,
    error::{Damage, RepoError},
    holding, names,
    open::Repository,
    opener, replay,
};
use crate::sys::buffer::Buffer;
use lru::LruCache;
use std::{
    cell::RefCell,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

thread_local! {
    static DECOMPRESSOR: RefCell<Option<Decompressor>> = const { RefCell::new(None) };
}

/// A decoded frame, or the place where it will be: whoever comes second waits for the first.
#[derive(Default)]
struct Slot {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    bytes: Option<Arc<Buffer>>,
    /// Somebody has asked for it and will bring it, or give it up.
    coming: bool,
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The promise to bring a frame: whoever wants it meanwhile waits. Dropped without it, they read it themselves.
pub struct Expected(Arc<Slot>);

impl Expected {
    /// Brings it.
    pub fn deliver(self, frame: Buffer) {
        self.0.lock().bytes = Some(Arc::new(frame));
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.0.lock().coming = false;
        self.0.arrived.notify_all();
    }
}

/// Reads frames, and keeps the decoded ones that were used last, up to a number of bytes.
pub struct Frames {
    repo: Arc<Repository>,
    /// Where frames are looked up again that are not where they were.
    at: Option<Arc<Attached>>,
    /// When that was done last.
    looked: Mutex<Option<Instant>>,
    cache: Mutex<Cache>,
    max_bytes: usize,
}

/// How often it is looked whether frames were moved.
const LOOK: Duration = Duration::from_secs(5);

struct Cache {
    slots: LruCache<i64, (Arc<Slot>, usize)>,
    bytes: usize,
}

impl Frames {
    /// A cache of at most `max_bytes` of decoded frames, but always of one.
    pub fn new(repo: Arc<Repository>, max_bytes: usize) -> Frames {
        let cache = Mutex::new(Cache { slots: LruCache::unbounded(), bytes: 0 });
        Frames { repo, at: None, looked: Mutex::default(), cache, max_bytes }
    }

    /// The same, and a frame that is not where the index says is looked for where collection may have moved it meanwhile.
    pub fn of(at: Arc<Attached>, max_bytes: usize) -> Frames {
        let repo = at.repo().clone();
        Frames { at: Some(at), ..Frames::new(repo, max_bytes) }
    }

    /// The repository.
    pub fn repo(&self) -> &Arc<Repository> {
        &self.repo
    }

    /// The decoded frame that a chunk lies in. Every byte has been authenticated; an error names pack and frame.
    pub fn get(&self, at: &Location) -> Result<Arc<Buffer>, RepoError> {
        let slot = self.slot(at);
        let mut state = slot.lock();
        while state.coming {
            state = slot.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(bytes) = &state.bytes {
            return Ok(bytes.clone());
        }
        let bytes = Arc::new(self.read(at)?);
        state.bytes = Some(bytes.clone());
        Ok(bytes)
    }

    fn read(&self, at: &Location) -> Result<Buffer, RepoError> {
        match read_frame(&self.repo, at) {
            Err(RepoError::Store(e)) if e.is_missing() => match self.moved(at)? {
                Some(moved) => read_frame(&self.repo, &moved),
                None => Err(holding::explained(&self.repo, e.into())),
            },
            other => other,
        }
    }

    /// Where a frame is that was moved since the index was asked.
    fn moved(&self, was: &Location) -> Result<Option<Location>, RepoError> {
        let Some(at) = &self.at else { return Ok(None) };
        {
            let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
            if looked.is_none_or(|looked| looked.elapsed() >= LOOK) {
                replay::catch_up_unless_busy(at, &Quiet)?;
                *looked = Some(Instant::now());
            }
        }
        let now = at.reader()?.frame_location(was.frame)?;
        let now = now.map(|now| Location { chunk_offset: was.chunk_offset, chunk_len: was.chunk_len, ..now });
        Ok(now.filter(|now| now != was))
    }

    /// Promises to bring the frame that a chunk lies in; `None` where it is here, or on its way already.
    pub fn expect(&self, at: &Location) -> Option<Expected> {
        let slot = self.slot(at);
        {
            // Whoever holds it is reading it.
            let mut state = slot.state.try_lock().ok()?;
            if state.coming || state.bytes.is_some() {
                return None;
            }
            state.coming = true;
        }
        Some(Expected(slot))
    }

    /// Whether the frame is here already, or on its way.
    pub fn has(&self, frame: i64) -> bool {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).slots.contains(&frame)
    }

    /// The bytes of a chunk, in its frame.
    pub fn chunk(&self, at: &Location) -> Result<(Arc<Buffer>, std::ops::Range<usize>), RepoError> {
        let frame = self.get(at)?;
        let start = at.chunk_offset as usize;
        Ok((frame, start..start + at.chunk_len as usize))
    }

    fn slot(&self, at: &Location) -> Arc<Slot> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((slot, _)) = cache.slots.get(&at.frame) {
            return slot.clone();
        }
        let (slot, len) = (Arc::<Slot>::default(), at.raw_len as usize);
        cache.slots.put(at.frame, (slot.clone(), len));
        cache.bytes += len;
        while cache.bytes > self.max_bytes && cache.slots.len() > 1 {
            match cache.slots.pop_lru() {
                Some((_, (_, len))) => cache.bytes -= len,
                None => break,
            }
        }
        slot
    }
}

/// Reads and opens one frame, and checks that the chunk lies in it.
pub fn read_frame(repo: &Repository, at: &Location) -> Result<Buffer, RepoError> {
    let (key, mut sealed) = opener::frame(repo, at.pack, (at.offset, at.sealed_len as usize))?;
    tracing::debug!("read frame {} of {}: {} B", at.number, names::pack(at.pack), sealed.len());
    decode_frame(repo, &key, at, &mut sealed)
}

/// Opens one sealed frame of a pack with this key, and checks that the chunk lies in it.
pub fn decode_frame(repo: &Repository, key: &ObjectKey, at: &Location, sealed: &mut [u8]) -> Result<Buffer, RepoError> {
    let name = names::pack(at.pack);
    let mut decode = || -> Result<Buffer, Damage> {
        let stored = key.open_part(u64::from(at.number), sealed)?;
        let method = Method::from_u8(at.method).ok_or_else(|| Damage::other("its compression is not known"))?;
        let raw = DECOMPRESSOR.with_borrow_mut(|d| {
            let d = match d {
                Some(d) => d,
                None => d.insert(Decompressor::new().map_err(|e| Damage::other(e.to_string()))?),
            };
            Ok::<_, Damage>(d.decompress(method, stored, at.raw_len as usize)?)
        })?;
        if u64::from(at.chunk_offset) + u64::from(at.chunk_len) > raw.len() as u64 {
            return Err(Damage::other("a chunk lies outside of it"));
        }
        Ok(raw)
    };
    decode().map_err(|why| repo.damaged(&name, format!("frame {} at byte {}", at.number, at.offset), why))
}
