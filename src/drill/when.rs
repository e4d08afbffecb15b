//! The instant that a drill goes back to.

use super::error::DrillError;
use crate::crypto::random;
use crate::index::tree::Reader;
use crate::types::{snapshot::Tier, time::Instant};
use crate::view::whose::Whose;
use std::io;

/// So many snapshots of a source are read at once.
const PAGE: usize = 4096;

/// Which instant is chosen where no time is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Any snapshot, each as likely as another.
    Random,
    /// The one that needs most to be right: with the most records between it and the full snapshot that it stands on. Of several, the
    /// oldest.
    Worst,
}

/// The instant of the snapshot chosen, of all sources of a host.
pub fn choose(index: &Reader, whose: &Whose, choice: Choice) -> Result<Instant, DrillError> {
    let mut times = Vec::new();
    let mut worst: Option<(u64, Instant)> = None;
    for line in whose.lines(index)? {
        let (mut from, mut since_full) = (Instant(i64::MIN), 0);
        loop {
            let page = index.snapshots(line.source.num, from, line.cut(Instant(i64::MAX)), PAGE)?;
            for snapshot in &page {
                since_full = if snapshot.tier == Tier::Full { 0 } else { since_full + 1 };
                times.push(snapshot.time);
                if worst.is_none_or(|(most, time)| since_full > most || (since_full == most && snapshot.time < time)) {
                    worst = Some((since_full, snapshot.time));
                }
            }
            match page.last() {
                Some(last) if page.len() == PAGE => from = Instant(last.time.0 + 1),
                _ => break,
            }
        }
    }
    let none = || DrillError::NoSnapshot { host: whose.host().to_owned() };
    match choice {
        Choice::Worst => worst.map(|(_, time)| time).ok_or_else(none),
        Choice::Random if times.is_empty() => Err(none()),
        Choice::Random => {
            let failed = |e| DrillError::Io { path: "/dev/urandom".into(), source: io::Error::other(e) };
            let random: [u8; 8] = random::bytes().map_err(failed)?;
            // That some of a few million are likelier by one in 2^40 does no harm.
            Ok(times[(u64::from_le_bytes(random) % times.len() as u64) as usize])
        }
    }
}

/// How much would be lost at an instant, in nanoseconds: how old the newest snapshot of the source with the oldest one is.
pub fn recovery_point(index: &Reader, whose: &Whose, at: Instant) -> Result<Option<i64>, DrillError> {
    let mut worst = None;
    for line in whose.lines(index)? {
        let snapshot = line.snapshot_at(index, at)?;
        worst = worst.max(snapshot.map(|s| at.0.saturating_sub(s.time.0)));
    }
    Ok(worst)
}
