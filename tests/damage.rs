//! Damage: every kind of object, changed, cut, removed and swapped. What is damaged is named, by readers and by verify; what is
//! not still reads; nothing panics, and no stated length makes anything allocate more than its bound.

#![allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]

mod common;

use bygone::crypto::{
    keys::Sealing,
    seal::ObjectKind,
    slots::{Secret, SlotKind},
};
use bygone::progress::Quiet;
use bygone::repo::{frames::Frames, header, names, pack, record::Part, segment};
use bygone::restore::{
    act::act,
    mapping::Mapping,
    plan::{Plan, Request, Target},
};
use bygone::types::{
    ids::{Generation, Id},
    path,
    role::Role,
    time::Instant,
    wire::put_u64,
};
use bygone::verify::{
    check::{Options, verify},
    report::Report,
};
use bygone::view::{
    content::Content,
    instant::{Object, View},
};
use common::{
    place::Place,
    repository::{HOST, TestRepo, attach},
};
use proptest::prelude::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// Files by path.
type Files = BTreeMap<Vec<u8>, Vec<u8>>;

/// Notes the largest piece of memory that anybody asked for.
struct Watched;

static LARGEST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: `ptr` came from `alloc` above with this layout.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static WATCHED: Watched = Watched;

/// No length in a repository makes a reader ask for more at once.
const BOUND: usize = (64 << 20) + 4096;

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// A repository of three snapshots, each with a pack and a segment of its own, and the files of each.
struct Subject {
    repo: TestRepo,
    _place: Place,
    src: PathBuf,
    /// Each instant with the files that a view of it has.
    history: Vec<(Instant, Files)>,
}

impl Subject {
    fn make() -> Subject {
        let place = Place::temporary();
        let src = place.path().join("src");
        fs::create_dir(&src).unwrap();
        let repo = TestRepo::create();
        let other = Secret::KeyFile(zeroize::Zeroizing::new([8; 32]));
        let now = bygone::sys::clock::now();
        repo.at.repo().add_slot(&other, (SlotKind::KeyFile, Role::Admin), "two", now).unwrap();
        let (mut files, mut history) = (BTreeMap::new(), Vec::new());
        for round in 0..3u64 {
            for n in 0..6 {
                let (name, content) = (format!("file-{round}-{n}"), noise(200_000 + 1000 * n as usize, round * 10 + n));
                fs::write(src.join(&name), &content).unwrap();
                files.insert(name.into_bytes(), content);
            }
            let snapshot = repo.capture(&src).snapshot.unwrap();
            history.push((snapshot.time, files.clone()));
        }
        Subject { repo, _place: place, src, history }
    }

    fn objects(&self) -> Vec<String> {
        self.repo.at.repo().store().list("").unwrap().into_iter().map(|o| o.name).collect()
    }

    fn path(&self, object: &str) -> PathBuf {
        self.repo.store().join(object)
    }

    fn verify(&self) -> Report {
        let options = Options { read_data: true, ..Options::default() };
        verify(&self.repo.at, &options, &Quiet, &AtomicBool::new(false)).unwrap()
    }

    /// Reads every file of every snapshot: how many are right, and the errors. Wrong bytes are a failure.
    fn read_all(&self) -> (usize, Vec<String>) {
        let index = self.repo.at.reader().unwrap();
        let frames = Frames::new(self.repo.at.repo().clone(), 1 << 20);
        let (mut right, mut errors) = (0, Vec::new());
        for (at, files) in &self.history {
            let view = View::open(&index, HOST, *at).unwrap();
            for (name, content) in files {
                let path = path::join(self.src.as_os_str().as_bytes(), name);
                let Some(Object::Node(_, row)) = view.look_up(&index, &path).unwrap() else {
                    panic!("{name:?} is gone")
                };
                let opened = Content::open(&index, row.source, row.ver).unwrap();
                let mut got = Vec::new();
                match opened.read(&index, &frames, 0, content.len(), &mut got) {
                    Ok(()) => {
                        assert!(got == *content, "wrong data was read");
                        right += 1;
                    }
                    Err(e) => errors.push(e.to_string()),
                }
            }
        }
        (right, errors)
    }
}

/// What is done to an object.
#[derive(Clone, Copy, Debug)]
enum Harm {
    /// A bit at this part (in thousandths) of it is flipped.
    Flip(usize),
    /// The last bit of its byte at this place from its end is flipped.
    FlipFromEnd(usize),
    /// It keeps this part of its bytes, in thousandths.
    Cut(usize),
    /// It loses its last byte.
    CutLast,
    Remove,
    Swap,
}

