use super::*;
use crate::sys::testfs::TestFs;
use crate::sys::{dir, make};
use rustix::fs::IFlags;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;

/// All attributes of a node, read as capture reads them.
fn attr_of(at: &OwnedFd, name: &[u8]) -> Attr {
    let s = stat::at(at, name).unwrap();
    let (xattrs, flag_bits) = match s.kind().unwrap() {
        Kind::File | Kind::Dir => {
            let fd = read::open(at, name).unwrap();
            (meta::xattrs(&fd).unwrap(), meta::flags(&fd).unwrap())
        }
        _ => (meta::xattrs_at(at, name).unwrap(), 0),
    };
    Attr {
        mode: s.mode,
        uid: s.uid,
        gid: s.gid,
        size: s.size,
        blocks: s.blocks,
        rdev: s.rdev,
        mtime: s.mtime,
        ctime: s.ctime,
        btime: s.btime,
        flags: flag_bits,
        xattrs,
    }
}

/// What restore can set, of one attribute set.
fn settable(mut attr: Attr) -> Attr {
    attr.blocks = 0;
    attr.ctime = Time::default();
    attr.btime = None;
    if attr.kind() == Kind::Dir {
        attr.size = 0;
    }
    attr
}

/// Makes a node of the same kind called `name` and puts `attr` on it.
fn restore(at: &OwnedFd, name: &[u8], attr: &Attr, target: &[u8]) -> Applied {
    match attr.kind() {
        Kind::File => {
            let fd = make::file(at, name).unwrap();
            flags::set_early(&fd, attr.flags);
            make::set_len(&fd, attr.size).unwrap();
            to_open(&fd, attr)
        }
        Kind::Dir => {
            make::directory(at, name).unwrap();
            to_open(dir::open_at(at, name).unwrap(), attr)
        }
        Kind::Symlink => {
            make::symlink(at, name, target).unwrap();
            to_name(at, name, attr).unwrap()
        }
        kind => {
            make::special(at, name, kind, attr.rdev).unwrap();
            to_name(at, name, attr).unwrap()
        }
    }
}

/// Restores the node `name` beside itself, and compares.
fn round_trip(fs: &TestFs, at: &OwnedFd, name: &[u8]) -> Attr {
    let want = attr_of(at, name);
    let target = if want.kind() == Kind::Symlink { meta::link_target(at, name).unwrap() } else { Vec::new() };
    let copy = [&name[..name.len().min(240)], b".copy"].concat();
    let applied = restore(at, &copy, &want, &target);
    let what = format!("{} on {}", show(name), fs.kind);
    assert!(applied.problems.is_empty(), "{what}: {:?}", applied.problems);
    assert_eq!(settable(attr_of(at, &copy)), settable(want.clone()), "{what}");
    if want.kind() == Kind::Symlink {
        assert_eq!(meta::link_target(at, &copy).unwrap(), target, "{what}");
    }
    want
}

