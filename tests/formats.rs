//! Repositories of released formats stay readable for ever. `tests/formats/v1` was written before keys had roles, `v1-roles`
//! since, and `v1-rotated` has three generations of keys; what they show is described beside them.
//!
//! `BYGONE_BLESS=1` writes the latter and its description anew (as root: it has devices and owners). That is right only while a
//! format is not released.

#![allow(clippy::disallowed_methods, reason = "a test plays the part of the user")]

#[path = "common/describe.rs"]
mod describe;
#[path = "common/lab.rs"]
mod lab;

use bygone::capture::engine::Plan;
use bygone::crypto::{
    paper,
    slots::{Secret, SlotKind},
};
use bygone::index::tree::Reader;
use bygone::progress::Quiet;
use bygone::repo::{attach::Attached, frames::Frames, generations, open::Repository, replay};
use bygone::store::local::LocalStore;
use bygone::sys::clock::SystemClock;
use bygone::types::{
    ids::{Snap, SourceNum},
    op::Gap,
    path::show,
    role::Role,
    snapshot::Tier,
    time::Instant,
};
use describe::Tree;
use lab::Lab;
use rustix::fs::{AtFlags, CWD, FileType, Mode, RenameFlags, Timespec, Timestamps, XattrFlags};
use std::{
    fmt::Write as _,
    os::unix::{ffi::OsStrExt as _, fs::FileExt as _},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats").join(name)
}

#[test]
fn version_1_is_read() {
    reads("v1", "key");
}

#[test]
fn version_1_with_roles_is_read() {
    if std::env::var_os("BYGONE_BLESS").is_some() {
        bless();
    }
    reads("v1-roles", "key");
    reads("v1-roles", "reader");
    for role in [Role::Writer, Role::Auditor] {
        let key = std::fs::read_to_string(kept("v1-roles").join(role.word())).unwrap();
        let store = Arc::new(LocalStore::open(&kept("v1-roles").join("repo")));
        let repo = Repository::open(store, &Secret::from_key_file(&key).unwrap()).unwrap();
        assert_eq!(repo.role(), role);
        let state = tempfile::tempdir().unwrap();
        let at = Attached::open(Arc::new(repo), state.path(), Arc::new(SystemClock)).unwrap();
        let replayed = replay::catch_up(&at, &Quiet).unwrap();
        assert!(replayed.problems.is_empty(), "{:?}", replayed.problems);
    }
}

/// Keys that were there before a rotation, and one that was added after it.
#[test]
fn version_1_with_rotated_keys_is_read() {
    if std::env::var_os("BYGONE_BLESS_ROTATED").is_some() {
        bless_rotated();
    }
    for key in ["key", "reader", "late"] {
        reads("v1-rotated", key);
    }
    for (key, role) in [("writer", Role::Writer), ("auditor", Role::Auditor)] {
        let key = std::fs::read_to_string(kept("v1-rotated").join(key)).unwrap();
        let store = Arc::new(LocalStore::open(&kept("v1-rotated").join("repo")));
        let repo = Repository::open(store, &Secret::from_key_file(&key).unwrap()).unwrap();
        assert_eq!((repo.role(), repo.keys().in_force().unwrap().number()), (role, 2));
        let state = tempfile::tempdir().unwrap();
        let at = Attached::open(Arc::new(repo), state.path(), Arc::new(SystemClock)).unwrap();
        let replayed = replay::catch_up(&at, &Quiet).unwrap();
        assert!(replayed.problems.is_empty(), "{:?}", replayed.problems);
    }
}

/// The repository opens with this key, and shows what is described beside it.
fn reads(name: &str, key: &str) {
    let from = kept(name);
    let dir = tempfile::tempdir().unwrap();
    // A reader writes nothing into a repository, but this one is not to be trusted with the only copy.
    let copied = Command::new("cp").arg("-r").arg(from.join("repo")).arg(dir.path()).status().unwrap();
    assert!(copied.success());
    let key = std::fs::read_to_string(from.join(key)).unwrap();
    let store = Arc::new(LocalStore::open(&dir.path().join("repo")));
    let repo = Repository::open(store, &Secret::from_key_file(&key).unwrap()).unwrap();
    let at = Attached::open(Arc::new(repo), &dir.path().join("state"), Arc::new(SystemClock)).unwrap();
    let replayed = replay::catch_up(&at, &Quiet).unwrap();
    assert!(replayed.problems.is_empty(), "{:?}", replayed.problems);
    let want = std::fs::read_to_string(from.join("description")).unwrap();
    let got = description(&at);
    if let Some((want, got)) = want.lines().zip(got.lines()).find(|(want, got)| want != got) {
        panic!("the description has\n{want}\nand the repository shows\n{got}");
    }
    assert_eq!(want.lines().count(), got.lines().count());
}

