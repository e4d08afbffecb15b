//! WAL out of history: the newest that was captured of a file, also where it has been removed from its directory since.

use crate::index::{error::IndexError, rows::Row, tree::Reader};
use crate::produce::wal::{self, WalError};
use crate::repo::{attach::Attached, error::RepoError, frames::Frames};
use crate::types::{attr, path, time::Instant};
use crate::view::{
    content::Content,
    history::versions,
    instant::{Object, View},
    whose::Whose,
};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

/// So many bytes of decoded frames are kept.
const FRAMES: usize = 64 << 20;
/// No file of WAL is larger.
const FILE_MAX: u64 = 1 << 30;

/// Why a file of WAL could not be read from history.
#[derive(Debug, thiserror::Error)]
pub enum PastError {
    /// The name is none.
    #[error(transparent)]
    Wal(#[from] WalError),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// It is larger than any file of WAL.
    #[error("{0} is larger than any file of WAL")]
    Large(String),
    /// Its content could not be read.
    #[error("cannot read {path} from the repository")]
    Read {
        /// The file.
        path: String,
        /// Why not.
        source: Box<RepoError>,
    },
}

/// The content of the file of WAL `name` that a source has, or had, in the directory `dir`; `None` where it never did.
///
/// A segment that was being received when it was captured is given as the segment.
pub fn read(
    at: &Arc<Attached>,
    index: &Reader,
    whose: &Whose,
    dir: &Path,
    name: &str,
) -> Result<Option<Vec<u8>>, PastError> {
    let view = View::of(index, whose, Instant(i64::MAX))?;
    for name in wal::candidates(name)? {
        let wanted = path::join(dir.as_os_str().as_bytes(), name.as_bytes());
        let now = match view.look_up(index, &wanted)? {
            Some(Object::Node(_, row)) => Some(*row),
            Some(Object::Above) | None => None,
        };
        let is_file = |row: &Row| row.attr.kind() == attr::Kind::File;
        let found = now.filter(is_file).map_or_else(|| before(index, whose, &wanted, is_file), |row| Ok(Some(row)))?;
        let Some(row) = found else { continue };
        let content = Content::open(index, row.source, row.ver)?;
        let shown = || path::show(&wanted);
        if content.size > FILE_MAX {
            return Err(PastError::Large(shown()));
        }
        let frames = Frames::of(at.clone(), FRAMES);
        let mut bytes = Vec::new();
        let read = content.read(index, &frames, 0, content.size as usize, &mut bytes);
        read.map_err(|source| PastError::Read { path: shown(), source: Box::new(source) })?;
        return Ok(Some(bytes));
    }
    Ok(None)
}

/// The newest version of a file that was captured and has been removed since: a segment that its directory had no room for any more.
fn before(
    index: &Reader,
    whose: &Whose,
    wanted: &[u8],
    is_file: impl Fn(&Row) -> bool,
) -> Result<Option<Row>, IndexError> {
    let mut found: Option<(Instant, Row)> = None;
    for line in whose.lines(index)?.iter().filter(|line| path::is_within(wanted, &line.source.root)) {
        for version in versions(index, &line.source, wanted)?.into_iter().filter(|v| v.path == wanted) {
            let at = version.from.time;
            let Some(row) = version.row.filter(|row| is_file(row) && line.shows(at)) else { continue };
            if found.as_ref().is_none_or(|(newest, _)| *newest <= at) {
                found = Some((at, row));
            }
        }
    }
    Ok(found.map(|(_, row)| row))
}
