//! Proving the content of a file: it is cut where the index says that it was cut, and each piece has the hash of its chunk.

use crate::crypto::keys::Keys;
use crate::index::{error::IndexError, rows::Piece, tree::Reader};
use crate::sys::read::{self, CacheGuard, Segment, Segments};
use crate::types::role::Denied;
use rustix::fd::OwnedFd;
use std::{
    io,
    iter::Peekable,
    sync::atomic::{AtomicBool, Ordering},
};

/// What is read at once, in bytes.
const BUFFER_BYTES: usize = 1 << 20;
/// The page cache is given back after so many bytes.
const RELEASE_BYTES: u64 = 8 << 20;

/// What became of a content.
pub(super) enum Proof {
    /// It is what the index states; its plain BLAKE3 hash.
    Equal(blake3::Hash),
    /// It differs first within these bytes, the second one exclusive.
    Differs(u64, u64),
    /// It was told to stop.
    Stopped,
}

/// Why a content could not be looked at.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProofError {
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The key does not prove content.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The file could not be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads files and holds them against the index. One a thread.
pub(super) struct Prover<'a> {
    pub(super) keys: &'a Keys,
    pub(super) index: &'a Reader,
    pub(super) stop: &'a AtomicBool,
    buffer: Vec<u8>,
}

impl<'a> Prover<'a> {
    pub(super) fn new(keys: &'a Keys, index: &'a Reader, stop: &'a AtomicBool) -> Prover<'a> {
        Prover { keys, index, stop, buffer: vec![0; BUFFER_BYTES] }
    }

    /// Proves the content of the file open as `fd`, whose size is that of the pieces together. The page cache is left as found.
    pub(super) fn prove(
        &mut self,
        fd: &OwnedFd,
        pieces: &[Piece],
        segments: Segments<'_>,
        size: u64,
    ) -> Result<Proof, ProofError> {
        let mut cache = CacheGuard::look(fd, size);
        let mut segments = segments.peekable();
        let mut whole = blake3::Hasher::new();
        let (mut at, mut released) = (0, 0);
        let mut proof = None;
        for piece in pieces {
            if self.stop.load(Ordering::Relaxed) {
                proof = Some(Proof::Stopped);
                break;
            }
            let end = at + piece.len();
            let same = match piece {
                Piece::Hole(_) => self.hole(fd, Segment { start: at, end }, &mut segments, &mut whole)?,
                Piece::Chunk { num, .. } => self.chunk(fd, Segment { start: at, end }, *num, &mut whole)?,
            };
            if !same {
                proof = Some(Proof::Differs(at, end));
                break;
            }
            at = end;
            if at - released >= RELEASE_BYTES {
                cache.release(fd, at);
                released = at;
            }
        }
        cache.finish(fd);
        Ok(proof.unwrap_or_else(|| Proof::Equal(whole.finalize())))
    }

    fn chunk(
        &mut self,
        fd: &OwnedFd,
        range: Segment,
        num: i64,
        whole: &mut blake3::Hasher,
    ) -> Result<bool, ProofError> {
        let mut hasher = self.keys.chunk_hasher()?;
        let same = self.bytes(fd, range, &mut |bytes| {
            hasher.update(bytes);
            whole.update(bytes);
            true
        })?;
        Ok(same && hasher.finalize().as_bytes() == &self.index.chunk_hash(num)?.0)
    }

    /// A hole reads as zeros, whether or not it is one here too. What is one is not read.
    fn hole(
        &mut self,
        fd: &OwnedFd,
        range: Segment,
        segments: &mut Peekable<Segments<'_>>,
        whole: &mut blake3::Hasher,
    ) -> Result<bool, ProofError> {
        let mut at = range.start;
        while at < range.end {
            let next = loop {
                match segments.peek() {
                    Some(Ok(segment)) if segment.end <= at => drop(segments.next()),
                    Some(Ok(segment)) => break Some(*segment),
                    Some(Err(_)) => break segments.next().transpose()?,
                    None => break None,
                }
            };
            let data = next.map_or(range.end, |s| s.start.clamp(at, range.end));
            zeros(whole, data - at);
            let end = next.map_or(range.end, |s| s.end.clamp(data, range.end));
            let is_zero = |bytes: &[u8]| bytes.iter().all(|b| *b == 0);
            if data < end && !self.bytes(fd, Segment { start: data, end }, &mut |bytes| is_zero(bytes))? {
                return Ok(false);
            }
            zeros(whole, end - data);
            at = end;
        }
        Ok(true)
    }

    /// Gives the bytes of a range to `see`, until it says no or the file ends. Whether neither happened.
    fn bytes(&mut self, fd: &OwnedFd, range: Segment, see: &mut dyn FnMut(&[u8]) -> bool) -> Result<bool, io::Error> {
        let mut at = range.start;
        while at < range.end {
            let want = (range.end - at).min(BUFFER_BYTES as u64) as usize;
            let got = read::read_at(fd, &mut self.buffer[..want], at)?;
            if got < want || !see(&self.buffer[..got]) {
                return Ok(false);
            }
            at += got as u64;
        }
        Ok(true)
    }
}

/// Hashes so many zeros.
fn zeros(hasher: &mut blake3::Hasher, mut len: u64) {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    while len > 0 {
        let piece = len.min(ZEROS.len() as u64);
        hasher.update(&ZEROS[..piece as usize]);
        len -= piece;
    }
}
