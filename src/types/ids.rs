//! Identifiers. Numbers are given by the writer of a source and stand in its journal; ids of 16 bytes are random.

use std::fmt;

/// A random 128-bit identifier, written as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(pub [u8; 16]);

impl Id {
    /// Parses 32 hexadecimal digits; `None` for anything else.
    pub fn parse(text: &str) -> Option<Id> {
        let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?;
        Some(Id(bytes.try_into().ok()?))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A generation of the keys of a repository: its number, the highest byte first, and three random bytes, since two admins may make the
/// next one at the same time. Written as ten lower-case hexadecimal digits; in the order of these, the last one is in force.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Generation(pub [u8; 5]);

impl Generation {
    /// The one that a repository begins with.
    pub const FIRST: Generation = Generation([0; 5]);

    /// The generation with this number and random part.
    pub fn new(number: u16, random: [u8; 3]) -> Generation {
        let ([a, b], [c, d, e]) = (number.to_be_bytes(), random);
        Generation([a, b, c, d, e])
    }

    /// Its number: 0 for the first, and one more than that of the one before.
    pub fn number(self) -> u16 {
        u16::from_be_bytes([self.0[0], self.0[1]])
    }

    /// Parses ten hexadecimal digits; `None` for anything else.
    pub fn parse(text: &str) -> Option<Generation> {
        let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?;
        Some(Generation(bytes.try_into().ok()?))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A keyed BLAKE3 hash of 32 bytes: the name of a chunk, or a link of the journal's chain.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The hash before the first record of a source.
    pub const ZERO: Hash = Hash([0; 32]);

    /// The first eight bytes as a number: what the index searches by.
    pub fn prefix(&self) -> i64 {
        let mut b = [0; 8];
        b.copy_from_slice(&self.0[..8]);
        i64::from_be_bytes(b)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The small number of a source inside its repository: 1 to 16,383 (14 bits, so that it fits in an inode number).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SourceNum(pub u16);

impl SourceNum {
    /// The largest source number.
    pub const MAX: u16 = (1 << 14) - 1;
}

/// A node of a source: an object that keeps its identity across renames. The lowest bit is 1 for directories, so that
/// directories are numbered densely among themselves; the rest counts up from 1. Below 2^47.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Node(pub u64);

impl Node {
    /// The root directory of every source.
    pub const ROOT: Node = Node(3);
    /// The parent of [`Node::ROOT`]: no directory; its one entry has an empty name.
    pub const ABOVE: Node = Node(1);

    /// The `n`-th directory of a source; the root is number 1.
    pub fn directory(n: u64) -> Node {
        Node(n << 1 | 1)
    }

    /// The `n`-th node of a source that is no directory.
    pub fn other(n: u64) -> Node {
        Node(n << 1)
    }

    /// Whether this is a directory.
    pub fn is_dir(self) -> bool {
        self.0 & 1 == 1
    }

    /// The count behind the kind bit.
    pub fn serial(self) -> u64 {
        self.0 >> 1
    }
}

/// A version of a node: its attributes and content together, unique in its source. Below 2^48.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Ver(pub u64);

/// The number of a snapshot in its source, from 1, in the order of time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Snap(pub u64);

impl fmt::Display for Snap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
