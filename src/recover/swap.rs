//! The plain directory takes the place of the overlay, in steps of which each can be done again.

use crate::recover::{
    error::{RecoverError, io},
    layers::{self, Places},
    merge,
    state::{Phase, State},
};
use crate::sys::{
    clear, dir, durable, make,
    make::Taken,
    mounts::Mount,
    open_files::{self, User},
    overlay, space,
};
use crate::types::path;
use rustix::fd::OwnedFd;
use std::{io::ErrorKind, os::unix::ffi::OsStrExt as _};

/// Whether the swap can begin.
pub(super) enum Held {
    /// Nobody can write any more.
    Free,
    /// These have files open, or stand in it.
    By(Vec<User>),
}

/// Who has anything open in the overlay.
pub(super) fn users(state: &State, mount: &Mount) -> Result<Vec<User>, RecoverError> {
    open_files::users_of(mount.id, Some(&mount.point)).map_err(io("tell who uses", &state.path()))
}

/// Where else the overlay can be used: what is bound from it, and what is mounted in it.
pub(super) fn also_at(state: &State, mount: &Mount) -> Result<Vec<String>, RecoverError> {
    let points = overlay::also_at(mount).map_err(io("tell what else is mounted of", &state.path()))?;
    Ok(points.iter().map(|point| path::show(point)).collect())
}

/// Lets nobody write any more, unless somebody has a file open for writing.
pub(super) fn hold_writers(state: &State, mount: &Mount) -> Result<Held, RecoverError> {
    match overlay::set_read_only(&state.path(), true) {
        Ok(()) => Ok(Held::Free),
        Err(e) if e.raw_os_error() == Some(libc::EBUSY) => users(state, mount).map(Held::By),
        Err(e) => Err(io("hold off writers from", &state.path())(e)),
    }
}

/// From the phase of merging on: what was changed is put into the plain directory. An error means that the overlay goes on, and
/// the plain directory is filled anew.
pub(super) fn merge(state: &mut State) -> Result<(), RecoverError> {
    let places = Places::of(state);
    let (upper_path, tree_path) = (places.upper(), places.tree());
    let upper = dir::open(&upper_path).map_err(io("open", &upper_path))?;
    let tree = dir::open(&tree_path).map_err(io("open", &tree_path))?;
    let aside = dir::open(places.root()).map_err(io("open", places.root()))?;
    let merged = merge::merge(&upper, &tree, &aside)
        .map_err(|e| io("put what was changed into the plain directory of", &state.path())(std::io::Error::other(e)))?;
    space::sync_all(&tree).map_err(io("sync", &tree_path))?;
    tracing::info!("{} name(s) were changed and {} removed since it was given back", merged.placed, merged.removed);
    state.problems.extend(merged.problems);
    state.tree = Some(layers::identity(&tree_path)?);
    state.phase = Phase::Swapping;
    state.save()
}

/// Throws the plain directory away, so that it can be filled anew.
pub(super) fn start_over(state: &mut State) -> Result<(), RecoverError> {
    state.phase = Phase::Overlay;
    state.tree = None;
    state.save()?;
    let root_path = state.work_dir();
    let root = dir::open(&root_path).map_err(io("open", &root_path))?;
    let fill = Places::of(state).fill();
    let name = fill.file_name().unwrap_or_default();
    clear::remove(&root, name.as_bytes()).map_err(io("clear", &fill))?;
    durable::create_dirs(&fill, 0o700)?;
    Ok(())
}

/// The plain directory takes the place; nothing may be mounted there. What was there before is put beside it.
pub(super) fn exchange(state: &mut State) -> Result<(), RecoverError> {
    let (point, tree) = (state.path(), Places::of(state).tree());
    let is_there = layers::identity(&point).ok().is_some_and(|now| Some(now) == state.tree);
    if !is_there {
        let open = |path: &std::path::Path| -> Result<OwnedFd, RecoverError> {
            let parent = path.parent().unwrap_or(path);
            dir::open_root(parent).map_err(io("open", parent))
        };
        let (from, to) = (open(&tree)?, open(&point)?);
        let (old, new) = (tree.file_name().unwrap_or_default(), point.file_name().unwrap_or_default());
        match make::rename(&from, old.as_bytes(), &to, new.as_bytes(), Taken::Exchange) {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::NotFound && point.symlink_metadata().is_err() => {
                make::rename(&from, old.as_bytes(), &to, new.as_bytes(), Taken::Refuse)
                    .map_err(io("put in place", &point))?;
            }
            // A file system that can't exchange: one after the other, and the first can be seen for a moment.
            Err(e) if matches!(e.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) => {
                durable::rename(&point, &state.before_dir())?;
                durable::rename(&tree, &point)?;
            }
            Err(e) => return Err(io("put in place", &point)(e)),
        }
        make::sync(&to).map_err(io("sync the directory of", &point))?;
        make::sync(&from).map_err(io("sync the directory of", &tree))?;
    }
    keep_before(state)?;
    state.phase = Phase::Swapped;
    state.save()
}

/// What the plain directory took the place of: kept beside it, unless it is empty.
fn keep_before(state: &State) -> Result<(), RecoverError> {
    let tree = Places::of(state).tree();
    if tree.symlink_metadata().is_err() {
        return Ok(());
    }
    let fill = Places::of(state).fill();
    let fd = dir::open(&fill).map_err(io("open", &fill))?;
    match make::remove_dir(&fd, tree.file_name().unwrap_or_default().as_bytes()) {
        Ok(()) => Ok(()),
        Err(_) => Ok(durable::rename(&tree, &state.before_dir())?),
    }
}
