//! Trees and files beyond the usual sizes, and what a look at one file costs in them.

use crate::{
    describe::{self, Depth},
    lab::Lab,
};
use bygone::capture::engine::Plan;
use bygone::types::{ids::Node, snapshot::Tier};
use rustix::fs::{Mode, OFlags};
use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::fs::FileExt as _,
};

#[test]
fn deeper_than_a_path_can_say() {
    let lab = Lab::new();
    let mut at = rustix::fs::open(&lab.root, OFlags::DIRECTORY, Mode::empty()).unwrap();
    let name = "d".repeat(240);
    for _ in 0..60 {
        rustix::fs::mkdirat(&at, &name, Mode::RWXU).unwrap();
        at = rustix::fs::openat(&at, &name, OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    let file = rustix::fs::openat(&at, "bottom", OFlags::CREATE | OFlags::WRONLY, Mode::RWXU).unwrap();
    rustix::io::write(&file, b"deep down").unwrap();
    let view = lab.captured();
    assert!(view.keys().any(|path| path.len() > 3 * 4096 && path.ends_with(b"/bottom")));
    assert_eq!(describe::differences(&describe::of_disk(&lab.root), &view, Depth::All), "");
    rustix::io::write(&file, b", changed").unwrap();
    assert_eq!(describe::differences(&describe::of_disk(&lab.root), &lab.captured(), Depth::All), "");
}

#[test]
fn a_directory_of_200_000_entries() {
    let lab = Lab::new();
    let fd = rustix::fs::open(&lab.root, OFlags::DIRECTORY, Mode::empty()).unwrap();
    for n in 0..200_000 {
        rustix::fs::openat(&fd, format!("entry-{n}"), OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
    }
    let report = lab.snapshot(Tier::Incremental);
    assert_eq!((report.seen, report.problems.len()), (200_000, 0));
    let list = |snap| lab.at.reader().unwrap().children(lab.num(), Node::ROOT, snap).unwrap().len();
    assert_eq!(list(report.snapshot.unwrap().number), 200_000);
    rustix::fs::unlinkat(&fd, "entry-7", rustix::fs::AtFlags::empty()).unwrap();
    let second = lab.snapshot(Tier::Incremental).snapshot.unwrap();
    assert_eq!((second.counts.new, second.counts.removed), (0, 1));
    assert_eq!(list(second.number), 199_999);
}

/// As editors save: each file is another one at the same name. While one thread reads what is large, the other is done with names of
/// which the first has found that they ended.
#[test]
fn many_replaced_files_are_read_by_several_threads() {
    let mut lab = Lab::new();
    lab.capture.threads = 2;
    for round in 0..8u8 {
        for n in 0..400u16 {
            let content = if n < 128 { vec![round ^ n as u8; 300_000 + usize::from(n)] } else { Vec::new() };
            let (new, name) = (lab.root.join("new"), lab.root.join(format!("{n:03}")));
            std::fs::write(&new, content).unwrap();
            std::fs::rename(&new, name).unwrap();
        }
        assert_eq!(lab.snapshot(Tier::Incremental).problems.len(), 0);
    }
    assert_eq!(describe::differences(&describe::of_disk(&lab.root), &lab.captured(), Depth::All), "");
}

#[test]
fn a_sparse_file_of_20_gib_costs_its_data() {
    let lab = Lab::new();
    let file = std::fs::File::create(lab.root.join("sparse")).unwrap();
    file.set_len(20 << 30).unwrap();
    for at in [0, 5 << 30, (20 << 30) - 4096] {
        file.write_all_at(&[7; 4096], at).unwrap();
    }
    let report = lab.snapshot(Tier::Incremental);
    let snapshot = report.snapshot.unwrap();
    assert_eq!(snapshot.counts.read_bytes, 3 * 4096);
    assert_eq!(describe::differences(&describe::of_disk(&lab.root), &lab.view(snapshot.number), Depth::All), "");
}

#[test]
fn one_changed_file_costs_a_look_at_one_file() {
    let lab = Lab::new();
    for dir in 0..50 {
        let dir = lab.root.join(format!("dir{dir}"));
        std::fs::create_dir(&dir).unwrap();
        for file in 0..60 {
            std::fs::write(dir.join(format!("file{file}")), format!("{file}")).unwrap();
        }
    }
    lab.captured();
    std::fs::write(lab.root.join("dir7/file9"), b"changed").unwrap();
    let names = BTreeSet::from([b"file9".to_vec()]);
    let plan = Plan { entries: BTreeMap::from([(b"dir7".to_vec(), names)]), ..Plan::default() };
    let report = lab.try_capture(&mut lab.writer(), &plan, Tier::Incremental, false).unwrap();
    assert!(report.seen <= 2, "the file and its directory: {}", report.seen);
    let snapshot = report.snapshot.unwrap();
    assert_eq!((snapshot.counts.changed, snapshot.counts.read_bytes), (1, 7));
    assert_eq!(describe::differences(&describe::of_disk(&lab.root), &lab.view(snapshot.number), Depth::All), "");
}

#[test]
fn nothing_new_is_no_snapshot_and_reads_nothing() {
    let lab = Lab::new();
    std::fs::write(lab.root.join("f"), vec![1; 100_000]).unwrap();
    // Until the file is no longer so new that a change could hide in the same tick of the clock.
    std::thread::sleep(std::time::Duration::from_millis(60));
    lab.captured();
    let report = lab.try_capture(&mut lab.writer(), &Plan::everything(), Tier::Incremental, false).unwrap();
    assert_eq!(report.snapshot, None);
    let full = lab.snapshot(Tier::Full).snapshot.unwrap();
    assert_eq!((full.counts.read_bytes, full.counts.changed), (100_000, 0), "a full snapshot trusts no time");
}

#[test]
fn the_page_cache_is_left_as_it_was() {
    let lab = Lab::new();
    let (cold, warm) = (lab.root.join("cold"), lab.root.join("warm"));
    let resident = |path: &std::path::Path| {
        let file = std::fs::File::open(path).unwrap();
        let out = std::process::Command::new("fincore").args(["-nbo", "RES"]).arg(path).output().ok()?;
        drop(file);
        String::from_utf8(out.stdout).unwrap().trim().parse::<u64>().ok()
    };
    for path in [&cold, &warm] {
        let file = std::fs::File::create(path).unwrap();
        file.write_all_at(&vec![3; 8 << 20], 0).unwrap();
        file.sync_all().unwrap();
    }
    let fd = rustix::fs::open(&cold, OFlags::RDONLY, Mode::empty()).unwrap();
    rustix::fs::fadvise(&fd, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    if resident(&cold) != Some(0) {
        eprintln!("not tested: the kernel does not tell or does not let go");
        return;
    }
    lab.captured();
    assert_eq!(resident(&cold), Some(0), "what was not cached");
    assert_eq!(resident(&warm), Some(8 << 20), "what was cached");
}
