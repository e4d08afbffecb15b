//! Why a plan could not be read, or a run of one could not be begun or gone on with.

use crate::index::error::IndexError;
use crate::repo::error::RepoError;
use crate::sys::durable;
use std::io;
use std::path::PathBuf;

/// An error that ends a run, or keeps one from beginning. What happens in a step is told by how it ended.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The file of a plan.
    #[error("cannot read the plan {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A value of an input.
    #[error("{0}")]
    Input(String),
    /// There is no such run.
    #[error("there is no run {run:?} in {}", dir.display())]
    NoRun {
        /// Its id, as it was given.
        run: String,
        /// The directory of the runs.
        dir: PathBuf,
    },
    /// A process is at it.
    #[error("the run {run} is going on: process {pid}")]
    Busy {
        /// Its id.
        run: String,
        /// The process, as far as it can be told.
        pid: String,
    },
    /// Its copy of the plan was changed.
    #[error(
        "{} is not the plan that it began with: put it back as it was, or give the run {run} up by beginning anew", path.display()
    )]
    Changed {
        /// Its id.
        run: String,
        /// The copy.
        path: PathBuf,
    },
    /// It is over.
    #[error("the run {run} is over: {how}")]
    Over {
        /// Its id.
        run: String,
        /// How it ended.
        how: String,
    },
    /// A step was cut off in the middle, and can't be begun again just so.
    #[error("the step {step} was cut off in the middle, and the plan says that it can't be begun again just so")]
    HalfDone {
        /// The step.
        step: String,
    },
    /// The journal of a run does not read.
    #[error("cannot understand line {line} of {}: {why}", path.display())]
    Journal {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// A file of the run.
    #[error(transparent)]
    State(#[from] durable::Error),
    /// A file or directory of the run.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The repository failed.
    #[error(transparent)]
    Repo(#[from] RepoError),
}
