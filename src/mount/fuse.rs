//! The glue to fuser, and the only file that knows it: requests become calls of [`Fs`], answers and errors become replies.

use crate::mount::{
    errno::FsError,
    fs::Fs,
    listing::Item,
    node::{Found, Keep, NodeAttr},
};
use crate::types::{attr::Kind, time::Time};
use fuser::{
    AccessFlags, BsdFileFlags, Config, CopyFileRangeFlags, Errno, FileAttr, FileHandle, FileType, Filesystem,
    Generation, INodeNo, InitFlags, IoctlFlags, KernelConfig, LockOwner, Notifier, OpenFlags, RenameFlags, ReplyAttr,
    ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek,
    ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, Session, SessionACL, TimeOrNow, WriteFlags,
};
use std::{
    cell::RefCell,
    ffi::OsStr,
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::Path,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

/// Threads that answer requests.
const THREADS: usize = 4;
/// The longest read in bytes.
const READ_MAX: u32 = 1 << 20;
/// Requests of the kernel's own, such as reading ahead, that may wait at once.
const BACKGROUND_MAX: u16 = 64;
/// `FS_IOC_GETFLAGS`, and as a 32-bit program asks.
const GETFLAGS: [u32; 2] = [0x8008_6601, 0x8004_6601];

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A running session of FUSE. It ends when the kernel has let go of the mount.
pub struct Served {
    thread: JoinHandle<io::Result<()>>,
    notifier: Notifier,
    ended: Arc<(Mutex<bool>, Condvar)>,
}

impl Served {
    /// Answers the requests that come from `device`, an open `/dev/fuse` that is mounted already.
    pub fn start(fs: Arc<Fs>, device: OwnedFd, allow_other: bool) -> io::Result<Served> {
        let acl = if allow_other { SessionACL::All } else { SessionACL::Owner };
        let mut config = Config::default();
        config.acl = acl;
        config.n_threads = Some(THREADS);
        let session = Session::from_fd(Glue { fs }, device, acl, config)?;
        let notifier = session.notifier();
        let ended = Arc::new((Mutex::new(false), Condvar::new()));
        let end = ended.clone();
        let thread = thread::Builder::new().name("fuse".into()).spawn(move || {
            let result = session.run();
            *end.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
            end.1.notify_all();
            result
        })?;
        Ok(Served { thread, notifier, ended })
    }

    /// What tells the kernel of changes.
    pub fn notifier(&self) -> Changes {
        Changes(self.notifier.clone())
    }

    /// Whether the session has ended.
    pub fn has_ended(&self) -> bool {
        *self.ended.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the session has ended, or for this long. Whether it has ended.
    pub fn wait(&self, at_most: Duration) -> bool {
        let ended = self.ended.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.ended.1.wait_timeout_while(ended, at_most, |ended| !*ended);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Waits until the session has ended.
    pub fn join(self) -> io::Result<()> {
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread of the mount panicked")))
    }
}

/// Tells the kernel to forget what it believes.
pub struct Changes(Notifier);

impl Changes {
    /// The attributes and the listing of a directory have changed.
    pub fn directory(&self, ino: u64) {
        // That the kernel does not know it, or that the mount has just gone, is as good.
        if let Err(e) = self.0.inval_inode(INodeNo(ino), 0, 0) {
            tracing::debug!("the kernel was not told of directory {ino}: {e}");
        }
    }

    /// A name may lead elsewhere.
    pub fn name(&self, parent: u64, name: &[u8]) {
        if let Err(e) = self.0.inval_entry(INodeNo(parent), OsStr::from_bytes(name)) {
            tracing::debug!("the kernel was not told of a name in {parent}: {e}");
        }
    }
}

struct Glue {
    fs: Arc<Fs>,
}

fn errno(e: &FsError) -> Errno {
    Errno::from_i32(e.errno())
}

fn time(t: Time) -> SystemTime {
    let nsec = t.nsec.min(999_999_999);
    let whole = Duration::from_secs(t.sec.unsigned_abs());
    let second = match t.sec < 0 {
        true => SystemTime::UNIX_EPOCH.checked_sub(whole),
        false => SystemTime::UNIX_EPOCH.checked_add(whole),
    };
    second.and_then(|s| s.checked_add(Duration::new(0, nsec))).unwrap_or(SystemTime::UNIX_EPOCH)
}

fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Dir => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::CharDevice => FileType::CharDevice,
        Kind::BlockDevice => FileType::BlockDevice,
        Kind::Fifo => FileType::NamedPipe,
        Kind::Socket => FileType::Socket,
    }
}

fn attr(a: &NodeAttr) -> FileAttr {
    let mtime = time(a.mtime);
    FileAttr {
        ino: INodeNo(a.ino),
        size: a.size,
        blocks: a.blocks,
        // Reading a view leaves no trace: the time of the last access is that of the last change.
        atime: mtime,
        mtime,
        ctime: time(a.ctime),
        crtime: SystemTime::UNIX_EPOCH,
        kind: file_type(a.kind()),
        perm: (a.mode & 0o7777) as u16,
        nlink: a.nlink,
        uid: a.uid,
        gid: a.gid,
        rdev: a.rdev,
        blksize: 4096,
        flags: 0,
    }
}

/// What the kernel takes for "there is none, and you may believe that for a while": number 0.
fn nothing() -> FileAttr {
    let none = NodeAttr {
        ino: 0,
        size: 0,
        blocks: 0,
        mtime: Time::default(),
        ctime: Time::default(),
        mode: libc::S_IFREG,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
    };
    attr(&none)
}

/// Where a listing is filled: both forms of the request.
trait Sink {
    /// Adds an entry; true where it did not fit.
    fn add(&mut self, offset: u64, name: &[u8], ttl: &Duration, attr: &NodeAttr) -> bool;
}

impl Sink for ReplyDirectoryPlus {
    fn add(&mut self, offset: u64, name: &[u8], ttl: &Duration, a: &NodeAttr) -> bool {
        let name = OsStr::from_bytes(name);
        ReplyDirectoryPlus::add(self, INodeNo(a.ino), offset, name, ttl, &attr(a), Generation(0))
    }
}

impl Sink for ReplyDirectory {
    fn add(&mut self, offset: u64, name: &[u8], _: &Duration, a: &NodeAttr) -> bool {
        ReplyDirectory::add(self, INodeNo(a.ino), offset, file_type(a.kind()), OsStr::from_bytes(name))
    }
}

impl Glue {
    /// Fills `sink` from entry `offset` on. Entries 0 and 1 are `.` and `..`. With `counts`, the kernel counts what it is told.
    fn list(&self, ino: u64, offset: u64, counts: bool, sink: &mut impl Sink) -> Result<(), FsError> {
        let listing = self.fs.list(ino, offset > 0)?;
        let ttl = Keep::Forever.ttl();
        for (at, name, number) in [(0, &b"."[..], ino), (1, b"..", listing.parent)] {
            let dir = NodeAttr::directory(number, crate::types::time::Instant(0), self.fs.owner());
            if at >= offset && sink.add(at + 1, name, &ttl, &dir) {
                return Ok(());
            }
        }
        for (at, name, item) in listing.from(offset.saturating_sub(2) as usize) {
            let told = self.fs.tell(item);
            let full = sink.add(at as u64 + 3, name, &item.keep.ttl(), &told);
            if full || !counts {
                self.untell(item, told.ino);
            }
            if full {
                break;
            }
        }
        Ok(())
    }

    fn untell(&self, item: &Item, ino: u64) {
        if item.place.is_some() {
            self.fs.forget(ino, 1);
        }
    }
}

fn xattr(value: Result<Vec<u8>, FsError>, size: u32, reply: ReplyXattr) {
    match value {
        Ok(value) if size == 0 => reply.size(value.len() as u32),
        Ok(value) if value.len() <= size as usize => reply.data(&value),
        Ok(_) => reply.error(errno(&FsError::TooSmall)),
        Err(e) => reply.error(errno(&e)),
    }
}

impl Filesystem for Glue {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        for wanted in [
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_POSIX_ACL,
            InitFlags::FUSE_CACHE_SYMLINKS,
            InitFlags::FUSE_NO_OPEN_SUPPORT,
            InitFlags::FUSE_NO_OPENDIR_SUPPORT,
            InitFlags::FUSE_HAS_IOCTL_DIR,
            // The times of directories that change tell the kernel to list them again.
            InitFlags::FUSE_AUTO_INVAL_DATA,
        ] {
            if let Err(missing) = config.add_capabilities(wanted) {
                tracing::debug!("this kernel has no {missing:?}");
            }
        }
        // Each sets what fits where it can't set what was asked for.
        for fitting in [config.set_max_write(READ_MAX).err(), config.set_max_readahead(READ_MAX).err()] {
            tracing::trace!("a limit of the kernel: {fitting:?}");
        }
        if let Err(least) = config.set_max_background(BACKGROUND_MAX) {
            tracing::debug!("the kernel wants at least {least} requests in the background");
        }
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.fs.look_up(parent.0, name.as_bytes()) {
            Ok(Found::Node(node, keep)) => reply.entry(&keep.ttl(), &attr(&node), Generation(0)),
            Ok(Found::Nothing(Keep::Forever)) => reply.entry(&Keep::Forever.ttl(), &nothing(), Generation(0)),
            Ok(Found::Nothing(Keep::Shortly)) => reply.error(Errno::ENOENT),
            Err(e) => reply.error(errno(&e)),
        }
    }

    fn forget(&self, _: &Request, ino: INodeNo, nlookup: u64) {
        self.fs.forget(ino.0, nlookup);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.fs.attr(ino.0) {
            Ok((node, keep)) => reply.attr(&keep.ttl(), &attr(&node)),
            Err(e) => reply.error(errno(&e)),
        }
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        match self.fs.link_target(ino.0) {
            Ok(target) => reply.data(&target),
            Err(e) => reply.error(errno(&e)),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // Once for all: the kernel stops asking, and keeps pages.
        reply.error(Errno::ENOSYS);
    }

    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // Once for all: the kernel stops asking, and keeps listings.
        reply.error(Errno::ENOSYS);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        BUFFER.with_borrow_mut(|buffer| {
            buffer.clear();
            match self.fs.read(ino.0, offset, size as usize, buffer) {
                Ok(()) => reply.data(buffer),
                Err(e) => reply.error(errno(&e)),
            }
        });
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        match self.list(ino.0, offset, false, &mut reply) {
            Ok(()) => reply.ok(),
            Err(e) => reply.error(errno(&e)),
        }
    }

    fn readdirplus(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectoryPlus) {
        match self.list(ino.0, offset, true, &mut reply) {
            Ok(()) => reply.ok(),
            Err(e) => reply.error(errno(&e)),
        }
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        match self.fs.space() {
            Ok(s) => {
                reply.statfs(s.blocks, s.free, s.available, s.files, s.files_free, s.block_bytes, 255, s.block_bytes)
            }
            Err(e) => reply.error(errno(&e)),
        }
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        xattr(self.fs.xattr(ino.0, name.as_bytes()), size, reply);
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        xattr(self.fs.xattr_names(ino.0), size, reply);
    }

    fn ioctl(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        cmd: u32,
        _: &[u8],
        out_size: u32,
        reply: ReplyIoctl,
    ) {
        if !GETFLAGS.contains(&cmd) {
            return reply.error(errno(&FsError::NoControl));
        }
        match self.fs.flags(ino.0) {
            Ok(flags) => {
                let long = u64::from(flags).to_ne_bytes();
                let bytes = if out_size >= 8 { &long[..] } else { &flags.to_ne_bytes()[..] };
                reply.ioctl(0, &bytes[..bytes.len().min(out_size as usize)]);
            }
            Err(e) => reply.error(errno(&e)),
        }
    }

    fn lseek(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        let sought = match (u64::try_from(offset), whence) {
            (Ok(offset), libc::SEEK_DATA) => self.fs.seek(ino.0, offset, false),
            (Ok(offset), libc::SEEK_HOLE) => self.fs.seek(ino.0, offset, true),
            (Err(_), libc::SEEK_DATA | libc::SEEK_HOLE) => Err(FsError::NoSuchOffset),
            _ => Err(FsError::WrongKind),
        };
        match sought {
            Ok(offset) => reply.offset(offset as i64),
            Err(e) => reply.error(errno(&e)),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // Once for all: there is nothing to flush.
        reply.error(Errno::ENOSYS);
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn access(&self, _: &Request, _: INodeNo, _: AccessFlags, reply: ReplyEmpty) {
        // The kernel decides by mode and ACL; it never asks.
        reply.ok();
    }

    // What would change something never comes this far on a read-only mount. If it does, this is the answer.

    fn setattr(
        &self,
        _: &Request,
        _: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        reply.error(errno(&FsError::ReadOnly));
    }

    fn mknod(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, _: u32, reply: ReplyEntry) {
        reply.error(errno(&FsError::ReadOnly));
    }

    fn mkdir(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        reply.error(errno(&FsError::ReadOnly));
    }

    fn unlink(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.error(errno(&FsError::ReadOnly));
    }

    fn rmdir(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.error(errno(&FsError::ReadOnly));
    }

    fn symlink(&self, _: &Request, _: INodeNo, _: &OsStr, _: &Path, reply: ReplyEntry) {
        reply.error(errno(&FsError::ReadOnly));
    }

    fn rename(&self, _: &Request, _: INodeNo, _: &OsStr, _: INodeNo, _: &OsStr, _: RenameFlags, reply: ReplyEmpty) {
        reply.error(errno(&FsError::ReadOnly));
    }

    fn link(&self, _: &Request, _: INodeNo, _: INodeNo, _: &OsStr, reply: ReplyEntry) {
        reply.error(errno(&FsError::ReadOnly));
    }

    fn create(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, _: i32, reply: ReplyCreate) {
        reply.error(errno(&FsError::ReadOnly));
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        reply.error(errno(&FsError::ReadOnly));
    }

    fn setxattr(&self, _: &Request, _: INodeNo, _: &OsStr, _: &[u8], _: i32, _: u32, reply: ReplyEmpty) {
        reply.error(errno(&FsError::ReadOnly));
    }

    fn removexattr(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.error(errno(&FsError::ReadOnly));
    }

    fn fallocate(&self, _: &Request, _: INodeNo, _: FileHandle, _: u64, _: u64, _: i32, reply: ReplyEmpty) {
        reply.error(errno(&FsError::ReadOnly));
    }

    fn copy_file_range(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: u64,
        _: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        reply.error(errno(&FsError::ReadOnly));
    }
}
