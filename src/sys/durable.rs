//! Files that are whole or not there, and stay there: written beside, synced, renamed, and the directory synced.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::sys::clear;
use crate::sys::dir;
use crate::sys::make::{self, Taken};
use crate::types::path::show;

/// Files from this length on are not copied into the page cache: they are synced at once, and read again, if ever, much later.
const LARGE_BYTES: usize = 1 << 20;

/// Why a file could not be written, removed or locked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// [`write_new`] found the name taken, and changed nothing.
    #[error("{} exists already and was left as it is", shown(path))]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The path has no last component: `/`, or one that ends in `..`.
    #[error("{} can't be the name of a file", shown(path))]
    NoName {
        /// The path.
        path: PathBuf,
    },
    /// The file system said no.
    #[error("can't {doing} {}: {source}", shown(path))]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl Error {
    /// The kind of the cause, so that a full disk or a missing directory can be told.
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Error::Exists { .. } => io::ErrorKind::AlreadyExists,
            Error::NoName { .. } => io::ErrorKind::InvalidInput,
            Error::Io { source, .. } => source.kind(),
        }
    }
}

impl From<Error> for io::Error {
    fn from(e: Error) -> io::Error {
        io::Error::new(e.kind(), e)
    }
}

type Result<T> = std::result::Result<T, Error>;

fn shown(path: &Path) -> String {
    show(path.as_os_str().as_bytes())
}

fn cant(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { doing, path: path.to_owned(), source }
}

/// Writes a file that must not exist yet ([`Error::Exists`]), with permission bits `mode`. When it returns, the file and its
/// name are on the disk; until then nobody sees the name. A crash leaves at most a file that starts with
/// [`make::TEMP_PREFIX`]. Two writers of one name: exactly one wins.
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    write(path, bytes, mode, Taken::Refuse)
}

/// Writes a file whether or not it exists; whoever reads the name sees all of the old or all of the new content, also
/// after a crash. What is no file, such as `/dev/null`, is not replaced by one.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    if path.symlink_metadata().is_ok_and(|meta| !meta.is_file() && !meta.is_symlink()) {
        let source = io::Error::new(io::ErrorKind::InvalidInput, "it is there already, and no regular file");
        return Err(cant("replace", path)(source));
    }
    write(path, bytes, mode, Taken::Replace)
}

fn write(path: &Path, bytes: &[u8], mode: u32, taken: Taken) -> Result<()> {
    let (dir, name) = parent(path)?;
    let (temp, fd) = make::with_temp_name(|temp| make::file(&dir, temp)).map_err(cant("create a file beside", path))?;
    let written = fill(fd, bytes, mode).map_err(cant("write", path)).and_then(|()| {
        match make::rename(&dir, &temp, &dir, name, taken) {
            Err(e) if taken == Taken::Refuse && e.kind() == io::ErrorKind::AlreadyExists => {
                Err(Error::Exists { path: path.to_owned() })
            }
            other => other.map_err(cant("put in place", path)),
        }
    });
    if written.is_err() {
        // The error to report is the first one; a temporary file left behind is known by its name.
        let _ = make::unlink(&dir, &temp);
    }
    written?;
    make::sync(&dir).map_err(cant("sync the directory of", path))
}

fn fill(fd: OwnedFd, bytes: &[u8], mode: u32) -> io::Result<()> {
    match bytes.len() >= LARGE_BYTES {
        true => make::write_around_cache(&fd, bytes)?,
        false => make::write_at(&fd, bytes, 0)?,
    }
    rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode & 0o7777))?;
    make::sync(&fd)
}

/// Makes a symbolic link that must not exist yet ([`Error::Exists`]). When it returns, it is on the disk.
pub fn link_new(path: &Path, target: &Path) -> Result<()> {
    let (dir, name) = parent(path)?;
    match make::symlink(&dir, name, target.as_os_str().as_bytes()) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Err(Error::Exists { path: path.to_owned() }),
        other => other.map_err(cant("create the link", path))?,
    }
    make::sync(&dir).map_err(cant("sync the directory of", path))
}

