//! Files and directories that change while they are captured, can't be read, or go away.

use crate::{
    describe::{self, Depth},
    lab::Lab,
    program::Program,
};
use bygone::capture::{engine::Plan, report::CaptureError};
use bygone::types::{op::Gap, snapshot::Tier, time::Instant};
use std::{
    os::unix::fs::{FileExt as _, PermissionsExt as _},
    os::unix::process::CommandExt as _,
    sync::atomic::{AtomicBool, Ordering},
};

/// Does something again and again while `f` runs.
fn meanwhile<T>(again: impl Fn(u64) + Sync, f: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                again(n);
                n += 1;
            }
        });
        let out = f();
        stop.store(true, Ordering::Relaxed);
        out
    })
}

#[test]
fn a_file_that_never_holds_still_is_fuzzy_until_it_does() {
    let lab = Lab::new();
    let path = lab.root.join("f");
    std::fs::write(&path, vec![0; 24 << 20]).unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    for change in [
        (|file, n| std::fs::File::write_all_at(file, &[n as u8; 100], n % (24 << 20)).unwrap())
            as fn(&std::fs::File, u64),
        |file, n| file.set_len((24 << 20) + n % 5000 * 1000).unwrap(),
    ] {
        let report = meanwhile(|n| change(&file, n), || lab.snapshot(Tier::Incremental));
        assert_eq!((report.fuzzy.as_slice(), report.problems.len()), (&[b"f".to_vec()][..], 0));
        assert_eq!(report.snapshot.unwrap().counts.fuzzy, 1);
        assert_eq!(describe::differences(&describe::of_disk(&lab.root), &lab.captured(), Depth::All), "");
    }
}

#[test]
fn names_that_come_and_go_are_no_problem() {
    let lab = Lab::new();
    std::fs::create_dir(lab.root.join("d")).unwrap();
    let churn = |n: u64| {
        let (a, b) = (lab.root.join(format!("d/a{}", n % 50)), lab.root.join(format!("d/b{}", n % 50)));
        std::fs::write(&a, vec![n as u8; 3000]).unwrap();
        std::fs::rename(&a, &b).unwrap();
        if n.is_multiple_of(3) {
            std::fs::remove_file(&b).unwrap();
        }
    };
    meanwhile(churn, || {
        for _ in 0..30 {
            let report = lab.snapshot(Tier::Incremental);
            assert!(report.problems.is_empty(), "{:?}", report.problems);
        }
    });
    assert_eq!(describe::differences(&describe::of_disk(&lab.root), &lab.captured(), Depth::All), "");
    let rebuilt = lab.rebuilt();
    let (a, b) = (lab.at.reader().unwrap(), rebuilt.reader().unwrap());
    for n in 1..=lab.head().0 {
        let rows = |index| describe::rows(index, lab.num(), bygone::types::ids::Snap(n));
        assert_eq!(rows(&a), rows(&b));
    }
}

#[test]
fn a_file_that_may_not_be_read_is_named_and_the_rest_goes_on() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = Program::in_dir(dir.path());
    program.init();
    std::fs::write(program.root.join("mine"), b"readable").unwrap();
    std::fs::write(program.root.join("secret"), b"not readable").unwrap();
    for path in [&program.home, &program.repo, &program.root] {
        let all = std::process::Command::new("chown").args(["-R", "65534:65534"]).arg(path).status().unwrap();
        assert!(all.success());
    }
    std::os::unix::fs::chown(program.root.join("secret"), Some(0), Some(0)).unwrap();
    std::fs::set_permissions(program.root.join("secret"), std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::create_dir_all(&program.state).unwrap();
    std::os::unix::fs::chown(&program.state, Some(65534), Some(65534)).unwrap();
    // Another user may not reach where the program was built.
    let copy = dir.path().join("bygone");
    std::fs::copy(env!("CARGO_BIN_EXE_bygone"), &copy).unwrap();
    let snapshot = || {
        let mut command = std::process::Command::new(&copy);
        command.arg("--config").arg(program.home.join("bygone.toml")).args(["--json", "snapshot"]);
        command.env_clear().env("HOME", &program.home).current_dir("/").uid(65534).gid(65534);
        command.output().unwrap()
    };
    let out = snapshot();
    let (told, json) = (String::from_utf8_lossy(&out.stderr), String::from_utf8_lossy(&out.stdout));
    assert_eq!(out.status.code(), Some(3), "{told}");
    assert!(told.contains("root/secret") && told.contains("ermission denied"), "{told}");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["unreadable"][0]["path"], &json["snapshot"]["new"]), (&"secret".into(), &2.into()), "{json}");
    std::os::unix::fs::chown(program.root.join("secret"), Some(65534), None).unwrap();
    assert_eq!(snapshot().status.code(), Some(0));
}

