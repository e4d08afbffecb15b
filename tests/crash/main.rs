//! Faults: the program is killed at every step of a capture, its calls fail, the power is cut under it, its disks are full, its
//! index is lost. After each of them every snapshot that was reported reads back whole, and the next capture goes on.
//!
//! `BYGONE_CRASH=all` tries every single call instead of a part of those that come in hundreds.

#![allow(clippy::disallowed_methods, reason = "a test plays the part of the user")]

#[path = "../common/describe.rs"]
mod describe;
mod disks;
#[path = "../common/lab.rs"]
mod lab;
#[path = "../common/loopfs.rs"]
mod loopfs;
#[path = "../common/program.rs"]
mod program;

use program::{Program, Reported, number_in};
use std::{
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Command, Output},
};

/// A small tree in its first state: what the base snapshot holds.
fn plant(root: &Path) {
    std::fs::create_dir_all(root.join("dir/below")).unwrap();
    std::fs::write(root.join("kept"), b"as it was").unwrap();
    std::fs::write(root.join("dir/large"), noise(1_500_000, 1)).unwrap();
    std::fs::write(root.join("dir/below/x"), b"x").unwrap();
    std::fs::hard_link(root.join("kept"), root.join("dir/link")).unwrap();
    std::os::unix::fs::symlink("kept", root.join("to")).unwrap();
}

/// Changes of every kind: what the next snapshot has to capture.
fn change(root: &Path, n: u32) {
    let large = root.join("dir/large");
    let mut bytes = std::fs::read(&large).unwrap();
    let at = bytes.len() / 2 + n as usize;
    bytes[at..at + 5].copy_from_slice(b"other");
    std::fs::write(&large, bytes).unwrap();
    std::fs::write(root.join(format!("new-{n}")), noise(200_000, n)).unwrap();
    std::fs::rename(root.join("dir/below"), root.join("moved")).unwrap();
    std::fs::rename(root.join("moved"), root.join("dir/below")).unwrap();
    std::fs::write(root.join("dir/below/x"), format!("x{n}")).unwrap();
    std::fs::create_dir(root.join(format!("d{n}"))).unwrap();
    let _ = std::fs::remove_file(root.join(format!("new-{}", n.wrapping_sub(1))));
}

/// Changes that bring no content.
fn rename(root: &Path) {
    std::fs::rename(root.join("dir"), root.join("folder")).unwrap();
    std::fs::remove_file(root.join("to")).unwrap();
    std::fs::create_dir(root.join("another")).unwrap();
}

fn noise(len: usize, seed: u32) -> Vec<u8> {
    let mut state = u64::from(seed) << 7 | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(|_| next()).collect()
}

/// What the capture with the fault has to do. The calls of each thread are counted apart: where there is content, a
/// thread that stores it meets the fault first, and without any it is the one that seals the record.
#[derive(Clone, Copy)]
enum Work {
    Content,
    Names,
}

/// A repository with two snapshots and changes that are not captured yet, ready to be copied.
struct Base {
    dir: tempfile::TempDir,
    program: Program,
    reported: Reported,
}

impl Base {
    fn make(work: Work) -> Base {
        let dir = tempfile::tempdir().unwrap();
        let program = Program::in_dir(&dir.path().join("work"));
        std::fs::create_dir(dir.path().join("work")).unwrap();
        program.init();
        plant(&program.root);
        let mut reported = Reported::new();
        program.snapshot(&mut reported);
        change(&program.root, 1);
        program.snapshot(&mut reported);
        match work {
            Work::Content => change(&program.root, 2),
            Work::Names => rename(&program.root),
        }
        let base = Base { dir, program, reported };
        for name in ["repo", "state"] {
            copy(&base.program.home.with_file_name(name), &base.dir.path().join(name));
        }
        base
    }

    /// Puts repository and state back to where they were.
    fn reset(&self) {
        for name in ["repo", "state"] {
            let to = self.program.home.with_file_name(name);
            std::fs::remove_dir_all(&to).unwrap();
            copy(&self.dir.path().join(name), &to);
        }
    }

