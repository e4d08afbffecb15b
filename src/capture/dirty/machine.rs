//! Coalescing: from hints to batches.
//!
//! Every hint is covered by a later batch, whatever is merged, held back or renamed in between.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::budget::{Budget, Share};
use super::set::Paths;
use crate::capture::relative::split;
use crate::capture::watch::hint::{Hint, Why};
use crate::types::path::join;
use crate::types::time;

/// Items kept apart; with more, the fullest subtree is scanned as a whole. Some 30 MB at most.
pub const ITEMS_MAX: usize = 200_000;
/// Gaps kept apart; with more, the root has one gap.
const GAPS_MAX: usize = 1000;
/// Batches that a directory's rename may still concern after they were taken.
const RECENT: usize = 2;
/// A recent batch of more items is remembered as "everything".
const RECENT_ITEMS_MAX: usize = 20_000;

/// A part of the root in which changes may have been missed, until it has been scanned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Blind {
    /// The subtree.
    pub dir: Vec<u8>,
    /// Since when.
    pub since: time::Instant,
    /// Why.
    pub why: Why,
}

/// What happened to the root.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RootChange {
    /// It is not there.
    Gone,
    /// It was not there and is there again; `same` as in [`Hint::RootBack`].
    Back {
        /// It is the same directory as before.
        same: bool,
    },
}

/// What to look at for one snapshot.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Batch {
    /// The dirty paths.
    pub paths: Paths,
    /// Gaps that end when this batch has been looked at.
    pub gaps: Vec<Blind>,
    /// The last that is known of the root, if anything changed.
    pub root: Option<RootChange>,
}

/// Gathers hints and tells when it is time for a batch. All times are passed in and must not run backwards.
#[derive(Debug)]
pub struct Dirty {
    quiet: Duration,
    bound: Duration,
    pending: Batch,
    first: Option<Instant>,
    last: Option<Instant>,
    budget: Budget,
    recent: VecDeque<Paths>,
    items_max: usize,
}

impl Dirty {
    /// A batch is due when no hint has come for `quiet`, but never later than `bound` after its first hint.
    pub fn new(quiet: Duration, bound: Duration, share: Share) -> Dirty {
        Dirty {
            quiet,
            bound,
            pending: Batch::default(),
            first: None,
            last: None,
            budget: Budget::new(share),
            recent: VecDeque::new(),
            items_max: ITEMS_MAX,
        }
    }

    /// Keeps at most `items` apart instead of [`ITEMS_MAX`].
    pub fn with_items_max(mut self, items: usize) -> Dirty {
        self.items_max = items;
        self
    }

    /// Takes a hint in.
    pub fn hint(&mut self, now: Instant, hint: Hint) {
        match hint {
            Hint::Entry { dir, name } => {
                if self.budget.hold_back(&join(&dir, &name), now) {
                    return;
                }
                self.pending.paths.add_entry(dir, name);
            }
            Hint::Node { place } => self.pending.paths.add_node(place),
            Hint::Moved { from, to } => self.moved(&from, &to),
            Hint::Subtree { dir, why, blind_since } => {
                if let Some(since) = blind_since {
                    self.add_gap(Blind { dir: dir.clone(), since, why });
                }
                self.pending.paths.add_subtree(dir);
            }
            Hint::RootGone => self.pending.root = Some(RootChange::Gone),
            Hint::RootBack { same } => self.pending.root = Some(RootChange::Back { same }),
        }
        if self.pending.paths.len() > self.items_max {
            // To half, so that this is rare.
            self.pending.paths.shrink(self.items_max / 2);
        }
        self.first.get_or_insert(now);
        self.last = Some(now);
    }

    /// When to take a batch; `None` while there is nothing to do. May be in the past.
    pub fn ready_at(&self) -> Option<Instant> {
        let pending = self.first.zip(self.last).map(|(first, last)| (first + self.bound).min(last + self.quiet));
        pending.into_iter().chain(self.budget.next_due()).min()
    }

    /// Takes everything that is pending, ready or not, and the files whose rest is over.
    pub fn take(&mut self, now: Instant) -> Batch {
        let mut batch = std::mem::take(&mut self.pending);
        (self.first, self.last) = (None, None);
        for path in self.budget.take_due(now) {
            let (dir, name) = split(&path);
            batch.paths.add_entry(dir, name);
        }
        if !batch.paths.is_empty() {
            self.remember(&batch.paths);
        }
        batch
    }

    /// Puts back what could not be looked at: it will be in the next batch.
    pub fn put_back(&mut self, now: Instant, batch: Batch) {
        if batch == Batch::default() {
            return;
        }
        batch.gaps.into_iter().for_each(|gap| self.add_gap(gap));
        self.pending.paths.add(batch.paths);
        // What came later is newer.
        self.pending.root = self.pending.root.or(batch.root);
        self.first.get_or_insert(now);
        self.last = Some(now);
    }

    /// Large files that have changed and rest, since their last capture took so long.
    pub fn resting(&self, now: Instant) -> Vec<&[u8]> {
        self.budget.resting(now).collect()
    }

    /// Tells that the file at `path` was captured, reading `bytes` in `cost`. A large one is not due again for
    /// `cost / share`; if it changes in the meantime, it is in a batch after that.
    pub fn captured(&mut self, path: &[u8], bytes: u64, cost: Duration, now: Instant) {
        self.budget.captured(path.to_vec(), bytes, cost, now);
    }

    /// Both names are dirty. What was dirty below the old one is so below the new one, and stays so below the old one, where
    /// there may be something else now. What was taken shortly before is dirty again: it may not have been found.
    fn moved(&mut self, from: &[u8], to: &[u8]) {
        for path in [from, to] {
            let (dir, name) = split(path);
            self.pending.paths.add_entry(dir, name);
        }
        let pending = self.pending.paths.moved(from, to);
        let recent: Vec<Paths> = self.recent.iter().map(|taken| taken.moved(from, to)).collect();
        let in_recent_subtree = self.recent.iter().chain([&self.pending.paths]).any(|p| p.in_subtree(from));
        self.pending.paths.add(pending);
        recent.into_iter().for_each(|paths| self.pending.paths.add(paths));
        if in_recent_subtree {
            self.pending.paths.add_subtree(to.to_vec());
        }
        self.budget.moved(from, to);
    }

    fn remember(&mut self, paths: &Paths) {
        let mut taken = Paths::default();
        if paths.len() > RECENT_ITEMS_MAX {
            taken.add_subtree(Vec::new());
        } else {
            taken = paths.clone();
        }
        self.recent.push_back(taken);
        while self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }

    fn add_gap(&mut self, gap: Blind) {
        let gaps = &mut self.pending.gaps;
        match gaps.iter_mut().find(|g| g.dir == gap.dir && g.why == gap.why) {
            Some(known) => known.since = known.since.min(gap.since),
            None => gaps.push(gap),
        }
        if gaps.len() > GAPS_MAX {
            let since = gaps.iter().map(|g| g.since).min();
            let why = gaps[0].why;
            *gaps = since.map(|since| Blind { dir: Vec::new(), since, why }).into_iter().collect();
        }
    }
}
