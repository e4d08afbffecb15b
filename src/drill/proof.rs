//! Proof that what came back is what was there: files read through the mount and compared with the hashes of the index, a part of them
//! each time and everything in turn; and databases read whole.

use super::error::DrillError;
use super::order::{Laid, Proved};
use super::overlays::Overlays;
use crate::crypto::keys::Keys;
use crate::index::{image, rows::Piece, rows::Row, tree::Reader};
use crate::repo::audit::event::{bytes_value, value_bytes};
use crate::types::{attr::Kind, ids::Snap, ids::SourceNum, path, time::Instant};
use crate::view::{
    content::Content,
    instant::{Object, View},
    whose::Whose,
};
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// So many things that are wrong are told.
const TOLD_MAX: usize = 1000;
/// Names that databases of SQLite have. A file with another name is not opened to see.
const DATABASES: &[&str] = &["db", "db3", "sqlite", "sqlite3", "sdb"];
/// How such a file begins.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// The part of all files that is read, by their paths.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// Which, from 0.
    pub part: u64,
    /// Of so many.
    pub parts: u64,
}

impl Part {
    /// Whether a file belongs to it. A path is in one part, and always in the same.
    pub fn has(self, path: &[u8]) -> bool {
        let hash = blake3::hash(path);
        let number = hash.as_bytes()[..8].iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
        number % self.parts.max(1) == self.part
    }
}

/// What it takes to look.
pub struct Prover<'a> {
    /// The index.
    pub index: &'a Reader,
    /// The keys, by which chunks are named.
    pub keys: &'a Keys,
    /// Where history is.
    pub overlays: &'a Overlays,
    /// What is read this time.
    pub part: Part,
    /// Ends it early.
    pub stop: &'a AtomicBool,
}

