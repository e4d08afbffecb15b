//! What is repaired, and how.

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
