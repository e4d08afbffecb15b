//! What a journal record says: the operations that lead from one snapshot of a source to the next, and their stored form.

use crate::types::{
    attr::{Attr, Kind, Place, Xattrs},
    ids::{Hash, Id, Node, Ver},
    path,
    time::{Instant, Time},
    wire::{Reader, WireError, put_bytes, put_i64, put_time, put_u64},
};

/// The longest target of a symbolic link, in bytes.
pub const TARGET_MAX: usize = 4096;
/// The longest value of an extended attribute; Linux allows 64 KiB.
pub const XATTR_MAX: usize = 64 << 10;
/// The longest name of an extended attribute.
pub const XATTR_NAME_MAX: usize = 255;
/// The longest path in a gap: relative to the source's root.
pub const PATH_MAX: usize = 1 << 20;

/// One operation. A name in a directory is closed before it is opened again in the same record; apart from that, and
/// from frames standing before their use, the order has no meaning.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op {
    /// A pack that the frames after it lie in.
    Pack(Id),
    /// A frame of the last named pack. Its chunks are numbered through the record, from 0.
    Frame(Frame),
    /// Opens an entry for a node that is new.
    Add(Entry, Version),
    /// A new version of the node at an entry; for a node with several names, one of them.
    Set(Entry, Version),
    /// Opens an entry for a node that has another name, or had one before this record: a rename or a hard link.
    Link(Entry),
    /// Ends an entry.
    Close {
        /// The directory.
        parent: Node,
        /// The name in it.
        name: Vec<u8>,
    },
    /// A time in which changes below a directory may not have been captured one by one.
    Gap(Gap),
    /// From here on the record states the tree of its snapshot for whoever lacks the record before: [`Op::Add`] says what an entry
    /// leads to, [`Op::Link`] that it leads to a node stated before, [`Op::Close`] that it is not there.
    Statement,
}

/// A name in a directory that leads to a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The directory; [`Node::ABOVE`] for the root.
    pub parent: Node,
    /// The name in it; empty for the root.
    pub name: Vec<u8>,
    /// The node it leads to.
    pub node: Node,
}

/// A version of a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Version {
    /// Its number.
    pub ver: Ver,
    /// Where it was seen.
    pub place: Place,
    /// Its attributes.
    pub attr: Attr,
    /// Its content.
    pub content: Content,
    /// The file never held still while it was read: its content may mix two states.
    pub fuzzy: bool,
    /// It was changed so shortly before it was read that its times can't tell a later change: the next scan reads it again.
    pub racy: bool,
}

/// What a version contains.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// Nothing: a directory, a device, an empty file.
    None,
    /// What the version before contains.
    Same,
    /// The target of a symbolic link.
    Target(Vec<u8>),
    /// The runs of a file, in order.
    Runs(Vec<Run>),
}

/// A part of a file's content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Run {
    /// Bytes that are not allocated and read as zero.
    Hole(u64),
    /// A chunk that a frame of this record brought, by its number in the record.
    New(u32),
    /// A chunk that an earlier record brought.
    Known(Hash),
    /// `count` runs of the version before, from its run number `from`.
    Keep {
        /// The first run.
        from: u32,
        /// How many.
        count: u32,
    },
}

/// Where a frame lies in its pack, and what it holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// Its number in the pack, from 0: its position for the cipher.
    pub number: u32,
    /// Its first byte in the pack.
    pub offset: u64,
    /// Its length in the pack in bytes.
    pub sealed_len: u32,
    /// Its length when decompressed.
    pub raw_len: u32,
    /// How it is compressed: a `chunk::compress::Method` as a number.
    pub method: u8,
    /// The chunks in it, one behind the other: hash and length in bytes.
    pub chunks: Vec<(Hash, u32)>,
}

/// A time in which capture was blind for a subtree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gap {
    /// The directory, relative to the source's root; empty for the whole source.
    pub subtree: Vec<u8>,
    /// The last instant at which everything had been seen.
    pub from: Instant,
    /// The instant from which everything is seen again.
    pub to: Instant,
    /// Why, in words.
    pub why: String,
}