/// The directory of `path`, open, and the last component.
fn parent(path: &Path) -> Result<(OwnedFd, &[u8])> {
    let name = path.file_name().ok_or_else(|| Error::NoName { path: path.to_owned() })?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((dir::open_root(dir).map_err(cant("open the directory", dir))?, name.as_bytes()))
}

/// Gives a file or a directory another name, which nothing else may have, durably.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    let ((from_dir, from_name), (to_dir, to_name)) = (parent(from)?, parent(to)?);
    make::rename(&from_dir, from_name, &to_dir, to_name, Taken::Refuse).map_err(cant("put in place", to))?;
    make::sync(&to_dir).map_err(cant("sync the directory of", to))?;
    make::sync(&from_dir).map_err(cant("sync the directory of", from))
}

/// Makes the content of a file durable that somebody else has written.
pub fn sync_file(path: &Path) -> Result<()> {
    File::open(path).and_then(|file| file.sync_all()).map_err(cant("sync", path))
}

/// Makes the names in a directory durable.
pub fn sync_dir(path: &Path) -> Result<()> {
    dir::open_root(path).and_then(make::sync).map_err(cant("sync the directory", path))
}

/// Creates a directory and those above it that are missing, each with permission bits `mode` less the umask, and makes their
/// names durable. One that exists already is fine.
pub fn create_dirs(path: &Path, mode: u32) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
        create_dirs(above, mode)?;
    }
    let (dir, name) = parent(path)?;
    match rustix::fs::mkdirat(&dir, name, Mode::from_raw_mode(mode & 0o7777)) {
        // Another process may have been faster.
        Err(Errno::EXIST) if path.is_dir() => {}
        other => other.map_err(io::Error::from).map_err(cant("create the directory", path))?,
    }
    make::sync(&dir).map_err(cant("sync the directory of", path))
}

/// Removes a file's name, durably. Whether it was there.
pub fn remove(path: &Path) -> Result<bool> {
    let (dir, name) = parent(path)?;
    match make::unlink(&dir, name) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other.map_err(cant("remove", path))?,
    }
    make::sync(&dir).map_err(cant("sync the directory of", path))?;
    Ok(true)
}

/// Removes what `path` names with all that is in it; symbolic links are not followed, and mounts not crossed. What is protected
/// (`chattr +a` and `+i`) is unprotected, by whoever may do that. Whether it was there.
pub fn remove_tree(path: &Path) -> Result<bool> {
    let (dir, name) = match parent(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    clear::remove(&dir, name).map_err(cant("remove", path))
}

/// Holds a lock until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct LockGuard {
    _file: File,
}

/// Takes the exclusive lock on the file `path`, created empty with mode 0600 if missing and never removed. `None` if another
/// holds it, in this process or any other on this machine. On some network file systems it holds on one machine only.
pub fn lock_file(path: &Path) -> Result<Option<LockGuard>> {
    lock(path, FlockOperation::NonBlockingLockExclusive)
}

/// The same, but shared: any number of holders at a time, and none beside one of [`lock_file`].
pub fn lock_shared(path: &Path) -> Result<Option<LockGuard>> {
    lock(path, FlockOperation::NonBlockingLockShared)
}

