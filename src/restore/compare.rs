//! Whether what stands in a place is what the view shows there.

use crate::index::{error::IndexError, rows::Row, tree::Reader};
use crate::restore::mapping::Mapping;
use crate::sys::{
    apply, meta, read,
    stat::{self, Stat},
};
use crate::types::attr::Kind;
use crate::view::content::link_target;
use rustix::fd::OwnedFd;
use std::io;

/// What stands in a place.
pub(super) enum Found {
    /// Nothing.
    Nothing,
    /// The same.
    Same(Stat),
    /// The same but for attributes.
    Attributes(Stat),
    /// Something else, or other content.
    Other(Stat),
}

/// Compares the name of `row`, as it is to be here, in `dir` with it.
pub(super) fn compare(
    index: &Reader,
    mapping: &Mapping,
    dir: &OwnedFd,
    name: &[u8],
    row: &Row,
) -> Result<Found, CompareError> {
    let now = match stat::at(dir, name) {
        Ok(now) => now,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(e) => return Err(e.into()),
    };
    let attr = &row.attr;
    if now.kind() != Some(attr.kind()) {
        return Ok(Found::Other(now));
    }
    // The inode as capture saw it last: nothing about it has changed since.
    if now.place == row.place && row.seen == Some(now.ctime) && !mapping.changes_attributes() {
        return Ok(Found::Same(now));
    }
    let content = match attr.kind() {
        Kind::Dir | Kind::Fifo | Kind::Socket => true,
        Kind::File => now.size == attr.size && now.mtime == attr.mtime,
        Kind::CharDevice | Kind::BlockDevice => now.rdev == attr.rdev,
        Kind::Symlink => meta::link_target(dir, name)? == link_target(index, row)?,
    };
    if !content {
        return Ok(Found::Other(now));
    }
    let same = now.mode == attr.mode && now.uid == attr.uid && now.gid == attr.gid && now.mtime == attr.mtime;
    Ok(if same && same_rest(index, mapping, dir, name, row)? { Found::Same(now) } else { Found::Attributes(now) })
}

/// Extended attributes and inode flags. What can't be read is not the same: setting it will tell why.
fn same_rest(index: &Reader, mapping: &Mapping, dir: &OwnedFd, name: &[u8], row: &Row) -> Result<bool, IndexError> {
    let want = mapping.xattrs(index.xattrs(row.xattr)?, row.attr.mode);
    let (have, flags) = match row.attr.kind() {
        Kind::File | Kind::Dir => match read::open(dir, name) {
            Ok(fd) => (meta::xattrs(&fd), meta::flags(&fd)),
            Err(_) => return Ok(false),
        },
        _ => (meta::xattrs_at(dir, name), Ok(0)),
    };
    let (Ok(mut have), Ok(flags)) = (have, flags) else { return Ok(false) };
    have.retain(|(name, _)| !apply::is_host_label(name) || want.iter().any(|(n, _)| n == name));
    Ok(have == want && (flags ^ row.attr.flags) & meta::SETTABLE_FLAGS == 0)
}

/// Why a comparison failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CompareError {
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The system could not tell.
    #[error(transparent)]
    Io(#[from] io::Error),
}
