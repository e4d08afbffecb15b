//! Restore, on real file systems: everything comes back, only what differs is touched, and nothing outside of the target.

#![allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]

mod common;

use bygone::progress::{Progress, Quiet, Total};
use bygone::restore::{
    act::act,
    error::RestoreError,
    mapping::Mapping,
    plan::{Newest, Plan, Request, Target},
    report::Report,
};
use bygone::view::instant::View;
use common::{place::Place, repository::TestRepo, tree::describe};
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, rustix::fs::XattrFlags::empty()).unwrap();
}

fn special(path: &Path, kind: rustix::fs::FileType, rdev: u64) {
    rustix::fs::mknodat(rustix::fs::CWD, path, kind, rustix::fs::Mode::from_raw_mode(0o640), rdev).unwrap();
}

/// A tree with something of everything.
fn fill(root: &Path, with_flags: bool) {
    fs::create_dir_all(root.join("a/b/c")).unwrap();
    fs::write(root.join("a/empty"), b"").unwrap();
    for n in 0..300 {
        fs::write(root.join(format!("a/b/small-{n}")), format!("small {n}\n").repeat(n)).unwrap();
    }
    fs::write(root.join("a/medium"), noise(3 << 20, 1)).unwrap();
    fs::write(root.join("large"), noise(40 << 20, 2)).unwrap();
    fs::write(root.join(OsStr::from_bytes(b"not \xff utf-8\n")), b"name").unwrap();
    fs::write(root.join("n".repeat(255)), b"long").unwrap();
    let sparse = File::create(root.join("sparse")).unwrap();
    sparse.set_len(20 << 30).unwrap();
    sparse.write_all_at(&noise(1 << 20, 3), 7 << 30).unwrap();
    let ends = File::create(root.join("ends-with-hole")).unwrap();
    ends.write_all_at(b"data", 0).unwrap();
    ends.set_len(8 << 20).unwrap();
    fs::hard_link(root.join("a/medium"), root.join("a/b/c/other name")).unwrap();
    fs::hard_link(root.join("a/medium"), root.join("third name")).unwrap();
    symlink("../nowhere", root.join("a/link")).unwrap();
    special(&root.join("fifo"), rustix::fs::FileType::Fifo, 0);
    special(&root.join("null"), rustix::fs::FileType::CharacterDevice, rustix::fs::makedev(1, 3));
    special(&root.join("block"), rustix::fs::FileType::BlockDevice, rustix::fs::makedev(7, 250));
    fs::write(root.join("setuid"), b"#!").unwrap();
    chown(root.join("setuid"), Some(1234), Some(4321)).unwrap();
    fs::set_permissions(root.join("setuid"), Permissions::from_mode(0o6755)).unwrap();
    fs::set_permissions(root.join("a/b"), Permissions::from_mode(0o1777)).unwrap();
    fs::set_permissions(root.join("a/b/c"), Permissions::from_mode(0o2555)).unwrap();
    xattr(&root.join("a/empty"), "user.note", b"hello \0 there");
    xattr(&root.join("a"), "user.dir", b"yes");
    xattr(&root.join("a/link"), "trusted.link", b"t");
    // user::rw- user:7:r-- group::r-- mask::r-- other::---
    let acl = [
        2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 7, 0, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255, 16, 0, 4,
        0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255,
    ];
    xattr(&root.join("a/b/small-7"), "system.posix_acl_access", &acl);
    xattr(&root.join("a/b"), "system.posix_acl_default", &acl);
    let old = SystemTime::UNIX_EPOCH - Duration::new(86_400, 123_456_789);
    File::options().write(true).open(root.join("a/b/small-9")).unwrap().set_modified(old).unwrap();
    if with_flags {
        let flags = |path: &str, flags| {
            rustix::fs::ioctl_setflags(File::open(root.join(path)).unwrap(), flags).unwrap();
        };
        flags("a/b/small-11", rustix::fs::IFlags::NODUMP);
        fs::write(root.join("immutable"), b"never").unwrap();
        fs::hard_link(root.join("immutable"), root.join("immutable too")).unwrap();
        flags("immutable", rustix::fs::IFlags::IMMUTABLE);
        fs::create_dir(root.join("append-only")).unwrap();
        fs::write(root.join("append-only/file"), b"x").unwrap();
        flags("append-only", rustix::fs::IFlags::APPEND);
    }
}

