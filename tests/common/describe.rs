//! A tree in plain words, read from a directory and read from a view, and the difference of two of them.

#![allow(dead_code, reason = "each test uses a part")]

use bygone::index::{error::IndexError, rows::Row, tree::Reader};
use bygone::repo::frames::Frames;
use bygone::sys::meta::KEPT_FLAGS;
use bygone::types::{
    attr::{Kind, Xattrs},
    ids::{Node, Snap, SourceNum},
    path::{join, show},
};
use bygone::view::content::{self, Content};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, SeekFrom, StatxFlags};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    os::fd::AsRawFd as _,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

/// What one name of a tree leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Thing {
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    /// Of a file or link.
    pub(crate) size: u64,
    pub(crate) rdev: u64,
    pub(crate) mtime: (i64, u32),
    pub(crate) btime: Option<(i64, u32)>,
    pub(crate) flags: u32,
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The hash of the content, the target of a link; nothing for the rest.
    pub(crate) content: Vec<u8>,
    /// The data segments of a file larger than a block.
    pub(crate) data: Vec<(u64, u64)>,
    /// The other names of the node, itself included, where there are several.
    pub(crate) links: Vec<Vec<u8>>,
    /// What tells the node from others: (inode number, birth) of a directory's, the node of a view's.
    pub(crate) identity: (u64, u64),
}

/// All names of a tree; the root's is empty.
pub(crate) type Tree = BTreeMap<Vec<u8>, Thing>;

/// What is compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Everything.
    All,
    /// What a copy can have: no birth.
    Copy,
}

/// The directory at `root`, without its sockets.
pub(crate) fn of_disk(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let fd = rustix::fs::open(root, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    tree.insert(Vec::new(), disk_thing(&fd, b".").unwrap());
    walk_disk(&fd, &[], &mut tree);
    link(tree)
}

fn walk_disk(dir: &OwnedFd, rel: &[u8], tree: &mut Tree) {
    let mut listed = rustix::fs::Dir::read_from(dir).unwrap();
    while let Some(entry) = listed.read() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        let path = join(rel, name);
        let Some(thing) = disk_thing(dir, name) else { continue };
        let is_dir = thing.mode & libc::S_IFMT == libc::S_IFDIR;
        tree.insert(path.clone(), thing);
        if is_dir {
            let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            walk_disk(&rustix::fs::openat(dir, name, flags, Mode::empty()).unwrap(), &path, tree);
        }
    }
}

