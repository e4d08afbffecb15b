//! A file of lines that grows: a line is on the disk when it has been written, and a crash leaves whole lines only.

use crate::sys::durable::{self, Error};
use rustix::fs::{Mode, OFlags};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// The largest file that is gone on with, in bytes.
const FILE_MAX: u64 = 64 << 20;

/// The file, open at its end.
#[derive(Debug)]
pub struct Lines {
    path: PathBuf,
    fd: OwnedFd,
    len: u64,
}

impl Lines {
    /// Opens it, and makes it where it is missing (mode 0600, its name durable). What a crash has left of a last line is cut off.
    pub fn open(path: &Path) -> Result<Lines, Error> {
        let cant = |doing, source: io::Error| Error::Io { doing, path: path.to_owned(), source };
        let len = read(path)?.len() as u64;
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR).map_err(|e| cant("open", e.into()))?;
        rustix::fs::ftruncate(&fd, len).map_err(|e| cant("cut", e.into()))?;
        rustix::fs::fsync(&fd).map_err(|e| cant("sync", e.into()))?;
        if let Some(dir) = path.parent() {
            durable::sync_dir(dir)?;
        }
        Ok(Lines { path: path.to_owned(), fd, len })
    }

    /// Writes a line, which has no line break in it. When it returns, the line is on the disk.
    pub fn add(&mut self, line: &str) -> Result<(), Error> {
        let cant = |source: io::Error| Error::Io { doing: "write", path: self.path.clone(), source };
        let bytes = format!("{}\n", line.replace('\n', " "));
        crate::sys::make::write_at(&self.fd, bytes.as_bytes(), self.len).map_err(cant)?;
        rustix::fs::fdatasync(&self.fd).map_err(|e| cant(e.into()))?;
        self.len += bytes.len() as u64;
        Ok(())
    }
}

/// The whole lines of a file, with their line breaks; nothing where it is not there.
pub fn read(path: &Path) -> Result<String, Error> {
    let cant = |source: io::Error| Error::Io { doing: "read", path: path.to_owned(), source };
    let len = match std::fs::metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        other => other.map_err(cant)?.len(),
    };
    if len > FILE_MAX {
        return Err(cant(io::Error::other("it is larger than any such file")));
    }
    let mut bytes = std::fs::read(path).map_err(cant)?;
    bytes.truncate(bytes.iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1));
    String::from_utf8(bytes).map_err(|e| cant(io::Error::new(io::ErrorKind::InvalidData, e)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_stay_and_a_torn_one_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lines");
        let mut lines = Lines::open(&path).unwrap();
        lines.add("one").unwrap();
        lines.add("two\nstill two").unwrap();
        drop(lines);
        let mut torn = std::fs::read(&path).unwrap();
        torn.extend_from_slice(b"thr");
        durable::replace(&path, &torn, 0o600).unwrap();
        assert_eq!(read(&path).unwrap(), "one\ntwo still two\n");
        let mut lines = Lines::open(&path).unwrap();
        lines.add("3").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one\ntwo still two\n3\n");
    }
}
