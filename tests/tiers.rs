//! Tiers: what each of them still shows when records of the journal are lost.

#![allow(clippy::disallowed_methods, reason = "a test plays the part of the user, and of the disk that loses things")]

#[path = "common/describe.rs"]
mod describe;
#[path = "common/lab.rs"]
mod lab;
#[path = "common/loopfs.rs"]
mod loopfs;
#[path = "common/program.rs"]
mod program;

use Tier::{Differential as D, Full as F, Incremental as I};
use bygone::index::rows::Row;
use bygone::progress::Quiet;
use bygone::repo::{
    attach::Attached,
    frames::Frames,
    replay::{self, Replayed},
    write::SourceWriter,
};
use bygone::sys::clock::SystemClock;
use bygone::types::{
    attr::Xattrs,
    ids::{Node, Snap, Ver},
    snapshot::{Snapshot, Tier},
    time::Instant,
};
use bygone::view::instant::View;
use describe::{Depth, Tree, differences};
use lab::{HOST, Lab};
use program::Program;
use std::{
    collections::BTreeSet,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::FileExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

/// The tiers of the snapshots, from number 1 on.
const TIERS: [Tier; 14] = [F, I, I, D, I, I, D, I, F, I, D, I, D, I];

/// What an entry leads to, without what this host alone knows.
type Plain = (Node, Vec<u8>, Node, Ver, bygone::types::attr::Attr, Xattrs);

/// A snapshot as it showed when it was taken.
struct Shown {
    snapshot: Snapshot,
    tree: Tree,
    rows: Vec<(Row, Xattrs)>,
    segment: PathBuf,
}

struct History {
    lab: Lab,
    shown: Vec<Shown>,
}

impl History {
    fn new() -> History {
        let lab = Lab::new();
        let mut shown: Vec<Shown> = Vec::new();
        for (n, tier) in TIERS.into_iter().enumerate() {
            change(&lab.root, n);
            let report = lab.snapshot(tier);
            assert!(report.problems.is_empty() && report.altered.is_empty(), "{report:?}");
            let snapshot = report.snapshot.unwrap();
            assert_eq!((snapshot.number.0 as usize, snapshot.tier), (n + 1, tier));
            let reader = lab.at.reader().unwrap();
            let segments = reader.segments(lab.num()).unwrap();
            let segment = segments.into_iter().find(|s| s.last == snapshot.number).unwrap();
            assert_eq!(segment.count, 1, "each has a segment of its own");
            let tree = lab.view(snapshot.number);
            assert_eq!(differences(&describe::of_disk(&lab.root), &tree, Depth::All), "");
            shown.push(Shown { snapshot, tree, rows: Vec::new(), segment: lab.dir().join("repo").join(segment.name) });
        }
        // As they are when the whole history is known: until when each lasted.
        let reader = lab.at.reader().unwrap();
        for was in &mut shown {
            was.rows = describe::rows(&reader, lab.num(), was.snapshot.number);
        }
        History { lab, shown }
    }

    /// The numbers that can be shown where the records of some are lost.
    fn expected(&self, lost: &BTreeSet<usize>) -> BTreeSet<usize> {
        let mut shown = BTreeSet::new();
        let mut full = 0;
        for (n, tier) in (1..).zip(TIERS) {
            let needs = match tier {
                F => None,
                D => Some(full),
                I => Some(n - 1),
            };
            let follows = n == 1 || shown.contains(&(n - 1));
            if !lost.contains(&n) && (follows || needs.is_none_or(|needs| shown.contains(&needs))) {
                shown.insert(n);
            }
            if tier == F {
                full = n;
            }
        }
        shown
    }

    /// A new index from what is there.
    fn rebuild(&self) -> (Arc<Attached>, Replayed) {
        let state = self.lab.dir().join("again");
        let _ = fs::remove_dir_all(&state);
        let at = Attached::open(self.lab.repo.clone(), &state, Arc::new(SystemClock)).unwrap();
        let replayed = replay::catch_up(&at, &Quiet).unwrap();
        (Arc::new(at), replayed)
    }

    /// Checks what a new index shows where the records of `lost` can't be read.
    fn check(&self, lost: &BTreeSet<usize>) {
        let (at, replayed) = self.rebuild();
        let expected = self.expected(lost);
        let case = format!("lost {lost:?}, expected {expected:?}, told {:?}", replayed.problems);
        let newest = expected.last().copied().unwrap_or(0);
        // That a journal lacks its end can't be told from what is there.
        let cut = expected.len() == newest && (newest + 1..=TIERS.len()).all(|n| lost.contains(&n));
        assert!(cut || !replayed.problems.is_empty(), "{case}");
        assert!(!lost.is_empty() || replayed.problems.is_empty(), "{case}");
        let (index, frames) = (at.reader().unwrap(), Frames::new(at.repo().clone(), 32 << 20));
        let num = self.lab.num();
        // The last one of which there is a record, whether it can be shown or not. One that is the next by its number and follows
        // another is none of this history.
        let reached = (newest + 2..=TIERS.len()).filter(|n| !lost.contains(n)).max().unwrap_or(newest);
        let latest = View::open(&index, HOST, Instant(i64::MAX)).unwrap();
        assert_eq!(latest.lost.len(), usize::from(reached > newest), "nothing older is shown as the latest: {case}");
        for (n, was) in (1..).zip(&self.shown) {
            let (number, time) = (was.snapshot.number, was.snapshot.time);
            let found = index
                .sources()
                .unwrap()
                .iter()
                .find(|s| s.num == num)
                .and_then(|_| index.snapshot(num, number).unwrap());
            let view = View::open(&index, HOST, time).unwrap();
            if !expected.contains(&n) {
                assert_eq!(found, None, "snapshot {n}: {case}");
                // Behind the last record that is there nothing says when something else was captured.
                assert!(n > reached || view.lost.len() == 1, "snapshot {n} is refused: {case}");
                assert!(n > reached || view.look_up(&index, self.lab.root.as_os_str().as_bytes()).is_err());
                continue;
            }
            assert_eq!(found.as_ref(), Some(&was.snapshot), "snapshot {n}: {case}");
            assert_eq!(view.parts[0].snapshot, was.snapshot, "snapshot {n}: {case}");
            let tree = describe::of_view(&index, &frames, num, number);
            assert_eq!(differences(&was.tree, &tree, Depth::All), "", "snapshot {n}: {case}");
            let rows = describe::rows(&index, num, number);
            match lost.is_empty() {
                true => assert_eq!(rows, was.rows, "snapshot {n}"),
                false => assert_eq!(plain(&rows), plain(&was.rows), "snapshot {n}: {case}"),
            }
        }
        // Each that is lost is accounted for, once.
        let told: Vec<usize> =
            index.lost(num).unwrap().iter().flat_map(|l| l.first.0 as usize..=l.last.0 as usize).collect();
        let want: Vec<usize> = (1..=reached).filter(|n| !expected.contains(n)).collect();
        assert_eq!(told, want, "{case}");
    }

    fn lose(&self, lost: &[usize]) {
        for n in lost {
            let segment = &self.shown[n - 1].segment;
            fs::rename(segment, self.lab.dir().join(format!("away-{n}"))).unwrap();
        }
        self.check(&lost.iter().copied().collect());
        for n in lost {
            fs::rename(self.lab.dir().join(format!("away-{n}")), &self.shown[n - 1].segment).unwrap();
        }
    }
}

fn plain(rows: &[(Row, Xattrs)]) -> Vec<Plain> {
    let plain = |(row, xattrs): &(Row, Xattrs)| {
        (row.parent, row.name.clone(), row.node, row.ver, row.attr.clone(), xattrs.clone())
    };
    let mut all: Vec<Plain> = rows.iter().map(plain).collect();
    all.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    all
}

/// What happens before the snapshot `n + 1`.
fn change(root: &Path, n: usize) {
    let write = |name: &str, bytes: &[u8]| fs::write(root.join(name), bytes).unwrap();
    if n == 0 {
        fs::create_dir_all(root.join("d0/below")).unwrap();
        fs::create_dir(root.join("hard")).unwrap();
        write("long", &noise(3 << 20, 7));
        write("still", b"never changes");
        write("d0/below/x", b"x");
        write("hard/0", b"linked");
        std::os::unix::fs::symlink("somewhere", root.join("link")).unwrap();
    }
    // Comes and goes, so that what the last full had comes back.
    match n % 3 {
        0 => write("now and then", b"again"),
        1 => fs::remove_file(root.join("now and then")).unwrap(),
        _ => write("only in thirds", format!("{n}").as_bytes()),
    }
    let long = fs::File::options().write(true).open(root.join("long")).unwrap();
    long.write_all_at(&noise(300, n as u64), (n as u64 * 200_000) % (3 << 20)).unwrap();
    write("changes", format!("version {n}").repeat(n + 1).as_bytes());
    write(&format!("new {n}"), &noise(5_000 + n, 100 + n as u64));
    if n >= 2 {
        fs::remove_file(root.join(format!("new {}", n - 2))).unwrap();
    }
    fs::rename(root.join(format!("d{n}")), root.join(format!("d{}", n + 1))).unwrap();
    fs::write(root.join(format!("d{}/below/file {n}", n + 1)), format!("{n}")).unwrap();
    fs::hard_link(root.join(format!("hard/{n}")), root.join(format!("hard/{}", n + 1))).unwrap();
    if n % 4 == 3 {
        fs::remove_file(root.join(format!("hard/{}", n - 3))).unwrap();
        fs::write(root.join(format!("hard/{n}")), format!("through one name {n}")).unwrap();
        fs::remove_file(root.join("link")).unwrap();
        std::os::unix::fs::symlink(format!("elsewhere {n}"), root.join("link")).unwrap();
    }
    let value = format!("{n}");
    rustix::fs::lsetxattr(root.join("still"), "user.n", value.as_bytes(), rustix::fs::XattrFlags::empty()).unwrap();
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(|_| next()).collect()
}

#[test]
fn what_needs_no_lost_record_shows_what_it_showed() {
    let history = History::new();
    history.check(&BTreeSet::new());
    for n in 1..=TIERS.len() {
        history.lose(&[n]);
    }
    // Every incremental record between a differential and the next; a differential and what follows it; all before a full; all
    // before a differential but its full; several fulls.
    for lost in [
        &[5, 6][..],
        &[7, 8],
        &[1, 2, 3, 4, 5, 6, 7, 8],
        &[2, 3, 5, 6],
        &[10, 12],
        &[1, 9],
        &[2, 10, 12],
        &[2, 3, 4, 5, 6, 7, 8],
    ] {
        history.lose(lost);
    }
    let mut seed = 12345_u64;
    for _ in 0..12 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let lost: Vec<usize> = (1..=TIERS.len()).filter(|n| seed >> (20 + n) & 3 == 0).collect();
        history.lose(&lost);
    }
}

