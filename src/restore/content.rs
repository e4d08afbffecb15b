//! Writing pieces of a file, and reading back what was written.

use crate::index::{chunks::Location, rows::Piece, tree::Reader};
use crate::repo::{
    error::{Damage, RepoError},
    fetch::Decoded,
    names,
    open::Repository,
};
use crate::restore::report::Why;
use crate::sys::{make, read};
use rustix::fd::OwnedFd;
use std::sync::Arc;

/// A piece with its place in the file and in the store.
pub(super) struct Placed {
    /// Its first byte in the file.
    pub(super) offset: u64,
    /// Its chunk.
    pub(super) chunk: i64,
    /// Where that lies.
    pub(super) at: Location,
}

/// The chunks of some pieces, holes left out.
pub(super) fn place(index: &Reader, pieces: &[Piece], begin: u64) -> Result<Vec<Placed>, RepoError> {
    let mut out = Vec::with_capacity(pieces.len());
    let mut offset = begin;
    for piece in pieces {
        if let Piece::Chunk { num, .. } = piece {
            out.push(Placed { offset, chunk: *num, at: index.location(*num)? });
        }
        offset = offset.saturating_add(piece.len());
    }
    Ok(out)
}

/// Writes files from decoded frames. One a thread.
pub(super) struct Writer<'a> {
    pub(super) repo: &'a Repository,
    pub(super) index: &'a Reader,
    pub(super) buffer: Vec<u8>,
}

impl Writer<'_> {
    /// Writes the pieces, then reads them back and compares their hashes with those that the journal states.
    pub(super) fn write(&mut self, fd: &OwnedFd, pieces: &[Placed], frames: &Decoded) -> Result<u64, Why> {
        let mut bytes = 0;
        for piece in pieces {
            let chunk = self.bytes(piece, frames)?;
            make::write_at(fd, chunk, piece.offset).map_err(Why::io("write it"))?;
            bytes += chunk.len() as u64;
        }
        for piece in pieces {
            self.check(fd, piece, frames)?;
        }
        Ok(bytes)
    }

    fn bytes<'f>(&self, piece: &Placed, frames: &'f Decoded) -> Result<&'f [u8], Why> {
        let frame = match frames.get(&piece.at.frame) {
            Some(Ok(frame)) => frame,
            Some(Err(e)) => return Err(Why::Damaged(e.clone())),
            None => return Err(self.damaged(piece, "was not fetched")),
        };
        let start = piece.at.chunk_offset as usize;
        frame
            .get(start..start + piece.at.chunk_len as usize)
            .ok_or_else(|| self.damaged(piece, "a chunk lies outside of it"))
    }

    fn check(&mut self, fd: &OwnedFd, piece: &Placed, frames: &Decoded) -> Result<(), Why> {
        let len = piece.at.chunk_len as usize;
        if self.buffer.len() < len {
            self.buffer.resize(len, 0);
        }
        let found = read::read_at(fd, &mut self.buffer[..len], piece.offset).map_err(Why::io("read it back"))?;
        let stated = self.index.chunk_hash(piece.chunk).map_err(|e| Why::Damaged(Arc::new(e.into())))?;
        let hash =
            |bytes: &[u8]| self.repo.keys().chunk_hash(bytes).map_err(|e| Why::Damaged(Arc::new(RepoError::from(e))));
        if found == len && hash(&self.buffer[..len])? == stated {
            return Ok(());
        }
        match self.bytes(piece, frames)? {
            sent if hash(sent)? == stated => Err(Why::Differs { offset: piece.offset }),
            _ => Err(self.damaged(
                piece,
                "holds another chunk there than the index states: `bygone verify` tells which of them is wrong",
            )),
        }
    }

    fn damaged(&self, piece: &Placed, why: &str) -> Why {
        let what = format!("frame {} at byte {}", piece.at.number, piece.at.offset);
        Why::Damaged(Arc::new(self.repo.damaged(&names::pack(piece.at.pack), what, Damage::other(why))))
    }
}
