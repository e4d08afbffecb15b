//! Renames, and a root that moves.

use std::fs;

use super::follower::{Follower, options, places};
use crate::capture::watch::hint::{Hint, Why};
use crate::capture::watch::watcher::Prefer;

fn prepared(prefer: Prefer, base: &str) -> Follower {
    Follower::with(options(prefer), base, |root| {
        fs::create_dir_all(root.join("a/b/c")).unwrap();
        fs::File::create(root.join("a/b/c/f")).unwrap();
    })
}

#[test]
fn a_directory_renamed_is_followed() {
    for (prefer, base) in places() {
        let mut f = prepared(prefer, base);
        fs::rename(f.at("a/b"), f.at("x")).unwrap();
        f.settle();
        let moved = Hint::Moved { from: b"a/b".into(), to: b"x".into() };
        let scanned = Hint::Subtree { dir: b"x".into(), why: Why::RenamedIn, blind_since: None };
        let fan = prefer == Prefer::Fanotify;
        assert_eq!((f.hints.contains(&moved), f.hints.contains(&scanned)), (fan, !fan), "{:?}", f.hints);
        f.hints.clear();
        fs::File::create(f.at("x/c/new")).unwrap();
        f.settle();
        assert!(f.told("x/c/new") && !f.told("a"), "{prefer:?}: {:?}", f.hints);
        f.assert_true(&format!("{prefer:?} on {base}"));
    }
}

#[test]
fn a_directory_renamed_in_is_scanned_and_one_renamed_out_is_left_alone() {
    for (prefer, base) in places() {
        let mut f = prepared(prefer, base);
        let outside = f.dir.path().join("outside");
        fs::rename(f.at("a/b"), &outside).unwrap();
        f.settle();
        assert!(f.told("a/b"));
        f.hints.clear();
        fs::File::create(outside.join("c/unseen")).unwrap();
        f.settle();
        assert!(!f.told("a") && !f.told("c"), "{:?}", f.hints);
        f.assert_true(&format!("{prefer:?} on {base}: out"));
        fs::rename(&outside, f.at("a/in")).unwrap();
        f.wait_for("renamed in", |h| {
            *h == Hint::Subtree { dir: b"a/in".into(), why: Why::RenamedIn, blind_since: None }
        });
        fs::File::create(f.at("a/in/c/seen")).unwrap();
        f.settle();
        assert!(f.told("a/in/c/seen") || prefer == Prefer::Inotify);
        f.assert_true(&format!("{prefer:?} on {base}: in"));
    }
}

#[test]
fn a_directory_renamed_out_of_an_excluded_one_is_scanned() {
    for (prefer, base) in places() {
        let mut o = options(prefer);
        o.exclude = std::sync::Arc::new(|path, _| path == b"cache");
        let mut f = Follower::with(o, base, |root| fs::create_dir_all(root.join("cache/d/e")).unwrap());
        fs::rename(f.at("cache/d"), f.at("d")).unwrap();
        f.wait_for("renamed in", |h| *h == Hint::Subtree { dir: b"d".into(), why: Why::RenamedIn, blind_since: None });
    }
}

#[test]
fn attributes_are_told_even_of_the_root() {
    use std::os::unix::fs::PermissionsExt;
    for (prefer, base) in places() {
        let mut f = prepared(prefer, base);
        for path in ["", "a/b", "a/b/c/f"] {
            fs::set_permissions(f.at(path), fs::Permissions::from_mode(0o711)).unwrap();
        }
        f.settle();
        f.assert_true(&format!("{prefer:?} on {base}"));
        assert!(f.hints.contains(&Hint::Entry { dir: vec![], name: vec![] }), "{:?}", f.hints);
    }
}

#[test]
fn a_root_moved_away_and_back_is_told() {
    for (prefer, base) in places() {
        let mut f = prepared(prefer, base);
        let away = f.dir.path().join("away");
        fs::rename(f.root(), &away).unwrap();
        f.wait_for("gone", |h| *h == Hint::RootGone);
        assert!(f.watcher.as_ref().unwrap().status().root_gone);
        fs::File::create(away.join("a/unseen")).unwrap();
        fs::rename(&away, f.root()).unwrap();
        f.wait_for("back", |h| *h == Hint::RootBack { same: true });
        f.wait_for(
            "scan",
            |h| matches!(h, Hint::Subtree { dir, why: Why::RootReturned, blind_since: Some(_) } if dir.is_empty()),
        );
        fs::File::create(f.at("a/seen")).unwrap();
        f.settle();
        f.assert_true(&format!("{prefer:?} on {base}"));
        assert!(f.told("a/seen") && !f.watcher.as_ref().unwrap().status().root_gone);
    }
}

#[test]
fn another_directory_in_the_root_s_place_is_told() {
    for (prefer, base) in places() {
        let mut f = prepared(prefer, base);
        fs::rename(f.root(), f.dir.path().join("away")).unwrap();
        fs::create_dir(f.root()).unwrap();
        f.wait_for("gone", |h| *h == Hint::RootGone);
        f.wait_for("back", |h| *h == Hint::RootBack { same: false });
        f.wait_for("scan", |h| matches!(h, Hint::Subtree { why: Why::RootReturned, .. }));
        f.settle();
        f.assert_true(&format!("{prefer:?} on {base}"));
    }
}

#[test]
fn a_root_removed_and_made_again_is_followed() {
    for (prefer, base) in places() {
        let mut f = prepared(prefer, base);
        fs::remove_dir_all(f.root()).unwrap();
        fs::create_dir_all(f.at("a/new")).unwrap();
        f.wait_for("scan", |h| matches!(h, Hint::Subtree { why: Why::RootReturned, .. }));
        fs::File::create(f.at("a/new/f")).unwrap();
        f.settle();
        f.assert_true(&format!("{prefer:?} on {base}"));
    }
}
