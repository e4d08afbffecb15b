//! A few numbers that processes share through a file.

use rustix::fs::{FlockOperation, flock};
use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// Numbers of 64 bits in a file, changed under its lock. Not synced: they mean something only while the machine is up.
/// Beside each number stands the process that claims it, if any.
pub struct SharedWords {
    path: PathBuf,
    file: Mutex<File>,
    count: usize,
}

/// The numbers, while they are locked.
pub struct Words {
    words: Vec<i64>,
}

impl SharedWords {
    /// The file at `path`, made with zeros where it is not there.
    pub fn open(path: &Path, count: usize) -> io::Result<SharedWords> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        Ok(SharedWords { path: path.to_owned(), file: Mutex::new(file), count })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `f` on the numbers while no other process or thread does, and keeps what it changed.
    pub fn with<T>(&self, f: impl FnOnce(&mut Words) -> T) -> io::Result<T> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        flock(&*file, FlockOperation::LockExclusive)?;
        let result = run(&file, self.count, f);
        flock(&*file, FlockOperation::Unlock)?;
        result
    }
}

fn run<T>(file: &File, count: usize, f: impl FnOnce(&mut Words) -> T) -> io::Result<T> {
    let mut bytes = vec![0; count * 16];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], filled as u64)? {
            0 => break,
            n => filled += n,
        }
    }
    let before: Vec<i64> =
        bytes.chunks_exact(8).map(|b| b.iter().rev().fold(0, |n, b| n << 8 | i64::from(*b))).collect();
    let mut words = Words { words: before.clone() };
    let result = f(&mut words);
    if words.words != before {
        let bytes: Vec<u8> = words.words.iter().flat_map(|w| w.to_le_bytes()).collect();
        file.write_all_at(&bytes, 0)?;
    }
    Ok(result)
}

impl Words {
    /// Number `at`.
    pub fn get(&self, at: usize) -> i64 {
        self.words[at * 2]
    }

    /// Changes number `at`.
    pub fn set(&mut self, at: usize, value: i64) {
        self.words[at * 2] = value;
    }

    /// Claims the first free number from `first` on for this process and gives it a value; `None` where all are claimed.
    pub fn claim(&mut self, first: usize, value: i64) -> Option<usize> {
        let free = (first..self.words.len() / 2).find(|at| self.words[at * 2 + 1] == 0)?;
        self.words[free * 2] = value;
        self.words[free * 2 + 1] = identity(i64::from(std::process::id()))?;
        Some(free)
    }

    /// Gives a claimed number back.
    pub fn release(&mut self, at: usize) {
        self.words[at * 2 + 1] = 0;
    }

    /// The values of the numbers from `first` on that are claimed, also by processes that have ended since.
    pub fn claimed(&self, first: usize) -> impl Iterator<Item = i64> {
        (first..self.words.len() / 2).filter(|at| self.words[at * 2 + 1] != 0).map(|at| self.words[at * 2])
    }

    /// The numbers from `first` on whose claimers have ended.
    pub fn abandoned(&self, first: usize) -> Vec<usize> {
        let ended = |who: i64| who != 0 && identity(who & PID) != Some(who);
        (first..self.words.len() / 2).filter(|at| ended(self.words[at * 2 + 1])).collect()
    }
}

/// The bits of an identity that are the process's number; Linux gives none above 2^22.
const PID: i64 = (1 << 22) - 1;

/// A process, told from others that had or will have its number by the time it started; `None` where it does not run.
fn identity(pid: i64) -> Option<i64> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program stands in parentheses and may hold anything; the start is the 20th field behind it.
    let rest = &stat[stat.iter().rposition(|b| *b == b')')? + 1..];
    let start: i64 = std::str::from_utf8(rest.split(|b| *b == b' ').nth(20)?).ok()?.parse().ok()?;
    Some((start << 22 & i64::MAX) | (pid & PID))
}
