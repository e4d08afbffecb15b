//! fanotify and file handles, made safe.
//!
//! One mark covers a whole file system and needs no set-up a directory. Events name a directory by a file handle, which
//! stays right when the directory is renamed; [`open_directory`] turns it into something that has a path.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What is asked of a marked file system: every change of names, contents and attributes, and nothing that only reads.
const CHANGES: u64 = libc::FAN_CREATE
    | libc::FAN_DELETE
    | libc::FAN_RENAME
    | libc::FAN_MODIFY
    | libc::FAN_ATTRIB
    | libc::FAN_CLOSE_WRITE
    | libc::FAN_ONDIR;

/// The fixed part of an event: its length (4), version, reserved, length of this part (2), mask (8), fd (4), pid (4).
const METADATA_BYTES: usize = 24;
/// A record's header, the file system's id, and the handle's length and kind.
const RECORD_BYTES: usize = 4 + 8 + 8;
/// The longest handle the kernel makes.
const HANDLE_MAX_BYTES: usize = 128;

/// A group of marks and its queue of events. The queue is not limited in length: read it at once.
#[derive(Debug)]
pub struct Fanotify {
    fd: OwnedFd,
}

impl Fanotify {
    /// Opens a group that does not block and reports directories by handle, with the entry's name.
    ///
    /// Errors: `EPERM` without CAP_SYS_ADMIN, `EINVAL` or `ENOSYS` from a kernel older than 5.17.
    pub fn new() -> io::Result<Fanotify> {
        let flags = libc::FAN_CLASS_NOTIF
            | libc::FAN_REPORT_DFID_NAME_TARGET
            | libc::FAN_UNLIMITED_QUEUE
            | libc::FAN_UNLIMITED_MARKS
            | libc::FAN_CLOEXEC
            | libc::FAN_NONBLOCK;
        // SAFETY: takes two integers and no memory of ours.
        let fd = unsafe { libc::fanotify_init(flags, (libc::O_RDONLY | libc::O_CLOEXEC) as libc::c_uint) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just given this descriptor to us, and nothing else owns it.
        Ok(Fanotify { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// Marks the whole file system that `path` lies on. The mark does not keep it from being unmounted, and goes with it.
    ///
    /// Errors: `EOPNOTSUPP`, `ENODEV` or `EXDEV` where the file system has no usable handles or is a btrfs subvolume.
    pub fn mark_filesystem(&self, path: &Path) -> io::Result<()> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        let flags = libc::FAN_MARK_ADD | libc::FAN_MARK_FILESYSTEM;
        // SAFETY: `path` is a NUL-terminated string that outlives the call.
        let done = unsafe { libc::fanotify_mark(self.fd.as_raw_fd(), flags, CHANGES, libc::AT_FDCWD, path.as_ptr()) };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Reads whole events into `buffer`; none if the queue is empty. 4 KiB hold at least one event.
    pub fn read<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Events<'a>> {
        let len = match rustix::io::read(&self.fd, &mut *buffer) {
            Ok(len) => len,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => 0,
            Err(error) => return Err(error.into()),
        };
        Ok(Events { rest: buffer.get(..len).unwrap_or_default() })
    }
}

impl AsFd for Fanotify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The events of one read, in the kernel's order.
#[derive(Debug)]
pub struct Events<'a> {
    rest: &'a [u8],
}

impl Events<'_> {
    /// Whether there are no more.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

/// A directory, by file system and handle, and a name in it.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The file system's id (8 bytes) and the handle as the kernel lays it out: one key for the directory, good for as
    /// long as the directory exists.
    pub directory: &'a [u8],
    /// The entry; `.` where the event is about the directory itself.
    pub name: &'a [u8],
}

impl Place<'_> {
    /// The id of the file system, as `statvfs` gives it.
    pub fn fsid(&self) -> u64 {
        fsid_of(self.directory)
    }
}

/// One event. Events of one object are merged by the kernel, so that several bits may be set and their order is unknown.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    mask: u64,
    /// The process that caused it; 0 if unknown.
    pub pid: u32,
    /// Where it happened, unless it is a rename.
    pub at: Option<Place<'a>>,
    /// For a rename, the name before.
    pub old: Option<Place<'a>>,
    /// For a rename, the name after.
    pub new: Option<Place<'a>>,
    /// The object itself, laid out like [`Place::directory`]; it can be opened by [`open_directory`] if it is one.
    pub object: Option<&'a [u8]>,
}