fn bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

struct How<'a> {
    guarded: Vec<PathBuf>,
    spared: &'a dyn Fn(&[u8], bool) -> bool,
    /// The view to restore, the newest being asked for what it holds; `None`: the newest, and nothing is asked.
    at: Option<View>,
}

impl Default for How<'_> {
    fn default() -> Self {
        How { guarded: Vec::new(), spared: &|_, _| false, at: None }
    }
}

fn plan(repo: &TestRepo, paths: &[&Path], target: Target, how: &How<'_>) -> Result<Plan, RestoreError> {
    let (newest, paths) = (repo.view(), paths.iter().map(|p| bytes(p)).collect::<Vec<_>>());
    let request = Request {
        view: how.at.as_ref().unwrap_or(&newest),
        paths: &paths,
        target,
        mapping: &Mapping::default(),
        guarded: &how.guarded,
        spared: how.spared,
        newest: how.at.as_ref().map(|_| Newest { view: &newest, upcoming: &|_| false }),
    };
    Plan::make(&repo.at.reader().unwrap(), &request)
}

fn restore(repo: &TestRepo, path: &Path, target: Target, how: &How<'_>) -> Report {
    let plan = plan(repo, &[path], target, how).unwrap();
    let (will, known) = (plan.will, plan.problems.len());
    let report = act(&repo.at, plan, &Quiet, &AtomicBool::new(false)).unwrap();
    if report.problems.len() == known {
        // Holes are in what is planned and not in what is written.
        let done = bygone::restore::report::Counts { bytes: will.bytes, ..report.done };
        assert_eq!(done, will, "what was done is what was planned");
    }
    report
}

fn whole(report: &Report) {
    let problems: Vec<String> =
        report.problems.iter().map(|p| format!("{}: {}", bygone::types::path::show(&p.path), p.why)).collect();
    assert_eq!(problems, [""; 0]);
    assert!(!report.stopped);
}

fn temporary_names(root: &Path) -> Vec<String> {
    describe(root).into_keys().filter(|name| name.contains("/.tmp-")).collect()
}

#[test]
fn everything_comes_back_on_every_file_system() {
    for place in Place::all() {
        eprintln!("on {}", place.kind);
        let (src, out) = (place.path().join("src"), place.path().join("out"));
        fs::create_dir(&src).unwrap();
        fill(&src, place.kind != "temporary directory");
        let repo = TestRepo::create();
        repo.capture(&src);
        let before = describe(&src);
        let to = || Target::To(out.clone());
        whole(&restore(&repo, &src, to(), &How::default()));
        assert_eq!(describe(&out.join("src")), before, "{}", place.kind);
        let again = restore(&repo, &src, to(), &How::default());
        whole(&again);
        let done = again.done;
        assert_eq!((done.created, done.replaced, done.changed, done.linked, done.bytes), (0, 0, 0, 0, 0));
        assert_eq!(done.kept, before.len() as u64);
        // All of it again, in place, with nothing but the root left.
        if place.kind == "temporary directory" {
            for entry in fs::read_dir(&src).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { fs::remove_dir_all(&path).unwrap() } else { fs::remove_file(&path).unwrap() }
            }
            whole(&restore(&repo, &src, Target::InPlace { delete: false }, &How::default()));
            assert_eq!(describe(&src), before);
        }
    }
}

