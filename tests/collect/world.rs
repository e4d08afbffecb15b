//! Hosts that share a repository, and what each of them has been promised.

use crate::faulty::{Faults, FaultyStore};
use bygone::crypto::slots::{Secret, SlotKind};
use bygone::index::rows::Piece;
use bygone::progress::Quiet;
use bygone::repo::{
    attach::Attached,
    collect::attend,
    error::RepoError,
    frames::read_frame,
    ingest::{Claims, Ingest, IngestError},
    open::Repository,
    replay,
    write::SourceWriter,
};
use bygone::store::local::LocalStore;
use bygone::sys::clock::ManualClock;
use bygone::types::{
    attr::{Attr, Place},
    ids::{Id, Node, Snap, Ver},
    op::{Content, Entry, Op, Version},
    snapshot::{Counters, Counts, Tier},
    time::{Instant, Time},
};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a source held: names, and for each its node and its content.
pub(crate) type Tree = BTreeMap<Vec<u8>, (Node, Arc<Vec<u8>>)>;

pub(crate) const ROOTS: [&[u8]; 2] = [b"/one", b"/two"];

pub(crate) fn secret() -> Secret {
    Secret::KeyFile(zeroize::Zeroizing::new([7; 32]))
}

/// One source of one host.
#[derive(Default)]
pub(crate) struct Source {
    pub(crate) tree: Tree,
    /// What was tried last and failed: it may be in the journal all the same.
    pub(crate) attempt: Option<Tree>,
    /// What was acknowledged, by number.
    pub(crate) promised: BTreeMap<u64, Tree>,
    /// Numbers that a hold keeps.
    pub(crate) held: BTreeSet<u64>,
    pub(crate) writer: Option<SourceWriter>,
}

pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) at: Option<Arc<Attached>>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) sources: [Source; 2],
    state: PathBuf,
    store: PathBuf,
}

pub(crate) fn create(dir: &Path) -> PathBuf {
    let store = dir.join("repository");
    std::fs::create_dir(&store).unwrap();
    let id = Id([9; 16]);
    Repository::create(Arc::new(LocalStore::open(&store)), &secret(), SlotKind::KeyFile, "test", Instant(0), id)
        .unwrap();
    store
}

impl Host {
    pub(crate) fn new(name: &str, dir: &Path, seed: u64) -> Host {
        Host {
            name: name.to_owned(),
            at: None,
            faults: Faults::new(seed),
            clock: Arc::new(ManualClock::new(Instant(1_000_000_000_000))),
            sources: Default::default(),
            state: dir.join(name),
            store: dir.join("repository"),
        }
    }

    /// The host's index and repository, opened where they are not.
    pub(crate) fn at(&mut self) -> Result<Arc<Attached>, RepoError> {
        if self.at.is_none() {
            let inner = Arc::new(LocalStore::open(&self.store));
            let store = Arc::new(FaultyStore { inner, faults: self.faults.clone() });
            let repo = Arc::new(Repository::open(store, &secret())?);
            self.at = Some(Arc::new(Attached::open(repo, &self.state, self.clock.clone())?));
        }
        Ok(self.at.clone().unwrap())
    }

    /// All processes of the host end.
    pub(crate) fn crash(&mut self) {
        self.sources.iter_mut().for_each(|s| s.writer = None);
        self.at = None;
    }

    /// Its index is lost; its state directory is not.
    pub(crate) fn lose_index(&mut self) {
        self.crash();
        let dir = std::fs::read_dir(&self.state).ok().and_then(|mut d| d.next()).map(|e| e.unwrap().path());
        for name in ["index.db-shm", "index.db-wal", "index.db"] {
            if let Some(dir) = &dir {
                let _absent = std::fs::remove_file(dir.join(name));
            }
        }
    }

    /// Brings the index up to date, and finds out what became of captures that failed.
    pub(crate) fn catch_up(&mut self) -> Result<(), RepoError> {
        let at = self.at()?;
        let replayed = replay::catch_up(&at, &Quiet)?;
        // A store that fails in the middle may be told as a problem; without one it is a failure of the test.
        if let Some(problem) = replayed.problems.into_iter().next() {
            return Err(problem);
        }
        for (source, root) in self.sources.iter_mut().zip(ROOTS) {
            let Some(attempt) = source.attempt.take() else { continue };
            let reader = at.reader()?;
            let Some(known) = reader.sources()?.into_iter().find(|s| s.host == self.name && s.root == root) else {
                continue;
            };
            let number = reader.head(known.num)?.number.0;
            let before = source.promised.keys().last().copied().unwrap_or(0);
            if number > before {
                assert_eq!(number, before + 1, "one record was tried");
                source.tree = attempt.clone();
                source.promised.insert(number, attempt);
            }
        }
        Ok(())
    }

    /// Captures what a source is to hold now. In between, when all is read and nothing is recorded, `pause` is called.
    pub(crate) fn capture(
        &mut self,
        which: usize,
        tree: &Tree,
        tier: Tier,
        pause: impl FnOnce(),
    ) -> Result<(), RepoError> {
        self.catch_up()?;
        let at = self.at()?;
        let name = self.name.clone();
        let source = &mut self.sources[which];
        if source.writer.is_none() {
            source.writer = Some(SourceWriter::open(at.clone(), &name, ROOTS[which])?);
        }
        let before = source.tree.clone();
        source.attempt = Some(tree.clone());
        let writer = source.writer.as_mut().unwrap();
        match record(writer, &at, (&before, tree), tier, pause) {
            Ok(Some(number)) => {
                source.attempt = None;
                source.tree = tree.clone();
                source.promised.insert(number.0, tree.clone());
                Ok(())
            }
            Ok(None) => {
                source.attempt = None;
                Ok(())
            }
            Err(e) => {
                // A capture that failed ends its process.
                self.crash();
                Err(e)
            }
        }
    }
}

