//! Doing what a plan says.
//!
//! The order: room is looked for; what stands in the way is removed; directories are made; files are written beside and put in
//! place, by several threads; names are linked; what was not there is removed; then the attributes of directories, the
//! deepest first; then the file systems are synced. Nothing unfinished ever has a final name.

use crate::progress::{Progress, Total};
use crate::repo::attach::Attached;
use crate::restore::{
    aside::Aside,
    attributes::{self, Attributes},
    batch::{Shared, Worker},
    check,
    error::RestoreError,
    finish::finish_dirs,
    leftover,
    open::{Dirs, Places, unprotect},
    plan::{Action, DirAction, Plan, PlannedFile, Removal},
    queue::Queue,
    report::{Report, Why},
};
use crate::sys::{apply, dir, durable, flags, make, process, read, space, stat};
use crate::types::{attr::Kind, path, role::Need};
use rustix::fd::OwnedFd;
use std::{
    collections::{HashMap, HashSet},
    io,
    sync::atomic::{AtomicBool, Ordering},
};

/// Does what `plan` says. `stop` ends it early: what was begun is taken back, what was done stays.
///
/// An error means that nothing more could be done at all; what could not be done for single paths is in the report.
pub fn act(at: &Attached, plan: Plan, progress: &dyn Progress, stop: &AtomicBool) -> Result<Report, RestoreError> {
    act_keeping(at, plan, None, progress, stop)
}

/// The same; what is replaced and removed is kept `aside`, if that is given.
pub fn act_keeping(
    at: &Attached,
    plan: Plan,
    aside: Option<&Aside>,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<Report, RestoreError> {
    at.repo().check(Need::Content)?;
    let mut plan = plan;
    refuse_final(at, &plan)?;
    let base = open_base(&plan)?;
    let noted = |source| RestoreError::Note { dir: at.dir().display().to_string(), source };
    let _running = leftover::begin(at.dir(), &plan, &base).map_err(noted)?;
    let problems = std::mem::take(&mut plan.problems);
    let mut act = Act {
        at,
        plan: &plan,
        base: &base,
        aside,
        stop,
        report: Report { problems, ..Report::default() },
        lost: HashSet::new(),
    };
    act.report.done.kept = plan.will.kept;
    act.remove(&plan.clear);
    act.make_dirs()?;
    act.content(progress)?;
    let index = at.reader()?;
    index.hold(|index| act.rest(&mut Attributes::new(index, &plan.mapping)))?;
    if !act.stopped() {
        progress.start("removing", None);
        act.remove(&plan.remove);
    }
    let finished = finish_dirs(at, &plan, &base, &act.lost, stop)?;
    act.report.merge(finished);
    progress.start("syncing", None);
    act.sync()?;
    progress.finish();
    act.report.stopped |= stop.load(Ordering::Relaxed);
    Ok(act.report)
}

/// Fails where it is known that the file system can't take it: for those who did not ask before.
fn refuse_final(at: &Attached, plan: &Plan) -> Result<(), RestoreError> {
    let checked = check::room(&at.reader()?, plan)?;
    match checked.into_iter().find(|unmet| unmet.what.is_final()) {
        Some(unmet) => Err(RestoreError::NoRoom { path: path::show(&unmet.path), why: unmet.text }),
        None => Ok(()),
    }
}

fn open_base(plan: &Plan) -> Result<OwnedFd, RestoreError> {
    let failed = |source| RestoreError::Target { path: plan.base.display().to_string(), source };
    if plan.opened.is_none() {
        durable::create_dirs(&plan.base, 0o777).map_err(|e| failed(e.into()))?;
    }
    plan.open_base().map_err(failed)
}

struct Act<'a> {
    at: &'a Attached,
    plan: &'a Plan,
    base: &'a OwnedFd,
    aside: Option<&'a Aside>,
    stop: &'a AtomicBool,
    report: Report,
    /// Directories that could not be made: nothing in them is tried.
    lost: HashSet<usize>,
}

