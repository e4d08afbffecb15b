//! Reading a node with a stable look: its attributes and content as they were at one moment.

use crate::capture::{database, exclusive};
use crate::index::{
    rows::{Piece, Row},
    tree::Reader,
};
use crate::repo::ingest::{Ingest, IngestError};
use crate::sys::{
    clock, meta,
    read::{self, CacheGuard, Segments},
    stat::{self, Stat},
};
use crate::types::{
    attr::{Attr, Kind},
    ids::Hash,
    op::{Content, Run},
};
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

/// A change this close to the moment of reading may be followed by another within the same tick of the file system's clock.
const RACY_NS: i64 = 20_000_000;
/// A file that changes under the reader is read this many times.
const ATTEMPTS: u32 = 3;
/// Above this size it is read twice at most.
const LARGE: u64 = 64 << 20;
/// The page cache is given back after so many bytes of a large file.
const RELEASE_BYTES: u64 = 8 << 20;

/// Says when so many bytes may be read, by returning.
pub type Admit<'a> = &'a dyn Fn(u64) -> io::Result<()>;

/// Why a content may not be one that there was at any moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fuzzy {
    /// It never held still while it was read.
    Changed,
    /// It is a database as its bytes stand, for this reason, and not an image.
    NoImage(String),
}

/// A node as it was read.
#[derive(Debug)]
pub struct Copied {
    /// What was looked at.
    pub stat: Stat,
    /// The attributes.
    pub attr: Attr,
    /// The content; runs are [`Run::Hole`] and [`Run::Known`].
    pub content: Content,
    /// Why its content is fuzzy, if it is.
    pub fuzzy: Option<Fuzzy>,
    /// Its content begins as an SQLite database.
    pub database: bool,
    /// It was changed so shortly before that its times can't tell a later change.
    pub racy: bool,
    /// Bytes that were read from it.
    pub read_bytes: u64,
}

/// Reads the node called `name` in `dir`, of which `stat` was seen.
///
/// `NotFound` where it is not there any more or is another node by now: the next look will tell.
///
/// `admit` is asked before each read, with its bytes; an error of it ends the reading.
pub fn copy(
    dir: impl AsFd,
    name: &[u8],
    stat: &Stat,
    ingest: &mut Ingest,
    admit: Admit<'_>,
) -> Result<Copied, IngestError> {
    // Told before anything is read: what changes after that has a later time.
    let racy = is_racy(stat);
    match stat.kind() {
        Some(Kind::File) => copy_file(dir, name, stat, ingest, admit),
        Some(Kind::Symlink) => {
            let target = meta::link_target(&dir, name)?;
            let mut attr = attr_of(stat, meta::xattrs_at(&dir, name)?, 0);
            attr.size = target.len() as u64;
            Ok(plain(stat, racy, attr, Content::Target(target)))
        }
        Some(Kind::Dir) => {
            let fd = crate::sys::dir::open_at(&dir, name)?;
            Ok(copy_dir(&fd)?)
        }
        _ => {
            let attr = attr_of(stat, meta::xattrs_at(&dir, name)?, 0);
            Ok(plain(stat, racy, attr, Content::None))
        }
    }
}

/// Reads the attributes of an open directory.
pub fn copy_dir(fd: &OwnedFd) -> io::Result<Copied> {
    let stat = stat::of(fd)?;
    let racy = is_racy(&stat);
    let attr = attr_of(&stat, meta::xattrs(fd)?, meta::flags(fd)?);
    Ok(plain(&stat, racy, attr, Content::None))
}

fn plain(stat: &Stat, racy: bool, attr: Attr, content: Content) -> Copied {
    Copied { stat: *stat, attr, content, fuzzy: None, database: false, racy, read_bytes: 0 }
}

pub(super) fn is_racy(stat: &Stat) -> bool {
    stat.ctime.to_ns().is_none_or(|t| t > clock::now().0 - RACY_NS)
}

/// The attributes in a `stat`; sizes and blocks are those of the content.
fn attr_of(stat: &Stat, xattrs: Vec<(Vec<u8>, Vec<u8>)>, flags: u32) -> Attr {
    Attr {
        mode: stat.mode,
        uid: stat.uid,
        gid: stat.gid,
        size: 0,
        blocks: 0,
        rdev: if matches!(stat.kind(), Some(Kind::CharDevice | Kind::BlockDevice)) { stat.rdev } else { 0 },
        mtime: stat.mtime,
        ctime: stat.ctime,
        btime: stat.btime,
        flags: flags & meta::KEPT_FLAGS,
        xattrs,
    }
}

