//! What a writer knows of itself: the runs in which it wrote a source, in a file of its host. A history that goes on with a run
//! that is not among them has another writer.

use crate::repo::{error::RepoError, write::writer_lock};
use crate::sys::durable;
use crate::types::time::Instant;
use std::{
    collections::{BTreeSet, HashSet},
    io,
    path::{Path, PathBuf},
};

/// More runs than this are forgotten, the oldest first.
const RUNS_MAX: usize = 1000;

/// The runs of the writer of one source in one state directory.
pub(super) struct Own {
    path: PathBuf,
    /// The name under which it goes on, where another writer has the one of the host.
    pub(super) host: Option<String>,
    /// Since when.
    pub(super) since: Option<Instant>,
    runs: BTreeSet<String>,
}

impl Own {
    /// What is noted in the state `dir` for the source at `root` of `host`, as the settings call it.
    pub(super) fn load(dir: &Path, host: &str, root: &[u8]) -> Result<Own, RepoError> {
        let host = &blake3::hash(host.as_bytes()).to_hex()[..8];
        let path = writer_lock(dir, root).with_extension(format!("{host}.runs"));
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(RepoError::State { doing: "read", path: path.display().to_string(), source }),
        };
        let host = text.lines().find_map(|line| line.strip_prefix("host ")).map(str::to_owned);
        let since = text.lines().find_map(|line| line.strip_prefix("since ")?.parse().ok().map(Instant));
        let runs = text.lines().filter_map(|line| line.strip_prefix("run ")).map(str::to_owned).collect();
        Ok(Own { path, host, since, runs })
    }

    /// Whether somebody else goes on with the history, and this writer has to go on under another name. `head` is the run that it ends
    /// with here, and `there` those in the journal, where that can be listed.
    ///
    /// Of two that began at the same time, as copies of a state directory do, the one whose run comes first in the order of names
    /// stays, which is also the one whose records come first.
    pub(super) fn is_another(&self, head: &str, there: Option<&HashSet<String>>) -> bool {
        let Some(first) = self.runs.first() else { return false };
        match self.foreign(first, there) {
            Some(foreign) => self.since(foreign).is_none_or(|own| own.as_str() > foreign),
            None => !head.is_empty() && !self.runs.contains(head),
        }
    }

    fn foreign<'a>(&self, first: &str, there: Option<&'a HashSet<String>>) -> Option<&'a str> {
        let runs = there.into_iter().flatten().map(String::as_str);
        runs.filter(|run| *run > first && !self.runs.contains(*run)).min()
    }

    /// The first own run that began when that one did, or later: names begin with a number that only grows.
    fn since(&self, run: &str) -> Option<&String> {
        self.runs.range(run.get(..8).unwrap_or(run).to_owned()..).next()
    }

    /// The first run of somebody else, if this writer went on beside it: since then the history that it knows is a branch.
    pub(super) fn branched_at(&self, there: Option<&HashSet<String>>) -> Option<String> {
        let foreign = self.foreign(self.runs.first()?, there)?;
        self.since(foreign).map(|own| own.as_str().min(foreign).to_owned())
    }

    /// Takes over, where it has never written: all that is there counts as its own.
    pub(super) fn adopt(&mut self, head: &str, there: Option<&HashSet<String>>) {
        if self.runs.is_empty() {
            self.runs.extend(there.into_iter().flatten().cloned());
            self.runs.extend((!head.is_empty()).then(|| head.to_owned()));
        }
    }

    /// Whether it is a run of this writer.
    pub(super) fn has(&self, epoch: &str) -> bool {
        self.runs.contains(epoch)
    }

    /// Notes a run, before it writes anything.
    pub(super) fn add(&mut self, epoch: &str) -> Result<(), RepoError> {
        self.runs.insert(epoch.to_owned());
        while self.runs.len() > RUNS_MAX {
            self.runs.pop_first();
        }
        self.save()
    }

    /// Goes on under another name, with a history of its own, from `since` on.
    pub(super) fn fork(&mut self, host: String, since: Instant) -> Result<(), RepoError> {
        (self.host, self.since, self.runs) = (Some(host), Some(since), BTreeSet::new());
        self.save()
    }

    fn save(&self) -> Result<(), RepoError> {
        let mut text = self.host.iter().map(|host| format!("host {host}\n")).collect::<String>();
        self.since.iter().for_each(|since| text.push_str(&format!("since {}\n", since.0)));
        self.runs.iter().for_each(|run| text.push_str(&format!("run {run}\n")));
        durable::replace(&self.path, text.as_bytes(), 0o600).map_err(|e| RepoError::State {
            doing: "write",
            path: self.path.display().to_string(),
            source: e.into(),
        })
    }
}
