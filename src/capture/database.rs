//! SQLite databases: captured as they are after some commit, whoever writes to them meanwhile.
//!
//! A database is taken by SQLite's own backup, and what lies beside it is left out: its `-wal` and `-journal` are in the image
//! already, and beside another image they would damage it. A commit may change only the `-wal`, so that counts as a change of
//! the database: its version has the later of the two times.

use crate::capture::{
    copy::{self, Copied, Fuzzy},
    exclusive,
    report::CaptureError,
    worker::{Dir, Pending, Worker},
};
use crate::index::{image, rows::Row};
use crate::repo::ingest::IngestError;
use crate::sys::{
    meta, read,
    stat::{self, Stat},
};
use crate::types::{attr::Kind, path};
use std::{
    ffi::OsStr,
    io,
    os::{
        fd::AsFd,
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    path::PathBuf,
    sync::Arc,
};

/// What every database begins with.
pub(super) const HEADER: &[u8] = b"SQLite format 3\0";
/// The smallest page: every database is a number of them.
const PAGE: u64 = 512;
/// What stands beside a database.
const SIDES: [&[u8]; 3] = [b"-wal", b"-shm", b"-journal"];
/// The byte of the header that says how it is written, and its value for WAL.
const WRITE_VERSION: (usize, u8) = (18, 2);

/// Why a database is not taken by an image.
type NoImage = String;

const CUT: &str = "its size is no whole number of pages: it was cut short, or other bytes were added to it";

/// The name of the database that a file with this name would stand beside.
pub(super) fn base_of(name: &[u8]) -> Option<&[u8]> {
    SIDES.iter().find_map(|side| name.strip_suffix(*side)).filter(|base| !base.is_empty())
}

fn may_be(stat: &Stat) -> bool {
    stat.kind() == Some(Kind::File) && stat.size >= PAGE && stat.size.is_multiple_of(PAGE)
}

/// The times of a database with that of its `-wal`, if that has anything in it. The change time of the `-wal` is no matter:
/// SQLite sets its owner whenever root opens it.
fn with_wal(dir: impl AsFd, name: &[u8], mut stat: Stat) -> (Stat, bool) {
    match stat::at(dir, &[name, b"-wal"].concat()) {
        Ok(wal) if wal.kind() == Some(Kind::File) && wal.size > 0 => {
            stat.mtime = stat.mtime.max(wal.mtime);
            stat.ctime = stat.ctime.max(wal.mtime);
            (stat, true)
        }
        _ => (stat, false),
    }
}

/// What counts for a comparison with `row`: of a file that may be a database, the times with its `-wal`, and where they are as
/// they were, the size of its image.
pub fn seen_as(dir: impl AsFd, name: &[u8], stat: Stat, row: &Row) -> Stat {
    if !may_be(&stat) {
        return stat;
    }
    let (mut now, _) = with_wal(dir, name, stat);
    if row.seen == Some(now.ctime) && row.attr.mtime == now.mtime {
        now.size = row.attr.size;
    }
    now
}

impl Worker<'_> {
    /// What counts for a comparison, as [`seen_as`] has it.
    pub(super) fn seen_as(&self, dir: &Dir, name: &[u8], stat: Stat, row: Option<&Row>) -> Stat {
        match row.filter(|_| self.shared.scope.has_databases()) {
            Some(row) => seen_as(&dir.fd, name, stat, row),
            None => stat,
        }
    }

    /// Whether a file is part of a database beside it, with which it is captured.
    pub(super) fn is_beside_database(&self, dir: &Dir, name: &[u8]) -> bool {
        let Some(base) = base_of(name) else { return false };
        let Ok(stat) = stat::at(&dir.fd, base) else { return false };
        let rel = path::join(&dir.rel, base);
        self.shared.scope.has_databases()
            && !self.shared.scope.is_excluded(&rel, false)
            && self.header(dir, base, &stat).is_some()
    }

    /// The beginning of a file, if it is to be captured as a database.
    fn header(&self, dir: &Dir, name: &[u8], stat: &Stat) -> Option<[u8; 100]> {
        if !may_be(stat) {
            return None;
        }
        let named = self.shared.scope.is_named_database(&path::join(&dir.rel, name));
        let _held = exclusive::hold(stat.place);
        let mut head = [0; 100];
        let fd = read::open(&dir.fd, name).ok()?;
        let cache = read::CacheGuard::look(&fd, stat.size);
        let n = read::read_at(&fd, &mut head, 0);
        cache.finish(&fd);
        let n = n.ok()?;
        let is = n == head.len() && (head.starts_with(HEADER) && self.shared.scope.finds_databases() || named);
        is.then_some(head)
    }

    /// Reads a file: as an image where it is a database, and as its bytes otherwise.
    pub(super) fn copy(&mut self, dir: &Arc<Dir>, name: &[u8], stat: &Stat) -> Result<Copied, CopyError> {
        let shared = self.shared;
        let plain =
            |worker: &mut Self| Ok(copy::copy(&dir.fd, name, stat, &mut worker.ingest, &|bytes| shared.admit(bytes))?);
        if !self.shared.scope.has_databases() {
            return plain(self);
        }
        if !may_be(stat) {
            let copied = plain(self)?;
            return match copied.database && self.is_to_be_database(dir, name) {
                true => self.as_it_stands(dir, name, copied, CUT.to_owned()),
                false => Ok(copied),
            };
        }
        let Some(head) = self.header(dir, name, stat) else { return plain(self) };
        // Nobody has it open for writing, or the WAL would be there: its bytes are whole, if they hold still.
        let at_rest = || {
            let beside = |side: &[u8]| stat::at(&dir.fd, &[name, side].concat()).is_ok_and(|s| s.size > 0);
            head[WRITE_VERSION.0] == WRITE_VERSION.1 && !beside(b"-wal") && !beside(b"-journal")
        };
        if at_rest() {
            let copied = plain(self)?;
            let opened = self.opened(dir, name, stat);
            if copied.fuzzy.is_none() && at_rest() {
                if let Err(why) = opened {
                    return self.as_it_stands(dir, name, copied, why);
                }
                self.leave_out_sides(dir, name)?;
                return Ok(copied);
            }
        }
        match self.copy_image(dir, name, stat)? {
            Ok(copied) => {
                self.leave_out_sides(dir, name)?;
                Ok(copied)
            }
            Err(why) => {
                let copied = plain(self)?;
                self.as_it_stands(dir, name, copied, why)
            }
        }
    }

    /// A database of which there is no image, as its bytes were read, with what lies beside it.
    fn as_it_stands(&mut self, dir: &Arc<Dir>, name: &[u8], copied: Copied, why: NoImage) -> Result<Copied, CopyError> {
        self.read_sides(dir, name)?;
        let why = format!("there is no image of this SQLite database: {why}; its bytes are captured as they are");
        // Where it did not even hold still, it is read again.
        let racy = copied.racy || copied.fuzzy.is_some();
        Ok(Copied { fuzzy: Some(Fuzzy::NoImage(why)), racy, ..copied })
    }

    /// Whether a file that begins as a database is to be captured as one.
    fn is_to_be_database(&self, dir: &Dir, name: &[u8]) -> bool {
        let scope = &self.shared.scope;
        scope.finds_databases() || scope.is_named_database(&path::join(&dir.rel, name))
    }

    /// Whether SQLite can open a database that nobody writes to.
    fn opened(&self, dir: &Dir, name: &[u8], seen: &Stat) -> Result<(), NoImage> {
        let full = path::join(self.shared.root_path, &path::join(&dir.rel, name));
        let _held = exclusive::hold(seen.place);
        image::look(std::path::Path::new(OsStr::from_bytes(&full))).map_err(|e| e.to_string())
    }

    fn copy_image(&mut self, dir: &Dir, name: &[u8], seen: &Stat) -> Result<Result<Copied, NoImage>, CopyError> {
        let full = path::join(self.shared.root_path, &path::join(&dir.rel, name));
        let from = PathBuf::from(OsStr::from_bytes(&full));
        let _held = exclusive::hold(seen.place);
        let is_it =
            || std::fs::symlink_metadata(&from).is_ok_and(|m| (m.dev(), m.ino()) == (seen.place.dev, seen.place.ino));
        let prefix = image_prefix(self.shared.source.0);
        let temp = tempfile::Builder::new().prefix(&prefix).tempdir_in(self.shared.state)?;
        let to = temp.path().join("image");
        // Looked at before: what is committed after that has a later time, and is captured next time at the latest.
        let fd = read::open(&dir.fd, name)?;
        let (now, _) = with_wal(&dir.fd, name, stat::of(&fd)?);
        if now.place != seen.place {
            return Err(io::Error::from(io::ErrorKind::NotFound).into());
        }
        let (xattrs, flags) = (meta::xattrs(&fd)?, meta::flags(&fd)?);
        drop(fd);
        if !is_it() {
            return Ok(Err("another file stands at its path".into()));
        }
        let racy = copy::is_racy(&now);
        if let Err(e) = image::image(&from, &to) {
            return Ok(Err(e.to_string()));
        }
        if !is_it() {
            return Ok(Err("it was replaced while it was read".into()));
        }
        if let Err(e) = image::look(&to) {
            return Ok(Err(e.to_string()));
        }
        let shared = self.shared;
        let admit = |bytes| shared.admit(bytes);
        Ok(Ok(copy::copy_other(&to, &now, racy, (xattrs, flags), &mut self.ingest, &admit)?))
    }

    /// Ends what was captured of the files beside a database.
    fn leave_out_sides(&mut self, dir: &Dir, name: &[u8]) -> Result<(), CaptureError> {
        for side in SIDES {
            let side = [name, side].concat();
            let row = self.ingest.index().child(self.shared.source, dir.node, &side, self.shared.head)?;
            self.gone(dir, &side, row)?;
        }
        Ok(())
    }

    /// Captures the files beside a database as any others: with its bytes they are all that there is.
    fn read_sides(&mut self, dir: &Arc<Dir>, name: &[u8]) -> Result<(), CaptureError> {
        for side in SIDES {
            let side = [name, side].concat();
            let row = self.ingest.index().child(self.shared.source, dir.node, &side, self.shared.head)?;
            let (mut files, mut dirs): (Vec<Pending>, _) = (Vec::new(), Vec::new());
            self.visit_itself(dir, &side, row, false, (&mut files, &mut dirs))?;
            for pending in files {
                self.read(dir, pending)?;
            }
        }
        Ok(())
    }
}

/// What the directories of images of a source are called, in the state directory.
fn image_prefix(source: u16) -> String {
    format!("image-{source}-")
}

/// Removes the images that a process which ended has left; only the writer of the source may call it.
pub(super) fn remove_left_over(state: &std::path::Path, source: u16) -> io::Result<()> {
    let prefix = image_prefix(source);
    for entry in std::fs::read_dir(state)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes()) {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Why a file was not read.
pub(super) enum CopyError {
    /// It can't be read.
    Read(io::Error),
    /// The capture can't go on.
    Capture(CaptureError),
}

impl From<io::Error> for CopyError {
    fn from(e: io::Error) -> CopyError {
        CopyError::Read(e)
    }
}

impl From<CaptureError> for CopyError {
    fn from(e: CaptureError) -> CopyError {
        CopyError::Capture(e)
    }
}

impl From<IngestError> for CopyError {
    fn from(e: IngestError) -> CopyError {
        match e {
            IngestError::Read(e) => CopyError::Read(e),
            IngestError::Repo(e) => CopyError::Capture(e.into()),
        }
    }
}