impl Act<'_> {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn problem(&mut self, path: Vec<u8>, why: Why) {
        self.report.problem(path, why);
    }

    fn make_dirs(&mut self) -> Result<(), RestoreError> {
        let mut dirs = Dirs::new(self.base, self.plan);
        for (n, planned) in self.plan.dirs.iter().enumerate() {
            let Some(parent) = planned.parent else { continue };
            if self.stopped() {
                break;
            }
            if self.lost.contains(&parent) {
                self.lost.insert(n);
                continue;
            }
            let made = match planned.action {
                DirAction::Keep | DirAction::Change if planned.touched || planned.action == DirAction::Change => {
                    dirs.get(parent).and_then(|fd| open_up(fd, &planned.name))
                }
                DirAction::Keep | DirAction::Change => Ok(()),
                DirAction::Create | DirAction::Replace => {
                    dirs.get(parent).and_then(|fd| self.make_dir(fd, parent, &planned.name, planned.action))
                }
            };
            if let Err(source) = made {
                self.lost.insert(n);
                let path = self.plan.from_root(&self.plan.dir_path(n));
                self.problem(path, Why::Io { doing: "make the directory", source });
            }
        }
        Ok(())
    }

    /// Writes all that has content, and all that has none.
    fn content(&mut self, progress: &dyn Progress) -> Result<(), RestoreError> {
        let queue = self.at.reader()?.hold(|index| Queue::fill(index, self.plan))?;
        let will = &self.plan.will;
        progress.start("restoring", Some(Total { files: self.plan.files.len() as u64, bytes: will.bytes }));
        let repo = self.at.repo();
        let shared = Shared {
            repo,
            plan: self.plan,
            base: self.base,
            aside: self.aside,
            queue: &queue,
            progress,
            stop: self.stop,
        };
        let threads = (2 * process::cpus()).clamp(2, 16);
        let results: Vec<Result<(Report, Vec<usize>), RestoreError>> = std::thread::scope(|scope| {
            let work = || -> Result<(Report, Vec<usize>), RestoreError> {
                let index = self.at.reader()?;
                index.hold(|index| {
                    let mut worker = Worker::new(&shared, index);
                    worker.run()?;
                    Ok((worker.report, worker.failed))
                })
            };
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            threads.into_iter().map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        });
        let mut failed = HashSet::new();
        for result in results {
            let (report, files) = result?;
            self.report.merge(report);
            failed.extend(files);
        }
        self.links(&failed);
        Ok(())
    }

    fn links(&mut self, failed: &HashSet<usize>) {
        let broken: HashSet<_> =
            failed.iter().map(|n| (self.plan.files[*n].source, self.plan.files[*n].node)).collect();
        let (mut from, mut to) = (Dirs::new(self.base, self.plan), Dirs::new(self.base, self.plan));
        for file in &self.plan.files {
            let Action::Link { dir, name } = &file.action else { continue };
            if self.stopped() {
                return;
            }
            let linked = match broken.contains(&(file.source, file.node)) {
                true => Err(Why::FirstName { first: path::show(&self.plan.path(*dir, name)) }),
                false => self.link(&mut from, (*dir, name), &mut to, file),
            };
            match linked {
                Ok(()) => self.report.done.linked += 1,
                Err(why) => self.problem(self.plan.path(file.dir, &file.name), why),
            }
        }
    }

    /// Attributes of files that keep their content, and the flags that would have been in the way before.
    fn rest(&mut self, attributes: &mut Attributes<'_>) -> Result<(), RestoreError> {
        let mut dirs = Dirs::new(self.base, self.plan);
        for file in &self.plan.files {
            let attr = &file.wanted.attr;
            let change = file.action == Action::Change;
            let is_made = attr.kind() == Kind::File && !matches!(file.action, Action::Link { .. });
            let to_do = change || (is_made && attributes::is_protected(attr));
            if !to_do {
                continue;
            }
            if self.stopped() && change {
                continue;
            }
            let attr = attributes.whole(&file.wanted)?;
            let shown = || self.plan.path(file.dir, &file.name);
            let applied = dirs.get(file.dir).and_then(|dir| {
                if change && attr.kind() == Kind::File {
                    flags::unprotect(read::open(dir, &file.name)?)?;
                }
                apply::to_name(dir, &file.name, &attr)
            });
            match applied {
                Ok(applied) => {
                    self.report.done.changed += u64::from(change);
                    attributes::note(&mut self.report, shown, applied);
                }
                // It was not made, and that has been noted.
                Err(e) if !change && e.kind() == io::ErrorKind::NotFound => {}
                Err(source) => self.report.problem(shown(), Why::Io { doing: "set its attributes", source }),
            }
        }
        Ok(())
    }

    fn remove(&mut self, removals: &[Removal]) {
        for removal in removals {
            if self.stopped() {
                return;
            }
            match self.remove_one(removal) {
                Ok(true) => self.report.done.removed += 1,
                Ok(false) => {}
                Err(source) => {
                    self.problem(self.plan.from_root(&removal.path), Why::Io { doing: "remove it", source });
                }
            }
        }
    }

    fn make_dir(&self, parent: &OwnedFd, at: usize, name: &[u8], action: DirAction) -> io::Result<()> {
        if action == DirAction::Replace {
            if let Some(aside) = self.aside {
                aside.before_replaced(self.base, self.plan, at, parent, name)?;
            }
            match remove_name(parent, name, false) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        match make::directory(parent, name) {
            // Made by somebody else in the meantime: it is what is wanted.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => dir::open_at(parent, name).map(drop),
            other => other,
        }
    }

    fn link(
        &self,
        from: &mut Dirs<'_>,
        (dir, name): (usize, &[u8]),
        to: &mut Dirs<'_>,
        file: &PlannedFile,
    ) -> Result<(), Why> {
        let from = from.get(dir).map_err(Why::io("open the directory of its other name"))?;
        let to = to.get(file.dir).map_err(Why::io("open its directory"))?;
        let linked = make::with_temp_name(|temp| make::hard_link(from, name, to, temp));
        let (temp, ()) = linked.map_err(Why::io("link it to its other name"))?;
        Places { base: self.base, plan: self.plan, aside: self.aside }.put(to, &temp, file)?;
        // A rename of one name of a file to another does nothing at all.
        match make::unlink(to, &temp) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Why::io("remove a temporary name")(e)),
            _ => Ok(()),
        }
    }

    /// Removes one name, if it still leads to what it led to when the plan was made. Whether it was there.
    fn remove_one(&self, removal: &Removal) -> io::Result<bool> {
        let (parent, name) = match dir::open_parent_beneath(self.base, &removal.path) {
            Ok(found) => found,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(e),
        };
        let now = match stat::at(&parent, name) {
            Ok(now) => now,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(e),
        };
        if now.place != removal.place {
            return Err(io::Error::other("it was replaced by something else meanwhile, and left as it is"));
        }
        if removal.content.is_some_and(|content| content != (now.size, now.mtime)) {
            return Err(io::Error::other("it was changed meanwhile, and left as it is"));
        }
        let Some(aside) = self.aside else { return remove_name(&parent, name, removal.is_dir).map(|()| true) };
        let below = &removal.path[..removal.path.iter().rposition(|b| *b == b'/').unwrap_or(0)];
        let once = || aside.instead_of_removing((self.base, self.plan), below, &parent, name, removal.is_dir);
        match once() {
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied && unprotect(&parent, name).unwrap_or(false) => {
                once()?
            }
            other => other?,
        }
        Ok(true)
    }

    /// Every file system that something was written to.
    fn sync(&mut self) -> Result<(), RestoreError> {
        let mut synced: HashMap<u64, ()> = HashMap::new();
        let failed = |path: &[u8], source| RestoreError::Sync { path: path::show(path), source };
        for (n, planned) in self.plan.dirs.iter().enumerate() {
            if !planned.touched && planned.action == DirAction::Keep && n != 0 || self.lost.contains(&n) {
                continue;
            }
            let path = self.plan.dir_path(n);
            let Ok(fd) = dir::open_beneath(self.base, &path) else { continue };
            let now = stat::of(&fd).map_err(|e| failed(&path, e))?;
            if synced.insert(now.place.dev, ()).is_none() {
                space::sync_all(&fd).map_err(|e| failed(&self.plan.from_root(&path), e))?;
            }
        }
        Ok(())
    }
}

/// Lets this process work in a directory that is there: its attributes are put back at the end.
fn open_up(parent: &OwnedFd, name: &[u8]) -> io::Result<()> {
    let fd = match dir::open_at(parent, name) {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            apply::grant_owner(parent, name)?;
            dir::open_at(parent, name)?
        }
        other => other?,
    };
    flags::unprotect(&fd)?;
    if process::effective_uid() != 0 && stat::of(&fd)?.mode & 0o700 != 0o700 {
        apply::grant_owner(parent, name)?;
    }
    Ok(())
}

fn remove_name(parent: &OwnedFd, name: &[u8], is_dir: bool) -> io::Result<()> {
    let once = || if is_dir { make::remove_dir(parent, name) } else { make::unlink(parent, name) };
    match once() {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied && unprotect(parent, name).unwrap_or(false) => once(),
        other => other,
    }
}
