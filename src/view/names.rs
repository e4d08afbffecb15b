//! The `@` names of a mount: which one is a view, which one a link to a view, and what it leads to.
//!
//! A name is a view where its instant is settled and it is written in a canonical way: without an offset of its own, or in UTC
//! with `Z`. Every other valid name is a link to such a name, without the `@`.

use crate::index::{error::IndexError, tree::Reader};
use crate::repo::{attach::Attached, error::RepoError};
use crate::types::{
    time::Instant,
    when::{
        name::{Moving, Name, parse_name},
        show::{day, exact_name},
        zone::Zone,
    },
};
use crate::view::whose::Whose;
use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

/// How often a snapshot that is not settled is passed over for the one before: one for every writer on a host.
const PASSED_MAX: usize = 128;

/// What a name leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Meaning {
    /// A view of this instant. It never changes.
    View(Instant),
    /// A link to the name of a view; it may lead elsewhere the next moment.
    Link(String),
}

/// The names of time for the mounts of one repository.
pub struct Names {
    attached: Arc<Attached>,
    zone: Zone,
    own: Whose,
    /// Up to here the history of this host was found settled, which stays true.
    settled: AtomicI64,
}

impl Names {
    /// Names in `zone`. `this_host` is the host whose snapshots agree on time with this process; the history of any other
    /// is as settled as its journal has come.
    pub fn new(attached: Arc<Attached>, zone: Zone, this_host: &str) -> Result<Names, RepoError> {
        let own = Whose::own(&attached, this_host)?;
        Ok(Names { attached, zone, own, settled: AtomicI64::new(i64::MIN) })
    }

    /// The time zone of names without an offset.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// The time now.
    pub fn now(&self) -> Instant {
        self.attached.moment().now()
    }

    /// What `text` (without `@`) leads to in a history; `None` where it is no name, lies before the first
    /// snapshot, or has not begun. `index` must not be inside [`Reader::hold`]: it has to see what was committed before an
    /// instant was found settled.
    pub fn resolve(&self, index: &Reader, whose: &Whose, text: &str) -> Result<Option<Meaning>, RepoError> {
        match parse_name(text, &self.zone) {
            None => Ok(None),
            Some(Name::Moving(moving)) => self.moving(index, whose, moving),
            Some(Name::Period { start, end, .. }) => {
                if self.is_settled(index, whose, end)? {
                    let begun = newest(index, whose, end)?.is_some();
                    let meaning = match is_canonical(text) {
                        true => Meaning::View(end),
                        false => Meaning::Link(exact_name(end)),
                    };
                    return Ok(begun.then_some(meaning));
                }
                match newest(index, whose, end)? {
                    Some(at) if start <= at.max(self.now()) => self.link(index, whose, end),
                    _ => Ok(None),
                }
            }
        }
    }

    fn moving(&self, index: &Reader, whose: &Whose, moving: Moving) -> Result<Option<Meaning>, RepoError> {
        match moving {
            Moving::Latest => self.link(index, whose, Instant(i64::MAX)),
            Moving::Yesterday => {
                let Some(end) = moving.resolve(self.now(), &self.zone) else { return Ok(None) };
                let name = day(end, &self.zone);
                match self.resolve(index, whose, &name)? {
                    Some(Meaning::View(_)) => Ok(Some(Meaning::Link(name))),
                    other => Ok(other),
                }
            }
            Moving::Now | Moving::Today | Moving::Ago(..) => match moving.resolve(self.now(), &self.zone) {
                Some(at) => self.link(index, whose, at),
                None => Ok(None),
            },
        }
    }

    /// A link to the newest settled snapshot at or before `at`: by the snapshot's own time, so that a name that moves
    /// leads to another view only when there is another snapshot.
    fn link(&self, index: &Reader, whose: &Whose, at: Instant) -> Result<Option<Meaning>, RepoError> {
        Ok(self.newest_settled(index, whose, at)?.map(|at| Meaning::Link(exact_name(at))))
    }

    /// The time of the newest settled snapshot of a history at or before `at`.
    pub fn newest_settled(&self, index: &Reader, whose: &Whose, at: Instant) -> Result<Option<Instant>, RepoError> {
        let mut at = at;
        for _ in 0..PASSED_MAX {
            match newest(index, whose, at)? {
                None => return Ok(None),
                Some(time) if self.is_settled(index, whose, time)? => return Ok(Some(time)),
                // Another writer of this host is about to show a snapshot that is older than this one.
                Some(time) => at = Instant(time.0.saturating_sub(1)),
            }
        }
        Ok(None)
    }

    /// Whether no snapshot of a history can land at or before `at` any more.
    pub fn is_settled(&self, index: &Reader, whose: &Whose, at: Instant) -> Result<bool, RepoError> {
        if !self.is_of_this_machine(whose) {
            let mut reached = Instant(i64::MIN);
            for line in whose.lines(index)? {
                reached = reached.max(index.reached(line.source.num)?.time);
            }
            return Ok(at <= reached);
        }
        if at.0 <= self.settled.load(Ordering::Acquire) {
            return Ok(true);
        }
        let settled = self.attached.moment().settle(at)?;
        if settled {
            self.settled.fetch_max(at.0, Ordering::AcqRel);
        }
        Ok(settled)
    }

    fn is_of_this_machine(&self, whose: &Whose) -> bool {
        whose.is_own() || (whose.host() == self.own.host() && !self.own.is_apart())
    }

    /// Looks again whether this machine goes on under another name.
    pub fn refresh(&self) -> Result<(), RepoError> {
        self.own.refresh(&self.attached)
    }

    /// The history of a host: this machine's own where it is this host.
    pub fn of_host(&self, host: &str) -> Whose {
        match host == self.own.host() {
            true => self.own.clone(),
            false => Whose::named(host),
        }
    }
}

/// Whether a settled name is a view of its own: it has no offset but `Z`.
fn is_canonical(text: &str) -> bool {
    match text.split_once('T') {
        Some((_, time)) => !time.contains(['+', '-']),
        None => true,
    }
}

/// The time of the newest snapshot of a history at or before `at`.
pub fn newest(index: &Reader, whose: &Whose, at: Instant) -> Result<Option<Instant>, IndexError> {
    let mut newest = None;
    for line in whose.lines(index)? {
        newest = newest.max(line.snapshot_at(index, at)?.map(|s| s.time));
        // One that can't be shown is newer: then nothing older is shown in its place.
        let beyond = index.beyond(line.source.num)?.map(|beyond| beyond.time);
        newest = newest.max(beyond.filter(|time| *time <= at && line.shows(*time)));
    }
    Ok(newest)
}

/// The hosts that have a source, in order.
pub fn hosts(index: &Reader) -> Result<Vec<String>, IndexError> {
    let mut hosts: Vec<String> = index.sources()?.into_iter().map(|s| s.host).collect();
    hosts.dedup();
    Ok(hosts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_an_offset_are_links() {
        for text in ["2025", "2025-09-20", "2025-09-20Z", "2025-09-20T14:30", "2025-09-20T14:30:05.1Z", "1758376205"] {
            assert!(is_canonical(text), "{text}");
        }
        for text in ["2025-09-20T14:30+02:00", "2025-09-20T14-03:30", "2025-09-20T14:30:05.5+00:00"] {
            assert!(!is_canonical(text), "{text}");
        }
    }
}