#[test]
fn a_flipped_bit_costs_what_a_lost_record_costs() {
    let history = History::new();
    for n in 1..=TIERS.len() {
        let segment = &history.shown[n - 1].segment;
        let good = fs::read(segment).unwrap();
        let mut bad = good.clone();
        let at = 40 + (n * 7919) % (bad.len() - 40);
        bad[at] ^= 1 << (n % 8);
        fs::write(segment, &bad).unwrap();
        history.check(&BTreeSet::from([n]));
        fs::write(segment, &good).unwrap();
    }
}

/// A host that finds the middle missing captures on, with the same numbers, and its history can be read by the next one.
#[test]
fn captures_go_on_behind_what_is_lost() {
    let history = History::new();
    for n in [5, 6] {
        fs::remove_file(&history.shown[n - 1].segment).unwrap();
    }
    let (at, _) = history.rebuild();
    let root = &history.lab.root;
    fs::write(root.join("after"), b"after").unwrap();
    let mut writer = SourceWriter::open(at.clone(), HOST, root.as_os_str().as_bytes()).unwrap();
    let report = history.lab.try_capture(&mut writer, &bygone::capture::engine::Plan::everything(), D, true).unwrap();
    let snapshot = report.snapshot.clone().unwrap();
    assert_eq!((snapshot.number, snapshot.tier), (Snap(TIERS.len() as u64 + 1), D));
    assert_eq!(snapshot.counts.changed + snapshot.counts.removed, 1, "the root, and nothing else: {report:?}");
    drop(writer);
    let (again, replayed) = history.rebuild();
    assert_eq!(replayed.problems.len(), 1, "{:?}", replayed.problems);
    let told = replayed.problems[0].to_string();
    assert!(told.contains("snapshots 5 to 6 can't be shown"), "{told}");
    let (index, frames) = (again.reader().unwrap(), Frames::new(again.repo().clone(), 32 << 20));
    let tree = describe::of_view(&index, &frames, history.lab.num(), snapshot.number);
    assert_eq!(differences(&describe::of_disk(root), &tree, Depth::All), "");
    let view = View::open(&index, HOST, Instant(i64::MAX)).unwrap();
    assert!(view.lost.is_empty() && view.parts[0].snapshot == snapshot);
}

