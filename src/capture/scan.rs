//! Walking directories: each is listed and held against the index, name by name.

use crate::capture::{
    database::base_of,
    report::CaptureError,
    scope::{CACHEDIR_SIGNATURE, CACHEDIR_TAG, Descent},
    worker::{Dir, Pending, Task, Worker},
};
use crate::index::rows::Row;
use crate::sys::{dir, read, stat};
use crate::types::{ids::Node, path};
use std::{collections::BTreeMap, io, os::fd::OwnedFd, sync::Arc};

/// A directory with more files to read than this shares them with the other threads.
const FILES_TOGETHER: usize = 128;

impl Worker<'_> {
    /// Does tasks until none is left.
    pub(super) fn run(&mut self) -> Result<(), CaptureError> {
        while let Some(task) = self.shared.queue.next() {
            let result = self.task(task);
            self.shared.queue.done();
            if let Err(e) = result {
                self.shared.queue.stop();
                return Err(e);
            }
        }
        if self.shared.queue.is_stopped() { Err(CaptureError::Stopped) } else { Ok(()) }
    }

    fn task(&mut self, task: Task) -> Result<(), CaptureError> {
        match task {
            Task::Scan { parent, name, node, known, deep } => self.scan(parent.as_ref(), &name, node, known, deep),
            Task::Names { dir, names } => self.names(&dir, names),
            Task::Files { dir, files } => {
                for pending in files {
                    self.read(&dir, pending)?;
                }
                Ok(())
            }
        }
    }

    fn scan(
        &mut self,
        parent: Option<&Arc<Dir>>,
        name: &[u8],
        node: Node,
        known: bool,
        deep: bool,
    ) -> Result<(), CaptureError> {
        // A walk rests for others as reading does.
        self.shared.admit(0).map_err(|_| CaptureError::Stopped)?;
        let Some((dir, descent)) = self.enter(parent, name, node)? else { return Ok(()) };
        let mut listing = std::mem::take(&mut self.listing);
        if descent != Descent::Enter {
            // What was captured when it did belong to the source ends.
            listing.clear();
        } else if let Err(e) = dir::list(&dir.fd, &mut self.scratch, &mut listing) {
            self.listing = listing;
            return self.problem(&dir.rel, b"", "list it", &e);
        }
        listing.sort_by_name();
        let rows =
            if known { self.ingest.index().children(self.shared.source, node, self.shared.head)? } else { Vec::new() };
        let only_tag = self.shared.scope.cachedir_tag
            && listing.iter().any(|entry| entry.name == CACHEDIR_TAG)
            && is_tagged(&dir.fd);
        let (mut files, mut dirs) = (Vec::new(), Vec::new());
        let mut rows = rows.into_iter().peekable();
        for entry in listing.iter() {
            while let Some(row) = rows.next_if(|row| row.name.as_slice() < entry.name) {
                self.close_row(&dir, row)?;
            }
            let row = rows.next_if(|row| row.name == entry.name);
            if only_tag && entry.name != CACHEDIR_TAG {
                self.gone(&dir, entry.name, row)?;
            } else {
                self.visit(&dir, entry.name, row, deep, (&mut files, &mut dirs))?;
            }
        }
        for row in rows {
            self.close_row(&dir, row)?;
        }
        self.listing = listing;
        self.hand_out(&dir, files, dirs)
    }

    fn close_row(&mut self, dir: &Dir, row: Row) -> Result<(), CaptureError> {
        let name = row.name.clone();
        self.gone(dir, &name, Some(row))
    }

    /// Opens a directory, and tells whether what is in it belongs to the source.
    fn enter(
        &mut self,
        parent: Option<&Arc<Dir>>,
        name: &[u8],
        node: Node,
    ) -> Result<Option<(Arc<Dir>, Descent)>, CaptureError> {
        let opened = match parent {
            Some(parent) => dir::open_at(&parent.fd, name),
            None => self.shared.root.try_clone(),
        };
        let rel = parent.map_or(Vec::new(), |parent| path::join(&parent.rel, name));
        let entered = opened.and_then(|fd| {
            let stat = stat::of(&fd)?;
            let dev = parent.map_or(stat.place.dev, |parent| parent.dev);
            let descent = match parent {
                Some(_) => self.shared.scope.descent(&fd, &stat, dev)?,
                None => Descent::Enter,
            };
            Ok((fd, stat.place.dev, descent))
        });
        match entered {
            Ok((fd, dev, descent)) => Ok(Some((Arc::new(Dir { fd, node, rel, dev }), descent))),
            // It went away, or something else stands there: the next look will tell.
            Err(e) if is_gone(&e) => Ok(None),
            Err(e) => self.problem(&rel, b"", "open it", &e).map(|()| None),
        }
    }

    fn names(&mut self, dir: &Arc<Dir>, names: Vec<(Vec<u8>, bool)>) -> Result<(), CaptureError> {
        let (mut files, mut dirs) = (Vec::new(), Vec::new());
        let mut names: BTreeMap<Vec<u8>, bool> = names.into_iter().collect();
        // A change beside a database is one of the database.
        let bases: Vec<Vec<u8>> = names.keys().filter_map(|name| base_of(name)).map(<[u8]>::to_vec).collect();
        for base in bases.into_iter().filter(|base| stat::at(&dir.fd, base).is_ok()) {
            names.entry(base).or_insert(false);
        }
        for (name, deep) in names {
            let row = self.ingest.index().child(self.shared.source, dir.node, &name, self.shared.head)?;
            self.visit(dir, &name, row, deep, (&mut files, &mut dirs))?;
        }
        self.hand_out(dir, files, dirs)
    }

    /// Reads a few files at once, hands many to all threads, and the directories with them.
    fn hand_out(&mut self, dir: &Arc<Dir>, files: Vec<Pending>, dirs: Vec<Task>) -> Result<(), CaptureError> {
        let mut tasks = Vec::new();
        if files.len() <= FILES_TOGETHER {
            for pending in files {
                self.read(dir, pending)?;
            }
        } else {
            let mut files = files.into_iter().peekable();
            while files.peek().is_some() {
                let files = files.by_ref().take(FILES_TOGETHER).collect();
                tasks.push(Task::Files { dir: dir.clone(), files });
            }
            // What has ended at these names, or leads to them now, is told before another thread can tell what is there.
            self.flush()?;
        }
        tasks.extend(dirs);
        if !tasks.is_empty() {
            self.shared.queue.push(tasks.into_iter());
        }
        Ok(())
    }
}

/// Whether a path is simply not there, or not what it was.
pub(super) fn is_gone(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP | libc::ESTALE))
}

/// Whether a directory is marked as a cache.
pub(super) fn is_tagged(fd: &OwnedFd) -> bool {
    let mut head = [0; CACHEDIR_SIGNATURE.len()];
    let found = stat::at(fd, CACHEDIR_TAG)
        .ok()
        .filter(|s| s.kind() == Some(crate::types::attr::Kind::File))
        .and_then(|_| read::open(fd, CACHEDIR_TAG).ok())
        .and_then(|file| read::read_at(file, &mut head, 0).ok());
    found == Some(head.len()) && head == *CACHEDIR_SIGNATURE
}
