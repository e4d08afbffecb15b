//! The attributes of directories, when everything in them is done.

use crate::index::error::IndexError;
use crate::repo::attach::Attached;
use crate::restore::{
    attributes::{self, Attributes},
    error::RestoreError,
    plan::{DirAction, Plan},
    report::{Report, Why},
};
use crate::sys::{apply, dir, process};
use rustix::fd::OwnedFd;
use std::{
    collections::HashSet,
    io,
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
};

/// Sets the attributes of all directories that were made, changed or written to, but of those in `lost`: the deepest first, since
/// they may take away the right to go into them.
pub(super) fn finish_dirs(
    at: &Attached,
    plan: &Plan,
    base: &OwnedFd,
    lost: &HashSet<usize>,
    stop: &AtomicBool,
) -> Result<Report, RestoreError> {
    let levels = levels(plan, lost);
    let threads = process::cpus().clamp(1, 16);
    let barrier = Barrier::new(threads);
    let finish = |n: usize| -> Result<Report, RestoreError> {
        let mut finish = Finish { plan, base, stop, report: Report::default() };
        let mut index = at.reader().map_err(RestoreError::from);
        for level in levels.iter().rev() {
            if let Ok(reader) = &index {
                let mine = level.iter().skip(n).step_by(threads);
                let done = reader.hold(|index| -> Result<(), IndexError> {
                    let mut attributes = Attributes::new(index, &plan.mapping);
                    mine.copied().try_for_each(|dir| finish.dir(dir, &mut attributes))
                });
                if let Err(e) = done {
                    index = Err(e.into());
                }
            }
            // Nobody begins with a level before all of the one below it is done.
            barrier.wait();
        }
        index.map(|_| finish.report)
    };
    let reports: Vec<Result<Report, RestoreError>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|n| scope.spawn(move || finish(n))).collect();
        threads.into_iter().map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    let mut all = Report::default();
    for report in reports {
        all.merge(report?);
    }
    Ok(all)
}

/// The directories that have something to be finished, by how deep they are.
fn levels(plan: &Plan, lost: &HashSet<usize>) -> Vec<Vec<usize>> {
    let mut depths: Vec<usize> = Vec::with_capacity(plan.dirs.len());
    let mut levels: Vec<Vec<usize>> = Vec::new();
    for (n, dir) in plan.dirs.iter().enumerate() {
        let depth = dir.parent.map_or(0, |parent| depths[parent] + 1);
        depths.push(depth);
        if lost.contains(&n) || (dir.action == DirAction::Keep && !dir.touched) {
            continue;
        }
        if levels.len() <= depth {
            levels.resize_with(depth + 1, Vec::new);
        }
        levels[depth].push(n);
    }
    levels
}

struct Finish<'a> {
    plan: &'a Plan,
    base: &'a OwnedFd,
    stop: &'a AtomicBool,
    report: Report,
}

impl Finish<'_> {
    fn dir(&mut self, n: usize, attributes: &mut Attributes<'_>) -> Result<(), IndexError> {
        let planned = &self.plan.dirs[n];
        match planned.action {
            DirAction::Create => self.report.done.created += 1,
            DirAction::Replace => self.report.done.replaced += 1,
            DirAction::Change => self.report.done.changed += 1,
            DirAction::Keep => {}
        }
        let Some(wanted) = &planned.wanted else { return Ok(()) };
        let attr = attributes.whole(wanted)?;
        let path = self.plan.dir_path(n);
        match dir::open_beneath(self.base, &path) {
            Ok(fd) => attributes::note(&mut self.report, || self.plan.from_root(&path), apply::to_open(fd, &attr)),
            Err(e) if self.stop.load(Ordering::Relaxed) && e.kind() == io::ErrorKind::NotFound => {}
            Err(source) => {
                self.report.problem(self.plan.from_root(&path), Why::Io { doing: "open it again", source });
            }
        }
        Ok(())
    }
}
