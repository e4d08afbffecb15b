//! The index with 1,000,000 files and 1,000 snapshots: how fast it is filled, how large it is, and the first lines of `log`, `diff`
//! and `find`. `cargo bench --bench history [FILES [SNAPSHOTS [CHANGES]]]`.

use bygone::index::{apply::Applier, open::Index, tree::Reader};
use bygone::types::{
    attr::{Attr, Place},
    ids::{Hash, Id, Node, Snap, SourceNum, Ver},
    op::{Content, Entry, Op, Version},
    snapshot::{Counters, Counts, Head, Snapshot, Source, Tier},
    time::{Instant, Time},
};
use bygone::view::{
    diff::diff,
    find::{When, find},
    glob::Pattern,
    history::versions,
    instant::View,
};
use std::ops::ControlFlow;
use std::time::{Duration, Instant as Clock};

const NUM: SourceNum = SourceNum(7);
type Done = Result<ControlFlow<()>, bygone::index::error::IndexError>;

struct History {
    applier: Applier,
    snap: u64,
    next: Counters,
    random: u64,
    files: Vec<Entry>,
}

impl History {
    fn random(&mut self, below: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % below as u64) as usize
    }

    fn version(&mut self, node: Node) -> Version {
        let n = self.next.ver;
        self.next.ver += 1;
        let time = Time { sec: 1_700_000_000 + n as i64, nsec: 5 };
        Version {
            ver: Ver(n),
            place: Place { dev: 66, ino: node.0 * 7 + 11 },
            attr: Attr {
                mode: if node.is_dir() { 0o040755 } else { 0o100644 },
                uid: 1000,
                gid: 1000,
                size: 0,
                blocks: 8,
                rdev: 0,
                mtime: time,
                ctime: time,
                btime: Some(time),
                flags: 0x80000,
                xattrs: Vec::new(),
            },
            content: Content::None,
            fuzzy: false,
            racy: false,
        }
    }

    fn dir(&mut self) -> Node {
        self.next.dir += 1;
        Node::directory(self.next.dir - 1)
    }

    fn file(&mut self, parent: Node) -> Entry {
        let n = self.next.other;
        self.next.other += 1;
        Entry { parent, name: format!("document-{n:07}.odt").into_bytes(), node: Node::other(n) }
    }

    fn record(&mut self, ops: impl FnOnce(&mut History, &mut dyn FnMut(Op))) {
        let mut all = Vec::new();
        self.snap += 1;
        ops(self, &mut |op| all.push(op));
        let mut applying = self.applier.begin(NUM, Snap(self.snap)).unwrap();
        for op in &all {
            applying.op(op).unwrap();
        }
        let (number, time, hash) = (Snap(self.snap), Instant(self.snap as i64 * 1_000_000_000), Hash([1; 32]));
        let head = Head { number, hash, time, epoch: "e".into(), seq: self.snap, next: self.next };
        let snapshot = Snapshot { source: NUM, number, time, tier: Tier::Incremental, hash, counts: Counts::default() };
        applying.commit(&snapshot, "segment", &head).unwrap();
    }

    fn first(&mut self, files: usize) {
        self.record(|h, put| {
            let entry = |parent, name: &[u8], node| Entry { parent, name: name.to_vec(), node };
            let root = h.dir();
            let version = h.version(root);
            put(Op::Add(entry(Node::ABOVE, b"", root), version));
            for d in 0..files.div_ceil(1000) {
                let dir = h.dir();
                let version = h.version(dir);
                put(Op::Add(entry(root, format!("directory-{d:04}").as_bytes(), dir), version));
                for _ in 0..1000.min(files - d * 1000) {
                    let file = h.file(dir);
                    let version = h.version(file.node);
                    put(Op::Add(file.clone(), version));
                    h.files.push(file);
                }
            }
        });
    }

    fn changes(&mut self, count: usize) {
        self.record(|h, put| {
            let mut done = std::collections::HashSet::new();
            for n in 0..count {
                let at = h.random(h.files.len());
                if !done.insert(at) {
                    continue;
                }
                let old = h.files[at].clone();
                let close = Op::Close { parent: old.parent, name: old.name.clone() };
                match n % 10 {
                    0 => {
                        put(close);
                        let file = h.file(old.parent);
                        let version = h.version(file.node);
                        put(Op::Add(file.clone(), version));
                        h.files[at] = file;
                    }
                    1 => {
                        put(close);
                        let name = format!("renamed-{}-{n}.odt", h.snap).into_bytes();
                        h.files[at].name = name;
                        put(Op::Link(h.files[at].clone()));
                    }
                    _ => {
                        let version = h.version(old.node);
                        put(Op::Set(old, version));
                    }
                }
            }
        });
    }
}