#[test]
fn a_root_that_is_gone_or_empty_ends_nothing() {
    let lab = Lab::new();
    std::fs::write(lab.root.join("f"), b"x").unwrap();
    let before = lab.captured();
    let aside = lab.root.with_file_name("aside");
    std::fs::rename(&lab.root, &aside).unwrap();
    let capture = || lab.try_capture(&mut lab.writer(), &Plan::everything(), Tier::Incremental, true);
    assert!(matches!(capture(), Err(CaptureError::Root { .. })));
    std::fs::create_dir(&lab.root).unwrap();
    let refused = capture().unwrap_err();
    assert!(matches!(refused, CaptureError::Emptied { .. }), "{refused}");
    assert_eq!(lab.view(lab.head()), before);
    std::fs::remove_dir(&lab.root).unwrap();
    std::fs::rename(&aside, &lab.root).unwrap();
    assert_eq!(lab.captured()[&b"f"[..]], before[&b"f"[..]], "the same node as before");
    // The same directory may become empty.
    std::fs::remove_file(lab.root.join("f")).unwrap();
    assert_eq!(lab.captured().len(), 1);
}

#[test]
fn a_gap_is_a_record_of_its_own() {
    let lab = Lab::new();
    std::fs::create_dir(lab.root.join("d")).unwrap();
    lab.captured();
    let gap = Gap { subtree: b"d".to_vec(), from: Instant(5), to: Instant(9), why: "the queue overflowed".into() };
    let plan = Plan { gaps: vec![gap.clone()], ..Plan::default() };
    let report = lab.try_capture(&mut lab.writer(), &plan, Tier::Incremental, false).unwrap();
    assert!(report.snapshot.is_some());
    for at in [&lab.at, &lab.rebuilt()] {
        assert_eq!(at.reader().unwrap().gaps(lab.num(), Instant(0), Instant(100)).unwrap(), std::slice::from_ref(&gap));
    }
    let soft = Gap { why: "not watched".into(), ..gap };
    let plan = Plan { soft_gaps: vec![soft], ..Plan::default() };
    let report = lab.try_capture(&mut lab.writer(), &plan, Tier::Incremental, false).unwrap();
    assert_eq!(report.snapshot, None, "nothing has changed");
}

#[test]
fn a_change_through_a_name_that_goes_away_shows_at_the_others() {
    let lab = Lab::new();
    for dir in ["d", "e", "gone"] {
        std::fs::create_dir(lab.root.join(dir)).unwrap();
    }
    std::fs::write(lab.root.join("d/a"), "old").unwrap();
    for other in ["e/b", "gone/c"] {
        std::fs::hard_link(lab.root.join("d/a"), lab.root.join(other)).unwrap();
    }
    lab.captured();
    let told = |dir: &str, name: &str| {
        let names = std::collections::BTreeSet::from([name.as_bytes().to_vec()]);
        Plan { entries: [(dir.as_bytes().to_vec(), names)].into(), ..Plan::default() }
    };
    for (dir, name, content) in [("e", "b", "new"), ("gone", "c", "newer still")] {
        std::fs::write(lab.root.join(dir).join(name), content).unwrap();
        std::fs::remove_file(lab.root.join(dir).join(name)).unwrap();
        if dir == "gone" {
            std::fs::remove_dir(lab.root.join(dir)).unwrap();
        }
        lab.try_capture(&mut lab.writer(), &told(dir, name), Tier::Incremental, false).unwrap();
        let expected = describe::of_disk(&lab.root);
        let shown = lab.view(lab.head());
        assert_eq!(shown[&b"d/a"[..]].content, expected[&b"d/a"[..]].content, "{content}");
    }
}
