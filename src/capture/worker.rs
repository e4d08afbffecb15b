//! One thread of a capture, and what the threads share.

use crate::capture::{
    copy::Fuzzy,
    pace::Pace,
    queue::Queue,
    report::{CaptureError, Problem},
    scope::Scope,
};
use crate::index::rows::Row;
use crate::progress::Progress;
use crate::repo::ingest::{Framed, Ingest};
use crate::sys::{dir, stat::Stat};
use crate::types::{
    attr::Place,
    ids::{Node, Snap, SourceNum, Ver},
    op::Op,
    path,
    snapshot::Counters,
    time::Time,
};
use crossbeam_channel::Sender;
use std::{
    collections::{HashMap, HashSet},
    io,
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// So many results are handed over together.
const BATCH: usize = 256;

/// What the threads of one capture share.
pub(super) struct Shared<'a> {
    pub(super) root: &'a OwnedFd,
    pub(super) root_path: &'a [u8],
    /// The device that is looked at, and the one that it is told as, where a snapshot is looked at in place of the source.
    pub(super) device: Option<(u64, u64)>,
    /// Where images of databases are made.
    pub(super) state: &'a std::path::Path,
    pub(super) source: SourceNum,
    /// The newest snapshot: what the index is asked for.
    pub(super) head: Snap,
    pub(super) scope: &'a Scope,
    pub(super) full: bool,
    pub(super) next: Next,
    /// New nodes with several names, by where they were seen.
    pub(super) links: Mutex<HashMap<Place, Node>>,
    /// Known nodes that were found at another name.
    pub(super) moved: Mutex<HashSet<Node>>,
    /// Known nodes that were read already: a node with several names is stated once.
    pub(super) looked: Mutex<HashSet<Node>>,
    /// Directories whose entry ended: what was in them ends too, unless it was found elsewhere.
    pub(super) removed: Mutex<Vec<Node>>,
    pub(super) queue: Queue<Task>,
    pub(super) progress: &'a dyn Progress,
    pub(super) stop: &'a AtomicBool,
    /// Whether so much is looked at that it rests for others.
    pub(super) bulk: bool,
}

impl Shared<'_> {
    /// Returns when so many bytes may be read; with an error where the capture is to end.
    pub(super) fn admit(&self, bytes: u64) -> io::Result<()> {
        Pace::of_process().admit(bytes, self.bulk, self.stop, self.progress);
        match self.stop.load(Ordering::Relaxed) {
            true => Err(io::Error::other("the capture was asked to end")),
            false => Ok(()),
        }
    }

    /// Where a node is in the live tree.
    pub(super) fn live(&self, place: Place) -> Place {
        match self.device {
            Some((seen, live)) if place.dev == seen => Place { dev: live, ..place },
            _ => place,
        }
    }
}

/// The next numbers to give.
pub(super) struct Next {
    dir: AtomicU64,
    other: AtomicU64,
    ver: AtomicU64,
}

impl Next {
    pub(super) fn new(c: Counters) -> Next {
        Next { dir: c.dir.into(), other: c.other.into(), ver: c.ver.into() }
    }

    pub(super) fn node(&self, is_dir: bool) -> Node {
        if is_dir {
            Node::directory(self.dir.fetch_add(1, Ordering::Relaxed))
        } else {
            Node::other(self.other.fetch_add(1, Ordering::Relaxed))
        }
    }

