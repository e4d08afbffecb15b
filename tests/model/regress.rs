//! Sequences of changes that once went wrong.

use crate::{
    ops::Op::{self, *},
    run::{Mode, run},
};

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

#[test]
fn what_once_went_wrong_stays_right() {
    for (what, all) in CASES {
        if let Err(why) = run(Mode::Scan, all) {
            panic!("{what}: {why}");
        }
    }
}
