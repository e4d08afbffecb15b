//! What can happen to a directory, as plain data: a sequence of them can be replayed and shortened.
//!
//! Numbers pick among what is there at that moment, so that a sequence stays meaningful when parts of it are left out.

use rustix::fs::{
    AtFlags, CWD, FallocateFlags, FileType, Gid, IFlags, Mode, OFlags, RenameFlags, Timespec, Timestamps, Uid,
    XattrFlags,
};
use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// One change, or a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) enum Op {
    Create(u16, u16),
    Write {
        file: u16,
        at: u32,
        len: u32,
        seed: u16,
    },
    Append {
        file: u16,
        len: u32,
        seed: u16,
    },
    Truncate(u16, u32),
    /// As an editor saves: written beside and renamed over.
    Replace {
        file: u16,
        len: u32,
        seed: u16,
    },
    Punch {
        file: u16,
        at: u32,
        len: u32,
    },
    Rename {
        from: u16,
        dir: u16,
        name: u16,
    },
    Over(u16, u16),
    Exchange(u16, u16),
    Link {
        file: u16,
        dir: u16,
        name: u16,
    },
    /// A hard link, and a write through its new name.
    LinkWrite {
        file: u16,
        dir: u16,
        name: u16,
        seed: u16,
    },
    Unlink(u16),
    Mkdir(u16, u16),
    Rmdir(u16),
    RemoveAll(u16),
    /// A directory with directories and files in it.
    Grow(u16, u16),
    Symlink {
        dir: u16,
        name: u16,
        to: u16,
    },
    Mknod {
        dir: u16,
        name: u16,
        kind: u16,
    },
    Chmod(u16, u16),
    Chown(u16, u16),
    Xattr {
        on: u16,
        name: u16,
        len: u16,
    },
    RemoveXattr(u16),
    Acl(u16, u16),
    Flags(u16, u16),
    Times(u16, u16),
    /// Content changes and the modification time is as before.
    Sneak(u16, u16),
    /// A file becomes a directory or a directory a file, at the same name.
    Turn(u16),
    Case(u16),
    Snapshot,
    Full,
}

/// A generator of numbers: the same for the same seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 16) % end
    }

    fn pick(&mut self) -> u16 {
        self.next() as u16
    }

    /// Mostly small, at times many chunks.
    fn len(&mut self) -> u32 {
        match self.below(20) {
            0 => self.below(6 << 20) as u32,
            1..4 => self.below(300_000) as u32,
            4..12 => self.below(9000) as u32,
            12 => 0,
            _ => self.below(100) as u32,
        }
    }

    /// `count` changes with snapshots among them, ending with one.
    pub(crate) fn ops(&mut self, count: usize, between: u64) -> Vec<Op> {
        let mut ops = Vec::with_capacity(count + 1);
        for _ in 0..count {
            ops.push(if self.below(between) == 0 { self.snapshot() } else { self.op() });
        }
        ops.push(Op::Snapshot);
        ops
    }

    fn snapshot(&mut self) -> Op {
        if self.below(10) == 0 { Op::Full } else { Op::Snapshot }
    }

    fn op(&mut self) -> Op {
        let (a, b, c, seed) = (self.pick(), self.pick(), self.pick(), self.pick());
        match self.below(48) {
            0..5 => Op::Create(a, b),
            5..8 => Op::Write { file: a, at: self.len(), len: self.len(), seed },
            8..10 => Op::Append { file: a, len: self.len(), seed },
            10 => Op::Truncate(a, self.len()),
            11..13 => Op::Replace { file: a, len: self.len(), seed },
            13 => Op::Punch { file: a, at: self.len(), len: self.len() },
            14..18 => Op::Rename { from: a, dir: b, name: c },
            18 => Op::Over(a, b),
            19..21 => Op::Exchange(a, b),
            21..23 => Op::Link { file: a, dir: b, name: c },
            23..25 => Op::LinkWrite { file: a, dir: b, name: c, seed },
            25..27 => Op::Unlink(a),
            27..30 => Op::Mkdir(a, b),
            30 => Op::Rmdir(a),
            31 => Op::RemoveAll(a),
            32..34 => Op::Grow(a, b),
            34 => Op::Symlink { dir: a, name: b, to: c },
            35 => Op::Mknod { dir: a, name: b, kind: c },
            36 => Op::Chmod(a, b),
            37 => Op::Chown(a, b),
            38..40 => Op::Xattr { on: a, name: b, len: c },
            40 => Op::RemoveXattr(a),
            41 => Op::Acl(a, b),
            42 => Op::Flags(a, b),
            43 => Op::Times(a, b),
            44 => Op::Sneak(a, seed),
            45 | 46 => Op::Turn(a),
            _ => Op::Case(a),
        }
    }
}