    /// One capture with a fault; then everything is looked at, and the next capture goes on. Whether the fault came.
    fn try_fault(&self, inject: &str) -> bool {
        self.reset();
        let mut reported = self.reported.clone();
        let out = self.program.with_fault(inject, &["--json", "snapshot"]).output().unwrap();
        if let Some(number) = number_in(&out.stdout) {
            reported.insert(number, describe::of_disk(&self.program.root));
        }
        let came = !out.status.success();
        if !came {
            assert_eq!(reported.len(), 3, "{inject}: success is a report");
        } else if !was_killed(&out) {
            let told = String::from_utf8_lossy(&out.stderr);
            // What is captured and could not be written into the audit trail is told too.
            assert!(matches!(out.status.code(), Some(1 | 3)), "{inject}: {told}");
            assert!(told.contains("error"), "{inject}: the error is told: {told}");
        }
        self.program.check(&reported, inject);
        self.program.snapshot(&mut reported);
        self.program.check(&reported, &format!("{inject}, and the capture after it"));
        came
    }

    /// The fault at the first call, the second, ... until none is left; every `stride`-th after the first few.
    fn try_all(&self, call: &str, fault: &str, stride: usize) {
        let all = std::env::var_os("BYGONE_CRASH").is_some();
        let mut at = 1;
        let mut came = 0;
        // A fault may meet a call that does not matter, so that a success is not the end yet.
        let mut missed = 0;
        while missed < 2 {
            match self.try_fault(&format!("{call}:{fault}:when={at}")) {
                true => (came, missed) = (came + 1, 0),
                false => missed += 1,
            }
            at += if all || at < 8 { 1 } else { stride };
        }
        eprintln!("{call}: {came} faults ({fault}) of about {at} calls");
    }
}

fn copy(from: &Path, to: &Path) {
    loopfs::run(Command::new("cp").arg("-a").arg(from).arg(to)).unwrap();
}

/// strace ends by the signal that ended what it traced.
fn was_killed(out: &Output) -> bool {
    out.status.signal() == Some(9) || out.status.code() == Some(137)
}

fn can_trace() -> bool {
    let found = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status().is_ok_and(|s| s.success());
    if !found {
        eprintln!("not tested: strace is not here, or may not trace");
    }
    found
}

const KILL: &str = "signal=SIGKILL";

#[test]
fn killed_at_every_rename_and_sync() {
    if !can_trace() {
        return;
    }
    for base in [Base::make(Work::Content), Base::make(Work::Names)] {
        for call in ["fsync,fdatasync", "/rename", "mkdir,mkdirat", "unlink,unlinkat"] {
            base.try_all(call, KILL, 1);
        }
    }
}

#[test]
fn killed_at_writes() {
    if !can_trace() {
        return;
    }
    for base in [Base::make(Work::Content), Base::make(Work::Names)] {
        base.try_all("write,writev", KILL, 7);
        // What SQLite does, and what the store does.
        base.try_all("pwrite64,pwritev", KILL, 29);
        base.try_all("ftruncate,fallocate", KILL, 3);
    }
}

#[test]
fn a_disk_that_fails() {
    if !can_trace() {
        return;
    }
    for base in [Base::make(Work::Content), Base::make(Work::Names)] {
        base.try_all("fsync,fdatasync", "error=EIO", 1);
        base.try_all("pwrite64,pwritev", "error=ENOSPC", 37);
        base.try_all("pwrite64,pwritev", "error=EIO", 41);
        base.try_all("/rename", "error=EIO", 1);
    }
}

#[test]
fn the_index_is_lost_or_old() {
    let base = Base::make(Work::Content);
    let mut reported = base.reported.clone();
    base.program.snapshot(&mut reported);
    std::fs::remove_dir_all(&base.program.state).unwrap();
    base.program.check(&reported, "the state was removed");
    change(&base.program.root, 3);
    base.program.snapshot(&mut reported);
    base.program.check(&reported, "a capture without the index before");
    // An index from yesterday, beside what the writer knows of itself today.
    let old = base.dir.path().join("state");
    let sub =
        std::fs::read_dir(&old).unwrap().flatten().find(|e| e.path().join("index.db").exists()).unwrap().file_name();
    for name in ["index.db", "index.db-wal", "index.db-shm"] {
        let (from, to) = (old.join(&sub).join(name), base.program.state.join(&sub).join(name));
        match from.exists() {
            true => drop(std::fs::copy(from, to).unwrap()),
            false => drop(std::fs::remove_file(to)),
        }
    }
    base.program.check(&reported, "an old index");
    change(&base.program.root, 4);
    base.program.snapshot(&mut reported);
    base.program.check(&reported, "a capture after an old index");
}
