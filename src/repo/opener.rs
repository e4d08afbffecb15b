//! The keys of packs: found by what stands behind their headers, read with the first frames of each and kept for a while.

use crate::crypto::{
    keys::Sealing,
    seal::{ObjectKey, ObjectKind},
};
use crate::repo::{
    error::{Damage, RepoError},
    header, names,
    open::Repository,
    pack::{self, FOOTER_LEN, Table},
};
use crate::sys::buffer::Buffer;
use crate::types::{
    ids::{Generation, Id},
    role::Need,
};
use lru::LruCache;
use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError, TryLockError},
};

/// Keys of so many packs are kept.
const KEPT: NonZeroUsize = NonZeroUsize::new(4096).expect("it is not zero");

/// A header and frames that begin at most so many bytes behind it are read together.
const NEAR: u64 = 64 << 10;

/// The key of a pack, once somebody has found it.
type Slot = Arc<Mutex<Option<Arc<ObjectKey>>>>;

/// The keys of the packs that were read last.
pub(super) struct Opener(Mutex<LruCache<Id, Slot>>);

impl Opener {
    /// One that knows none.
    pub(super) fn new() -> Opener {
        Opener(Mutex::new(LruCache::new(KEPT)))
    }

    fn slot(&self, id: Id) -> Slot {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(id, Slot::default).clone()
    }
}

/// Sealed frames of a pack by offset and length, in the order of offsets, and what opens them. Where the key of the pack is not known
/// yet, one of those who read it at the same time reads the header too.
pub fn frames(
    repo: &Repository,
    pack: Id,
    ranges: &[(u64, usize)],
) -> Result<(Arc<ObjectKey>, Vec<Buffer>), RepoError> {
    let (name, store, keys) = (names::pack(pack), repo.store(), repo.keys());
    keys.role().check(Need::Content)?;
    if keys.sealing() == Sealing::One {
        let key = keys.object(Generation::FIRST, ObjectKind::Pack, pack, &name)?;
        return Ok((Arc::new(key), store.get_ranges(&name, ranges)?));
    }
    let slot = repo.opener().slot(pack);
    let (mut known, read) = match slot.try_lock() {
        Ok(known) => (known, None),
        Err(TryLockError::Poisoned(known)) => (known.into_inner(), None),
        // Somebody is finding it: the frames are read meanwhile.
        Err(TryLockError::WouldBlock) => {
            let read = store.get_ranges(&name, ranges)?;
            (slot.lock().unwrap_or_else(PoisonError::into_inner), Some(read))
        }
    };
    if let Some(key) = known.clone() {
        drop(known);
        return Ok((key, read.map_or_else(|| store.get_ranges(&name, ranges), Ok)?));
    }
    let (head, found) = match read {
        Some(found) => (store.get_range(&name, 0, header::pack_len(Sealing::Apart))?, found),
        None => with_header(repo, &name, ranges)?,
    };
    let key = match from_header(repo, pack, &name, &head) {
        Ok(key) => key,
        Err(why) => from_table(repo, pack, &name, why)?,
    };
    let key = Arc::new(key);
    *known = Some(key.clone());
    Ok((key, found))
}

/// One sealed frame, and what opens it.
pub fn frame(repo: &Repository, pack: Id, range: (u64, usize)) -> Result<(Arc<ObjectKey>, Buffer), RepoError> {
    let (key, mut found) = frames(repo, pack, &[range])?;
    Ok((key, found.remove(0)))
}

/// The header of a pack, and ranges of it. One request is enough where they lie near the header; where they do not, and the store is far
/// away, there are two at the same time.
fn with_header(repo: &Repository, name: &str, ranges: &[(u64, usize)]) -> Result<(Buffer, Vec<Buffer>), RepoError> {
    let len = header::pack_len(Sealing::Apart);
    let store = repo.store();
    match ranges.first() {
        Some((first, _)) if *first < len as u64 => {
            Err(repo.damaged(name, format!("frame at byte {first}"), Damage::other("it is said to lie in the header")))
        }
        Some((first, _)) if first - len as u64 <= NEAR => {
            let all: Vec<(u64, usize)> = std::iter::once((0, len)).chain(ranges.iter().copied()).collect();
            let mut found = store.get_ranges(name, &all)?;
            Ok((found.remove(0), found))
        }
        _ if store.far() => std::thread::scope(|scope| {
            let head = scope.spawn(|| store.get_range(name, 0, len));
            let found = store.get_ranges(name, ranges);
            let head = head.join().unwrap_or_else(|panicked| std::panic::resume_unwind(panicked));
            Ok((head?, found?))
        }),
        _ => Ok((store.get_range(name, 0, len)?, store.get_ranges(name, ranges)?)),
    }
}

fn from_header(repo: &Repository, pack: Id, name: &str, bytes: &[u8]) -> Result<ObjectKey, Damage> {
    let (id, generation) = header::read(bytes, ObjectKind::Pack, Sealing::Apart)?;
    match id == pack {
        true => Ok(repo.keys().frames(generation, pack, name, &bytes[header::LEN..])?),
        false => Err(Damage::other(format!("it is the pack {id} under another name"))),
    }
}

/// The header is damaged: what stands behind it stands in the table too. Where that is no better, the header is to be told.
fn from_table(repo: &Repository, pack: Id, name: &str, why: Damage) -> Result<ObjectKey, RepoError> {
    let data = read_table(repo, pack).ok().and_then(|table| Some((table.generation, table.key_data?)));
    let key = data.and_then(|(generation, data)| repo.keys().frames(generation, pack, name, &data).ok());
    key.ok_or_else(|| repo.damaged(name, "header", why))
}

/// The table of a pack.
pub fn read_table(repo: &Repository, id: Id) -> Result<Table, RepoError> {
    let name = names::pack(id);
    let damaged = |why: Damage| repo.damaged(&name, "table", why);
    let len = repo.store().size(&name)?;
    let end = len.checked_sub(FOOTER_LEN as u64).ok_or_else(|| damaged(Damage::other("it is too short")))?;
    let footer = repo.store().get_range(&name, end, FOOTER_LEN)?;
    let table = pack::table_len(&footer, len).map_err(damaged)?;
    let mut sealed = repo.store().get_range(&name, end - table, table as usize)?;
    pack::read_table(repo.keys(), id, &footer, &mut sealed).map_err(damaged)
}
