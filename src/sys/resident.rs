//! What of a file is in the page cache.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The number of `cachestat`, the same on all machines with the common table.
const SYS_CACHESTAT: libc::c_long = 451;

/// `mincore` is asked about this many pages at once: one byte each.
const WINDOW_PAGES: usize = 4096;

#[repr(C)]
struct CachestatRange {
    off: u64,
    len: u64,
}

#[repr(C)]
#[derive(Default)]
struct Cachestat {
    cache: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// How many pages of the range, which starts at a page, are in the page cache; `None` where the kernel does not say.
pub(in crate::sys) fn cached_pages(fd: BorrowedFd<'_>, off: u64, len: u64) -> Option<u64> {
    match cachestat(fd, off, len) {
        Ok(pages) => Some(pages),
        // Before Linux 6.5, or in a sandbox older than that. A refusal (EPERM) means that mincore would not tell either.
        Err(e) if e.raw_os_error() == Some(libc::ENOSYS) => mincore_all(fd, off, len),
        Err(_) => None,
    }
}

fn cachestat(fd: BorrowedFd<'_>, off: u64, len: u64) -> io::Result<u64> {
    let range = CachestatRange { off, len };
    let mut stat = Cachestat::default();
    // SAFETY: cachestat(fd, range, stat, flags) reads one `cachestat_range` and writes one `cachestat`, both of the
    // layout declared above and alive during the call; an unknown number or a bad descriptor is an error.
    let result = unsafe { libc::syscall(SYS_CACHESTAT, fd.as_raw_fd(), &raw const range, &raw mut stat, 0_u32) };
    if result == 0 { Ok(stat.cache) } else { Err(io::Error::last_os_error()) }
}

fn mincore_all(fd: BorrowedFd<'_>, off: u64, len: u64) -> Option<u64> {
    let window = (WINDOW_PAGES * rustix::param::page_size()) as u64;
    let mut pages = 0;
    let mut at = off;
    while at < off + len {
        let part = window.min(off + len - at);
        pages += mincore(fd, at, part)?;
        at += part;
    }
    Some(pages)
}

/// The same by a mapping, for one window; the mapping can't be read, so a file that shrinks meanwhile does no harm.
fn mincore(fd: BorrowedFd<'_>, off: u64, len: u64) -> Option<u64> {
    let (len, off) = (usize::try_from(len).ok()?, libc::off_t::try_from(off).ok()?);
    let mut resident = [0_u8; WINDOW_PAGES];
    let pages = len.div_ceil(rustix::param::page_size());
    let resident = resident.get_mut(..pages)?;
    // SAFETY: a new mapping at an address of the kernel's choice, without access, and unmapped below with the same length;
    // nothing ever points into it. mincore writes one byte a page of it: `resident` has as many.
    let known = unsafe {
        let map = libc::mmap(std::ptr::null_mut(), len, libc::PROT_NONE, libc::MAP_PRIVATE, fd.as_raw_fd(), off);
        if map == libc::MAP_FAILED {
            return None;
        }
        let known = libc::mincore(map, len, resident.as_mut_ptr());
        libc::munmap(map, len);
        known
    };
    (known == 0).then(|| resident.iter().filter(|page| **page & 1 != 0).count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::fd::AsFd;

    #[test]
    fn both_ways_count_the_same_pages() {
        let mut file = tempfile::tempfile().unwrap();
        if crate::sys::stat::fs_kind(&file).unwrap().is_memory {
            eprintln!("not tested: a file system in memory drops nothing");
            return;
        }
        let size = 40_u64 << 20;
        file.write_all(&vec![1; size as usize]).unwrap();
        file.sync_all().unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Random).unwrap();
        let mut buf = vec![0; 1 << 20];
        for at in [0, 15 << 20, 39 << 20] {
            crate::sys::read::read_at(&file, &mut buf, at).unwrap();
        }
        let fd = file.as_fd();
        let pages = (3 << 20) / rustix::param::page_size() as u64;
        assert_eq!(mincore_all(fd, 0, size), Some(pages));
        assert_eq!(mincore_all(fd, 15 << 20, 2 << 20), Some(pages / 3));
        assert_eq!(mincore_all(fd, 1 << 20, 1000), Some(0));
        if let Ok(by_call) = cachestat(fd, 0, size) {
            assert_eq!(by_call, pages);
        }
        assert_eq!(cached_pages(fd, 0, size), Some(pages));
    }
}