/// Nothing behind the lost records can be shown: a host without its index captures on behind them, and the one that has seen all of
/// it can read what it captured.
#[test]
fn captures_go_on_behind_records_that_nobody_can_take() {
    for lost in [&[1][..], &[1, 2], &[13], &[12, 13]] {
        let history = History::new();
        // Without the full and the differentials behind what is lost, nothing can be taken again.
        let last = TIERS.len() - if lost[0] == 1 { 7 } else { 0 };
        for n in (1..=TIERS.len()).filter(|n| lost.contains(n) || *n > last) {
            fs::remove_file(&history.shown[n - 1].segment).unwrap();
        }
        let (at, replayed) = history.rebuild();
        let case = format!("{lost:?} {:?}", replayed.problems);
        assert!(!replayed.problems.is_empty(), "{case}");
        let num = history.lab.num();
        let (head, reached) = {
            let reader = at.reader().unwrap();
            (reader.head(num).unwrap(), reader.reached(num).unwrap())
        };
        assert_eq!((head.number.0 as usize, reached.number.0 as usize), (lost[0] - 1, last), "{case}");
        assert_eq!(View::open(&at.reader().unwrap(), HOST, Instant(i64::MAX)).unwrap().lost.len(), 1, "{case}");
        let root = &history.lab.root;
        let capture = |tier, always| {
            let mut writer = SourceWriter::open(at.clone(), HOST, root.as_os_str().as_bytes()).unwrap();
            let report = history.lab.try_capture(&mut writer, &bygone::capture::engine::Plan::default(), tier, always);
            report.unwrap().snapshot
        };
        // Also where it is not told to: what is there is worth a record.
        let snapshot = capture(I, false).unwrap();
        assert_eq!((snapshot.number.0 as usize, snapshot.tier), (last + 1, F), "{case}");
        assert_eq!(capture(I, false), None, "once: {case}");
        fs::write(root.join("after"), b"after").unwrap();
        let after = {
            let mut writer = SourceWriter::open(at.clone(), HOST, root.as_os_str().as_bytes()).unwrap();
            let plan = bygone::capture::engine::Plan::everything();
            history.lab.try_capture(&mut writer, &plan, I, false).unwrap().snapshot.unwrap()
        };
        assert_eq!((after.number.0, after.tier), (snapshot.number.0 + 1, I), "{case}");
        let disk = describe::of_disk(root);
        // Its own index, another new one, and one that had seen all that is lost.
        let (again, replayed) = history.rebuild();
        assert_eq!(replayed.problems.len(), 1, "{:?}", replayed.problems);
        for (whose, index) in [("own", &at), ("new", &again)] {
            let reader = index.reader().unwrap();
            let frames = Frames::new(index.repo().clone(), 32 << 20);
            assert_eq!(
                differences(&disk, &describe::of_view(&reader, &frames, num, after.number), Depth::All),
                "",
                "{whose}"
            );
            let view = View::open(&reader, HOST, Instant(i64::MAX)).unwrap();
            assert!(view.lost.is_empty() && view.parts[0].snapshot == after, "{whose}: {case}");
            let told: Vec<(u64, u64)> = reader.lost(num).unwrap().iter().map(|l| (l.first.0, l.last.0)).collect();
            assert_eq!(told, [(lost[0] as u64, last as u64)], "{whose}: {case}");
        }
        if last == TIERS.len() {
            let knew = &history.lab.at;
            let replayed = replay::catch_up(knew, &Quiet).unwrap();
            assert!(replayed.problems.is_empty(), "{:?}", replayed.problems);
            let reader = knew.reader().unwrap();
            let frames = Frames::new(knew.repo().clone(), 32 << 20);
            assert_eq!(reader.sources().unwrap().len(), 1, "no second writer: {case}");
            assert_eq!(reader.lost(num).unwrap(), [], "{case}");
            assert_eq!(differences(&disk, &describe::of_view(&reader, &frames, num, after.number), Depth::All), "");
            for (n, was) in (1..).zip(&history.shown) {
                let tree = describe::of_view(&reader, &frames, num, Snap(n));
                assert_eq!(differences(&was.tree, &tree, Depth::All), "", "snapshot {n}: {case}");
            }
        }
    }
}