impl Op {
    /// Appends the stored form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Op::Pack(id) => {
                out.push(1);
                out.extend_from_slice(&id.0);
            }
            Op::Frame(frame) => {
                out.push(2);
                frame.encode(out);
            }
            Op::Add(entry, version) => {
                out.push(3);
                entry.encode(out);
                version.encode(out);
            }
            Op::Set(entry, version) => {
                out.push(4);
                entry.encode(out);
                version.encode(out);
            }
            Op::Link(entry) => {
                out.push(5);
                entry.encode(out);
            }
            Op::Close { parent, name } => {
                out.push(6);
                put_u64(out, parent.0);
                put_bytes(out, name);
            }
            Op::Gap(gap) => {
                out.push(7);
                put_bytes(out, &gap.subtree);
                put_i64(out, gap.from.0);
                put_i64(out, gap.to.0);
                put_bytes(out, gap.why.as_bytes());
            }
            Op::Statement => out.push(8),
        }
    }

    /// Reads one operation.
    pub fn decode(r: &mut Reader<'_>) -> Result<Op, WireError> {
        Ok(match r.u8()? {
            1 => Op::Pack(r.id()?),
            2 => Op::Frame(Frame::decode(r)?),
            3 => Op::Add(Entry::decode(r)?, Version::decode(r)?),
            4 => Op::Set(Entry::decode(r)?, Version::decode(r)?),
            5 => Op::Link(Entry::decode(r)?),
            6 => Op::Close { parent: decode_node(r)?, name: r.bytes(255)?.to_vec() },
            7 => Op::Gap(Gap {
                subtree: r.bytes(PATH_MAX)?.to_vec(),
                from: Instant(r.i64()?),
                to: Instant(r.i64()?),
                why: String::from_utf8(r.bytes(4096)?.to_vec()).map_err(|_| WireError::Invalid("a reason"))?,
            }),
            8 => Op::Statement,
            _ => return Err(WireError::Invalid("an operation that this version does not know")),
        })
    }
}

fn decode_node(r: &mut Reader<'_>) -> Result<Node, WireError> {
    Ok(Node(r.u64_max((1 << 47) - 1, "a node number above 47 bits")?))
}

impl Entry {
    fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.parent.0);
        put_bytes(out, &self.name);
        put_u64(out, self.node.0);
    }

    fn decode(r: &mut Reader<'_>) -> Result<Entry, WireError> {
        let entry = Entry { parent: decode_node(r)?, name: r.bytes(255)?.to_vec(), node: decode_node(r)? };
        let is_root = entry.node == Node::ROOT && entry.parent == Node::ABOVE && entry.name.is_empty();
        let is_below = entry.node > Node::ROOT || entry.node == Node::other(1);
        if is_root || (path::is_name(&entry.name) && entry.parent.is_dir() && entry.parent >= Node::ROOT && is_below) {
            Ok(entry)
        } else {
            Err(WireError::Invalid("an entry with a name or a node that can't be"))
        }
    }
}

impl Frame {
    fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, u64::from(self.number));
        put_u64(out, self.offset);
        put_u64(out, u64::from(self.sealed_len));
        put_u64(out, u64::from(self.raw_len));
        out.push(self.method);
        encode_chunks(&self.chunks, out);
    }

    fn decode(r: &mut Reader<'_>) -> Result<Frame, WireError> {
        let frame = Frame {
            number: r.u32()?,
            offset: r.u64_max(1 << 48, "an offset above 48 bits")?,
            sealed_len: r.u32()?,
            raw_len: r.u64_max(FRAME_MAX as u64, "a frame that is too long")? as u32,
            method: r.u8()?,
            chunks: decode_chunks(r)?,
        };
        let total: u64 = frame.chunks.iter().map(|(_, len)| u64::from(*len)).sum();
        if total != u64::from(frame.raw_len) || u64::from(frame.sealed_len) > FRAME_MAX as u64 + 16 {
            return Err(WireError::Invalid("a frame whose chunks do not add up to it"));
        }
        Ok(frame)
    }
}

/// The longest frame in bytes that a reader accepts.
pub const FRAME_MAX: usize = 64 << 20;

/// Appends a list of chunks: count, then hash and length each.
pub fn encode_chunks(chunks: &[(Hash, u32)], out: &mut Vec<u8>) {
    put_u64(out, chunks.len() as u64);
    for (hash, len) in chunks {
        out.extend_from_slice(&hash.0);
        put_u64(out, u64::from(*len));
    }
}

/// Reads a list of chunks, none of them empty.
pub fn decode_chunks(r: &mut Reader<'_>) -> Result<Vec<(Hash, u32)>, WireError> {
    let count = r.u64_max((r.len() / 33) as u64, "more chunks than its bytes can hold")?;
    let mut chunks = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let hash = r.hash()?;
        let len = r.u64_max(FRAME_MAX as u64, "a chunk that is too long")? as u32;
        if len == 0 {
            return Err(WireError::Invalid("an empty chunk"));
        }
        chunks.push((hash, len));
    }
    Ok(chunks)
}

