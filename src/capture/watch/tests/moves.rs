//! Renames, and a root that moves.

use std::fs;

use super::follower::{Follower, exchange, options, places};
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

#[test]
fn directories_that_change_places_are_followed() {
    for (prefer, base) in places() {
        let mut f = Follower::with(options(prefer), base, |root| {
            fs::create_dir_all(root.join("src/x/y/z")).unwrap();
            fs::create_dir_all(root.join("src/v/u")).unwrap();
        });
        exchange(&f.at("src/x/y"), &f.at("src/v/u")).unwrap();
        f.settle();
        f.hints.clear();
        fs::write(f.at("src/v/u/z/g"), "6").unwrap();
        fs::write(f.at("src/x/y/h"), "7").unwrap();
        f.settle();
        assert!(f.told("src/v/u/z/g") && f.told("src/x/y/h"), "{prefer:?} on {base}: {:?}", f.hints);
        assert!(!f.told("src/x/y/z"), "{prefer:?} on {base}: {:?}", f.hints);
        f.assert_true(&format!("{prefer:?} on {base}"));
    }
}

#[test]
fn a_directory_and_a_file_that_change_places_are_followed() {
    for (prefer, base) in places() {
        let mut f = Follower::with(options(prefer), base, |root| {
            fs::create_dir_all(root.join("src/d/s1/in")).unwrap();
            fs::write(root.join("src/d/s1/in/old"), "old").unwrap();
            fs::write(root.join("src/file"), "file").unwrap();
        });
        for (dir, at) in [("src/file", ["src/d/s1", "src/file"]), ("src/d/s1", ["src/file", "src/d/s1"])] {
            exchange(&f.at(at[0]), &f.at(at[1])).unwrap();
            f.settle();
            f.assert_true(&format!("{prefer:?} on {base}: {dir} at once"));
            f.hints.clear();
            fs::write(f.at(&format!("{dir}/newf")), "new").unwrap();
            fs::write(f.at(&format!("{dir}/in/old")), "newer").unwrap();
            f.settle();
            assert!(f.told(&format!("{dir}/newf")) && f.told(&format!("{dir}/in/old")), "{:?}", f.hints);
            f.assert_true(&format!("{prefer:?} on {base}: {dir}"));
        }
    }
}

#[test]
fn nested_directories_that_change_places_keep_their_right_paths() {
    for (prefer, base) in places() {
        let dirs = ["a", "a/b", "a/b/c", "d", "d/e", "d/e/f", "g"];
        let mut f = Follower::with(options(prefer), base, |root| {
            dirs.iter().for_each(|dir| fs::create_dir_all(root.join(dir)).unwrap());
        });
        for (one, other) in [("a/b", "d/e"), ("a", "d"), ("a/b", "g"), ("g", "d/e/f"), ("d", "a"), ("a/b/c", "d")] {
            // Those that a step before has made impossible are left out, the same for every watcher.
            let _ = exchange(&f.at(one), &f.at(other));
        }
        f.settle();
        let now: Vec<_> = super::follower::picture(&f.root()).into_keys().collect();
        let now: Vec<_> = now.into_iter().map(|p| String::from_utf8(p).unwrap()).filter(|p| f.at(p).is_dir()).collect();
        assert_eq!(now.len(), dirs.len() + 1);
        f.hints.clear();
        now.iter().for_each(|dir| fs::write(f.at(dir).join("new"), dir).unwrap());
        f.settle();
        now.iter()
            .for_each(|dir| assert!(f.told(format!("{dir}/new").trim_start_matches('/')), "{dir}: {:?}", f.hints));
        f.assert_true(&format!("{prefer:?} on {base}"));
    }
}

#[test]
fn a_change_through_a_name_that_comes_and_goes_is_seen() {
    // What inotify tells of a name that is gone does not say what it led to: there only a scan finds it.
    for (prefer, base) in places().into_iter().filter(|(prefer, _)| *prefer == Prefer::Fanotify) {
        let mut f = Follower::with(options(prefer), base, |root| {
            fs::create_dir_all(root.join("d")).unwrap();
            fs::write(root.join("d/file"), "before").unwrap();
        });
        fs::hard_link(f.at("d/file"), f.at("other")).unwrap();
        fs::write(f.at("other"), "after this").unwrap();
        fs::remove_file(f.at("other")).unwrap();
        f.settle();
        f.assert_true(&format!("{prefer:?} on {base}"));
    }
}
