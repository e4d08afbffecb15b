//! SQLite databases that are looked at whole.

use crate::index::image;
use crate::plan::ground::Doing;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

const MAGIC: &[u8] = b"SQLite format 3\0";

/// The databases at a path: itself, or all below it that begin as one does. No link is followed.
pub(super) fn found(path: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |path: &Path, e: std::io::Error| format!("cannot look at {}: {e}", path.display());
    let meta = std::fs::symlink_metadata(path).map_err(|e| failed(path, e))?;
    if !meta.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let (mut dirs, mut found) = (vec![path.to_owned()], Vec::new());
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).map_err(|e| failed(&dir, e))? {
            let path = entry.map_err(|e| failed(&dir, e))?.path();
            let meta = std::fs::symlink_metadata(&path).map_err(|e| failed(&path, e))?;
            match (meta.is_dir(), meta.is_file()) {
                (true, _) => dirs.push(path),
                (_, true) if begins(&path).map_err(|e| failed(&path, e))? => found.push(path),
                _ => {}
            }
        }
    }
    found.sort();
    Ok(found)
}

fn begins(path: &Path) -> std::io::Result<bool> {
    let mut start = Vec::new();
    File::open(path)?.take(MAGIC.len() as u64).read_to_end(&mut start)?;
    Ok(start == MAGIC)
}

/// Looks at all of them; what is wrong, a line each.
pub(super) fn look(doing: &Doing<'_>, databases: &[PathBuf]) -> Result<Vec<String>, String> {
    let mut wrong = Vec::new();
    doing.progress.start("looking at databases", None);
    for path in databases {
        if doing.stopped() {
            return Err("it was stopped".into());
        }
        match image::whole(path, doing.stop) {
            Ok(found) => wrong.extend(found.into_iter().map(|what| format!("{}: {what}", path.display()))),
            Err(e) => wrong.push(format!("{}: {e}", path.display())),
        }
        doing.progress.add(1, std::fs::metadata(path).map_or(0, |meta| meta.len()));
    }
    doing.progress.finish();
    Ok(wrong)
}
