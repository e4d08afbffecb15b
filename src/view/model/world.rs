//! A tree as plain maps, changed by random operations that go into a record at the same time.

use crate::crypto::slots::{Secret, SlotKind};
use crate::index::apply::PATIENT;
use crate::progress;
use crate::repo::{
    attach::Attached, ingest::Claims, open::Repository, recording::RecordWriter, replay, write::SourceWriter,
};
use crate::store::local::LocalStore;
use crate::sys::clock::ManualClock;
use crate::types::{
    attr::{Attr, Place},
    ids::{Id, Node, Snap, Ver},
    op::{Content, Entry, Op, Version},
    snapshot::{Counters, Counts, Source, Tier},
    time::{Instant, Time},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

/// A name in a directory.
pub(super) type At = (Node, Vec<u8>);

/// One operation by three numbers.
pub(super) type Step = (u8, u16, u16);

/// A tree: names to nodes, nodes to versions and modes.
#[derive(Clone, Default, Debug, PartialEq)]
pub(super) struct Tree {
    pub(super) entries: BTreeMap<At, Node>,
    pub(super) nodes: BTreeMap<Node, (Ver, u32)>,
}

impl Tree {
    /// The path of a name; the root of the source is `/src`.
    pub(super) fn path(&self, at: &At) -> Vec<u8> {
        let mut path = at.1.clone();
        let mut dir = at.0;
        while dir != Node::ABOVE {
            let above = self.entries.iter().find(|(_, node)| **node == dir).expect("a directory has a name").0;
            path = [above.1.as_slice(), b"/", &path].concat();
            dir = above.0;
        }
        [b"/src".as_slice(), &path].concat()
    }

    pub(super) fn by_path(&self) -> BTreeMap<Vec<u8>, At> {
        self.entries.keys().map(|at| (self.path(at), at.clone())).collect()
    }

    pub(super) fn names(&self, node: Node) -> BTreeSet<At> {
        self.entries.iter().filter(|(_, n)| **n == node).map(|(at, _)| at.clone()).collect()
    }

    fn is_below(&self, dir: Node, top: Node) -> bool {
        let mut at = dir;
        while at != Node::ABOVE && at != top {
            at = self.entries.iter().find(|(_, node)| **node == at).expect("a directory has a name").0.0;
        }
        at == top
    }
}

/// A repository with one source, and the tree at each snapshot; the first is number 1.
pub(super) struct World {
    pub(super) dir: tempfile::TempDir,
    pub(super) at: Arc<Attached>,
    pub(super) source: Source,
    pub(super) trees: Vec<Tree>,
    /// Snapshots that were released.
    pub(super) released: BTreeSet<Snap>,
}

pub(super) fn attach(repo: Arc<Repository>, state: &Path) -> Arc<Attached> {
    Arc::new(Attached::open(repo, state, Arc::new(ManualClock::new(Instant(1_000)))).unwrap())
}

/// The tier of the snapshot behind so many: each tier states the same history.
fn tier_of(before: usize) -> Tier {
    match before % 7 {
        2 | 5 => Tier::Differential,
        6 => Tier::Full,
        _ => Tier::Incremental,
    }
}

impl World {
    /// Applies the steps of each snapshot.
    pub(super) fn new(snapshots: &[Vec<Step>]) -> World {
        let dir = tempfile::tempdir().unwrap();
        let secret = Secret::generate_key().unwrap();
        let store = Arc::new(LocalStore::open(&dir.path().join("repository")));
        let id = Id([7; 16]);
        let repo = Repository::create(store, &secret, SlotKind::KeyFile, "test", Instant(0), id).unwrap();
        let at = attach(Arc::new(repo), &dir.path().join("state"));
        let mut writer = SourceWriter::open(at.clone(), "host", b"/src").unwrap();
        let mut trees = Vec::new();
        let mut tree = Tree::default();
        for steps in snapshots {
            let next = writer.head().next;
            let mut record = writer.begin(tier_of(trees.len()), Arc::new(Claims::default())).unwrap();
            let mut change = Change { tree: &mut tree, record: &mut record, next, fresh: BTreeSet::new() };
            if trees.is_empty() {
                change.add((Node::ABOVE, Vec::new()), true);
            }
            steps.iter().for_each(|step| change.step(*step));
            let next = change.next;
            record.finish(next, Counts::default()).unwrap();
            let live: BTreeSet<Node> = tree.entries.values().copied().collect();
            tree.nodes.retain(|node, _| live.contains(node));
            trees.push(tree.clone());
        }
        let source = writer.source().clone();
        World { dir, at, source, trees, released: BTreeSet::new() }
    }

    /// The tree as of a snapshot.
    pub(super) fn tree(&self, snap: Snap) -> &Tree {
        &self.trees[snap.0 as usize - 1]
    }

    /// Releases some of the snapshots: every one whose bit is set, but never the newest.
    pub(super) fn release(&mut self, which: u64) {
        let newest = Snap(self.trees.len() as u64);
        self.released.extend((1..newest.0).filter(|n| which >> (n % 64) & 1 == 1).map(Snap));
        let kept: Vec<Snap> = (1..=newest.0).map(Snap).filter(|snap| !self.released.contains(snap)).collect();
        self.at.index().release(self.source.num, (newest, &kept), PATIENT).unwrap();
    }

    /// An index made from the journal alone.
    pub(super) fn rebuilt(&self, state: &str) -> Arc<Attached> {
        let again = attach(self.at.repo().clone(), &self.dir.path().join(state));
        let replayed = replay::catch_up(&again, &progress::Quiet).unwrap();
        assert!(replayed.problems.is_empty(), "{:?}", replayed.problems);
        again
    }
}

/// A record being made.
struct Change<'a, 'w> {
    tree: &'a mut Tree,
    record: &'a mut RecordWriter<'w>,
    next: Counters,
    /// Nodes that this record brought: no more is done to them.
    fresh: BTreeSet<Node>,
}

impl Change<'_, '_> {
    fn step(&mut self, (what, x, y): Step) {
        let (from, to) = (self.pick(x), self.place(y));
        match what % 10 {
            0 | 1 => self.add(to, false),
            2 => self.add(to, true),
            3 | 4 => self.set(from),
            5 => self.rename(from, to),
            6 => self.link(from, to),
            7 => self.remove(from),
            8 => self.replace(from, x % 3 == 0),
            _ => {
                let with = self.pick(y);
                self.exchange(from, with);
            }
        }
    }

    /// Some name below the root whose node is not of this record.
    fn pick(&self, n: u16) -> Option<At> {
        let known = |(at, node): &(&At, &Node)| at.0 != Node::ABOVE && !self.fresh.contains(node);
        let all: Vec<&At> = self.tree.entries.iter().filter(known).map(|(at, _)| at).collect();
        (!all.is_empty()).then(|| all[usize::from(n) % all.len()].clone())
    }

    /// Some place in a directory, free or not.
    fn place(&self, n: u16) -> At {
        let dirs: Vec<Node> = self.tree.nodes.keys().copied().filter(|n| n.is_dir()).collect();
        let dirs: Vec<Node> = dirs.into_iter().filter(|d| !self.tree.names(*d).is_empty()).collect();
        let dir = dirs.get(usize::from(n / 5) % dirs.len().max(1)).copied().unwrap_or(Node::ROOT);
        (dir, vec![b"abcd\xff"[usize::from(n % 5)]])
    }

    fn op(&mut self, op: Op) {
        self.record.op(op).unwrap();
    }

    fn version(&mut self, node: Node) -> Version {
        let ver = Ver(self.next.ver);
        self.next.ver += 1;
        let kind = if node.is_dir() { libc::S_IFDIR } else { libc::S_IFREG };
        let time = Time { sec: ver.0 as i64, nsec: 1 };
        let attr = Attr {
            mode: kind | 0o600,
            uid: 1,
            gid: 1,
            size: 0,
            blocks: 0,
            rdev: 0,
            mtime: time,
            ctime: time,
            btime: None,
            flags: 0,
            xattrs: if ver.0.is_multiple_of(3) { vec![(b"user.a".to_vec(), vec![1])] } else { Vec::new() },
        };
        self.tree.nodes.insert(node, (ver, kind));
        let place = Place { dev: 1, ino: node.0 };
        Version { ver, place, attr, content: Content::None, fuzzy: false, racy: ver.0.is_multiple_of(2) }
    }

    fn add(&mut self, at: At, dir: bool) {
        if self.tree.entries.contains_key(&at) {
            return;
        }
        let serial = if dir { &mut self.next.dir } else { &mut self.next.other };
        *serial += 1;
        let node = if dir { Node::directory(*serial - 1) } else { Node::other(*serial - 1) };
        self.fresh.insert(node);
        let version = self.version(node);
        self.tree.entries.insert(at.clone(), node);
        self.op(Op::Add(Entry { parent: at.0, name: at.1, node }, version));
    }

    fn set(&mut self, at: Option<At>) {
        let Some(at) = at else { return };
        let node = self.tree.entries[&at];
        let version = self.version(node);
        self.op(Op::Set(Entry { parent: at.0, name: at.1, node }, version));
    }

    fn close(&mut self, at: &At) -> Node {
        self.op(Op::Close { parent: at.0, name: at.1.clone() });
        self.tree.entries.remove(at).expect("what is closed is open")
    }

    fn open(&mut self, at: At, node: Node) {
        self.tree.entries.insert(at.clone(), node);
        self.op(Op::Link(Entry { parent: at.0, name: at.1, node }));
    }

    fn rename(&mut self, from: Option<At>, to: At) {
        let Some(from) = from else { return };
        let node = self.tree.entries[&from];
        if from == to || (node.is_dir() && self.tree.is_below(to.0, node)) {
            return;
        }
        match self.tree.entries.get(&to) {
            // A link that is new in this record is written at its end.
            Some(there) if there.is_dir() || self.fresh.contains(there) => return,
            Some(_) => {
                self.close(&to);
            }
            None => {}
        }
        self.close(&from);
        self.open(to, node);
    }

    fn link(&mut self, from: Option<At>, to: At) {
        let Some(from) = from else { return };
        let node = self.tree.entries[&from];
        if !node.is_dir() && !self.tree.entries.contains_key(&to) {
            self.open(to, node);
        }
    }

    fn remove(&mut self, at: Option<At>) {
        let Some(at) = at else { return };
        let mut open = vec![at];
        let mut all = Vec::new();
        while let Some(at) = open.pop() {
            let node = self.tree.entries[&at];
            open.extend(self.tree.entries.keys().filter(|(parent, _)| *parent == node).cloned());
            all.push(at);
        }
        for at in &all {
            self.close(at);
        }
    }

    fn replace(&mut self, at: Option<At>, by_dir: bool) {
        let Some(at) = at else { return };
        self.remove(Some(at.clone()));
        self.add(at, by_dir);
    }

    fn exchange(&mut self, a: Option<At>, b: Option<At>) {
        let (Some(a), Some(b)) = (a, b) else { return };
        let (x, y) = (self.tree.entries[&a], self.tree.entries[&b]);
        if x == y || x.is_dir() || y.is_dir() {
            return;
        }
        self.close(&a);
        self.close(&b);
        self.open(a, y);
        self.open(b, x);
    }
}
