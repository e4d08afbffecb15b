//! Why the service does not run.

use crate::repo::error::RepoError;
use crate::sys::durable;
use std::{error::Error, io, path::PathBuf};

/// Any error of a task or a job, which is told and tried again.
pub(super) type Trouble = Box<dyn Error + Send + Sync>;

/// An error with all that is behind it, in one line.
pub(super) fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(e) = next {
        let more = e.to_string();
        // Some errors quote their source; it is not told twice.
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = e.source();
    }
    text
}

/// Why the service does not run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The settings can't be used, or the repository can't be opened with them.
    #[error("{0}")]
    Refused(String),
    /// Another service has the state directory.
    #[error("a service runs already for the state directory {}: process {pid}; `bygone reload` gives it new settings", state.display())]
    Another {
        /// The state directory.
        state: PathBuf,
        /// Its process, as far as it can be told.
        pid: String,
    },
    /// A file of the service.
    #[error(transparent)]
    State(#[from] durable::Error),
    /// A kept file does not read.
    #[error("cannot read {}: {source}; move it away to begin anew", path.display())]
    Kept {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The socket.
    #[error("cannot listen at {}: {source}; [daemon] socket in the settings names another place", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The index was taken away.
    #[error("the service has ended: {0}; start it again, and it makes what is missing anew")]
    Gone(RepoError),
    /// The process.
    #[error("cannot {doing}: {source}")]
    Process {
        /// What was tried.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
}

/// Why what the service keeps in a file is not kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// It can't be written down.
    #[error("cannot write {}: {source}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: serde_json::Error,
    },
    /// The file system said no.
    #[error(transparent)]
    File(#[from] durable::Error),
}
