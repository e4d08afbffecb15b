//! Rows of entries, and how values are kept in SQLite.

use crate::index::error::IndexError;
use crate::types::{
    attr::{Attr, Place},
    ids::{Node, Snap, SourceNum, Ver},
    time::Time,
};
use rusqlite::{
    Row as SqlRow, ToSql,
    types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, Value, ValueRef},
};

/// The bits of `bits`: the content may mix two states.
pub(super) const FUZZY: i64 = 1;
/// The bits of `bits`: the node has, or had, more than one name.
pub(super) const LINKED: i64 = 2;

/// A number of a source as one key.
pub(super) fn key(source: SourceNum, number: u64) -> i64 {
    (i64::from(source.0) << 48) | number as i64
}

/// The number behind [`key`].
pub(super) fn number(key: i64) -> u64 {
    key as u64 & ((1 << 48) - 1)
}

/// The source in a [`key`].
pub(super) fn source_of(key: i64) -> SourceNum {
    SourceNum((key >> 48) as u16)
}

/// A time in SQLite: nanoseconds as an integer where they fit, else twelve bytes.
pub(super) struct SqlTime(pub(super) Time);

impl ToSql for SqlTime {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Owned(match self.0.to_ns() {
            Some(ns) => Value::Integer(ns),
            None => {
                let mut b = self.0.sec.to_be_bytes().to_vec();
                b.extend_from_slice(&self.0.nsec.to_be_bytes());
                Value::Blob(b)
            }
        }))
    }
}

impl FromSql for SqlTime {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<SqlTime> {
        match value {
            ValueRef::Integer(ns) => Ok(SqlTime(Time::from_ns(ns))),
            ValueRef::Blob(b) if b.len() == 12 => {
                let sec = i64::from_be_bytes(b[..8].try_into().map_err(|_| FromSqlError::InvalidType)?);
                let nsec = u32::from_be_bytes(b[8..].try_into().map_err(|_| FromSqlError::InvalidType)?);
                Ok(SqlTime(Time { sec, nsec }))
            }
            _ => Err(FromSqlError::InvalidType),
        }
    }
}

/// An entry with the attributes of the version it led to, as the index has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The source it belongs to.
    pub source: SourceNum,
    /// The directory.
    pub parent: Node,
    /// The name in it.
    pub name: Vec<u8>,
    /// The node it leads to.
    pub node: Node,
    /// The version of the node.
    pub ver: Ver,
    /// The first snapshot in which the entry led to this version.
    pub from: Snap,
    /// The first snapshot in which it did not any more; `None` while it does.
    pub to: Option<Snap>,
    /// The attributes; extended attributes are read on demand.
    pub attr: Attr,
    /// The set of extended attributes, 0 for none.
    pub xattr: i64,
    /// The content may mix two states.
    pub fuzzy: bool,
    /// The node has, or had, more than one name.
    pub linked: bool,
    /// Where the node was seen.
    pub place: Place,
    /// The last seen change time of the inode; `None` where it must be read again.
    pub seen: Option<Time>,
}

impl Row {
    /// Whether the entry led to this version as of `snap`.
    pub fn covers(&self, snap: Snap) -> bool {
        self.from <= snap && self.to.is_none_or(|to| snap < to)
    }

    /// From the columns of `open::COLUMNS`; `to` where the row is closed.
    pub(super) fn read(r: &SqlRow<'_>, to: Option<Snap>) -> rusqlite::Result<Row> {
        let parent: i64 = r.get(0)?;
        let bits: i64 = r.get(16)?;
        Ok(Row {
            source: source_of(parent),
            parent: Node(number(parent)),
            name: r.get_ref(1)?.as_blob()?.to_vec(),
            node: Node(number(r.get(2)?)),
            ver: Ver(r.get::<_, i64>(3)? as u64),
            from: Snap(r.get::<_, i64>(4)? as u64),
            to,
            attr: Attr {
                mode: r.get(5)?,
                uid: r.get(6)?,
                gid: r.get(7)?,
                size: r.get::<_, i64>(8)? as u64,
                blocks: r.get::<_, i64>(9)? as u64,
                rdev: r.get::<_, i64>(10)? as u64,
                mtime: r.get::<_, SqlTime>(11)?.0,
                ctime: r.get::<_, SqlTime>(12)?.0,
                btime: r.get::<_, Option<SqlTime>>(13)?.map(|t| t.0),
                flags: r.get(14)?,
                xattrs: Vec::new(),
            },
            xattr: r.get(15)?,
            fuzzy: bits & FUZZY != 0,
            linked: bits & LINKED != 0,
            place: Place { dev: r.get::<_, i64>(17)? as u64, ino: r.get::<_, i64>(18)? as u64 },
            seen: r.get::<_, Option<SqlTime>>(19)?.map(|t| t.0),
        })
    }
}

/// A part of a file's content as the index keeps it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Piece {
    /// Bytes that are not allocated and read as zero.
    Hole(u64),
    /// A chunk, by its row, and its length in bytes.
    Chunk {
        /// The row of the chunk.
        num: i64,
        /// Its length.
        len: u32,
    },
}

impl Piece {
    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Piece::Hole(len) => *len,
            Piece::Chunk { len, .. } => u64::from(*len),
        }
    }

    /// Whether it has no byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Pieces to bytes: for each one integer, even for a hole (twice its length), odd for a chunk (row), then the chunk's length.
pub(super) fn encode_pieces(pieces: &[Piece]) -> Vec<u8> {
    use crate::types::wire::put_u64;
    let mut out = Vec::with_capacity(pieces.len() * 6);
    for piece in pieces {
        match piece {
            Piece::Hole(len) => put_u64(&mut out, len << 1),
            Piece::Chunk { num, len } => {
                put_u64(&mut out, (*num as u64) << 1 | 1);
                put_u64(&mut out, u64::from(*len));
            }
        }
    }
    out
}

/// Bytes to pieces.
pub(super) fn decode_pieces(bytes: &[u8]) -> Result<Vec<Piece>, IndexError> {
    use crate::types::wire::Reader;
    let damaged = |_| IndexError::Damaged("a list of runs");
    let mut r = Reader::new(bytes);
    let mut pieces = Vec::new();
    while !r.is_empty() {
        let tag = r.u64().map_err(damaged)?;
        pieces.push(match tag & 1 {
            0 => Piece::Hole(tag >> 1),
            _ => Piece::Chunk { num: (tag >> 1) as i64, len: r.u32().map_err(damaged)? },
        });
    }
    Ok(pieces)
}