/// The repository loses records that this host's index has: the next snapshot does without them, and maintaining writes them again.
#[test]
fn what_the_repository_has_lost_is_noticed_and_written_again() {
    let history = History::new();
    let lab = &history.lab;
    let absent = || lab.at.reader().unwrap().absent(lab.num()).unwrap();
    drop(lab.writer());
    assert_eq!(absent(), []);
    // Behind the last full and the last differential.
    fs::remove_file(&history.shown[13].segment).unwrap();
    let error = SourceWriter::settle(&mut lab.writer()).unwrap_err();
    assert!(
        matches!(error, bygone::repo::error::RepoError::RolledBack { .. }),
        "the newest one is for a person: {error}"
    );
    assert_eq!(absent().iter().map(|a| (a.first, a.last)).collect::<Vec<_>>(), [(Snap(14), Snap(14))]);
}

/// The same by the program: what is removed, and what is damaged, which only a verification finds.
#[test]
fn the_program_mends_what_the_repository_has_lost() {
    for damaged in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let program = Program::in_dir(dir.path());
        program.init();
        let file = program.root.join("f");
        let snapshot = |content: &str| {
            fs::write(&file, content).unwrap();
            let out = program.run(&["--json", "snapshot"]);
            assert!(out.status.success(), "{}", text(&out.stderr));
            text(&out.stdout)
        };
        (1..=4).for_each(|n| drop(snapshot(&format!("{n}"))));
        let mut segments: Vec<PathBuf> = fs::read_dir(program.repo.join("journal"))
            .unwrap()
            .flat_map(|source| fs::read_dir(source.unwrap().path()).unwrap().map(|e| e.unwrap().path()))
            .collect();
        segments.sort();
        let health = || {
            let out = program.run(&["--json", "health"]);
            (out.status.code(), text(&out.stdout))
        };
        match damaged {
            true => {
                let mut bytes = fs::read(&segments[1]).unwrap();
                let at = bytes.len() / 2;
                bytes[at] ^= 1;
                fs::write(&segments[1], bytes).unwrap();
                assert_eq!(program.run(&["verify"]).status.code(), Some(3));
                let (code, told) = health();
                assert!(code == Some(1) && told.contains("What was captured since then needs them"), "{told}");
            }
            false => fs::remove_file(&segments[1]).unwrap(),
        }
        assert!(snapshot("5").contains("\"full\""));
        assert!(snapshot("6").contains("\"incremental\""));
        let status = text(&program.run(&["status"]).stdout);
        let last = if damaged { 4 } else { 2 };
        let told = format!("incomplete  the repository has lost records of snapshots 2 to {last}");
        assert!(status.contains(&told), "{status}");
        let (_, told) = health();
        assert!(told.contains("writes them again from the index") && !told.contains("needs them"), "{told}");
        // A new machine has what needs no lost record.
        let rebuilt = |name: &str, now: &str| {
            let new = program.elsewhere(&dir.path().join(name));
            let out = new.run(&["--json", "list"]);
            let numbers = text(&out.stdout);
            let numbers: Vec<u64> = numbers
                .lines()
                .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
                .filter_map(|item| item["number"].as_u64())
                .collect();
            assert_eq!(text(&new.run(&["cat", file.to_str().unwrap()]).stdout), now);
            numbers
        };
        assert_eq!(rebuilt("first", "6"), [1, 5, 6]);
        let out = program.run(&["maintain"]);
        assert!(out.status.success(), "{}", text(&out.stderr));
        let told = text(&out.stdout);
        assert!(told.contains("its history is written again from the index"), "{told}");
        assert_eq!(rebuilt("second", "6"), [1, 2, 3, 4, 5, 6]);
        assert!(!text(&program.run(&["status"]).stdout).contains("incomplete"));
        assert!(!health().1.contains("absent"), "{}", health().1);
        let verify = program.run(&["verify"]);
        assert!(verify.status.success(), "{}", text(&verify.stdout));
        snapshot("7");
        assert_eq!(rebuilt("third", "7"), [1, 2, 3, 4, 5, 6, 7]);
    }
}