impl Event<'_> {
    /// The queue ran over: events were lost.
    pub fn is_overflow(&self) -> bool {
        self.mask & libc::FAN_Q_OVERFLOW != 0
    }

    /// A name was removed.
    pub fn is_removal(&self) -> bool {
        self.mask & libc::FAN_DELETE != 0
    }

    /// The object is a directory.
    pub fn is_directory(&self) -> bool {
        self.mask & libc::FAN_ONDIR != 0
    }
}

impl<'a> Iterator for Events<'a> {
    type Item = Event<'a>;

    fn next(&mut self) -> Option<Event<'a>> {
        let len = read_u32(self.rest, 0)? as usize;
        let head = read_u16(self.rest, 6)? as usize;
        if head < METADATA_BYTES || len < head || len > self.rest.len() {
            self.rest = &[];
            return None;
        }
        let (bytes, rest) = self.rest.split_at(len);
        self.rest = rest;
        let mask = u64::from_ne_bytes(bytes.get(8..16)?.try_into().ok()?);
        let mut event = Event { mask, pid: read_u32(bytes, 20)?, at: None, old: None, new: None, object: None };
        let mut records = &bytes[head..];
        while let Some((kind, record)) = next_record(&mut records) {
            match kind {
                libc::FAN_EVENT_INFO_TYPE_DFID_NAME | libc::FAN_EVENT_INFO_TYPE_DFID => event.at = place(record),
                libc::FAN_EVENT_INFO_TYPE_OLD_DFID_NAME => event.old = place(record),
                libc::FAN_EVENT_INFO_TYPE_NEW_DFID_NAME => event.new = place(record),
                libc::FAN_EVENT_INFO_TYPE_FID => event.object = place(record).map(|p| p.directory),
                _ => {}
            }
        }
        Some(event)
    }
}

/// Splits the next information record, header included, off `records`.
fn next_record<'a>(records: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let kind = *records.first()?;
    let len = read_u16(records, 2)? as usize;
    if len < 4 || len > records.len() {
        *records = &[];
        return None;
    }
    let (record, rest) = records.split_at(len);
    *records = rest;
    Some((kind, record))
}

/// The directory and name of a record; a record without a name is about the directory itself.
fn place(record: &[u8]) -> Option<Place<'_>> {
    let handle = read_u32(record, 12)? as usize;
    let end = RECORD_BYTES.checked_add(handle)?;
    let directory = record.get(4..end)?;
    let name = record.get(end..)?.split(|b| *b == 0).next()?;
    Some(Place { directory, name: if name.is_empty() { b"." } else { name } })
}

fn fsid_of(directory: &[u8]) -> u64 {
    let low = read_u32(directory, 0).unwrap_or(0);
    let high = read_u32(directory, 4).unwrap_or(0);
    u64::from(low) | u64::from(high) << 32
}

fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Whether the file system of `directory` gives handles that can be opened again, and this process may.
///
/// Errors: `EOPNOTSUPP` without such handles; `EPERM` without CAP_DAC_READ_SEARCH.
pub fn check_handles(directory: &Path) -> io::Result<()> {
    let path = CString::new(directory.as_os_str().as_bytes())?;
    let mut handle = [0u64; (8 + HANDLE_MAX_BYTES) / 8];
    handle[0] = u64::from_ne_bytes(int_pair(HANDLE_MAX_BYTES as u32, 0));
    let mut mount_id: libc::c_int = 0;
    // SAFETY: `path` is NUL-terminated; `handle` has room for the header and the length written in it; `mount_id` is an
    // int. All outlive the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            libc::AT_FDCWD,
            path.as_ptr(),
            handle.as_mut_ptr(),
            &raw mut mount_id,
            0,
        )
    };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut key = vec![0; 8];
    key.extend(handle.iter().flat_map(|word| word.to_ne_bytes()));
    key.truncate(16 + read_u32(&key, 8).unwrap_or(0) as usize);
    let mount = std::fs::File::open(directory)?;
    open_directory(mount.as_fd(), &key).map(drop)
}

fn int_pair(first: u32, second: u32) -> [u8; 8] {
    let mut out = [0; 8];
    out[..4].copy_from_slice(&first.to_ne_bytes());
    out[4..].copy_from_slice(&second.to_ne_bytes());
    out
}

