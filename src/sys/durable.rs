//! Files that survive a crash: written beside, synced, renamed over, and the directory synced.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Writes `bytes` as the file `path` with the permission bits `mode`, replacing what is there. After a crash the file has
/// the old content or the new. It never exists with other permissions than `mode` or, while it is being written, 0600.
pub fn write_file(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let (dir, temp) = prepare(path, bytes, mode)?;
    temp.persist(path).map_err(|e| e.error)?;
    File::open(dir)?.sync_all()
}

/// As [`write_file`], but fails with [`io::ErrorKind::AlreadyExists`] where there is a file already.
pub fn create_file(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let (dir, temp) = prepare(path, bytes, mode)?;
    temp.persist_noclobber(path).map_err(|e| e.error)?;
    File::open(dir)?.sync_all()
}

/// The directory of `path`, and a synced temporary file in it.
fn prepare<'a>(path: &'a Path, bytes: &[u8], mode: u32) -> io::Result<(&'a Path, tempfile::NamedTempFile)> {
    let dir = match path.parent() {
        Some(dir) if dir.as_os_str().is_empty() => Path::new("."),
        Some(dir) => dir,
        None => return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file")),
    };
    let mut temp = tempfile::Builder::new().prefix(".bygone-").tempfile_in(dir)?;
    temp.write_all(bytes)?;
    temp.as_file().set_permissions(std::fs::Permissions::from_mode(mode))?;
    temp.as_file().sync_all()?;
    Ok((dir, temp))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_whole_files_and_leaves_nothing_beside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        write_file(&path, b"long content", 0o644).unwrap();
        write_file(&path, b"new", 0o600).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn create_does_not_replace() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        create_file(&path, b"old", 0o600).unwrap();
        assert_eq!(create_file(&path, b"new", 0o600).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