/// Names that a directory may get: few, so that they come again.
fn name(n: u16) -> Vec<u8> {
    let odd: [&[u8]; 8] =
        [b"\xff\xfe\x80", b"new\nline", b" ", b"-rf", "\u{e9}t\u{e9}".as_bytes(), b"a", b"A", b"\x1b[31m"];
    match n % 32 {
        k @ 0..8 => odd[usize::from(k)].to_vec(),
        8 => vec![b'l'; 255],
        9 => [&vec![b'l'; 254][..], b"\xc3"].concat(),
        k => format!("n{k}").into_bytes(),
    }
}

fn bytes(len: u32, seed: u16) -> Vec<u8> {
    let mut random = Random::new(u64::from(seed) + 7);
    let mut out = Vec::with_capacity(len as usize + 8);
    while out.len() < len as usize {
        out.extend_from_slice(&random.next().to_le_bytes());
    }
    out.truncate(len as usize);
    // A part that compresses and comes again.
    let half = out.len() / 2;
    out[half..].fill(seed as u8);
    out
}

/// What is there.
struct Place {
    dirs: Vec<PathBuf>,
    files: Vec<PathBuf>,
    others: Vec<PathBuf>,
}

impl Place {
    fn look(root: &Path) -> Place {
        let mut place = Place { dirs: vec![root.to_owned()], files: Vec::new(), others: Vec::new() };
        let mut at = 0;
        while at < place.dirs.len() {
            let mut names: Vec<_> = std::fs::read_dir(&place.dirs[at]).unwrap().map(|e| e.unwrap()).collect();
            names.sort_by_key(std::fs::DirEntry::file_name);
            for entry in names {
                let kind = entry.file_type().unwrap();
                match () {
                    () if kind.is_dir() => place.dirs.push(entry.path()),
                    () if kind.is_file() => place.files.push(entry.path()),
                    () => place.others.push(entry.path()),
                }
            }
            at += 1;
        }
        place
    }

    fn dir(&self, n: u16) -> &Path {
        &self.dirs[usize::from(n) % self.dirs.len()]
    }

    fn file(&self, n: u16) -> Option<&Path> {
        self.files.get(usize::from(n).checked_rem(self.files.len())?).map(PathBuf::as_path)
    }

    /// Anything but the root.
    fn any(&self, n: u16) -> Option<&Path> {
        let all = self.dirs.len() - 1 + self.files.len() + self.others.len();
        let at = usize::from(n).checked_rem(all)?;
        self.dirs[1..].iter().chain(&self.files).chain(&self.others).nth(at).map(PathBuf::as_path)
    }

    /// So that a run of many thousands stays quick, something goes when there is much.
    fn is_crowded(&self) -> bool {
        self.dirs.len() + self.files.len() + self.others.len() > 140
    }

    fn at(&self, dir: u16, n: u16) -> PathBuf {
        self.dir(dir).join(OsStr::from_bytes(&name(n)))
    }
}

const WRITE: OFlags = OFlags::WRONLY.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

fn write(path: &Path, at: u64, data: &[u8], flags: OFlags) -> rustix::io::Result<()> {
    let fd = rustix::fs::open(path, WRITE | flags, Mode::from_raw_mode(0o644))?;
    let mut done = 0;
    while done < data.len() {
        done += rustix::io::pwrite(&fd, &data[done..], at + done as u64)?;
    }
    Ok(())
}

/// Whether it may take a name from a file that has another one.
pub(crate) fn takes_a_second_name(root: &Path, op: Op) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let place = Place::look(root);
    let takes = match op {
        Op::Unlink(_) | Op::Turn(_) | Op::Over(..) | Op::Replace { .. } | Op::RemoveAll(_) => true,
        Op::Create(..) | Op::Mkdir(..) | Op::Grow(..) | Op::Link { .. } => place.is_crowded(),
        _ => false,
    };
    let linked = |path: &PathBuf| std::fs::symlink_metadata(path).unwrap().nlink() > 1;
    takes && place.files.iter().chain(&place.others).any(linked)
}