#[test]
fn in_place_only_what_differs_is_touched() {
    let place = Place::temporary();
    let src = place.path().join("src");
    fs::create_dir(&src).unwrap();
    fill(&src, false);
    let repo = TestRepo::create();
    repo.capture(&src);
    let before = describe(&src);
    let ino = |name: &str| fs::symlink_metadata(src.join(name)).unwrap().ino();
    let kept: Vec<u64> = ["large", "a/b/small-1", "a/b/small-2", "fifo"].map(ino).to_vec();
    fs::write(src.join("a/b/small-4"), b"other content").unwrap();
    fs::set_permissions(src.join("a/b/small-2"), Permissions::from_mode(0o600)).unwrap();
    fs::remove_file(src.join("a/b/small-5")).unwrap();
    fs::remove_file(src.join("a/link")).unwrap();
    fs::write(src.join("a/link"), b"a file now").unwrap();
    // Another name becomes a file of its own, with the same content and times.
    fs::remove_file(src.join("third name")).unwrap();
    let copied =
        std::process::Command::new("cp").arg("-a").arg(src.join("a/medium")).arg(src.join("third name")).status();
    assert!(copied.unwrap().success());
    // Two files that had nothing to do with each other become one.
    fs::remove_file(src.join("a/b/small-6")).unwrap();
    fs::hard_link(src.join("a/b/small-8"), src.join("a/b/small-6")).unwrap();
    fs::write(src.join("a/extra"), b"stays").unwrap();
    let report = restore(&repo, &src, Target::InPlace { delete: false }, &How::default());
    whole(&report);
    // The name that comes first in the tree is kept, and the other two are linked to it.
    assert_eq!((report.done.linked, report.done.removed), (2, 0));
    assert_eq!(["large", "a/b/small-1", "a/b/small-2", "fifo"].map(ino).to_vec(), kept);
    assert_eq!(fs::read(src.join("a/extra")).unwrap(), b"stays");
    fs::remove_file(src.join("a/extra")).unwrap();
    whole(&restore(&repo, &src, Target::InPlace { delete: false }, &How::default()));
    assert_eq!(describe(&src), before);
}

#[test]
fn one_file_of_a_directory_that_is_gone() {
    let place = Place::temporary();
    let src = place.path().join("src");
    fs::create_dir(&src).unwrap();
    fill(&src, false);
    let repo = TestRepo::create();
    repo.capture(&src);
    let before = describe(&src);
    fs::remove_dir_all(&src).unwrap();
    whole(&restore(&repo, &src.join("a/b/small-3"), Target::InPlace { delete: false }, &How::default()));
    let after = describe(&src);
    assert_eq!(after.len(), 4, "the file and the directories above it");
    after.iter().for_each(|(path, about)| assert_eq!(before.get(path), Some(about), "{path}"));
}

#[test]
fn delete_removes_what_was_not_there_and_nothing_else() {
    let place = Place::temporary();
    let src = place.path().join("src");
    for dir in ["a", "mnt", "keep/here"] {
        fs::create_dir_all(src.join(dir)).unwrap();
    }
    fs::write(src.join("a/file"), b"1").unwrap();
    let repo = TestRepo::create();
    repo.capture(&src);
    let before = describe(&src);
    fs::create_dir_all(src.join("new/deep/er")).unwrap();
    fs::write(src.join("new/deep/er/x"), b"x").unwrap();
    fs::write(src.join("a/more"), b"x").unwrap();
    symlink(place.path().join("outside"), src.join("a/to-outside")).unwrap();
    fs::create_dir(place.path().join("outside")).unwrap();
    fs::write(place.path().join("outside/precious"), b"p").unwrap();
    fs::create_dir_all(src.join("repo/packs")).unwrap();
    fs::create_dir_all(src.join("cache/sub")).unwrap();
    fs::write(src.join("cache/sub/left-out"), b"c").unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(src.join("a/socket")).unwrap();
    let mounted = std::process::Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(src.join("mnt")).status();
    let mounted = mounted.is_ok_and(|s| s.success());
    fs::write(src.join("mnt/on-it"), b"m").unwrap();
    let left_out = bytes(&src.join("cache/sub/left-out"));
    let how = How { guarded: vec![src.join("repo")], spared: &|path, _| path == left_out, at: None };
    let report = restore(&repo, &src, Target::InPlace { delete: true }, &how);
    let there = |name: &str| src.join(name).symlink_metadata().is_ok();
    let on_it = there("mnt/on-it");
    if mounted {
        assert!(std::process::Command::new("umount").arg(src.join("mnt")).status().unwrap().success());
        assert!(on_it, "another file system is left alone");
    }
    whole(&report);
    for gone in ["new", "a/more", "a/to-outside"] {
        assert!(!there(gone), "{gone}");
    }
    for stays in ["repo/packs", "cache/sub/left-out", "a/socket", "a/file", "keep/here"] {
        assert!(there(stays), "{stays}");
    }
    assert_eq!(fs::read(place.path().join("outside/precious")).unwrap(), b"p");
    fs::remove_dir_all(src.join("repo")).unwrap();
    fs::remove_dir_all(src.join("cache")).unwrap();
    fs::remove_file(src.join("a/socket")).unwrap();
    restore(&repo, &src, Target::InPlace { delete: true }, &How::default());
    assert_eq!(describe(&src), before);
}

