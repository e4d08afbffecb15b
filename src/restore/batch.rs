//! One thread of a restore: takes jobs, fetches their frames, writes files beside and puts them in place.

use crate::index::tree::Reader;
use crate::progress::Progress;
use crate::repo::{
    error::RepoError,
    fetch::{self, Decoded},
    open::Repository,
};
use crate::restore::{
    aside::Aside,
    attributes::{self, Attributes},
    content::{Placed, Writer, place},
    error::RestoreError,
    open::{Dirs, Places},
    plan::{Action, Plan, PlannedFile},
    queue::{Job, Parts, Queue, Temp, Work},
    report::{Report, Why},
};
use crate::sys::{apply, flags, make};
use crate::types::{
    attr::{Attr, Kind},
    path,
};
use rustix::fd::OwnedFd;
use std::{
    collections::HashSet,
    ops::Range,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// A thread holds at most about this many bytes of decoded frames.
const DECODED_MAX: u64 = 48 << 20;

/// What all threads share.
pub(super) struct Shared<'a> {
    pub(super) repo: &'a Repository,
    pub(super) plan: &'a Plan,
    pub(super) base: &'a OwnedFd,
    pub(super) aside: Option<&'a Aside>,
    pub(super) queue: &'a Queue,
    pub(super) progress: &'a dyn Progress,
    pub(super) stop: &'a AtomicBool,
}

impl Shared<'_> {
    fn places(&self) -> Places<'_> {
        Places { base: self.base, plan: self.plan, aside: self.aside }
    }
}

/// One thread.
pub(super) struct Worker<'a> {
    shared: &'a Shared<'a>,
    index: &'a Reader,
    dirs: Dirs<'a>,
    attributes: Attributes<'a>,
    writer: Writer<'a>,
    frames: Decoded,
    pub(super) report: Report,
    /// Files that could not be restored: their other names can't be either.
    pub(super) failed: Vec<usize>,
}

/// A job with its chunks found.
struct Ready {
    job: Job,
    chunks: Result<Vec<Placed>, Why>,
}

