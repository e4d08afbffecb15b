//! What a look at a name says against what the index knows of it: pure.

use crate::index::rows::Row;
use crate::sys::stat::Stat;
use crate::types::attr::{Attr, Kind};

/// What a known entry is, against what stands there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The same node, and nothing speaks for a change.
    Unchanged,
    /// The same node; it must be read to know what changed.
    Look,
    /// Another node.
    Replaced,
}

/// Compares an entry with what stands at its name. `full` trusts no time: everything is looked at.
///
/// The device number is no part of the identity: it changes when the machine starts again.
pub fn compare(row: &Row, stat: &Stat, full: bool) -> Verdict {
    if !is_same_node(row, stat) {
        return Verdict::Replaced;
    }
    let attr = &row.attr;
    let has_size = matches!(row.attr.kind(), Kind::File | Kind::Symlink);
    let same = row.seen == Some(stat.ctime)
        && attr.mtime == stat.mtime
        && (!has_size || attr.size == stat.size)
        && attr.mode == stat.mode
        && (attr.uid, attr.gid) == (stat.uid, stat.gid);
    if same && !(full && attr.kind() == Kind::File) { Verdict::Unchanged } else { Verdict::Look }
}

/// Whether a node that the index knows is the one that was looked at: same type, inode number and, where both are known, birth.
/// Where births are not known, size and modification must be the same: inode numbers are used again.
pub fn is_same_node(row: &Row, stat: &Stat) -> bool {
    row.place.ino == stat.place.ino
        && Some(row.attr.kind()) == stat.kind()
        && match (row.attr.btime, stat.btime) {
            (Some(a), Some(b)) => a == b,
            _ => {
                row.attr.kind() == Kind::Dir
                    || row.attr.size == stat.size
                    || row.seen == Some(stat.ctime)
                    || row.to.is_none()
            }
        }
}

/// Whether a node found by its inode number at another name is the same: as [`is_same_node`], but without a known birth nothing
/// is taken for granted.
pub fn is_moved_node(row: &Row, stat: &Stat) -> bool {
    is_same_node(row, stat)
        && row.place.dev == stat.place.dev
        && ((row.attr.btime.is_some() && stat.btime.is_some())
            || (row.attr.mtime == stat.mtime && row.attr.size == stat.size))
}

/// Whether two versions have the same attributes. The change time says when they were set and is no attribute itself; allocated
/// blocks follow from the content.
pub fn same_attr(a: &Attr, b: &Attr) -> bool {
    let key = |x: &Attr| (x.mode, x.uid, x.gid, x.rdev, x.mtime, x.btime, x.flags);
    let size = |x: &Attr| if matches!(x.kind(), Kind::File | Kind::Symlink) { x.size } else { 0 };
    key(a) == key(b) && size(a) == size(b) && a.xattrs == b.xattrs
}
