//! One name against what the index knows of it, and the operations that follow.

use crate::capture::{
    compare::{Verdict, compare, is_moved_node, same_attr},
    copy::{Copied, known_runs, shorten},
    database::CopyError,
    pace::Pace,
    queue::Queue,
    report::{CaptureError, Problem},
    scope::Scope,
};
use crate::index::{error::IndexError, rows::Row, tree::Reader};
use crate::progress::Progress;
use crate::repo::ingest::{Framed, Ingest};
use crate::sys::{
    btrfs::EMPTY_SUBVOLUME,
    clock, dir,
    stat::{self, Stat},
};
use crate::types::{
    attr::{Kind, Place},
    ids::{Node, Snap, SourceNum, Ver},
    op::{Content, Entry, Op, Version},
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

/// Files above this size are told to the budget.
const LARGE_BYTES: u64 = 1 << 20;
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
}

impl Shared<'_> {
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

    fn ver(&self) -> Ver {
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
    Fuzzy(Vec<u8>),
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
    held: Vec<Op>,
    pub(super) listing: dir::Listing,
    pub(super) scratch: Vec<u8>,
    pub(super) seen: u64,
    pub(super) read_bytes: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
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

    fn flush(&mut self) -> Result<(), CaptureError> {
        // The other side is gone only where the capture has failed already.
        self.to.send(std::mem::take(&mut self.out)).map_err(|_| CaptureError::Stopped)
    }

    pub(super) fn problem(&mut self, dir: &[u8], name: &[u8], doing: &str, e: &io::Error) -> Result<(), CaptureError> {
        self.emit(Out::Problem(Problem { path: path::join(dir, name), why: format!("cannot {doing}: {e}") }))
    }

    /// Looks at one name. Files that must be read are added to `files`, directories to be scanned to `dirs`.
    ///
    /// What is part of a database beside it is captured, or left out, with that.
    pub(super) fn visit(
        &mut self,
        dir: &Arc<Dir>,
        name: &[u8],
        row: Option<Row>,
        deep: bool,
        to: (&mut Vec<Pending>, &mut Vec<Task>),
    ) -> Result<(), CaptureError> {
        if self.is_beside_database(dir, name) { Ok(()) } else { self.visit_itself(dir, name, row, deep, to) }
    }

    /// The same, of this name alone.
    pub(super) fn visit_itself(
        &mut self,
        dir: &Arc<Dir>,
        name: &[u8],
        row: Option<Row>,
        deep: bool,
        (files, dirs): (&mut Vec<Pending>, &mut Vec<Task>),
    ) -> Result<(), CaptureError> {
        let stat = match stat::at(&dir.fd, name) {
            Ok(stat) => stat,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return self.gone(dir, name, row),
            Err(e) => return self.problem(&dir.rel, name, "look at it", &e),
        };
        self.seen += 1;
        let Some(kind) = stat.kind() else {
            return self.problem(&dir.rel, name, "use it", &io::Error::other("its type is unknown"));
        };
        if self.shared.scope.is_own_mount(&stat) {
            // What it hides is still there: it stays as it is known.
            return Ok(());
        }
        // Its own place is asked for: the live one, where a snapshot is looked at.
        let live = Stat { place: self.shared.live(stat.place), ..stat };
        if self.shared.scope.is_never(&live) || self.is_excluded(dir, name, kind) {
            return self.gone(dir, name, row);
        }
        if self.shared.device.is_some() && kind == Kind::Dir && stat.place.ino == EMPTY_SUBVOLUME {
            let why =
                "it is another subvolume, of which a snapshot has nothing: make it a source of its own, and exclude it";
            return self.problem(&dir.rel, name, "capture it", &io::Error::other(why));
        }
        if kind == Kind::Socket {
            self.emit(Out::Socket)?;
            return self.gone(dir, name, row);
        }
        let stat = self.seen_as(dir, name, stat, row.as_ref());
        let row = match row {
            Some(row) => match compare(&row, &stat, self.shared.full) {
                Verdict::Unchanged => {
                    if kind == Kind::Dir && deep {
                        dirs.push(scan(dir, name, row.node, true, deep));
                    }
                    return Ok(());
                }
                Verdict::Look => Some(row),
                Verdict::Replaced => {
                    self.close(dir, name, &row)?;
                    None
                }
            },
            None => None,
        };
        let (known, is_known) = match row {
            Some(row) => (Known::Row(Box::new(row)), true),
            None => match self.identify(dir, name, &stat, kind)? {
                Some(known) => {
                    let is_known = matches!(known, Known::Row(_));
                    (known, is_known)
                }
                None => return Ok(()),
            },
        };
        let node = match &known {
            Known::New(node) => *node,
            Known::Row(row) => row.node,
        };
        let pending = Pending { name: name.to_vec(), stat, known };
        if kind == Kind::File {
            files.push(pending);
            return Ok(());
        }
        let done = self.read(dir, pending)?;
        if kind == Kind::Dir && done && (deep || !is_known) {
            dirs.push(scan(dir, name, node, is_known, true));
        }
        Ok(())
    }

    fn is_excluded(&self, dir: &Dir, name: &[u8], kind: Kind) -> bool {
        self.shared.scope.is_excluded(&path::join(&dir.rel, name), kind == Kind::Dir)
    }

    /// A name that is not there (any more).
    pub(super) fn gone(&mut self, dir: &Dir, name: &[u8], row: Option<Row>) -> Result<(), CaptureError> {
        match row {
            Some(row) => self.close(dir, name, &row),
            None => Ok(()),
        }
    }

    fn close(&mut self, dir: &Dir, name: &[u8], row: &Row) -> Result<(), CaptureError> {
        if row.node.is_dir() {
            lock(&self.shared.removed).push(row.node);
        }
        self.emit(Out::Op(Op::Close { parent: dir.node, name: name.to_vec() }))
    }

    /// What a name is that the index does not know: a known node under another name, or a new one. `None` where nothing is left
    /// to do.
    fn identify(&mut self, dir: &Dir, name: &[u8], stat: &Stat, kind: Kind) -> Result<Option<Known>, CaptureError> {
        if let Some(row) = self.find_moved(stat, kind)? {
            let entry = Entry { parent: dir.node, name: name.to_vec(), node: row.node };
            self.emit(Out::Op(Op::Link(entry)))?;
            let row = Row { parent: dir.node, name: name.to_vec(), ..row };
            return Ok(Some(Known::Row(Box::new(row))));
        }
        let several = kind != Kind::Dir && stat.nlink > 1;
        let node = self.shared.next.node(kind == Kind::Dir);
        if several {
            let first = *lock(&self.shared.links).entry(stat.place).or_insert(node);
            if first != node {
                let entry = Entry { parent: dir.node, name: name.to_vec(), node: first };
                self.emit(Out::Op(Op::Link(entry)))?;
                return Ok(None);
            }
        }
        Ok(Some(Known::New(node)))
    }

    fn find_moved(&mut self, stat: &Stat, kind: Kind) -> Result<Option<Row>, CaptureError> {
        if self.shared.head == Snap(0) {
            return Ok(None);
        }
        let live = Stat { place: self.shared.live(stat.place), ..*stat };
        for row in self.ingest.index().by_inode(self.shared.source, live.place)? {
            if !is_moved_node(&row, &live) || row.node == Node::ROOT {
                continue;
            }
            // The same directory may show twice, where it is bound to another place: only one of them is it.
            if kind == Kind::Dir && (self.is_still_there(&row, stat)? || !lock(&self.shared.moved).insert(row.node)) {
                continue;
            }
            return Ok(Some(row));
        }
        Ok(None)
    }

    fn is_still_there(&self, row: &Row, stat: &Stat) -> Result<bool, CaptureError> {
        let Some(old) = path_of(self.ingest.index(), self.shared, row)? else { return Ok(false) };
        let found = dir::open_parent_beneath(self.shared.root, &old).and_then(|(fd, name)| stat::at(fd, name));
        Ok(found.is_ok_and(|found| found.place == stat.place))
    }

    /// Reads one node and states what is new about it. False where it could not be read.
    pub(super) fn read(&mut self, dir: &Arc<Dir>, pending: Pending) -> Result<bool, CaptureError> {
        if self.shared.stop.load(Ordering::Relaxed) {
            return Err(CaptureError::Stopped);
        }
        let Pending { name, stat, known } = pending;
        // Whether it has another name is not known beforehand: it may have got one since the last snapshot.
        if let Known::Row(row) = &known
            && !row.node.is_dir()
            && !lock(&self.shared.looked).insert(row.node)
        {
            return Ok(true);
        }
        let start = clock::now();
        let copied = match self.copy(dir, &name, &stat) {
            Ok(copied) => copied,
            Err(CopyError::Capture(e)) => return Err(e),
            Err(CopyError::Read(_)) if self.shared.stop.load(Ordering::Relaxed) => return Err(CaptureError::Stopped),
            Err(CopyError::Read(e)) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(CopyError::Read(e)) => {
                self.problem(&dir.rel, &name, "read it", &e)?;
                return Ok(false);
            }
        };
        if copied.read_bytes > LARGE_BYTES {
            let ns = clock::now().0 - start.0;
            let path = path::join(&dir.rel, &name);
            self.emit(Out::Large { path, bytes: copied.read_bytes, ns })?;
        }
        if copied.fuzzy {
            self.emit(Out::Fuzzy(path::join(&dir.rel, &name)))?;
        }
        let unexplained = self.shared.full && is_unexplained(&known, &copied);
        let path = unexplained.then(|| path::join(&dir.rel, &name));
        self.read_bytes += copied.read_bytes;
        self.shared.progress.add(1, copied.read_bytes);
        let changed = self.state(dir.node, name, copied, known)?;
        if let Some(path) = path.filter(|_| changed) {
            self.emit(Out::Altered(path))?;
        }
        Ok(true)
    }

    /// States what was read. Whether its content is new.
    pub(super) fn state(
        &mut self,
        parent: Node,
        name: Vec<u8>,
        copied: Copied,
        known: Known,
    ) -> Result<bool, CaptureError> {
        let version = |worker: &Worker<'_>, copied: Copied, content| Version {
            ver: worker.shared.next.ver(),
            place: worker.shared.live(copied.stat.place),
            attr: copied.attr,
            content,
            fuzzy: copied.fuzzy,
            racy: copied.racy,
        };
        match known {
            Known::New(node) => {
                let mut copied = copied;
                let content = std::mem::replace(&mut copied.content, Content::None);
                let op = Op::Add(Entry { parent, name, node }, version(self, copied, content));
                self.hold(op).map(|()| true)
            }
            Known::Row(row) => {
                let mut copied = copied;
                let content = self.new_content(&row, std::mem::replace(&mut copied.content, Content::None))?;
                let index = self.ingest.index();
                let mut before = row.attr.clone();
                before.xattrs = index.xattrs(row.xattr)?;
                if content == Content::Same && same_attr(&before, &copied.attr) && row.fuzzy == copied.fuzzy {
                    let (place, seen) = (self.shared.live(copied.stat.place), copied.stat.ctime);
                    if !copied.racy && (row.seen != Some(seen) || row.place != place) {
                        self.emit(Out::Seen { parent, name, place, seen })?;
                    }
                    return Ok(false);
                }
                let is_new = content != Content::Same;
                let op = Op::Set(Entry { parent, name, node: row.node }, version(self, copied, content));
                self.hold(op).map(|()| is_new)
            }
        }
    }

    /// The content against that of the version before: the same, or new runs.
    fn new_content(&self, row: &Row, content: Content) -> Result<Content, CaptureError> {
        let index = self.ingest.index();
        match content {
            Content::Runs(runs) => {
                let before = known_runs(index, row)?;
                if runs.len() == before.len() && runs.iter().zip(&before).all(|(a, (b, _))| a == b) {
                    return Ok(Content::Same);
                }
                Ok(Content::Runs(shorten(runs, &before)))
            }
            Content::Target(target) => {
                let version = index.version(row.source, row.ver)?;
                let same = version.is_some_and(|v| index.target(v.content).is_ok_and(|t| t == target));
                Ok(if same { Content::Same } else { Content::Target(target) })
            }
            Content::None => {
                // An empty file may have had content; nothing else has any.
                let had = row.attr.kind() == Kind::File && row.attr.size > 0;
                Ok(if had { Content::None } else { Content::Same })
            }
            Content::Same => Ok(Content::Same),
        }
    }

    /// Hands on a version when its content is in frames, and holds it until then.
    fn hold(&mut self, op: Op) -> Result<(), CaptureError> {
        self.held.push(op);
        for framed in self.ingest.take_framed() {
            self.emit(Out::Framed(framed))?;
        }
        if self.ingest.is_settled() {
            for op in std::mem::take(&mut self.held) {
                self.emit(Out::Op(op))?;
            }
        }
        Ok(())
    }

    /// Hands everything on that is left; everything read is durable. Gives the bytes stored.
    pub(super) fn finish(mut self) -> Result<u64, CaptureError> {
        let held = std::mem::take(&mut self.held);
        let (seen, read_bytes) = (self.seen, self.read_bytes);
        let mut out = std::mem::take(&mut self.out);
        let (framed, stored) = self.ingest.finish()?;
        out.extend(framed.into_iter().map(Out::Framed));
        out.extend(held.into_iter().map(Out::Op));
        out.push(Out::Counted { seen, read_bytes });
        self.to.send(out).map_err(|_| CaptureError::Stopped)?;
        Ok(stored)
    }
}

/// Whether nothing but its bytes could tell that a file has changed: its times, its size and its inode are as they were.
fn is_unexplained(known: &Known, copied: &Copied) -> bool {
    match known {
        Known::Row(row) => {
            row.attr.kind() == Kind::File && !copied.fuzzy && compare(row, &copied.stat, false) == Verdict::Unchanged
        }
        Known::New(_) => false,
    }
}

/// The path of an entry as the index has it, relative to the root.
pub(super) fn path_of(index: &Reader, shared: &Shared<'_>, row: &Row) -> Result<Option<Vec<u8>>, IndexError> {
    let mut names = vec![row.name.clone()];
    let mut parent = row.parent;
    while parent != Node::ROOT {
        match index.node(shared.source, parent, shared.head)? {
            Some(up) if names.len() < 100_000 => {
                parent = up.parent;
                names.push(up.name);
            }
            _ => return Ok(None),
        }
    }
    names.reverse();
    Ok(Some(names.join(&b'/')))
}

fn scan(dir: &Arc<Dir>, name: &[u8], node: Node, known: bool, deep: bool) -> Task {
    Task::Scan { parent: Some(dir.clone()), name: name.to_vec(), node, known, deep }
}
