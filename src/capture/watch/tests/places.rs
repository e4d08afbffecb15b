//! File systems mounted below the root, and roots on special ones. These need root, as fanotify does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};

use super::follower::{Follower, options, places};
use crate::capture::watch::hint::{Hint, Why};
use crate::capture::watch::watcher::{Prefer, start};

/// Unmounts when it goes.
struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(at: PathBuf) -> Mounted {
        mount("tmpfs", &at, "tmpfs", MountFlags::empty(), None).unwrap();
        Mounted(at)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

fn subtree<'a>(at: &'a str, wanted: Why) -> impl Fn(&Hint) -> bool + 'a {
    move |hint| matches!(hint, Hint::Subtree { dir, why, .. } if dir == at.as_bytes() && *why == wanted)
}

#[test]
fn a_file_system_mounted_below_is_watched_until_it_is_unmounted() {
    for (prefer, base) in places() {
        let mut f = Follower::with(options(prefer), base, |root| fs::create_dir_all(root.join("a/m")).unwrap());
        for round in 0..2 {
            let at = Mounted::tmpfs(f.at("a/m"));
            f.wait_for("mounted", subtree("a/m", Why::Mounted));
            fs::create_dir(f.at("a/m/sub")).unwrap();
            fs::File::create(f.at("a/m/sub/f")).unwrap();
            f.settle();
            // The marker is on the other file system, whose order against this one's is not fixed.
            f.assert_true(&format!("{prefer:?} on {base}, mounted, round {round}"));
            assert!(f.told("a/m/sub"));
            drop(at);
            f.wait_for("unmounted", subtree("a/m", Why::Unmounted));
            fs::File::create(f.at(&format!("a/m/beneath{round}"))).unwrap();
            f.settle();
            f.assert_true(&format!("{prefer:?} on {base}, unmounted, round {round}"));
            f.hints.clear();
        }
    }
}

#[test]
fn one_mounted_before_the_start_is_watched() {
    for (prefer, base) in places() {
        let mut at = None;
        let mut f = Follower::with(options(prefer), base, |root| {
            fs::create_dir(root.join("m")).unwrap();
            at = Some(Mounted::tmpfs(root.join("m")));
            fs::create_dir(root.join("m/d")).unwrap();
        });
        fs::File::create(f.at("m/d/f")).unwrap();
        f.wait_for("a file in it", |h| matches!(h, Hint::Entry { dir, name } if dir == b"m/d" && name == b"f"));
        drop(at);
    }
}

#[test]
fn a_bind_mount_from_outside_is_told_by_its_path_in_the_root() {
    let (mut at, mut other) = (None, None);
    let mut f = Follower::with(options(Prefer::Fanotify), "/tmp", |root| {
        let outside = root.parent().unwrap().join("outside");
        fs::create_dir_all(outside.join("d")).unwrap();
        fs::create_dir(root.join("bound")).unwrap();
        mount_bind(&outside, root.join("bound")).unwrap();
        at = Some(Mounted(root.join("bound")));
        other = Some(outside);
    });
    fs::File::create(other.unwrap().join("d/f")).unwrap();
    f.wait_for("by its path", |h| matches!(h, Hint::Entry { dir, name } if dir == b"bound/d" && name == b"f"));
    drop(at);
}

#[test]
fn a_watched_file_system_can_be_unmounted() {
    for prefer in [Prefer::Fanotify, Prefer::Inotify] {
        let mut f = Follower::with(options(prefer), "/tmp", |root| fs::create_dir(root.join("m")).unwrap());
        let at = Mounted::tmpfs(f.at("m"));
        f.wait_for("mounted", subtree("m", Why::Mounted));
        fs::File::create(f.at("m/f")).unwrap();
        f.settle();
        unmount(&at.0, UnmountFlags::empty()).unwrap();
        f.wait_for("unmounted", subtree("m", Why::Unmounted));
    }
}

#[test]
fn an_unmounted_root_is_gone() {
    for prefer in [Prefer::Fanotify, Prefer::Inotify] {
        let mut at = None;
        let mut f = Follower::with(options(prefer), "/tmp", |root| {
            at = Some(Mounted::tmpfs(root.to_owned()));
            fs::create_dir(root.join("d")).unwrap();
        });
        drop(at.take());
        f.wait_for("gone", |h| *h == Hint::RootGone);
        f.wait_for("another", |h| *h == Hint::RootBack { same: false });
        // Only then is it watched.
        f.wait_for("scan", |h| matches!(h, Hint::Subtree { why: Why::RootReturned, .. }));
        fs::File::create(f.at("beneath")).unwrap();
        f.settle();
        f.assert_true("beneath");
    }
}

#[test]
fn where_fanotify_cannot_inotify_does_and_says_why() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    for name in ["lower", "upper", "work", "root"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let data = format!("lowerdir={},upperdir={},workdir={}", path("lower"), path("upper"), path("work"));
    let done = Command::new("mount").args(["-t", "overlay", "overlay", "-o", &data, &path("root")]).status().unwrap();
    assert!(done.success());
    let at = Mounted(dir.path().join("root"));
    let (tx, rx) = crossbeam_channel::unbounded();
    let watcher = start(&at.0, &options(Prefer::Auto), tx).unwrap();
    assert_eq!(watcher.kind(), "inotify");
    let status = watcher.status();
    assert!(status.notes.iter().any(|n| n.contains("fanotify is not possible")), "{status:?}");
    fs::File::create(at.0.join("f")).unwrap();
    assert_eq!(rx.recv(), Ok(Hint::Entry { dir: vec![], name: b"f".into() }));
}

#[test]
fn a_file_system_below_that_cannot_be_marked_is_named() {
    let mut at = None;
    let f = Follower::with(options(Prefer::Fanotify), "/tmp", |root| {
        let side = root.parent().unwrap();
        for name in ["root/o", "lower"] {
            fs::create_dir(side.join(name)).unwrap();
        }
        let data = format!("lowerdir={}:{}", side.join("lower").display(), Path::new("/usr/share/doc").display());
        let mut command = Command::new("mount");
        let done = command.args(["-t", "overlay", "overlay", "-o", &data]).arg(root.join("o")).status().unwrap();
        assert!(done.success());
        at = Some(Mounted(root.join("o")));
    });
    let unwatched = f.watcher.as_ref().unwrap().status().unwatched;
    assert_eq!(unwatched.len(), 1, "{unwatched:?}");
    assert_eq!(unwatched[0].dir, b"o");
    assert!(unwatched[0].why.contains("overlay"), "{unwatched:?}");
    drop(at);
}
