//! The model test: random changes on a real directory while it is captured. At each snapshot a plain description of
//! what stood there is kept; every view must equal its description in names, bytes and metadata: right away, at the end,
//! from an index that was rebuilt from the journal, which must give the same numbers, through the kernel, and restored.
//!
//! `BYGONE_SEED` runs one seed, `BYGONE_OPS` sets how many changes a run has, `BYGONE_RUNS` how many seeds are run.
//! A failure prints its seed and the shortest sequence of changes that still fails: put it into `regress.rs`.

#![allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]

#[path = "../common/describe.rs"]
mod describe;
mod doer;
#[path = "../common/lab.rs"]
mod lab;
mod ops;
mod regress;
mod run;
mod watched;
mod ways;

use bygone::config::model::Watcher;
use ops::Random;
use run::Mode;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

fn seeds(mode: Mode, first: u64, runs: u64, ops: u64, between: u64) {
    let runs = number("BYGONE_RUNS").unwrap_or(runs);
    let ops = number("BYGONE_OPS").unwrap_or(ops) as usize;
    let seeds = match number("BYGONE_SEED") {
        Some(seed) => vec![seed],
        None => (first..first + runs).collect(),
    };
    for seed in seeds {
        let all = Random::new(seed).ops(ops, between);
        let result = std::panic::catch_unwind(|| run::run(mode, &all));
        let why = match result {
            Ok(Ok(())) => continue,
            Ok(Err(why)) => why,
            Err(_) => "a panic (above)".into(),
        };
        eprintln!("{mode:?}, seed {seed}: {why}");
        let short = run::shrink(mode, all, number("BYGONE_TRIES").unwrap_or(300) as usize);
        let again = std::panic::catch_unwind(|| run::run(mode, &short));
        panic!("{mode:?}, BYGONE_SEED={seed} BYGONE_OPS={ops}: {why}\nshortest: {short:?}\nwhich gives: {again:?}");
    }
}

#[test]
fn every_view_of_a_scanned_directory_is_what_was_there() {
    seeds(Mode::Scan, 1, 6, 300, 12);
}

#[test]
fn every_view_of_a_directory_watched_by_fanotify_is_what_was_there() {
    if rustix::process::geteuid().is_root() {
        seeds(Mode::Watch(Watcher::Fanotify), 100, 2, 250, 12);
    }
}

#[test]
fn every_view_of_a_directory_watched_by_inotify_is_what_was_there() {
    seeds(Mode::Watch(Watcher::Inotify), 200, 2, 250, 12);
}

#[test]
fn changes_do_something() {
    let dir = tempfile::tempdir().unwrap();
    let all = Random::new(5).ops(1000, 30);
    let done = all.iter().filter(|op| matches!(ops::apply(dir.path(), **op), Some(Ok(())))).count();
    assert!(done > 500, "{done}");
}