impl Prover<'_> {
    /// Proves one thing that came back. Where it `is_again`, all of it came back with another thing too, and no source is counted twice.
    pub fn prove(&self, whose: &Whose, laid: &Laid, is_again: bool, proved: &mut Proved) -> Result<(), DrillError> {
        let Some(bytes) = value_bytes(&laid.path) else { return Ok(()) };
        let view = View::of(self.index, whose, Instant(laid.at_ns))?;
        match view.look_up(self.index, &bytes)? {
            Some(Object::Node(part, row)) => self.tree(&view, (part, *row, bytes), (laid, is_again), proved)?,
            Some(Object::Above) => {
                for (part, at) in view.parts.iter().enumerate().filter(|(_, p)| path::is_within(&p.source.root, &bytes))
                {
                    let root = at.source.root.clone();
                    if let Some(Object::Node(_, row)) = view.look_up(self.index, &root)? {
                        self.tree(&view, (part, *row, root), (laid, is_again), proved)?;
                    }
                }
            }
            None => proved.wrong.push(format!("{} was not there then", path::show(&bytes))),
        }
        if let Some(to) = value_bytes(&laid.to) {
            self.databases(Path::new(OsStr::from_bytes(&to)), proved);
        }
        Ok(())
    }

    fn tree(
        &self,
        view: &View,
        (part, row, path): (usize, Row, Vec<u8>),
        (laid, is_again): (&Laid, bool),
        proved: &mut Proved,
    ) -> Result<(), DrillError> {
        let (mut linked, mut linked_read) = (HashSet::new(), HashSet::new());
        let at = &view.parts[part];
        let root = bytes_value(&at.source.root);
        let of = proved.source(&root);
        of.whole |= path == at.source.root;
        let snap: (SourceNum, Snap) = (at.source.num, at.snapshot.number);
        let mut open = vec![(row, path)];
        while let Some((row, path)) = open.pop() {
            if self.stop.load(Ordering::Relaxed) || proved.wrong.len() >= TOLD_MAX {
                return Ok(());
            }
            match row.attr.kind() {
                Kind::Dir => {
                    for child in self.index.children(snap.0, row.node, snap.1)? {
                        let below = [path.as_slice(), b"/", &child.name].concat();
                        open.push((child, below));
                    }
                }
                Kind::File => {
                    proved.files += 1;
                    proved.bytes += row.attr.size;
                    // What a source has is counted once: not again for another name, or for another place that it came back to.
                    let counts = !is_again && (!row.linked || linked.insert(row.node));
                    if counts {
                        let of = proved.source(&root);
                        of.files += 1;
                        of.bytes += row.attr.size;
                    }
                    if self.part.has(&path) {
                        let from = self.overlays.in_history(laid.host.as_deref(), Instant(laid.at_ns), &path);
                        match self.file(&row, &from)? {
                            None => {
                                proved.read_files += 1;
                                proved.read_bytes += row.attr.size;
                                if !is_again && (!row.linked || linked_read.insert(row.node)) {
                                    let of = proved.source(&root);
                                    of.read_files += 1;
                                    of.read_bytes += row.attr.size;
                                }
                            }
                            Some(why) => proved.wrong.push(format!("{}: {why}", path::show(&path))),
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What is wrong with a file, read as any program reads it.
    fn file(&self, row: &Row, from: &Path) -> Result<Option<String>, DrillError> {
        let content = Content::open(self.index, row.source, row.ver)?;
        let file = match File::open(from) {
            Ok(file) => file,
            Err(e) => return Ok(Some(format!("cannot be opened: {e}"))),
        };
        match file.metadata() {
            Ok(meta) if meta.len() == content.size => {}
            Ok(meta) => return Ok(Some(format!("has {} bytes, and not {}", meta.len(), content.size))),
            Err(e) => return Ok(Some(format!("cannot be looked at: {e}"))),
        }
        let (mut at, mut buffer) = (0, Vec::new());
        for piece in &content.pieces {
            if let Piece::Chunk { num, len } = piece {
                buffer.resize(*len as usize, 0);
                if let Err(e) = file.read_exact_at(&mut buffer, at) {
                    return Ok(Some(format!("cannot be read from byte {at} on: {e}")));
                }
                let hash = match self.keys.chunk_hash(&buffer) {
                    Ok(hash) => hash,
                    Err(e) => return Ok(Some(format!("cannot be proved: {e}"))),
                };
                if hash != self.index.chunk_hash(*num)? {
                    return Ok(Some(format!("is not what was captured, from byte {at} on")));
                }
            }
            at += piece.len();
        }
        Ok(None)
    }

    fn databases(&self, to: &Path, proved: &mut Proved) {
        let mut open = vec![to.to_owned()];
        while let Some(path) = open.pop() {
            if self.stop.load(Ordering::Relaxed) || proved.wrong.len() >= TOLD_MAX {
                return;
            }
            let found = match std::fs::symlink_metadata(&path) {
                Ok(meta) if meta.is_dir() => below(&path),
                Ok(meta) if meta.is_file() && is_database(&path) => {
                    proved.databases += 1;
                    let told = match image::whole(&path, self.stop) {
                        Ok(told) => told,
                        Err(e) => vec![e.to_string()],
                    };
                    proved.wrong.extend(told.into_iter().map(|what| format!("{}: {what}", path.display())));
                    continue;
                }
                Ok(_) => continue,
                Err(e) => Err(e),
            };
            match found {
                Ok(found) => open.extend(found),
                Err(e) => proved.wrong.push(format!("cannot look at {}: {e}", path.display())),
            }
        }
    }
}

fn below(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    std::fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect()
}

fn is_database(path: &Path) -> bool {
    let named = path.extension().and_then(OsStr::to_str).is_some_and(|e| DATABASES.contains(&e));
    let mut start = [0; MAGIC.len()];
    named && File::open(path).is_ok_and(|file| file.read_exact_at(&mut start, 0).is_ok()) && start == MAGIC
}

/// The path that stands as a value in a record.
pub fn shown(value: &serde_json::Value) -> PathBuf {
    OsString::from_vec(value_bytes(value).unwrap_or_default()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_in_one_part() {
        for name in 0..200u32 {
            let path = format!("/a/{name}").into_bytes();
            assert_eq!((0..8).filter(|part| Part { part: *part, parts: 8 }.has(&path)).count(), 1);
        }
    }
}