/// A snapshot that trusts all times: nothing changed just before it.
fn capture_settled(repo: &TestRepo, src: &Path) {
    std::thread::sleep(Duration::from_millis(50));
    repo.capture(src);
}

/// What no snapshot holds as it is can't be brought back: it is neither removed nor replaced, and each is named.
#[test]
fn what_no_snapshot_holds_stays() {
    let place = Place::temporary();
    let src = place.path().join("src");
    fs::create_dir_all(src.join("kept")).unwrap();
    fs::write(src.join("file"), b"1").unwrap();
    fs::write(src.join("other"), b"1").unwrap();
    let repo = TestRepo::create();
    repo.capture(&src);
    let (at, before) = (repo.view(), describe(&src));
    let how = How { at: Some(at), ..How::default() };
    fs::create_dir_all(src.join("new/held")).unwrap();
    fs::create_dir_all(src.join("new/mixed")).unwrap();
    for name in ["new/held/x", "new/mixed/x", "new/mixed/changed", "new/mixed/replaced"] {
        fs::write(src.join(name), b"captured").unwrap();
    }
    symlink("nowhere", src.join("new/mixed/link")).unwrap();
    fs::write(src.join("file"), b"two, captured").unwrap();
    fs::write(src.join("other"), b"two, captured").unwrap();
    capture_settled(&repo, &src);
    fs::write(src.join("other"), b"three, in no snapshot").unwrap();
    fs::write(src.join("new/mixed/changed"), b"not captured").unwrap();
    fs::remove_file(src.join("new/mixed/replaced")).unwrap();
    fs::write(src.join("new/mixed/replaced"), b"captured").unwrap();
    fs::write(src.join("kept/never"), b"not captured").unwrap();
    fs::create_dir(src.join("new/mixed/dir")).unwrap();
    let report = restore(&repo, &src, Target::InPlace { delete: true }, &how);
    let mut named: Vec<String> = report
        .problems
        .iter()
        .map(|p| {
            assert!(p.why.to_string().contains("no snapshot holds it as it is now"), "{}", p.why);
            String::from_utf8(p.path[bytes(&src).len() + 1..].to_vec()).unwrap()
        })
        .collect();
    named.sort();
    assert_eq!(named, ["kept/never", "new/mixed/changed", "new/mixed/dir", "new/mixed/replaced", "other"]);
    assert_eq!(fs::read(src.join("file")).unwrap(), b"1");
    assert_eq!(fs::read(src.join("other")).unwrap(), b"three, in no snapshot");
    assert_eq!(fs::read(src.join("new/mixed/changed")).unwrap(), b"not captured");
    for gone in ["new/held", "new/mixed/x", "new/mixed/link"] {
        assert!(src.join(gone).symlink_metadata().is_err(), "{gone}");
    }
    // Once they are captured, all goes.
    capture_settled(&repo, &src);
    whole(&restore(&repo, &src, Target::InPlace { delete: true }, &how));
    assert_eq!(describe(&src), before);
}

