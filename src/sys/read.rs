//! Reading files without leaving a trace: no access time, holes skipped, page cache left as found.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use rustix::fs::{Advice, Mode, OFlags, SeekFrom};
use rustix::io::Errno;

use crate::sys::resident::cached_pages;
use crate::sys::stat::Stat;

const READ: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC).union(OFlags::NOCTTY);

/// Opens the file called `name` in `dir` for reading. Never follows a link (`ELOOP`), never waits for a writer of a
/// fifo, and leaves the access time alone where the process may. Look at the type with `stat` first, and again at what
/// was opened: a device must not be opened for its content.
pub fn open(dir: impl AsFd, name: &[u8]) -> io::Result<OwnedFd> {
    match rustix::fs::openat(&dir, name, READ | OFlags::NOATIME, Mode::empty()) {
        // Only the owner and the privileged may ask for it.
        Err(Errno::PERM) => Ok(rustix::fs::openat(&dir, name, READ, Mode::empty())?),
        other => Ok(other?),
    }
}

/// Opens a regular file for reading, and gives its size; a link to one is followed. What is anything else, such as a fifo, is an
/// error that says what it is, and is neither waited for nor opened as a device.
pub fn open_regular(path: &Path) -> io::Result<(File, u64)> {
    only_regular(&std::fs::metadata(path)?)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let meta = file.metadata()?;
    only_regular(&meta)?;
    Ok((file, meta.len()))
}

fn only_regular(meta: &Metadata) -> io::Result<()> {
    let kind = meta.file_type();
    let what = match () {
        () if kind.is_file() => return Ok(()),
        () if kind.is_dir() => "a directory",
        () if kind.is_fifo() => "a named pipe",
        () if kind.is_socket() => "a socket",
        () => "a device",
    };
    Err(io::Error::other(format!("it is {what}, and no regular file")))
}

/// Fills `buf` from `offset` on, as far as the file goes; the count is short only at its end.
pub fn read_at(fd: impl AsFd, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        match rustix::io::pread(&fd, &mut buf[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(done)
}

/// A run of a file that holds data; what lies between two of them reads as zeros.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Where it starts, in bytes.
    pub start: u64,
    /// Where it ends, exclusive; above `start`.
    pub end: u64,
}

/// The data segments of a file, in order, without overlap, up to the size it had in `stat`. Costs a system call or two a
/// segment, whatever the size of the holes. A file system that can't tell gives one segment.
pub struct Segments<'a> {
    fd: BorrowedFd<'a>,
    at: u64,
    size: u64,
    whole: bool,
}

impl<'a> Segments<'a> {
    /// The segments of the file open as `fd`. Moves its file position: read with [`read_at`].
    pub fn new(fd: &'a impl AsFd, stat: &Stat) -> Segments<'a> {
        // One allocated block has no room for a hole; asking would double the cost of a small file.
        let whole = stat.size <= 4096 && stat.blocks > 0;
        Segments { fd: fd.as_fd(), at: 0, size: stat.size, whole }
    }

    fn rest(&mut self) -> Segment {
        let segment = Segment { start: self.at, end: self.size };
        self.at = self.size;
        segment
    }

    fn find(&mut self) -> Result<Option<Segment>, Errno> {
        let start = match rustix::fs::seek(self.fd, SeekFrom::Data(self.at)) {
            Ok(start) => start,
            // Nothing but a hole from here on; or the file has shrunk.
            Err(Errno::NXIO) => return Ok(None),
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Some(self.rest())),
            Err(e) => return Err(e),
        };
        if start >= self.size {
            return Ok(None);
        }
        let end = match rustix::fs::seek(self.fd, SeekFrom::Hole(start)) {
            Ok(end) => end,
            // The file was cut off meanwhile: reading will tell.
            Err(Errno::NXIO) => self.size,
            Err(e) => return Err(e),
        };
        let start = start.max(self.at);
        if end <= start {
            self.at = start;
            return Ok(Some(self.rest()));
        }
        self.at = end.min(self.size);
        Ok(Some(Segment { start, end: self.at }))
    }
}

impl Iterator for Segments<'_> {
    type Item = io::Result<Segment>;

    fn next(&mut self) -> Option<io::Result<Segment>> {
        if self.at >= self.size {
            return None;
        }
        if self.whole {
            return Some(Ok(self.rest()));
        }
        let found = self.find();
        if !matches!(found, Ok(Some(_))) {
            self.at = self.size;
        }
        found.map_err(io::Error::from).transpose()
    }
}

/// Files up to this size are kept or dropped as one.
const ONE_PIECE_BYTES: u64 = 128 << 10;

