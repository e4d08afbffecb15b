//! The machine under a clock of the tests' own.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::budget::Share;
use super::machine::{Batch, Dirty, RootChange};
use super::set::{NAMES_MAX, Paths};
use crate::capture::relative::{split, within};
use crate::capture::watch::hint::{Hint, Why};
use crate::types::time;

const QUIET: Duration = Duration::from_millis(500);
const BOUND: Duration = Duration::from_secs(5);

fn machine() -> Dirty {
    Dirty::new(QUIET, BOUND, Share::default())
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn entry(path: &str) -> Hint {
    let (dir, name) = split(path.as_bytes());
    Hint::Entry { dir, name }
}

fn subtree(dir: &str) -> Hint {
    Hint::Subtree { dir: dir.into(), why: Why::Appeared, blind_since: None }
}

fn gap(dir: &str, since: i64) -> Hint {
    Hint::Subtree { dir: dir.into(), why: Why::Overflow, blind_since: Some(time::Instant(since)) }
}

fn moved(from: &str, to: &str) -> Hint {
    Hint::Moved { from: from.into(), to: to.into() }
}

/// `e:path`, `d:path` and `s:path`, sorted, for a table.
fn shown(paths: &Paths) -> String {
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    let entries = paths.entries.iter().flat_map(|(dir, names)| {
        names.iter().map(move |name| format!("e:{}", text(&crate::types::path::join(dir, name))))
    });
    let dirs = paths.dirs.iter().map(|d| format!("d:{}", text(d)));
    let subtrees = paths.subtrees.iter().map(|d| format!("s:{}", text(d)));
    entries.chain(dirs).chain(subtrees).collect::<Vec<_>>().join(" ")
}

#[test]
fn hints_are_merged() {
    let table: &[(&str, Vec<Hint>, &str)] = &[
        ("nothing", vec![], ""),
        ("one", vec![entry("a/f")], "e:a/f"),
        ("the same twice", vec![entry("a/f"), entry("a/f")], "e:a/f"),
        ("two in one directory", vec![entry("a/g"), entry("a/f")], "e:a/f e:a/g"),
        ("the root itself", vec![entry("")], "e:"),
        ("an entry of the root", vec![entry("f")], "e:f"),
        ("in a dirty subtree", vec![subtree("a"), entry("a/f"), entry("a/b/f")], "s:a"),
        ("a subtree over entries", vec![entry("a/f"), entry("a/b/c/f"), subtree("a")], "s:a"),
        ("a subtree's own entry stays", vec![entry("a"), subtree("a")], "e:a s:a"),
        ("not by prefix", vec![subtree("a"), entry("a-b/f"), entry("ab/f")], "e:a-b/f e:ab/f s:a"),
        ("sorted in between", vec![entry("a-b/f"), entry("a/b/f"), subtree("a")], "e:a-b/f s:a"),
        ("nested, inner first", vec![subtree("a/b"), subtree("a")], "s:a"),
        ("nested, outer first", vec![subtree("a"), subtree("a/b")], "s:a"),
        ("siblings", vec![subtree("a"), subtree("b")], "s:a s:b"),
        ("everything", vec![entry("x/y"), subtree("z"), subtree("")], "s:"),
        ("after everything", vec![subtree(""), entry("x/y"), subtree("z")], "s:"),
        ("renamed", vec![moved("a", "b")], "e:a e:b"),
        ("renamed, deeper", vec![moved("x/a", "y/b")], "e:x/a e:y/b"),
        ("dirty below, then renamed", vec![entry("a/x/f"), moved("a", "b")], "e:a e:b e:a/x/f e:b/x/f"),
        ("in it, then renamed", vec![entry("a/f"), moved("a", "b")], "e:a e:b e:a/f e:b/f"),
        ("beside it, then renamed", vec![entry("ab/f"), moved("a", "b")], "e:a e:b e:ab/f"),
        ("renamed, then dirty", vec![moved("a", "b"), entry("b/f")], "e:a e:b e:b/f"),
        ("renamed twice", vec![entry("a/f"), moved("a", "b"), moved("b", "c")], "e:a e:b e:c e:a/f e:b/f e:c/f"),
        ("exchanged", vec![entry("a/f"), moved("a", "b"), moved("b", "a")], "e:a e:b e:a/f e:b/f"),
        ("subtree below, then renamed", vec![subtree("a/x"), moved("a", "b")], "e:a e:b s:a/x s:b/x"),
        ("out of a subtree", vec![subtree("a"), moved("a/x", "b")], "e:b s:a s:b"),
        ("into a subtree", vec![entry("x/f"), subtree("a"), moved("x", "a/x")], "e:x e:x/f s:a"),
    ];
    for (what, hints, expected) in table {
        let now = Instant::now();
        let mut dirty = machine();
        hints.iter().for_each(|hint| dirty.hint(now, hint.clone()));
        assert_eq!(shown(&dirty.take(now).paths), *expected, "{what}");
        assert_eq!(dirty.take(now), Batch::default(), "{what}: a batch is taken once");
    }
}

#[test]
fn a_batch_is_due_when_it_is_quiet_and_never_after_the_bound() {
    let table: &[(&str, &[u64], Option<u64>)] = &[
        ("nothing", &[], None),
        ("one", &[0], Some(500)),
        ("another moves it", &[0, 400], Some(900)),
        ("many, up to the bound", &[0, 450, 900, 1350, 1800, 2250, 2700, 3150, 3600, 4050, 4500, 4900], Some(5000)),
        ("after the bound", &[0, 6000], Some(5000)),
        ("at the same time", &[100, 100, 100], Some(600)),
        ("the first counts", &[1000, 5800], Some(6000)),
    ];
    for (what, times, due) in table {
        let start = Instant::now();
        let mut dirty = machine();
        times.iter().for_each(|at| dirty.hint(start + ms(*at), entry("f")));
        assert_eq!(dirty.ready_at(), due.map(|at| start + ms(at)), "{what}");
        dirty.take(start + ms(9000));
        assert_eq!(dirty.ready_at(), None, "{what}");
        dirty.hint(start + ms(9000), entry("f"));
        assert_eq!(dirty.ready_at(), Some(start + ms(9500)), "{what}: the bound starts anew");
    }
}

#[test]
fn gaps_are_merged_and_bounded() {
    let now = Instant::now();
    let mut dirty = machine();
    for (dir, since) in [("a", 9), ("a", 5), ("a", 7), ("b", 1)] {
        dirty.hint(now, gap(dir, since));
    }
    let gaps = dirty.take(now).gaps;
    let told: Vec<_> = gaps.iter().map(|g| (g.dir.as_slice(), g.since.0)).collect();
    assert_eq!(told, [(&b"a"[..], 5), (&b"b"[..], 1)]);
    for i in 0..5000 {
        dirty.hint(now, gap(&format!("d{i}"), 100 + i));
    }
    let gaps = dirty.take(now).gaps;
    assert!(gaps.len() <= 1001, "{}", gaps.len());
    assert!(gaps.iter().any(|g| g.dir.is_empty() && g.since.0 == 100));
}

#[test]
fn the_root_s_last_change_is_told() {
    let now = Instant::now();
    let mut dirty = machine();
    dirty.hint(now, Hint::RootGone);
    assert!(dirty.ready_at().is_some());
    dirty.hint(now, Hint::RootBack { same: false });
    let batch = dirty.take(now);
    assert_eq!(batch.root, Some(RootChange::Back { same: false }));
    dirty.hint(now, Hint::RootGone);
    dirty.put_back(now, batch);
    assert_eq!(dirty.take(now).root, Some(RootChange::Gone));
}

#[test]
fn many_names_become_a_listing() {
    let now = Instant::now();
    let mut dirty = machine();
    dirty.hint(now, entry(""));
    for i in 0..=NAMES_MAX {
        dirty.hint(now, entry(&format!("{i}")));
        dirty.hint(now, entry(&format!("big/{i}")));
    }
    dirty.hint(now, entry("big/sub/f"));
    let paths = dirty.take(now).paths;
    assert_eq!(shown(&paths), "e: e:big/sub/f d: d:big");
    assert!(paths.covers(b"big", b"anything") && !paths.covers(b"big/sub", b"g"));
    assert_eq!(paths.len(), 4);
}

#[test]
fn too_many_items_become_subtrees_where_they_are() {
    let now = Instant::now();
    let mut dirty = machine().with_items_max(1000);
    dirty.hint(now, entry("quiet/place/f"));
    for i in 0..20_000 {
        dirty.hint(now, entry(&format!("var/cache/{}/{}/f{i}", i % 7, i % 500)));
    }
    let paths = dirty.take(now).paths;
    assert!(paths.len() <= 1001, "{}", paths.len());
    assert!(paths.covers(b"quiet/place", b"f") && !paths.in_subtree(b"quiet"));
    assert!(!paths.in_subtree(b"var"), "only the busy part is scanned as a whole");
    assert!(
        (0..20_000)
            .all(|i| paths.covers(format!("var/cache/{}/{}", i % 7, i % 500).as_bytes(), format!("f{i}").as_bytes()))
    );
}

#[test]
fn shrinking_ends_whatever_the_shape() {
    for flat in [true, false] {
        let mut paths = Paths::default();
        for i in 0..300u32 {
            let dir = if flat { format!("d{i}") } else { vec!["d"; i as usize + 1].join("/") };
            paths.add_entry(dir.into_bytes(), b"f".to_vec());
        }
        for max in [100, 10, 1, 0] {
            paths.shrink(max);
            assert!(paths.len() <= max.max(1));
            assert!(paths.covers(if flat { b"d7" } else { b"d/d/d" }, b"f"));
        }
    }
}

#[test]
fn what_was_taken_shortly_before_a_rename_is_dirty_again() {
    let now = Instant::now();
    let mut dirty = machine();
    dirty.hint(now, entry("a/x/f"));
    dirty.take(now);
    dirty.hint(now, moved("a", "b"));
    assert_eq!(shown(&dirty.take(now).paths), "e:a e:b e:b/x/f");
    dirty.hint(now, subtree("c"));
    dirty.take(now);
    dirty.hint(now, moved("c/d", "e"));
    assert_eq!(shown(&dirty.take(now).paths), "e:e e:c/d s:e", "a scan may have missed it under both names");
}

#[test]
fn a_batch_put_back_comes_again() {
    let now = Instant::now();
    let mut dirty = machine();
    dirty.hint(now, entry("a/f"));
    dirty.hint(now, gap("b", 3));
    let batch = dirty.take(now);
    dirty.put_back(now, Batch::default());
    assert_eq!(dirty.ready_at(), None);
    dirty.put_back(now, batch.clone());
    assert_eq!(dirty.ready_at(), Some(now + QUIET));
    assert_eq!(dirty.take(now), batch);
}

#[test]
fn a_large_file_that_changes_all_the_time_is_held_to_its_share() {
    let start = Instant::now();
    let mut dirty = machine();
    let (mut captures, mut busy, mut now) = (0, Duration::ZERO, start);
    let cost = ms(200);
    while now < start + Duration::from_secs(100) {
        dirty.hint(now, entry("db/big"));
        if dirty.ready_at().is_some_and(|at| at <= now) && dirty.take(now).paths.covers(b"db", b"big") {
            dirty.captured(b"db/big", 1 << 30, cost, now);
            busy += cost;
            captures += 1;
        }
        now += ms(50);
    }
    assert!(busy <= Duration::from_secs(11), "{busy:?}");
    assert!(captures >= 12, "{captures}");
}

#[test]
fn held_back_is_not_lost() {
    let start = Instant::now();
    let mut dirty = machine();
    dirty.captured(b"big", 2 << 20, ms(100), start);
    dirty.captured(b"small", 1 << 10, ms(100), start);
    dirty.hint(start + ms(10), entry("small"));
    dirty.hint(start + ms(10), entry("big"));
    assert_eq!(shown(&dirty.take(start + ms(600)).paths), "e:small");
    assert_eq!(dirty.ready_at(), Some(start + ms(1000)), "due when its rest is over");
    assert_eq!(shown(&dirty.take(start + ms(999)).paths), "");
    assert_eq!(shown(&dirty.take(start + ms(1000)).paths), "e:big");
    assert_eq!(dirty.ready_at(), None);
}

#[test]
fn a_file_that_did_not_change_again_is_not_due() {
    let start = Instant::now();
    let mut dirty = machine();
    dirty.captured(b"big", 2 << 20, ms(100), start);
    assert_eq!(dirty.ready_at(), None);
    assert_eq!(dirty.take(start + BOUND), Batch::default());
}

#[test]
fn a_rename_takes_the_rest_along() {
    let start = Instant::now();
    let mut dirty = machine();
    dirty.captured(b"a/big", 2 << 20, ms(100), start);
    dirty.hint(start + ms(1), entry("a/big"));
    assert!(dirty.take(start + ms(1)).paths.is_empty());
    assert_eq!(dirty.resting(start + ms(1)), [b"a/big"], "it is told that it waits");
    assert!(dirty.resting(start + ms(1100)).is_empty(), "it is due");
    dirty.hint(start + ms(2), moved("a", "b"));
    dirty.take(start + ms(600));
    assert_eq!(shown(&dirty.take(start + ms(1000)).paths), "e:a/big e:b/big");
}

#[test]
fn rests_that_are_over_are_forgotten() {
    let start = Instant::now();
    let mut dirty = machine();
    for i in 0..10_000u64 {
        dirty.captured(format!("f{i}").as_bytes(), 2 << 20, ms(1), start + ms(i * 100));
    }
    assert!(format!("{dirty:?}").len() < 400_000, "{}", format!("{dirty:?}").len());
}

#[derive(Clone, Debug)]
enum Step {
    Hint(Hint),
    Take,
    PutBack,
    Captured(Vec<u8>),
    Wait(u64),
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", "a-b"]), 0..4).prop_map(|parts| parts.join("/"))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => path().prop_map(|p| Step::Hint(entry(&p))),
        2 => path().prop_map(|p| Step::Hint(subtree(&p))),
        2 => (path(), path()).prop_filter("a rename", |(a, b)| {
            !within(a.as_bytes(), b.as_bytes()) && !within(b.as_bytes(), a.as_bytes())
        }).prop_map(|(a, b)| Step::Hint(moved(&a, &b))),
        2 => Just(Step::Take),
        1 => Just(Step::PutBack),
        2 => path().prop_map(|p| Step::Captured(p.into_bytes())),
        2 => (0..3000u64).prop_map(Step::Wait),
    ]
}

