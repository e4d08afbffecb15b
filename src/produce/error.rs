//! Why data could not be produced.

use std::path::{Path, PathBuf};
use std::{fmt, io};

use crate::sys::durable;
use serde::{Deserialize, Serialize};

/// Why nothing of a source could be produced.
#[derive(Debug, thiserror::Error)]
pub enum ProduceError {
    /// The directory that it is produced in can't be used.
    #[error("cannot produce into {}: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of it can't be written.
    #[error(transparent)]
    Write(#[from] durable::Error),
    /// A program that is needed could not be started.
    #[error("cannot run {program}: {source}; {cure}")]
    Program {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
        /// What to do.
        cure: &'static str,
    },
    /// A program failed.
    #[error("{what}: {why}")]
    Failed {
        /// What was being done.
        what: String,
        /// How it ended, and what it said.
        why: String,
    },
    /// The hook before a snapshot failed, and the settings say that there is no snapshot then.
    #[error("no snapshot was taken, since the hook before it failed: {why}")]
    Hook {
        /// How it ended, and what it said.
        why: String,
    },
}

/// One part of a source that could not be produced, or a hook that failed; the rest was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What it is: the name of a file, mostly.
    pub what: String,
    /// Why not.
    pub why: String,
    /// Whether it was there before, and still is as it was.
    pub is_kept: bool,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

/// What producing came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Produced {
    /// Files that are new or have another content than before.
    pub written: Vec<String>,
    /// Files that are as they were, and were not touched.
    pub unchanged: u64,
    /// What failed.
    pub failures: Vec<Failure>,
}

impl Produced {
    /// Adds what another part came to, which is a file in `dir`.
    pub(super) fn add(&mut self, dir: &Path, name: &str, result: Result<bool, String>) {
        match result {
            Ok(true) => self.written.push(name.to_owned()),
            Ok(false) => self.unchanged += 1,
            Err(why) => {
                let is_kept = dir.join(name).exists();
                self.failures.push(Failure { what: name.to_owned(), why, is_kept });
            }
        }
    }
}
