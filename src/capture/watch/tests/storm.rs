//! Much at once.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::follower::{Follower, exchange, places};

/// A generator that gives the same storm for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

#[test]
fn directories_that_fill_while_they_appear_are_seen() {
    for (prefer, base) in places() {
        let mut f = Follower::new(prefer, base);
        for i in 0..500 {
            let deep = f.at(&format!("{i}/a/b/c/d"));
            fs::create_dir_all(&deep).unwrap();
            fs::File::create(deep.join("file")).unwrap();
        }
        f.settle();
        f.assert_true(&format!("{prefer:?} on {base}"));
    }
}

#[test]
fn thirty_thousand_files_at_once_are_seen() {
    for (prefer, base) in places().into_iter().filter(|(_, base)| *base == "/dev/shm") {
        let mut f = Follower::with(super::follower::options(prefer), base, |root| {
            (0..10).for_each(|i| fs::create_dir(root.join(format!("{i}"))).unwrap());
        });
        for i in 0..30_000 {
            fs::File::create(f.at(&format!("{}/{i}", i % 10))).unwrap();
        }
        f.assert_true(&format!("{prefer:?} on {base}"));
    }
}

#[test]
fn a_storm_of_everything_is_seen() {
    for (n, (prefer, base)) in places().into_iter().enumerate() {
        for seed in 1..=2 {
            let mut f = Follower::new(prefer, base);
            let (root, outside) = (f.root(), f.dir.path().join("outside"));
            fs::create_dir(&outside).unwrap();
            let seed = 0x9e37_79b9_7f4a_7c15 ^ (seed * 1000 + n as u64);
            std::thread::scope(|scope| {
                let storm = scope.spawn(|| storm(Dice(seed), root, outside));
                while !storm.is_finished() {
                    f.follow();
                }
            });
            f.settle();
            f.assert_true(&format!("{prefer:?} on {base}, seed {seed}"));
        }
    }
}

/// Steps that cannot be done (a directory into itself, a name taken) are no matter.
fn storm(mut dice: Dice, root: PathBuf, outside: PathBuf) {
    for i in 0..1500 {
        let (a, b) = (place(&mut dice, &root), place(&mut dice, &root));
        let _ = match dice.below(14) {
            0..=3 => fs::create_dir_all(&a).and_then(|()| fs::File::create(a.join("f")).map(drop)),
            // What is written through one of several names, by one that goes before it was looked at, only a scan finds.
            4..=6 if fs::symlink_metadata(a.join("f")).is_ok_and(|m| m.nlink() > 1) => continue,
            4..=6 => append(&a.join("f"), i),
            7 => fs::rename(a.join("f"), b.join("g")),
            8..=9 => fs::rename(&a, &b),
            10 => fs::rename(&a, outside.join(format!("{}", dice.below(5)))),
            11 => fs::rename(outside.join(format!("{}", dice.below(5))), &a),
            12 => fs::remove_dir_all(&a),
            _ => fs::hard_link(a.join("f"), b.join("link")),
        };
    }
}

fn place(dice: &mut Dice, root: &std::path::Path) -> PathBuf {
    let depth = 1 + dice.below(3);
    (0..depth).fold(root.to_owned(), |path, _| path.join(["a", "b", "c"][dice.below(3)]))
}

fn append(path: &std::path::Path, i: usize) -> std::io::Result<()> {
    use std::io::Write;
    fs::OpenOptions::new().append(true).open(path)?.write_all(&vec![b'x'; i % 50])
}

#[test]
fn a_storm_of_directories_that_change_places_is_seen() {
    for (n, (prefer, base)) in places().into_iter().enumerate() {
        for seed in 1..=4 {
            let mut f = Follower::with(super::follower::options(prefer), base, |root| {
                for i in 0..27 {
                    let name = |n: usize| ["a", "b", "c"][n % 3];
                    fs::create_dir_all(root.join(name(i)).join(name(i / 3)).join(name(i / 9))).unwrap();
                }
            });
            let (root, outside) = (f.root(), f.dir.path().join("outside"));
            fs::create_dir(&outside).unwrap();
            let dice = Dice(0x9e37_79b9_7f4a_7c15 ^ (seed * 7000 + n as u64));
            std::thread::scope(|scope| {
                let storm = scope.spawn(|| exchanges(dice, &root, &outside));
                while !storm.is_finished() {
                    f.follow();
                }
            });
            f.settle();
            f.assert_true(&format!("{prefer:?} on {base}, seed {seed}"));
            // The paths are right for good.
            let dirs: Vec<_> = super::follower::picture(&f.root()).into_keys().collect();
            for dir in dirs.iter().map(|p| f.at(std::str::from_utf8(p).unwrap())).filter(|p| p.is_dir()) {
                append(&dir.join("f"), 1).or_else(|_| fs::write(dir.join("f"), "f")).unwrap_or_default();
            }
            f.settle();
            f.assert_true(&format!("{prefer:?} on {base}, seed {seed}, afterwards"));
        }
    }
}

/// Mostly exchanges, of directories in directories, and of directories and files.
fn exchanges(mut dice: Dice, root: &std::path::Path, outside: &std::path::Path) {
    for i in 0..600 {
        let (a, b) = (place(&mut dice, root), place(&mut dice, root));
        let away = outside.join(format!("{}", dice.below(3)));
        let _ = match dice.below(12) {
            0..=5 => exchange(&a, &b),
            6 => exchange(&a, &b.join("f")),
            7 => exchange(&a, &away).or_else(|_| fs::create_dir(&away)),
            8 => fs::rename(&a, &b),
            9 => fs::create_dir_all(&a),
            _ => append(&a.join("f"), i).or_else(|_| fs::write(a.join("f"), "f")),
        };
        // Now and then time to be seen, so that the watcher is met at every step of its work.
        if dice.below(10) == 0 {
            std::thread::sleep(std::time::Duration::from_micros(dice.below(3000) as u64));
        }
    }
}
