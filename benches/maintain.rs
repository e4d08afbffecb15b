//! Maintaining a history of 1,000,000 versions and 100,000 chunks, of which nine tenths are released: time, and the most memory.
//! `cargo bench --bench maintain [FILES [SNAPSHOTS [CHUNKS]]]`; `cargo bench --bench maintain year` is a year of one snapshot a minute,
//! maintained daily: what is stored grows with kept instants only.

#![allow(clippy::disallowed_methods, reason = "a benchmark tells the time")]

use bygone::config::{
    load,
    places::{Places, Surroundings},
};
use bygone::crypto::slots::{Secret, SlotKind};
use bygone::progress::Quiet;
use bygone::repo::{
    attach::Attached,
    audit::{who::Who, writer::Audit},
    collect::attend,
    ingest::{Claims, Ingest},
    open::Repository,
    write::SourceWriter,
};
use bygone::retention::maintain::{Maintained, Maintenance};
use bygone::store::local::LocalStore;
use bygone::sys::clock::ManualClock;
use bygone::types::{
    attr::{Attr, Place},
    ids::{Id, Node, Ver},
    op::{Content, Entry, Op, Run, Version},
    snapshot::{Counters, Counts, Tier},
    time::{Instant, Time},
    when::zone::Zone,
};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant as Clock;

const MINUTE_NS: i64 = 60 * 1_000_000_000;
const DAY_NS: i64 = 1440 * MINUTE_NS;
/// 1 January 2025, in ns.
const BEGIN: i64 = 1_735_689_600 * 1_000_000_000;

struct World {
    dir: tempfile::TempDir,
    at: Arc<Attached>,
    clock: Arc<ManualClock>,
    writer: SourceWriter,
    audit: Audit,
    random: u64,
    chunks: u64,
}

