//! What differs between two versions.

use crate::index::{
    error::IndexError,
    rows::{Piece, Row},
    tree::Reader,
};
use crate::types::attr::Kind;

/// Ways in which two versions differ, as a set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bits(u16);

impl Bits {
    /// The type.
    pub const KIND: Bits = Bits(1);
    /// The bytes of a file, the target of a symbolic link, the number of a device.
    pub const CONTENT: Bits = Bits(2);
    /// The permission bits, with setuid, setgid and sticky.
    pub const MODE: Bits = Bits(4);
    /// Owner or group.
    pub const OWNER: Bits = Bits(8);
    /// The time of the last modification.
    pub const MTIME: Bits = Bits(16);
    /// Extended attributes, ACLs among them.
    pub const XATTRS: Bits = Bits(32);
    /// Inode flags.
    pub const FLAGS: Bits = Bits(64);

    const WORDS: [(Bits, &'static str); 7] = [
        (Bits::KIND, "type"),
        (Bits::CONTENT, "content"),
        (Bits::MODE, "mode"),
        (Bits::OWNER, "owner"),
        (Bits::MTIME, "mtime"),
        (Bits::XATTRS, "xattrs"),
        (Bits::FLAGS, "flags"),
    ];

    /// Whether it has all of `other`.
    pub fn has(self, other: Bits) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether nothing differs.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The set with `other`, if `on`.
    pub fn with(self, other: Bits, on: bool) -> Bits {
        if on { Bits(self.0 | other.0) } else { self }
    }

    /// Its members as words.
    pub fn words(self) -> Vec<&'static str> {
        Bits::WORDS.iter().filter(|(bit, _)| self.has(*bit)).map(|(_, word)| *word).collect()
    }
}

/// What differs between two versions, of one node or of two. Content is compared by its chunks, and nothing is read.
pub fn compare(index: &Reader, a: &Row, b: &Row) -> Result<Bits, IndexError> {
    if a.node == b.node && a.ver == b.ver {
        return Ok(Bits::default());
    }
    let (x, y) = (&a.attr, &b.attr);
    let kind = x.kind() != y.kind();
    Ok(Bits::default()
        .with(Bits::KIND, kind)
        .with(Bits::CONTENT, !kind && !same_content(index, a, b)?)
        .with(Bits::MODE, x.mode & 0o7777 != y.mode & 0o7777)
        .with(Bits::OWNER, (x.uid, x.gid) != (y.uid, y.gid))
        .with(Bits::MTIME, x.mtime != y.mtime)
        .with(Bits::XATTRS, a.xattr != b.xattr && index.xattrs(a.xattr)? != index.xattrs(b.xattr)?)
        .with(Bits::FLAGS, x.flags != y.flags))
}

fn same_content(index: &Reader, a: &Row, b: &Row) -> Result<bool, IndexError> {
    match a.attr.kind() {
        Kind::Dir | Kind::Fifo | Kind::Socket => Ok(true),
        Kind::CharDevice | Kind::BlockDevice => Ok(a.attr.rdev == b.attr.rdev),
        Kind::File | Kind::Symlink if a.attr.size != b.attr.size => Ok(false),
        Kind::File if a.attr.size == 0 => Ok(true),
        kind => {
            let missing = IndexError::Damaged("a version is missing");
            let (Some(x), Some(y)) = (index.version(a.source, a.ver)?, index.version(b.source, b.ver)?) else {
                return Err(missing);
            };
            if x.content == y.content {
                return Ok(true);
            }
            match kind {
                Kind::Symlink => Ok(index.target(x.content)? == index.target(y.content)?),
                _ => same_pieces(index, &index.pieces(x.content)?, &index.pieces(y.content)?),
            }
        }
    }
}

/// Two hosts may both have stored a chunk: then its rows differ and its hash does not. What is a hole in one and zeros in the other
/// counts as different: it is so on disk.
fn same_pieces(index: &Reader, a: &[Piece], b: &[Piece]) -> Result<bool, IndexError> {
    if a.len() != b.len() {
        return Ok(false);
    }
    for (x, y) in a.iter().zip(b) {
        let same = match (x, y) {
            (Piece::Chunk { num: m, len: i }, Piece::Chunk { num: n, len: j }) => {
                m == n || (i == j && index.chunk_hash(*m)? == index.chunk_hash(*n)?)
            }
            _ => x == y,
        };
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}
