//! Doing what was planned: each object is authenticated between its two stores, and what names others comes behind them.

use crate::progress::{Progress, Total};
use crate::replicate::{error::ReplicateError, plan::Plan};
use crate::repo::{
    audit::order,
    authentic::{self, Sort},
    error::RepoError,
    holding,
    names::{self, Merged},
    open::Repository,
    promotion,
};
use crate::store::api::{Object, StoreError};
use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

/// Objects that are copied at a time, where no store is far away and where one is.
const AT_ONCE: (usize, usize) = (3, 8);
/// An object of more bytes is in memory alone.
const LARGE: u64 = 64 << 20;

/// An object that was not copied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// The object.
    pub object: String,
    /// What is wrong with it, and where.
    pub why: String,
}

/// What was done.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Done {
    /// Objects copied.
    pub copied: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Of the objects copied, those that tell of histories, and not of what was done with the repository.
    pub of_histories: u64,
    /// Objects at the site that were damaged, and are whole now.
    pub mended: u64,
    /// Objects deleted that collection had deleted at the origin.
    pub removed: u64,
    /// Their bytes.
    pub removed_bytes: u64,
    /// Objects that a lock of the site's store keeps for now.
    pub locked: u64,
    /// Objects that were collected at the origin between being listed and being read.
    pub vanished: u64,
    /// What could not be copied.
    pub problems: Vec<Problem>,
    /// Whether it was told to stop before its end.
    pub stopped: bool,
}

