//! Changes made by another process: a watcher leaves out what its own process does.

use crate::ops::{self, Op};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

const ROOT: &str = "BYGONE_TEST_DOER_ROOT";
const DONE: &str = "doer: done";

/// A process that makes changes below a directory, one at a time.
pub(crate) struct Doer {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Doer {
    pub(crate) fn start(root: &Path) -> Doer {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "doer::in_another_process", "--nocapture", "--test-threads=1"])
            .env(ROOT, root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, from) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Doer { child, to, from }
    }

    /// Makes one change, and returns when it is made.
    pub(crate) fn apply(&mut self, op: Op) {
        let to = self.to.as_mut().unwrap();
        writeln!(to, "{}", serde_json::to_string(&op).unwrap()).unwrap();
        let mut line = String::new();
        while !line.contains(DONE) {
            line.clear();
            assert_ne!(self.from.read_line(&mut line).unwrap(), 0, "the other process ended at {op:?}");
        }
    }
}

impl Drop for Doer {
    fn drop(&mut self) {
        drop(self.to.take());
        let _ = self.child.wait();
    }
}

/// The other process; started as a test it has nothing to do.
#[test]
fn in_another_process() {
    let Some(root) = std::env::var_os(ROOT).map(PathBuf::from) else { return };
    for line in std::io::stdin().lock().lines() {
        ops::apply(&root, serde_json::from_str(&line.unwrap()).unwrap());
        let mut out = std::io::stdout().lock();
        writeln!(out, "{DONE}").unwrap();
        out.flush().unwrap();
    }
}
