//! Packs: a header, sealed frames one behind the other, a sealed table of them, and the length of that table.
//!
//! Frame `n` is sealed at position `n`, the table at position 2^64 - 1. The table lists each frame: sealed length, raw length, method,
//! and its chunks (count, then hash and length each). The last eight bytes are the sealed length of the table (4 bytes, little-endian)
//! and `PACK`; or, under a later generation of the keys, that length with the five bytes of the generation that stand before the table
//! then, and `PACG`.

use crate::chunk::compress::{Compressor, Method};
use crate::crypto::{
    keys::{KEY_DATA_LEN, Keys, PackKeys, Sealing},
    random,
    seal::{ObjectKind, TAG_LEN},
};
use crate::repo::{
    error::{Damage, RepoError},
    header, names,
};
use crate::sys::buffer::Buffer;
use crate::types::{
    ids::{Generation, Hash, Id},
    op::{FRAME_MAX, Frame, decode_chunks, encode_chunks},
    wire::{Reader, WireError, put_u64},
};

/// The position of the table.
const TABLE: u64 = u64::MAX;
/// The length of what follows the table.
pub const FOOTER_LEN: usize = 8;
/// What a pack ends with.
const FIRST_END: &[u8; 4] = b"PACK";
/// The same under a later generation of the keys: that stands before the table.
const LATER_END: &[u8; 4] = b"PACG";
/// So much longer is a pack under a later generation.
pub const GENERATION_LEN: usize = 5;
/// The longest table that a reader accepts, in bytes.
const TABLE_MAX: u64 = 256 << 20;
/// The longest pack that a reader accepts, in bytes.
pub const PACK_MAX: u64 = 1 << 32;

/// A pack being built in memory.
pub struct PackBuilder {
    id: Id,
    keys: PackKeys,
    bytes: Buffer,
    table: Vec<u8>,
    frames: u32,
}

impl PackBuilder {
    /// An empty pack with a new id, and room for so many bytes.
    pub fn new(keys: &Keys, room: usize) -> Result<PackBuilder, RepoError> {
        let id = random::id()?;
        let sealing = keys.pack(id, &names::pack(id))?;
        let mut bytes = Buffer::with_capacity(room);
        bytes.extend_from_slice(&header::write(ObjectKind::Pack, id, keys.sealing(), sealing.generation));
        bytes.extend_from_slice(sealing.key_data.as_ref().map_or(&[][..], |data| data));
        Ok(PackBuilder { id, keys: sealing, bytes, table: Vec::new(), frames: 0 })
    }

    /// Its id.
    pub fn id(&self) -> Id {
        self.id
    }

    /// Its length so far, without its table.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it has no frame.
    pub fn is_empty(&self) -> bool {
        self.frames == 0
    }

    /// Compresses and seals a frame of these chunks, which lie one behind the other in `raw`.
    pub fn add(&mut self, compressor: &mut Compressor, raw: &[u8], chunks: Vec<(Hash, u32)>) -> Frame {
        let offset = self.bytes.len();
        let method = compressor.compress(raw, &mut self.bytes);
        self.close(offset, (method, raw.len() as u32), chunks)
    }

    /// Seals a frame of these chunks that is compressed already.
    pub fn add_stored(&mut self, stored: &[u8], how: (Method, u32), chunks: &[(Hash, u32)]) -> Frame {
        let offset = self.bytes.len();
        self.bytes.extend_from_slice(stored);
        self.close(offset, how, chunks.to_vec())
    }

    fn close(&mut self, offset: usize, (method, raw_len): (Method, u32), chunks: Vec<(Hash, u32)>) -> Frame {
        let method = method as u8;
        self.keys.frames.seal(u64::from(self.frames), &mut self.bytes, offset);
        let frame = Frame {
            number: self.frames,
            offset: offset as u64,
            sealed_len: (self.bytes.len() - offset) as u32,
            raw_len,
            method,
            chunks,
        };
        put_u64(&mut self.table, u64::from(frame.sealed_len));
        put_u64(&mut self.table, u64::from(frame.raw_len));
        self.table.push(method);
        encode_chunks(&frame.chunks, &mut self.table);
        self.frames += 1;
        frame
    }

