//! Limits, exclusions, and what cannot be watched.

use std::fs;
use std::process::Command;

use super::follower::{Follower, options, places};
use crate::capture::watch::hint::{Hint, Why};
use crate::capture::watch::watcher::{Prefer, WatchError, start};

#[test]
fn without_watches_left_the_rest_is_named_and_counted() {
    let mut o = options(Prefer::Inotify);
    o.max_watches = Some(10);
    let mut f = Follower::with(o, "/tmp", |root| {
        for i in 0..5 {
            fs::create_dir_all(root.join(format!("{i}/a/b/c"))).unwrap();
        }
    });
    let status = f.watcher.as_ref().unwrap().status();
    assert_eq!(status.watched, 10);
    assert!(!status.unwatched.is_empty());
    assert!(status.notes.iter().any(|n| n.contains("21 are needed")), "{:?}", status.notes);
    fs::create_dir(f.at("new")).unwrap();
    f.wait_for("appeared", |h| matches!(h, Hint::Subtree { dir, why: Why::Appeared, .. } if dir == b"new"));
    f.wait_for("tick", |_| true);
    let named = |f: &Follower| f.watcher.as_ref().unwrap().status().unwatched.iter().any(|u| u.dir == b"new");
    while !named(&f) {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn what_is_skipped_or_excluded_is_not_told() {
    for (prefer, base) in places() {
        let mut o = options(prefer);
        o.skip = vec!["repo".into()];
        o.exclude = std::sync::Arc::new(|path, is_dir| is_dir && path == b"a/cache");
        let mut f = Follower::with(o, base, |root| {
            fs::create_dir_all(root.join("repo/packs")).unwrap();
            fs::create_dir_all(root.join("a/cache/x")).unwrap();
        });
        for path in ["repo/packs/f", "repo/g", "a/cache/f", "a/cache/x/f", "a/seen"] {
            fs::File::create(f.at(path)).unwrap();
        }
        fs::create_dir(f.at("a/cache/new")).unwrap();
        f.settle();
        assert!(f.told("a/seen"));
        assert!(!f.told("repo") && !f.told("a/cache"), "{prefer:?}: {:?}", f.hints);
    }
}

#[test]
fn our_own_changes_are_not_told_if_so_asked() {
    let mut o = options(Prefer::Fanotify);
    o.ignore_pid = Some(std::process::id());
    let mut f = Follower::with(o, "/tmp", |_| {});
    fs::File::create(f.at("own")).unwrap();
    let done = Command::new("touch").arg(f.at("other")).status().unwrap();
    assert!(done.success());
    f.wait_for("other", |h| matches!(h, Hint::Entry { name, .. } if name == b"other"));
    assert!(!f.told("own"));
}

#[test]
fn a_file_written_through_a_mapping_is_told_when_it_is_closed() {
    for (prefer, base) in places() {
        let mut f = Follower::with(options(prefer), base, |root| {
            fs::File::create(root.join("f")).unwrap().set_len(4096).unwrap();
        });
        let code =
            "import mmap,sys;f=open(sys.argv[1],'r+b');m=mmap.mmap(f.fileno(),0);m[0:3]=b'abc';m.close();f.close()";
        let Ok(done) = Command::new("python3").args(["-c", code]).arg(f.at("f")).status() else { return };
        assert!(done.success());
        f.settle();
        assert!(f.told("f"), "{prefer:?} on {base}");
    }
}

#[test]
fn a_path_longer_than_a_page_is_told_by_the_directory_above() {
    let mut f = Follower::new(Prefer::Fanotify, "/tmp");
    let script =
        "cd \"$0\"; n=$(printf 'd%.0s' $(seq 200)); for i in $(seq 25); do mkdir $n && cd $n || exit 1; done; touch f";
    let done = Command::new("bash").args(["-c", script]).arg(f.root()).status().unwrap();
    assert!(done.success());
    f.wait_for("too deep", |h| matches!(h, Hint::Subtree { dir, why: Why::TooDeep, .. } if dir.len() > 3000));
}

#[test]
fn a_root_that_cannot_be_watched_is_an_error() {
    let (tx, _rx) = crossbeam_channel::unbounded();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::File::create(&file).unwrap();
    let error = |path: &std::path::Path, prefer| start(path, &options(prefer), tx.clone()).err().unwrap();
    assert!(matches!(error(&file, Prefer::Auto), WatchError::NotADirectory { .. }));
    let missing = error(&dir.path().join("missing"), Prefer::Auto);
    assert!(missing.to_string().contains("missing"), "{missing}");
    let proc = error(std::path::Path::new("/proc/self/net"), Prefer::Fanotify);
    assert!(matches!(proc, WatchError::Fanotify { .. }), "{proc}");
}

#[test]
fn a_watcher_ends_when_it_is_dropped_or_nobody_listens() {
    for (prefer, base) in places() {
        let mut f = Follower::new(prefer, base);
        assert_eq!(f.watcher.as_ref().unwrap().kind(), format!("{prefer:?}").to_lowercase());
        drop(f.watcher.take());
        fs::File::create(f.at("after")).unwrap();
        f.follow();
        assert!(!f.told("after"));
    }
}