fn tool(name: &str, args: &[&str], path: &Path) {
    let out = Command::new(name).args(args).arg(path).output().unwrap();
    assert!(out.status.success(), "{name} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
}

fn is_root() -> bool {
    crate::sys::process::effective_uid() == 0
}

/// Runs `test` in a directory of every file system there is; as root, since only root may set all of it.
fn everywhere(test: impl Fn(&TestFs, &OwnedFd)) {
    if !is_root() {
        eprintln!("not tested: owners, devices and trusted attributes need root");
        return;
    }
    for fs in TestFs::all() {
        let at = dir::open(fs.path()).unwrap();
        test(&fs, &at);
    }
}

fn base(kind: Kind, mode: u32) -> Attr {
    Attr {
        mode: kind.mode_bits() | mode,
        uid: 1234,
        gid: 4321,
        size: 0,
        blocks: 0,
        rdev: 0,
        mtime: Time { sec: 1_700_000_000, nsec: 123_456_789 },
        ctime: Time::default(),
        btime: None,
        flags: 0,
        xattrs: vec![],
    }
}

#[test]
fn modes_and_owners() {
    everywhere(|fs, at| {
        for mode in [0o0000, 0o0644, 0o4755, 0o2755, 0o6711, 0o1777, 0o7777] {
            for kind in [Kind::File, Kind::Dir, Kind::Fifo, Kind::Socket] {
                let name = format!("{kind:?}-{mode:o}").into_bytes();
                let applied = restore(at, &name, &base(kind, mode), b"");
                assert!(applied.problems.is_empty(), "{}: {:?}", fs.kind, applied.problems);
                let got = stat::at(at, &name).unwrap();
                assert_eq!((got.mode & 0o7777, got.uid, got.gid), (mode, 1234, 4321), "{} {kind:?}", fs.kind);
                round_trip(fs, at, &name);
            }
        }
    });
}

#[test]
fn times() {
    everywhere(|fs, at| {
        let times = [(4_102_444_800, 999_999_999), (2_147_483_648, 0), (0, 1), (-1, 500_000_000), (-2_000_000_000, 7)];
        for (n, (sec, nsec)) in times.into_iter().enumerate() {
            for kind in [Kind::File, Kind::Dir, Kind::Symlink, Kind::Fifo] {
                let mut attr = base(kind, 0o777);
                attr.mtime = Time { sec, nsec };
                let name = format!("{kind:?}-{n}").into_bytes();
                let applied = restore(at, &name, &attr, b"target");
                assert!(applied.problems.is_empty(), "{}: {:?}", fs.kind, applied.problems);
                assert_eq!(stat::at(at, &name).unwrap().mtime, attr.mtime, "{} {kind:?}", fs.kind);
                round_trip(fs, at, &name);
            }
        }
    });
}

#[test]
fn a_time_that_can_not_be_held_is_named() {
    let Some(fs) = TestFs::mount("ext4") else { return };
    let at = dir::open(fs.path()).unwrap();
    let mut attr = base(Kind::File, 0o644);
    attr.mtime = Time { sec: 253_402_300_799, nsec: 0 };
    let applied = restore(&at, b"late", &attr, b"");
    assert!(matches!(applied.problems[..], [Problem::MtimeDiffers { .. }]), "{:?}", applied.problems);
    for nsec in [1_000_000_000, (1 << 30) - 1, (1 << 30) - 2, u32::MAX] {
        attr.mtime = Time { sec: 5, nsec };
        let applied = restore(&at, format!("wrong-{nsec}").as_bytes(), &attr, b"");
        assert!(matches!(applied.problems[..], [Problem::Mtime { .. }]), "{:?}", applied.problems);
    }
}

#[test]
fn extended_attributes_of_every_namespace() {
    everywhere(|fs, at| {
        let mut capability = vec![1, 0, 0, 2];
        capability.extend_from_slice(&[0, 4, 0, 0]);
        capability.resize(20, 0);
        let mut attr = base(Kind::File, 0o755);
        attr.xattrs = vec![
            (b"security.bygone".to_vec(), b"s".to_vec()),
            (b"security.capability".to_vec(), capability),
            (b"trusted.bygone".to_vec(), vec![0, 1, 255]),
        ];
        // tmpfs takes user attributes since Linux 6.6 only.
        let probe = make::file(at, b"probe").unwrap();
        if rustix::fs::fsetxattr(&probe, "user.probe", b"", XattrFlags::empty()).is_ok() {
            attr.xattrs.push((b"user.empty".to_vec(), vec![]));
            attr.xattrs.push((b"user.long".to_vec(), vec![b'v'; 1900]));
        }
        let applied = restore(at, b"file", &attr, b"");
        assert!(applied.problems.is_empty(), "{}: {:?}", fs.kind, applied.problems);
        assert_eq!(round_trip(fs, at, b"file").xattrs, attr.xattrs, "{}", fs.kind);
        for kind in [Kind::Symlink, Kind::Fifo, Kind::CharDevice, Kind::Dir] {
            let mut attr = base(kind, 0o777);
            attr.xattrs = vec![(b"trusted.bygone".to_vec(), b"own".to_vec())];
            let name = format!("{kind:?}").into_bytes();
            let applied = restore(at, &name, &attr, b"file");
            assert!(applied.problems.is_empty(), "{}: {:?}", fs.kind, applied.problems);
            assert_eq!(round_trip(fs, at, &name).xattrs, attr.xattrs, "{} {kind:?}", fs.kind);
        }
        assert_eq!(attr_of(at, b"file").xattrs, attr.xattrs, "the link's attribute is not the file's");
    });
}

#[test]
fn attributes_that_should_not_be_there_are_removed() {
    everywhere(|fs, at| {
        let mut attr = base(Kind::File, 0o644);
        attr.xattrs = vec![(b"trusted.a".to_vec(), b"1".to_vec()), (b"trusted.b".to_vec(), b"2".to_vec())];
        assert!(restore(at, b"file", &attr, b"").problems.is_empty());
        tool("setfacl", &["-m", "u:99:rwx"], &fs.path().join("file"));
        attr.xattrs = vec![(b"trusted.b".to_vec(), b"3".to_vec()), (b"trusted.c".to_vec(), b"4".to_vec())];
        assert!(to_name(at, b"file", &attr).unwrap().problems.is_empty());
        assert_eq!(settable(attr_of(at, b"file")), settable(attr.clone()), "{}", fs.kind);
    });
}

#[test]
fn acls_and_default_acls() {
    everywhere(|fs, at| {
        make::file(at, b"file").unwrap();
        tool("setfacl", &["-m", "u:1001:rw,g:1002:r-x,m::rwx"], &fs.path().join("file"));
        make::directory(at, b"dir").unwrap();
        tool("setfacl", &["-m", "u:1001:rwx,d:u:1003:rx,d:g::-,d:m::rx"], &fs.path().join("dir"));
        let acls = |attr: Attr| attr.xattrs.iter().filter(|(n, _)| n.starts_with(b"system.posix_acl")).count();
        assert_eq!(acls(round_trip(fs, at, b"file")), 1);
        assert_eq!(acls(round_trip(fs, at, b"dir")), 2);
        let getfacl = |name: &str| {
            let out = Command::new("getfacl").args(["-nc", name]).current_dir(fs.path()).output().unwrap();
            String::from_utf8(out.stdout).unwrap()
        };
        assert!(getfacl("file").contains("user:1001:rw-"));
        assert_eq!(getfacl("file"), getfacl("file.copy"), "{}", fs.kind);
        assert_eq!(getfacl("dir"), getfacl("dir.copy"), "{}", fs.kind);
        // What is made in a directory with a default ACL inherits it, and must lose it again.
        let inside = dir::open_at(at, b"dir").unwrap();
        let plain = base(Kind::File, 0o640);
        assert!(restore(&inside, b"plain", &plain, b"").problems.is_empty());
        assert_eq!(settable(attr_of(&inside, b"plain")), settable(plain), "{}", fs.kind);
    });
}

/// Clears what would keep a test's directory from being removed.
struct Unprotect<'a>(&'a OwnedFd, Vec<&'a [u8]>);

impl Drop for Unprotect<'_> {
    fn drop(&mut self) {
        for name in &self.1 {
            if let Ok(fd) = read::open(self.0, name) {
                flags::unprotect(fd).unwrap();
            }
        }
    }
}

