//! Sequences of changes that once went wrong.

use crate::{
    ops::Op::{self, *},
    run::{Mode, run},
};
use bygone::config::model::Watcher;

/// What each of them showed, and the changes.
const CASES: &[(&str, &[Op])] = &[(
    "a long file that gets a second name and a change at once is stated once",
    &[
        Create(0, 10),
        Append { file: 0, len: 5_000_000, seed: 3 },
        Snapshot,
        Write { file: 0, at: 0, len: 1_500_000, seed: 9 },
        Link { file: 0, dir: 0, name: 11 },
        Snapshot,
    ],
)];

/// The same, while a watcher tells of the changes.
const WATCHED: &[(&str, &[Op])] = &[(
    "a directory that changed places with a file stays watched",
    &[
        Create(12160, 49375),
        Mkdir(36162, 18447),
        LinkWrite { file: 21738, dir: 26214, name: 65388, seed: 48142 },
        Exchange(37191, 1718),
        Snapshot,
        Grow(30015, 17397),
        Snapshot,
    ],
)];

#[test]
fn what_a_watcher_once_missed_is_seen() {
    for (what, all) in WATCHED {
        for watcher in [Watcher::Fanotify, Watcher::Inotify] {
            if watcher == Watcher::Fanotify && !rustix::process::geteuid().is_root() {
                continue;
            }
            if let Err(why) = run(Mode::Watch(watcher), all) {
                panic!("{what}: {why}");
            }
        }
    }
}

#[test]
fn what_once_went_wrong_stays_right() {
    for (what, all) in CASES {
        if let Err(why) = run(Mode::Scan, all) {
            panic!("{what}: {why}");
        }
    }
}