/// What changed after the plan was made is neither removed nor replaced.
#[test]
fn what_changes_between_plan_and_act_stays() {
    let place = Place::temporary();
    let src = place.path().join("src");
    fs::create_dir_all(&src).unwrap();
    fs::write(src.join("file"), b"1").unwrap();
    fs::write(src.join("other"), b"1").unwrap();
    fs::write(src.join("gone"), b"1").unwrap();
    let repo = TestRepo::create();
    repo.capture(&src);
    let how = How { at: Some(repo.view()), ..How::default() };
    fs::write(src.join("new"), b"captured").unwrap();
    fs::write(src.join("file"), b"two, captured").unwrap();
    fs::write(src.join("other"), b"two, captured").unwrap();
    fs::remove_file(src.join("gone")).unwrap();
    capture_settled(&repo, &src);
    let plan = plan(&repo, &[&src], Target::InPlace { delete: true }, &how).unwrap();
    assert_eq!((plan.remove.len(), plan.files.len(), plan.problems.len()), (1, 3, 0));
    for name in ["new", "file", "gone"] {
        fs::write(src.join(name), b"written after the plan was made").unwrap();
    }
    let report = act(&repo.at, plan, &Quiet, &AtomicBool::new(false)).unwrap();
    assert_eq!(report.problems.len(), 3);
    for problem in &report.problems {
        assert!(problem.why.to_string().contains("changed meanwhile"), "{}", problem.why);
    }
    for name in ["new", "file", "gone"] {
        assert_eq!(fs::read(src.join(name)).unwrap(), b"written after the plan was made", "{name}");
    }
    assert_eq!(fs::read(src.join("other")).unwrap(), b"1");
    assert_eq!(temporary_names(&src), [""; 0]);
}

#[test]
fn links_in_the_target_are_never_followed() {
    let place = Place::temporary();
    let (src, outside) = (place.path().join("src"), place.path().join("outside"));
    fs::create_dir_all(src.join("dir/sub")).unwrap();
    fs::write(src.join("dir/sub/file"), b"restored").unwrap();
    fs::write(src.join("dir/name"), b"restored").unwrap();
    let repo = TestRepo::create();
    repo.capture(&src);
    let before = describe(&src);
    fs::create_dir_all(outside.join("sub")).unwrap();
    fs::write(outside.join("name"), b"outside").unwrap();
    fs::write(outside.join("sub/file"), b"outside").unwrap();
    let untouched = describe(&outside);
    fs::remove_dir_all(src.join("dir")).unwrap();
    symlink(&outside, src.join("dir")).unwrap();
    whole(&restore(&repo, &src, Target::InPlace { delete: true }, &How::default()));
    assert_eq!((describe(&src), describe(&outside)), (before.clone(), untouched.clone()));
    // A link in the place of a file, and one on the way to what is restored.
    fs::remove_file(src.join("dir/name")).unwrap();
    symlink(outside.join("name"), src.join("dir/name")).unwrap();
    whole(&restore(&repo, &src, Target::InPlace { delete: false }, &How::default()));
    assert_eq!((describe(&src), describe(&outside)), (before, untouched.clone()));
    fs::remove_dir_all(src.join("dir")).unwrap();
    symlink(&outside, src.join("dir")).unwrap();
    let refused = plan(&repo, &[&src.join("dir/name")], Target::InPlace { delete: false }, &How::default());
    assert!(matches!(refused, Err(RestoreError::OnTheWay { .. })), "{refused:?}");
    assert_eq!(describe(&outside), untouched);
}

#[test]
fn a_link_that_appears_between_plan_and_act_is_not_followed() {
    let place = Place::temporary();
    let (src, outside) = (place.path().join("src"), place.path().join("outside"));
    fs::create_dir_all(src.join("dir")).unwrap();
    fs::write(src.join("dir/file"), b"restored").unwrap();
    let repo = TestRepo::create();
    repo.capture(&src);
    fs::remove_file(src.join("dir/file")).unwrap();
    fs::create_dir(&outside).unwrap();
    let plan = plan(&repo, &[&src], Target::InPlace { delete: false }, &How::default()).unwrap();
    fs::remove_dir(src.join("dir")).unwrap();
    symlink(&outside, src.join("dir")).unwrap();
    let report = act(&repo.at, plan, &Quiet, &AtomicBool::new(false)).unwrap();
    assert!(!report.problems.is_empty());
    assert_eq!(describe(&outside).len(), 1, "nothing was written outside");
}