#[test]
fn inode_flags() {
    everywhere(|fs, at| {
        let guard = Unprotect(at, vec![b"file", b"file.copy", b"log", b"log.copy"]);
        let (file, log, dir) = match fs.kind {
            "ext4" => ("+iAdS", "+ad", "+dDST"),
            "temporary directory" => ("+iAd", "+ad", "+dA"),
            "btrfs" => ("+iAdSC", "+ad", "+dDSc"),
            "xfs" => ("+iAdS", "+ad", "+dA"),
            _ => ("+id", "+ad", "+dA"),
        };
        make::file(at, b"file").unwrap();
        make::file(at, b"log").unwrap();
        make::directory(at, b"dir").unwrap();
        for (name, flags) in [("file", file), ("log", log), ("dir", dir)] {
            let path = fs.path().join(name);
            let out = Command::new("chattr").arg(flags).arg(&path).output().unwrap();
            if !out.status.success() {
                eprintln!("not tested: chattr {flags} on {}", fs.kind);
                continue;
            }
            let attr = round_trip(fs, at, name.as_bytes());
            assert_eq!(attr.flags.count_ones() as usize, flags.len() - 1, "{} {flags}", fs.kind);
        }
        let Ok(copy) = read::open(at, b"file.copy") else { return };
        if meta::flags(&copy).unwrap() & meta::PROTECTING_FLAGS != 0 {
            assert!(make::unlink(at, b"file.copy").is_err(), "immutable");
            assert!(flags::unprotect(&copy).unwrap());
            assert!(!flags::unprotect(&copy).unwrap());
        }
        // Flags that should not be there are cleared.
        assert!(to_open(&copy, &base(Kind::File, 0o600)).problems.is_empty());
        assert_eq!(meta::flags(&copy).unwrap(), 0, "{}", fs.kind);
        drop(guard);
    });
}