/// A machine whose index is gone finds the middle missing: it never shows what is old as the latest, and goes on behind it.
#[test]
fn the_program_shows_nothing_old_as_the_latest() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::in_dir(dir.path());
    program.init();
    let file = program.root.join("f");
    let path = file.to_str().unwrap().to_owned();
    for n in 1..=4 {
        fs::write(&file, format!("{n}")).unwrap();
        assert!(program.run(&["snapshot"]).status.success());
    }
    let mut segments: Vec<PathBuf> = fs::read_dir(program.repo.join("journal"))
        .unwrap()
        .flat_map(|source| fs::read_dir(source.unwrap().path()).unwrap().map(|e| e.unwrap().path()))
        .collect();
    segments.sort();
    fs::remove_file(&segments[1]).unwrap();
    let new = program.elsewhere(&dir.path().join("new"));
    let to = dir.path().join("restored").to_str().unwrap().to_owned();
    for args in
        [&["cat", &path][..], &["cat", &path, "--at", "now"], &["restore", &path, "--at", "latest", "--to", &to]]
    {
        let out = new.run(args);
        assert_eq!((out.status.code(), text(&out.stdout)), (Some(1), String::new()), "{args:?}");
        assert!(text(&out.stderr).contains("the snapshots 2 to 4 of"), "{}", text(&out.stderr));
    }
    let items = text(&new.run(&["--json", "list"]).stdout);
    let items: Vec<serde_json::Value> = items.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((items[0]["number"].as_u64(), items[1]["kind"].as_str()), (Some(1), Some("lost")));
    assert!(items[1]["last"] == 4 && items[1]["before"].is_null(), "{items:?}");
    assert!(text(&new.run(&["list"]).stdout).contains("until now"));
    let status = text(&new.run(&["status"]).stdout);
    assert!(status.contains("lost        snapshots 2 to 4"), "{status}");
    assert!(text(&new.run(&["health"]).stdout).contains("the newest among them"));
    let at = items[0]["time"].as_str().unwrap();
    assert_eq!(text(&new.run(&["cat", &path, "--at", at]).stdout), "1");
    // Nothing has changed, and it makes new ground.
    let out = new.run(&["snapshot"]);
    assert_eq!(out.status.code(), Some(3), "what is lost is told: {}", text(&out.stderr));
    assert_eq!(text(&new.run(&["cat", &path]).stdout), "4");
    // The first machine knows its history, and the one that goes on with it.
    assert_eq!(text(&program.run(&["cat", &path]).stdout), "4");
    let all = text(&program.run(&["list"]).stdout);
    assert_eq!(all.lines().count(), 5, "{all}");
}