const HARMS: [Harm; 14] = [
    Harm::Flip(0),
    Harm::Flip(100),
    Harm::Flip(300),
    Harm::Flip(500),
    Harm::Flip(700),
    Harm::Flip(950),
    Harm::FlipFromEnd(1),
    Harm::FlipFromEnd(6),
    Harm::FlipFromEnd(30),
    Harm::Cut(0),
    Harm::Cut(500),
    Harm::CutLast,
    Harm::Remove,
    Harm::Swap,
];

fn harm(path: &Path, other: Option<&Path>, how: Harm) -> Vec<(PathBuf, Vec<u8>)> {
    let good = fs::read(path).unwrap();
    // A comment says nothing, so it may say anything.
    let comment = if path.ends_with("bygone.toml") { good.iter().position(|b| *b == b'\n').unwrap_or(0) } else { 0 };
    let mut kept = vec![(path.to_owned(), good.clone())];
    let mut bad = good.clone();
    match how {
        Harm::Flip(part) => bad[comment + (good.len() - 1 - comment) * part / 1000] ^= 4,
        Harm::FlipFromEnd(n) => {
            let at = good.len() - n;
            bad[at] ^= 1;
        }
        Harm::Cut(part) => bad.truncate(good.len() * part / 1000),
        Harm::CutLast => drop(bad.pop()),
        Harm::Remove => {
            fs::remove_file(path).unwrap();
            return kept;
        }
        Harm::Swap => {
            let Some(other) = other else { return Vec::new() };
            kept.push((other.to_owned(), fs::read(other).unwrap()));
            bad = fs::read(other).unwrap();
            fs::write(other, &good).unwrap();
        }
    }
    fs::write(path, bad).unwrap();
    kept
}

fn kind(object: &str) -> &str {
    object.split('/').next().unwrap_or_default()
}

#[test]
fn every_kind_of_object_and_every_kind_of_damage() {
    let subject = Subject::make();
    let objects = subject.objects();
    let (all, none) = subject.read_all();
    assert_eq!((all, none.len()), (6 + 12 + 18, 0));
    assert_eq!(subject.verify().problems, []);
    for (n, object) in objects.iter().enumerate() {
        let other = objects.iter().find(|o| kind(o) == kind(object) && *o != object).map(|o| subject.path(o));
        for (m, how) in HARMS.into_iter().enumerate() {
            if object == "bygone.toml" && matches!(how, Harm::CutLast) {
                // The end of its last line says nothing either.
                continue;
            }
            let before = harm(&subject.path(object), other.as_deref(), how);
            if before.is_empty() {
                continue;
            }
            let case = format!("{object}, {how:?}");
            check(&subject, object, how, &case, &format!("state-{n}-{m}"), all);
            for (path, bytes) in before {
                fs::write(path, bytes).unwrap();
            }
        }
    }
    assert_eq!(subject.verify().problems, [], "all damage was undone");
}

fn check(subject: &Subject, object: &str, how: Harm, case: &str, state: &str, all: usize) {
    let report = subject.verify();
    let named = report.problems.iter().any(|p| object.starts_with(&p.object));
    // A slot that is gone may have been removed on purpose: the others still open.
    let may_be_silent = kind(object) == "keys" && matches!(how, Harm::Remove);
    assert!(named || may_be_silent, "{case}: verify names it: {:?}", report.problems);
    assert!(report.problems.iter().all(|p| !p.why.is_empty()), "{case}");
    let twice = report.problems.iter().find(|p| p.object == object && p.why.contains(object));
    assert!(twice.is_none(), "{case}: it is named twice: {twice:?}");
    let (right, errors) = subject.read_all();
    match kind(object) {
        "packs" => {
            assert_eq!(right + errors.len(), all, "{case}");
            assert!(right >= 6, "{case}: what is untouched still reads");
            for e in &errors {
                assert!(e.contains("packs/"), "{case}: {e}");
            }
            let affected: u64 = report.problems.iter().map(|p| p.files.count).sum();
            assert_eq!(
                affected > 0,
                !errors.is_empty(),
                "{case}: the files are named exactly where some can't be read"
            );
        }
        _ => assert_eq!((right, errors.len()), (all, 0), "{case}: the content has nothing to do with it"),
    }
    let opened = attach(subject.repo.dir.path(), state);
    match (kind(object), opened) {
        ("bygone.toml", opened) => {
            let told = opened.err().unwrap_or_else(|| panic!("{case}: it opens")).to_string();
            assert!(told.contains("bygone.toml"), "{case}: {told}");
        }
        ("keys", Err(e)) => assert!(e.to_string().contains("slot"), "{case}: {e}"),
        (_, opened) => {
            drop(opened.unwrap_or_else(|e| panic!("{case}: {e}")));
            let (_, replayed) = subject.repo.rebuild(state).unwrap();
            if kind(object) == "journal" && !matches!(how, Harm::Remove) {
                assert!(!replayed.problems.is_empty(), "{case}: the replay tells");
            }
            if kind(object) == "packs" {
                assert_eq!((replayed.snapshots, replayed.problems.len()), (3, 0), "{case}");
            }
        }
    }
}