/// Everything that a repository shows, as text.
fn description(at: &Attached) -> String {
    let (index, frames) = (at.reader().unwrap(), Frames::new(at.repo().clone(), 16 << 20));
    let mut out = String::new();
    for source in index.sources().unwrap() {
        writeln!(out, "source {} {} {} {}", source.num.0, source.id, source.host, show(&source.root)).unwrap();
        for gap in index.gaps(source.num, Instant(i64::MIN), Instant(i64::MAX)).unwrap() {
            writeln!(out, "gap {:?} {} {} {}", show(&gap.subtree), gap.from.0, gap.to.0, gap.why).unwrap();
        }
        for number in 1..=index.head(source.num).unwrap().number.0 {
            snapshot(&index, &frames, source.num, Snap(number), &mut out);
        }
    }
    out
}

fn snapshot(index: &Reader, frames: &Frames, source: SourceNum, number: Snap, out: &mut String) {
    let s = index.snapshot(source, number).unwrap().unwrap();
    writeln!(out, "snapshot {number} {} {} {} {:?}", s.time.0, s.tier.word(), s.hash, s.counts).unwrap();
    let tree: Tree = describe::of_view(index, frames, source, number);
    let rows = describe::rows(index, source, number);
    for (path, t) in &tree {
        let row = rows.iter().find(|(row, _)| row.node.0 == t.identity.0).map(|(row, _)| row).unwrap();
        let content = if t.mode & libc::S_IFMT == libc::S_IFLNK { show(&t.content) } else { hex(&t.content) };
        let xattrs: Vec<_> = t.xattrs.iter().map(|(name, value)| format!("{}={}", show(name), hex(value))).collect();
        let links: Vec<_> = t.links.iter().map(|name| show(name)).collect();
        writeln!(
            out,
            "  {:?} node {} version {} from {} mode {:o} owner {:?} size {} blocks {} rdev {} mtime {:?} ctime {:?} birth {:?} \
             flags {:x} xattrs {xattrs:?} names {links:?} data {:?} content {content}",
            show(path),
            row.node.0,
            row.ver.0,
            row.from,
            t.mode,
            t.owner,
            t.size,
            row.attr.blocks,
            t.rdev,
            t.mtime,
            (row.attr.ctime.sec, row.attr.ctime.nsec),
            t.btime,
            t.flags,
            t.data,
        )
        .unwrap();
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Writes a small repository with every kind of operation in it.
fn bless() {
    let mut lab = Lab::new();
    lab.capture.level = 19;
    first(&lab.root);
    lab.captured();
    second(&lab.root);
    lab.captured();
    let gap = Gap { subtree: b"dir".to_vec(), from: Instant(1), to: Instant(2), why: "nothing watched".into() };
    let plan = Plan { gaps: vec![gap], ..Plan::everything() };
    third(&lab.root);
    lab.try_capture(&mut lab.writer(), &plan, Tier::Incremental, true).unwrap();
    lab.snapshot(Tier::Differential);
    write(&lab.root, "last", b"of the fifth");
    lab.snapshot(Tier::Full);
    let to = kept("v1-roles");
    let _ = std::fs::remove_dir_all(&to);
    std::fs::create_dir_all(&to).unwrap();
    let Secret::KeyFile(bytes) = &lab.secret else { panic!("the lab has a key") };
    std::fs::write(to.join("key"), paper::key_file(bytes, lab.repo.id(), Role::Admin).as_bytes()).unwrap();
    for role in [Role::Reader, Role::Writer, Role::Auditor] {
        let new = Secret::generate_key().unwrap();
        let of = (SlotKind::KeyFile, role);
        lab.repo.add_slot(&new, of, role.word(), Instant(0)).unwrap();
        let Secret::KeyFile(bytes) = &new else { panic!("it is a key") };
        std::fs::write(to.join(role.word()), paper::key_file(bytes, lab.repo.id(), role).as_bytes()).unwrap();
    }
    let copied = Command::new("cp").arg("-r").arg(lab.dir().join("repo")).arg(&to).status().unwrap();
    assert!(copied.success());
    std::fs::write(to.join("description"), description(&lab.rebuilt())).unwrap();
}

/// Writes a small repository with three generations of keys.
fn bless_rotated() {
    let lab = Lab::new();
    let to = kept("v1-rotated");
    std::fs::create_dir_all(&to).unwrap();
    let keep = |name: &str, role: Role, secret: &Secret| {
        let Secret::KeyFile(bytes) = secret else { panic!("it is a key") };
        std::fs::write(to.join(name), paper::key_file(bytes, lab.repo.id(), role).as_bytes()).unwrap();
    };
    let add = |name: &str, role: Role| {
        let new = Secret::generate_key().unwrap();
        lab.repo.add_slot(&new, (SlotKind::KeyFile, role), name, Instant(0)).unwrap();
        keep(name, role, &new);
    };
    keep("key", Role::Admin, &lab.secret);
    for role in [Role::Reader, Role::Writer, Role::Auditor] {
        add(role.word(), role);
    }
    for (n, what) in [b"of the first generation".as_slice(), b"of the second", b"of the third"].into_iter().enumerate()
    {
        if n > 0 {
            generations::rotate(&lab.repo).unwrap();
        }
        write(&lab.root, "file", what);
        write(&lab.root, &format!("file of {n}"), what);
        lab.captured();
        if n == 1 {
            add("late", Role::Reader);
        }
    }
    let copied = Command::new("cp").arg("-r").arg(lab.dir().join("repo")).arg(&to).status().unwrap();
    assert!(copied.success());
    std::fs::write(to.join("description"), description(&lab.rebuilt())).unwrap();
}

/// Three megabytes that compress to little.
fn long(changed: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut n = 0_u32;
    while out.len() < 3 << 20 {
        out.extend_from_slice(&[b'.'; 500]);
        out.extend_from_slice(format!("{n}\n").as_bytes());
        n += 1;
    }
    out[1_000_000..1_000_000 + changed].fill(b'!');
    out
}

fn write(root: &Path, name: &str, bytes: &[u8]) {
    std::fs::write(root.join(name), bytes).unwrap();
}

fn first(root: &Path) {
    std::fs::create_dir_all(root.join("dir/below")).unwrap();
    write(root, "long", &long(0));
    write(root, "empty", b"");
    write(root, "replaced", b"before");
    write(root, "dir/one name", b"linked");
    write(root, "dir/below/x", b"x");
    rustix::fs::link(root.join("dir/one name"), root.join("another name")).unwrap();
    std::os::unix::fs::symlink("dir/below", root.join("link")).unwrap();
    let odd = std::ffi::OsStr::from_bytes(b"\xff\n");
    std::fs::write(root.join(odd), b"odd").unwrap();
    let mode = Mode::from_raw_mode(0o640);
    rustix::fs::mknodat(CWD, root.join("fifo"), FileType::Fifo, mode, 0).unwrap();
    rustix::fs::mknodat(CWD, root.join("device"), FileType::CharacterDevice, mode, rustix::fs::makedev(1, 3)).unwrap();
    let sparse = std::fs::File::create(root.join("sparse")).unwrap();
    sparse.set_len(1 << 20).unwrap();
    sparse.write_all_at(&[7; 4096], 512 << 10).unwrap();
    sparse.sync_all().unwrap();
    rustix::fs::lsetxattr(root.join("empty"), "user.a", b"value", XattrFlags::empty()).unwrap();
    rustix::fs::lsetxattr(root.join("link"), "trusted.t", b"\0", XattrFlags::empty()).unwrap();
    rustix::fs::chmod(root.join("empty"), Mode::from_raw_mode(0o4711)).unwrap();
    std::os::unix::fs::lchown(root.join("link"), Some(1000), Some(100)).unwrap();
    let at = Timespec { tv_sec: -1_000_000_000, tv_nsec: 5 };
    let times = Timestamps { last_access: at, last_modification: at };
    rustix::fs::utimensat(CWD, root.join("replaced"), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn second(root: &Path) {
    write(root, "long", &long(300));
    std::fs::rename(root.join("dir/below"), root.join("moved")).unwrap();
    write(root, "saved~", b"after");
    std::fs::rename(root.join("saved~"), root.join("replaced")).unwrap();
    rustix::fs::renameat_with(CWD, root.join("fifo"), CWD, root.join("device"), RenameFlags::EXCHANGE).unwrap();
    write(root, "another name", b"written through the other name");
    // What is stored already is named by its hash.
    write(root, "again", b"odd");
}

fn third(root: &Path) {
    std::fs::remove_file(root.join("another name")).unwrap();
    std::fs::remove_dir_all(root.join("moved")).unwrap();
    std::fs::remove_file(root.join("empty")).unwrap();
    std::fs::create_dir(root.join("empty")).unwrap();
    let long = std::fs::File::options().write(true).open(root.join("long")).unwrap();
    long.set_len(2_500_000).unwrap();
}
