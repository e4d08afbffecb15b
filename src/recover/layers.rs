//! The work directory of a recovery, and what is mounted of it.

use crate::index::tree::Reader;
use crate::mount::{
    fs::Shown,
    session::{self, MountOptions, Mounted},
    umount::{self, UmountError},
};
use crate::recover::{
    error::{RecoverError, io, users_text},
    state::State,
};
use crate::repo::attach::Attached;
use crate::sys::{
    apply, clear, dir, durable, make, mounts, open_files,
    overlay::{self, Layers},
    stat,
};
use crate::types::{path, time::Instant};
use crate::view::{
    instant::{Object, View},
    whose::Whose,
};
use rustix::fd::OwnedFd;
use std::{
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant as Clock},
};

/// How long an instant is waited for that may not be settled yet.
const SETTLE: Duration = Duration::from_secs(10);
/// Where the view is mounted, in the work directory.
const VIEW: &str = "view";
/// The upper layer.
const UPPER: &str = "upper";
/// The directory for the kernel.
const KERNEL: &str = "work";
/// What was there before, as long as the overlay hides it.
const BEFORE: &str = "before";
/// The directory in which the plain one is filled.
const FILL: &str = "fill";

/// The names in the work directory.
pub(super) struct Places {
    from: Vec<u8>,
    root: PathBuf,
}

