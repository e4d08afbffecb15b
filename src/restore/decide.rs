//! What has to be done for each entry of a view, by what stands in its place.

use crate::index::{
    error::IndexError,
    rows::{Piece, Row},
};
use crate::restore::{
    beside,
    compare::{CompareError, Found, compare},
    delete::Remover,
    error::RestoreError,
    plan::{Action, DirAction, PlannedFile, Removal, Wanted},
    report::{Problem, Why},
    walk::{Group, Pending, Walk, What},
};
use crate::sys::{
    dir::{self, Listing},
    stat::Stat,
};
use crate::types::{
    attr::Kind,
    ids::{Node, Snap, SourceNum},
    path,
};
use rustix::fd::OwnedFd;
use std::{collections::HashSet, os::unix::ffi::OsStrExt as _};

impl Walk<'_> {
    /// Notes what has to be done for one entry of the view.
    pub(super) fn entry(
        &mut self,
        at: usize,
        dir: Option<&OwnedFd>,
        row: &Row,
        snap: Snap,
        delete: bool,
    ) -> Result<(), RestoreError> {
        let row = &*self.mapping.row(row);
        let shown = |walk: &Self| walk.plan.path(at, &row.name);
        if !path::is_name(&row.name) {
            self.problem(shown(self), Why::Impossible("a name that no file can have"));
            return Ok(());
        }
        let found = match dir.map(|dir| compare(self.index, self.mapping, dir, &row.name, row)) {
            None => Found::Nothing,
            Some(Ok(found)) => found,
            Some(Err(CompareError::Index(e))) => return Err(e.into()),
            Some(Err(CompareError::Io(source))) => {
                self.problem(shown(self), Why::Io { doing: "look at what is there", source });
                return Ok(());
            }
        };
        let stale = match dir {
            Some(dir) if !row.node.is_dir() => {
                if self.sides.as_ref().is_none_or(|(of, _)| *of != at) {
                    self.sides = Some((at, beside::sides(dir)));
                }
                let sides = self.sides.as_ref().map(|(_, sides)| sides);
                sides.map_or(Ok(Vec::new()), |sides| beside::stale(self.index, dir, sides, row, snap))?
            }
            _ => Vec::new(),
        };
        // A database with commits beside it is not what its own bytes are.
        let found = match found {
            Found::Same(now) | Found::Attributes(now) if stale.iter().any(|(_, side)| side.size > 0) => {
                Found::Other(now)
            }
            other => other,
        };
        if let Found::Other(now) = &found
            && !self.make_way(at, dir, row, now, delete)?
        {
            return Ok(());
        }
        for (name, now) in stale {
            self.remove_beside(at, &name, &now);
        }
        if row.node.is_dir() { self.dir(at, row, snap, delete, &found) } else { self.file(at, row, snap, &found) }
    }

    /// Whether what stands there may be replaced; a directory is only by a restore that deletes. In place, nothing is that
    /// could not be brought back.
    fn make_way(
        &mut self,
        at: usize,
        dir: Option<&OwnedFd>,
        row: &Row,
        now: &Stat,
        delete: bool,
    ) -> Result<bool, RestoreError> {
        let path = path::join(&self.plan.dir_path(at), &row.name);
        let why = match now.kind() {
            Some(Kind::CharDevice | Kind::BlockDevice) if now.rdev != row.attr.rdev => {
                "a device stands there, and devices are not replaced: remove it yourself if it is not needed"
            }
            Some(Kind::Dir) if now.is_mount_root => "a mount point stands there: unmount it first",
            Some(Kind::Dir) => {
                let (mut removals, known) = (Vec::new(), self.plan.problems.len());
                let cleared = self.remover(|r, problems| r.remove(&path, &mut removals, problems))?.unwrap_or(false);
                if cleared && (delete || removals.len() == 1) {
                    self.plan.will.removed += removals.len() as u64;
                    self.plan.clear.append(&mut removals);
                    return Ok(true);
                }
                if !delete {
                    // Nothing of it would have been removed anyway.
                    self.plan.problems.truncate(known);
                }
                "a directory with other files stands there: remove it yourself, or restore in place with --delete"
            }
            kind => {
                let absolute = self.plan.path(at, &row.name);
                // A socket has no content, and is never captured.
                if kind != Some(Kind::Socket)
                    && let Some(dir) = dir
                    && !self.guard.held.holds(&absolute, dir, &row.name, now)?
                {
                    self.problem(absolute, Why::NotHeld);
                    return Ok(false);
                }
                if now.nlink == 1 {
                    self.plan.freed_bytes += now.blocks * 512;
                }
                return Ok(true);
            }
        };
        self.problem(self.plan.path(at, &row.name), Why::InTheWay(why));
        Ok(false)
    }

    fn dir(&mut self, at: usize, row: &Row, snap: Snap, delete: bool, found: &Found) -> Result<(), RestoreError> {
        if !self.seen_dirs.insert((row.source, row.node)) {
            self.problem(self.plan.path(at, &row.name), Why::Impossible("a directory that stands in two places"));
            return Ok(());
        }
        let wanted = Wanted { attr: row.attr.clone(), xattr: row.xattr };
        let (action, exists, mounted) = match found {
            Found::Nothing => (DirAction::Create, false, false),
            Found::Other(_) => (DirAction::Replace, false, false),
            Found::Attributes(now) => (DirAction::Change, true, now.is_mount_root),
            Found::Same(now) => (DirAction::Keep, true, now.is_mount_root),
        };
        let child = self.push_dir(at, &row.name, Some(wanted), action);
        self.plan.dirs[child].mounted = mounted;
        let what = What::Node { source: row.source, snap, node: row.node };
        self.pending.push(Pending { at: child, what, exists, delete: delete && !mounted });
        Ok(())
    }

    fn file(&mut self, at: usize, row: &Row, snap: Snap, found: &Found) -> Result<(), RestoreError> {
        let key = (row.source, row.node);
        if row.linked && !self.groups.contains_key(&key) && matches!(found, Found::Nothing | Found::Other(_)) {
            self.join_standing(at, row, snap)?;
        }
        if let Some(group) = self.groups.get_mut(&key) {
            group.names += 1;
            let kept = match found {
                Found::Same(now) | Found::Attributes(now) => group.kept == Some(now.place),
                _ => false,
            };
            if kept {
                self.plan.will.kept += 1;
            } else {
                let action = Action::Link { dir: group.dir, name: group.name.clone() };
                self.push_file(at, row, action, found)?;
            }
            return Ok(());
        }
        let (action, kept) = match found {
            Found::Nothing => (Some(Action::Create), None),
            Found::Other(_) => (Some(Action::Replace), None),
            Found::Same(now) if self.claim(now, key) => (None, Some(now.place)),
            // Other names of it, which are not restored, would change with it.
            Found::Attributes(now) if self.is_ours(now, row, snap)? && self.claim(now, key) => {
                (Some(Action::Change), Some(now.place))
            }
            Found::Same(_) | Found::Attributes(_) => (Some(Action::Replace), None),
        };
        if row.linked {
            self.groups.insert(key, Group { dir: at, name: row.name.clone(), kept, snap, names: 1 });
        }
        match action {
            Some(action) => self.push_file(at, row, action, found)?,
            None => self.plan.will.kept += 1,
        }
        Ok(())
    }

    /// Notes the removal of what stands beside a database, before that is put in place.
    fn remove_beside(&mut self, at: usize, name: &[u8], now: &Stat) {
        let path = path::join(&self.plan.dir_path(at), name);
        self.plan.dirs[at].touched = true;
        self.plan.will.removed += 1;
        self.beside.insert(path.clone());
        self.plan.clear.push(Removal { path, is_dir: false, place: now.place, content: Some((now.size, now.mtime)) });
    }

    /// Whether an inode may be kept for this node: nobody else keeps it.
    pub(super) fn claim(&mut self, now: &Stat, key: (SourceNum, Node)) -> bool {
        now.nlink <= 1 || *self.claimed.entry(now.place).or_insert(key) == key
    }

    fn is_ours(&self, now: &Stat, row: &Row, snap: Snap) -> Result<bool, IndexError> {
        Ok(now.nlink <= 1 || now.nlink <= self.index.link_count(row.source, row.node, snap)?)
    }

    fn push_file(&mut self, at: usize, row: &Row, action: Action, found: &Found) -> Result<(), IndexError> {
        let was = match found {
            Found::Nothing => None,
            Found::Same(now) | Found::Attributes(now) | Found::Other(now) => Some((now.place, now.size, now.mtime)),
        };
        let attr = &row.attr;
        let bytes = match action {
            Action::Create | Action::Replace => self.data_bytes(row)?,
            Action::Change | Action::Link { .. } => 0,
        };
        let will = &mut self.plan.will;
        match action {
            Action::Create => will.created += 1,
            Action::Replace => will.replaced += 1,
            Action::Change => will.changed += 1,
            Action::Link { .. } => will.linked += 1,
        }
        if matches!(action, Action::Create | Action::Replace) && attr.kind() == Kind::File {
            let on_disk = attr.size.min(attr.blocks.saturating_mul(512));
            will.bytes = will.bytes.saturating_add(bytes);
            self.plan.needed_bytes = self.plan.needed_bytes.saturating_add(on_disk);
        }
        if action != Action::Change {
            self.plan.dirs[at].touched = true;
        }
        self.plan.files.push(PlannedFile {
            dir: at,
            name: row.name.clone(),
            action,
            was,
            source: row.source,
            node: row.node,
            ver: row.ver,
            wanted: Wanted { attr: attr.clone(), xattr: row.xattr },
            bytes,
        });
        Ok(())
    }

    /// The bytes of the content of a file that are no hole.
    fn data_bytes(&self, row: &Row) -> Result<u64, IndexError> {
        let attr = &row.attr;
        if attr.kind() != Kind::File || attr.size <= attr.blocks.saturating_mul(512) {
            return Ok(if attr.kind() == Kind::File { attr.size } else { 0 });
        }
        let version = self.index.version(row.source, row.ver)?.ok_or(IndexError::Damaged("a version is missing"))?;
        // A single chunk is a file without holes.
        if version.content & 1 == 1 {
            return Ok(attr.size);
        }
        let pieces = self.index.pieces(version.content)?;
        let data = pieces.iter().filter(|piece| matches!(piece, Piece::Chunk { .. })).map(Piece::len);
        Ok(data.fold(0, u64::saturating_add))
    }

    /// Notes the removal of what the view does not have.
    pub(super) fn extra(&mut self, at: usize, fd: &OwnedFd, wanted: &HashSet<Vec<u8>>) -> Result<(), IndexError> {
        let (mut listing, mut buf) = (Listing::new(), Vec::new());
        let dir_path = self.plan.dir_path(at);
        if let Err(source) = dir::list(fd, &mut buf, &mut listing) {
            self.problem(self.plan.from_root(&dir_path), Why::Io { doing: "list it", source });
            return Ok(());
        }
        listing.sort_by_name();
        for entry in listing.iter().filter(|e| !wanted.contains(e.name)) {
            let mut removals = Vec::new();
            let path = path::join(&dir_path, entry.name);
            if self.beside.contains(&path) {
                continue;
            }
            self.remover(|r, problems| r.remove(&path, &mut removals, problems))?;
            if !removals.is_empty() {
                self.plan.dirs[at].touched = true;
            }
            self.plan.will.removed += removals.len() as u64;
            self.plan.remove.append(&mut removals);
        }
        Ok(())
    }

    fn remover<T>(
        &mut self,
        f: impl FnOnce(&Remover<'_>, &mut Vec<Problem>) -> Result<T, IndexError>,
    ) -> Result<Option<T>, IndexError> {
        let root = self.plan.base.as_os_str().as_bytes().to_vec();
        let Some(base) = self.base else { return Ok(None) };
        f(&Remover { base, root: &root, guard: self.guard }, &mut self.plan.problems).map(Some)
    }

    pub(super) fn problem(&mut self, path: Vec<u8>, why: Why) {
        self.plan.problems.push(Problem { path, why });
    }
}
