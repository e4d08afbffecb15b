//! Journal segments: a header, then sealed blocks, each with its length before it (4 bytes, little-endian). Block `n` is sealed
//! at position `n`. Opened, a block is: flags (bit 0: zstd; bit 1: the last block), its raw length, and the bytes, which are
//! items: a length and the bytes of one part of a record each.

use crate::chunk::compress::{Compressor, Decompressor, Method};
use crate::crypto::{
    keys::Keys,
    random,
    seal::{ObjectKey, ObjectKind, TAG_LEN},
};
use crate::repo::{
    error::{Damage, RepoError},
    header,
};
use crate::sys::buffer::Buffer;
use crate::types::wire::{Reader, WireError, put_bytes, put_u64};

/// The longest block that a reader accepts, in raw bytes.
const BLOCK_MAX: usize = 64 << 20;
/// The longest segment that a reader accepts, in bytes.
pub const SEGMENT_MAX: u64 = 1 << 30;

/// A segment being built in memory.
pub struct SegmentBuilder {
    name: String,
    key: ObjectKey,
    bytes: Vec<u8>,
    blocks: u64,
    pending: Vec<u8>,
}

impl SegmentBuilder {
    /// An empty segment.
    pub fn new(keys: &Keys, name: String) -> Result<SegmentBuilder, RepoError> {
        SegmentBuilder::of(ObjectKind::Journal, keys, name)
    }

    /// An empty object of another kind, in the same form.
    pub fn of(kind: ObjectKind, keys: &Keys, name: String) -> Result<SegmentBuilder, RepoError> {
        let id = random::id()?;
        let generation = keys.in_force()?;
        let key = keys.object(generation, kind, id, &name)?;
        let bytes = header::write(kind, id, keys.sealing(), generation).to_vec();
        Ok(SegmentBuilder { name, key, bytes, blocks: 0, pending: Vec::new() })
    }

    /// Its length in bytes, without what waits for the next block.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it has no item.
    pub fn is_empty(&self) -> bool {
        self.blocks == 0 && self.pending.is_empty()
    }

    /// Adds an item; full blocks are sealed as they fill.
    pub fn push(&mut self, compressor: &mut Compressor, item: &[u8]) {
        put_bytes(&mut self.pending, item);
        if self.pending.len() >= 1 << 20 {
            self.block(compressor, false);
        }
    }

    /// Its name and bytes, complete.
    pub fn finish(mut self, compressor: &mut Compressor) -> (String, Vec<u8>) {
        self.block(compressor, true);
        (self.name, self.bytes)
    }

    fn block(&mut self, compressor: &mut Compressor, last: bool) {
        let mut packed = Vec::new();
        let method = compressor.compress(&self.pending, &mut packed);
        let mut head = vec![method as u8 | u8::from(last) << 1];
        put_u64(&mut head, self.pending.len() as u64);
        let len = head.len() + packed.len() + TAG_LEN;
        self.bytes.extend_from_slice(&(len as u32).to_le_bytes());
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&head);
        self.bytes.extend_from_slice(&packed);
        self.key.seal(self.blocks, &mut self.bytes, start);
        self.blocks += 1;
        self.pending.clear();
    }
}

/// Opens a segment block by block and hands each item to `f`; one block is in memory at a time.
pub fn read<E: From<RepoError>>(
    keys: &Keys,
    location: &str,
    name: &str,
    bytes: &[u8],
    f: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    read_kind(ObjectKind::Journal, keys, (location, name), bytes, f)
}

/// The same for an object of another kind.
pub fn read_kind<E: From<RepoError>>(
    kind: ObjectKind,
    keys: &Keys,
    (location, name): (&str, &str),
    bytes: &[u8],
    mut f: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let damaged = |what: String, why: Damage| {
        E::from(RepoError::Damaged { location: location.to_owned(), object: name.to_owned(), what, why })
    };
    let (id, generation) = header::read(bytes, kind, keys.sealing()).map_err(|why| damaged("header".into(), why))?;
    let key = keys.object(generation, kind, id, name).map_err(|e| damaged("header".into(), e.into()))?;
    let mut decompressor =
        Decompressor::new().map_err(|e| damaged("decompression".into(), Damage::other(e.to_string())))?;
    let mut rest = &bytes[header::LEN..];
    let mut number = 0;
    loop {
        let what = format!("block {number}");
        let (block, last) =
            open_block(&key, number, &mut rest, &mut decompressor).map_err(|why| damaged(what.clone(), why))?;
        let mut items = Reader::new(&block);
        while !items.is_empty() {
            let item = items.bytes(BLOCK_MAX).map_err(|e| damaged(what.clone(), e.into()))?;
            f(item)?;
        }
        if last {
            break;
        }
        number += 1;
    }
    if rest.is_empty() {
        Ok(())
    } else {
        Err(damaged("end".into(), Damage::other("bytes stand behind its last block")))
    }
}

fn open_block(
    key: &ObjectKey,
    number: u64,
    rest: &mut &[u8],
    decompressor: &mut Decompressor,
) -> Result<(Buffer, bool), Damage> {
    let cut = || Damage::other("it was cut short");
    let (len, tail) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
    let len = u32::from_le_bytes(*len) as usize;
    let (sealed, tail) = tail.split_at_checked(len).ok_or_else(cut)?;
    *rest = tail;
    let mut plain = sealed.to_vec();
    key.open(number, &mut plain)?;
    let mut r = Reader::new(&plain);
    let flags = r.u8()?;
    let method =
        Method::from_u8(flags & 1).filter(|_| flags <= 3).ok_or(WireError::Invalid("unknown flags of a block"))?;
    let raw_len = r.u64_max(BLOCK_MAX as u64, "a block that is too long")? as usize;
    let packed = r.take(r.len())?;
    Ok((decompressor.decompress(method, packed, raw_len)?, flags & 2 != 0))
}
