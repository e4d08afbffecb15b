//! What is kept of every file, row by row, on each file system.

use crate::{
    describe::{self, Depth, Tree},
    lab::Lab,
    loopfs::LoopFs,
};
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, IFlags, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chmod, chownat, mknodat,
};
use std::{
    os::unix::fs::{FileExt as _, symlink},
    path::Path,
};

/// A row of the table: what it is, what is made for it, and what must be true of it then (the directory could have refused).
struct Kept {
    what: &'static str,
    make: fn(&Path),
    holds: fn(&Tree) -> bool,
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
}

fn xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

fn time(path: &Path, sec: i64, nsec: u32) {
    let at = Timespec { tv_sec: sec, tv_nsec: nsec.into() };
    let times = Timestamps { last_access: at, last_modification: at };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut out = 2_u32.to_le_bytes().to_vec();
    for (tag, perm, id) in entries {
        out.extend_from_slice(&[tag.to_le_bytes(), perm.to_le_bytes()].concat());
        out.extend_from_slice(&id.to_le_bytes());
    }
    out
}

fn named_user() -> Vec<u8> {
    acl(&[(1, 6, u32::MAX), (2, 5, 1234), (4, 4, u32::MAX), (0x10, 7, u32::MAX), (0x20, 0, u32::MAX)])
}

