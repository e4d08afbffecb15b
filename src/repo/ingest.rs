//! Content on its way in: cut, hashed, looked up, gathered into frames, packed. One a thread.

use crate::chunk::{
    compress::Compressor,
    cut::{Cutter, Sizes},
};
use crate::index::tree::Reader;
use crate::repo::{error::RepoError, open::Repository, pack::PackBuilder};
use crate::types::{
    ids::{Hash, Id},
    op::{Frame, Run},
};
use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    hash::{BuildHasherDefault, Hasher},
    io,
    sync::{Arc, Mutex, PoisonError},
};

/// Chunks are gathered into a frame until it holds this many raw bytes: enough for zstd to find what small files share, and little
/// enough to decode at once for one of them.
const FRAME_TARGET: usize = 512 << 10;
/// A pack is put into the store when it holds this many bytes.
const PACK_TARGET: usize = 8 << 20;

/// The chunks that the threads of one capture have taken on, so that none is stored twice; and, once they are in a frame of the
/// record, their numbers in it.
#[derive(Default)]
pub struct Claims(Mutex<HashMap<ShortHash, u32, BuildHasherDefault<FirstBytes>>>);

/// Claimed, and in no frame yet.
const PENDING: u32 = u32::MAX;

/// 96 bits of a hash. It is keyed, so nobody can look for collisions, and by chance 10^9 chunks collide once in 10^11 captures.
/// Small, since there is one for each new chunk of a capture in memory.
#[derive(Clone, Copy, PartialEq, Eq)]
struct ShortHash([u8; 12]);

impl ShortHash {
    fn of(hash: &Hash) -> ShortHash {
        let mut short = [0; 12];
        short.copy_from_slice(&hash.0[..12]);
        ShortHash(short)
    }
}

impl std::hash::Hash for ShortHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

/// A hash is random already: its first bytes are as good as any hash of it.
#[derive(Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().take(8).fold(0, |n, b| n << 8 | u64::from(*b));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// How far a chunk has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Claim {
    /// Nobody has taken it on in this capture.
    None,
    /// It is on its way.
    Pending,
    /// It is in a frame of the record, with this number.
    Numbered(u32),
}

impl Claims {
    /// Whether the chunk was not taken on before; now it is.
    fn claim(&self, hash: &Hash) -> bool {
        match self.lock().entry(ShortHash::of(hash)) {
            Entry::Occupied(_) => false,
            Entry::Vacant(slot) => {
                slot.insert(PENDING);
                true
            }
        }
    }

    /// How far a chunk has come.
    pub(super) fn of(&self, hash: &Hash) -> Claim {
        match self.lock().get(&ShortHash::of(hash)) {
            None => Claim::None,
            Some(&PENDING) => Claim::Pending,
            Some(n) => Claim::Numbered(*n),
        }
    }

