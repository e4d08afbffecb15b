//! A program with all that it has started, wherever that has gone: found by who started whom, and by a mark in the environment that
//! each inherits. Only what has lost its parents and emptied its environment as well is not found.

use std::collections::HashMap;
use std::io;

use rustix::process::{Pid, Signal};

/// How the name of the mark begins.
const MARK: &str = "BYGONE_CHILD_";

/// The mark of one program.
#[derive(Debug)]
pub(super) struct Family {
    mark: String,
    /// Those that were seen, with when they began: another process of the same number is none of them.
    known: HashMap<u32, u64>,
}

/// What `/proc` says of a process.
struct Seen {
    parent: u32,
    begun: u64,
    is_gone: bool,
}

impl Family {
    /// A new mark.
    pub(super) fn new() -> io::Result<Family> {
        let mut bytes = [0_u8; 16];
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
        let mark = format!("{MARK}{:032x}", u128::from_ne_bytes(bytes));
        Ok(Family { mark, known: HashMap::new() })
    }

    /// The variable of the environment that every one of them has.
    pub(super) fn mark(&self) -> &str {
        &self.mark
    }

    /// Those that live of the program `first`, which was not waited for yet, and all that it has started.
    pub(super) fn living(&mut self, first: Option<u32>) -> Vec<u32> {
        let all = processes();
        self.known.retain(|pid, begun| all.get(pid).is_some_and(|seen| seen.begun == *begun));
        let marked = format!("{}=1", self.mark);
        for (pid, seen) in &all {
            if Some(*pid) == first || !self.known.contains_key(pid) && has(*pid, marked.as_bytes()) {
                self.known.insert(*pid, seen.begun);
            }
        }
        // Those below one that is known, to any depth.
        let below = |known: &HashMap<u32, u64>| {
            let is_new = |(pid, seen): &(&u32, &Seen)| !known.contains_key(pid) && known.contains_key(&seen.parent);
            all.iter().filter(is_new).map(|(pid, seen)| (*pid, seen.begun)).collect::<Vec<_>>()
        };
        loop {
            let more = below(&self.known);
            if more.is_empty() {
                break;
            }
            self.known.extend(more);
        }
        self.known.keys().copied().filter(|pid| !all[pid].is_gone).collect()
    }

    /// Tells them. That one has ended meanwhile is what was wanted.
    pub(super) fn tell(members: &[u32], signal: Signal) {
        for pid in members.iter().filter_map(|pid| i32::try_from(*pid).ok().and_then(Pid::from_raw)) {
            if let Err(e) = rustix::process::kill_process(pid, signal) {
                tracing::debug!("cannot signal the process {}: {e}", pid.as_raw_nonzero());
            }
        }
    }
}

fn processes() -> HashMap<u32, Seen> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| Some((pid, seen(&std::fs::read(format!("/proc/{pid}/stat")).ok()?)?))).collect()
}

/// A line of `/proc/<pid>/stat`; the name in it may have anything but its last parenthesis.
fn seen(stat: &[u8]) -> Option<Seen> {
    let rest = &stat[stat.iter().rposition(|b| *b == b')')? + 1..];
    let fields: Vec<&str> = std::str::from_utf8(rest).ok()?.split_whitespace().collect();
    Some(Seen {
        parent: fields.get(1)?.parse().ok()?,
        begun: fields.get(19)?.parse().ok()?,
        is_gone: matches!(*fields.first()?, "Z" | "X"),
    })
}

fn has(pid: u32, marked: &[u8]) -> bool {
    let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environ.split(|b| *b == 0).any(|variable| variable == marked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_process_is_read_from_its_end() {
        let line = b"7 (a) b) S 3 7 7 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 4242 1 2 3";
        let seen = seen(line).unwrap();
        assert_eq!((seen.parent, seen.begun, seen.is_gone), (3, 4242, false));
        assert!(super::seen(b"7 (x").is_none());
    }
}
