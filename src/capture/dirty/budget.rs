//! A share of I/O for each large file that changes all the time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How much a file may cost.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Share {
    /// The part of the time that may go into capturing one file, above 0 and at most 1.
    pub share: f64,
    /// Captures of fewer bytes are not counted.
    pub from_bytes: u64,
}

impl Default for Share {
    fn default() -> Share {
        Share { share: 0.1, from_bytes: 1 << 20 }
    }
}

/// A file that was captured not long ago.
#[derive(Clone, Copy, Debug)]
struct Held {
    until: Instant,
    /// It has changed since.
    dirty: bool,
}

/// Files that are not due again yet.
#[derive(Debug, Default)]
pub(super) struct Budget {
    share: Share,
    held: BTreeMap<Vec<u8>, Held>,
    /// Expired ones are dropped when there are more than this.
    sweep_at: usize,
}

impl Budget {
    pub(super) fn new(share: Share) -> Budget {
        Budget { share, held: BTreeMap::new(), sweep_at: 1024 }
    }

    /// `path` was captured: after a cost of t it rests for t / share.
    pub(super) fn captured(&mut self, path: Vec<u8>, bytes: u64, cost: Duration, now: Instant) {
        if bytes < self.share.from_bytes {
            return;
        }
        let rest = Duration::try_from_secs_f64(cost.as_secs_f64() / self.share.share.clamp(1e-6, 1.0));
        let Some(until) = rest.ok().and_then(|rest| now.checked_add(rest)) else { return };
        let dirty = self.held.get(&path).is_some_and(|held| held.dirty);
        self.held.insert(path, Held { until, dirty });
        if self.held.len() > self.sweep_at {
            self.sweep(now);
            self.sweep_at = (self.held.len() * 2).max(1024);
        }
    }

    /// If `path` rests, notes that it has changed, and returns `true`: it will be due later.
    pub(super) fn hold_back(&mut self, path: &[u8], now: Instant) -> bool {
        match self.held.get_mut(path) {
            Some(held) if held.until > now => {
                held.dirty = true;
                true
            }
            _ => false,
        }
    }

    /// Files that have changed and rest.
    pub(super) fn resting(&self, now: Instant) -> impl Iterator<Item = &[u8]> {
        self.held.iter().filter(move |(_, held)| held.dirty && held.until > now).map(|(path, _)| path.as_slice())
    }

    /// When the next changed file is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.held.values().filter(|held| held.dirty).map(|held| held.until).min()
    }

    /// Changed files that are due now.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let due = |held: &Held| held.dirty && held.until <= now;
        let paths: Vec<_> = self.held.iter().filter(|(_, held)| due(held)).map(|(path, _)| path.clone()).collect();
        self.held.retain(|_, held| !due(held));
        paths
    }

    /// A directory was renamed: changed files below it rest under their new paths.
    pub(super) fn moved(&mut self, from: &[u8], to: &[u8]) {
        let mut prefix = from.to_vec();
        prefix.push(b'/');
        let below: Vec<_> = self
            .held
            .range(prefix.clone()..)
            .take_while(|(p, _)| p.starts_with(&prefix))
            .map(|(p, h)| (p.clone(), *h))
            .collect();
        for (path, held) in below {
            self.held.insert([to, &path[from.len()..]].concat(), held);
        }
    }

    fn sweep(&mut self, now: Instant) {
        self.held.retain(|_, held| held.dirty || held.until > now);
    }
}
