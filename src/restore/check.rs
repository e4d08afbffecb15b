//! Everything that would keep a plan from being carried out, found before the first byte is written.

use crate::index::tree::Reader;
use crate::restore::{
    error::RestoreError,
    needs::{self, Needs, Owners, folded, xattr_kind},
    plan::Plan,
};
use crate::sys::{
    dir, flags,
    probe::{self, Cannot, Case, is_a_right},
    process, space, stat, users,
};
use crate::types::path;
use rustix::fd::OwnedFd;
use std::{io, path::Path};

/// So many directories in which nothing can be made are named.
const DIRS_TOLD_MAX: usize = 20;

/// Something that keeps a plan from being carried out as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unmet {
    /// Where.
    pub path: Vec<u8>,
    /// What is missing.
    pub what: Missing,
    /// In words, with why.
    pub text: String,
    /// What to do.
    pub cure: &'static str,
}

/// What a plan may miss.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Missing {
    /// Room.
    Space,
    /// A file system that can be written to.
    Writable,
    /// The right to do something.
    Right,
    /// A file system that can hold something.
    Support,
    /// A free name: another file has it.
    Free,
}

impl Missing {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Missing::Space => "space",
            Missing::Writable => "writable",
            Missing::Right => "right",
            Missing::Support => "support",
            Missing::Free => "free",
        }
    }

    /// Whether nothing at all could be done there.
    pub fn is_final(self) -> bool {
        matches!(self, Missing::Space | Missing::Writable)
    }
}

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Checked {
    /// What keeps the plan from being carried out.
    pub unmet: Vec<Unmet>,
    /// Numbers of users that have no name on this machine, and how many files will be theirs.
    pub unknown_users: Vec<(u32, u64)>,
    /// The same for groups.
    pub unknown_groups: Vec<(u32, u64)>,
}

/// Looks for all that would keep `plan` from being carried out: room, rights, and what file systems can't hold, which is
/// found by trying it in a directory that is gone again afterwards. Users that are not known here are told too.
pub fn check(index: &Reader, plan: &Plan) -> Result<Checked, RestoreError> {
    if plan.is_empty() {
        return Ok(Checked::default());
    }
    let (all, owners) = index.hold(|index| needs::of_plan(index, plan))?;
    let mut checked = Checked::default();
    let several = all.len() > 1;
    for needs in &all {
        let mut one = One { plan, needs, several, unmet: Vec::new() };
        one.all()?;
        checked.unmet.append(&mut one.unmet);
    }
    unknown(owners, &mut checked).map_err(|source| RestoreError::Users { source })?;
    Ok(checked)
}

/// What stands where the plan puts something else, and would be lost: one for each.
pub fn taken(plan: &Plan) -> Vec<Unmet> {
    let cure = "--aside keeps it beside, --overwrite replaces it";
    let one = |below: Vec<u8>| {
        let (path, text) = (plan.from_root(&below), "it is there, and is not what is restored".to_owned());
        Unmet { path, what: Missing::Free, text, cure }
    };
    plan.replaced().map(one).collect()
}

/// Looks for room only, and whether the file systems can be written to; makes nothing.
pub(super) fn room(index: &Reader, plan: &Plan) -> Result<Vec<Unmet>, RestoreError> {
    if plan.is_empty() {
        return Ok(Vec::new());
    }
    let (all, _) = index.hold(|index| needs::of_plan(index, plan))?;
    let several = all.len() > 1;
    let mut unmet = Vec::new();
    for needs in &all {
        let mut one = One { plan, needs, several, unmet: Vec::new() };
        one.write_to()?;
        unmet.append(&mut one.unmet);
    }
    Ok(unmet)
}

fn unknown(owners: Owners, checked: &mut Checked) -> io::Result<()> {
    for (uid, count) in owners.users {
        if users::name_of(uid)?.is_none() {
            checked.unknown_users.push((uid, count));
        }
    }
    for (gid, count) in owners.groups {
        if users::group_name_of(gid)?.is_none() {
            checked.unknown_groups.push((gid, count));
        }
    }
    Ok(())
}

