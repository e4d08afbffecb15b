//! Capture: from a change on disk to a snapshot.

pub mod dirty;
mod relative;
pub mod watch;