fn copy_file(
    dir: impl AsFd,
    name: &[u8],
    seen: &Stat,
    ingest: &mut Ingest,
    admit: Admit<'_>,
) -> Result<Copied, IngestError> {
    let _held = exclusive::hold(seen.place);
    let fd = read::open(&dir, name)?;
    let mut before = stat::of(&fd)?;
    if before.place != seen.place || before.kind() != Some(Kind::File) {
        return Err(io::Error::from(io::ErrorKind::NotFound).into());
    }
    let attempts = if before.size > LARGE { 2 } else { ATTEMPTS };
    let mut read_bytes = 0;
    for attempt in 1.. {
        let racy = is_racy(&before);
        let Contents { runs, size, data, database } = read_runs(&fd, &before, ingest, admit)?;
        read_bytes += data;
        let xattrs = meta::xattrs(&fd)?;
        let flags = meta::flags(&fd)?;
        let after = stat::of(&fd)?;
        let stable = before.same_content(&after) && size == before.size;
        if stable || attempt >= attempts {
            let mut attr = attr_of(&after, xattrs, flags);
            attr.size = size;
            attr.blocks = data.div_ceil(512);
            let content = if runs.is_empty() { Content::None } else { Content::Runs(runs) };
            let fuzzy = (!stable).then_some(Fuzzy::Changed);
            return Ok(Copied { stat: after, attr, content, fuzzy, database, racy, read_bytes });
        }
        before = after;
    }
    unreachable!("the loop returns at its last attempt")
}

/// Reads the file `from` as the content of the file of which `stat` was seen, with its attributes.
pub(super) fn copy_other(
    from: &std::path::Path,
    stat: &Stat,
    racy: bool,
    (xattrs, flags): (crate::types::attr::Xattrs, u32),
    ingest: &mut Ingest,
    admit: Admit<'_>,
) -> Result<Copied, IngestError> {
    let fd: OwnedFd = std::fs::File::open(from)?.into();
    let Contents { runs, size, data, database } = read_runs(&fd, &stat::of(&fd)?, ingest, admit)?;
    let mut attr = attr_of(stat, xattrs, flags);
    attr.size = size;
    attr.blocks = data.div_ceil(512);
    let content = if runs.is_empty() { Content::None } else { Content::Runs(runs) };
    Ok(Copied { stat: Stat { size, ..*stat }, attr, content, fuzzy: None, database, racy, read_bytes: data })
}

/// What was read of a file.
struct Contents {
    runs: Vec<Run>,
    /// How long they are together.
    size: u64,
    /// How many bytes of them are data.
    data: u64,
    /// Whether they begin as an SQLite database.
    database: bool,
}

fn read_runs(fd: &OwnedFd, stat: &Stat, ingest: &mut Ingest, admit: Admit<'_>) -> Result<Contents, IngestError> {
    let mut runs = Vec::new();
    let (mut at, mut data, mut database) = (0, 0, false);
    if stat.size == 0 {
        return Ok(Contents { runs, size: 0, data, database });
    }
    let mut cache = CacheGuard::look(fd, stat.size);
    for segment in Segments::new(fd, stat) {
        let segment = segment?;
        if segment.start > at {
            runs.push(Run::Hole(segment.start - at));
        }
        at = segment.start;
        let mut released = at;
        let taken = ingest.data(segment.end - segment.start, &mut runs, |buffer| {
            let room = usize::try_from(segment.end - at).unwrap_or(usize::MAX).min(buffer.len());
            admit(room as u64)?;
            let n = read::read_at(fd, &mut buffer[..room], at)?;
            database |= at == 0 && buffer[..n].starts_with(database::HEADER);
            at += n as u64;
            if at - released >= RELEASE_BYTES {
                cache.release(fd, at);
                released = at;
            }
            Ok(n)
        })?;
        data += taken;
        if at < segment.end {
            // The file was cut off while it was read: `stat` will say so.
            cache.finish(fd);
            return Ok(Contents { runs, size: at, data, database });
        }
    }
    if at < stat.size {
        runs.push(Run::Hole(stat.size - at));
    }
    cache.finish(fd);
    Ok(Contents { runs, size: stat.size, data, database })
}

/// The content of a known version as runs by hash, to compare with what was read.
pub fn known_runs(index: &Reader, row: &Row) -> Result<Vec<(Run, Piece)>, crate::index::error::IndexError> {
    let Some(version) = index.version(row.source, row.ver)? else { return Ok(Vec::new()) };
    index
        .pieces(version.content)?
        .into_iter()
        .map(|piece| {
            Ok((
                match piece {
                    Piece::Hole(len) => Run::Hole(len),
                    Piece::Chunk { num, .. } => Run::Known(index.chunk_hash(num)?),
                },
                piece,
            ))
        })
        .collect()
}

/// States runs that the version before has too as kept, where that is shorter: a long file with a small change costs little.
pub fn shorten(runs: Vec<Run>, before: &[(Run, Piece)]) -> Vec<Run> {
    if runs.len() < 8 || before.is_empty() {
        return runs;
    }
    let mut first: std::collections::HashMap<Hash, usize> = std::collections::HashMap::new();
    for (at, (run, _)) in before.iter().enumerate() {
        if let Run::Known(hash) = run {
            first.entry(*hash).or_insert(at);
        }
    }
    let mut out = Vec::new();
    let mut at = 0;
    while at < runs.len() {
        let start = match runs[at] {
            Run::Known(hash) => first.get(&hash).copied(),
            _ => None,
        };
        let same =
            start.map_or(0, |from| runs[at..].iter().zip(&before[from..]).take_while(|(a, (b, _))| *a == b).count());
        match start {
            Some(from) if same >= 4 => {
                out.push(Run::Keep { from: from as u32, count: same as u32 });
                at += same;
            }
            _ => {
                out.push(runs[at]);
                at += 1;
            }
        }
    }
    out
}