/// A larger file is looked at in at most this many pieces.
const PIECES: u64 = 512;

/// What of a file was in the page cache before it was read, so that the rest can be dropped afterwards.
#[derive(Debug)]
pub struct CacheGuard {
    /// Ranges that were not cached, in order; the last one may reach beyond the end.
    cold: Vec<Segment>,
}

impl CacheGuard {
    /// Looks, before the first read, at what of the file of `size` bytes is cached: one system call for a file that is
    /// all in the cache or not at all (three before Linux 6.5). A piece that is partly cached counts as cached. Where the
    /// kernel does not tell, as for a file that this process may not write, all counts as cached and nothing is dropped.
    pub fn look(fd: impl AsFd, size: u64) -> CacheGuard {
        let mut cold = Vec::new();
        if size > 0 {
            let piece = (size / PIECES).next_power_of_two().max(ONE_PIECE_BYTES);
            find_cold(fd.as_fd(), Segment { start: 0, end: size.next_multiple_of(piece) }, piece, &mut cold);
        }
        CacheGuard { cold }
    }

    /// Whether nothing has to be dropped.
    pub fn is_warm(&self) -> bool {
        self.cold.is_empty()
    }

    /// Drops what was read below `upto` bytes and was not cached before. Call it now and then on the way through a large
    /// file, and [`CacheGuard::finish`] at its end.
    pub fn release(&mut self, fd: impl AsFd, upto: u64) {
        while let Some(first) = self.cold.first_mut().filter(|first| first.start < upto) {
            drop_pages(fd.as_fd(), Segment { start: first.start, end: first.end.min(upto) });
            // Only whole pages are dropped: the one that `upto` cuts is left for the next call.
            first.start = upto & !4095;
            if upto < first.end {
                break;
            }
            self.cold.remove(0);
        }
    }

    /// Drops all that reading brought in, read-ahead included.
    pub fn finish(self, fd: impl AsFd) {
        for range in self.cold {
            drop_pages(fd.as_fd(), range);
        }
    }
}

fn find_cold(fd: BorrowedFd<'_>, range: Segment, piece: u64, cold: &mut Vec<Segment>) {
    let len = range.end - range.start;
    match cached_pages(fd, range.start, len) {
        Some(0) => match cold.last_mut().filter(|last| last.end == range.start) {
            Some(last) => last.end = range.end,
            None => cold.push(range),
        },
        Some(pages) if len > piece && pages < len / page_bytes() => {
            let middle = range.start + (len / piece).div_ceil(2) * piece;
            find_cold(fd, Segment { start: range.start, end: middle }, piece, cold);
            find_cold(fd, Segment { start: middle, end: range.end }, piece, cold);
        }
        _ => {}
    }
}

fn page_bytes() -> u64 {
    rustix::param::page_size() as u64
}