/// The same as [`lock_file`], but waits until nobody holds it.
pub fn lock_wait(path: &Path) -> Result<LockGuard> {
    loop {
        match lock(path, FlockOperation::LockExclusive) {
            Ok(Some(guard)) => return Ok(guard),
            Ok(None) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

fn lock(path: &Path, how: FlockOperation) -> Result<Option<LockGuard>> {
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)
        .map_err(io::Error::from)
        .map_err(cant("open the lock file", path))?;
    match rustix::fs::flock(fd.as_fd(), how) {
        Ok(()) => Ok(Some(LockGuard { _file: File::from(fd) })),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(e) => Err(cant("lock", path)(e.into())),
    }
}

/// The process that holds the exclusive lock on the file `path`, without trying to take it. `None` if none does, or if the file is
/// not there; 0 for a process that this one cannot see. The kernel tells files apart by inode number here, so a file of
/// another file system may, rarely, be taken for this one.
pub fn lock_holder(path: &Path) -> io::Result<Option<u32>> {
    Ok(holders(path, &["WRITE"])?.first().copied())
}

/// The processes that hold a lock on the file `path`, shared or not, as [`lock_holder`] tells of one.
pub fn lock_holders(path: &Path) -> io::Result<Vec<u32>> {
    holders(path, &["WRITE", "READ"])
}

fn holders(path: &Path, modes: &[&str]) -> io::Result<Vec<u32>> {
    let inode = match std::fs::metadata(path) {
        Ok(meta) => meta.ino().to_string(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    // 1: FLOCK  ADVISORY  WRITE 1234 fe:01:5678 0 EOF
    let holder = |line: &str| -> Option<u32> {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (kind, _, mode) = (words.next()?, words.next()?, words.next()?);
        let (pid, file) = (words.next()?, words.next()?);
        (kind == "FLOCK" && modes.contains(&mode) && file.rsplit(':').next()? == inode)
            .then(|| pid.parse().unwrap_or(0))
    };
    let mut found = Vec::new();
    for _ in 0..TABLE_TRIES {
        let table = std::fs::read_to_string("/proc/locks")?;
        found = table.lines().filter_map(holder).collect();
        if !found.is_empty() || table.len() < TABLE_WHOLE {
            break;
        }
    }
    Ok(found)
}

/// The kernel gives the table of locks in pieces of at most a page, and a lock that is freed between two of them may hide another
/// one: what was not found in a longer table is looked for so often.
const TABLE_TRIES: usize = 8;
/// A table that is shorter than this came in one piece, in bytes.
const TABLE_WHOLE: usize = 4000;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn only(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_new_file_is_never_overwritten_and_a_replaced_one_always_is() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("f");
        write_new(&path, b"one", 0o640).unwrap();
        let e = write_new(&path, b"two", 0o600).unwrap_err();
        assert!(matches!(&e, Error::Exists { .. }), "{e}");
        assert_eq!(io::Error::from(e).kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o640);
        replace(&path, b"three", 0o444).unwrap();
        replace(&path, b"four", 0o400).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"four");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o400);
        assert_eq!(only(tmp.path()), ["f"], "no temporary file is left");
        assert!(remove(&path).unwrap());
        assert!(!remove(&path).unwrap());
        assert_eq!(only(tmp.path()), [""; 0]);
    }

    #[test]
    fn of_many_writers_of_one_name_one_wins() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("f");
        let won: Vec<u8> = std::thread::scope(|scope| {
            let tasks: Vec<_> = (0..8_u8)
                .map(|n| {
                    let path = &path;
                    scope.spawn(move || write_new(path, &[n; 5000], 0o600).ok().map(|()| n))
                })
                .collect();
            tasks.into_iter().filter_map(|task| task.join().unwrap()).collect()
        });
        assert_eq!(won.len(), 1);
        assert_eq!(std::fs::read(&path).unwrap(), [won[0]; 5000]);
        assert_eq!(only(tmp.path()), ["f"]);
    }

    #[test]
    fn a_tree_goes_with_what_is_protected_in_it() {
        let tmp = tempfile::tempdir().unwrap();
        let (tree, outside) = (tmp.path().join("tree"), tmp.path().join("outside"));
        create_dirs(&tree.join("a/b"), 0o700).unwrap();
        for path in [tree.join("a/b/c"), tree.join("d"), outside.clone()] {
            replace(&path, b"x", 0o600).unwrap();
        }
        std::os::unix::fs::symlink(&outside, tree.join("a/link")).unwrap();
        let set = |flag, path: &Path| {
            std::process::Command::new("chattr").args([flag]).arg(path).status().is_ok_and(|s| s.success())
        };
        if !(set("+i", &tree.join("a/b/c")) && set("+a", &tree.join("d")) && set("+a", &tree.join("a"))) {
            eprintln!("not tested with protected files: nobody may protect them here");
        }
        assert!(remove_tree(&tree).unwrap());
        assert!(!remove_tree(&tree).unwrap());
        assert!(!remove_tree(&tree.join("x")).unwrap());
        assert_eq!(only(tmp.path()), ["outside"]);
    }

    #[test]
    fn what_is_no_file_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let e = replace(&path, b"x", 0o600).unwrap_err();
        assert!(e.to_string().contains("no regular file"), "{e}");
        assert!(!path.symlink_metadata().unwrap().is_file());
    }

    #[test]
    fn errors_name_the_path_and_leave_nothing() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("missing/f");
        let e = write_new(&path, b"", 0o600).unwrap_err();
        assert_eq!(e.kind(), io::ErrorKind::NotFound);
        assert!(e.to_string().contains("missing"), "{e}");
        std::fs::create_dir(tmp.path().join("d")).unwrap();
        assert!(replace(&tmp.path().join("d"), b"", 0o600).is_err());
        assert!(matches!(write_new(Path::new("/"), b"", 0o600), Err(Error::NoName { .. })));
        assert_eq!(only(tmp.path()), ["d"]);
    }

    #[test]
    fn directories_are_created_with_those_above() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("a/b/c");
        create_dirs(&path, 0o700).unwrap();
        create_dirs(&path, 0o700).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o700);
        sync_dir(&path).unwrap();
        write_new(&path.join("f"), b"", 0o600).unwrap();
        assert!(create_dirs(&path.join("f/g"), 0o700).is_err());
    }

    #[test]
    fn what_was_written_survives_a_loss_of_power() {
        for kind in ["ext4", "xfs"] {
            let Some(fs) = crate::sys::testfs::TestFs::mount(kind) else { continue };
            if !Path::new("/usr/sbin/xfs_io").exists() {
                eprintln!("not tested on {kind}: xfs_io is missing");
                continue;
            }
            let path = |name: &str| fs.path().join(name);
            replace(&path("replaced"), b"old", 0o600).unwrap();
            replace(&path("replaced"), &[2; 100_000], 0o600).unwrap();
            write_new(&path("removed"), b"", 0o600).unwrap();
            assert!(remove(&path("removed")).unwrap());
            create_dirs(&path("a/b"), 0o700).unwrap();
            write_new(&path("a/b/new"), &[1; 100_000], 0o640).unwrap();
            let mut unsynced = File::create(path("unsynced")).unwrap();
            io::Write::write_all(&mut unsynced, &[3; 100_000]).unwrap();
            drop(unsynced);
            fs.lose_power();
            assert_eq!(std::fs::read(path("replaced")).unwrap(), [2; 100_000], "{kind}");
            assert_eq!(std::fs::read(path("a/b/new")).unwrap(), [1; 100_000], "{kind}");
            assert_eq!(path("a/b/new").metadata().unwrap().permissions().mode() & 0o7777, 0o640);
            assert!(!path("removed").exists(), "{kind}");
            assert_eq!(only(&path("a/b")), ["new"]);
            assert_ne!(std::fs::read(path("unsynced")).unwrap_or_default(), [3; 100_000], "the power was not cut");
        }
    }

    #[test]
    fn a_lock_has_one_holder() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("lock");
        let held = lock_file(&path).unwrap().expect("free");
        assert!(lock_file(&path).unwrap().is_none());
        assert_eq!(lock_holder(&path).unwrap(), Some(std::process::id()));
        drop(held);
        assert_eq!(lock_holder(&path).unwrap(), None);
        assert_eq!(lock_holder(&tmp.path().join("no/lock")).unwrap(), None);
        assert!(lock_file(&path).unwrap().is_some());
        assert!(lock_file(&tmp.path().join("no/lock")).is_err());
    }

    #[test]
    fn a_shared_lock_has_many_holders_and_keeps_the_exclusive_one_out() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("lock");
        let (one, two) = (lock_shared(&path).unwrap().expect("free"), lock_shared(&path).unwrap().expect("shared"));
        assert!(lock_file(&path).unwrap().is_none());
        assert_eq!(lock_holders(&path).unwrap(), [std::process::id(); 2]);
        assert_eq!(lock_holder(&path).unwrap(), None, "nobody has it alone");
        drop((one, two));
        let held = lock_file(&path).unwrap().expect("free again");
        assert!(lock_shared(&path).unwrap().is_none());
        drop(held);
        assert!(lock_holders(&path).unwrap().is_empty());
    }
}
