//! The way out for hints: never blocks a watcher, never loses, never grows without bound.

use std::collections::VecDeque;

use crossbeam_channel::{Sender, TrySendError};

use super::hint::{Hint, Why};
use super::watcher::Clock;

/// Hints that may wait for a slow receiver before they are merged into one.
const WAITING_MAX: usize = 100_000;

/// Hints on their way to the receiver.
pub(super) struct Outbox {
    tx: Sender<Hint>,
    waiting: VecDeque<Hint>,
    clock: Clock,
    closed: bool,
}

impl Outbox {
    pub(super) fn new(tx: Sender<Hint>, clock: Clock) -> Outbox {
        Outbox { tx, waiting: VecDeque::new(), clock, closed: false }
    }

    /// The receiver is gone: there is nobody to watch for.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Hands `hint` over, or keeps it until there is room.
    pub(super) fn send(&mut self, hint: Hint) {
        self.waiting.push_back(hint);
        self.flush();
        if self.waiting.len() > WAITING_MAX {
            self.merge();
        }
    }

    /// Hands over what waits, as far as there is room.
    pub(super) fn flush(&mut self) {
        while let Some(hint) = self.waiting.pop_front() {
            match self.tx.try_send(hint) {
                Ok(()) => {}
                Err(TrySendError::Full(hint)) => return self.waiting.push_front(hint),
                Err(TrySendError::Disconnected(_)) => {
                    self.closed = true;
                    return self.waiting.clear();
                }
            }
        }
    }

    /// One scan of everything instead of all that waits; the root's coming and going and the gaps stay.
    fn merge(&mut self) {
        let since = (self.clock)();
        let mut kept: VecDeque<Hint> = VecDeque::new();
        let mut blind = since;
        for hint in self.waiting.drain(..) {
            match hint {
                Hint::Subtree { blind_since: Some(at), .. } => blind = blind.min(at),
                Hint::RootGone | Hint::RootBack { .. } if kept.back() != Some(&hint) => kept.push_back(hint),
                _ => {}
            }
        }
        // A root that came and went so often that even this fills up is told by its last two changes.
        kept.drain(..kept.len().saturating_sub(2));
        kept.push_back(Hint::Subtree { dir: Vec::new(), why: Why::Overflow, blind_since: Some(blind) });
        self.waiting = kept;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::types::time::Instant;

    #[test]
    fn a_slow_receiver_gets_one_scan_instead_of_everything() {
        let (tx, rx) = crossbeam_channel::bounded(1);
        let mut outbox = Outbox::new(tx, Arc::new(|| Instant(7)));
        for i in 0..WAITING_MAX + 10 {
            outbox.send(Hint::Entry { dir: vec![], name: i.to_string().into_bytes() });
            if i == 5 {
                outbox.send(Hint::RootGone);
                outbox.send(Hint::RootBack { same: true });
                outbox.send(Hint::Subtree { dir: vec![], why: Why::RootReturned, blind_since: Some(Instant(3)) });
            }
        }
        let mut got = Vec::new();
        while let Ok(hint) = rx.try_recv() {
            got.push(hint);
            outbox.flush();
        }
        assert_eq!(got[1..3], [Hint::RootGone, Hint::RootBack { same: true }]);
        assert_eq!(got[3], Hint::Subtree { dir: vec![], why: Why::Overflow, blind_since: Some(Instant(3)) });
        assert!(got.len() < 20, "{}", got.len());
        drop(rx);
        outbox.send(Hint::RootGone);
        assert!(outbox.is_closed());
    }
}