impl Places {
    pub(super) fn of(state: &State) -> Places {
        Places { from: state.from(), root: state.work_dir() }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn view(&self) -> PathBuf {
        self.root.join(VIEW)
    }

    pub(super) fn upper(&self) -> PathBuf {
        self.root.join(UPPER)
    }

    pub(super) fn before(&self) -> PathBuf {
        self.root.join(BEFORE)
    }

    pub(super) fn fill(&self) -> PathBuf {
        self.root.join(FILL)
    }

    /// The plain directory: a restore gives it the last name of the path that is restored.
    pub(super) fn tree(&self) -> PathBuf {
        let name = path::components(&self.from).last().unwrap_or_default();
        self.fill().join(std::ffi::OsStr::from_bytes(name))
    }

    /// Makes what is missing of the directories.
    pub(super) fn make(&self) -> Result<(), RecoverError> {
        for name in [VIEW, UPPER, KERNEL, BEFORE, FILL] {
            durable::create_dirs(&self.root.join(name), 0o700)?;
        }
        Ok(())
    }
}

/// The view that a recovery shows.
pub(super) fn view(at: &Attached, index: &Reader, host: &str, state: &State) -> Result<View, RecoverError> {
    let whose = match &state.host {
        Some(host) => Whose::named(host),
        None => Whose::own(at, host)?,
    };
    let view = View::of(index, &whose, Instant(state.time_ns))?;
    // Retention may have released the snapshot since: the view would be another one.
    match view.parts_at(&state.from()).iter().all(|part| part.snapshot.time.0 == state.time_ns) {
        true => Ok(view),
        false => Err(RecoverError::Released { path: path::show(&state.from()) }),
    }
}

/// Takes away the view, whether or not anybody still answers for it. One that is not mounted is no error.
pub(super) fn unmount_view(state: &State) -> Result<(), RecoverError> {
    let view = Places::of(state).view();
    match umount::umount(&view) {
        Ok(_) | Err(UmountError::NotMounted { .. }) => Ok(()),
        Err(e) => Err(io("unmount", &view)(std::io::Error::other(e))),
    }
}

/// Mounts the view in the work directory.
pub(super) fn mount_view(at: &Arc<Attached>, options: &MountOptions, state: &State) -> Result<Mounted, RecoverError> {
    let places = Places::of(state);
    {
        let index = at.reader()?;
        view(at, &index, &options.shown.this_host, state)?;
    }
    settle(at, Instant(state.time_ns))?;
    let mut shown = Shown { at: Some(Instant(state.time_ns)), ..options.shown.clone() };
    if let Some(host) = &state.host {
        (shown.host, shown.exact) = (host.clone(), true);
    }
    Ok(session::mount(at.clone(), &MountOptions { shown, allow_other: false }, &places.view())?)
}

/// Waits until no snapshot of this host can land before the instant any more, which another writer may hold up for a moment.
fn settle(at: &Attached, instant: Instant) -> Result<(), RecoverError> {
    let begun = Clock::now();
    while !at.moment().settle(instant)? {
        if begun.elapsed() > SETTLE {
            return Err(RecoverError::Unsettled);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Gives the upper layer the attributes of the directory in the view, once: the overlay shows them as its own.
fn prepare_upper(at: &Attached, host: &str, state: &State) -> Result<(), RecoverError> {
    let places = Places::of(state);
    let upper = dir::open(&places.upper()).map_err(io("open", &places.upper()))?;
    let index = at.reader()?;
    let view = view(at, &index, host, state)?;
    let Some(Object::Node(_, row)) = view.look_up(&index, &state.from())? else {
        return Err(RecoverError::Released { path: path::show(&state.from()) });
    };
    let mut attr = row.attr.clone();
    attr.xattrs = index.xattrs(row.xattr)?;
    // Flags would keep the overlay from working; the plain directory gets them.
    attr.flags = 0;
    for problem in apply::to_open(&upper, &attr).problems {
        tracing::warn!("{}: {problem}", state.path().display());
    }
    Ok(())
}

/// Mounts the overlay on the directory. It must not be mounted.
pub(super) fn mount_overlay(at: &Attached, host: &str, state: &mut State) -> Result<(), RecoverError> {
    let (places, point) = (Places::of(state), state.path());
    if !state.prepared {
        prepare_upper(at, host, state)?;
        state.prepared = true;
        state.save()?;
    }
    durable::create_dirs(&point, 0o700)?;
    let open = |path: PathBuf| dir::open(&path).map_err(io("open", &path));
    let mut lower = places.view();
    lower.push(std::ffi::OsStr::from_bytes(state.from().strip_prefix(b"/").unwrap_or(&state.from())));
    overlay::show_at(&point, &places.before()).map_err(io("keep in sight", &point))?;
    // What a kernel that was not asked to stop has left there is of no use.
    let root: OwnedFd = open(places.root().to_owned())?;
    clear::remove(&root, KERNEL.as_bytes()).map_err(io("clear", places.root()))?;
    make::directory(&root, KERNEL.as_bytes()).map_err(io("make the directory for the kernel in", places.root()))?;
    let layers = Layers { lower: open(lower)?, upper: open(places.upper())?, work: open(places.root().join(KERNEL))? };
    overlay::mount(&point, &layers).map_err(|e| match e.raw_os_error() {
        Some(libc::ENODEV) => RecoverError::NoOverlay,
        _ => io("mount an overlay on", &point)(e),
    })
}

/// Whether a directory has nothing in it.
pub(super) fn is_empty(path: &Path) -> Result<bool, RecoverError> {
    Ok(path.read_dir().map_err(io("list", path))?.next().is_none())
}

/// Takes away what a process that is gone has mounted. What is still used is named and left, so that nothing that is written is
/// lost.
pub(super) fn unmount_left(state: &State) -> Result<(), RecoverError> {
    let point = state.path();
    while let Some(mount) = overlay::on(&point).map_err(io("tell what is mounted on", &point))? {
        match overlay::unmount(&point) {
            Ok(()) => {}
            Err(e) if e.raw_os_error() == Some(libc::EBUSY) => {
                let users = open_files::users_of(mount.id, Some(&mount.point)).map_err(io("tell who uses", &point))?;
                return Err(RecoverError::InUse { path: point.display().to_string(), users: users_text(&users) });
            }
            Err(e) => return Err(io("unmount", &point)(e)),
        }
    }
    unmount_before(state)
}

/// Takes away the second sight of what was there before.
pub(super) fn unmount_before(state: &State) -> Result<(), RecoverError> {
    let before = Places::of(state).before();
    let all = mounts::mounts().map_err(io("tell what is mounted on", &before))?;
    for _ in all.iter().filter(|m| m.point == before.as_os_str().as_bytes()) {
        overlay::detach(&before).map_err(io("unmount", &before))?;
    }
    Ok(())
}

/// Removes all of the work directory but the state and the upper layer; nothing may be mounted there.
pub(super) fn remove_but_upper(state: &State) -> Result<(), RecoverError> {
    let root = state.work_dir();
    let fd = dir::open(&root).map_err(io("open", &root))?;
    for name in [VIEW, KERNEL, BEFORE, FILL] {
        clear::remove(&fd, name.as_bytes()).map_err(io("clear", &root))?;
    }
    Ok(())
}

/// Removes the work directory with all that is in it; nothing may be mounted there.
pub(super) fn remove(state: &State) -> Result<(), RecoverError> {
    let root = state.work_dir();
    let (Some(parent), Some(name)) = (root.parent(), root.file_name()) else { return Ok(()) };
    // The state last: what is left after an end in the middle can be found by it.
    remove_but_upper(state)?;
    let inside = dir::open(&root).map_err(io("open", &root))?;
    clear::remove(&inside, UPPER.as_bytes()).map_err(io("clear", &root))?;
    let fd = dir::open_root(parent).map_err(io("open", parent))?;
    clear::remove(&fd, name.as_bytes()).map_err(io("remove", &root))?;
    durable::sync_dir(parent)?;
    Ok(())
}

/// What tells one directory from another that takes its place.
pub(super) fn identity(path: &Path) -> Result<(u64, u64), RecoverError> {
    let now = stat::of(dir::open(path).map_err(io("open", path))?).map_err(io("look at", path))?;
    Ok((now.place.dev, now.place.ino))
}