fn disk_thing(dir: &OwnedFd, name: &[u8]) -> Option<Thing> {
    let mask = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let stat = rustix::fs::statx(dir, name, AtFlags::SYMLINK_NOFOLLOW, mask).unwrap();
    let mode = u32::from(stat.stx_mode);
    let kind = mode & libc::S_IFMT;
    if kind == libc::S_IFSOCK {
        return None;
    }
    let has_birth = stat.stx_mask & StatxFlags::BTIME.bits() != 0;
    let birth = (stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec);
    let mut thing = Thing {
        mode,
        owner: (stat.stx_uid, stat.stx_gid),
        size: 0,
        rdev: 0,
        mtime: (stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec),
        btime: has_birth.then_some(birth),
        flags: 0,
        xattrs: disk_xattrs(dir, name),
        content: Vec::new(),
        data: Vec::new(),
        links: Vec::new(),
        identity: (stat.stx_ino, (birth.0 as u64) << 30 ^ u64::from(birth.1)),
    };
    match kind {
        libc::S_IFREG => disk_file(dir, name, stat.stx_size, &mut thing),
        libc::S_IFLNK => {
            thing.content = rustix::fs::readlinkat(dir, name, Vec::new()).unwrap().into_bytes();
            thing.size = thing.content.len() as u64;
        }
        libc::S_IFDIR => {
            let fd = rustix::fs::openat(dir, name, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
            thing.flags = disk_flags(&fd);
        }
        libc::S_IFCHR | libc::S_IFBLK => thing.rdev = rustix::fs::makedev(stat.stx_rdev_major, stat.stx_rdev_minor),
        _ => {}
    }
    Some(thing)
}

fn disk_file(dir: &OwnedFd, name: &[u8], size: u64, thing: &mut Thing) {
    let fd = rustix::fs::openat(dir, name, OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let mut hasher = blake3::Hasher::new();
    if size <= 1 << 30 {
        let mut buffer = vec![0; 1 << 20];
        let mut at = 0;
        loop {
            match rustix::io::pread(&fd, &mut buffer[..], at).unwrap() {
                0 => break,
                n => {
                    hasher.update(&buffer[..n]);
                    at += n as u64;
                }
            }
        }
        assert_eq!(at, size, "{} holds still", show(name));
        thing.content = hasher.finalize().as_bytes().to_vec();
    }
    thing.size = size;
    thing.flags = disk_flags(&fd);
    if size > 4096 {
        let mut at = 0;
        while let Ok(start) = rustix::fs::seek(&fd, SeekFrom::Data(at)) {
            at = rustix::fs::seek(&fd, SeekFrom::Hole(start)).unwrap().min(size);
            thing.data.push((start, at));
        }
    }
}

fn disk_flags(fd: impl AsFd) -> u32 {
    rustix::fs::ioctl_getflags(fd).map_or(0, |flags| flags.bits()) & KEPT_FLAGS
}

fn disk_xattrs(dir: &OwnedFd, name: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    let mut names = vec![0; 65536];
    let Ok(len) = rustix::fs::llistxattr(path.as_slice(), &mut names[..]) else { return Vec::new() };
    let mut out: Vec<_> = names[..len]
        .split(|b| *b == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = vec![0; 65536];
            let len = rustix::fs::lgetxattr(path.as_slice(), name, &mut value[..]).unwrap();
            value.truncate(len);
            (name.to_vec(), value)
        })
        .collect();
    out.sort();
    out
}

/// A snapshot of a source, as the index and the packs have it.
pub(crate) fn of_view(index: &Reader, frames: &Frames, source: SourceNum, snap: Snap) -> Tree {
    // In one transaction, as every reader beside a writer has it.
    index.hold(|index| Ok::<_, IndexError>(view(index, frames, source, snap))).unwrap()
}

fn view(index: &Reader, frames: &Frames, source: SourceNum, snap: Snap) -> Tree {
    let mut tree = Tree::new();
    let root = index.child(source, Node::ABOVE, b"", snap).unwrap().expect("a view has a root");
    assert_eq!(root.node, Node::ROOT);
    tree.insert(Vec::new(), view_thing(index, frames, &root));
    walk_view(index, frames, (source, snap), Node::ROOT, &[], &mut tree);
    link(tree)
}

fn walk_view(index: &Reader, frames: &Frames, at: (SourceNum, Snap), dir: Node, rel: &[u8], tree: &mut Tree) {
    let rows = index.children(at.0, dir, at.1).unwrap();
    for row in rows {
        let path = join(rel, &row.name);
        let found = index.child(at.0, dir, &row.name, at.1).unwrap();
        assert_eq!(found.as_ref(), Some(&row), "{}: looked up and listed", show(&path));
        assert_eq!(row.node.is_dir(), row.attr.kind() == Kind::Dir, "{}", show(&path));
        tree.insert(path.clone(), view_thing(index, frames, &row));
        if row.node.is_dir() {
            walk_view(index, frames, at, row.node, &path, tree);
        }
    }
}

fn view_thing(index: &Reader, frames: &Frames, row: &Row) -> Thing {
    let attr = &row.attr;
    let mut thing = Thing {
        mode: attr.mode,
        owner: (attr.uid, attr.gid),
        size: attr.size,
        rdev: attr.rdev,
        mtime: (attr.mtime.sec, attr.mtime.nsec),
        btime: attr.btime.map(|t| (t.sec, t.nsec)),
        flags: attr.flags,
        xattrs: index.xattrs(row.xattr).unwrap(),
        content: Vec::new(),
        data: Vec::new(),
        links: Vec::new(),
        identity: (row.node.0, 0),
    };
    assert!(!row.fuzzy, "{}: it held still", show(&row.name));
    match attr.kind() {
        Kind::File => view_file(index, frames, row, &mut thing),
        Kind::Symlink => thing.content = content::link_target(index, row).unwrap(),
        _ => {}
    }
    thing
}

fn view_file(index: &Reader, frames: &Frames, row: &Row, thing: &mut Thing) {
    let content = Content::open(index, row.source, row.ver).unwrap();
    assert_eq!(content.size, row.attr.size);
    if content.size <= 1 << 30 {
        let mut hasher = blake3::Hasher::new();
        let mut buffer = Vec::new();
        for at in (0..content.size).step_by(1 << 20) {
            buffer.clear();
            content.read(index, frames, at, 1 << 20, &mut buffer).unwrap();
            hasher.update(&buffer);
        }
        thing.content = hasher.finalize().as_bytes().to_vec();
    }
    if content.size > 4096 {
        let mut at = 0;
        while let Some(start) = content.seek(at, false) {
            at = content.seek(start, true).expect("the end is a hole");
            thing.data.push((start, at));
        }
    }
}

/// Fills in the other names of each node.
fn link(mut tree: Tree) -> Tree {
    let mut groups: BTreeMap<(u64, u64), Vec<Vec<u8>>> = BTreeMap::new();
    for (path, thing) in &tree {
        groups.entry(thing.identity).or_default().push(path.clone());
    }
    for names in groups.into_values().filter(|names| names.len() > 1) {
        for name in &names {
            if let Some(thing) = tree.get_mut(name) {
                thing.links = names.clone();
            }
        }
    }
    tree
}

/// What differs, one line a difference; empty where the trees are equal.
pub(crate) fn differences(want: &Tree, got: &Tree, depth: Depth) -> String {
    let mut out = String::new();
    for path in want.keys().chain(got.keys().filter(|path| !want.contains_key(*path))) {
        match (want.get(path), got.get(path)) {
            (Some(_), None) => drop(writeln!(out, "{}: is missing", show(path))),
            (None, Some(_)) => drop(writeln!(out, "{}: is too much", show(path))),
            (Some(want), Some(got)) => compare(path, want, got, depth, &mut out),
            (None, None) => {}
        }
    }
    out
}

fn compare(path: &[u8], want: &Thing, got: &Thing, depth: Depth, out: &mut String) {
    let mut field = |name: &str, same: bool, w: &dyn std::fmt::Debug, g: &dyn std::fmt::Debug| {
        if !same {
            let _ = writeln!(out, "{}: {name}: {w:?} was captured as {g:?}", show(path));
        }
    };
    field("mode", want.mode == got.mode, &format!("{:o}", want.mode), &format!("{:o}", got.mode));
    field("owner", want.owner == got.owner, &want.owner, &got.owner);
    field("size", want.size == got.size, &want.size, &got.size);
    field("rdev", want.rdev == got.rdev, &want.rdev, &got.rdev);
    field("mtime", want.mtime == got.mtime, &want.mtime, &got.mtime);
    field("flags", want.flags == got.flags, &want.flags, &got.flags);
    field("xattrs", want.xattrs == got.xattrs, &want.xattrs, &got.xattrs);
    field("content", want.content == got.content, &show(&want.content), &show(&got.content));
    field("data", want.data == got.data, &want.data, &got.data);
    let names = |t: &Thing| t.links.iter().map(|n| show(n)).collect::<Vec<_>>();
    field("names", want.links == got.links, &names(want), &names(got));
    if depth == Depth::All {
        field("birth", want.btime == got.btime, &want.btime, &got.btime);
    }
}

/// Every row of a snapshot, with its numbers: what a rebuilt index must have again.
pub(crate) fn rows(index: &Reader, source: SourceNum, snap: Snap) -> Vec<(Row, Xattrs)> {
    let mut dirs = vec![Node::ROOT];
    let mut out: Vec<Row> = index.child(source, Node::ABOVE, b"", snap).unwrap().into_iter().collect();
    while let Some(dir) = dirs.pop() {
        for row in index.children(source, dir, snap).unwrap() {
            if row.node.is_dir() {
                dirs.push(row.node);
            }
            out.push(row);
        }
    }
    let plain = |mut row: Row| {
        let xattrs = index.xattrs(row.xattr).unwrap();
        // Where a node was last seen is known on this host only, and sets of attributes are numbered as they come.
        (row.place, row.seen, row.xattr) = (bygone::types::attr::Place::default(), None, 0);
        (row, xattrs)
    };
    out.into_iter().map(plain).collect()
}

/// A statx of the working directory: the file system works at all.
pub(crate) fn is_there(path: &Path) -> bool {
    rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS).is_ok()
}