/// What must still be looked at: a path, or (`true`) everything below it.
type Owed = Vec<(Vec<u8>, bool)>;

fn pay(owed: &mut Owed, paths: &Paths) {
    owed.retain(|(path, all)| {
        let (dir, name) = split(path);
        if *all { !paths.in_subtree(path) } else { !paths.covers(&dir, &name) }
    });
}

fn owe(owed: &mut Owed, hint: &Hint) {
    match hint {
        Hint::Entry { dir, name } => owed.push((crate::types::path::join(dir, name), false)),
        Hint::Subtree { dir, .. } => owed.push((dir.clone(), true)),
        Hint::Moved { from, to } => {
            let below: Vec<_> =
                owed.iter().filter(|(p, all)| within(p, from) && (*all || p != from)).cloned().collect();
            owed.extend(below.into_iter().map(|(p, all)| ([to, &p[from.len()..]].concat(), all)));
            owed.extend([(from.clone(), false), (to.clone(), false)]);
        }
        _ => {}
    }
}

proptest! {
    #[test]
    fn no_hint_is_ever_lost(steps in prop::collection::vec(step(), 1..80), max in 2..40usize) {
        let mut now = Instant::now();
        let mut dirty = machine().with_items_max(max);
        let mut owed = Owed::new();
        let mut last = Batch::default();
        for step in steps {
            match step {
                Step::Hint(hint) => {
                    owe(&mut owed, &hint);
                    dirty.hint(now, hint);
                    prop_assert!(dirty.ready_at().is_some());
                }
                Step::Take => {
                    last = dirty.take(now);
                    pay(&mut owed, &last.paths);
                }
                Step::PutBack => {
                    let batch = std::mem::take(&mut last);
                    owed.extend(batch.paths.subtrees.iter().map(|d| (d.clone(), true)));
                    dirty.put_back(now, batch);
                }
                Step::Captured(path) => dirty.captured(&path, 1 << 20, ms(30), now),
                Step::Wait(wait) => now += ms(wait),
            }
        }
        while let Some(at) = dirty.ready_at() {
            now = now.max(at);
            pay(&mut owed, &dirty.take(now).paths);
        }
        prop_assert!(owed.is_empty(), "never covered: {owed:?}");
    }
}