    /// The chunk is in a frame of the record, with this number.
    pub(super) fn number(&self, hash: &Hash, number: u32) {
        self.lock().insert(ShortHash::of(hash), number);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ShortHash, u32, BuildHasherDefault<FirstBytes>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A frame that was added to a pack.
pub type Framed = (Id, Frame);

/// Why a file's content could not be taken in.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The file could not be read: the capture goes on without it.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// The repository failed: the capture ends.
    #[error(transparent)]
    Repo(#[from] RepoError),
}

/// Takes content in, for one thread of a capture.
pub struct Ingest {
    repo: Arc<Repository>,
    index: Reader,
    claims: Arc<Claims>,
    cutter: Cutter,
    compressor: Compressor,
    pack: Option<PackBuilder>,
    raw: Vec<u8>,
    chunks: Vec<(Hash, u32)>,
    window: Vec<u8>,
    framed: Vec<Framed>,
    stored_bytes: u64,
    avoid: Arc<Avoid>,
    only: Option<Only>,
}

/// What is stored, whatever lies where.
struct Only {
    wanted: HashSet<Hash>,
    /// Nothing is stored after all.
    trial: bool,
}

/// So much is read at a time, so that whatever rests or ends between two reads does so soon, and the disk serves others meanwhile.
const READ: usize = 1 << 20;

/// What nothing is deduplicated against: what lies there is stored again.
#[derive(Debug, Default)]
pub struct Avoid {
    /// Packs that are gone, or that will be deleted.
    pub packs: HashSet<Id>,
    /// Whether there are frames that can't be read, which the index knows.
    pub bad: bool,
    /// All that is stored: the repository does not know yet that this host writes.
    pub all: bool,
}

impl Ingest {
    /// For one thread. `claims` is shared by the threads of one capture.
    pub fn new(repo: Arc<Repository>, index: Reader, claims: Arc<Claims>, level: i32) -> Result<Ingest, RepoError> {
        let compressor = Compressor::new(level).map_err(|source| RepoError::State {
            doing: "set up compression for",
            path: format!("level {level}"),
            source,
        })?;
        let cutter = repo.cutter()?;
        Ok(Ingest {
            repo,
            index,
            claims,
            cutter,
            compressor,
            pack: None,
            raw: Vec::new(),
            chunks: Vec::new(),
            window: Vec::new(),
            framed: Vec::new(),
            stored_bytes: 0,
            avoid: Arc::default(),
            only: None,
        })
    }

    /// Stores again what lies there.
    pub fn without(mut self, avoid: Arc<Avoid>) -> Ingest {
        self.avoid = avoid;
        self
    }

    /// Stores these chunks and no others, wherever they lie already; in a trial, none.
    pub fn only(mut self, wanted: HashSet<Hash>, trial: bool) -> Ingest {
        self.only = Some(Only { wanted, trial });
        self
    }

    /// The index as it was when the capture began.
    pub fn index(&self) -> &Reader {
        &self.index
    }

    /// Takes in one run of data: `read` fills a buffer and says how much, 0 at its end. Appends its chunks to `runs`.
    ///
    /// Gives the number of bytes taken in. The frames that hold them may still be open: see [`Ingest::is_settled`].
    pub fn data(
        &mut self,
        expected: u64,
        runs: &mut Vec<Run>,
        mut read: impl FnMut(&mut [u8]) -> io::Result<usize>,
    ) -> Result<u64, IngestError> {
        let Sizes { max, .. } = self.cutter.sizes();
        // One more than is expected, so that the end is seen without growing.
        let window = usize::try_from(expected).unwrap_or(usize::MAX).saturating_add(1).clamp(4096, 2 * max);
        let mut buffer = std::mem::take(&mut self.window);
        buffer.resize(window.max(buffer.len()), 0);
        let (mut start, mut end, mut total, mut over) = (0, 0, 0, false);
        let result = loop {
            while !over && end - start < max {
                if end == buffer.len() {
                    if start == 0 {
                        buffer.resize((buffer.len() * 2).min(2 * max), 0);
                    }
                    buffer.copy_within(start..end, 0);
                    (start, end) = (0, end - start);
                }
                let until = buffer.len().min(end + READ);
                match read(&mut buffer[end..until]) {
                    Ok(0) => over = true,
                    Ok(n) => (end, total) = (end + n, total + n as u64),
                    Err(e) => return Err(e.into()),
                }
            }
            if start == end {
                break Ok(total);
            }
            let len = self.cutter.cut(&buffer[start..end]);
            match self.chunk(&buffer[start..start + len]) {
                Ok(hash) => runs.push(Run::Known(hash)),
                Err(e) => break Err(e.into()),
            }
            start += len;
        };
        self.window = buffer;
        result
    }

    /// Takes in one chunk as it was cut before. Gives its hash.
    pub fn chunk(&mut self, bytes: &[u8]) -> Result<Hash, RepoError> {
        let hash = self.repo.keys().chunk_hash(bytes)?;
        let stays_out = match &self.only {
            Some(only) => only.trial || !only.wanted.contains(&hash),
            None => self.is_stored(&hash)?,
        };
        if stays_out || !self.claims.claim(&hash) {
            return Ok(hash);
        }
        if !self.raw.is_empty() && self.raw.len() + bytes.len() > FRAME_TARGET + FRAME_TARGET / 2 {
            self.close_frame()?;
        }
        self.raw.extend_from_slice(bytes);
        self.chunks.push((hash, bytes.len() as u32));
        if self.raw.len() >= FRAME_TARGET {
            self.close_frame()?;
        }
        Ok(hash)
    }

    /// Whether a chunk is stored in a pack that is there, and stays.
    fn is_stored(&self, hash: &Hash) -> Result<bool, RepoError> {
        if self.avoid.all {
            return Ok(false);
        }
        match self.index.find_chunk(hash)? {
            None => Ok(false),
            Some(num) if self.avoid.bad && self.index.is_bad_chunk(num)? => Ok(false),
            Some(_) if self.avoid.packs.is_empty() => Ok(true),
            Some(num) => Ok(!self.avoid.packs.contains(&self.index.location(num)?.pack)),
        }
    }

    fn close_frame(&mut self) -> Result<(), RepoError> {
        if self.chunks.is_empty() {
            return Ok(());
        }
        let mut pack = match self.pack.take() {
            Some(pack) => pack,
            None => PackBuilder::new(self.repo.keys(), PACK_TARGET + (1 << 20))?,
        };
        let frame = pack.add(&mut self.compressor, &self.raw, std::mem::take(&mut self.chunks));
        self.raw.clear();
        self.framed.push((pack.id(), frame));
        let full = pack.len() >= PACK_TARGET;
        self.pack = Some(pack);
        if full { self.close_pack() } else { Ok(()) }
    }

    fn close_pack(&mut self) -> Result<(), RepoError> {
        let Some(pack) = self.pack.take() else { return Ok(()) };
        let (name, bytes) = pack.finish();
        self.repo.store().put(&name, &bytes)?;
        self.stored_bytes += bytes.len() as u64;
        Ok(())
    }

    /// Whether everything taken in so far is in frames: then versions that name it may be recorded behind them.
    pub fn is_settled(&self) -> bool {
        self.chunks.is_empty()
    }

    /// The frames closed since the last call.
    pub fn take_framed(&mut self) -> Vec<Framed> {
        std::mem::take(&mut self.framed)
    }

    /// Closes the open frame and pack: everything taken in is durable. Gives the last frames, and the bytes stored in all.
    pub fn finish(mut self) -> Result<(Vec<Framed>, u64), RepoError> {
        self.close_frame()?;
        self.close_pack()?;
        Ok((self.framed, self.stored_bytes))
    }

    /// Closes the open frame.
    pub fn settle(&mut self) -> Result<(), RepoError> {
        self.close_frame()
    }
}