#[test]
fn devices_and_filled_directories_are_not_replaced() {
    let place = Place::temporary();
    let src = place.path().join("src");
    fs::create_dir_all(&src).unwrap();
    fs::write(src.join("null"), b"a file").unwrap();
    fs::write(src.join("name"), b"a file").unwrap();
    let repo = TestRepo::create();
    repo.capture(&src);
    fs::remove_file(src.join("null")).unwrap();
    special(&src.join("null"), rustix::fs::FileType::CharacterDevice, rustix::fs::makedev(1, 3));
    fs::remove_file(src.join("name")).unwrap();
    fs::create_dir(src.join("name")).unwrap();
    fs::write(src.join("name/in-it"), b"x").unwrap();
    let report = restore(&repo, &src, Target::InPlace { delete: false }, &How::default());
    let why: Vec<String> = report.problems.iter().map(|p| p.why.to_string()).collect();
    assert_eq!(why.len(), 2, "{why:?}");
    assert!(why.iter().any(|w| w.contains("a device stands there")), "{why:?}");
    assert!(why.iter().any(|w| w.contains("--delete")), "{why:?}");
    assert!(src.join("name/in-it").exists());
    let report = restore(&repo, &src, Target::InPlace { delete: true }, &How::default());
    assert_eq!(report.problems.len(), 1);
    assert_eq!(fs::read(src.join("name")).unwrap(), b"a file");
    assert_eq!(src.join("null").symlink_metadata().unwrap().rdev(), rustix::fs::makedev(1, 3));
}

/// Stops after some files.
struct StopAfter(AtomicU64, AtomicBool);

impl Progress for StopAfter {
    fn start(&self, _: &str, _: Option<Total>) {}
    fn expect(&self, _: Total) {}
    fn add(&self, files: u64, _: u64) {
        if self.0.fetch_add(files, Ordering::Relaxed) > 100 {
            self.1.store(true, Ordering::Relaxed);
        }
    }
    fn note(&self, _: &str) {}
    fn finish(&self) {}
}

#[test]
fn an_interrupted_restore_leaves_nothing_half_done_and_goes_on() {
    let place = Place::temporary();
    let (src, out) = (place.path().join("src"), place.path().join("out"));
    fs::create_dir(&src).unwrap();
    fill(&src, false);
    let repo = TestRepo::create();
    repo.capture(&src);
    let before = describe(&src);
    let stop = StopAfter(AtomicU64::new(0), AtomicBool::new(false));
    let made = plan(&repo, &[&src], Target::To(out.clone()), &How::default()).unwrap();
    let report = act(&repo.at, made, &stop, &stop.1).unwrap();
    assert!(report.stopped);
    let mut missing = 0;
    for path in before.keys() {
        match fs::symlink_metadata(out.join("src").join(path)) {
            Ok(there) if there.is_file() && there.len() < 1 << 30 => {
                assert_eq!(fs::read(out.join("src").join(path)).unwrap(), fs::read(src.join(path)).unwrap(), "{path}");
            }
            Ok(_) => {}
            Err(_) => missing += 1,
        }
    }
    assert!(missing > 10, "it was stopped in the middle");
    assert_eq!(temporary_names(&out), [""; 0]);
    whole(&restore(&repo, &src, Target::To(out.clone()), &How::default()));
    assert_eq!(describe(&out.join("src")), before);
}

#[test]
fn too_little_room_is_told_before_anything_is_written() {
    let Some(place) = Place::mount_sized("ext4", 40) else { return };
    let dir = Place::temporary();
    let src = dir.path().join("src");
    fs::create_dir(&src).unwrap();
    fs::write(src.join("large"), noise(60 << 20, 5)).unwrap();
    let repo = TestRepo::create();
    File::open(src.join("large")).unwrap().sync_all().unwrap();
    repo.capture(&src);
    let made = plan(&repo, &[&src], Target::To(place.path().join("out")), &How::default()).unwrap();
    let refused = act(&repo.at, made, &Quiet, &AtomicBool::new(false)).unwrap_err();
    assert!(
        matches!(refused, RestoreError::NoRoom { .. }) && refused.to_string().contains("bytes are needed"),
        "{refused}"
    );
    assert!(!place.path().join("out").exists());
}

