//! Repair without a copy: what is whole is kept, what the disk still has is stored anew, what is lost is named. Nothing is deleted here,
//! and what was killed in the middle is begun again.

pub mod contents;
mod disk;
pub mod error;
pub mod histories;

use crate::progress::Progress;
use crate::repo::attach::Attached;
use std::sync::{Arc, atomic::AtomicBool};

/// What is repaired, and how.
#[derive(Clone, Copy)]
pub struct Ground<'a> {
    /// The repository and this host's index, which is up to date.
    pub at: &'a Arc<Attached>,
    /// This host, as the settings call it: of its sources the files are looked for on the disk.
    pub host: &'a str,
    /// The level of compression of what is stored anew.
    pub level: i32,
    /// Whether nothing is written, and only told what would be.
    pub trial: bool,
    /// Who is told how far it is.
    pub progress: &'a dyn Progress,
    /// Ends it early when set.
    pub stop: &'a AtomicBool,
}