impl<'a> Worker<'a> {
    pub(super) fn new(shared: &'a Shared<'a>, index: &'a Reader) -> Worker<'a> {
        Worker {
            shared,
            index,
            dirs: Dirs::new(shared.base, shared.plan),
            attributes: Attributes::new(index, &shared.plan.mapping),
            writer: Writer { repo: shared.repo, index, buffer: Vec::new() },
            frames: Decoded::new(),
            report: Report::default(),
            failed: Vec::new(),
        }
    }

    /// Works until the queue is empty or everybody is told to stop.
    pub(super) fn run(&mut self) -> Result<(), RestoreError> {
        loop {
            let batch = self.shared.queue.take(self.index)?;
            if batch.is_empty() {
                return Ok(());
            }
            self.batch(batch)?;
        }
    }

    fn batch(&mut self, jobs: Vec<Job>) -> Result<(), RestoreError> {
        let mut ready: Vec<Ready> = Vec::with_capacity(jobs.len());
        let (mut frames, mut raw_bytes) = (HashSet::new(), 0u64);
        for job in jobs {
            let chunks = self.chunks(&job);
            for chunk in chunks.iter().flatten() {
                if frames.insert(chunk.at.frame) {
                    raw_bytes += u64::from(chunk.at.raw_len);
                }
            }
            ready.push(Ready { job, chunks });
            if raw_bytes >= DECODED_MAX {
                self.write(std::mem::take(&mut ready));
                frames.clear();
                raw_bytes = 0;
            }
        }
        self.write(ready);
        Ok(())
    }

    fn chunks(&self, job: &Job) -> Result<Vec<Placed>, Why> {
        let found = match &job.work {
            Work::Empty => Ok(Vec::new()),
            Work::Whole(code) => {
                let size = self.shared.plan.files[job.file].wanted.attr.size;
                self.index.pieces(*code).map_err(RepoError::from).and_then(|pieces| {
                    let total = pieces.iter().try_fold(0u64, |n, piece| n.checked_add(piece.len()));
                    if total != Some(size) {
                        let why = crate::index::error::IndexError::Damaged("a content does not add up to its size");
                        return Err(why.into());
                    }
                    place(self.index, &pieces, 0)
                })
            }
            Work::Part(parts, range, begin) => place(self.index, &parts.pieces[range.clone()], *begin),
        };
        found.map_err(|e| Why::Damaged(Arc::new(e)))
    }

    fn write(&mut self, ready: Vec<Ready>) {
        let wanted: Vec<_> = ready.iter().flat_map(|r| r.chunks.iter().flatten()).map(|c| c.at).collect();
        let used: HashSet<i64> = wanted.iter().map(|at| at.frame).collect();
        self.frames.retain(|frame, _| used.contains(frame));
        fetch::frames(self.shared.repo, &wanted, &mut self.frames);
        for Ready { job, chunks } in ready {
            let result = chunks.and_then(|chunks| match &job.work {
                Work::Part(parts, range, _) => self.part(job.file, parts, range, &chunks),
                _ => self.whole(job.file, &chunks),
            });
            if let Err(why) = result {
                self.fail(&job, why);
            }
        }
    }

    fn fail(&mut self, job: &Job, why: Why) {
        let plan = self.shared.plan;
        let file = &plan.files[job.file];
        if let Work::Part(parts, ..) = &job.work {
            let first = !parts.failed.swap(true, Ordering::AcqRel);
            if parts.done() {
                self.discard(file, parts);
            }
            if !first {
                return;
            }
        }
        self.failed.push(job.file);
        self.report.problem(plan.path(file.dir, &file.name), why);
    }

    fn discard(&mut self, file: &PlannedFile, parts: &Parts) {
        let temp = parts.temp.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let (Some(temp), Ok(dir)) = (temp, self.dirs.get(file.dir)) {
            // What failed has been noted; a temporary file left behind is known by its name.
            let _ = make::unlink(dir, &temp.name);
        }
    }

    /// Makes, fills and places one file, or anything without content.
    fn whole(&mut self, n: usize, chunks: &[Placed]) -> Result<(), Why> {
        if self.shared.stop.load(Ordering::Relaxed) {
            self.report.stopped = true;
            return Ok(());
        }
        let plan = self.shared.plan;
        let file = &plan.files[n];
        let attr = self.whole_attr(file)?;
        if attr.kind() != Kind::File {
            return self.special(file, &attr);
        }
        let dir = self.dirs.get(file.dir).map_err(Why::io("open its directory"))?;
        let (name, fd) =
            make::with_temp_name(|temp| make::file(dir, temp)).map_err(Why::io("create a file beside it"))?;
        let temp = Temp { name, fd };
        let written =
            prepare(&temp.fd, &attr, data_end(chunks)).and_then(|()| self.writer.write(&temp.fd, chunks, &self.frames));
        match written {
            Ok(bytes) => self.finish(file, &temp, &attr, bytes),
            Err(why) => {
                let _ = make::unlink(self.dirs.get(file.dir).map_err(Why::io("open its directory"))?, &temp.name);
                Err(why)
            }
        }
    }

    /// Fills a part of a large file; the last part puts it in place.
    fn part(&mut self, n: usize, parts: &Parts, _range: &Range<usize>, chunks: &[Placed]) -> Result<(), Why> {
        let file = &self.shared.plan.files[n];
        if self.shared.stop.load(Ordering::Relaxed) || parts.failed.load(Ordering::Acquire) {
            self.report.stopped |= self.shared.stop.load(Ordering::Relaxed);
            parts.failed.store(true, Ordering::Release);
            if parts.done() {
                self.discard(file, parts);
            }
            return Ok(());
        }
        let attr = self.whole_attr(file)?;
        let temp = self.temp(file, parts, &attr)?;
        let bytes = self.writer.write(&temp.fd, chunks, &self.frames)?;
        self.report.done.bytes += bytes;
        self.shared.progress.add(0, bytes);
        if !parts.done() {
            return Ok(());
        }
        if parts.failed.load(Ordering::Acquire) {
            self.discard(file, parts);
            return Ok(());
        }
        // From here on a failure concerns the file and not the part: it has been counted already.
        let placed = self.finish(file, &temp, &attr, 0);
        if let Err(why) = placed {
            self.discard(file, parts);
            self.failed.push(n);
            self.report.problem(self.shared.plan.path(file.dir, &file.name), why);
        }
        Ok(())
    }

    fn temp(&mut self, file: &PlannedFile, parts: &Parts, attr: &Attr) -> Result<Arc<Temp>, Why> {
        let mut slot = parts.temp.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(temp) = &*slot {
            return Ok(temp.clone());
        }
        let dir = self.dirs.get(file.dir).map_err(Why::io("open its directory"))?;
        let (name, fd) =
            make::with_temp_name(|temp| make::file(dir, temp)).map_err(Why::io("create a file beside it"))?;
        let temp = Arc::new(Temp { name, fd });
        *slot = Some(temp.clone());
        prepare(&temp.fd, attr, 0)?;
        Ok(temp)
    }

    fn special(&mut self, file: &PlannedFile, attr: &Attr) -> Result<(), Why> {
        let target = match attr.kind() {
            Kind::Symlink => Some(self.link_target(file)?),
            _ => None,
        };
        let dir = self.dirs.get(file.dir).map_err(Why::io("open its directory"))?;
        let made = make::with_temp_name(|temp| match &target {
            Some(target) => make::symlink(dir, temp, target),
            None => make::special(dir, temp, attr.kind(), attr.rdev),
        });
        let (temp, ()) = made.map_err(Why::io("make it"))?;
        let applied = apply::to_name(dir, &temp, attr).map_err(Why::io("set its attributes"));
        let placed = match &applied {
            Ok(_) => self.shared.places().put(dir, &temp, file),
            Err(_) => make::unlink(dir, &temp).map_err(Why::io("remove what was made")),
        };
        let applied = applied?;
        placed?;
        attributes::note(&mut self.report, || self.shared.plan.path(file.dir, &file.name), applied);
        self.count(file, 0);
        Ok(())
    }

    fn link_target(&self, file: &PlannedFile) -> Result<Vec<u8>, Why> {
        let target = self
            .index
            .version(file.source, file.ver)
            .and_then(|v| v.ok_or(crate::index::error::IndexError::Damaged("a version is missing")))
            .and_then(|v| self.index.target(v.content))
            .map_err(|e| Why::Damaged(Arc::new(e.into())))?;
        match target.is_empty() || target.contains(&0) {
            true => Err(Why::Impossible("a symbolic link with a target that can't be")),
            false => Ok(target),
        }
    }

    fn whole_attr(&mut self, file: &PlannedFile) -> Result<Attr, Why> {
        self.attributes.whole(&file.wanted).map_err(|e| Why::Damaged(Arc::new(e.into())))
    }

    /// Puts a written file in its place, with its attributes.
    fn finish(&mut self, file: &PlannedFile, temp: &Temp, attr: &Attr, bytes: u64) -> Result<(), Why> {
        if !path::is_name(&file.name) {
            return Err(Why::Impossible("a name that no file can have"));
        }
        let applied = apply::to_open(&temp.fd, &attributes::unprotected(attr));
        let dir = self.dirs.get(file.dir).map_err(Why::io("open its directory"))?;
        self.shared.places().put(dir, &temp.name, file)?;
        attributes::note(&mut self.report, || self.shared.plan.path(file.dir, &file.name), applied);
        self.count(file, bytes);
        Ok(())
    }

    fn count(&mut self, file: &PlannedFile, bytes: u64) {
        let done = &mut self.report.done;
        match file.action {
            Action::Replace => done.replaced += 1,
            _ => done.created += 1,
        }
        done.bytes += bytes;
        self.shared.progress.add(1, bytes);
    }
}

/// What has to be set while a file is empty, and its length where its data does not reach its end.
fn prepare(fd: &OwnedFd, attr: &Attr, data_end: u64) -> Result<(), Why> {
    flags::set_early(fd, attr.flags);
    match data_end == attr.size {
        true => Ok(()),
        false => make::set_len(fd, attr.size).map_err(Why::io("set its length")),
    }
}

/// Where the data of a file ends; what comes then is a hole.
fn data_end(chunks: &[Placed]) -> u64 {
    chunks.last().map_or(0, |last| last.offset + u64::from(last.at.chunk_len))
}