#[test]
fn a_restore_names_the_damaged_files_and_brings_back_the_others() {
    let subject = Subject::make();
    let objects = subject.objects();
    let pack = objects.iter().find(|o| kind(o) == "packs").unwrap();
    harm(&subject.path(pack), None, Harm::Flip(300));
    let (right, errors) = subject.read_all();
    assert!(right > 0 && !errors.is_empty());
    let out = subject.repo.dir.path().join("out");
    let (view, paths) = (subject.repo.view(), [subject.src.as_os_str().as_bytes().to_vec()]);
    let target = Target::To(out.clone());
    let request = Request {
        view: &view,
        paths: &paths,
        target,
        mapping: &Mapping::default(),
        guarded: &[],
        spared: &|_, _| false,
        newest: None,
    };
    let plan = Plan::make(&subject.repo.at.reader().unwrap(), &request).unwrap();
    let report = act(&subject.repo.at, plan, &Quiet, &AtomicBool::new(false)).unwrap();
    assert!(!report.problems.is_empty());
    for problem in &report.problems {
        let why = problem.why.to_string();
        assert!(why.contains(pack.as_str()) && why.contains("frame"), "{why}");
    }
    let files = &subject.history[2].1;
    let mut there = 0;
    for entry in fs::read_dir(out.join("src")).unwrap() {
        let entry = entry.unwrap();
        let content = files.get(entry.file_name().as_bytes()).unwrap_or_else(|| panic!("{entry:?} is left over"));
        assert!(fs::read(entry.path()).unwrap() == *content);
        there += 1;
    }
    assert_eq!(there + report.problems.len(), files.len());
}

#[test]
fn a_journal_that_shrank_or_was_rolled_back_is_told() {
    let subject = Subject::make();
    let segments: Vec<String> = subject.objects().into_iter().filter(|o| kind(o) == "journal").collect();
    let last = segments.last().unwrap();
    let before = harm(&subject.path(last), None, Harm::Remove);
    let report = subject.verify();
    assert!(report.problems.iter().any(|p| p.why.contains("shrunk")), "{:?}", report.problems);
    for (path, bytes) in before {
        fs::write(path, bytes).unwrap();
    }
    for segment in &segments {
        harm(&subject.path(segment), None, Harm::Remove);
    }
    let report = subject.verify();
    assert!(report.problems.iter().any(|p| p.why.contains("ends at snapshot 0")), "{:?}", report.problems);
}

#[test]
fn all_problems_are_listed_and_unreferenced_packs_are_none() {
    let subject = Subject::make();
    let objects = subject.objects();
    let of = |what: &str| objects.iter().filter(|o| kind(o) == what).cloned().collect::<Vec<_>>();
    let (packs, segments, keys) = (of("packs"), of("journal"), of("keys"));
    harm(&subject.path(&packs[0]), None, Harm::Remove);
    harm(&subject.path(&packs[1]), None, Harm::Flip(300));
    harm(&subject.path(&segments[1]), None, Harm::Flip(700));
    harm(&subject.path(&keys[0]), None, Harm::Flip(500));
    let stray = names::pack(Id([0xab; 16]));
    fs::create_dir_all(subject.path("packs/ab")).unwrap();
    fs::write(subject.path(&stray), b"never finished").unwrap();
    let report = subject.verify();
    for object in [&packs[0], &packs[1], &segments[1], &keys[0]] {
        assert!(report.problems.iter().any(|p| p.object == **object), "{object}: {:?}", report.problems);
    }
    assert_eq!(report.unreferenced, [Id([0xab; 16])]);
    assert!(report.problems.iter().all(|p| p.object != stray));
}

#[test]
fn a_part_is_chosen_by_its_seed() {
    let subject = Subject::make();
    let run = |seed| {
        let options = Options { read_data: true, subset_percent: Some(50.0), seed };
        let report = verify(&subject.repo.at, &options, &Quiet, &AtomicBool::new(false)).unwrap();
        assert_eq!((report.seed, report.problems.len()), (Some(seed), 0));
        (report.read_frames, report.read_bytes)
    };
    assert_eq!(run(1), run(1));
    let all: Vec<_> = (0..8).map(run).collect();
    assert!(all.iter().any(|n| *n != all[0]), "{all:?}");
}