/// Does it. `None` where there is nothing to do it to; an error where the system refuses, which changes nothing.
pub(crate) fn apply(root: &Path, op: Op) -> Option<rustix::io::Result<()>> {
    let place = Place::look(root);
    let crowded = place.is_crowded();
    Some(match op {
        Op::Snapshot | Op::Full => return None,
        Op::Create(..) | Op::Mkdir(..) | Op::Grow(..) | Op::Link { .. } if crowded => {
            let dir = place.dirs.get(1)?;
            std::fs::remove_dir_all(dir).map_err(|e| rustix::io::Errno::from_io_error(&e).unwrap())
        }
        Op::Create(dir, n) => write(&place.at(dir, n), 0, &bytes(u32::from(n) / 64, n), OFlags::CREATE | OFlags::EXCL),
        Op::Write { file, at, len, seed } => {
            write(place.file(file)?, u64::from(at), &bytes(len, seed), OFlags::empty())
        }
        Op::Append { file, len, seed } => {
            let file = place.file(file)?;
            let size = std::fs::metadata(file).unwrap().len();
            write(file, if size > 32 << 20 { 0 } else { size }, &bytes(len, seed), OFlags::empty())
        }
        Op::Truncate(file, size) => {
            let fd = rustix::fs::open(place.file(file)?, WRITE, Mode::empty());
            fd.and_then(|fd| rustix::fs::ftruncate(&fd, u64::from(size)))
        }
        Op::Replace { file, len, seed } => {
            let file = place.file(file)?;
            let temp = file.with_file_name(".saving~");
            write(&temp, 0, &bytes(len, seed), OFlags::CREATE | OFlags::TRUNC)
                .and_then(|()| rustix::fs::rename(&temp, file))
        }
        Op::Punch { file, at, len } => {
            let fd = rustix::fs::open(place.file(file)?, WRITE, Mode::empty());
            let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            fd.and_then(|fd| rustix::fs::fallocate(&fd, how, u64::from(at), u64::from(len)))
        }
        Op::Rename { from, dir, name } => {
            rustix::fs::renameat_with(CWD, place.any(from)?, CWD, place.at(dir, name), RenameFlags::NOREPLACE)
        }
        Op::Over(from, to) => rustix::fs::rename(place.any(from)?, place.any(to)?),
        Op::Exchange(a, b) => rustix::fs::renameat_with(CWD, place.any(a)?, CWD, place.any(b)?, RenameFlags::EXCHANGE),
        Op::Link { file, dir, name } => rustix::fs::link(place.any(file)?, place.at(dir, name)),
        Op::LinkWrite { file, dir, name, seed } => {
            let (file, to) = (place.file(file)?, place.at(dir, name));
            let size = std::fs::metadata(file).unwrap().len();
            rustix::fs::link(file, &to)
                .and_then(|()| write(&to, size.min(32 << 20), &bytes(500, seed), OFlags::empty()))
        }
        Op::Unlink(n) => rustix::fs::unlink(place.any(n).filter(|path| !path.is_dir() || path.is_symlink())?),
        Op::Mkdir(dir, n) => rustix::fs::mkdir(place.at(dir, n), Mode::from_raw_mode(0o755)),
        Op::Rmdir(n) => rustix::fs::rmdir(place.dirs.get(1 + usize::from(n).checked_rem(place.dirs.len() - 1)?)?),
        Op::RemoveAll(n) => {
            let dir = place.dirs.get(1 + usize::from(n).checked_rem(place.dirs.len() - 1)?)?;
            std::fs::remove_dir_all(dir).map_err(|e| rustix::io::Errno::from_io_error(&e).unwrap())
        }
        Op::Grow(dir, n) => grow(&place.at(dir, n), n),
        Op::Symlink { dir, name: n, to } => rustix::fs::symlink(OsStr::from_bytes(&name(to)), place.at(dir, n)),
        Op::Mknod { dir, name, kind } => mknod(&place.at(dir, name), kind),
        Op::Chmod(n, mode) => {
            let modes = [0o644, 0o600, 0o4755, 0o2711, 0o1777, 0o000, 0o777, 0o6555];
            let path = place.any(n).filter(|path| !path.is_symlink())?;
            rustix::fs::chmod(path, Mode::from_raw_mode(modes[usize::from(mode) % modes.len()]))
        }
        Op::Chown(n, owner) => {
            let (uid, gid) = (Uid::from_raw(u32::from(owner % 5) * 1000), Gid::from_raw(u32::from(owner % 7) * 100));
            rustix::fs::chownat(CWD, place.any(n)?, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        }
        Op::Xattr { on, name, len } => {
            let names = ["user.a", "user.b", "trusted.t", "security.s"];
            let value = bytes(u32::from(len % 1500), len);
            rustix::fs::lsetxattr(place.any(on)?, names[usize::from(name % 4)], &value, XattrFlags::empty())
        }
        Op::RemoveXattr(n) => {
            let path = place.any(n)?;
            let names =
                ["user.a", "user.b", "trusted.t", "security.s", "system.posix_acl_access", "system.posix_acl_default"];
            names.iter().map(|name| rustix::fs::lremovexattr(path, *name)).find(Result::is_ok)?
        }
        Op::Acl(n, what) => acl(place.any(n).filter(|path| !path.is_symlink())?, what),
        Op::Flags(n, what) => {
            let path = place.any(n).filter(|path| !path.is_symlink())?;
            let fd = rustix::fs::open(path, OFlags::NONBLOCK | OFlags::NOFOLLOW, Mode::empty());
            let flags = [IFlags::NODUMP, IFlags::NOATIME, IFlags::SYNC, IFlags::NODUMP | IFlags::NOATIME];
            fd.and_then(|fd| {
                let now = rustix::fs::ioctl_getflags(&fd)?;
                rustix::fs::ioctl_setflags(&fd, now ^ flags[usize::from(what % 4)])
            })
        }
        Op::Times(n, what) => {
            let times =
                [(0, 0), (-86400 * 3650, 123_456_789), (4_102_444_800, 1), (1_600_000_000, 999_999_999), (-1, 5)];
            let (sec, nsec) = times[usize::from(what) % times.len()];
            set_times(place.any(n)?, Timespec { tv_sec: sec, tv_nsec: nsec })
        }
        Op::Sneak(n, seed) => {
            let file = place.file(n)?;
            let stat = rustix::fs::lstat(file).unwrap();
            let time = Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ };
            let len = u32::try_from(stat.st_size).unwrap_or(0).min(5000);
            write(file, 0, &bytes(len, seed), OFlags::empty()).and_then(|()| set_times(file, time))
        }
        Op::Turn(n) => {
            let path = place.any(n)?;
            match path.is_dir() && !path.is_symlink() {
                true => {
                    std::fs::remove_dir_all(path).unwrap();
                    write(path, 0, b"was a directory", OFlags::CREATE)
                }
                false => rustix::fs::unlink(path).and_then(|()| grow(path, n)),
            }
        }
        Op::Case(n) => {
            let path = place.any(n)?;
            let name = path.file_name().unwrap().as_bytes();
            let turned: Vec<u8> = name
                .iter()
                .map(|b| if b.is_ascii_lowercase() { b.to_ascii_uppercase() } else { b.to_ascii_lowercase() })
                .collect();
            if turned == name {
                return None;
            }
            rustix::fs::renameat_with(
                CWD,
                path,
                CWD,
                path.with_file_name(OsStr::from_bytes(&turned)),
                RenameFlags::NOREPLACE,
            )
        }
    })
}