impl Version {
    fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.ver.0);
        out.push(u8::from(self.fuzzy) | u8::from(self.racy) << 1);
        put_u64(out, self.place.dev);
        put_u64(out, self.place.ino);
        encode_attr(&self.attr, out);
        match &self.content {
            Content::None => out.push(0),
            Content::Same => out.push(1),
            Content::Target(target) => {
                out.push(2);
                put_bytes(out, target);
            }
            Content::Runs(runs) => {
                out.push(3);
                put_u64(out, runs.len() as u64);
                runs.iter().for_each(|run| run.encode(out));
            }
        }
    }

    fn decode(r: &mut Reader<'_>) -> Result<Version, WireError> {
        let ver = Ver(r.u64_max((1 << 48) - 1, "a version number above 48 bits")?);
        let flags = r.u64_max(3, "unknown flags of a version")?;
        let place = Place { dev: r.u64()?, ino: r.u64()? };
        let attr = decode_attr(r)?;
        let content = match r.u8()? {
            0 => Content::None,
            1 => Content::Same,
            2 => Content::Target(r.bytes(TARGET_MAX)?.to_vec()),
            3 => {
                let count = r.u64_max((r.len() / 2) as u64, "more runs than its bytes can hold")?;
                Content::Runs((0..count).map(|_| Run::decode(r)).collect::<Result<_, _>>()?)
            }
            _ => return Err(WireError::Invalid("a kind of content that this version does not know")),
        };
        let fits = match (&content, attr.kind()) {
            (Content::Same, _) | (Content::Runs(_), Kind::File) | (Content::Target(_), Kind::Symlink) => true,
            (Content::None, kind) => kind != Kind::Symlink && (kind != Kind::File || attr.size == 0),
            _ => false,
        };
        if fits {
            Ok(Version { ver, place, attr, content, fuzzy: flags & 1 != 0, racy: flags & 2 != 0 })
        } else {
            Err(WireError::Invalid("a content that does not fit its kind of node"))
        }
    }
}

impl Run {
    fn encode(self, out: &mut Vec<u8>) {
        match self {
            Run::Hole(len) => {
                out.push(0);
                put_u64(out, len);
            }
            Run::New(n) => {
                out.push(1);
                put_u64(out, u64::from(n));
            }
            Run::Known(hash) => {
                out.push(2);
                out.extend_from_slice(&hash.0);
            }
            Run::Keep { from, count } => {
                out.push(3);
                put_u64(out, u64::from(from));
                put_u64(out, u64::from(count));
            }
        }
    }

    fn decode(r: &mut Reader<'_>) -> Result<Run, WireError> {
        Ok(match r.u8()? {
            0 => Run::Hole(r.u64_max(i64::MAX as u64, "a hole that is too long")?),
            1 => Run::New(r.u32()?),
            2 => Run::Known(r.hash()?),
            3 => Run::Keep { from: r.u32()?, count: r.u32()? },
            _ => return Err(WireError::Invalid("a kind of run that this version does not know")),
        })
    }
}

fn encode_attr(a: &Attr, out: &mut Vec<u8>) {
    put_u64(out, u64::from(a.mode));
    put_u64(out, u64::from(a.uid));
    put_u64(out, u64::from(a.gid));
    put_u64(out, a.size);
    put_u64(out, a.blocks);
    put_u64(out, a.rdev);
    put_time(out, a.mtime);
    put_time(out, a.ctime);
    match a.btime {
        None => out.push(0),
        Some(t) => {
            out.push(1);
            put_time(out, t);
        }
    }
    put_u64(out, u64::from(a.flags));
    encode_xattrs(&a.xattrs, out);
}

/// Appends a list of extended attributes: count, then name and value each.
pub fn encode_xattrs(xattrs: &[(Vec<u8>, Vec<u8>)], out: &mut Vec<u8>) {
    put_u64(out, xattrs.len() as u64);
    for (name, value) in xattrs {
        put_bytes(out, name);
        put_bytes(out, value);
    }
}

