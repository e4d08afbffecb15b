//! Extended attributes: those that were captured, and `user.bygone.*`, which tell where a node comes from. The latter are
//! given to whoever asks for them by name and stand in no list, so that no copy carries them along.

use crate::index::{
    error::IndexError,
    rows::{Piece, Row},
    tree::Reader,
};
use crate::mount::{errno::FsError, fs::Fs, inodes::Ino, tree::part_of};
use crate::repo::error::RepoError;
use crate::types::{
    attr::Kind,
    ids::{Node, Snap, SourceNum},
    path,
    snapshot::{Snapshot, Source},
    time::Instant,
    when::show::exact_name,
};

const OWN: &[u8] = b"user.bygone.";
/// The longest chain of renames and the deepest tree that are followed.
const STEPS_MAX: usize = 4096;

impl Fs {
    /// The names of the captured attributes, each with a NUL behind it.
    pub fn xattr_names(&self, ino: u64) -> Result<Vec<u8>, FsError> {
        let mut names = Vec::new();
        if let Ino::Place(_) = self.decode(ino) {
            return Ok(names);
        }
        let xattr = self.view_attr(ino)?.xattr;
        if xattr != 0 {
            for (name, _) in self.with_index(|index| Ok(index.xattrs(xattr)?))? {
                names.extend_from_slice(&name);
                names.push(0);
            }
        }
        Ok(names)
    }

    /// The value of an extended attribute.
    pub fn xattr(&self, ino: u64, name: &[u8]) -> Result<Vec<u8>, FsError> {
        if let Some(own) = name.strip_prefix(OWN) {
            return self.own_xattr(ino, own)?.ok_or(FsError::NoAttribute);
        }
        if let Ino::Place(_) = self.decode(ino) {
            return Err(FsError::NoAttribute);
        }
        let xattr = self.view_attr(ino)?.xattr;
        if xattr == 0 {
            return Err(FsError::NoAttribute);
        }
        let all = self.with_index(|index| Ok(index.xattrs(xattr)?))?;
        all.into_iter().find(|(n, _)| n == name).map(|(_, value)| value).ok_or(FsError::NoAttribute)
    }

    /// The inode flags of a node.
    pub fn flags(&self, ino: u64) -> Result<u32, FsError> {
        match self.decode(ino) {
            Ino::Place(_) | Ino::Above(..) => Ok(0),
            Ino::Dir(..) | Ino::File(..) | Ino::OwnFile(..) => {
                self.hold(|index| Ok(self.origin(index, ino)?.row.attr.flags))
            }
        }
    }

    fn own_xattr(&self, ino: u64, name: &[u8]) -> Result<Option<Vec<u8>>, FsError> {
        self.hold(|index| match self.decode(ino) {
            Ino::Place(_) => Ok(None),
            Ino::Above(tag, _) if name == b"time" => Ok(Some(exact_name(self.view(index, tag)?.at).into_bytes())),
            Ino::Above(..) => Ok(None),
            Ino::Dir(..) | Ino::File(..) | Ino::OwnFile(..) => self.own_of(index, &self.origin(index, ino)?, name),
        })
    }

    fn own_of(&self, index: &Reader, told: &Told, name: &[u8]) -> Result<Option<Vec<u8>>, FsError> {
        Ok(match name {
            b"snapshot" => Some(told.snapshot.number.to_string().into_bytes()),
            b"time" => Some(exact_name(told.snapshot.time).into_bytes()),
            b"valid-from" => Some(exact_name(told.valid(index)?.0).into_bytes()),
            b"valid-to" => told.valid(index)?.1.map(|at| exact_name(at).into_bytes()),
            b"birth" => told.row.attr.btime.and_then(|t| t.to_ns()).map(|ns| exact_name(Instant(ns)).into_bytes()),
            b"hash" => self.content_hash(index, told)?,
            b"gap" => told.gaps(index)?,
            _ => None,
        })
    }

    /// Which entry a number tells of, and as of which snapshot: the view's for a directory, the one that captured it for
    /// anything else, since that is the same in every view.
    fn origin(&self, index: &Reader, ino: u64) -> Result<Told, FsError> {
        if let Ino::Dir(tag, source, node) = self.decode(ino) {
            let view = self.view(index, tag)?;
            let part = part_of(&view, source)?;
            let row = index.node(source, node, part.snapshot.number)?.ok_or(FsError::Stale)?;
            return Ok(Told { row, snapshot: part.snapshot.clone(), source: part.source.clone() });
        }
        let (source, ver) = self.version_of(ino)?;
        let row = index.entry_of(source, ver)?.ok_or(FsError::Stale)?;
        let from = index.version(source, ver)?.ok_or(FsError::Stale)?.from;
        let snapshot = index.snapshot(source, from)?.ok_or(FsError::Stale)?;
        let source = index.sources()?.into_iter().find(|s| s.num == source).ok_or(FsError::Stale)?;
        Ok(Told { row, snapshot, source })
    }