const ROWS: &[Kept] = &[
    Kept {
        what: "files, empty, small and of many chunks",
        make: |dir| {
            write(&dir.join("empty"), b"");
            write(&dir.join("small"), b"x");
            let large: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
            write(&dir.join("large"), &large);
        },
        holds: |tree| tree.values().filter(|t| t.size > 0).count() == 2,
    },
    Kept {
        what: "directories, symbolic links, fifos and devices",
        make: |dir| {
            std::fs::create_dir(dir.join("dir")).unwrap();
            symlink("nowhere/../\u{fc}", dir.join("link")).unwrap();
            symlink("l".repeat(1000), dir.join("long link")).unwrap();
            let mode = Mode::from_raw_mode(0o640);
            mknodat(CWD, dir.join("fifo"), FileType::Fifo, mode, 0).unwrap();
            mknodat(CWD, dir.join("char"), FileType::CharacterDevice, mode, rustix::fs::makedev(4, 65)).unwrap();
            mknodat(CWD, dir.join("block"), FileType::BlockDevice, mode, rustix::fs::makedev(250, 300)).unwrap();
        },
        holds: |tree| tree.values().filter(|t| t.rdev > 0).count() == 2,
    },
    Kept {
        what: "modes, with setuid, setgid and sticky",
        make: |dir| {
            for mode in [0o4755, 0o2755, 0o6511, 0o1777, 0o000, 0o7777] {
                let path = dir.join(format!("{mode:o}"));
                write(&path, b"mode");
                chmod(&path, Mode::from_raw_mode(mode)).unwrap();
                let path = dir.join(format!("d{mode:o}"));
                std::fs::create_dir(&path).unwrap();
                chmod(&path, Mode::from_raw_mode(mode)).unwrap();
            }
        },
        holds: |tree| tree.values().any(|t| t.mode & 0o7777 == 0o7777) && tree.values().any(|t| t.mode & 0o7777 == 0),
    },
    Kept {
        what: "owners, of links too",
        make: |dir| {
            write(&dir.join("f"), b"owned");
            symlink("f", dir.join("l")).unwrap();
            for (n, name) in ["f", "l"].into_iter().enumerate() {
                let (uid, gid) = (Uid::from_raw(4_000_000_000 + n as u32), Gid::from_raw(77 + n as u32));
                chownat(CWD, dir.join(name), Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).unwrap();
            }
        },
        holds: |tree| tree.values().any(|t| t.owner == (4_000_000_001, 78)),
    },
    Kept {
        what: "times in nanoseconds, before 1970 and after 2038",
        make: |dir| {
            for (name, sec, nsec) in [
                ("now", 1_700_000_000, 123_456_789),
                ("epoch", 0, 1),
                ("before", -86_400 * 365 * 20, 999_999_999),
                ("just before", -1, 0),
                ("after", 4_294_967_296, 5),
                ("far", 8_000_000_000, 7),
            ] {
                write(&dir.join(name), b"time");
                symlink(name, dir.join(format!("l {name}"))).unwrap();
                std::fs::create_dir(dir.join(format!("d {name}"))).unwrap();
                for kind in ["", "l ", "d "] {
                    time(&dir.join(format!("{kind}{name}")), sec, nsec);
                }
            }
        },
        holds: |tree| tree.values().any(|t| t.mtime.0 < 0) && tree.values().any(|t| t.mtime.0 > i64::from(u32::MAX)),
    },
    Kept {
        what: "birth",
        make: |dir| write(&dir.join("f"), b"born"),
        holds: |tree| tree.values().all(|t| t.btime.is_some()),
    },
    Kept {
        what: "extended attributes in each namespace, of every kind of file",
        make: |dir| {
            write(&dir.join("f"), b"x");
            std::fs::create_dir(dir.join("d")).unwrap();
            symlink("f", dir.join("l")).unwrap();
            for name in ["f", "d"] {
                xattr(&dir.join(name), "user.\u{e9}mpty", b"");
                xattr(&dir.join(name), "user.bytes", &[0, 255, 10]);
            }
            for name in ["f", "d", "l"] {
                xattr(&dir.join(name), "trusted.t", &[b't'; 900]);
                xattr(&dir.join(name), "security.other", b"s");
            }
            // cap_net_bind_service, permitted and effective.
            xattr(&dir.join("f"), "security.capability", &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        },
        holds: |tree| tree[&b"f"[..]].xattrs.len() == 5 && tree[&b"l"[..]].xattrs.len() == 2,
    },
    Kept {
        what: "POSIX ACLs, and default ACLs of directories",
        make: |dir| {
            write(&dir.join("f"), b"x");
            std::fs::create_dir(dir.join("d")).unwrap();
            xattr(&dir.join("f"), "system.posix_acl_access", &named_user());
            xattr(&dir.join("d"), "system.posix_acl_access", &named_user());
            xattr(&dir.join("d"), "system.posix_acl_default", &named_user());
            write(&dir.join("d/inherits"), b"x");
        },
        // xfs shows them under names of its own too.
        holds: |tree| tree[&b"d"[..]].xattrs.len() >= 2 && !tree[&b"d/inherits"[..]].xattrs.is_empty(),
    },
    Kept {
        what: "inode flags",
        make: |dir| {
            for (name, flag) in [
                ("nodump", IFlags::NODUMP),
                ("noatime", IFlags::NOATIME),
                ("append", IFlags::APPEND),
                ("immutable", IFlags::IMMUTABLE),
            ] {
                write(&dir.join(name), b"x");
                flags(&dir.join(name), flag);
            }
        },
        holds: |tree| tree.values().filter(|t| t.flags != 0).count() >= 4,
    },
    Kept {
        what: "holes",
        make: |dir| {
            let sparse = |name: &str, size: u64, data: &[(u64, usize)]| {
                let file = std::fs::File::create(dir.join(name)).unwrap();
                file.set_len(size).unwrap();
                for (at, len) in data {
                    file.write_all_at(&vec![1; *len], *at).unwrap();
                }
                file.sync_all().unwrap();
            };
            sparse("all", 1 << 20, &[]);
            sparse("begins", 1 << 20, &[(0, 65536)]);
            sparse("ends", 1 << 20, &[((1 << 20) - 65536, 65536)]);
            sparse("between", 4 << 20, &[(65536, 65536), (2 << 20, 131_072)]);
        },
        holds: |tree| tree[&b"between"[..]].data.len() == 2 && tree[&b"all"[..]].data.is_empty(),
    },
    Kept {
        what: "hard links, of links and devices too",
        make: |dir| {
            std::fs::create_dir(dir.join("d")).unwrap();
            write(&dir.join("f"), b"linked");
            symlink("f", dir.join("l")).unwrap();
            mknodat(CWD, dir.join("p"), FileType::Fifo, Mode::RWXU, 0).unwrap();
            for name in ["f", "l", "p"] {
                rustix::fs::link(dir.join(name), dir.join("d").join(name)).unwrap();
            }
        },
        holds: |tree| tree.values().filter(|t| t.links.len() == 2).count() == 6,
    },
    Kept {
        what: "names of any bytes",
        make: |dir| {
            use std::os::unix::ffi::OsStrExt as _;
            for name in [&b"\xff\xfe"[..], b"new\nline", b" ", b"-rf", b"\\", b"\x1b[2J", &[b'n'; 255]] {
                write(&dir.join(std::ffi::OsStr::from_bytes(name)), name);
            }
        },
        holds: |tree| tree.len() == 8,
    },
];

fn flags(path: &Path, flag: IFlags) {
    let fd = rustix::fs::open(path, OFlags::RDONLY, Mode::empty()).unwrap();
    let now = rustix::fs::ioctl_getflags(&fd).unwrap();
    rustix::fs::ioctl_setflags(&fd, now | flag).unwrap();
}

/// Takes append and immutable away, so that the image can be thrown away by anybody.
fn unprotect(dir: &Path) {
    for name in ["append", "immutable"] {
        let fd = rustix::fs::open(dir.join(name), OFlags::RDONLY, Mode::empty()).unwrap();
        let now = rustix::fs::ioctl_getflags(&fd).unwrap();
        rustix::fs::ioctl_setflags(&fd, now & !(IFlags::APPEND | IFlags::IMMUTABLE)).unwrap();
    }
}

fn below(tree: &Tree, dir: &str) -> Tree {
    let inside = |(path, thing): (&Vec<u8>, &describe::Thing)| {
        let rest = path.strip_prefix(dir.as_bytes())?;
        let mut thing = thing.clone();
        thing.links = thing.links.iter().filter_map(|p| p.strip_prefix(dir.as_bytes()).map(<[u8]>::to_vec)).collect();
        match rest {
            [] => Some((Vec::new(), thing)),
            [b'/', name @ ..] => Some((name.to_vec(), thing)),
            _ => None,
        }
    };
    tree.iter().filter_map(inside).collect()
}

fn table(kind: &'static str) {
    let Some(fs) = LoopFs::make(kind, 512) else { return };
    let root = fs.path().join("root");
    std::fs::create_dir(&root).unwrap();
    for (n, row) in ROWS.iter().enumerate() {
        let dir = root.join(format!("row{n:02}"));
        std::fs::create_dir(&dir).unwrap();
        (row.make)(&dir);
    }
    let lab = Lab::of(&root);
    let (want, got) = (describe::of_disk(&root), lab.captured());
    let mut wrong = String::new();
    for (n, row) in ROWS.iter().enumerate() {
        let dir = format!("row{n:02}");
        let (want, got) = (below(&want, &dir), below(&got, &dir));
        assert!((row.holds)(&want), "{kind}: {}: was not made as meant: {want:?}", row.what);
        let differ = describe::differences(&want, &got, Depth::All);
        if !differ.is_empty() {
            wrong.push_str(&format!("{kind}: {}:\n{differ}", row.what));
        }
        if row.what == "inode flags" {
            unprotect(&root.join(dir));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert_eq!(describe::differences(&want, &got, Depth::All), "", "{kind}: nothing besides");
}

#[test]
fn everything_is_kept_on_ext4() {
    table("ext4");
}

#[test]
fn everything_is_kept_on_xfs() {
    table("xfs");
}

#[test]
fn everything_is_kept_on_btrfs() {
    table("btrfs");
}
