//! Why a drill could not be begun, or what it did could not be kept.

use crate::index::error::IndexError;
use crate::plan::error::PlanError;
use crate::repo::error::RepoError;
use crate::sys::durable;
use std::io;
use std::path::PathBuf;

/// An error of a drill itself. That a plan fails in a drill is no error: its record says so.
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    /// It takes root.
    #[error("a drill takes root: it has mounts and a network of its own")]
    NotRoot,
    /// There is no such drill.
    #[error("there is no drill {id:?} in {}", dir.display())]
    NoDrill {
        /// Its id, as it was given.
        id: String,
        /// The directory of the drills.
        dir: PathBuf,
    },
    /// Nothing was captured that a drill could go back to.
    #[error("there is no snapshot of the host {host} to go back to")]
    NoSnapshot {
        /// The host.
        host: String,
    },
    /// A file does not say what it should.
    #[error("cannot understand {}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A file or directory of the drill.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A process apart could not be had.
    #[error("cannot start a process apart: {0}")]
    Apart(io::Error),
    /// The root of a process apart could not be made.
    #[error(transparent)]
    Room(#[from] crate::sys::room::RoomError),
    /// The plan or its run.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A file of the drill.
    #[error(transparent)]
    State(#[from] durable::Error),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The repository failed.
    #[error(transparent)]
    Repo(#[from] RepoError),
}