    /// A file's content as one hash: its chunk's, or the keyed hash over hash and length of every piece.
    fn content_hash(&self, index: &Reader, told: &Told) -> Result<Option<Vec<u8>>, FsError> {
        if told.row.attr.kind() != Kind::File {
            return Ok(None);
        }
        let content = self.contents.get(index, told.row.source, told.row.ver)?;
        let hash = match content.pieces.as_slice() {
            [Piece::Chunk { num, .. }] => index.chunk_hash(*num)?,
            pieces => {
                let mut list = Vec::with_capacity(pieces.len() * 41);
                for piece in pieces {
                    match piece {
                        Piece::Hole(_) => list.push(0),
                        Piece::Chunk { num, .. } => {
                            list.push(1);
                            list.extend_from_slice(&index.chunk_hash(*num)?.0);
                        }
                    }
                    list.extend_from_slice(&piece.len().to_le_bytes());
                }
                self.attached.repo().keys().chunk_hash(&list).map_err(RepoError::from)?
            }
        };
        Ok(Some(hash.to_string().into_bytes()))
    }
}

/// What a number tells of.
struct Told {
    row: Row,
    snapshot: Snapshot,
    source: Source,
}

impl Told {
    /// The time from which on, and the time until which this version was there; without an end where it still is.
    fn valid(&self, index: &Reader) -> Result<(Instant, Option<Instant>), FsError> {
        let num = self.source.num;
        let version = index.version(num, self.row.ver)?.ok_or(FsError::Stale)?;
        let time = |snap| -> Result<Instant, FsError> { Ok(index.snapshot(num, snap)?.ok_or(FsError::Stale)?.time) };
        let mut to = self.row.to;
        for _ in 0..STEPS_MAX {
            // An entry ends by a rename too: the version goes on at another one.
            match to.map(|snap| index.node(num, self.row.node, snap)).transpose()?.flatten() {
                Some(next) if next.ver == self.row.ver => to = next.to,
                _ => break,
            }
        }
        Ok((time(version.from)?, to.map(time).transpose()?))
    }

    /// The gaps that overlap both its path and the time from the snapshot before this version to its end, a line each.
    fn gaps(&self, index: &Reader) -> Result<Option<Vec<u8>>, FsError> {
        let (mut from, to) = self.valid(index)?;
        let num = self.source.num;
        if let Some(version) = index.version(num, self.row.ver)?
            && let Some(before) = index.snapshot(num, Snap(version.from.0.saturating_sub(1)))?
        {
            // What was captured first after a gap may have had other versions in it.
            from = before.time;
        }
        let gaps = index.gaps(self.source.num, from, to.unwrap_or(Instant(i64::MAX)))?;
        if gaps.is_empty() {
            return Ok(None);
        }
        let own = path_of(index, self.source.num, &self.row, self.snapshot.number)?;
        let mut text = Vec::new();
        for gap in gaps.iter().filter(|gap| overlaps(&gap.subtree, &own)) {
            let (from, to, subtree) = (exact_name(gap.from), exact_name(gap.to), path::show(&gap.subtree));
            let subtree = if subtree.is_empty() { "." } else { &subtree };
            text.extend_from_slice(format!("{from} {to} {subtree}: {}\n", gap.why).as_bytes());
        }
        Ok((!text.is_empty()).then_some(text))
    }
}

/// Whether one of two relative paths lies in the other, or they are the same.
fn overlaps(a: &[u8], b: &[u8]) -> bool {
    let (a, b): (Vec<_>, Vec<_>) = (path::components(a).collect(), path::components(b).collect());
    a.starts_with(&b) || b.starts_with(&a)
}

/// The path of an entry in its source, by the names of the directories above it.
fn path_of(index: &Reader, source: SourceNum, row: &Row, snap: Snap) -> Result<Vec<u8>, FsError> {
    let mut names = vec![row.name.clone()];
    let mut parent = row.parent;
    for _ in 0..STEPS_MAX {
        if parent == Node::ABOVE {
            names.reverse();
            return Ok(names.join(&b'/'));
        }
        let above = index.node(source, parent, snap)?.ok_or(FsError::Stale)?;
        parent = above.parent;
        names.push(above.name);
    }
    Err(IndexError::Damaged("a directory lies in itself").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_concern_what_is_above_and_below_them() {
        assert!(overlaps(b"", b"a/b"));
        assert!(overlaps(b"a", b"a/b"));
        assert!(overlaps(b"a/b", b"a"));
        assert!(overlaps(b"a/b", b"/a/b"));
        assert!(!overlaps(b"a/bc", b"a/b"));
    }
}