    /// Its name and bytes, complete.
    pub fn finish(mut self) -> (String, Buffer) {
        let begin = self.bytes.len();
        let is_first = self.keys.generation == Generation::FIRST;
        if !is_first {
            self.bytes.extend_from_slice(&self.keys.generation.0);
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(self.keys.key_data.as_ref().map_or(&[][..], |data| data));
        put_u64(&mut self.bytes, u64::from(self.frames));
        self.bytes.extend_from_slice(&self.table);
        self.keys.table.seal(TABLE, &mut self.bytes, start);
        let len = (self.bytes.len() - begin) as u32;
        self.bytes.extend_from_slice(&len.to_le_bytes());
        self.bytes.extend_from_slice(if is_first { FIRST_END } else { LATER_END });
        (names::pack(self.id), self.bytes)
    }
}

/// The length of the sealed table and of what stands before it, from the last [`FOOTER_LEN`] bytes of a pack of `len` bytes.
pub fn table_len(footer: &[u8], len: u64) -> Result<u64, Damage> {
    match footer {
        [a, b, c, d, end @ ..] if end == FIRST_END || end == LATER_END => {
            let n = u64::from(u32::from_le_bytes([*a, *b, *c, *d]));
            let room = len.saturating_sub((header::LEN + FOOTER_LEN) as u64).min(TABLE_MAX);
            if n <= room { Ok(n) } else { Err(Damage::other("it states a table that is longer than itself")) }
        }
        _ => Err(Damage::other("it does not end as a pack does: it was cut short or overwritten")),
    }
}

/// The table of a pack.
#[derive(Debug)]
pub struct Table {
    /// The frames, in order, with their offsets.
    pub frames: Vec<Frame>,
    /// What stands behind the header, once more: where that is damaged, the frames still open.
    pub key_data: Option<[u8; KEY_DATA_LEN]>,
    /// The generation of the keys that it is sealed under.
    pub generation: Generation,
}

/// Opens and decodes the table of a pack that ends with this: so many bytes before that as [`table_len`] says.
pub fn read_table(keys: &Keys, id: Id, footer: &[u8], sealed: &mut [u8]) -> Result<Table, Damage> {
    let (generation, sealed) = match footer.ends_with(LATER_END) {
        false => (Generation::FIRST, sealed),
        true => {
            let short = || Damage::other("it is too short to say which generation of the keys it is sealed under");
            let (generation, sealed) = sealed.split_first_chunk_mut::<GENERATION_LEN>().ok_or_else(short)?;
            (Generation(*generation), sealed)
        }
    };
    let key = keys.object(generation, ObjectKind::Pack, id, &names::pack(id))?;
    let mut r = Reader::new(key.open_part(TABLE, sealed)?);
    let key_data = match keys.sealing() {
        Sealing::One => None,
        Sealing::Apart => r.take(KEY_DATA_LEN)?.first_chunk().copied(),
    };
    let count = r.u64_max((r.len() / 4) as u64, "more frames than its bytes can hold")?;
    let mut offset = header::pack_len(keys.sealing()) as u64;
    let mut frames = Vec::with_capacity(count as usize);
    for number in 0..count {
        let sealed_len = r.u64_max((FRAME_MAX + TAG_LEN) as u64, "a frame that is too long")? as u32;
        let raw_len = r.u64_max(FRAME_MAX as u64, "a frame that is too long")? as u32;
        let method = r.u8()?;
        let chunks = decode_chunks(&mut r)?;
        frames.push(Frame { number: number as u32, offset, sealed_len, raw_len, method, chunks });
        offset += u64::from(sealed_len);
    }
    if !r.is_empty() {
        return Err(WireError::Invalid("bytes behind its table").into());
    }
    Ok(Table { frames, key_data, generation })
}