/// Advice may be ignored, and nothing depends on it: an error here (`ESPIPE`, a file system that has no cache) means
/// that there was nothing to drop.
fn drop_pages(fd: BorrowedFd<'_>, range: Segment) {
    let len = std::num::NonZeroU64::new(range.end - range.start);
    let _ = rustix::fs::fadvise(fd, range.start, len, Advice::DontNeed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{dir, stat};
    use std::io::Write as _;
    use std::os::unix::fs::FileExt;

    fn all(fd: &impl AsFd) -> Vec<(u64, u64)> {
        Segments::new(fd, &stat::of(fd).unwrap()).map(|s| s.unwrap()).map(|s| (s.start, s.end)).collect()
    }

    #[test]
    fn a_sparse_file_of_20_gib_is_its_data_only() {
        let tmp = tempfile::tempdir().unwrap();
        let file = std::fs::File::create_new(tmp.path().join("f")).unwrap();
        file.set_len(20 << 30).unwrap();
        assert_eq!(all(&file), vec![]);
        file.write_all_at(&[1; 4096], 1 << 30).unwrap();
        file.write_all_at(&[1; 8192], 10 << 30).unwrap();
        let want = vec![(1 << 30, (1 << 30) + 4096), (10 << 30, (10 << 30) + 8192)];
        assert_eq!(all(&file), want);
        file.write_all_at(&[1], (20 << 30) - 1).unwrap();
        assert_eq!(all(&file).last(), Some(&((20 << 30) - 4096, 20 << 30)));
    }

    #[test]
    fn small_empty_and_unknowing_files_are_one_segment_or_none() {
        let tmp = tempfile::tempdir().unwrap();
        let file = std::fs::File::create_new(tmp.path().join("f")).unwrap();
        assert_eq!(all(&file), vec![]);
        file.write_all_at(&[1; 100], 0).unwrap();
        assert_eq!(all(&file), vec![(0, 100)]);
        file.set_len(4096).unwrap();
        assert_eq!(all(&file), vec![(0, 4096)]);
        let mut was = stat::of(&file).unwrap();
        was.size = 1 << 20;
        was.blocks = 8;
        file.set_len(0).unwrap();
        assert_eq!(Segments::new(&file, &was).count(), 0, "a file that has shrunk");
    }

    #[test]
    fn a_fifo_does_not_block_and_a_link_is_refused() {
        let tmp = tempfile::tempdir().unwrap();
        let fd = dir::open(tmp.path()).unwrap();
        rustix::fs::mknodat(&fd, "fifo", rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
        std::os::unix::fs::symlink("fifo", tmp.path().join("link")).unwrap();
        open(&fd, b"fifo").unwrap();
        assert_eq!(open(&fd, b"link").unwrap_err().raw_os_error(), Some(libc::ELOOP));
    }

    #[test]
    fn reading_leaves_the_access_time_alone() {
        let tmp = tempfile::tempdir().unwrap();
        std::fs::File::create(tmp.path().join("f")).unwrap().write_all(b"content").unwrap();
        let fd = dir::open(tmp.path()).unwrap();
        let times = rustix::fs::Timestamps {
            last_access: rustix::fs::Timespec { tv_sec: 1, tv_nsec: 0 },
            last_modification: rustix::fs::Timespec { tv_sec: 2, tv_nsec: 0 },
        };
        rustix::fs::utimensat(&fd, "f", &times, rustix::fs::AtFlags::empty()).unwrap();
        let file = open(&fd, b"f").unwrap();
        let mut buf = [0; 20];
        assert_eq!(read_at(&file, &mut buf, 0).unwrap(), 7);
        assert_eq!(read_at(&file, &mut buf, 7).unwrap(), 0);
        assert_eq!(rustix::fs::fstat(&file).unwrap().st_atime, 1);
    }

    /// A file of `size` bytes on a disk, none of it cached; `None` where the kernel does not tell.
    fn cold_file(tmp: &std::path::Path, size: u64) -> Option<std::fs::File> {
        let path = tmp.join("cold");
        let mut file = std::fs::File::create(&path).unwrap();
        file.write_all(&vec![5; size as usize]).unwrap();
        file.sync_all().unwrap();
        drop_pages(file.as_fd(), Segment { start: 0, end: size.next_multiple_of(4096) });
        (cached_pages(file.as_fd(), 0, size) == Some(0)).then(|| std::fs::File::open(path).unwrap())
    }

    #[test]
    fn what_was_not_cached_is_not_cached_afterwards() {
        let tmp = tempfile::tempdir().unwrap();
        for size in [10_000, 128 << 10, 5_000_000] {
            let Some(file) = cold_file(tmp.path(), size) else { return };
            let mut guard = CacheGuard::look(&file, size);
            assert!(!guard.is_warm());
            let mut buf = vec![0; size as usize];
            read_at(&file, &mut buf[..size as usize / 2], 0).unwrap();
            guard.release(&file, size / 2);
            read_at(&file, &mut buf, size / 2).unwrap();
            assert!(cached_pages(file.as_fd(), 0, size).unwrap() > 0);
            guard.finish(&file);
            assert_eq!(cached_pages(file.as_fd(), 0, size), Some(0), "{size}");
        }
    }

    #[test]
    fn what_was_cached_stays_cached() {
        let tmp = tempfile::tempdir().unwrap();
        let size = 8 << 20;
        let Some(file) = cold_file(tmp.path(), size) else { return };
        rustix::fs::fadvise(&file, 0, None, Advice::Random).unwrap();
        let mut buf = vec![0; size as usize];
        read_at(&file, &mut buf[..1 << 20], 2 << 20).unwrap();
        let before = cached_pages(file.as_fd(), 0, size).unwrap();
        assert!((256..512).contains(&before));
        let mut guard = CacheGuard::look(&file, size);
        for part in 0..8 {
            read_at(&file, &mut buf[..1 << 20], part << 20).unwrap();
            guard.release(&file, (part + 1) << 20);
        }
        guard.finish(&file);
        assert_eq!(cached_pages(file.as_fd(), 0, size), Some(before));
        assert_eq!(cached_pages(file.as_fd(), 2 << 20, 1 << 20), Some(256));
        read_at(&file, &mut buf, 0).unwrap();
        assert!(CacheGuard::look(&file, size).is_warm());
    }
}