/// Reads a list of extended attributes.
pub fn decode_xattrs(r: &mut Reader<'_>) -> Result<Xattrs, WireError> {
    let count = r.u64_max((r.len() / 2) as u64, "more extended attributes than its bytes can hold")?;
    let mut xattrs = Vec::new();
    for _ in 0..count {
        let name = r.bytes(XATTR_NAME_MAX)?.to_vec();
        if name.is_empty() || name.contains(&0) {
            return Err(WireError::Invalid("the name of an extended attribute"));
        }
        xattrs.push((name, r.bytes(XATTR_MAX)?.to_vec()));
    }
    Ok(xattrs)
}

fn decode_attr(r: &mut Reader<'_>) -> Result<Attr, WireError> {
    let mode = r.u32()?;
    Kind::from_mode(mode).ok_or(WireError::Invalid("a mode without a type"))?;
    Ok(Attr {
        mode,
        uid: r.u32()?,
        gid: r.u32()?,
        size: r.u64_max(i64::MAX as u64, "a size above 63 bits")?,
        blocks: r.u64_max(i64::MAX as u64, "a block count above 63 bits")?,
        rdev: r.u64()?,
        mtime: r.time()?,
        ctime: r.time()?,
        btime: decode_btime(r)?,
        flags: r.u32()?,
        xattrs: decode_xattrs(r)?,
    })
}

fn decode_btime(r: &mut Reader<'_>) -> Result<Option<Time>, WireError> {
    Ok(match r.u64_max(1, "a flag that is not 0 or 1")? {
        0 => None,
        _ => Some(r.time()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version() -> Version {
        let attr = Attr {
            mode: 0o100644,
            uid: 1000,
            gid: 1000,
            size: 70_000,
            blocks: 144,
            rdev: 0,
            mtime: Time { sec: -5, nsec: 7 },
            ctime: Time { sec: 1 << 40, nsec: 999_999_999 },
            btime: Some(Time { sec: 3, nsec: 0 }),
            flags: 16,
            xattrs: vec![(b"user.a".to_vec(), b"1".to_vec())],
        };
        let runs = vec![Run::Hole(4096), Run::New(3), Run::Known(Hash([9; 32])), Run::Keep { from: 2, count: 5 }];
        Version {
            ver: Ver(77),
            place: Place { dev: 1, ino: u64::MAX },
            attr,
            content: Content::Runs(runs),
            fuzzy: true,
            racy: true,
        }
    }

    fn samples() -> Vec<Op> {
        let entry = Entry { parent: Node::ROOT, name: b"a\xffb".to_vec(), node: Node::other(2) };
        vec![
            Op::Pack(Id([3; 16])),
            Op::Frame(Frame {
                number: 1,
                offset: 32,
                sealed_len: 40,
                raw_len: 50,
                method: 1,
                chunks: vec![(Hash([1; 32]), 20), (Hash([2; 32]), 30)],
            }),
            Op::Add(entry.clone(), version()),
            Op::Set(entry.clone(), Version { content: Content::Same, ..version() }),
            Op::Link(entry),
            Op::Close { parent: Node::ROOT, name: b"gone".to_vec() },
            Op::Gap(Gap { subtree: b"x/y".to_vec(), from: Instant(1), to: Instant(2), why: "overflow".into() }),
        ]
    }

    #[test]
    fn every_operation_reads_back() {
        let mut bytes = Vec::new();
        samples().iter().for_each(|op| op.encode(&mut bytes));
        let mut r = Reader::new(&bytes);
        for op in samples() {
            assert_eq!(Op::decode(&mut r).unwrap(), op);
        }
        assert!(r.is_empty());
    }

    #[test]
    fn names_that_would_leave_their_directory_are_refused() {
        for name in [&b".."[..], b".", b"", b"a/b", b"a\0"] {
            let entry = Entry { parent: Node::ROOT, name: name.to_vec(), node: Node::other(2) };
            let mut bytes = Vec::new();
            Op::Link(entry).encode(&mut bytes);
            assert!(Op::decode(&mut Reader::new(&bytes)).is_err(), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes: Vec<u8>, flips in proptest::collection::vec((0usize..400, any::<u8>()), 0..4)) {
            let _ = Op::decode(&mut Reader::new(&bytes));
            let mut good = Vec::new();
            samples().iter().for_each(|op| op.encode(&mut good));
            for (at, with) in flips {
                let at = at % good.len();
                good[at] = with;
            }
            let mut r = Reader::new(&good);
            while !r.is_empty() {
                if Op::decode(&mut r).is_err() {
                    break;
                }
            }
        }
    }
}