fn ms(time: Duration) -> String {
    format!("{:9.2} ms", time.as_secs_f64() * 1e3)
}

/// Prints the time to the first result, to the end, and how many there were.
fn measure(what: &str, run: impl FnOnce(&mut dyn FnMut() -> Done)) {
    let start = Clock::now();
    let (mut first, mut count) = (None, 0u64);
    run(&mut || {
        first.get_or_insert_with(|| start.elapsed());
        count += 1;
        Ok(ControlFlow::Continue(()))
    });
    let all = start.elapsed();
    println!("{what:48} {} first {} all {count:8}", ms(first.unwrap_or(all)), ms(all));
}

fn main() {
    let mut args = std::env::args().skip(1).filter_map(|a| a.parse::<usize>().ok());
    let mut arg = |default| args.next().unwrap_or(default);
    let (files, snapshots, changes) = (arg(1_000_000), arg(1000), arg(1000));
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(&dir.path().join("index.db"), Id([1; 16])).unwrap();
    let source = Source { id: Id([2; 16]), num: NUM, host: "h".into(), root: b"/home/me".to_vec() };
    index.add_source(&source).unwrap();
    let applier = Applier::open(&index, bygone::index::apply::PATIENT).unwrap();
    let mut h = History { applier, snap: 0, next: Counters::START, random: 88_172_645_463_325_252, files: Vec::new() };
    let size = || std::fs::metadata(index.path()).unwrap().len() >> 20;
    let start = Clock::now();
    h.first(files);
    println!(
        "first record: {}, {:.0} files/s, {} MiB",
        ms(start.elapsed()),
        files as f64 / start.elapsed().as_secs_f64(),
        size()
    );
    let start = Clock::now();
    (1..snapshots).for_each(|_| h.changes(changes));
    let total = (snapshots - 1) as f64 * changes as f64;
    println!(
        "more records: {}, {:.0} changes/s, {} MiB",
        ms(start.elapsed()),
        total / start.elapsed().as_secs_f64(),
        size()
    );
    let reader = Reader::open(&index).unwrap();
    let view = |snap: usize| View::open(&reader, "h", Instant(snap as i64 * 1_000_000_000)).unwrap();
    for (a, b) in [(snapshots - 1, snapshots), (snapshots - 10, snapshots), (1, snapshots), (snapshots, 1), (0, 1)] {
        let (a, b) = (view(a), view(b));
        for within in [&b"/"[..], b"/home/me/directory-0500"] {
            let what = format!(
                "diff {} {} {}",
                a.at.0 / 1_000_000_000,
                b.at.0 / 1_000_000_000,
                String::from_utf8_lossy(within)
            );
            measure(&what, |each| reader.hold(|r| diff(r, &a, &b, within, |_| each())).unwrap());
        }
    }
    let last = h.files.last().unwrap();
    for (pattern, when) in [
        ("*7.odt", When::At { snap: Snap(h.snap), newest: true }),
        ("*7.odt", When::At { snap: Snap(h.snap / 2), newest: false }),
        ("*7.odt", When::Ever),
        ("*7.odt", When::Deleted { newest: Snap(h.snap) }),
        (std::str::from_utf8(&last.name).unwrap(), When::At { snap: Snap(h.snap), newest: true }),
        ("nothing-of-this-name", When::At { snap: Snap(h.snap), newest: true }),
        ("nothing-of-this-name", When::At { snap: Snap(h.snap / 2), newest: false }),
        ("nothing-of-this-name", When::Ever),
        ("/home/me/directory-0999/*", When::At { snap: Snap(h.snap), newest: true }),
        ("directory-0999/*00.odt", When::At { snap: Snap(h.snap), newest: true }),
    ] {
        let glob = Pattern::new(pattern).unwrap();
        measure(&format!("find {pattern} {when:?}"), |each| {
            find(&reader, &source, &glob, when, |_| each()).unwrap();
        });
    }
    for path in ["/home/me/directory-0001/document-0001500.odt", "/home/me/directory-0001", "/home/me"] {
        measure(&format!("log {path}"), |each| {
            versions(&reader, &source, path.as_bytes()).unwrap().iter().for_each(|_| drop(each()));
        });
    }
}