fn set_times(path: &Path, time: Timespec) -> rustix::io::Result<()> {
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
}

fn grow(path: &Path, n: u16) -> rustix::io::Result<()> {
    rustix::fs::mkdir(path, Mode::from_raw_mode(0o755))?;
    let mut at = path.to_owned();
    for depth in 0..n % 4 {
        for file in 0..n % 3 {
            write(&at.join(format!("f{file}")), 0, &bytes(u32::from(n % 700), n + file), OFlags::CREATE)?;
        }
        at.push(format!("d{depth}"));
        rustix::fs::mkdir(&at, Mode::from_raw_mode(0o755))?;
    }
    Ok(())
}

fn mknod(path: &Path, kind: u16) -> rustix::io::Result<()> {
    let mode = Mode::from_raw_mode(0o640);
    match kind % 4 {
        0 => rustix::fs::mknodat(CWD, path, FileType::Fifo, mode, 0),
        1 => rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, mode, rustix::fs::makedev(1, 3)),
        2 => rustix::fs::mknodat(CWD, path, FileType::BlockDevice, mode, rustix::fs::makedev(7, u32::from(kind))),
        _ => rustix::fs::mknodat(CWD, path, FileType::Socket, mode, 0),
    }
}

fn acl(path: &Path, what: u16) -> rustix::io::Result<()> {
    let id = u32::from(what % 9) + 1000;
    let none = u32::MAX;
    let entries = [(1_u16, 6_u16, none), (2, what % 8, id), (4, 4, none), (0x10, 7, none), (0x20, 0, none)];
    let mut value = 2_u32.to_le_bytes().to_vec();
    for (tag, perm, id) in entries {
        value.extend_from_slice(&tag.to_le_bytes());
        value.extend_from_slice(&perm.to_le_bytes());
        value.extend_from_slice(&id.to_le_bytes());
    }
    let default = path.is_dir() && what.is_multiple_of(2);
    let name = if default { "system.posix_acl_default" } else { "system.posix_acl_access" };
    rustix::fs::lsetxattr(path, name, &value, XattrFlags::empty())
}
