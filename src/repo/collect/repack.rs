//! Making packs of which little is needed, and small ones, into others. Frames are moved whole: opened and sealed again, as they are.

use crate::chunk::compress::Method;
use crate::index::live::PackUse;
use crate::progress::Progress;
use crate::repo::{
    attach::Attached,
    error::{Damage, RepoError},
    names, opener,
    pack::PackBuilder,
};
use crate::types::{
    ids::{Hash, Id},
    op::{Frame, encode_chunks},
};
use std::collections::{HashMap, HashSet};

/// A pack is put into the store when it holds this many bytes.
const PACK_TARGET: usize = 8 << 20;
/// A pack below this length is small.
const SMALL: u64 = 2 << 20;
/// Small packs are made into others when there are at least so many of them,
const SMALL_MIN: usize = 64;
/// and packs of which at most this share, in percent, is needed.
const SPARSE: u64 = 60;
/// The most that is read to be written anew in one run, in bytes.
const MOVED_MAX: u64 = 4 << 30;

/// The packs to be made into others; `thorough` also where it is worth little.
pub(super) fn choose(uses: &[PackUse], thorough: bool) -> Vec<Id> {
    let live = uses.iter().filter(|u| u.live_frames > 0);
    let small: Vec<&PackUse> = live.clone().filter(|u| u.bytes < SMALL).collect();
    let enough = small.len() >= if thorough { 2 } else { SMALL_MIN };
    let sparse = live.filter(|u| u.live_bytes * 100 <= u.bytes * SPARSE && (u.bytes >= SMALL || !enough));
    let mut chosen: Vec<&PackUse> = sparse.collect();
    chosen.extend(small.into_iter().filter(|_| enough));
    chosen.sort_unstable_by_key(|u| u.live_bytes);
    let mut total = 0;
    let fits = |u: &&PackUse| {
        total += u.live_bytes;
        total <= MOVED_MAX
    };
    let chosen: Vec<Id> = chosen.into_iter().take_while(fits).map(|u| u.id).collect();
    chosen
}

/// Makes packs into others with the frames of them that are needed. Gives the new ones, which are durable and known to nobody yet;
/// `None` where there is no room for them, and then none of them is left.
pub(super) fn repack(at: &Attached, packs: &[Id], progress: &dyn Progress) -> Result<Option<Vec<Id>>, RepoError> {
    let mut made = Vec::new();
    match move_frames(at, packs, &mut made, progress) {
        Err(RepoError::Store(e)) if e.is_full() => {
            for id in &made {
                at.repo().store().delete(&names::pack(*id))?;
            }
            Ok(None)
        }
        other => other.map(|()| Some(made)),
    }
}

fn move_frames(at: &Attached, packs: &[Id], out: &mut Vec<Id>, progress: &dyn Progress) -> Result<(), RepoError> {
    let (repo, reader) = (at.repo(), at.reader()?);
    if packs.is_empty() {
        return Ok(());
    }
    let mut building: Option<PackBuilder> = None;
    let mut table: Option<(Id, HashMap<u32, Frame>)> = None;
    let mut list = Vec::new();
    // What is there several times is there once afterwards: an index finds moved frames by what they hold.
    let mut done: HashSet<Hash> = HashSet::new();
    for (pack, row) in reader.live_frames_of(packs)? {
        if table.as_ref().is_none_or(|(id, _)| *id != pack) {
            table = Some((pack, opener::read_table(repo, pack)?.frames.into_iter().map(|f| (f.number, f)).collect()));
        }
        // The table of the pack is the truth about its chunks.
        let frame = table.as_ref().and_then(|(_, frames)| frames.get(&row.number));
        let name = names::pack(pack);
        let damaged = |why: Damage| repo.damaged(&name, format!("frame {}", row.number), why);
        let frame = frame.filter(|f| (f.offset, f.sealed_len, f.raw_len) == (row.offset, row.sealed_len, row.raw_len));
        let frame = frame.ok_or_else(|| damaged(Damage::other("its table says otherwise than the journal")))?;
        list.clear();
        encode_chunks(&frame.chunks, &mut list);
        if !done.insert(repo.keys().chunk_hash(&list)?) {
            continue;
        }
        let (key, mut sealed) = opener::frame(repo, pack, (frame.offset, frame.sealed_len as usize))?;
        let stored = key.open_part(u64::from(frame.number), &mut sealed).map_err(|e| damaged(e.into()))?;
        let method =
            Method::from_u8(frame.method).ok_or_else(|| damaged(Damage::other("its compression is not known")))?;
        let mut builder = match building.take() {
            Some(builder) => builder,
            None => PackBuilder::new(repo.keys(), PACK_TARGET + (1 << 20))?,
        };
        builder.add_stored(stored, (method, frame.raw_len), &frame.chunks);
        progress.add(1, stored.len() as u64);
        match builder.len() >= PACK_TARGET {
            true => out.push(put(at, builder)?),
            false => building = Some(builder),
        }
    }
    if let Some(builder) = building {
        out.push(put(at, builder)?);
    }
    Ok(())
}

fn put(at: &Attached, builder: PackBuilder) -> Result<Id, RepoError> {
    let id = builder.id();
    let (name, bytes) = builder.finish();
    at.repo().store().put(&name, &bytes)?;
    Ok(id)
}