/// Carries a plan out, until the flag is set. An error means that one of the stores failed; what was copied by then stays.
pub fn act(
    (origin, copy): (&Repository, &Repository),
    plan: &Plan,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<Done, ReplicateError> {
    progress.start("copying", Some(Total { files: plan.copy.len() as u64, bytes: plan.bytes() }));
    // Whoever writes at the site is to know first that it does not go on.
    if plan.fences && !plan.is_new {
        promotion::fence(copy, origin)?;
    }
    // Before the first history is there that is not all: what is missing then was never to be there. What is to be there beside what
    // the copy holds is stated behind the last object.
    let meanwhile = plan.held.on_the_way_to(&plan.holding);
    if !meanwhile.is_all() {
        holding::state(copy, plan.stated.iter(), &meanwhile)?;
    }
    let copier = Copier { origin, copy, progress, stop, large: Mutex::default(), state: Mutex::default() };
    for together in plan.copy.chunk_by(|a, b| Sort::of(&a.name) == Sort::of(&b.name)) {
        copier.all(together)?;
    }
    for differing in &plan.differing {
        copier.compare(&differing.name)?;
    }
    let mut done = copier.state.into_inner().unwrap_or_else(PoisonError::into_inner).done;
    done.stopped = stop.load(Ordering::Relaxed);
    if done.problems.is_empty() && done.vanished == 0 && !done.stopped {
        if plan.holding != meanwhile {
            let stated = copy.store().list(names::HOLDING).map_err(RepoError::from)?;
            holding::state(copy, stated.iter().map(|object| &object.name), &plan.holding)?;
        }
        remove(copy, plan, &mut done)?;
    }
    if plan.fences && plan.is_new {
        promotion::fence(copy, origin)?;
    }
    progress.finish();
    Ok(done)
}

/// Deletes what was collected at the origin; what took its place is there.
fn remove(copy: &Repository, plan: &Plan, done: &mut Done) -> Result<(), ReplicateError> {
    for object in &plan.remove {
        match copy.store().delete(&object.name) {
            Ok(()) => {
                tracing::debug!("deleted {} at {}", object.name, copy.store().location());
                done.removed += 1;
                done.removed_bytes += object.len;
            }
            Err(e @ StoreError::Locked { .. }) => {
                tracing::info!("{e}");
                done.locked += 1;
            }
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

#[derive(Default)]
struct State {
    done: Done,
    /// Why it does not go on.
    failed: Option<ReplicateError>,
    /// The merged histories of which a segment could not be copied, by the names of their heads.
    torn: HashSet<String>,
}

struct Copier<'a> {
    origin: &'a Repository,
    copy: &'a Repository,
    progress: &'a dyn Progress,
    stop: &'a AtomicBool,
    /// Held while a large object is in memory.
    large: Mutex<()>,
    state: Mutex<State>,
}

impl Copier<'_> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Copies objects of one sort, several at a time; those of one journal in their order, so that what is there of it is its beginning.
    fn all(&self, objects: &[Object]) -> Result<(), ReplicateError> {
        let sort = objects.first().and_then(|object| Sort::of(&object.name));
        let in_order = |a: &Object, b: &Object| match sort {
            Some(Sort::Segment) => names::source_of(&a.name) == names::source_of(&b.name),
            sort => sort == Some(Sort::Audit),
        };
        let sorted;
        let objects = match sort {
            Some(Sort::Audit) => {
                sorted = self.trail_in_order(objects)?;
                &sorted
            }
            _ => objects,
        };
        let rows: Vec<&[Object]> = objects.chunk_by(in_order).collect();
        let next = AtomicUsize::new(0);
        let far = self.origin.store().far() || self.copy.store().far();
        std::thread::scope(|threads| {
            for _ in 0..rows.len().min(if far { AT_ONCE.1 } else { AT_ONCE.0 }) {
                threads.spawn(|| {
                    while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                        self.row(row);
                    }
                });
            }
        });
        match self.state().failed.take() {
            Some(failed) => Err(failed),
            None => Ok(()),
        }
    }

    /// Entries of the trail behind those that they name.
    fn trail_in_order(&self, objects: &[Object]) -> Result<Vec<Object>, ReplicateError> {
        let names: Vec<String> = objects.iter().map(|object| object.name.clone()).collect();
        let lens: HashMap<&str, u64> = objects.iter().map(|object| (object.name.as_str(), object.len)).collect();
        let sorted = order::in_order(self.origin, &names)?;
        Ok(sorted.into_iter().map(|name| Object { len: lens.get(name.as_str()).copied().unwrap_or(0), name }).collect())
    }

    fn row(&self, objects: &[Object]) {
        for object in objects {
            if self.stop.load(Ordering::Relaxed) || self.state().failed.is_some() {
                return;
            }
            if let Err(e) = self.one(object) {
                self.state().failed.get_or_insert(e);
                return;
            }
            self.progress.add(1, object.len);
        }
    }

    fn one(&self, object: &Object) -> Result<(), ReplicateError> {
        let name = &object.name;
        if self.state().torn.contains(name) {
            self.problem(name, "segments of the merged history that it is the head of could not be copied".to_owned());
            return Ok(());
        }
        let _alone = (object.len > LARGE).then(|| self.large.lock());
        match self.read(self.origin, name)? {
            Read::Whole(bytes) => self.put(name, &bytes),
            Read::Gone => {
                self.state().done.vanished += 1;
                Ok(())
            }
            Read::Damaged(why) => {
                self.problem(name, format!("at the origin: {why}"));
                Ok(())
            }
        }
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), ReplicateError> {
        match self.copy.store().put(name, bytes) {
            // Another run has copied it in this moment.
            Err(StoreError::Exists { .. }) if authentic::read(self.copy, name).is_ok() => return Ok(()),
            Err(StoreError::Exists { .. }) => {
                self.copy.store().mend(name, bytes)?;
                self.state().done.mended += 1;
                return Ok(());
            }
            other => other?,
        }
        let mut state = self.state();
        state.done.copied += 1;
        state.done.bytes += bytes.len() as u64;
        state.done.of_histories += u64::from(Sort::of(name) != Some(Sort::Audit));
        Ok(())
    }

    /// Looks at an object whose lengths differ: the one that is damaged at the site is replaced by the one that is not.
    fn compare(&self, name: &str) -> Result<(), ReplicateError> {
        match self.read(self.origin, name)? {
            Read::Whole(bytes) if authentic::read(self.copy, name).is_err() => {
                tracing::warn!("{name} is damaged at {}, and is replaced", self.copy.store().location());
                self.copy.store().mend(name, &bytes)?;
                self.state().done.mended += 1;
            }
            // Both open: slots and descriptions may have other comments, and mean the same.
            Read::Whole(_) => {}
            Read::Gone => self.state().done.vanished += 1,
            Read::Damaged(why) => self.problem(name, format!("at the origin: {why}; the site has another one")),
        }
        Ok(())
    }

    fn read(&self, from: &Repository, name: &str) -> Result<Read, ReplicateError> {
        match authentic::read(from, name) {
            Ok(bytes) => Ok(Read::Whole(bytes)),
            Err(RepoError::Store(e)) if e.is_missing() => Ok(Read::Gone),
            Err(e) if e.is_damage() => Ok(Read::Damaged(e.why_of(name, "object"))),
            Err(e) => Err(e.into()),
        }
    }

    fn problem(&self, name: &str, why: String) {
        let mut state = self.state();
        if let Some(part) = Merged::parse(name).filter(|part| part.seq > 0) {
            state.torn.insert(Merged { seq: 0, ..part }.name());
        }
        state.done.problems.push(Problem { object: name.to_owned(), why });
    }
}

enum Read {
    Whole(Vec<u8>),
    Gone,
    Damaged(String),
}
