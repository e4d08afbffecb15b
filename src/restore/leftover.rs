//! What a restore that was killed has left behind: unfinished files under temporary names. The next one of the same places
//! removes them, and nothing else: their names are known by a note that is held while a restore runs.

use crate::restore::plan::{DirAction, Plan};
use crate::sys::{
    dir::{self, Listing},
    durable::{self, LockGuard},
    make,
};
use crate::types::path;
use rustix::fd::OwnedFd;
use serde::{Deserialize, Serialize};
use std::{
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// How the names of notes begin, in the state directory of the repository.
const PREFIX: &str = "restoring-";
/// The longest note that is read, in bytes.
const NOTE_MAX: u64 = 4 << 20;

/// What a note says.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    /// The directory below which it happens.
    base: Vec<u8>,
    /// What is restored, below that.
    roots: Vec<Vec<u8>>,
    /// The number of the first temporary name.
    first: u64,
}

/// A restore that runs; its note goes with it.
pub(super) struct Running {
    note: PathBuf,
    // Whoever can take it knows that this one is gone.
    _held: Option<LockGuard>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // A note that stays makes the next restore look once for nothing.
        let _ = durable::remove(&self.note);
        let _ = durable::remove(&lock_of(&self.note));
    }
}

fn lock_of(note: &Path) -> PathBuf {
    note.with_extension("lock")
}

/// Notes that `plan` is being carried out, and removes what others that were killed have left in the same places.
pub(super) fn begin(state: &Path, plan: &Plan, base: &OwnedFd) -> io::Result<Running> {
    use std::os::unix::ffi::OsStrExt as _;
    sweep(state, plan, base)?;
    let first = make::first_temp()?;
    let whole = Note { base: plan.base.as_os_str().as_bytes().to_vec(), roots: plan.roots.clone(), first };
    // One process may restore several times, also at once.
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let note = state.join(format!("{PREFIX}{first:016x}-{count}.json"));
    let held = durable::lock_file(&lock_of(&note))?;
    let text = serde_json::to_vec(&whole).map_err(io::Error::other)?;
    durable::replace(&note, &text, 0o600)?;
    Ok(Running { note, _held: held })
}

fn sweep(state: &Path, plan: &Plan, base: &OwnedFd) -> io::Result<()> {
    let mut stale = Vec::new();
    for entry in std::fs::read_dir(state)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_note = name.to_str().is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(".json"));
        if !is_note || entry.metadata()?.len() > NOTE_MAX {
            continue;
        }
        let Ok(note) = serde_json::from_slice::<Note>(&std::fs::read(entry.path())?) else { continue };
        if covers(plan, &note)
            && let Some(held) = durable::lock_file(&lock_of(&entry.path()))?
        {
            stale.push((entry.path(), note.first, held));
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    let firsts: Vec<u64> = stale.iter().map(|(_, first, _)| *first).collect();
    let all = plan.dirs.iter().enumerate();
    for (n, _) in all.filter(|(_, d)| matches!(d.action, DirAction::Keep | DirAction::Change)) {
        sweep_dir(base, &plan.dir_path(n), &firsts)?;
    }
    for (note, _, _held) in stale {
        durable::remove(&note)?;
        durable::remove(&lock_of(&note))?;
    }
    Ok(())
}

/// Whether everything that the note names is restored by this plan.
fn covers(plan: &Plan, note: &Note) -> bool {
    use std::os::unix::ffi::OsStrExt as _;
    let whole = |below: &Vec<u8>| path::join(b"/", below);
    note.base == plan.base.as_os_str().as_bytes()
        && note.roots.iter().all(|root| plan.roots.iter().any(|own| path::is_within(&whole(root), &whole(own))))
}

fn sweep_dir(base: &OwnedFd, below: &[u8], firsts: &[u64]) -> io::Result<()> {
    // What can't be opened or listed is told by the restore, when it comes to it.
    let Ok(fd) = dir::open_beneath(base, below) else { return Ok(()) };
    let (mut listing, mut buffer) = (Listing::new(), Vec::new());
    if dir::list(&fd, &mut buffer, &mut listing).is_err() {
        return Ok(());
    }
    for entry in listing.iter() {
        if firsts.iter().any(|first| make::is_temp_after(entry.name, *first)) {
            match make::unlink(&fd, entry.name) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
    }
    Ok(())
}
