//! Walking a directory beside a view, name by name.

use crate::index::{rows::Row, tree::Reader};
use crate::sys::{
    dir::{self, Listing},
    stat::{self, Stat},
};
use crate::types::{
    attr::{Kind, Place},
    ids::{Hash, Node, Snap, SourceNum},
    path,
};
use crate::verify::tree::{
    aspects::Aspect,
    check::Request,
    digest::{self, Body},
    node::{Comparer, Pair, field},
    readers::{Read, Readers, Task},
    report::{Report, TreeError, What},
};
use crate::view::instant::{Object, View};
use rustix::fd::OwnedFd;
use std::{
    collections::HashMap,
    io,
    sync::{Arc, atomic::Ordering, mpsc::SyncSender},
};

/// What a directory of the tree is in the view.
enum Stands {
    /// It leads to sources: its absolute path.
    Above(Vec<u8>),
    /// It was captured.
    Node(SourceNum, Snap, Node),
}

/// A directory that is still to be walked.
struct Pending {
    path: Vec<u8>,
    stands: Stands,
}

/// The walk. The readers end when it is gone.
pub(super) struct Walk<'a> {
    index: &'a Reader,
    view: &'a View,
    base: &'a [u8],
    root: Arc<OwnedFd>,
    readers: &'a Readers<'a>,
    send: SyncSender<Task>,
    report: Report,
    entries: Vec<(u64, Hash)>,
    next: u64,
    pending: Vec<Pending>,
    /// The inode of each node that has several names, and the first of them.
    nodes: HashMap<(SourceNum, Node), (Place, Vec<u8>)>,
    /// The node of each inode that has several names, and the first of them.
    places: HashMap<Place, ((SourceNum, Node), Vec<u8>)>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        index: &'a Reader,
        request: &Request<'a>,
        root: OwnedFd,
        readers: &'a Readers<'a>,
        send: SyncSender<Task>,
    ) -> Walk<'a> {
        Walk {
            index,
            view: request.view,
            base: request.path,
            root: Arc::new(root),
            readers,
            send,
            report: Report::default(),
            entries: Vec::new(),
            next: 0,
            pending: Vec::new(),
            nodes: HashMap::new(),
            places: HashMap::new(),
        }
    }

    /// Walks all of it.
    pub(super) fn run(mut self, object: Object) -> Result<Read, TreeError> {
        self.root(object)?;
        while let Some(next) = self.pending.pop() {
            if self.readers.stop.load(Ordering::Relaxed) || self.readers.failed.load(Ordering::Relaxed) {
                break;
            }
            let before = self.pending.len();
            self.directory(next)?;
            // The first directory is to be walked first.
            self.pending[before..].reverse();
        }
        Ok((self.report, self.entries))
    }

    /// The directory that was named.
    fn root(&mut self, object: Object) -> Result<(), TreeError> {
        self.report.counts.dirs += 1;
        let number = self.number();
        let stands = match object {
            Object::Above => {
                self.entries.push((number, digest::above(b"")));
                Stands::Above(self.base.to_vec())
            }
            Object::Node(part, row) => {
                let root = self.root.clone();
                let now = match stat::of(&root) {
                    Ok(now) => now,
                    Err(e) => {
                        self.report.unreadable(b"", "look at it", e);
                        return Ok(());
                    }
                };
                let pair = Pair { dir: &root, name: b"", path: b"", row: &row, now: &now };
                self.plain(&pair, number)?;
                Stands::Node(row.source, self.view.parts[part].snapshot.number, row.node)
            }
        };
        self.pending.push(Pending { path: Vec::new(), stands });
        Ok(())
    }

    fn directory(&mut self, next: Pending) -> Result<(), TreeError> {
        let opened = dir::open_beneath(&self.root, &next.path);
        let listed = opened.and_then(|fd| {
            let (mut listing, mut buf) = (Listing::new(), Vec::new());
            dir::list(&fd, &mut buf, &mut listing)?;
            listing.sort_by_name();
            Ok((fd, listing))
        });
        let (fd, listing) = match listed {
            Ok((fd, listing)) => (Arc::new(fd), listing),
            Err(e) => {
                self.report.unreadable(&next.path, "list it", e);
                return Ok(());
            }
        };
        match &next.stands {
            Stands::Node(source, snap, node) => {
                let rows = self.index.hold(|index| index.children(*source, *node, *snap))?;
                self.names(&fd, &next.path, &listing, &rows, *snap)
            }
            Stands::Above(absolute) => self.above(&fd, &next.path, &listing, absolute),
        }
    }

    fn names(
        &mut self,
        fd: &Arc<OwnedFd>,
        at: &[u8],
        listing: &Listing,
        rows: &[Row],
        snap: Snap,
    ) -> Result<(), TreeError> {
        let mut rows = rows.iter().peekable();
        for entry in listing.iter() {
            while let Some(row) = rows.next_if(|row| row.name.as_slice() < entry.name) {
                self.report.differs(&path::join(at, &row.name), What::Missing);
            }
            match rows.next_if(|row| row.name == entry.name) {
                Some(row) => self.entry(fd, at, row, snap)?,
                None => self.extra(fd, at, entry.name),
            }
        }
        for row in rows {
            self.report.differs(&path::join(at, &row.name), What::Missing);
        }
        Ok(())
    }

    /// A directory above the roots of sources.
    fn above(&mut self, fd: &Arc<OwnedFd>, at: &[u8], listing: &Listing, absolute: &[u8]) -> Result<(), TreeError> {
        let names = self.view.names_above(absolute);
        for entry in listing.iter().filter(|entry| !names.iter().any(|name| name == entry.name)) {
            self.extra(fd, at, entry.name);
        }
        for name in names {
            let below = path::join(at, &name);
            let absolute = path::join(if absolute.is_empty() { b"/" } else { absolute }, &name);
            match self.view.look_up(self.index, &absolute)? {
                None => {}
                Some(Object::Node(part, mut row)) => {
                    row.name = name;
                    self.entry(fd, at, &row, self.view.parts[part].snapshot.number)?;
                }
                Some(Object::Above) => match stat::at(fd, &name) {
                    Ok(now) if now.kind() == Some(Kind::Dir) => {
                        self.report.counts.dirs += 1;
                        let number = self.number();
                        self.entries.push((number, digest::above(&below)));
                        self.pending.push(Pending { path: below, stands: Stands::Above(absolute) });
                    }
                    Ok(now) => self.other_type(&below, Kind::Dir, &now),
                    Err(e) if e.kind() == io::ErrorKind::NotFound => self.report.differs(&below, What::Missing),
                    Err(e) => self.report.unreadable(&below, "look at it", e),
                },
            }
        }
        Ok(())
    }

    fn extra(&mut self, fd: &OwnedFd, at: &[u8], name: &[u8]) {
        // Sockets are never captured, so a snapshot can't tell whether there was one.
        match stat::at(fd, name).map(|now| now.kind()) {
            Ok(Some(Kind::Socket)) => self.report.counts.sockets += 1,
            _ if self.readers.ignored.has(Aspect::Extra) => {}
            _ => self.report.differs(&path::join(at, name), What::Extra),
        }
    }

    fn other_type(&mut self, path: &[u8], was: Kind, now: &Stat) {
        let is = now.kind().map_or("unknown", digest::word);
        let fields = vec![field(Aspect::Type, digest::word(was).into(), is.into())];
        self.report.differs(path, What::Differs(fields));
    }

    /// A name that both have.
    fn entry(&mut self, fd: &Arc<OwnedFd>, at: &[u8], row: &Row, snap: Snap) -> Result<(), TreeError> {
        let path = path::join(at, &row.name);
        let now = match stat::at(fd, &row.name) {
            Ok(now) => now,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.report.differs(&path, What::Missing);
                return Ok(());
            }
            Err(e) => {
                self.report.unreadable(&path, "look at it", e);
                return Ok(());
            }
        };
        let kind = row.attr.kind();
        if now.kind() != Some(kind) {
            self.other_type(&path, kind, &now);
            return Ok(());
        }
        let number = self.number();
        if kind != Kind::Dir && self.is_further_name(&path, row, &now, number) {
            return Ok(());
        }
        match kind {
            Kind::Dir => {
                self.report.counts.dirs += 1;
                self.plain(&Pair { dir: fd, name: &row.name, path: &path, row, now: &now }, number)?;
                self.pending.push(Pending { path, stands: Stands::Node(row.source, snap, row.node) });
            }
            Kind::File => {
                self.report.counts.files += 1;
                let task = Task { dir: fd.clone(), path, row: row.clone(), now, number };
                // Where all readers have ended, one of them tells why.
                if self.send.send(task).is_err() {
                    self.readers.failed.store(true, Ordering::Relaxed);
                }
            }
            _ => {
                self.report.counts.others += 1;
                self.plain(&Pair { dir: fd, name: &row.name, path: &path, row, now: &now }, number)?;
            }
        }
        Ok(())
    }

    /// Whether this is another name of a node that has been compared; what differs about that is noted.
    fn is_further_name(&mut self, path: &[u8], row: &Row, now: &Stat, number: u64) -> bool {
        // Where links do not count, each name is compared as a file of its own.
        if (!row.linked && now.nlink <= 1) || self.readers.ignored.has(Aspect::Links) {
            return false;
        }
        let key = (row.source, row.node);
        let (node, place) = (self.nodes.get(&key), self.places.get(&now.place));
        let differs = match (node, place) {
            (None, None) => {
                self.nodes.insert(key, (now.place, path.to_vec()));
                self.places.insert(now.place, (key, path.to_vec()));
                return false;
            }
            (Some((of, first)), _) if *of == now.place => {
                let body = Body::LinkTo(first);
                let hash = digest::entry(path, now, &Vec::new(), 0, &body, self.readers.ignored);
                self.entries.push((number, hash));
                self.report.counts.links += 1;
                return true;
            }
            (Some((_, first)), _) => (format!("the same file as {}", path::show(first)), "another file".to_owned()),
            (None, Some((_, first))) => ("another file".to_owned(), format!("the same file as {}", path::show(first))),
        };
        self.report.differs(path, What::Differs(vec![field(Aspect::Links, differs.0, differs.1)]));
        true
    }

    /// Compares what has no content that must be read.
    fn plain(&mut self, pair: &Pair<'_>, number: u64) -> Result<(), TreeError> {
        let comparer = Comparer { index: self.index, ignored: self.readers.ignored };
        let hash = comparer.plain(pair, &mut self.report)?;
        self.entries.extend(hash.map(|hash| (number, hash)));
        self.readers.progress.add(u64::from(pair.now.kind() != Some(Kind::Dir)), 0);
        Ok(())
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }
}
