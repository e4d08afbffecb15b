//! Two places have written: what one has beyond the other is joined to it, and both histories are there.
//!
//! Objects are immutable, and no two writers choose the same name. So what a fenced place has captured is copied into the one that goes
//! on as it is; its records follow others than those that are there, so the two are branches of one history, as those of any two writers of a source: the one
//! whose runs come first keeps the name, and the other has a mark behind it.

use super::error::DrError;
use crate::progress::{Progress, Total};
use crate::replicate::{known::Known, plan};
use crate::repo::{
    attach::Attached,
    authentic,
    error::RepoError,
    names::Segment,
    open::Repository,
    replay::{self, Replayed},
};
use crate::store::api::StoreError;
use std::sync::atomic::{AtomicBool, Ordering};

/// What was joined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Joined {
    /// Objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Of these, the segments of journals.
    pub segments: usize,
    /// What could not be copied, with why.
    pub problems: Vec<(String, String)>,
    /// Whether it was told to stop before its end.
    pub stopped: bool,
}

/// Joins what the place `from` has beyond the repository of `at` to it. Each object is authenticated on its way, and comes behind what it
/// names; what is there by then stays, and another run goes on.
pub fn join(
    at: &Attached,
    from: &Repository,
    replayed: &Replayed,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<(Joined, Replayed), DrError> {
    let beyond = plan::beyond(at, from, &mut Known::of(at, replayed)?)?;
    if let Some(first) = beyond.apart.first() {
        let location = from.store().location();
        return Err(DrError::Collected { location, count: beyond.apart.len(), first: first.clone() });
    }
    progress.start("joining", Some(Total { files: beyond.joined.len() as u64, bytes: 0 }));
    let mut joined = Joined::default();
    for name in &beyond.joined {
        if stop.load(Ordering::Relaxed) {
            joined.stopped = true;
            break;
        }
        match copy(at, from, name) {
            Ok(bytes) => {
                joined.objects += 1;
                joined.bytes += bytes;
                joined.segments += usize::from(Segment::parse(name).is_some());
                progress.add(1, bytes);
            }
            Err(e) if e.is_damage() => joined.problems.push((name.clone(), e.to_string())),
            Err(e) => return Err(e.into()),
        }
    }
    at.repo().store().settle()?;
    progress.finish();
    Ok((joined, replay::catch_up(at, progress)?))
}

fn copy(at: &Attached, from: &Repository, name: &str) -> Result<u64, RepoError> {
    let bytes = authentic::read(from, name)?;
    match at.repo().store().put(name, &bytes) {
        // Another run has copied it.
        Err(StoreError::Exists { .. }) if authentic::read(at.repo(), name).is_ok() => {}
        other => other?,
    }
    Ok(bytes.len() as u64)
}
