//! What is refused before anything is done.

use crate::index::tree::Reader;
use crate::recover::error::{RecoverError, io};
use crate::repo::attach::Attached;
use crate::sys::{dir, mounts, process, space};
use crate::types::{
    attr::Kind,
    ids::{Node, Snap, SourceNum},
    path,
    time::Instant,
};
use crate::view::instant::{Object, View};
use std::{
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant as Clock},
};

/// How long the room that is needed is added up before the directory is given back; the rest is known when it is filled.
const ADD_UP: Duration = Duration::from_millis(150);

/// Refuses without the privilege.
pub fn machine() -> Result<(), RecoverError> {
    match process::effective_uid() {
        0 => Ok(()),
        _ => Err(RecoverError::NotRoot),
    }
}

/// The directory, without symbolic links, if an overlay can be mounted on it. `own` are directories of bygone's own.
pub fn place(given: &Path, own: &[(&str, &Path)]) -> Result<PathBuf, RecoverError> {
    let refused = |path: &Path, why: String| RecoverError::Place { path: path::show(path.as_os_str().as_bytes()), why };
    let (Some(parent), Some(name)) = (given.parent(), given.file_name()) else {
        return Err(refused(given, "it has no directory beside which it could be brought back".into()));
    };
    let parent = match parent.canonicalize() {
        Ok(parent) => parent,
        Err(e) => {
            return Err(refused(given, format!("the directory that it lies in can't be used ({e}): make it first")));
        }
    };
    let point = parent.join(name);
    match point.symlink_metadata() {
        Ok(meta) if meta.is_symlink() => {
            return Err(refused(&point, "it is a symbolic link: name the directory itself".into()));
        }
        Ok(meta) if !meta.is_dir() => return Err(refused(&point, "it is no directory now: move it away first".into())),
        Ok(_) => {}
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(io("look at", &point)(e)),
    }
    let bytes = point.as_os_str().as_bytes();
    let table = mounts::mounts().map_err(io("tell what is mounted on", &point))?;
    if let Some(mount) = table.iter().find(|m| path::is_within(&m.point, bytes)) {
        let why = match mount.point == bytes {
            true => "it is a mount point: give back a directory in it, or restore into it".to_owned(),
            false => format!("{} is mounted in it: unmount that first", path::show(&mount.point)),
        };
        return Err(refused(&point, why));
    }
    for (what, dir) in own {
        let Ok(dir) = dir.canonicalize() else { continue };
        if let Some(how) = path::relation(bytes, dir.as_os_str().as_bytes()) {
            return Err(refused(&point, format!("it {how} the {what}, {}", dir.display())));
        }
    }
    let fd = dir::open_root(&parent).map_err(io("open", &parent))?;
    match space::of(&fd).map_err(io("tell the room on", &parent))?.read_only {
        true => Err(refused(&point, "its file system is mounted read-only".into())),
        false => Ok(point),
    }
}

/// The instant that is given back: that of the snapshot that shows the directory. It never changes.
pub fn instant(index: &Reader, view: &View, from: &[u8]) -> Result<Option<Instant>, RecoverError> {
    let refused = |why: &str| RecoverError::Place { path: path::show(from), why: why.into() };
    match view.look_up(index, from)? {
        None => Ok(None),
        Some(Object::Above) => Err(refused("it lies in no source, it only leads to some: name one of them")),
        Some(Object::Node(_, row)) if !row.node.is_dir() => {
            Err(refused("it was no directory at that time: restore it"))
        }
        Some(Object::Node(part, _)) => Ok(Some(view.parts[part].snapshot.time)),
    }
}

/// Refuses where it is known, after a short time, that the plain directory has no room.
pub fn room(at: &Attached, view: &View, from: &[u8], point: &Path) -> Result<(), RecoverError> {
    let parent = point.parent().unwrap_or(Path::new("/"));
    let fd = dir::open_root(parent).map_err(io("open", parent))?;
    let available = space::of(&fd).map_err(io("tell the room on", parent))?.available_bytes;
    let index = at.reader()?;
    let Some(Object::Node(part, row)) = view.look_up(&index, from)? else { return Ok(()) };
    let needed =
        index.hold(|index| add_up(index, (row.source, view.parts[part].snapshot.number), row.node, available))?;
    match needed > available {
        true => Err(RecoverError::Space { path: point.display().to_string(), needed, available }),
        false => Ok(()),
    }
}

/// What the files in a directory took on disk, as far as it can be told in time, or until it is too much.
fn add_up(index: &Reader, (source, snap): (SourceNum, Snap), root: Node, enough: u64) -> Result<u64, RecoverError> {
    let begun = Clock::now();
    let (mut dirs, mut sum) = (vec![root], 0_u64);
    while let Some(dir) = dirs.pop() {
        for row in index.children(source, dir, snap)? {
            match row.attr.kind() {
                Kind::Dir => dirs.push(row.node),
                Kind::File => sum = sum.saturating_add(row.attr.size.min(row.attr.blocks.saturating_mul(512))),
                _ => {}
            }
        }
        if sum > enough || begun.elapsed() > ADD_UP {
            break;
        }
    }
    Ok(sum)
}