/// The record of a differential grows with what changed, not with the tree.
#[test]
fn a_differential_costs_what_changed() {
    let lab = Lab::new();
    for n in 0..3_000 {
        fs::write(lab.root.join(format!("file {n}")), format!("{n}")).unwrap();
    }
    fs::write(lab.root.join("long"), noise(20 << 20, 3)).unwrap();
    lab.snapshot(F);
    let long = fs::File::options().write(true).open(lab.root.join("long")).unwrap();
    long.write_all_at(b"changed", 9 << 20).unwrap();
    fs::write(lab.root.join("file 7"), b"changed").unwrap();
    lab.snapshot(I);
    let size = |number: Snap| {
        let segments = lab.at.reader().unwrap().segments(lab.num()).unwrap();
        let segment = segments.into_iter().find(|s| s.last == number).unwrap();
        fs::metadata(lab.dir().join("repo").join(segment.name)).unwrap().len()
    };
    let differential = lab.snapshot(D).snapshot.unwrap();
    let full = lab.snapshot(F).snapshot.unwrap();
    let (differential, full) = (size(differential.number), size(full.number));
    assert!(differential < 4_000, "two files changed: {differential} B");
    assert!(full > 50_000, "all are stated: {full} B");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The program at work: what it says of tiers, and of records that are missing.
#[test]
fn the_program_names_tiers_and_losses() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::in_dir(dir.path());
    program.init();
    for (n, tier) in ["differential", "incremental", "differential", "full"].iter().enumerate() {
        fs::write(program.root.join("f"), format!("{n}")).unwrap();
        let out = program.run(&["snapshot", "--tier", tier]);
        assert!(out.status.success(), "{}", text(&out.stderr));
    }
    let list = text(&program.run(&["list"]).stdout);
    let tiers: Vec<&str> = list.lines().map(|line| line.split("  ").nth(2).unwrap()).collect();
    assert_eq!(tiers, ["full", "incremental", "differential", "full"], "{list}");
    let verify = program.run(&["verify"]);
    assert!(verify.status.success(), "{}", text(&verify.stdout));
    let told = "2 full, 1 differential, 1 incremental record(s); the loss of one would cost, in instants at most, 3 of a full, 1 of a \
                differential, 1 of an incremental";
    assert!(text(&verify.stdout).contains(told), "{}", text(&verify.stdout));
    let mut segments: Vec<PathBuf> = fs::read_dir(program.repo.join("journal"))
        .unwrap()
        .flat_map(|source| fs::read_dir(source.unwrap().path()).unwrap().map(|e| e.unwrap().path()))
        .collect();
    segments.sort();
    fs::remove_file(&segments[1]).unwrap();
    let verify = program.run(&["verify"]);
    assert_eq!(verify.status.code(), Some(3));
    let told = text(&verify.stdout);
    assert!(told.contains(segments[1].file_name().unwrap().to_str().unwrap()), "{told}");
    assert!(told.contains("snapshot 2 can't be shown from the repository alone"), "{told}");
    let rebuilt = program.run(&["index", "rebuild"]);
    assert_eq!(rebuilt.status.code(), Some(3));
    assert!(text(&rebuilt.stderr).contains("snapshots 2 to 2 can't be shown"), "{}", text(&rebuilt.stderr));
    let list = program.run(&["--json", "list"]);
    let items: Vec<serde_json::Value> =
        text(&list.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seen: Vec<(&str, u64)> = items
        .iter()
        .map(|i| (i["kind"].as_str().unwrap(), i["number"].as_u64().or(i["first"].as_u64()).unwrap()))
        .collect();
    assert_eq!(seen, [("snapshot", 1), ("lost", 2), ("snapshot", 3), ("snapshot", 4)]);
    assert!(text(&program.run(&["status"]).stdout).contains("lost        snapshots 2 to 2"));
    let at = |item: &serde_json::Value| item["time"].as_str().unwrap().to_owned();
    let file = program.root.join("f");
    let cat = |time: &str| program.run(&["cat", file.to_str().unwrap(), "--at", time]);
    for (item, want) in [(0, "0"), (2, "2"), (3, "3")] {
        let out = cat(&at(&items[item]));
        assert_eq!(text(&out.stdout), want, "{}", text(&out.stderr));
    }
    // Between the first and the third it is not known which of two snapshots was the newest.
    let between = (items[0]["time_ns"].as_i64().unwrap() + items[2]["time_ns"].as_i64().unwrap()) / 2;
    let out = cat(&bygone::types::when::show::exact_name(Instant(between)));
    assert_eq!((out.status.code(), text(&out.stdout)), (Some(1), String::new()));
    assert!(text(&out.stderr).contains("the snapshots 2 to 2 of"), "{}", text(&out.stderr));
}

/// A disk that gives other bytes than were written: only a full snapshot looks.
#[test]
fn a_full_snapshot_names_what_changed_beneath_its_times() {
    let Some(disk) = loopfs::LoopFs::make("ext4", 16) else { return };
    let dir = tempfile::tempdir().unwrap();
    let program = Program { root: disk.path().to_owned(), ..Program::in_dir(dir.path()) };
    program.init();
    let content = b"what was written by a program ".repeat(100);
    fs::write(disk.path().join("rots"), &content).unwrap();
    fs::write(disk.path().join("stays"), b"what stays").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(100));
    let settled = program.run(&["snapshot"]);
    assert!(settled.status.success(), "{}", text(&settled.stderr));
    loopfs::run(std::process::Command::new("umount").arg(disk.path())).unwrap();
    let mut image = fs::read(disk.image()).unwrap();
    let at = image.windows(content.len()).position(|bytes| bytes == content).unwrap();
    image[at] = b'W';
    fs::write(disk.image(), image).unwrap();
    loopfs::run(std::process::Command::new("mount").args(["-o", "loop"]).arg(disk.image()).arg(disk.path())).unwrap();
    assert_eq!(fs::read(disk.path().join("rots")).unwrap()[0], b'W');
    for tier in ["incremental", "differential"] {
        let out = program.run(&["--json", "snapshot", "--tier", tier]);
        assert!(out.status.success() && text(&out.stdout).contains("\"altered\":[]"), "{}", text(&out.stdout));
    }
    let out = program.run(&["snapshot", "--tier", "full"]);
    assert_eq!(out.status.code(), Some(3));
    let told = text(&out.stderr);
    assert!(told.contains("/rots: its bytes have changed") && told.contains("1 file(s) changed without"), "{told}");
    assert!(!told.contains("/stays"), "{told}");
    // Said once: what is there now is what is known.
    let out = program.run(&["snapshot", "--tier", "full"]);
    assert!(out.status.success(), "{}", text(&out.stderr));
}