#[test]
fn flags_that_a_file_system_lacks_are_named_and_the_others_set() {
    if !is_root() {
        return;
    }
    let Some(fs) = TestFs::mount("xfs") else { return };
    let at = dir::open(fs.path()).unwrap();
    let mut attr = base(Kind::File, 0o644);
    attr.flags = IFlags::NODUMP.bits() | IFlags::NOCOW.bits() | IFlags::NOTAIL.bits();
    let applied = restore(&at, b"file", &attr, b"");
    let missing = IFlags::NOCOW.bits() | IFlags::NOTAIL.bits();
    assert!(
        matches!(applied.problems[..], [Problem::Flags { flags, .. }] if flags == missing),
        "{:?}",
        applied.problems
    );
    assert!(applied.problems[0].to_string().contains("notail, nocow"), "{}", applied.problems[0]);
    assert_eq!(attr_of(&at, b"file").flags, IFlags::NODUMP.bits());
}

#[test]
fn links_devices_and_sockets() {
    everywhere(|fs, at| {
        for (name, target) in [("link", &b"nowhere"[..]), ("long", &[b't'; 1000]), ("bytes", b"\xff\n\x01")] {
            let applied = restore(at, name.as_bytes(), &base(Kind::Symlink, 0o777), target);
            assert!(applied.problems.is_empty(), "{}: {:?}", fs.kind, applied.problems);
            let got = round_trip(fs, at, name.as_bytes());
            assert_eq!((got.uid, got.gid), (1234, 4321));
            assert_eq!(meta::link_target(at, name.as_bytes()).unwrap(), target);
        }
        for (kind, major, minor) in [(Kind::CharDevice, 1, 3), (Kind::BlockDevice, 259, 70_000), (Kind::Socket, 0, 0)] {
            let mut attr = base(kind, 0o640);
            attr.rdev = libc::makedev(major, minor);
            let name = format!("{kind:?}").into_bytes();
            let applied = restore(at, &name, &attr, b"");
            assert!(applied.problems.is_empty(), "{}: {:?}", fs.kind, applied.problems);
            assert_eq!(round_trip(fs, at, &name).rdev, attr.rdev, "{}", fs.kind);
        }
    });
}

#[test]
fn a_node_of_another_kind_is_not_touched() {
    let tmp = tempfile::tempdir().unwrap();
    let at = dir::open(tmp.path()).unwrap();
    make::file(&at, b"file").unwrap();
    let before = stat::at(&at, b"file").unwrap();
    for kind in [Kind::Symlink, Kind::Fifo, Kind::CharDevice, Kind::Dir] {
        assert!(to_name(&at, b"file", &base(kind, 0o777)).is_err());
    }
    make::symlink(&at, b"link", b"file").unwrap();
    assert!(to_name(&at, b"link", &base(Kind::File, 0o777)).is_err());
    assert_eq!(stat::at(&at, b"file").unwrap(), before);
}

#[test]
fn holes_are_kept() {
    everywhere(|fs, at| {
        let file = make::file(at, b"sparse").unwrap();
        make::set_len(&file, 20 << 30).unwrap();
        make::write_at(&file, &[1; 1 << 20], 1 << 30).unwrap();
        make::punch_hole(&file, (1 << 30) + (64 << 10), 64 << 10).unwrap();
        let now = stat::of(&file).unwrap();
        assert_eq!(now.size, 20 << 30);
        assert!(now.blocks <= 2048, "{}: {}", fs.kind, now.blocks);
        let start = 1 << 30;
        let segments: Vec<_> = read::Segments::new(&file, &now).map(|s| s.unwrap()).map(|s| (s.start, s.end)).collect();
        let want = [(start, start + (64 << 10)), (start + (128 << 10), start + (1 << 20))];
        assert_eq!(segments, want, "{}", fs.kind);
    });
}