#[test]
fn paths_that_would_collide_are_refused_and_a_missing_one_is_named() {
    let place = Place::temporary();
    let src = place.path().join("src");
    fs::create_dir_all(src.join("a/same")).unwrap();
    fs::create_dir_all(src.join("b/same")).unwrap();
    let repo = TestRepo::create();
    repo.capture(&src);
    let to = || Target::To(place.path().join("out"));
    let (a, b) = (src.join("a/same"), src.join("b/same"));
    let refused = plan(&repo, &[&a, &b], to(), &How::default()).unwrap_err();
    assert!(matches!(refused, RestoreError::Collide { .. }), "{refused}");
    assert!(matches!(plan(&repo, &[&a, Path::new("/")], to(), &How::default()), Err(RestoreError::Collide { .. })));
    let missing = plan(&repo, &[&src.join("none")], to(), &How::default()).unwrap_err();
    assert!(missing.to_string().contains("src/none was not there"), "{missing}");
    // The whole view: everything at its path below the directory.
    whole(&restore(&repo, Path::new("/"), to(), &How::default()));
    assert!(place.path().join("out").join(a.strip_prefix("/").unwrap()).is_dir());
}

/// As another user, by the program itself: owners can't be set, so set-user-id is left out, and both are told.
#[test]
fn another_user_gets_what_he_may_have() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not tested: only root can become another user");
        return;
    }
    let place = Place::temporary();
    let dir = place.path();
    fs::set_permissions(dir, Permissions::from_mode(0o755)).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_bygone"), dir.join("bygone")).unwrap();
    fs::create_dir(dir.join("src")).unwrap();
    fs::write(dir.join("src/tool"), b"#!").unwrap();
    fs::set_permissions(dir.join("src/tool"), Permissions::from_mode(0o4755)).unwrap();
    fs::write(dir.join("src/plain"), b"plain").unwrap();
    fs::write(
        dir.join("bygone.toml"),
        "repository = \"repo\"\nstate = \"state\"\n"
            .replace("\"repo\"", &format!("\"{}\"", dir.join("repo").display()))
            .replace("\"state\"", &format!("\"{}\"", dir.join("state").display())),
    )
    .unwrap();
    let bygone = |args: &[&str]| {
        let mut all = vec!["--config".to_owned(), dir.join("bygone.toml").display().to_string()];
        all.extend(args.iter().map(|a| (*a).to_owned()));
        all
    };
    let (src, out, key) = (dir.join("src"), dir.join("out"), dir.join("key"));
    let (src, out, key) = (src.to_str().unwrap(), out.to_str().unwrap(), key.to_str().unwrap());
    for args in [vec!["init", "--key-file", key], vec!["source", "add", src], vec!["snapshot"]] {
        let done =
            std::process::Command::new(dir.join("bygone")).args(bygone(&args)).env("HOME", dir).output().unwrap();
        assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
    for entry in ["repo", "state", "key", "bygone.toml"] {
        assert!(
            std::process::Command::new("chown")
                .args(["-R", "1234:1234"])
                .arg(dir.join(entry))
                .status()
                .unwrap()
                .success()
        );
    }
    fs::create_dir(out).unwrap();
    chown(out, Some(1234), Some(1234)).unwrap();
    let restore = |more: &[&str]| {
        std::process::Command::new("setpriv")
            .args(["--reuid=1234", "--regid=1234", "--clear-groups"])
            .arg(dir.join("bygone"))
            .args(bygone(&[&["restore", src, "--at", "latest", "--to", out], more].concat()))
            .env("HOME", dir)
            .output()
            .unwrap()
    };
    let refused = restore(&[]);
    let told = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(told.contains("this user may not make other owners") && told.contains("--anyway"), "{told}");
    assert_eq!(fs::read_dir(out).unwrap().count(), 0);
    let done = restore(&["--anyway"]);
    let told = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(3), "{told}");
    assert!(told.contains("set-user-id") && told.contains("owner could not be set"), "{told}");
    let tool = fs::metadata(dir.join("out/src/tool")).unwrap();
    assert_eq!((tool.mode() & 0o7777, tool.uid()), (0o755, 1234));
    assert_eq!(fs::read(dir.join("out/src/plain")).unwrap(), b"plain");
    // Where he may not write at all, nothing is tried.
    let done = std::process::Command::new("setpriv")
        .args(["--reuid=1234", "--regid=1234", "--clear-groups"])
        .arg(dir.join("bygone"))
        .args(bygone(&["restore", src, "--at", "latest", "--to", dir.join("closed").to_str().unwrap()]))
        .env("HOME", dir)
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(1), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(!dir.join("closed").exists());
}