/// One file system.
struct One<'a> {
    plan: &'a Plan,
    needs: &'a Needs,
    several: bool,
    unmet: Vec<Unmet>,
}

impl One<'_> {
    fn all(&mut self) -> Result<(), RestoreError> {
        if let Some((path, fd)) = self.write_to()?
            && self.rights(&path, &fd)?
        {
            self.support(&path, &fd)?;
        }
        Ok(())
    }

    /// Where it is written to, if it can be.
    fn write_to(&mut self) -> Result<Option<(Vec<u8>, OwnedFd)>, RestoreError> {
        let (path, fd) = self.nearest()?;
        let target = |source| RestoreError::Target { path: path::show(&path), source };
        let room = space::of(&fd).map_err(target)?;
        if room.read_only {
            let text = "its file system is mounted read-only".to_owned();
            self.push(&path, Missing::Writable, text, "mount it read-write, or restore elsewhere with --to");
            return Ok(None);
        }
        self.room(&path, room);
        Ok(Some((path, fd)))
    }

    fn push(&mut self, path: &[u8], what: Missing, text: String, cure: &'static str) {
        self.unmet.push(Unmet { path: path.to_vec(), what, text, cure });
    }

    /// The first directory of it that is there, and the path of that.
    fn nearest(&self) -> Result<(Vec<u8>, OwnedFd), RestoreError> {
        let first = self.needs.places.first().copied().unwrap_or(self.needs.first);
        let mut at: &Path = &self.plan.base;
        let base = loop {
            let opened = if at == self.plan.base { self.plan.open_base() } else { dir::open_root(at) };
            match (opened, at.parent()) {
                (Ok(fd), _) => break fd,
                (Err(e), Some(above)) if e.kind() == io::ErrorKind::NotFound => at = above,
                (Err(source), _) => return Err(RestoreError::Target { path: at.display().to_string(), source }),
            }
        };
        use std::os::unix::ffi::OsStrExt as _;
        if at != self.plan.base {
            return Ok((at.as_os_str().as_bytes().to_vec(), base));
        }
        let below = self.plan.dir_path(first);
        match dir::open_beneath(&base, &below) {
            Ok(fd) => Ok((self.plan.from_root(&below), fd)),
            Err(_) => Ok((self.plan.from_root(b""), base)),
        }
    }

    fn room(&mut self, path: &[u8], room: space::Space) {
        let cure = "make room, restore less at a time, or restore to another file system with --to";
        // What is replaced gives its bytes back only when what replaces it is there; with several file systems it is not known
        // which gets how much.
        let (needed, freed) = match self.several {
            true => (self.needs.bytes, 0),
            false => (self.plan.needed_bytes, self.plan.freed_bytes),
        };
        let needed = needed.saturating_sub(freed);
        if needed > room.available_bytes {
            let text = format!("{needed} bytes are needed and {} are available", room.available_bytes);
            self.push(path, Missing::Space, text, cure);
        }
        if let Some(available) = room.available_nodes.filter(|available| *available < self.needs.nodes) {
            let text = format!("{} nodes are needed and {available} are available", self.needs.nodes);
            self.push(path, Missing::Space, text, cure);
        }
    }

    /// Whether something may be made in it.
    fn rights(&mut self, path: &[u8], fd: &OwnedFd) -> Result<bool, RestoreError> {
        if process::effective_uid() == 0 {
            return Ok(true);
        }
        let cure = "restore as root, or to a directory of your own with --to";
        let mut barred = 0;
        let mut try_one = |path: &[u8], fd: &OwnedFd, unmet: &mut Vec<Unmet>| {
            // Its owner can give himself the right, and does.
            let barred_by = space::may_change(fd).err().filter(|_| !is_ours(fd).unwrap_or(false));
            let Some(e) = barred_by else { return };
            barred += 1;
            if barred <= DIRS_TOLD_MAX {
                let text = format!("nothing may be made or removed there: {e}");
                unmet.push(Unmet { path: path.to_vec(), what: Missing::Right, text, cure });
            }
        };
        let base = match self.plan.open_base() {
            Ok(base) => Some(base),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(RestoreError::Target { path: self.plan.base.display().to_string(), source }),
        };
        match base.filter(|_| !self.needs.places.is_empty()) {
            None => try_one(path, fd, &mut self.unmet),
            Some(base) => {
                for place in &self.needs.places {
                    let below = self.plan.dir_path(*place);
                    // What can't be opened is told when it is come to.
                    if let Ok(fd) = dir::open_beneath(&base, &below) {
                        try_one(&self.plan.from_root(&below), &fd, &mut self.unmet);
                    }
                }
            }
        }
        Ok(barred == 0)
    }

    fn support(&mut self, path: &[u8], fd: &OwnedFd) -> Result<(), RestoreError> {
        let flags_clear = || flags::are_clear(fd);
        let tried = match probe::probe(fd, &self.needs.wants) {
            // An immutable directory is made changeable when it is come to, and what lies in it can't be tried before.
            Err(e) if is_a_right(&e) && !flags_clear() => return Ok(()),
            Err(e) if e.raw_os_error() == Some(libc::ENOSPC) || e.raw_os_error() == Some(libc::EDQUOT) => {
                let text = format!("not even an empty directory can be made: {e}");
                self.push(path, Missing::Space, text, "make room, or restore to another file system with --to");
                return Ok(());
            }
            Err(source) => return Err(RestoreError::Target { path: path::show(path), source }),
            Ok(tried) => tried,
        };
        let (cannot, case) = tried;
        for cannot in cannot {
            self.cannot(path, cannot);
        }
        if case == Case::Folded {
            for (one, other) in folded(self.plan).into_iter().filter(|(one, _)| path::is_within(one, path)) {
                let text = format!(
                    "its file system takes names that differ by case only for one: {} and {}",
                    path::show(&one),
                    path::show(&other)
                );
                self.push(path, Missing::Support, text, ELSEWHERE);
            }
        }
        Ok(())
    }

    fn cannot(&mut self, path: &[u8], cannot: Cannot) {
        let (key, words, e) = match cannot {
            Cannot::Symlinks(e) => ("symlinks", "symbolic links", e),
            Cannot::Fifos(e) => ("fifos", "named pipes", e),
            Cannot::Devices(e) => ("devices", "devices", e),
            Cannot::Links(e) => ("links", "hard links", e),
            Cannot::Owner(e) => ("owners", "other owners", e),
            Cannot::Size(e) => ("size", "a file of that size", e),
            Cannot::Xattr(name, e) => (xattr_kind(&name), xattr_kind(&name), e),
            Cannot::Name(name, e) => {
                let text = format!("no file can be called {} there: {e}", path::show(&name));
                return self.push(path, Missing::Support, text, ELSEWHERE);
            }
            Cannot::Mtime(got) => {
                let text =
                    format!("times of modification are not kept as they are: one became {}.{:09}", got.sec, got.nsec);
                return self.push(path, Missing::Support, text, ELSEWHERE);
            }
            Cannot::Mode(got) => {
                let text = format!(
                    "permissions are not kept: mode {:04o} became {got:04o}",
                    self.needs.wants.mode.unwrap_or(0) & 0o777
                );
                return self.push(path, Missing::Support, text, ELSEWHERE);
            }
        };
        let example = self.needs.examples.get(key).map(|p| path::show(p)).unwrap_or_default();
        let count = self.needs.counts.get(key).copied().unwrap_or(1);
        let right = is_a_right(&e);
        let whom = if right && process::effective_uid() != 0 {
            "this user may not make"
        } else {
            "its file system can't hold"
        };
        let more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
        let text = format!("{whom} {words} ({example}{more}): {e}");
        match right && process::effective_uid() != 0 {
            true if key == "owners" => {
                self.push(path, Missing::Right, text, "restore as root, or say whose they become: --map-owner")
            }
            true => self.push(path, Missing::Right, text, "restore as root"),
            false => self.push(path, Missing::Support, text, ELSEWHERE),
        }
    }
}

const ELSEWHERE: &str = "restore to another file system with --to";

/// Whether the directory belongs to this user, who may then give himself the right to write.
fn is_ours(fd: &OwnedFd) -> io::Result<bool> {
    Ok(stat::of(fd)?.uid == process::effective_uid())
}