#[test]
fn odd_names_and_deep_directories() {
    everywhere(|fs, at| {
        for name in [&[b'n'; 250][..], b"\xff\xfe\x80", b"new\nline", b"-rf", b" ", b"\\x"] {
            let mut attr = base(Kind::File, 0o600);
            attr.xattrs = vec![(b"trusted.name".to_vec(), name.to_vec())];
            assert!(restore(at, name, &attr, b"").problems.is_empty(), "{}", fs.kind);
            round_trip(fs, at, name);
            assert_eq!(meta::xattrs_at(at, name).unwrap(), attr.xattrs);
        }
        let mut path = Vec::new();
        let mut deep = dir::open_beneath(at, b"").unwrap();
        for _ in 0..30 {
            make::directory(&deep, &[b'd'; 255]).unwrap();
            deep = dir::open_at(&deep, &[b'd'; 255]).unwrap();
            path.extend_from_slice(&[b'd'; 255]);
            path.push(b'/');
        }
        path.extend_from_slice(b"link");
        let (parent, name) = dir::open_parent_beneath(at, &path).unwrap();
        let mut attr = base(Kind::Symlink, 0o777);
        attr.xattrs = vec![(b"trusted.deep".to_vec(), b"yes".to_vec())];
        assert!(restore(&parent, name, &attr, b"t").problems.is_empty(), "{}", fs.kind);
        assert_eq!(round_trip(fs, &parent, name).xattrs, attr.xattrs);
    });
}

#[test]
fn without_privilege_all_that_fails_is_named() {
    if !is_root() {
        return;
    }
    let tmp = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(tmp.path(), Some(65534), Some(65534)).unwrap();
    let at = dir::open(tmp.path()).unwrap();
    let mut attr = base(Kind::File, 0o6755);
    attr.flags = IFlags::IMMUTABLE.bits() | IFlags::NODUMP.bits();
    attr.xattrs = vec![(b"trusted.a".to_vec(), vec![1]), (b"user.b".to_vec(), vec![2])];
    std::thread::scope(|scope| {
        // Of this thread only: the kernel's user ids belong to threads.
        let task = scope.spawn(|| {
            let (uid, gid) = (Uid::from_raw(65534), Gid::from_raw(65534));
            rustix::thread::set_thread_groups(&[]).unwrap();
            rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
            rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
            let applied = restore(&at, b"file", &attr, b"");
            let problems = &applied.problems;
            let has = |test: fn(&Problem) -> bool| problems.iter().filter(|p| test(p)).count() == 1;
            assert!(has(|p| matches!(p, Problem::Owner { uid: 1234, gid: 4321, .. })), "{problems:?}");
            assert!(has(|p| matches!(p, Problem::SetId { mode: 0o6755 })), "{problems:?}");
            assert!(has(|p| matches!(p, Problem::Xattr { name, .. } if name == b"trusted.a")), "{problems:?}");
            let immutable = IFlags::IMMUTABLE.bits();
            assert!(problems.iter().any(|p| matches!(p, Problem::Flags { flags, .. } if *flags == immutable)));
            assert_eq!(problems.len(), 4, "{problems:?}");
            let got = attr_of(&at, b"file");
            assert_eq!((got.mode & 0o7777, got.mtime, got.flags), (0o755, attr.mtime, IFlags::NODUMP.bits()));
            assert_eq!(got.xattrs, [(b"user.b".to_vec(), vec![2])]);
            // Its own owner needs no privilege.
            let mut own = base(Kind::File, 0o4755);
            (own.uid, own.gid) = (65534, 65534);
            assert!(restore(&at, b"own", &own, b"").problems.is_empty());
        });
        task.join().unwrap();
    });
    attr.uid = u32::MAX;
    attr.flags = 0;
    let applied = restore(&at, b"no-owner", &attr, b"");
    assert!(applied.problems.iter().any(|p| matches!(p, Problem::Owner { uid: u32::MAX, .. })));
}
