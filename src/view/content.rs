//! Reading the content of a version.

use crate::index::{
    chunks::Location,
    error::IndexError,
    rows::{Piece, Row},
    tree::Reader,
};
use crate::repo::{error::RepoError, frames::Frames};
use crate::types::{
    attr::Kind,
    ids::{SourceNum, Ver},
};

/// The content of one version: its pieces, and where each begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The size in bytes.
    pub size: u64,
    /// The pieces, in order.
    pub pieces: Vec<Piece>,
    starts: Vec<u64>,
}

impl Content {
    /// The content of a version of a regular file.
    pub fn open(index: &Reader, source: SourceNum, ver: Ver) -> Result<Content, IndexError> {
        let version = index.version(source, ver)?.ok_or(IndexError::Damaged("a version is missing"))?;
        let pieces = index.pieces(version.content)?;
        let mut starts = Vec::with_capacity(pieces.len());
        let mut at = 0u64;
        for piece in &pieces {
            starts.push(at);
            at = at.checked_add(piece.len()).ok_or(IndexError::Damaged("a content is too long"))?;
        }
        if at != version.size {
            return Err(IndexError::Damaged("a content does not add up to its size"));
        }
        Ok(Content { size: at, pieces, starts })
    }

    /// The piece that byte `offset` lies in, and where that piece begins.
    pub fn piece_at(&self, offset: u64) -> Option<(usize, u64)> {
        if offset >= self.size {
            return None;
        }
        let at = self.starts.partition_point(|start| *start <= offset) - 1;
        Some((at, self.starts[at]))
    }

    /// Appends up to `len` bytes from `offset` to `out`; fewer only at the end.
    pub fn read(
        &self,
        index: &Reader,
        frames: &Frames,
        offset: u64,
        len: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), RepoError> {
        self.read_noting(index, frames, offset, len, out, &mut |_| {})
    }

    /// As [`Content::read`], telling `note` of every chunk that is about to be read.
    pub fn read_noting(
        &self,
        index: &Reader,
        frames: &Frames,
        offset: u64,
        len: usize,
        out: &mut Vec<u8>,
        note: &mut dyn FnMut(&Location),
    ) -> Result<(), RepoError> {
        let end = self.size.min(offset.saturating_add(len as u64));
        let mut at = offset;
        while at < end {
            let Some((n, start)) = self.piece_at(at) else { break };
            let within = at - start;
            let take = (self.pieces[n].len() - within).min(end - at) as usize;
            match self.pieces[n] {
                Piece::Hole(_) => out.resize(out.len() + take, 0),
                Piece::Chunk { num, .. } => {
                    let location = index.location(num)?;
                    note(&location);
                    let (frame, range) = frames.chunk(&location)?;
                    let from = range.start + within as usize;
                    let bytes = frame.get(from..from + take).filter(|_| from + take <= range.end);
                    out.extend_from_slice(
                        bytes.ok_or(IndexError::Damaged("a chunk is shorter than its list of runs says"))?,
                    );
                }
            }
            at += take as u64;
        }
        Ok(())
    }

    /// The first byte of data at or after `offset` (holes skipped), or of a hole where `hole` is set; the end counts as a hole.
    pub fn seek(&self, offset: u64, hole: bool) -> Option<u64> {
        let (first, _) = self.piece_at(offset)?;
        let found = (first..self.pieces.len()).find(|n| matches!(self.pieces[*n], Piece::Hole(_)) == hole);
        match found {
            Some(n) => Some(self.starts[n].max(offset)),
            None if hole => Some(self.size),
            None => None,
        }
    }
}

/// The target of a symbolic link.
pub fn link_target(index: &Reader, row: &Row) -> Result<Vec<u8>, IndexError> {
    if row.attr.kind() != Kind::Symlink {
        return Err(IndexError::Damaged("a node is read as a symbolic link and is none"));
    }
    let version = index.version(row.source, row.ver)?.ok_or(IndexError::Damaged("a version is missing"))?;
    index.target(version.content)
}