fn record(
    writer: &mut SourceWriter,
    at: &Arc<Attached>,
    (before, after): (&Tree, &Tree),
    tier: Tier,
    pause: impl FnOnce(),
) -> Result<Option<Snap>, RepoError> {
    writer.settle()?;
    let capturing = attend::capturing(at)?;
    let claims = Arc::new(Claims::default());
    let avoid = writer.avoid()?;
    let mut ingest = Ingest::new(at.repo().clone(), at.reader()?, claims.clone(), 1)?.without(avoid);
    let first = writer.head().number == Snap(0);
    let mut next = writer.head().next;
    let mut ops = Vec::new();
    if first {
        next.dir += 1;
        let entry = Entry { parent: Node::ABOVE, name: Vec::new(), node: Node::ROOT };
        ops.push(Op::Add(entry, version(&mut next, Node::ROOT, 0, Content::None)));
    }
    let entry = |name: &Vec<u8>, node| Entry { parent: Node::ROOT, name: name.clone(), node };
    for (name, (node, _)) in before {
        if after.get(name).is_none_or(|(now, _)| now != node) {
            ops.push(Op::Close { parent: Node::ROOT, name: name.clone() });
        }
    }
    for (name, (node, content)) in after {
        let known = before.values().find(|(n, _)| n == node);
        match (before.get(name), known) {
            (Some((n, c)), _) if n == node && c == content => {}
            (Some((n, _)), _) if n == node => {
                let version = file(&mut ingest, &mut next, *node, content)?;
                ops.push(Op::Set(entry(name, *node), version));
            }
            // A rename keeps its content here.
            (_, Some(_)) => ops.push(Op::Link(entry(name, *node))),
            (_, None) => {
                let version = file(&mut ingest, &mut next, *node, content)?;
                next.other = next.other.max(node.serial() + 1);
                ops.push(Op::Add(entry(name, *node), version));
            }
        }
    }
    let (framed, _) = ingest.finish()?;
    pause();
    let mut record = writer.begin(tier, claims)?;
    for framed in framed {
        record.frame(framed)?;
    }
    for op in ops {
        record.op(op)?;
    }
    let number = record.finish(next, Counts::default())?.number;
    drop(capturing);
    Ok(Some(number))
}

fn file(ingest: &mut Ingest, next: &mut Counters, node: Node, content: &[u8]) -> Result<Version, RepoError> {
    let (mut runs, mut cursor) = (Vec::new(), Cursor::new(content));
    match ingest.data(content.len() as u64, &mut runs, |buf| cursor.read(buf)) {
        Ok(_) => Ok(version(next, node, content.len(), Content::Runs(runs))),
        Err(IngestError::Repo(e)) => Err(e),
        Err(IngestError::Read(e)) => panic!("{e}"),
    }
}

fn version(next: &mut Counters, node: Node, size: usize, content: Content) -> Version {
    let ver = Ver(next.ver);
    next.ver += 1;
    let time = Time { sec: ver.0 as i64, nsec: 1 };
    let attr = Attr {
        mode: if node.is_dir() { libc::S_IFDIR | 0o700 } else { libc::S_IFREG | 0o600 },
        uid: 1,
        gid: 1,
        size: size as u64,
        blocks: 8,
        rdev: 0,
        mtime: time,
        ctime: time,
        btime: None,
        flags: 0,
        xattrs: Vec::new(),
    };
    Version { ver, place: Place { dev: 1, ino: node.0 }, attr, content, fuzzy: false, racy: false }
}

/// Checks that all that a source was promised reads whole by this index.
pub(crate) fn check(at: &Attached, host: &str, root: &[u8], promised: &BTreeMap<u64, Tree>, why: &str) {
    let reader = at.reader().unwrap();
    let Some(source) = reader.sources().unwrap().into_iter().find(|s| s.host == host && s.root == root) else {
        assert!(promised.is_empty(), "{why}: the source is not known");
        return;
    };
    for (number, tree) in promised {
        let snap = Snap(*number);
        assert!(reader.snapshot(source.num, snap).unwrap().is_some(), "{why}: {host}: snapshot {snap} is not there");
        let rows = reader.children(source.num, Node::ROOT, snap).unwrap();
        let names: Vec<_> = rows.iter().map(|r| (r.name.clone(), r.node)).collect();
        let wanted: Vec<_> = tree.iter().map(|(name, (node, _))| (name.clone(), *node)).collect();
        assert_eq!(names, wanted, "{why}: {host}: the names of snapshot {snap}");
        for row in rows {
            let content = reader.version(source.num, row.ver).unwrap().unwrap().content;
            let mut bytes = Vec::new();
            for piece in reader.pieces(content).unwrap() {
                let Piece::Chunk { num, .. } = piece else { panic!("no holes here") };
                let place = reader.location(num).unwrap();
                let frame = read_frame(at.repo(), &place)
                    .unwrap_or_else(|e| panic!("{why}: {host}: snapshot {snap}, {:?}: {e}", row.name));
                let from = place.chunk_offset as usize;
                bytes.extend_from_slice(&frame[from..from + place.chunk_len as usize]);
            }
            assert_eq!(&bytes, &*tree[&row.name].1, "{why}: {host}: snapshot {snap}, {:?}", row.name);
        }
    }
}