/// A small share of few frames is not nothing.
#[test]
fn of_any_share_at_least_one_frame_is_read() {
    let subject = Subject::make();
    for seed in 0..20 {
        let options = Options { read_data: true, subset_percent: Some(0.0001), seed };
        let report = verify(&subject.repo.at, &options, &Quiet, &AtomicBool::new(false)).unwrap();
        assert_eq!((report.read_frames, report.problems.len()), (1, 0), "seed {seed}");
    }
}

/// Bytes that are mostly small numbers and sometimes a huge one: what a hostile writer would try.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        any::<u8>().prop_map(|b| vec![b]),
        (0u8..8).prop_map(|b| vec![b]),
        any::<u64>().prop_map(|n| {
            let mut out = Vec::new();
            put_u64(&mut out, n);
            out
        }),
        prop::collection::vec(any::<u8>(), 0..64),
    ];
    prop::collection::vec(part, 0..64).prop_map(|parts| parts.concat())
}

fn shared() -> &'static (TestRepo, Id) {
    static REPO: std::sync::OnceLock<(TestRepo, Id)> = std::sync::OnceLock::new();
    REPO.get_or_init(|| (TestRepo::create(), Id([3; 16])))
}

fn bounded<T>(f: impl FnOnce() -> T) -> T {
    let result = f();
    let largest = LARGEST.load(Ordering::Relaxed);
    assert!(largest <= BOUND, "{largest} bytes were asked for at once");
    result
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// A writer who has the keys and means ill.
    #[test]
    fn hostile_tables(plain in hostile()) {
        let (repo, id) = shared();
        let mut sealed = plain;
        let keys = repo.at.repo().keys();
        let key = keys.object(Generation::FIRST, ObjectKind::Pack, *id, &names::pack(*id)).unwrap();
        key.seal(u64::MAX, &mut sealed, 0);
        let _ = bounded(|| pack::read_table(keys, *id, b"PACG", &mut sealed.clone()));
        let _ = bounded(|| pack::read_table(keys, *id, b"PACK", &mut sealed));
    }

    #[test]
    fn hostile_footers(footer in prop::collection::vec(any::<u8>(), 0..12), len: u64) {
        if let Ok(n) = pack::table_len(&footer, len) {
            prop_assert!(n <= len);
        }
        let mut footer = footer;
        footer.truncate(4);
        footer.extend_from_slice(if len % 2 == 0 { b"PACK" } else { b"PACG" });
        if let Ok(n) = pack::table_len(&footer, len) {
            prop_assert!(n + 40 <= len && n <= 256 << 20);
        }
    }

    #[test]
    fn hostile_blocks(blocks in prop::collection::vec(hostile(), 1..4), cut: prop::sample::Index) {
        let (repo, id) = shared();
        let (keys, name) = (repo.at.repo().keys(), "journal/x/y");
        let key = keys.object(Generation::FIRST, ObjectKind::Journal, *id, name).unwrap();
        let mut bytes = header::write(ObjectKind::Journal, *id, keys.sealing(), Generation::FIRST).to_vec();
        for (n, mut block) in blocks.into_iter().enumerate() {
            key.seal(n as u64, &mut block, 0);
            bytes.extend_from_slice(&(block.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&block);
        }
        let read = |bytes: &[u8]| segment::read(keys, "here", name, bytes, |_| Ok::<_, bygone::repo::error::RepoError>(()));
        let _ = bounded(|| read(&bytes));
        let _ = bounded(|| read(&bytes[..cut.index(bytes.len())]));
    }

    #[test]
    fn hostile_records(body in hostile(), first: bool) {
        let mut bytes = vec![1];
        bytes.extend_from_slice(&[3; 16]);
        bytes.extend_from_slice(&[1, u8::from(!first), 1]);
        bytes.extend_from_slice(&body);
        let repo = shared().0.at.repo();
        bounded(|| {
            if let Ok(part) = Part::read(&bytes) {
                let _ = part.ops(|why| repo.damaged("x", "y", why), |_| Ok::<_, bygone::repo::error::RepoError>(()));
            }
        });
    }

    #[test]
    fn hostile_headers(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        for sealing in [Sealing::One, Sealing::Apart] {
            let _ = header::read(&bytes, ObjectKind::Pack, sealing);
        }
    }
}

#[test]
fn the_wish_to_read_far_behind_the_end_is_an_error() {
    let (repo, _) = shared();
    let store: Arc<_> = repo.at.repo().clone();
    assert!(store.store().get_range("bygone.toml", 1 << 40, 1 << 20).is_err());
    assert!(store.store().get("bygone.toml", 3).is_err());
}
