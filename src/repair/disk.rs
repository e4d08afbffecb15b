//! Lost chunks, looked for where they may still be: in damaged packs whose frames still read, and in files of the protected disk.

use crate::capture::copy::copy;
use crate::index::{bad::NeededChunk, check::FrameRow};
use crate::repair::error::RepairError;
use crate::repo::{
    error::RepoError,
    frames::read_frame,
    ingest::{Ingest, IngestError},
    open::Repository,
};
use crate::sys::{dir, stat};
use crate::types::{
    attr::Kind,
    ids::Hash,
    op::{Content, Run},
    path::show,
};
use std::{ffi::OsStr, io, os::unix::ffi::OsStrExt as _, path::Path};

/// Takes in these chunks of a frame, if that can be read after all. Gives the hashes of those that are what they must be.
pub(super) fn from_frame(
    repo: &Repository,
    row: &FrameRow,
    chunks: &[&NeededChunk],
    ingest: &mut Ingest,
) -> Result<Vec<Hash>, RepairError> {
    let raw = match read_frame(repo, &row.whole()) {
        Ok(raw) => raw,
        Err(e) if e.is_away() => return Err(e.into()),
        // This is what is wrong with it.
        Err(_) => return Ok(Vec::new()),
    };
    let mut found = Vec::new();
    for chunk in chunks {
        let start = chunk.offset as usize;
        let Some(bytes) = raw.get(start..start.saturating_add(chunk.len as usize)) else { continue };
        if repo.keys().chunk_hash(bytes).map_err(RepoError::from)? == chunk.hash {
            found.push(ingest.chunk(bytes)?);
        }
    }
    Ok(found)
}

/// Takes in what is wanted of a file of this machine. Gives the hashes of all its chunks; none where it is not there, is no plain file, or
/// can't be read, which is told.
pub(super) fn from_file(path: &[u8], ingest: &mut Ingest) -> Result<Vec<Hash>, RepairError> {
    match read_file(path, ingest) {
        Ok(runs) => Ok(runs
            .into_iter()
            .filter_map(|run| match run {
                Run::Known(hash) => Some(hash),
                _ => None,
            })
            .collect()),
        Err(IngestError::Repo(e)) => Err(e.into()),
        Err(IngestError::Read(e)) => {
            if !matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
                tracing::warn!("{} may still have what is lost, and can't be read: {e}", show(path));
            }
            Ok(Vec::new())
        }
    }
}

fn read_file(path: &[u8], ingest: &mut Ingest) -> Result<Vec<Run>, IngestError> {
    let path = Path::new(OsStr::from_bytes(path));
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(Vec::new()) };
    let parent = dir::open_root(parent)?;
    let stat = stat::at(&parent, name.as_bytes())?;
    if stat.kind() != Some(Kind::File) {
        return Ok(Vec::new());
    }
    // What counts is the hash of each chunk, so a file that changes meanwhile does no harm.
    match copy(&parent, name.as_bytes(), &stat, ingest, &|_| Ok(()))?.content {
        Content::Runs(runs) => Ok(runs),
        _ => Ok(Vec::new()),
    }
}
