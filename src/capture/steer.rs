//! How a service steers the watching of a source: it asks for snapshots, and holds capture still.

use crate::capture::report::{CaptureError, Report};
use crate::progress::Progress;
use crate::types::snapshot::Tier;
use crossbeam_channel::{Receiver, Sender};
use std::sync::{Arc, atomic::AtomicBool};

/// A snapshot that somebody wants of a source that is being watched.
pub struct Wanted {
    /// Its tier.
    pub tier: Tier,
    /// Ends this capture when it is set.
    pub stop: Arc<AtomicBool>,
    /// Who hears how it went. Closed without a word where watching ended before.
    pub told: Sender<Result<Report, CaptureError>>,
}

/// How the watching of a source is steered.
pub struct Steering {
    /// Snapshots that are wanted, taken one after the other.
    pub wanted: Receiver<Wanted>,
    /// While it is set nothing is captured by itself. Changes are seen all the same, and captured afterwards; that what
    /// happened in between is not known is recorded as a gap, where something happened.
    pub hold: Arc<AtomicBool>,
    /// Hears, all the time, that watching and capturing go on.
    pub alive: Arc<dyn Progress>,
}