impl World {
    fn new(chunks: u64) -> World {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let clock = Arc::new(ManualClock::new(Instant(BEGIN)));
        let secret = Secret::KeyFile(zeroize::Zeroizing::new([7; 32]));
        let store = Arc::new(LocalStore::open(&dir.path().join("repo")));
        let repo = Repository::create(store, &secret, SlotKind::KeyFile, "bench", Instant(0), Id([5; 16])).unwrap();
        let at = Arc::new(Attached::open(Arc::new(repo), &dir.path().join("state"), clock.clone()).unwrap());
        let writer = SourceWriter::open(at.clone(), "host", b"/source").unwrap();
        let who = Who {
            host: "host".into(),
            uid: 0,
            user: None,
            sudo_user: None,
            login_user: None,
            program: "bench".into(),
            pid: 1,
        };
        let audit = Audit::open(at.repo().clone(), at.dir(), who, clock.clone());
        World { dir, at, clock, writer, audit, random: 0x9e37_79b9_7f4a_7c15, chunks }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    /// Gives `changed` of `files` files a new version, each with the content of one of the chunks.
    fn snapshot(&mut self, files: u64, changed: u64) {
        self.writer.settle().unwrap();
        let _capturing = attend::capturing(&self.at).unwrap();
        let claims = Arc::new(Claims::default());
        let avoid = self.writer.avoid().unwrap();
        let reader = self.at.reader().unwrap();
        let mut ingest = Ingest::new(self.at.repo().clone(), reader, claims.clone(), 1).unwrap().without(avoid);
        let first = self.writer.head().number.0 == 0;
        let mut next = self.writer.head().next;
        let mut ops = Vec::new();
        if first {
            next.dir += 1;
            let entry = Entry { parent: Node::ABOVE, name: Vec::new(), node: Node::ROOT };
            ops.push(Op::Add(entry, version(&mut next, Node::ROOT, 0, Content::None)));
        }
        for n in 0..changed {
            let file = if first { n } else { self.random(files) };
            let (node, mut runs) = (Node::other(file + 1), Vec::new());
            let content =
                format!("{:0>200}", self.random(self.chunks).wrapping_mul(0x9e37_79b9_7f4a_7c15)).into_bytes();
            let mut rest = &content[..];
            ingest
                .data(content.len() as u64, &mut runs, |buf| {
                    let n = buf.len().min(rest.len());
                    buf[..n].copy_from_slice(&rest[..n]);
                    rest = &rest[n..];
                    Ok(n)
                })
                .unwrap();
            let entry = Entry { parent: Node::ROOT, name: format!("file-{file:06}").into_bytes(), node };
            let version = version(&mut next, node, content.len() as u64, Content::Runs(runs));
            ops.push(if first { Op::Add(entry, version) } else { Op::Set(entry, version) });
        }
        if first {
            next.other = files + 1;
        }
        let (framed, _) = ingest.finish().unwrap();
        let mut record = self.writer.begin(Tier::Incremental, claims).unwrap();
        framed.into_iter().for_each(|f| record.frame(f).unwrap());
        ops.into_iter().for_each(|op| record.op(op).unwrap());
        record.finish(next, Counts::default()).unwrap();
    }

    fn maintain(&self, rules: &str, thorough: bool) -> Maintained {
        let around = Surroundings { root: true, host: "host".into(), ..Surroundings::default() };
        let text = format!("[retention]\n{rules}\n[[source]]\npath = \"/source\"\n");
        let config = load::parse(&text, Path::new("/bench.toml"), &Places::of(&around).unwrap()).unwrap();
        let (zone, now) = (Zone::utc(), self.at.moment().now());
        let maintenance = Maintenance { at: &self.at, config: &config, zone: &zone, now, thorough };
        let plans = maintenance.plan().unwrap();
        maintenance.act(&plans, &self.audit, &Quiet).unwrap()
    }

    fn sizes(&self) -> (usize, u64, u64) {
        let (count, bytes) = walk(&self.dir.path().join("repo"));
        let index = std::fs::metadata(self.at.index().path()).unwrap().len();
        (count, bytes, index)
    }
}

fn walk(dir: &Path) -> (usize, u64) {
    std::fs::read_dir(dir).unwrap().flatten().fold((0, 0), |(count, bytes), entry| {
        let meta = entry.metadata().unwrap();
        let (c, b) = if meta.is_dir() { walk(&entry.path()) } else { (1, meta.len()) };
        (count + c, bytes + b)
    })
}

fn version(next: &mut Counters, node: Node, size: u64, content: Content) -> Version {
    let ver = Ver(next.ver);
    next.ver += 1;
    let time = Time { sec: 1_700_000_000 + ver.0 as i64, nsec: 5 };
    let attr = Attr {
        mode: if node.is_dir() { 0o040755 } else { 0o100644 },
        uid: 1000,
        gid: 1000,
        size,
        blocks: 8,
        rdev: 0,
        mtime: time,
        ctime: time,
        btime: Some(time),
        flags: 0x80000,
        xattrs: Vec::new(),
    };
    let content = match content {
        Content::Runs(runs) if runs.iter().all(|r| matches!(r, Run::Hole(_))) => Content::None,
        other => other,
    };
    Version { ver, place: Place { dev: 66, ino: node.0 * 7 + 11 }, attr, content, fuzzy: false, racy: false }
}

/// The most memory that this process has had, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn large(files: u64, snapshots: u64, chunks: u64) {
    let mut world = World::new(chunks);
    let begun = Clock::now();
    for _ in 0..snapshots {
        world.snapshot(files, files);
        world.clock.advance(DAY_NS / snapshots as i64);
    }
    println!("{} versions, {chunks} chunks, {snapshots} snapshots: made in {:?}", files * snapshots, begun.elapsed());
    println!("objects, bytes, index before: {:?}; memory so far {} KiB", world.sizes(), peak());
    world.clock.advance(2 * DAY_NS);
    world.snapshot(files, 1);
    // The memory of making it is not that of maintaining it.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let begun = Clock::now();
    let done = world.maintain("every = \"1h\"\nhourly = \"3d\"", false);
    println!("maintained in {:?}, {} KiB: {done:?}", begun.elapsed(), peak());
    println!("objects, bytes, index after: {:?}", world.sizes());
}

fn year(days: u64) {
    let mut world = World::new(1 << 40);
    let rules = "every = \"48h\"\nhourly = \"14d\"\ndaily = \"90d\"\nweekly = \"1y\"\nmonthly = \"7y\"";
    for day in 0..days {
        for _ in 0..1440 {
            let changed = if world.writer.head().number.0 == 0 { 1000 } else { 3 };
            world.snapshot(1000, changed);
            world.clock.advance(MINUTE_NS);
        }
        let begun = Clock::now();
        let done = world.maintain(rules, false);
        if day % 14 == 13 || day + 1 == days {
            let reader = world.at.reader().unwrap();
            let source = reader.sources().unwrap()[0].num;
            let kept = reader.snapshot_count(source).unwrap();
            let listed = Clock::now();
            let rows = reader.children(source, Node::ROOT, world.writer.head().number).unwrap().len();
            println!(
                "day {:3}: {kept} instants kept; objects, bytes, index {:?}; maintained in {:?}; ls of {rows} in {:?}; {} released",
                day + 1,
                world.sizes(),
                begun.elapsed(),
                listed.elapsed(),
                done.released
            );
        }
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let number = |n: usize, default| args.get(n).map_or(default, |a| a.parse().unwrap());
    match args.first().map(String::as_str) {
        Some("year") => year(number(1, 365)),
        _ => large(number(0, 10_000), number(1, 100), number(2, 100_000)),
    }
}