/// Opens (`O_PATH`) the directory that [`Place::directory`] names, seen through the mount that `mount` is open on.
///
/// Errors: `ESTALE` when the directory no longer exists; `EPERM` without CAP_DAC_READ_SEARCH.
pub fn open_directory(mount: BorrowedFd<'_>, directory: &[u8]) -> io::Result<OwnedFd> {
    open_handle(mount, directory, libc::O_DIRECTORY)
}

/// Opens (`O_PATH`) what [`Event::object`] names, as [`open_directory`] does for directories.
pub fn open_object(mount: BorrowedFd<'_>, object: &[u8]) -> io::Result<OwnedFd> {
    open_handle(mount, object, 0)
}

fn open_handle(mount: BorrowedFd<'_>, key: &[u8], flags: libc::c_int) -> io::Result<OwnedFd> {
    let handle = key.get(8..).unwrap_or_default();
    let len = read_u32(handle, 0).ok_or(io::ErrorKind::InvalidInput)? as usize;
    if len > HANDLE_MAX_BYTES || handle.len() != 8 + len {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // The kernel wants the handle aligned as its two integers are.
    let mut aligned = [0u64; (8 + HANDLE_MAX_BYTES) / 8];
    for (word, bytes) in aligned.iter_mut().zip(handle.chunks(8)) {
        let mut padded = [0; 8];
        padded[..bytes.len()].copy_from_slice(bytes);
        *word = u64::from_ne_bytes(padded);
    }
    let flags = libc::O_PATH | libc::O_CLOEXEC | flags;
    // SAFETY: `aligned` starts with a `file_handle` header whose length was checked to lie within it, and outlives the
    // call, which only reads it.
    let fd = unsafe { libc::syscall(libc::SYS_open_by_handle_at, mount.as_raw_fd(), aligned.as_ptr(), flags) };
    let fd = libc::c_int::try_from(fd).map_err(|_| io::ErrorKind::InvalidData)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given this descriptor to us, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, handle: &[u8], name: &[u8]) -> Vec<u8> {
        let mut body = vec![kind, 0, 0, 0];
        body.extend([1, 0, 0, 0, 2, 0, 0, 0]);
        body.extend((handle.len() as u32).to_ne_bytes());
        body.extend(1i32.to_ne_bytes());
        body.extend(handle);
        body.extend(name);
        body.resize(body.len().next_multiple_of(4) + 4, 0);
        let len = (body.len() as u16).to_ne_bytes();
        body[2..4].copy_from_slice(&len);
        body
    }

    fn event(mask: u64, records: &[Vec<u8>]) -> Vec<u8> {
        let body = records.concat();
        let mut out = ((METADATA_BYTES + body.len()) as u32).to_ne_bytes().to_vec();
        out.extend([3, 0]);
        out.extend((METADATA_BYTES as u16).to_ne_bytes());
        out.extend(mask.to_ne_bytes());
        out.extend((-1i32).to_ne_bytes());
        out.extend(77u32.to_ne_bytes());
        out.extend(body);
        out
    }

    #[test]
    fn events_are_taken_apart() {
        let mut bytes = event(libc::FAN_CREATE | libc::FAN_ONDIR, &[record(2, b"handle12", b"name")]);
        bytes.extend(event(libc::FAN_RENAME, &[record(10, b"a", b"old"), record(12, b"b", b"new")]));
        bytes.extend(event(libc::FAN_Q_OVERFLOW, &[]));
        let all: Vec<_> = Events { rest: &bytes }.collect();
        assert_eq!(all.len(), 3);
        let at = all[0].at.unwrap();
        assert_eq!((at.name, at.fsid(), all[0].pid, all[0].is_directory()), (&b"name"[..], 2 << 32 | 1, 77, true));
        assert_eq!(all[1].old.unwrap().name, b"old");
        assert_eq!(all[1].new.unwrap().name, b"new");
        assert!(all[2].is_overflow() && !all[1].is_overflow());
    }

    #[test]
    fn handles_of_proc_are_refused() {
        assert!(check_handles(Path::new("/proc/self")).is_err());
    }

    #[test]
    fn cut_bytes_end_the_events() {
        let whole = event(libc::FAN_CREATE, &[record(2, b"handle12", b"name")]);
        for len in 0..whole.len() {
            assert_eq!(Events { rest: &whole[..len] }.count(), 0, "{len}");
        }
        for i in 0..whole.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = whole.clone();
                bytes[i] = value;
                for e in (Events { rest: &bytes }) {
                    if let Some(at) = e.at {
                        assert!(open_directory(rustix::fs::CWD, at.directory).is_err());
                    }
                }
            }
        }
    }
}