    pub(super) fn ver(&self) -> Ver {
        Ver(self.ver.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn counters(&self) -> Counters {
        let get = |n: &AtomicU64| n.load(Ordering::Relaxed);
        Counters { dir: get(&self.dir), other: get(&self.other), ver: get(&self.ver) }
    }
}

/// A directory that is open.
pub(super) struct Dir {
    pub(super) fd: OwnedFd,
    pub(super) node: Node,
    /// Its path relative to the root.
    pub(super) rel: Vec<u8>,
    pub(super) dev: u64,
}

/// Work for a thread.
pub(super) enum Task {
    /// List a directory, and what is below it where `deep` is set.
    Scan { parent: Option<Arc<Dir>>, name: Vec<u8>, node: Node, known: bool, deep: bool },
    /// Look at some names of a directory; a known directory among them is scanned where the flag is set.
    Names { dir: Arc<Dir>, names: Vec<(Vec<u8>, bool)> },
    /// Read files.
    Files { dir: Arc<Dir>, files: Vec<Pending> },
}

/// A node that is to be read.
pub(super) struct Pending {
    pub(super) name: Vec<u8>,
    pub(super) stat: Stat,
    pub(super) known: Known,
}

/// What is known of a node that is to be read.
pub(super) enum Known {
    /// Nothing: it gets this number.
    New(Node),
    /// The row that it had, here or at another name.
    Row(Box<Row>),
}

/// A result.
pub(super) enum Out {
    Op(Op),
    Framed(Framed),
    Seen { parent: Node, name: Vec<u8>, place: Place, seen: Time },
    Problem(Problem),
    Fuzzy(Vec<u8>, Fuzzy),
    Altered(Vec<u8>),
    Socket,
    Counted { seen: u64, read_bytes: u64 },
    Large { path: Vec<u8>, bytes: u64, ns: i64 },
}

/// One thread of a capture.
pub(super) struct Worker<'a> {
    pub(super) shared: &'a Shared<'a>,
    pub(super) ingest: Ingest,
    pub(super) to: Sender<Vec<Out>>,
    out: Vec<Out>,
    /// Versions whose content is not in a frame yet.
    pub(super) held: Vec<Op>,
    /// What is noted when everything is stated.
    pub(super) noted: Vec<Out>,
    pub(super) listing: dir::Listing,
    pub(super) scratch: Vec<u8>,
    pub(super) seen: u64,
    pub(super) read_bytes: u64,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Worker<'a> {
    pub(super) fn new(shared: &'a Shared<'a>, ingest: Ingest, to: Sender<Vec<Out>>) -> Worker<'a> {
        Worker {
            shared,
            ingest,
            to,
            out: Vec::new(),
            held: Vec::new(),
            noted: Vec::new(),
            listing: dir::Listing::new(),
            scratch: Vec::new(),
            seen: 0,
            read_bytes: 0,
        }
    }

    pub(super) fn emit(&mut self, out: Out) -> Result<(), CaptureError> {
        self.out.push(out);
        if self.out.len() >= BATCH { self.flush() } else { Ok(()) }
    }

    /// Hands on what was found so far; what any thread finds afterwards comes behind it.
    pub(super) fn flush(&mut self) -> Result<(), CaptureError> {
        // The other side is gone only where the capture has failed already.
        self.to.send(std::mem::take(&mut self.out)).map_err(|_| CaptureError::Stopped)
    }

    pub(super) fn problem(&mut self, dir: &[u8], name: &[u8], doing: &str, e: &io::Error) -> Result<(), CaptureError> {
        self.emit(Out::Problem(Problem { path: path::join(dir, name), why: format!("cannot {doing}: {e}") }))
    }

    /// Hands everything on that is left; everything read is durable. Gives the bytes stored.
    pub(super) fn finish(mut self) -> Result<u64, CaptureError> {
        let (held, mut noted) = (std::mem::take(&mut self.held), std::mem::take(&mut self.noted));
        let (seen, read_bytes) = (self.seen, self.read_bytes);
        let mut out = std::mem::take(&mut self.out);
        let (framed, stored) = self.ingest.finish()?;
        out.extend(framed.into_iter().map(Out::Framed));
        out.extend(held.into_iter().map(Out::Op));
        out.append(&mut noted);
        out.push(Out::Counted { seen, read_bytes });
        self.to.send(out).map_err(|_| CaptureError::Stopped)?;
        Ok(stored)
    }
}
